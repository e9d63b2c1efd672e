//===- HostAsync.cpp ------------------------------------------------------===//
//
// Part of mlsys, under the Apache License v2.0. See LICENSE.
//
//===----------------------------------------------------------------------===//

#include "runtime/HostAsync.h"

#include "runtime/Error.h"
#include "runtime/HostBlock.h"

#include <algorithm>
#include <cstring>
#include <string_view>

using namespace mlsys;
using namespace mlsys::rt;

static constexpr unsigned registerFile = 65536;

void HostAsync::start(HostBlock &next, int nextRank, unsigned char *nextShared) {
  block = &next;
  rank = nextRank;
  shared = nextShared;
  view.clear();
  barriers.clear();
  loads.clear();
  stores.clear();
  named.clear();
  warpgroups.clear();
}

void HostAsync::fail(const std::string &message) { block->failHere(message); }

/// Shared memory as it was at the start, where nothing has been made visible.
void HostAsync::needView() {
  if (view.empty())
    view.assign(block->launch->sharedBytes, 0xff);
}

//===----------------------------------------------------------------------===//
// mbarriers
//===----------------------------------------------------------------------===//

HostAsync::Barrier &HostAsync::barrierAt(unsigned address, const char *operation) {
  auto found = barriers.find(address);
  if (found == barriers.end())
    fail(fmt::format("{}: there is no mbarrier at {} of shared memory", operation, address));
  uint64_t word;
  std::memcpy(&word, shared + address, 8);
  if (word != ~uint64_t(address))
    fail(fmt::format("{}: the mbarrier at {} of shared memory was overwritten", operation, address));
  return found->second;
}

void HostAsync::endPhase(Barrier &barrier) {
  if (barrier.pending > 0 || barrier.bytes != 0)
    return;
  barrier.pending = static_cast<int>(barrier.arrivals);
  ++barrier.phases;
}

std::string HostAsync::describeBarriers() const {
  std::string text;
  for (auto &[address, barrier] : barriers)
    if (barrier.waiting > 0)
      text +=
          fmt::format("; the mbarrier at {} lacks {} arrivals and {} bytes", address, barrier.pending, barrier.bytes);
  return text;
}

//===----------------------------------------------------------------------===//
// Bulk copies
//===----------------------------------------------------------------------===//

void HostAsync::checkShared(const host::BulkCopy &copy, uint64_t bytes, unsigned alignment) {
  if (copy.shared % alignment)
    fail(fmt::format("{}: {} of shared memory is not aligned to {}", copy.operation, copy.shared, alignment));
  if (copy.shared + bytes > block->launch->sharedBytes)
    fail(fmt::format("{}: bytes {} to {} of {} bytes of shared memory", copy.operation, copy.shared,
                     copy.shared + bytes, block->launch->sharedBytes));
}

HostAsync::Load HostAsync::checked(const host::BulkCopy &copy) {
  needView();
  Load load{copy, {}};
  if (copy.map) {
    load.map = *copy.map;
    if (load.map.magic != host::TensorMap::marker)
      fail(fmt::format("{}: the tensor map was not set", copy.operation));
    if (load.map.rank != copy.rank)
      fail(fmt::format("{}: the tensor map has {} dimensions", copy.operation, load.map.rank));
    uint64_t bytes = load.map.elementBytes;
    for (int i = 0; i < load.map.rank; ++i)
      bytes *= load.map.box[i];
    load.copy.bytes = static_cast<unsigned>(bytes);
    checkShared(copy, bytes, load.map.swizzle ? 1024 : 128);
    return load;
  }
  if (copy.bytes == 0 || copy.bytes % 16 || reinterpret_cast<uintptr_t>(copy.global) % 16)
    fail(fmt::format("{}: address and size are multiples of 16", copy.operation));
  checkShared(copy, copy.bytes, 16);
  return load;
}

