//===- CpuTarget.cpp - What code generation knows of a CPU ----------------===//
//
// Part of mlsys, under the Apache License v2.0. See LICENSE.
//
//===----------------------------------------------------------------------===//

#include "mlsys/CodeGen/FusionLowering.h"
#include "runtime/CpuDevice.h"

#include <thread>
#include <unistd.h>

using namespace mlsys;

std::optional<CpuTarget> CpuTarget::get(llvm::StringRef isa) {
  CpuTarget target;
  target.isa = isa.str();
  if (isa == "x86-64-v3")
    return target;
  target.vectorWidth = 16;
  if (isa == "x86-64-v4")
    return target;
  target.bf16Dot = target.byteDot = true;
  if (isa == "avx512bf16")
    return target;
  target.amx = true;
  if (isa == "amx")
    return target;
  return std::nullopt;
}

/// What one thread can expect to keep in a cache that is shared.
static constexpr int64_t maxL3BytesPerThread = 16 << 20;

/// The size that the C library reports, or what is usual.
static int64_t cacheBytes(int name, int64_t usual) {
  long bytes = ::sysconf(name);
  return bytes > 0 ? bytes : usual;
}

CpuTarget CpuTarget::host() {
  std::string isa = rt::bestCpuIsa();
  CpuTarget target = *get(isa.empty() ? "x86-64-v3" : isa);
  target.l1Bytes = cacheBytes(_SC_LEVEL1_DCACHE_SIZE, target.l1Bytes);
  target.l2Bytes = cacheBytes(_SC_LEVEL2_CACHE_SIZE, target.l2Bytes);
  target.threads = std::max(1u, std::thread::hardware_concurrency());
  // Of a large cache that many cores share, a few threads get their part.
  target.l3Bytes = std::min(cacheBytes(_SC_LEVEL3_CACHE_SIZE, target.l3Bytes),
                            target.threads * maxL3BytesPerThread);
  return target;
}
