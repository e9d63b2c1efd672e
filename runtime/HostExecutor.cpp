//===- HostExecutor.cpp ---------------------------------------------------===//
//
// Part of mlsys, under the Apache License v2.0. See LICENSE.
//
//===----------------------------------------------------------------------===//

#include "runtime/HostExecutor.h"

#include "runtime/Error.h"

#include <algorithm>
#include <atomic>
#include <condition_variable>
#include <csignal>
#include <cstdlib>
#include <cstring>
#include <mutex>
#include <string_view>
#include <sys/mman.h>
#include <thread>
#include <ucontext.h>
#include <vector>

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

namespace {

constexpr size_t pageBytes = 4096;
constexpr size_t stackBytes = 128 * 1024;
constexpr size_t scratchBytes = 512;
/// The most dynamic shared memory that a block of an H100 may have.
constexpr size_t maxSharedBytes = 227 * 1024;
constexpr int maxThreads = 1024;

size_t roundUp(size_t value, size_t unit) { return (value + unit - 1) / unit * unit; }

/// Anonymous memory, unmapped at the end.
struct Mapping {
  unsigned char *data = nullptr;
  size_t bytes = 0;
  Mapping() = default;
  explicit Mapping(size_t bytes) : bytes(bytes) {
    void *address = mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (address == MAP_FAILED)
      throw Error("out of memory: the host executor needs {} bytes", bytes);
    data = static_cast<unsigned char *>(address);
  }
  Mapping(Mapping &&other) noexcept : data(std::exchange(other.data, nullptr)), bytes(other.bytes) {}
  Mapping &operator=(Mapping &&other) noexcept {
    std::swap(data, other.data);
    std::swap(bytes, other.bytes);
    return *this;
  }
  ~Mapping() {
    if (data)
      munmap(data, bytes);
  }
};

struct Copy {
  unsigned destination;
  const void *source;
  int bytes;
};

struct Fiber {
  void *stackPointer;
  int index;
  bool done;
  /// Waits until *generation differs from `seen`; runnable when null.
  const uint64_t *generation;
  uint64_t seen;
  const char *where;
  /// Copies not yet in a group, and groups not yet landed.
  std::vector<Copy> open;
  std::vector<std::vector<Copy>> groups;
};

/// A warp's meeting for a collective operation.
struct Warp {
  void *arguments[32];
  int lanes = 32;
  int arrived = 0;
  const char *operation = nullptr;
  uint64_t generation = 0;
};

/// Runs the blocks of one OS thread. The Context is the base so that the callbacks
/// find their way back.
struct BlockRunner : host::Context {
  const HostLaunch *launch = nullptr;
  HostSchedule schedule = HostSchedule::Forward;
  Mapping stacks, memory;
  size_t sharedCapacity = 0;
  std::vector<Fiber> fibers;
  std::vector<int> order, position;
  Warp warps[maxThreads / 32];
  uint64_t barrierGeneration = 0;
  int arrived = 0, expected = 0;
  Fiber *active = nullptr;
  void *mainStackPointer = nullptr;
  uint64_t random = 0;
  std::string error;
  int faultSignal = 0;
  const void *faultAddress = nullptr;

