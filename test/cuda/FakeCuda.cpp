//===- FakeCuda.cpp - A CUDA driver that records its calls ----------------===//
//
// Part of mlsys, under the Apache License v2.0. See LICENSE.
//
//===----------------------------------------------------------------------===//
//
// Stands in for libcuda.so.1: two GPUs, memory on the host, launches that are only
// written down. Work in a stream is done as late as the driver may do it: when the host waits for
// the stream or for an event in it. So what is read or overwritten too early is seen. The
// layout of its structures follows the driver's documentation, independently of
// runtime/CudaDriver.h.
//
// FAKE_CUDA, a list of NAME=NUMBER with commas between, changes the machine: version, gpus,
// major (of GPU 0), memory (bytes); time: what lies between two events, in percent of the time before; init is what cuInit returns, and a number after the name of a
// function is what that function returns.
//
//===----------------------------------------------------------------------===//

#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

#define EXPORT extern "C" __attribute__((visibility("default")))

namespace {

constexpr int outOfMemory = 2, invalidValue = 1, illegalAddress = 700, captureUnsupported = 900,
              captureInvalidated = 901;

using Address = unsigned long long;

struct Graph {
  std::vector<std::function<int()>> nodes;
};

struct Stream {
  std::deque<std::function<int()>> work;
  std::unique_ptr<Graph> capturing;
  bool invalidated = false;
};

struct Event {
  Stream *stream = nullptr;
  /// Ends when this becomes true.
  std::shared_ptr<bool> done;
};

struct Loaded {
  std::string image, name;
};

std::recursive_mutex mutex;
std::string calls, ran, failing;
int failCode = 719, failAfter = 0;
int parameterCount = 0;
int current = 0;
char context[2], pool;
/// Sizes of what is allocated, and of page-locked host memory.
std::map<Address, size_t> memory;
std::map<const char *, size_t> pinned;
size_t used = 0;
std::vector<std::unique_ptr<Stream>> streams;
/// Graphs that are not destroyed.
int graphs = 0;
bool refusesEarlyEdges = false;

long setting(const char *name, long otherwise) {
  const char *all = getenv("FAKE_CUDA");
  std::string wanted = std::string(name) + "=";
  for (const char *at = all; at; at = strchr(at, ',') ? strchr(at, ',') + 1 : nullptr)
    if (strncmp(at, wanted.c_str(), wanted.size()) == 0)
      return atol(at + wanted.size());
  return otherwise;
}

std::string number(unsigned long long value) { return std::to_string(value); }

std::string nameOf(const void *stream) {
  for (size_t i = 0; i < streams.size(); ++i)
    if (streams[i].get() == stream)
      return "s" + number(i);
  return "wrong stream";
}

/// Writes the call down; its status.
int record(const char *name, const std::string &details = "") {
  calls += name + (details.empty() ? "" : " " + details) + "\n";
  if (failing == name && failAfter-- <= 0)
    return failCode;
  return static_cast<int>(setting(name, 0));
}

/// Does the work of a stream up to where `enough` holds, or all of it.
int drain(Stream &stream, const bool *enough = nullptr) {
  while (!stream.work.empty() && !(enough && *enough)) {
    std::function<int()> next = std::move(stream.work.front());
    stream.work.pop_front();
    if (int status = next())
      return status;
  }
  return 0;
}

int enqueue(void *on, std::function<int()> work) {
  auto &stream = *static_cast<Stream *>(on);
  if (stream.capturing)
    stream.capturing->nodes.push_back(std::move(work));
  else
    stream.work.push_back(std::move(work));
  return 0;
}

/// What may not be done while a stream captures.
int forbidden() {
  for (auto &stream : streams)
    if (stream->capturing) {
      stream->invalidated = true;
      return captureUnsupported;
    }
  return 0;
}

/// Whether a range lies in one allocation.
bool inside(Address address, size_t bytes) {
  auto after = memory.upper_bound(address);
  if (after == memory.begin())
    return false;
  auto [start, size] = *std::prev(after);
  return address - start <= size && bytes <= size - (address - start);
}

bool isPinned(const void *from, size_t bytes) {
  auto *at = static_cast<const char *>(from);
  auto after = pinned.upper_bound(at);
  if (after == pinned.begin())
    return false;
  auto [start, size] = *std::prev(after);
  return size_t(at - start) <= size && bytes <= size - size_t(at - start);
}

int allocate(Address *address, size_t bytes) {
  if (bytes == 0)
    return invalidValue;
  size_t total = static_cast<size_t>(setting("memory", 80l << 30));
  if (bytes > total - used)
    return outOfMemory;
  size_t padded = (bytes + 255) / 256 * 256;
  void *result = aligned_alloc(256, padded);
  // Kernels do not run, so that zero is what they leave.
  if (padded <= size_t(1) << 30)
    memset(result, 0, padded);
  *address = reinterpret_cast<Address>(result);
  memory[*address] = bytes;
  used += bytes;
  return 0;
}

int release(Address address) {
  auto found = memory.find(address);
  if (found == memory.end())
    return invalidValue;
  used -= found->second;
  memory.erase(found);
  free(reinterpret_cast<void *>(address));
  return 0;
}

struct Config {
  unsigned grid[3], block[3], shared;
  void *stream;
  struct Attribute {
    unsigned id;
    char pad[4];
    char value[64];
  } *attributes;
  unsigned count;
};

} // namespace

