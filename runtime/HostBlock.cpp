//===- HostBlock.cpp ------------------------------------------------------===//
//
// Part of mlsys, under the Apache License v2.0. See LICENSE.
//
//===----------------------------------------------------------------------===//

#include "runtime/HostBlock.h"

#include "runtime/Error.h"

#include <algorithm>
#include <csignal>
#include <cstdlib>
#include <cstring>
#include <mutex>
#include <sys/mman.h>
#include <ucontext.h>
#include <utility>

#if !defined(__x86_64__)
#error "the host executor's context switch is written for x86-64"
#endif

using namespace mlsys;
using namespace mlsys::rt;

// mlsys_fiber_switch(save, to) saves the callee's registers and the stack pointer
// and goes on at `to`; mlsys_fiber_resume is its second half, for the signal handler.
extern "C" void mlsys_fiber_switch(void **save, void *to);
extern "C" void mlsys_fiber_resume();
asm(R"(
.text
.globl mlsys_fiber_switch
.type mlsys_fiber_switch,@function
mlsys_fiber_switch:
  pushq %rbp
  pushq %rbx
  pushq %r12
  pushq %r13
  pushq %r14
  pushq %r15
  movq %rsp, (%rdi)
  movq %rsi, %rsp
.globl mlsys_fiber_resume
mlsys_fiber_resume:
  popq %r15
  popq %r14
  popq %r13
  popq %r12
  popq %rbx
  popq %rbp
  ret
.size mlsys_fiber_switch, .-mlsys_fiber_switch
)");

static constexpr size_t pageBytes = 4096;
static constexpr size_t stackBytes = 128 * 1024;
static constexpr size_t scratchBytes = 512;

static size_t roundUp(size_t value, size_t unit) { return (value + unit - 1) / unit * unit; }

/// The block of this OS thread while one of its fibers runs; the signal handler asks.
static thread_local HostBlock *running = nullptr;

static HostBlock &blockOf(host::Context *context) { return *static_cast<HostBlock *>(context); }

//===----------------------------------------------------------------------===//
// Memory
//===----------------------------------------------------------------------===//

HostMapping::HostMapping(size_t bytes) : bytes(bytes) {
  void *address = mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (address == MAP_FAILED)
    throw Error("out of memory: the host executor needs {} bytes", bytes);
  data = static_cast<unsigned char *>(address);
}

HostMapping::HostMapping(HostMapping &&other) noexcept
    : data(std::exchange(other.data, nullptr)), bytes(std::exchange(other.bytes, 0)) {}

HostMapping &HostMapping::operator=(HostMapping &&other) noexcept {
  std::swap(data, other.data);
  std::swap(bytes, other.bytes);
  return *this;
}

HostMapping::~HostMapping() {
  if (data)
    munmap(data, bytes);
}

//===----------------------------------------------------------------------===//
// Faults
//===----------------------------------------------------------------------===//

static struct sigaction previousSegv, previousBus, previousFpe;

static void onFault(int signal, siginfo_t *info, void *machine) {
  HostBlock *block = running;
  if (!block) {
    // Not ours: the handler that was there before decides.
    struct sigaction &previous = signal == SIGSEGV ? previousSegv : signal == SIGBUS ? previousBus : previousFpe;
    if (previous.sa_flags & SA_SIGINFO)
      return previous.sa_sigaction(signal, info, machine);
    if (previous.sa_handler != SIG_DFL && previous.sa_handler != SIG_IGN)
      return previous.sa_handler(signal);
    ::signal(signal, SIG_DFL);
    return;
  }
  block->faultSignal = signal;
  block->faultAddress = info->si_addr;
  auto *context = static_cast<ucontext_t *>(machine);
  context->uc_mcontext.gregs[REG_RSP] = reinterpret_cast<greg_t>(block->mainStackPointer);
  context->uc_mcontext.gregs[REG_RIP] = reinterpret_cast<greg_t>(&mlsys_fiber_resume);
}

void mlsys::rt::installHostFaultHandler() {
  static std::once_flag once;
  std::call_once(once, [] {
    struct sigaction action = {};
    action.sa_sigaction = onFault;
    action.sa_flags = SA_SIGINFO | SA_ONSTACK | SA_NODEFER;
    sigemptyset(&action.sa_mask);
    sigaction(SIGSEGV, &action, &previousSegv);
    sigaction(SIGBUS, &action, &previousBus);
    sigaction(SIGFPE, &action, &previousFpe);
  });
}