/// Calls visit(offset in shared memory, global address, bytes inside, where in
/// the chunk they begin) for each chunk of 16 bytes of a tile.
template <class Visit> void HostAsync::forEachChunk(const Load &load, Visit visit) const {
  const host::TensorMap &map = load.map;
  int64_t rows = 1, element = map.elementBytes, perChunk = 16 / element, chunks = map.box[0] / perChunk;
  for (int i = 1; i < map.rank; ++i)
    rows *= map.box[i];
  for (int64_t row = 0; row < rows; ++row) {
    unsigned char *at = map.base;
    bool inside = true;
    for (int64_t i = 1, rest = row; i < map.rank; rest /= map.box[i], ++i) {
      int64_t index = load.copy.coordinates[i] + rest % map.box[i];
      inside = inside && index >= 0 && index < static_cast<int64_t>(map.extents[i]);
      if (inside)
        at += index * map.strides[i - 1];
    }
    for (int64_t chunk = 0; chunk < chunks; ++chunk) {
      int64_t column = load.copy.coordinates[0] + chunk * perChunk;
      int64_t first = std::clamp<int64_t>(-column, 0, perChunk);
      int64_t last = std::clamp<int64_t>(static_cast<int64_t>(map.extents[0]) - column, first, perChunk);
      if (!inside)
        last = first;
      int64_t place = map.swizzle ? chunk ^ (row & 7) : chunk;
      visit(load.copy.shared + row * chunks * 16 + place * 16, at + (column + first) * element,
            (last - first) * element, first * element);
    }
  }
}

void HostAsync::land(const Load &load) {
  auto put = [&](size_t offset, const void *source, size_t bytes) {
    std::memcpy(shared + offset, source, bytes);
    std::memcpy(view.data() + offset, source, bytes);
  };
  if (!load.copy.map)
    put(load.copy.shared, load.copy.global, load.copy.bytes);
  else
    forEachChunk(load, [&](size_t offset, const unsigned char *source, size_t bytes, size_t begin) {
      unsigned char chunk[16] = {};
      if (bytes)
        std::memcpy(chunk + begin, source, bytes);
      put(offset, chunk, 16);
    });
  // The mbarrier was there when the load began.
  Barrier &barrier = barriers[load.copy.barrier];
  barrier.bytes -= load.copy.bytes;
  endPhase(barrier);
}

void HostAsync::write(const Load &store) {
  if (!store.copy.map) {
    std::memcpy(store.copy.global, view.data() + store.copy.shared, store.copy.bytes);
    return;
  }
  forEachChunk(store, [&](size_t offset, unsigned char *destination, size_t bytes, size_t begin) {
    if (bytes)
      std::memcpy(destination, view.data() + offset + begin, bytes);
  });
}

/// One arrival, after the phase was made to wait for so many bytes more.
void HostAsync::arriveAt(unsigned address, unsigned bytes) {
  Barrier &barrier = barrierAt(address, "mbarrier_arrive");
  // With all arrivals there, the phase waits for bytes only.
  if (barrier.pending == 0)
    fail(fmt::format("mbarrier_arrive: one arrival more than the {} that the mbarrier at {} waits for",
                     barrier.arrivals, address));
  barrier.bytes += bytes;
  --barrier.pending;
  endPhase(barrier);
}

void HostAsync::beginLoad(const host::BulkCopy &copy) {
  Barrier &barrier = barrierAt(copy.barrier, copy.operation);
  if (!barrier.fenced)
    fail(fmt::format("{}: mbarrier_fence is missing after mbarrier_init", copy.operation));
  Load load = checked(copy);
  // Whoever reads before the copy is waited for, or what it replaces, gets NaN.
  std::memset(shared + copy.shared, 0xff, load.copy.bytes);
  std::memset(view.data() + copy.shared, 0xff, load.copy.bytes);
  loads.push_back(load);
}

HostAsync &HostAsync::ofRank(unsigned other, const char *operation) {
  if (other >= block->parts.size())
    fail(fmt::format("{}: block {} of a cluster of {}", operation, other, block->parts.size()));
  HostBlock::Part &part = block->parts[other];
  if (part.expected == 0)
    fail(fmt::format("{}: block {} of the cluster has ended", operation, other));
  return part.async;
}

bool HostAsync::advance() {
  if (loads.empty())
    return false;
  size_t next = block->schedule == HostSchedule::Forward   ? 0
                : block->schedule == HostSchedule::Reverse ? loads.size() - 1
                                                           : block->nextRandom() % loads.size();
  Load load = loads[next];
  loads.erase(loads.begin() + static_cast<std::ptrdiff_t>(next));
  land(load);
  return true;
}

//===----------------------------------------------------------------------===//
// Warpgroups
//===----------------------------------------------------------------------===//

