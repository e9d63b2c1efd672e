//===- FakeCuda.cpp - A CUDA driver that records its calls ----------------===//
//
// Part of mlsys, under the Apache License v2.0. See LICENSE.
//
//===----------------------------------------------------------------------===//
//
// Stands in for libcuda.so.1: two GPUs, memory on the host, launches that are only
// written down. The layout of its structures follows the driver's documentation,
// independently of runtime/CudaDriver.h.
//
//===----------------------------------------------------------------------===//

#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <string>

#define EXPORT extern "C" __attribute__((visibility("default")))

namespace {
std::string calls, failing;
int parameterCount = 0;
int current = 0;
char context[2], stream;

/// Writes the call down; its status.
int record(const char *name, const std::string &details = "") {
  calls += name + (details.empty() ? "" : " " + details) + "\n";
  return failing == name ? 719 : 0;
}

std::string number(unsigned long long value) { return std::to_string(value); }

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
struct Loaded {
  std::string image, name;
};
} // namespace

/// The calls since the last time.
EXPORT const char *fakeTakeCalls() {
  static std::string taken;
  taken.swap(calls);
  calls.clear();
  return taken.c_str();
}
/// Makes the named function fail; "" none.
EXPORT void fakeFail(const char *name) { failing = name; }
/// How many parameters of eight bytes the next launches have.
EXPORT void fakeParameters(int count) { parameterCount = count; }

EXPORT int cuInit(unsigned) { return 0; }
EXPORT int cuGetErrorString(int, const char **text) {
  *text = "a fake failure";
  return 0;
}
EXPORT int cuDriverGetVersion(int *version) {
  *version = 13000;
  return 0;
}
EXPORT int cuDeviceGetCount(int *count) {
  *count = 2;
  return 0;
}
EXPORT int cuDeviceGet(int *device, int index) {
  *device = 100 + index;
  return 0;
}
EXPORT int cuDeviceGetName(char *name, int size, int device) {
  snprintf(name, size, "Fake %d", device);
  return 0;
}
EXPORT int cuDeviceGetAttribute(int *value, int attribute, int device) {
  bool first = device == 100;
  *value = attribute == 75   ? (first ? 9 : 8)
           : attribute == 76 ? (first ? 0 : 6)
           : attribute == 16 ? 132
           : attribute == 97 ? (first ? 232448 : 101376)
                             : 0;
  return 0;
}
EXPORT int cuDeviceTotalMem_v2(size_t *bytes, int) {
  *bytes = size_t(80) << 30;
  return 0;
}
EXPORT int cuDevicePrimaryCtxRetain(void **result, int device) {
  *result = &context[device - 100];
  return record("cuDevicePrimaryCtxRetain", number(device));
}
EXPORT int cuDevicePrimaryCtxRelease_v2(int device) { return record("cuDevicePrimaryCtxRelease", number(device)); }
EXPORT int cuCtxSetCurrent(void *wanted) {
  current = static_cast<int>(static_cast<char *>(wanted) - context) + 100;
  return 0;
}
EXPORT int cuStreamCreate(void **result, unsigned flags) {
  *result = &stream;
  return record("cuStreamCreate", number(flags));
}
EXPORT int cuStreamDestroy_v2(void *) { return record("cuStreamDestroy"); }
EXPORT int cuStreamSynchronize(void *on) { return record("cuStreamSynchronize", on == &stream ? "" : "wrong stream"); }
EXPORT int cuMemAlloc_v2(unsigned long long *address, size_t bytes) {
  *address = reinterpret_cast<unsigned long long>(aligned_alloc(256, (bytes + 255) / 256 * 256));
  return record("cuMemAlloc", number(bytes));
}
EXPORT int cuMemFree_v2(unsigned long long address) {
  free(reinterpret_cast<void *>(address));
  return record("cuMemFree");
}
EXPORT int cuMemcpyHtoDAsync_v2(unsigned long long to, const void *from, size_t bytes, void *) {
  memcpy(reinterpret_cast<void *>(to), from, bytes);
  return record("cuMemcpyHtoDAsync", number(bytes));
}
EXPORT int cuMemcpyDtoHAsync_v2(void *to, unsigned long long from, size_t bytes, void *) {
  memcpy(to, reinterpret_cast<void *>(from), bytes);
  return record("cuMemcpyDtoHAsync", number(bytes));
}
EXPORT int cuMemsetD8Async(unsigned long long to, unsigned char value, size_t bytes, void *) {
  memset(reinterpret_cast<void *>(to), value, bytes);
  return record("cuMemsetD8Async", number(bytes));
}
EXPORT int cuModuleLoadData(void **module, const void *image) {
  bool elf = memcmp(image, "\177ELF", 4) == 0;
  *module = new Loaded{elf ? "ELF" : std::string(static_cast<const char *>(image)), ""};
  return record("cuModuleLoadData", static_cast<Loaded *>(*module)->image);
}
EXPORT int cuModuleUnload(void *module) {
  delete static_cast<Loaded *>(module);
  return record("cuModuleUnload");
}
EXPORT int cuModuleGetFunction(void **function, void *module, const char *name) {
  static_cast<Loaded *>(module)->name = name;
  *function = module;
  return record("cuModuleGetFunction", name);
}
EXPORT int cuFuncSetAttribute(void *function, int attribute, int value) {
  return record("cuFuncSetAttribute",
                static_cast<Loaded *>(function)->name + " " + number(attribute) + " " + number(value));
}
EXPORT int cuLaunchKernelEx(const Config *config, void *function, void **parameters, void **) {
  std::string details = static_cast<Loaded *>(function)->name + " on " + number(current) + " grid";
  for (unsigned extent : config->grid)
    details += " " + number(extent);
  details += " block";
  for (unsigned extent : config->block)
    details += " " + number(extent);
  details += " shared " + number(config->shared) + (config->stream == &stream ? "" : " wrong stream");
  for (unsigned i = 0; i < config->count; ++i) {
    int value;
    memcpy(&value, config->attributes[i].value, sizeof(value));
    details += " attribute " + number(config->attributes[i].id) + "=" + number(value);
  }
  details += " parameters";
  for (int i = 0; i < parameterCount; ++i) {
    unsigned long long value;
    memcpy(&value, parameters[i], sizeof(value));
    details += " " + number(value);
  }
  return record("cuLaunchKernelEx", details);
}