struct HostSignalStack::State {
  stack_t stack = {};
};

HostSignalStack::HostSignalStack() : memory(64 * 1024), previous(std::make_unique<State>()) {
  stack_t stack = {};
  stack.ss_sp = memory.data;
  stack.ss_size = memory.bytes;
  sigaltstack(&stack, &previous->stack);
}

HostSignalStack::~HostSignalStack() {
  if (!previous->stack.ss_sp)
    previous->stack.ss_flags = SS_DISABLE;
  sigaltstack(&previous->stack, nullptr);
}

//===----------------------------------------------------------------------===//
// Fibers
//===----------------------------------------------------------------------===//

[[noreturn]] static void fiberMain() {
  HostBlock &block = *running;
  block.launch->entry(&block, block.launch->arguments);
  HostBlock::Fiber &self = *block.active;
  self.done = true;
  --self.part->expected;
  block.releaseBarrierIfComplete(*self.part);
  --block.clusterExpected;
  block.releaseClusterIfComplete();
  if (HostBlock::Fiber *next = block.nextRunnable())
    block.switchTo(*next);
  block.leave();
}

void HostBlock::startFiber(int index) {
  Fiber &fiber = fibers[index];
  fiber.index = index;
  fiber.thread = index % threads;
  fiber.part = &parts[index / threads];
  fiber.warp = &warps[index / threads * ((threads + 31) / 32) + fiber.thread / 32];
  fiber.done = false;
  fiber.generation = nullptr;
  fiber.where = "start";
  fiber.open.clear();
  fiber.groups.clear();
  // As mlsys_fiber_switch leaves it: six registers and the return address, then one
  // word so that fiberMain sees the stack as after a call.
  void **top = reinterpret_cast<void **>(stacks.data + (index + 1) * stackBytes);
  *--top = nullptr;
  *--top = reinterpret_cast<void *>(&fiberMain);
  for (int i = 0; i < 6; ++i)
    *--top = nullptr;
  fiber.stackPointer = top;
}

void HostBlock::switchTo(Fiber &fiber) {
  Fiber *from = active;
  active = &fiber;
  thread.x = fiber.thread % blockDim.x;
  thread.y = fiber.thread / blockDim.x % blockDim.y;
  thread.z = fiber.thread / (blockDim.x * blockDim.y);
  block = fiber.part->index;
  shared = fiber.part->shared;
  scratch = fiber.part->scratch;
  if (from != &fiber)
    mlsys_fiber_switch(&from->stackPointer, fiber.stackPointer);
}

HostBlock::Fiber *HostBlock::nextRunnable() {
  int count = static_cast<int>(fibers.size());
  // The active thread's warp first: warps run as far apart as barriers let them.
  int start = schedule == HostSchedule::Random ? static_cast<int>(nextRandom() % count)
                                               : position[active->index] / 32 * 32;
  if (schedule == HostSchedule::Random && start % 8 == 0)
    advance();
  bool waiting;
  do {
    waiting = false;
    for (int i = 0; i < count; ++i) {
      int at = start + i;
      Fiber &fiber = fibers[order[at < count ? at : at - count]];
      waiting = waiting || !fiber.done;
      if (!fiber.done && (!fiber.generation || *fiber.generation != fiber.seen))
        return &fiber;
    }
  } while (waiting && advance());
  return nullptr;
}

bool HostBlock::advance() {
  size_t count = parts.size(), start = 0;
  if (count > 1 && schedule != HostSchedule::Forward)
    start = schedule == HostSchedule::Reverse ? count - 1 : nextRandom() % count;
  for (size_t i = 0; i < count; ++i)
    if (parts[(start + i) % count].async.advance())
      return true;
  return false;
}

/// One thread for each place where threads are.
std::string HostBlock::placesOfThreads() const {
  std::string places;
  std::vector<std::string_view> shown;
  for (const Fiber &fiber : fibers) {
    std::string_view place = fiber.done ? "its end" : fiber.where;
    if (std::find(shown.begin(), shown.end(), place) != shown.end())
      continue;
    places += fmt::format("{}thread {} is at {}", places.empty() ? "" : ", ", fiber.thread, place);
    shown.push_back(place);
  }
  return places + describeBarriers();
}

std::string HostBlock::describeBarriers() const {
  std::string text;
  for (const Part &part : parts)
    text += part.async.describeBarriers();
  return text;
}