template <class Last> void HostAsync::meet(const char *operation, const void *argument, Last last) {
  int thread = block->active->thread;
  if (block->threads % 128)
    fail(fmt::format("{} in a block of {} threads; a warpgroup has 128", operation, block->threads));
  Warpgroup &group = warpgroups[thread / 128];
  if (group.arrived == 0)
    group.operation = operation;
  else if (std::string_view(group.operation) != operation)
    fail(fmt::format("the threads of warpgroup {} diverge: some are at {}, "
                     "this one is at {}",
                     thread / 128, group.operation, operation));
  group.arguments[thread % 128] = argument;
  if (++group.arrived < 128)
    return block->waitFor(group.generation, operation);
  group.arrived = 0;
  last(group);
  ++group.generation;
}

/// What is wrong with the tile that a descriptor names; empty when nothing.
static std::string checkTile(uint64_t descriptor, int rows, bool transposed, size_t sharedBytes) {
  uint64_t start = (descriptor & 0x3fff) << 4, panel = (descriptor >> 16 & 0x3fff) << 4,
           group = (descriptor >> 32 & 0x3fff) << 4;
  if (descriptor >> 62 != 1)
    return "is not one of 128-byte rows";
  if (transposed ? start % 1024 != 0 : (start % 1024 & ~uint64_t(0x60)) != 0)
    return fmt::format("begins at {} of shared memory, where no tile can begin", start);
  uint64_t end = transposed ? start + uint64_t((rows + 63) / 64 - 1) * panel + group + 1024
                            : start / 1024 * 1024 + uint64_t(rows / 8 - 1) * group + 1024;
  if (end > sharedBytes)
    return fmt::format("ends at {} of {} bytes of shared memory", end, sharedBytes);
  return "";
}

void HostAsync::issue(Warpgroup &group) {
  auto of = [&](int i) -> const host::Multiply & { return *static_cast<const host::Multiply *>(group.arguments[i]); };
  const host::Multiply &first = of(0);
  needView();
  for (int i = 1; i < 128; ++i) {
    const host::Multiply &other = of(i);
    if (other.a != first.a || other.b != first.b || other.columns != first.columns ||
        other.accumulate != first.accumulate || other.transposedB != first.transposedB ||
        other.fragmentA != first.fragmentA || other.execute != first.execute)
      fail(fmt::format("wgmma: thread {} of the warpgroup names another "
                       "product than thread 0",
                       i));
  }
  if (!group.fenced)
    fail("wgmma without wgmma_fence since the warpgroup's start or its last "
         "wgmma_wait");
  size_t sharedBytes = block->launch->sharedBytes;
  if (!first.fragmentA)
    if (std::string wrong = checkTile(first.a, 64, false, sharedBytes); !wrong.empty())
      fail("wgmma: the tile of A " + wrong);
  if (std::string wrong = checkTile(first.b, first.columns, first.transposedB, sharedBytes); !wrong.empty())
    fail("wgmma: the tile of B " + wrong);

  Product product{first, {}, group.nextSums};
  if (first.fragmentA)
    for (int i = 0; i < 128; ++i)
      product.fragments.insert(product.fragments.end(), of(i).fragment, of(i).fragment + 4);
  for (auto &[id, sums] : group.sums)
    if (sums.places[0] == first.sums) {
      if (sums.columns != first.columns)
        fail("wgmma: its sums are part of another shape's that is under way");
      product.sums = id;
    }
  Sums &sums = group.sums[product.sums];
  if (product.sums == group.nextSums) {
    ++group.nextSums;
    sums.columns = first.columns;
    sums.values.resize(64 * first.columns);
    for (int i = 0; i < 128; ++i) {
      float *place = of(i).sums;
      sums.places.push_back(place);
      for (int e = 0; e < first.columns / 2; ++e)
        sums.values[(i / 32 * 16 + i % 32 / 4 + (e / 2 % 2) * 8) * first.columns + e / 4 * 8 + i % 4 * 2 + e % 2] =
            place[e];
      std::memset(place, 0xff, first.columns * 2);
    }
  }
  ++sums.uses;
  group.open.push_back(std::move(product));
}

void HostAsync::execute(Warpgroup &group, const Product &product) {
  Sums &sums = group.sums[product.sums];
  product.multiply.execute(product.multiply, view.data(), product.fragments.data(), sums.values.data());
  if (--sums.uses > 0)
    return;
  giveBack(sums);
  group.sums.erase(product.sums);
}

void HostAsync::giveBack(Sums &sums) {
  for (int i = 0; i < 128; ++i)
    for (int e = 0; e < sums.columns / 2; ++e) {
      float *place = sums.places[i] + e;
      unsigned bits;
      std::memcpy(&bits, place, 4);
      if (bits != 0xffffffff)
        fail("the sums of a wgmma were written while it was under way");
      *place = sums.values[(i / 32 * 16 + i % 32 / 4 + (e / 2 % 2) * 8) * sums.columns + e / 4 * 8 + i % 4 * 2 + e % 2];
    }
}

