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
  --block.expected;
  block.releaseBarrierIfComplete();
  if (HostBlock::Fiber *next = block.nextRunnable())
    block.switchTo(*next);
  block.leave();
}

void HostBlock::startFiber(int index) {
  Fiber &fiber = fibers[index];
  fiber.index = index;
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
  thread.x = fiber.index % blockDim.x;
  thread.y = fiber.index / blockDim.x % blockDim.y;
  thread.z = fiber.index / (blockDim.x * blockDim.y);
  if (from != &fiber)
    mlsys_fiber_switch(&from->stackPointer, fiber.stackPointer);
}

HostBlock::Fiber *HostBlock::nextRunnable() {
  int count = static_cast<int>(fibers.size());
  // The active thread's warp first: warps run as far apart as barriers let them.
  int start = schedule == HostSchedule::Random ? static_cast<int>(nextRandom() % count)
                                               : position[active->index] / 32 * 32;
  if (schedule == HostSchedule::Random && start % 8 == 0)
    async.advance();
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
  } while (waiting && async.advance());
  return nullptr;
}

/// One thread for each place where threads are.
std::string HostBlock::placesOfThreads() const {
  std::string places;
  std::vector<std::string_view> shown;
  for (const Fiber &fiber : fibers) {
    std::string_view place = fiber.done ? "its end" : fiber.where;
    if (std::find(shown.begin(), shown.end(), place) != shown.end())
      continue;
    places += fmt::format("{}thread {} is at {}", places.empty() ? "" : ", ", fiber.index, place);
    shown.push_back(place);
  }
  return places + async.describeBarriers();
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

void HostBlock::releaseBarrierIfComplete() {
  if (arrived > 0 && arrived >= expected) {
    arrived = 0;
    ++barrierGeneration;
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
  ++block.arrived;
  if (block.arrived >= block.expected)
    return block.releaseBarrierIfComplete();
  block.waitFor(block.barrierGeneration, "bar_sync");
}

static void onWarp(host::Context *context, const char *operation, void *argument, void (*combine)(void **, int)) {
  HostBlock &block = blockOf(context);
  HostBlock::Fiber &self = *block.active;
  HostBlock::Warp &warp = block.warps[self.index / 32];
  if (warp.arrived == 0)
    warp.operation = operation;
  else if (std::string_view(warp.operation) != operation)
    block.failHere(fmt::format("the lanes of warp {} diverge: some are at {}, this one is at {}", self.index / 32,
                                warp.operation, operation));
  warp.arguments[self.index % 32] = argument;
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
  int count = next.block.x * next.block.y * next.block.z;
  if (stacks.bytes < count * stackBytes) {
    stacks = HostMapping(count * stackBytes);
    for (int i = 0; i < count; ++i)
      mprotect(stacks.data + i * stackBytes, pageBytes, PROT_NONE);
  }
  // [scratch] guard [shared] guard, both ending at their guard page.
  size_t sharedPages = roundUp(next.sharedBytes, pageBytes);
  if (!memory.data || sharedCapacity != sharedPages) {
    memory = HostMapping(3 * pageBytes + sharedPages);
    mprotect(memory.data + pageBytes, pageBytes, PROT_NONE);
    mprotect(memory.data + 2 * pageBytes + sharedPages, pageBytes, PROT_NONE);
    sharedCapacity = sharedPages;
  }
  scratch = memory.data + pageBytes - scratchBytes;
  shared = memory.data + 2 * pageBytes + sharedPages - roundUp(next.sharedBytes, 128);
  fibers.resize(count);
  order.resize(count);
  position.resize(count);
}

void HostBlock::run(host::Dim3 index) {
  block = index;
  random = (static_cast<uint64_t>(index.x) * 73856093u) ^ (static_cast<uint64_t>(index.y) * 19349663u) ^
           (static_cast<uint64_t>(index.z) * 83492791u) ^ 0x9e3779b97f4a7c15ull;
  std::memset(scratch, 0xff, scratchBytes);
  std::memset(shared, 0xff, roundUp(launch->sharedBytes, 128));
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
  for (int i = 0; i < (count + 31) / 32; ++i) {
    warps[i].arrived = 0;
    warps[i].lanes = std::min(32, count - i * 32);
  }
  arrived = 0;
  expected = count;
  faultSignal = 0;
  async.start(*this);
  running = this;
  Fiber &first = fibers[order[0]];
  active = &first;
  thread = {first.index % blockDim.x, first.index / blockDim.x % blockDim.y, first.index / (blockDim.x * blockDim.y)};
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
          fmt::format("waits at {} for threads that have ended{}", fiber.where, async.describeBarriers()));
    }
  if (std::string left = async.unfinished(); !left.empty())
    failedAt("the block has ended, but " + left);
}

bool HostBlock::isAccessFault() const { return faultSignal != 0 && faultSignal != SIGFPE; }

void HostBlock::failedAt(std::string_view message) {
  error = fmt::format("kernel '{}', block ({}, {}, {}) thread {}: {}", launch->name, block.x, block.y, block.z,
                      active->index, message);
}

uint64_t HostBlock::nextRandom() {
  random = random * 6364136223846793005ull + 1442695040888963407ull;
  return random >> 33;
}