void HostBlock::waitFor(const uint64_t &generation, const char *where) {
  Fiber &self = *active;
  self.generation = &generation;
  self.seen = generation;
  self.where = where;
  Fiber *next = nextRunnable();
  if (!next)
    failHere("deadlock, the threads wait at different places: " + placesOfThreads());
  switchTo(*next);
  self.generation = nullptr;
}

void HostBlock::maybeYield() {
  if (schedule == HostSchedule::Random && nextRandom() % 2)
    switchTo(*nextRunnable());
}

void HostBlock::releaseBarrierIfComplete(Part &part) {
  if (part.arrived > 0 && part.arrived >= part.expected) {
    part.arrived = 0;
    ++part.barrierGeneration;
  }
}

void HostBlock::releaseClusterIfComplete() {
  if (clusterArrived > 0 && clusterArrived >= clusterExpected) {
    clusterArrived = 0;
    ++clusterGeneration;
  }
}

void HostBlock::leave() {
  void *unused;
  mlsys_fiber_switch(&unused, mainStackPointer);
  std::abort(); // nobody resumes this fiber
}

void HostBlock::failHere(const std::string &message) {
  failedAt(message);
  leave();
}

//===----------------------------------------------------------------------===//
// What the device library calls
//===----------------------------------------------------------------------===//

void HostBlock::land(const std::vector<Copy> &copies) {
  for (const Copy &copy : copies) {
    std::memset(shared + copy.destination, 0, 16);
    std::memcpy(shared + copy.destination, copy.source, copy.bytes);
  }
}

static void onBarrier(host::Context *context) {
  HostBlock &block = blockOf(context);
  HostBlock::Part &part = *block.active->part;
  ++part.arrived;
  if (part.arrived >= part.expected)
    return block.releaseBarrierIfComplete(part);
  block.waitFor(part.barrierGeneration, "bar_sync");
}

static void onWarp(host::Context *context, const char *operation, void *argument, void (*combine)(void **, int)) {
  HostBlock &block = blockOf(context);
  HostBlock::Fiber &self = *block.active;
  HostBlock::Warp &warp = *self.warp;
  if (warp.arrived == 0)
    warp.operation = operation;
  else if (std::string_view(warp.operation) != operation)
    block.failHere(fmt::format("the lanes of warp {} diverge: some are at {}, this one is at {}", self.thread / 32,
                                warp.operation, operation));
  warp.arguments[self.thread % 32] = argument;
  if (++warp.arrived < warp.lanes)
    return block.waitFor(warp.generation, operation);
  warp.arrived = 0;
  combine(warp.arguments, warp.lanes);
  ++warp.generation;
}

static void onCopyAsync(host::Context *context, unsigned destination, const void *source, int bytes) {
  HostBlock &block = blockOf(context);
  if (destination % 16 || reinterpret_cast<uintptr_t>(source) % 16)
    block.failHere("misaligned cp_async16");
  if (bytes < 0 || bytes > 16)
    block.failHere(fmt::format("cp_async16 of {} bytes", bytes));
  // Whoever reads before the copy is waited for, or reads what it replaces, gets NaN.
  std::memset(block.shared + destination, 0xff, 16);
  block.active->open.push_back({destination, source, bytes});
}

static void onCommit(host::Context *context) {
  HostBlock::Fiber &self = *blockOf(context).active;
  self.groups.push_back(std::move(self.open));
  self.open.clear();
}

static void onWait(host::Context *context, int pending) {
  HostBlock &block = blockOf(context);
  auto &groups = block.active->groups;
  size_t landing = groups.size() > static_cast<size_t>(pending) ? groups.size() - pending : 0;
  for (size_t i = 0; i < landing; ++i)
    block.land(groups[i]);
  groups.erase(groups.begin(), groups.begin() + landing);
}

static void onFail(host::Context *context, const char *message) { blockOf(context).failHere(message); }

//===----------------------------------------------------------------------===//
// Blocks
//===----------------------------------------------------------------------===//