//===----------------------------------------------------------------------===//
// For the tests
//===----------------------------------------------------------------------===//

/// The calls since the last time.
EXPORT const char *fakeTakeCalls() {
  static std::string taken;
  taken.swap(calls);
  calls.clear();
  return taken.c_str();
}
/// The kernels that have run since the last time.
EXPORT const char *fakeTakeRuns() {
  static std::string taken;
  taken.swap(ran);
  ran.clear();
  return taken.c_str();
}
/// Makes the named function fail with `code` after `count` calls; "" none.
EXPORT void fakeFail(const char *name, int code, int count) {
  failing = name;
  failCode = code;
  failAfter = count;
}
/// How many parameters of eight bytes the next launches have.
EXPORT void fakeParameters(int count) { parameterCount = count; }
/// Bytes allocated on the GPUs, and page-locked.
EXPORT size_t fakeUsed() { return used; }
EXPORT size_t fakePinned() {
  size_t total = 0;
  for (auto &[start, bytes] : pinned)
    total += bytes;
  return total;
}
EXPORT int fakeGraphs() { return graphs; }
/// Captures of early launches fail.
EXPORT void fakeRefuseEarlyEdges(bool refuse) { refusesEarlyEdges = refuse; }

//===----------------------------------------------------------------------===//
// The machine
//===----------------------------------------------------------------------===//

EXPORT int cuInit(unsigned) { return static_cast<int>(setting("init", 0)); }
EXPORT int cuGetErrorString(int, const char **text) {
  *text = "a fake failure";
  return 0;
}
EXPORT int cuDriverGetVersion(int *version) {
  *version = static_cast<int>(setting("version", 13000));
  return 0;
}
EXPORT int cuDeviceGetCount(int *count) {
  *count = static_cast<int>(setting("gpus", 2));
  return 0;
}
EXPORT int cuDeviceGet(int *device, int index) {
  *device = 100 + index;
  return 0;
}
EXPORT int cuDeviceGetName(char *name, int size, int device) {
  snprintf(name, static_cast<size_t>(size), "Fake %d", device);
  return 0;
}
EXPORT int cuDeviceGetAttribute(int *value, int attribute, int device) {
  bool first = device == 100;
  *value = attribute == 75    ? (first ? static_cast<int>(setting("major", 9)) : 8)
           : attribute == 76  ? (first ? 0 : 6)
           : attribute == 16  ? 132
           : attribute == 97  ? (first ? 232448 : 101376)
           : attribute == 115 ? static_cast<int>(setting("pools", 1))
                              : 0;
  return 0;
}
EXPORT int cuDeviceTotalMem_v2(size_t *bytes, int) {
  *bytes = static_cast<size_t>(setting("memory", 80l << 30));
  return 0;
}
EXPORT int cuDevicePrimaryCtxRetain(void **result, int device) {
  *result = &context[device - 100];
  return record("cuDevicePrimaryCtxRetain", number(static_cast<unsigned>(device)));
}
EXPORT int cuDevicePrimaryCtxRelease_v2(int device) {
  return record("cuDevicePrimaryCtxRelease", number(static_cast<unsigned>(device)));
}
EXPORT int cuCtxSetCurrent(void *wanted) {
  current = static_cast<int>(static_cast<char *>(wanted) - context) + 100;
  return 0;
}