//===----------------------------------------------------------------------===//
// The end of a block
//===----------------------------------------------------------------------===//

std::string HostAsync::unfinished() const {
  if (!loads.empty())
    return fmt::format("a {} to shared memory is under way", loads.front().copy.operation);
  for (auto &[thread, entry] : stores)
    if (!entry.open.empty() || !entry.groups.empty())
      return fmt::format("thread {} has not waited for its stores", thread);
  unsigned registers = 0, each = std::min<unsigned>(248, registerFile / block->threads / 8 * 8);
  bool changed = false;
  for (auto &[index, group] : warpgroups) {
    if (!group.open.empty() || !group.groups.empty())
      return fmt::format("warpgroup {} has not waited for its wgmma", index);
    changed = changed || group.registers;
  }
  for (int i = 0; changed && i < static_cast<int>(block->threads / 128); ++i) {
    auto found = warpgroups.find(i);
    registers += found != warpgroups.end() && found->second.registers ? found->second.registers : each;
  }
  if (changed && registers > each * (block->threads / 128))
    return fmt::format("its warpgroups claim {} registers a thread where there are {}", registers,
                       each * (block->threads / 128));
  return "";
}

//===----------------------------------------------------------------------===//
// What the device library calls
//===----------------------------------------------------------------------===//

namespace mlsys::rt {
/// The entries of HostAsync::calls.
struct AsyncEntry {
  static HostBlock &blockOf(host::Context *context) { return *static_cast<HostBlock *>(context); }
  static HostAsync &of(host::Context *context) { return blockOf(context).active->part->async; }

  static void initBarrier(host::Context *context, unsigned address, unsigned arrivals) {
    HostAsync &self = of(context);
    if (address % 8 || address + 8 > self.block->launch->sharedBytes)
      self.fail(fmt::format("mbarrier_init: no mbarrier can be at {} of {} "
                            "bytes of shared memory",
                            address, self.block->launch->sharedBytes));
    if (arrivals < 1 || arrivals >= 1u << 20)
      self.fail(fmt::format("mbarrier_init: {} arrivals", arrivals));
    HostAsync::Barrier barrier;
    barrier.arrivals = arrivals;
    barrier.pending = static_cast<int>(arrivals);
    self.barriers[address] = barrier;
    uint64_t word = ~uint64_t(address);
    std::memcpy(self.shared + address, &word, 8);
  }

  static void fenceInit(host::Context *context) {
    for (auto &[address, barrier] : of(context).barriers)
      barrier.fenced = true;
  }

  static void arrive(host::Context *context, unsigned address, unsigned bytes) {
    of(context).arriveAt(address, bytes);
    blockOf(context).maybeYield();
  }

  static void arriveCluster(host::Context *context, unsigned address, unsigned rank) {
    of(context).ofRank(rank, "mbarrier_arrive_cluster").arriveAt(address, 0);
    blockOf(context).maybeYield();
  }

  static void waitBarrier(host::Context *context, unsigned address, unsigned parity) {
    HostAsync &self = of(context);
    HostAsync::Barrier &barrier = self.barrierAt(address, "mbarrier_wait");
    if (parity > 1)
      self.fail(fmt::format("mbarrier_wait: a parity of {}", parity));
    while ((barrier.phases & 1) == parity) {
      ++barrier.waiting;
      self.block->waitFor(barrier.phases, "mbarrier_wait");
      --barrier.waiting;
    }
  }

  static void load(host::Context *context, const host::BulkCopy &copy) {
    HostAsync &self = of(context);
    if (!copy.ranks)
      return self.beginLoad(copy);
    for (unsigned rank = 0; copy.ranks >> rank; ++rank)
      if (copy.ranks >> rank & 1)
        self.ofRank(rank, copy.operation).beginLoad(copy);
  }

  static void store(host::Context *context, const host::BulkCopy &copy) {
    HostAsync &self = of(context);
    self.stores[self.block->active->thread].open.push_back(self.checked(copy));
  }

  static void commitStores(host::Context *context) {
    HostAsync &self = of(context);
    HostAsync::Stores &mine = self.stores[self.block->active->thread];
    mine.groups.push_back(std::move(mine.open));
    mine.open.clear();
  }