  void runBlock(host::Dim3 index);
  void prepare(const HostLaunch &launch, HostSchedule schedule);
  void startFiber(int index);
  void switchTo(Fiber &fiber);
  Fiber *nextRunnable();
  void waitFor(const uint64_t &generation, const char *where);
  void releaseBarrierIfComplete();
  [[noreturn]] void leave();
  [[noreturn]] void failHere(std::string message);
  void land(const std::vector<Copy> &copies);
  uint64_t nextRandom() {
    random = random * 6364136223846793005ull + 1442695040888963407ull;
    return random >> 33;
  }
  void failedAt(std::string_view message) {
    error = fmt::format("kernel '{}', block ({}, {}, {}) thread {}: {}", launch->name, block.x, block.y, block.z,
                        active->index, message);
  }
};

/// The runner of this OS thread while one of its fibers runs; the signal handler
/// asks.
thread_local BlockRunner *running = nullptr;

BlockRunner &runnerOf(host::Context *context) { return *static_cast<BlockRunner *>(context); }

//===----------------------------------------------------------------------===//
// Faults
//===----------------------------------------------------------------------===//

struct sigaction previousSegv, previousBus, previousFpe;

void onFault(int signal, siginfo_t *info, void *machine) {
  BlockRunner *runner = running;
  if (!runner) {
    // Not ours: the handler that was there before decides.
    struct sigaction &previous = signal == SIGSEGV ? previousSegv : signal == SIGBUS ? previousBus : previousFpe;
    if (previous.sa_flags & SA_SIGINFO)
      return previous.sa_sigaction(signal, info, machine);
    if (previous.sa_handler != SIG_DFL && previous.sa_handler != SIG_IGN)
      return previous.sa_handler(signal);
    ::signal(signal, SIG_DFL);
    return;
  }
  runner->faultSignal = signal;
  runner->faultAddress = info->si_addr;
  auto *context = static_cast<ucontext_t *>(machine);
  context->uc_mcontext.gregs[REG_RSP] = reinterpret_cast<greg_t>(runner->mainStackPointer);
  context->uc_mcontext.gregs[REG_RIP] = reinterpret_cast<greg_t>(&mlsys_fiber_resume);
}

void installFaultHandler() {
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

/// The handler's own stack, since a fiber's may be what overflowed.
struct SignalStack {
  Mapping memory{64 * 1024};
  stack_t previous = {};
  SignalStack() {
    stack_t stack = {};
    stack.ss_sp = memory.data;
    stack.ss_size = memory.bytes;
    sigaltstack(&stack, &previous);
  }
  ~SignalStack() {
    if (!(previous.ss_flags & SS_DISABLE) && previous.ss_sp)
      sigaltstack(&previous, nullptr);
    else {
      stack_t none = {};
      none.ss_flags = SS_DISABLE;
      sigaltstack(&none, nullptr);
    }
  }
};

//===----------------------------------------------------------------------===//
// Fibers
//===----------------------------------------------------------------------===//

[[noreturn]] void fiberMain() {
  BlockRunner &runner = *running;
  runner.launch->entry(&runner, runner.launch->arguments);
  Fiber &self = *runner.active;
  self.done = true;
  --runner.expected;
  runner.releaseBarrierIfComplete();
  if (Fiber *next = runner.nextRunnable())
    runner.switchTo(*next);
  runner.leave();
}

void BlockRunner::startFiber(int index) {
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

void BlockRunner::switchTo(Fiber &fiber) {
  Fiber *from = active;
  active = &fiber;
  thread.x = fiber.index % blockDim.x;
  thread.y = fiber.index / blockDim.x % blockDim.y;
  thread.z = fiber.index / (blockDim.x * blockDim.y);
  if (from != &fiber)
    mlsys_fiber_switch(&from->stackPointer, fiber.stackPointer);
}

Fiber *BlockRunner::nextRunnable() {
  int count = static_cast<int>(fibers.size());
  int start = schedule == HostSchedule::Random ? static_cast<int>(nextRandom() % count) : position[active->index] + 1;
  for (int i = 0; i < count; ++i) {
    int at = start + i;
    Fiber &fiber = fibers[order[at < count ? at : at - count]];
    if (!fiber.done && (!fiber.generation || *fiber.generation != fiber.seen))
      return &fiber;
  }
  return nullptr;
}

void BlockRunner::waitFor(const uint64_t &generation, const char *where) {
  Fiber &self = *active;
  self.generation = &generation;
  self.seen = generation;
  self.where = where;
  Fiber *next = nextRunnable();
  if (!next) {
    std::string places;
    std::vector<std::pair<const char *, int>> shown;
    for (Fiber &fiber : fibers) {
      const char *place = fiber.done ? "its end" : fiber.where;
      auto known = std::find_if(shown.begin(), shown.end(),
                                [&](auto &entry) { return std::string_view(entry.first) == place; });
      if (known == shown.end())
        shown.push_back({place, fiber.index});
    }
    for (auto &[place, index] : shown)
      places += fmt::format("{}thread {} is at {}", places.empty() ? "" : ", ", index, place);
    failHere("deadlock, the threads wait at different places: " + places);
  }
  switchTo(*next);
  self.generation = nullptr;
}

void BlockRunner::releaseBarrierIfComplete() {
  if (arrived > 0 && arrived >= expected) {
    arrived = 0;
    ++barrierGeneration;
  }
}

void BlockRunner::leave() {
  void *unused;
  mlsys_fiber_switch(&unused, mainStackPointer);
  std::abort(); // nobody resumes this fiber
}

void BlockRunner::failHere(std::string message) {
  failedAt(message);
  leave();
}

//===----------------------------------------------------------------------===//
// What the device library calls
//===----------------------------------------------------------------------===//

void BlockRunner::land(const std::vector<Copy> &copies) {
  for (const Copy &copy : copies) {
    std::memset(shared + copy.destination, 0, 16);
    std::memcpy(shared + copy.destination, copy.source, copy.bytes);
  }
}

void onBarrier(host::Context *context) {
  BlockRunner &runner = runnerOf(context);
  ++runner.arrived;
  if (runner.arrived >= runner.expected)
    return runner.releaseBarrierIfComplete();
  runner.waitFor(runner.barrierGeneration, "bar_sync");
}

void onWarp(host::Context *context, const char *operation, void *argument, void (*combine)(void **, int)) {
  BlockRunner &runner = runnerOf(context);
  Fiber &self = *runner.active;
  Warp &warp = runner.warps[self.index / 32];
  if (warp.arrived == 0)
    warp.operation = operation;
  else if (std::string_view(warp.operation) != operation)
    runner.failHere(fmt::format("the lanes of warp {} diverge: some are at {}, this one is at {}", self.index / 32,
                                warp.operation, operation));
  warp.arguments[self.index % 32] = argument;
  if (++warp.arrived < warp.lanes)
    return runner.waitFor(warp.generation, operation);
  warp.arrived = 0;
  combine(warp.arguments, warp.lanes);
  ++warp.generation;
}

void onCopyAsync(host::Context *context, unsigned destination, const void *source, int bytes) {
  BlockRunner &runner = runnerOf(context);
  if (destination % 16 || reinterpret_cast<uintptr_t>(source) % 16)
    runner.failHere("misaligned cp_async16");
  if (bytes < 0 || bytes > 16)
    runner.failHere(fmt::format("cp_async16 of {} bytes", bytes));
  // Whoever reads before the copy is waited for, or reads what it replaces, gets NaN.
  std::memset(runner.shared + destination, 0xff, 16);
  runner.active->open.push_back({destination, source, bytes});
}

void onCommit(host::Context *context) {
  Fiber &self = *runnerOf(context).active;
  self.groups.push_back(std::move(self.open));
  self.open.clear();
}

void onWait(host::Context *context, int pending) {
  BlockRunner &runner = runnerOf(context);
  auto &groups = runner.active->groups;
  size_t landing = groups.size() > static_cast<size_t>(pending) ? groups.size() - pending : 0;
  for (size_t i = 0; i < landing; ++i)
    runner.land(groups[i]);
  groups.erase(groups.begin(), groups.begin() + landing);
}

void onFail(host::Context *context, const char *message) { runnerOf(context).failHere(message); }

//===----------------------------------------------------------------------===//
// Blocks
//===----------------------------------------------------------------------===//

void BlockRunner::prepare(const HostLaunch &next, HostSchedule nextSchedule) {
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
  int count = next.block.x * next.block.y * next.block.z;
  if (stacks.bytes < count * stackBytes) {
    stacks = Mapping(count * stackBytes);
    for (int i = 0; i < count; ++i)
      mprotect(stacks.data + i * stackBytes, pageBytes, PROT_NONE);
  }
  // [scratch] guard [shared] guard, both ending at their guard page.
  size_t sharedPages = roundUp(next.sharedBytes, pageBytes);
  if (!memory.data || sharedCapacity != sharedPages) {
    memory = Mapping(3 * pageBytes + sharedPages);
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

void BlockRunner::runBlock(host::Dim3 index) {
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
      return failedAt(fmt::format("waits at {} for threads that have ended", fiber.where));
    }
}

} // namespace

//===----------------------------------------------------------------------===//
// HostExecutor
//===----------------------------------------------------------------------===//

/// The threads besides the caller's, and the launch they work on.
struct HostExecutor::Workers {
  std::vector<std::thread> threads;
  std::mutex mutex;
  std::condition_variable wake, finished;
  uint64_t generation = 0;
  int busy = 0;
  bool stop = false;

  const HostLaunch *launch = nullptr;
  HostSchedule schedule = HostSchedule::Forward;
  int64_t blocks = 0;
  std::atomic<int64_t> next{0};
  std::string error;
  bool accessFault = false;
  const void *faultAddress = nullptr;
  BlockRunner callers;

  void work(BlockRunner &runner) {
    try {
      runner.prepare(*launch, schedule);
      SignalStack signalStack;
      for (int64_t i = next++; i < blocks; i = next++) {
        host::Dim3 index;
        index.x = static_cast<int>(i % launch->grid.x);
        index.y = static_cast<int>(i / launch->grid.x % launch->grid.y);
        index.z = static_cast<int>(i / launch->grid.x / launch->grid.y);
        runner.error.clear();
        runner.runBlock(index);
        if (!runner.error.empty())
          return report(runner.error, runner.faultSignal && runner.faultSignal != SIGFPE, runner.faultAddress);
      }
    } catch (const std::exception &failure) {
      report(failure.what(), false, nullptr);
    }
  }

  void report(const std::string &message, bool badAccess, const void *address) {
    std::lock_guard lock(mutex);
    next = blocks;
    if (error.empty()) {
      error = message;
      accessFault = badAccess;
      faultAddress = address;
    }
  }

  void loop() {
    BlockRunner runner;
    uint64_t seen = 0;
    std::unique_lock lock(mutex);
    while (true) {
      wake.wait(lock, [&] { return stop || generation != seen; });
      if (stop)
        return;
      seen = generation;
      lock.unlock();
      work(runner);
      lock.lock();
      if (--busy == 0)
        finished.notify_one();
    }
  }
};

HostSchedule mlsys::rt::hostScheduleFromEnvironment() {
  const char *value = std::getenv("MLSYS_HOST_SCHEDULE");
  std::string_view name = value ? value : "";
  if (name.empty() || name == "forward")
    return HostSchedule::Forward;
  if (name == "reverse")
    return HostSchedule::Reverse;
  if (name == "random")
    return HostSchedule::Random;
  throw Error("MLSYS_HOST_SCHEDULE is '{}'; expected forward, reverse or random", name);
}

HostExecutor::HostExecutor(int threads, HostSchedule schedule)
    : workers(std::make_unique<Workers>()), schedule(schedule) {
  if (threads <= 0)
    threads = static_cast<int>(std::max(1u, std::thread::hardware_concurrency()));
  threads = std::min(threads, 16);
  installFaultHandler();
  for (int i = 1; i < threads; ++i)
    workers->threads.emplace_back([state = workers.get()] { state->loop(); });
}

HostExecutor::~HostExecutor() {
  {
    std::lock_guard lock(workers->mutex);
    workers->stop = true;
  }
  workers->wake.notify_all();
  for (std::thread &thread : workers->threads)
    thread.join();
}

int HostExecutor::threads() const { return static_cast<int>(workers->threads.size()) + 1; }

void HostExecutor::launch(const HostLaunch &launch) {
  int64_t blockThreads = int64_t(launch.block.x) * launch.block.y * launch.block.z;
  if (launch.block.x < 1 || launch.block.y < 1 || launch.block.z < 1 || blockThreads > maxThreads)
    throw Error("kernel '{}': a block of {} x {} x {} threads; a GPU takes 1 to {}", launch.name, launch.block.x,
                launch.block.y, launch.block.z, maxThreads);
  if (launch.grid.x < 1 || launch.grid.y < 1 || launch.grid.z < 1 || launch.grid.y > 65535 || launch.grid.z > 65535)
    throw Error("kernel '{}': a grid of {} x {} x {} blocks; a GPU takes 1 to 65535 in y and z", launch.name,
                launch.grid.x, launch.grid.y, launch.grid.z);
  if (launch.sharedBytes > maxSharedBytes)
    throw Error("kernel '{}': {} bytes of shared memory; a GPU has {}", launch.name, launch.sharedBytes,
                maxSharedBytes);
  Workers &state = *workers;
  state.launch = &launch;
  state.schedule = schedule;
  state.blocks = int64_t(launch.grid.x) * launch.grid.y * launch.grid.z;
  state.next = 0;
  state.error.clear();
  state.accessFault = false;
  bool shareWork = state.blocks > 1 && !state.threads.empty();
  if (shareWork) {
    {
      std::lock_guard lock(state.mutex);
      state.busy = static_cast<int>(state.threads.size());
      ++state.generation;
    }
    state.wake.notify_all();
  }
  state.work(state.callers);
  if (shareWork) {
    std::unique_lock lock(state.mutex);
    state.finished.wait(lock, [&] { return state.busy == 0; });
  }
  if (state.error.empty())
    return;
  if (state.accessFault) {
    std::string near = describeAddress ? describeAddress(state.faultAddress) : "";
    throw Error("{}access to {}, {}", state.error, state.faultAddress,
                near.empty() ? "which is no memory of the kernel" : near);
  }
  throw Error("{}", state.error);
}