//===----------------------------------------------------------------------===//
// Streams, events, graphs
//===----------------------------------------------------------------------===//

EXPORT int cuStreamCreate(void **result, unsigned flags) {
  std::lock_guard lock(mutex);
  int status = record("cuStreamCreate", number(flags));
  if (status == 0)
    *result = streams.emplace_back(std::make_unique<Stream>()).get();
  return status;
}
EXPORT int cuStreamDestroy_v2(void *stream) {
  std::lock_guard lock(mutex);
  drain(*static_cast<Stream *>(stream));
  std::erase_if(streams, [&](auto &known) { return known.get() == stream; });
  return record("cuStreamDestroy");
}
EXPORT int cuStreamSynchronize(void *on) {
  std::lock_guard lock(mutex);
  int status = record("cuStreamSynchronize", nameOf(on));
  if (int refused = forbidden())
    return refused;
  int done = drain(*static_cast<Stream *>(on));
  return status ? status : done;
}
EXPORT int cuEventCreate(void **event, unsigned flags) {
  std::lock_guard lock(mutex);
  *event = new Event;
  return flags == 2 || flags == 0 ? 0 : invalidValue;
}
EXPORT int cuEventElapsedTime(float *milliseconds, void *from, void *to) {
  std::lock_guard lock(mutex);
  for (void *which : {from, to})
    if (auto &event = *static_cast<Event *>(which); !event.done || !*event.done)
      return invalidValue;
  static float time = 0.5f;
  *milliseconds = time;
  time *= static_cast<float>(setting("time", 100)) / 100;
  return 0;
}
EXPORT int cuEventDestroy_v2(void *event) {
  delete static_cast<Event *>(event);
  return 0;
}
EXPORT int cuEventRecord(void *which, void *on) {
  std::lock_guard lock(mutex);
  auto &event = *static_cast<Event *>(which);
  event.stream = static_cast<Stream *>(on);
  event.done = std::make_shared<bool>(false);
  enqueue(on, [done = event.done] {
    *done = true;
    return 0;
  });
  return record("cuEventRecord", nameOf(on));
}
EXPORT int cuEventSynchronize(void *which) {
  std::lock_guard lock(mutex);
  auto &event = *static_cast<Event *>(which);
  if (int refused = forbidden())
    return refused;
  int status = record("cuEventSynchronize", event.stream ? nameOf(event.stream) : "");
  int done = event.stream ? drain(*event.stream, event.done.get()) : 0;
  return status ? status : done;
}
EXPORT int cuStreamBeginCapture_v2(void *on, int mode) {
  std::lock_guard lock(mutex);
  auto &stream = *static_cast<Stream *>(on);
  if (stream.capturing)
    return invalidValue;
  stream.capturing = std::make_unique<Graph>();
  stream.invalidated = false;
  return record("cuStreamBeginCapture", number(static_cast<unsigned>(mode)));
}
EXPORT int cuStreamEndCapture(void *on, void **graph) {
  std::lock_guard lock(mutex);
  auto &stream = *static_cast<Stream *>(on);
  *graph = nullptr;
  if (!stream.capturing)
    return invalidValue;
  std::unique_ptr<Graph> captured = std::move(stream.capturing);
  int status = record("cuStreamEndCapture");
  if (status || stream.invalidated)
    return status ? status : captureInvalidated;
  ++graphs;
  *graph = captured.release();
  return 0;
}
EXPORT int cuGraphInstantiateWithFlags(void **executable, void *graph, unsigned long long flags) {
  std::lock_guard lock(mutex);
  auto &captured = *static_cast<Graph *>(graph);
  int status = record("cuGraphInstantiate", number(captured.nodes.size()) + " nodes");
  if (flags || status)
    return status ? status : invalidValue;
  ++graphs;
  *executable = new Graph(captured);
  return 0;
}
EXPORT int cuGraphDestroy(void *graph) {
  --graphs;
  delete static_cast<Graph *>(graph);
  return 0;
}
EXPORT int cuGraphUpload(void *executable, void *on) {
  std::lock_guard lock(mutex);
  return executable ? record("cuGraphUpload", nameOf(on)) : invalidValue;
}
EXPORT int cuGraphLaunch(void *executable, void *on) {
  std::lock_guard lock(mutex);
  for (auto &node : static_cast<Graph *>(executable)->nodes)
    enqueue(on, node);
  return record("cuGraphLaunch", nameOf(on));
}
EXPORT int cuGraphExecDestroy(void *executable) {
  --graphs;
  delete static_cast<Graph *>(executable);
  return record("cuGraphExecDestroy");
}

