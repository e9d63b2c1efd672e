//===- TestPrograms.h - Small programs for runtime tests --------*- C++ -*-===//
//
// Part of mlsys, under the Apache License v2.0. See LICENSE.
//
// Programs whose kernels are written in C and compiled by the compiler that
// builds the tests.
//
//===----------------------------------------------------------------------===//
#pragma once

#include "Program_generated.h"

#include "test/support/TempFolder.h"

#include <memory>
#include <string>
#include <vector>

namespace mlsys::test {

/// The bytes of a shared object made from C text.
std::vector<uint8_t> compileC(const std::string &text);

/// Operators of program::ExprOp for `expr`.
enum Op : int64_t { Const, Sym, Add, Mul, FloorDiv, CeilDiv, Mod, Max, Min };

/// An expression from its code.
std::unique_ptr<program::ExprT> expr(std::vector<int64_t> code);

/// The bytes of a FlatBuffer.
std::vector<uint8_t> pack(const program::ProgramT &program);

/// One function "forward": y[N] = 2 * x[N] * w[4] cyclically, N from 1 to 100,
/// through a temporary, with the constant w = 1, 2, 3, 4.
program::ProgramT scaleProgram();

/// A language model with "prefill" (T up to 8), "decode_1", "decode_4", and
/// "forward". The next token is (sum of the context's ids + its length) mod 16;
/// its logit is 1 and the others are 0. Pages hold 4 tokens.
program::ProgramT languageProgram(int64_t contextLength = 64);

/// The step functions of languageProgram() for GPUs, as text, with the runtime's own kernels.
program::ProgramT cudaLanguageProgram(int64_t contextLength = 64);

} // namespace mlsys::test
