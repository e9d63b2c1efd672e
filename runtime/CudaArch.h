//===- CudaArch.h - Names of GPU architectures ------------------*- C++ -*-===//
//
// Part of mlsys, under the Apache License v2.0. See LICENSE.
//
//===----------------------------------------------------------------------===//
#pragma once

#include <string_view>

namespace mlsys::rt {

/// The architectures that CUDA text is planned for; each GPU runs the text of one or more of them.
inline constexpr std::string_view portableCudaFamily = "sm_80", hopperCudaFamily = "sm_90a";

/// The family whose text is made for an architecture as NVRTC names it ("sm_86", "sm_90a"): sm_90a for
/// itself; sm_80 for all others, and when `arch` is empty.
inline std::string_view cudaFamily(std::string_view arch) {
  return arch == hopperCudaFamily ? hopperCudaFamily : portableCudaFamily;
}

/// Whether a GPU of `arch` runs text of `family`. An empty `arch` is the host executor, which runs all.
inline bool cudaFamilyRunsOn(std::string_view family, std::string_view arch) {
  return family == portableCudaFamily || arch.empty() || family == cudaFamily(arch);
}

} // namespace mlsys::rt
