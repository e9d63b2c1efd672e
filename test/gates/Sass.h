//===- Sass.h - Machine code of a GPU, as text ------------------*- C++ -*-===//
//
// Part of mlsys, under the Apache License v2.0. See LICENSE.
//
//===----------------------------------------------------------------------===//
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <string_view>
#include <vector>

namespace mlsys::test {

/// An instruction as nvdisasm prints it: `@!P0 LDG.E.128 R4, desc[UR4][R2.64]`.
struct SassInstruction {
  int64_t address = 0;
  /// "@!P0", or empty.
  std::string predicate;
  /// "LDG" and "LDG.E.128".
  std::string base, name;
  std::vector<std::string> operands;

  bool isPredicated() const { return !predicate.empty(); }
};

/// The code of one kernel with the functions that it calls.
struct SassCode {
  std::vector<SassInstruction> instructions;
  /// The instruction behind a label.
  std::map<std::string, size_t, std::less<>> labels;
};

/// Reads what `nvdisasm -c` prints. Throws rt::Error when there is no instruction.
SassCode parseSass(std::string_view text);

/// Where the parameters of kernels of sm_90 begin in constant bank 0.
inline constexpr int64_t sassParameters = 0x210;

/// What is wrong with the order of a kernel's wait for the kernels before it (griddepcontrol.wait, ACQBULK):
/// a store, atomic or reduction to memory before it; a load before it from other memory than constants; a path
/// without it, in a kernel that has one wait or none. `constants` says of each pointer parameter whether it is a constant.
///
/// Registers are followed from the parameters on all paths up to the wait: a load is from a constant when its address
/// comes from the pointers of constants alone. Memory and shared memory hold no pointers, so that an
/// address that was loaded is from nowhere, and is a problem as well.
std::vector<std::string> checkGridWait(const SassCode &code, const std::vector<bool> &constants);

/// The machine code of a cubin by nvdisasm (MLSYS_NVDISASM, or what scripts/fetch-nvidia has
/// got). Throws rt::Error.
std::string disassemble(const std::string &cubin);

} // namespace mlsys::test