  static void waitStores(host::Context *context, int pending) {
    HostAsync &self = of(context);
    HostAsync::Stores &mine = self.stores[self.block->active->thread];
    while (mine.groups.size() > static_cast<size_t>(pending)) {
      for (const HostAsync::Load &store : mine.groups.front())
        self.write(store);
      mine.groups.pop_front();
    }
  }

  static void fenceProxy(host::Context *context) {
    HostAsync &self = of(context);
    self.needView();
    std::memcpy(self.view.data(), self.shared, self.view.size());
    fenceInit(context);
  }

  static void groupBarrier(host::Context *context, int id, int threads, bool wait) {
    HostAsync &self = of(context);
    const char *operation = wait ? "group_sync" : "group_arrive";
    if (id < 1 || id > 15 || threads < 32 || threads % 32 || threads > self.block->threads)
      self.fail(fmt::format("{} {} of {} threads", operation, id, threads));
    HostAsync::NamedBarrier &barrier = self.named[id];
    if (barrier.arrived > 0 && barrier.threads != threads)
      self.fail(fmt::format("{} {} of {} threads, where others said {}", operation, id, threads, barrier.threads));
    barrier.threads = threads;
    if (++barrier.arrived == threads) {
      barrier.arrived = 0;
      ++barrier.generation;
    } else if (wait) {
      self.block->waitFor(barrier.generation, "group_sync");
    }
  }

  static void multiply(host::Context *context, const host::Multiply &multiply) {
    HostAsync &self = of(context);
    self.meet("wgmma", &multiply, [&](HostAsync::Warpgroup &group) { self.issue(group); });
  }

  static void fenceMultiply(host::Context *context) {
    of(context).meet("wgmma_fence", nullptr, [](HostAsync::Warpgroup &group) { group.fenced = true; });
  }

  static void commitMultiply(host::Context *context) {
    of(context).meet("wgmma_commit", nullptr, [](HostAsync::Warpgroup &group) {
      group.groups.push_back(std::move(group.open));
      group.open.clear();
    });
  }

  static void waitMultiply(host::Context *context, int pending) {
    HostAsync &self = of(context);
    self.meet("wgmma_wait", nullptr, [&](HostAsync::Warpgroup &group) {
      while (group.groups.size() > static_cast<size_t>(pending)) {
        for (const HostAsync::Product &product : group.groups.front())
          self.execute(group, product);
        group.groups.pop_front();
      }
      group.fenced = false;
    });
  }

  static int clusterRank(host::Context *context) { return of(context).rank; }

  static void clusterSync(host::Context *context) {
    HostBlock &block = blockOf(context);
    ++block.clusterArrived;
    if (block.clusterArrived >= block.clusterExpected)
      return block.releaseClusterIfComplete();
    block.waitFor(block.clusterGeneration, "cluster_sync");
  }

  static const unsigned char *clusterShared(host::Context *context, unsigned address, unsigned bytes, unsigned rank) {
    HostAsync &self = of(context);
    if (address % bytes || uint64_t(address) + bytes > self.block->launch->sharedBytes)
      self.fail(fmt::format("cluster_load: {} bytes at {} of {} bytes of shared memory", bytes, address,
                            self.block->launch->sharedBytes));
    return self.ofRank(rank, "cluster_load").shared + address;
  }

  static void setRegisters(host::Context *context, int registers, bool claim) {
    HostAsync &self = of(context);
    self.meet(claim ? "registers_claim" : "registers_release", nullptr, [&](HostAsync::Warpgroup &group) {
      if (registers < 24 || registers > 256 || registers % 8)
        self.fail(fmt::format("{} registers a thread; expected a "
                              "multiple of 8 from 24 to 256",
                              registers));
      group.registers = registers;
    });
  }
};
} // namespace mlsys::rt

const host::AsyncCalls HostAsync::calls = {
    AsyncEntry::initBarrier,    AsyncEntry::fenceInit,    AsyncEntry::arrive,       AsyncEntry::waitBarrier,
    AsyncEntry::load,           AsyncEntry::store,        AsyncEntry::commitStores, AsyncEntry::waitStores,
    AsyncEntry::fenceProxy,     AsyncEntry::groupBarrier, AsyncEntry::multiply,     AsyncEntry::fenceMultiply,
    AsyncEntry::commitMultiply, AsyncEntry::waitMultiply, AsyncEntry::setRegisters, AsyncEntry::arriveCluster,
    AsyncEntry::clusterRank,    AsyncEntry::clusterSync,  AsyncEntry::clusterShared,
};
