//===- Nvrtc.h - NVIDIA's runtime compiler ----------------------*- C++ -*-===//
//
// Part of mlsys, under the Apache License v2.0. See LICENSE.
//
//===----------------------------------------------------------------------===//
#pragma once

#include "runtime/KernelCache.h"

#include <memory>
#include <string>
#include <string_view>
#include <vector>

namespace mlsys::rt {

/// A kernel's machine code for one architecture, and what ptxas said about it.
struct CompiledKernel {
  std::string cubin;
  int registers = 0;
  int spillBytes = 0;
  int stackBytes = 0;
  /// Static shared memory; dynamic shared memory is the launch's.
  int sharedBytes = 0;
};

/// One kernel to compile.
struct KernelText {
  std::string name, text;
};

/// NVRTC, opened at run time. Thread safe.
class Nvrtc {
public:
  /// Looks for libnvrtc.so.13, then .12: at MLSYS_NVRTC (a file), on the loader's
  /// path, in the toolkit at CUDA_HOME or /usr/local/cuda, in the packages
  /// nvidia/*/lib of the virtual environment VIRTUAL_ENV. Null when there is none.
  /// With `newest`, those of a later major version are passed over: a driver does not
  /// load their code.
  static std::shared_ptr<Nvrtc> open(int newest = 0);
  /// As open, but throws an rt::Error that says where it has looked.
  static std::shared_ptr<Nvrtc> openOrThrow();

  virtual ~Nvrtc();

  /// "13.0".
  virtual std::string version() const = 0;
  /// 13.
  virtual int majorVersion() const = 0;
  /// The file that was opened.
  virtual std::string path() const = 0;

  /// Compiles the text, with the device library to include, for an architecture such
  /// as "sm_90a". Throws rt::Error with the compiler's log when the text is wrong, and
  /// when the kernel spills registers, uses the stack or serialises wgmma.
  virtual CompiledKernel compile(const KernelText &kernel, const std::string &arch) const = 0;
};

/// Compiles kernels on all cores, taking from the cache what it has. `progress` is
/// called with the number of kernels done after each, from any thread.
std::vector<CompiledKernel> compileKernels(const Nvrtc &nvrtc, KernelCache &cache,
                                           const std::vector<KernelText> &kernels, const std::string &arch,
                                           void (*progress)(size_t done, size_t total) = nullptr);

/// Reads what `ptxas -v` says about kernel `name`; throws rt::Error when it spills,
/// uses the stack or serialises wgmma.
CompiledKernel parsePtxasLog(const std::string &name, std::string_view log);

} // namespace mlsys::rt
