//===- KernelTest.h - Functions on a device and on the interpreter --------===//
//
// Part of mlsys, under the Apache License v2.0. See LICENSE.
//
//===----------------------------------------------------------------------===//
#pragma once

#include "mlsys/Driver/Pipelines.h"
#include "mlsys/Interpreter/Interpreter.h"

#include "runtime/Executor.h"
#include "runtime/Device.h"

#include "mlir/IR/DialectRegistry.h"
#include "mlir/IR/MLIRContext.h"
#include "mlir/IR/OwningOpRef.h"

#include <gtest/gtest.h>

#include <memory>
#include <random>

namespace mlsys::test {

/// What kernels are compiled for: a float type, and "cuda", "sm_90a" (CUDA for Hopper) or an
/// instruction set of this machine.
struct Variant {
  std::string type, target;
};
void PrintTo(const Variant &variant, std::ostream *os);
std::vector<Variant> variants();
/// Names a test's instance.
std::string nameOfVariant(const testing::TestParamInfo<Variant> &info);

/// The dialects and passes that tests use.
mlir::DialectRegistry makeRegistry();

/// A file of test/device/Inputs.
std::string readInput(const std::string &name);
/// Puts something else in the place of each `from`.
std::string replaceAll(std::string text, const std::string &from, const std::string &to);
void replace(std::string &text, const std::string &from, int64_t value);

/// Of attention: query heads, key heads, the elements of a head, the tokens of a page.
struct Extents {
  int64_t heads, kvHeads, dim, page;
};
/// The text of an input with its parameters replaced, and of its functions only those that are
/// `wanted`, when any are.
std::string attentionText(const std::string &input, Extents extents, const std::vector<std::string> &wanted = {});

/// The new tokens of one request and those that are in the cache already.
struct Request {
  int before, added;
};

/// A module of the graph dialect whose text has $T for the float type: compiled and loaded
/// onto a device (CUDA: the host executor), and beside it the same module in f32 on the
/// interpreter.
class KernelTest {
public:
  /// Compiles; a failure is a failure of the test. `type` is f32, bf16 or f16, `target` is "cuda",
  /// "sm_90a" or an instruction set of Program.fbs; `cacheType`, which replaces $C, is `type` when empty.
  /// `cacheTokens`: what the KV cache holds; `threads`: workers that the CPU's kernels are planned
  /// for (0: those of the instruction set); `tiles`: a file with a table of tiles.
  KernelTest(const std::string &text, const std::string &type, const std::string &target,
             const std::string &cacheType = "", int64_t cacheTokens = 640,
             int64_t threads = 0, const std::string &tiles = "");
  ~KernelTest();

  bool valid() const { return executor != nullptr; }
  /// The text of all CUDA kernels.
  std::string cudaText() const;
  /// The names of the functions, in order.
  std::vector<std::string> functions();
  /// Whether the function takes a KV cache, and the batch of a function of one token a
  /// request (0 when that is open).
  bool usesCache(const std::string &function);
  int64_t decodeBatch(const std::string &function);
  /// Whether the attention of a function is an encoder's: it takes whole requests.
  bool isBidirectional(const std::string &function);
  /// Whether extents depend on the symbol T.
  bool isDynamic(const std::string &function);

  /// Runs both on the same random inputs and compares results and KV pages. `tokens` is T.
  void compare(const std::string &function, int64_t tokens);
  /// The same for a function on the KV cache.
  void compare(const std::string &function, const std::vector<Request> &requests);

  /// Runs a function of one f32 tensor and gives its only result, which is of floats. The symbol T is the number of
  /// elements; elsewhere the function says how many there are.
  std::vector<float> apply(const std::string &function, const std::vector<float> &input);

private:
  struct Batch;

  int64_t cachePages(int64_t pageSize) const { return std::max<int64_t>(8, cacheTokens / pageSize); }
  bool isCpu() const { return target != "cuda" && target != "sm_90a"; }
  void load(const std::string &text, const std::string &type, const std::string &cacheType);
  void emitText(program::TargetProgramT &program);
  void emitLibrary(program::TargetProgramT &program);
  void build(mlir::OwningOpRef<mlir::ModuleOp> &module, std::string text, const std::string &type,
             const std::string &cacheType, bool compile);
  void checkKinds(mlir::ModuleOp lowered);
  Tensor makeInput(mlir::func::FuncOp function, unsigned index, int64_t tokens, const Batch *batch);
  void fillCache(KvPages &pages, const Batch &batch, int64_t window);
  void compareCache(const std::string &subject, const KvPages &pages);
  void run(const std::string &name, int64_t tokens, const Batch *batch);
  void compareTensor(const std::string &subject, const Tensor &actual, const Tensor &expected);

  mlir::MLIRContext context;
  std::string target, tiles;
  program::DType dtype, cacheDtype;
  int64_t cacheTokens, threads;
  double tolerance;
  mlir::OwningOpRef<mlir::ModuleOp> source, reference, lowered;
  std::vector<uint8_t> packed;
  std::unique_ptr<rt::Device> device;
  std::unique_ptr<rt::Executor> executor;
  std::unique_ptr<Interpreter> interpreter;
  std::vector<void *> constants;
  void *cache = nullptr;
  std::mt19937 generator{7};
};

/// Compares all functions, each for several numbers of tokens or requests.
void compareAll(KernelTest &test);

} // namespace mlsys::test