void HostBlock::prepare(const HostLaunch &next, HostSchedule nextSchedule) {
  launch = &next;
  schedule = nextSchedule;
  blockDim = next.block;
  gridDim = next.grid;
  barrier = onBarrier;
  warp = onWarp;
  copyAsync = onCopyAsync;
  commit = onCommit;
  wait = onWait;
  fail = onFail;
  asyncCalls = &HostAsync::calls;
  threads = next.block.x * next.block.y * next.block.z;
  size_t count = static_cast<size_t>(threads) * next.cluster;
  if (stacks.bytes < count * stackBytes) {
    stacks = HostMapping(count * stackBytes);
    for (size_t i = 0; i < count; ++i)
      mprotect(stacks.data + i * stackBytes, pageBytes, PROT_NONE);
  }
  // Of each block [scratch] guard [shared] guard, both ending at their guard page.
  size_t sharedPages = roundUp(next.sharedBytes, pageBytes), stride = 3 * pageBytes + sharedPages;
  if (!memory.data || sharedCapacity != sharedPages || memory.bytes < next.cluster * stride) {
    memory = HostMapping(next.cluster * stride);
    for (int i = 0; i < next.cluster; ++i) {
      mprotect(memory.data + i * stride + pageBytes, pageBytes, PROT_NONE);
      mprotect(memory.data + i * stride + 2 * pageBytes + sharedPages, pageBytes, PROT_NONE);
    }
    sharedCapacity = sharedPages;
  }
  parts.resize(next.cluster);
  for (int i = 0; i < next.cluster; ++i) {
    unsigned char *data = memory.data + i * stride;
    parts[i].rank = i;
    parts[i].scratch = data + pageBytes - scratchBytes;
    parts[i].shared = data + 2 * pageBytes + sharedPages - roundUp(next.sharedBytes, 128);
  }
  warps.resize((threads + 31) / 32 * next.cluster);
  fibers.resize(count);
  order.resize(count);
  position.resize(count);
}

void HostBlock::run(host::Dim3 index) {
  random = (static_cast<uint64_t>(index.x) * 73856093u) ^ (static_cast<uint64_t>(index.y) * 19349663u) ^
           (static_cast<uint64_t>(index.z) * 83492791u) ^ 0x9e3779b97f4a7c15ull;
  for (Part &part : parts) {
    part.index = {index.x + part.rank, index.y, index.z};
    part.arrived = 0;
    part.expected = threads;
    std::memset(part.scratch, 0xff, scratchBytes);
    std::memset(part.shared, 0xff, roundUp(launch->sharedBytes, 128));
    part.async.start(*this, part.rank, part.shared);
  }
  int count = static_cast<int>(fibers.size());
  for (int i = 0; i < count; ++i)
    order[i] = schedule == HostSchedule::Reverse ? count - 1 - i : i;
  if (schedule == HostSchedule::Random)
    for (int i = count - 1; i > 0; --i)
      std::swap(order[i], order[nextRandom() % (i + 1)]);
  for (int i = 0; i < count; ++i)
    position[order[i]] = i;
  for (int i = 0; i < count; ++i)
    startFiber(i);
  int blockWarps = (threads + 31) / 32;
  for (int i = 0; i < static_cast<int>(warps.size()); ++i) {
    warps[i].arrived = 0;
    warps[i].lanes = std::min(32, threads - i % blockWarps * 32);
  }
  clusterArrived = 0;
  clusterExpected = count;
  faultSignal = 0;
  running = this;
  Fiber &first = fibers[order[0]];
  active = &first;
  switchTo(first);
  mlsys_fiber_switch(&mainStackPointer, first.stackPointer);
  running = nullptr;
  if (faultSignal == SIGFPE)
    failedAt("integer division by zero");
  else if (faultSignal)
    failedAt("");
  if (!error.empty())
    return;
  for (Fiber &fiber : fibers)
    if (!fiber.done) {
      active = &fiber;
      return failedAt(
          fmt::format("waits at {} for threads that have ended{}", fiber.where, describeBarriers()));
    }
  for (Part &part : parts)
    if (std::string left = part.async.unfinished(); !left.empty()) {
      active = &fibers[part.rank * threads];
      return failedAt("the block has ended, but " + left);
    }
}

bool HostBlock::isAccessFault() const { return faultSignal != 0 && faultSignal != SIGFPE; }

void HostBlock::failedAt(std::string_view message) {
  host::Dim3 at = active->part->index;
  error = fmt::format("kernel '{}', block ({}, {}, {}) thread {}: {}", launch->name, at.x, at.y, at.z, active->thread,
                      message);
}

uint64_t HostBlock::nextRandom() {
  random = random * 6364136223846793005ull + 1442695040888963407ull;
  return random >> 33;
}