//===----------------------------------------------------------------------===//
// Memory
//===----------------------------------------------------------------------===//

EXPORT int cuMemGetInfo_v2(size_t *free, size_t *total) {
  std::lock_guard lock(mutex);
  *total = static_cast<size_t>(setting("memory", 80l << 30));
  *free = *total - used;
  return 0;
}
EXPORT int cuMemAlloc_v2(Address *address, size_t bytes) {
  std::lock_guard lock(mutex);
  int status = record("cuMemAlloc", number(bytes));
  if (int refused = forbidden())
    return refused;
  return status ? status : allocate(address, bytes);
}
EXPORT int cuMemFree_v2(Address address) {
  std::lock_guard lock(mutex);
  int status = record("cuMemFree");
  if (int refused = forbidden())
    return refused;
  int freed = release(address);
  return status ? status : freed;
}
EXPORT int cuDeviceGetDefaultMemPool(void **result, int) {
  *result = &pool;
  return 0;
}
EXPORT int cuMemPoolSetAttribute(void *, int attribute, void *value) {
  unsigned long long threshold;
  memcpy(&threshold, value, sizeof(threshold));
  return attribute == 4 && threshold == ~0ull ? 0 : invalidValue;
}
EXPORT int cuMemPoolTrimTo(void *, size_t bytes) {
  std::lock_guard lock(mutex);
  return record("cuMemPoolTrimTo", number(bytes));
}
EXPORT int cuMemAllocAsync(Address *address, size_t bytes, void *on) {
  std::lock_guard lock(mutex);
  int status = record("cuMemAllocAsync", number(bytes) + " " + nameOf(on));
  return status ? status : allocate(address, bytes);
}
EXPORT int cuMemFreeAsync(Address address, void *on) {
  std::lock_guard lock(mutex);
  enqueue(on, [=] { return release(address); });
  return record("cuMemFreeAsync", nameOf(on));
}
EXPORT int cuMemHostAlloc(void **result, size_t bytes, unsigned flags) {
  std::lock_guard lock(mutex);
  if (int refused = forbidden())
    return refused;
  *result = aligned_alloc(4096, (bytes + 4095) / 4096 * 4096);
  pinned[static_cast<char *>(*result)] = bytes;
  return flags ? invalidValue : record("cuMemHostAlloc", number(bytes));
}
EXPORT int cuMemFreeHost(void *address) {
  std::lock_guard lock(mutex);
  if (pinned.erase(static_cast<char *>(address)) == 0)
    return invalidValue;
  free(address);
  return record("cuMemFreeHost");
}
EXPORT int cuMemcpyHtoDAsync_v2(Address to, const void *from, size_t bytes, void *on) {
  std::lock_guard lock(mutex);
  // Other memory is copied before the call returns.
  auto copy = std::make_shared<std::string>();
  if (!isPinned(from, bytes))
    copy->assign(static_cast<const char *>(from), bytes);
  enqueue(on, [=] {
    if (!inside(to, bytes))
      return illegalAddress;
    memcpy(reinterpret_cast<void *>(to), copy->empty() ? from : copy->data(), bytes);
    return 0;
  });
  return record("cuMemcpyHtoDAsync", number(bytes) + " " + nameOf(on) + (copy->empty() ? "" : " pageable"));
}
EXPORT int cuMemcpyDtoHAsync_v2(void *to, Address from, size_t bytes, void *on) {
  std::lock_guard lock(mutex);
  bool later = isPinned(to, bytes);
  enqueue(on, [=] {
    if (!inside(from, bytes))
      return illegalAddress;
    memcpy(to, reinterpret_cast<void *>(from), bytes);
    return 0;
  });
  if (!later)
    drain(*static_cast<Stream *>(on));
  return record("cuMemcpyDtoHAsync", number(bytes) + " " + nameOf(on) + (later ? "" : " pageable"));
}
EXPORT int cuMemsetD8Async(Address to, unsigned char value, size_t bytes, void *on) {
  std::lock_guard lock(mutex);
  enqueue(on, [=] {
    if (!inside(to, bytes))
      return illegalAddress;
    memset(reinterpret_cast<void *>(to), value, bytes);
    return 0;
  });
  return record("cuMemsetD8Async", number(bytes));
}

