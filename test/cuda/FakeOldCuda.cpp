//===- FakeOldCuda.cpp - A CUDA driver of long ago ------------------------===//
//
// Part of mlsys, under the Apache License v2.0. See LICENSE.
//
//===----------------------------------------------------------------------===//
//
// Has the functions of an old driver that come before all others, and none that it lacked.
//
//===----------------------------------------------------------------------===//

#define EXPORT extern "C" __attribute__((visibility("default")))

EXPORT int cuInit(unsigned) { return 0; }
EXPORT int cuDriverGetVersion(int *version) {
  *version = 11040;
  return 0;
}
EXPORT int cuGetErrorString(int, const char **text) {
  *text = "a fake failure";
  return 0;
}