//===----------------------------------------------------------------------===//
// Kernels
//===----------------------------------------------------------------------===//

EXPORT int cuModuleLoadData(void **module, const void *image) {
  std::lock_guard lock(mutex);
  bool elf = memcmp(image, "\177ELF", 4) == 0;
  *module = new Loaded{elf ? "ELF" : std::string(static_cast<const char *>(image)), ""};
  return record("cuModuleLoadData", static_cast<Loaded *>(*module)->image);
}
EXPORT int cuModuleUnload(void *module) {
  std::lock_guard lock(mutex);
  delete static_cast<Loaded *>(module);
  return record("cuModuleUnload");
}
EXPORT int cuModuleGetFunction(void **function, void *module, const char *name) {
  std::lock_guard lock(mutex);
  static_cast<Loaded *>(module)->name = name;
  *function = module;
  return record("cuModuleGetFunction", name);
}
EXPORT int cuFuncLoad(void *function) {
  std::lock_guard lock(mutex);
  if (int refused = forbidden())
    return refused;
  return record("cuFuncLoad", static_cast<Loaded *>(function)->name);
}
EXPORT int cuFuncSetAttribute(void *function, int attribute, int value) {
  std::lock_guard lock(mutex);
  return record("cuFuncSetAttribute", static_cast<Loaded *>(function)->name + " " +
                                          number(static_cast<unsigned>(attribute)) + " " +
                                          number(static_cast<unsigned>(value)));
}
EXPORT int cuTensorMapEncodeTiled(void *map, int type, unsigned rank, void *base, const unsigned long long *extents,
                                  const unsigned long long *strides, const unsigned *box, const unsigned *steps,
                                  int interleave, int swizzle, int promotion, int fill) {
  std::lock_guard lock(mutex);
  std::string details = "type " + number(static_cast<unsigned>(type)) + " extents";
  memset(map, 0, 128);
  memcpy(map, &base, sizeof(base));
  for (unsigned i = 0; i < rank; ++i)
    details += " " + number(extents[i]);
  details += " strides";
  for (unsigned i = 0; i + 1 < rank; ++i)
    details += " " + number(strides[i]);
  details += " box";
  for (unsigned i = 0; i < rank; ++i)
    details += " " + number(box[i]) + "/" + number(steps[i]);
  for (int value : {interleave, swizzle, promotion, fill})
    details += " " + number(static_cast<unsigned>(value));
  return record("cuTensorMapEncodeTiled", details);
}
EXPORT int cuLaunchKernelEx(const Config *config, void *function, void **parameters, void **) {
  std::lock_guard lock(mutex);
  std::string details =
      static_cast<Loaded *>(function)->name + " on " + number(static_cast<unsigned>(current)) + " grid";
  for (unsigned extent : config->grid)
    details += " " + number(extent);
  details += " block";
  for (unsigned extent : config->block)
    details += " " + number(extent);
  details += " shared " + number(config->shared) + " " + nameOf(config->stream);
  auto &stream = *static_cast<Stream *>(config->stream);
  for (unsigned i = 0; i < config->count; ++i) {
    int value;
    memcpy(&value, config->attributes[i].value, sizeof(value));
    details += " attribute " + number(config->attributes[i].id) + "=" + number(static_cast<unsigned>(value));
    if (stream.capturing && refusesEarlyEdges) {
      stream.invalidated = true;
      return captureUnsupported;
    }
  }
  std::string values;
  for (int i = 0; i < parameterCount; ++i) {
    unsigned long long value;
    memcpy(&value, parameters[i], sizeof(value));
    values += " " + number(value);
  }
  enqueue(config->stream, [run = static_cast<Loaded *>(function)->name + values + "\n"] {
    ran += run;
    return 0;
  });
  return record("cuLaunchKernelEx", details + " parameters" + values);
}
