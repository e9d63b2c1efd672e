//===- CudaTilesTest.cpp - Every tile gives the interpreter's result ------===//
//
// Part of mlsys, under the Apache License v2.0. See LICENSE.
//
//===----------------------------------------------------------------------===//

#include "KernelTest.h"

#include "mlsys/CodeGen/TileTable.h"
#include "mlsys/IR/Kernel.h"

#include "mlir/Parser/Parser.h"
#include "mlir/Pass/PassManager.h"
#include "mlir/Pass/PassRegistry.h"
#include "llvm/Support/FormatVariadic.h"

#include <filesystem>
#include <set>
#include <unistd.h>

using namespace mlsys;
using namespace mlsys::test;

namespace {

/// A product and its bias.
std::string functionText(int64_t rows, int64_t columns, int64_t contracted) {
  std::string left = llvm::formatv("tensor<{0}x{1}x$T>", rows, contracted).str();
  std::string result = llvm::formatv("tensor<{0}x{1}x$T>", rows, columns).str();
  std::string weight = llvm::formatv("tensor<{0}x{1}x$T>", columns, contracted).str();
  return llvm::formatv("func.func @columns_{0}(%x: {1}, %w: {2}, %b: tensor<{0}x$T>) -> {3} attributes "
                       "{{test.kernels = [\"dot\"]} {{\n  %0 = graph.linear %x, %w bias %b : ({1}, {2}, "
                       "tensor<{0}x$T>) -> {3}\n  return %0 : {3}\n}\n",
                       columns, left, weight, result)
      .str();
}

/// Shape and tiles of the kernel.
std::pair<std::string, std::string> tilesOf(const std::string &text, const std::string &arch, int64_t candidate,
                                            const std::string &table = "") {
  mlir::MLIRContext context(makeRegistry());
  mlir::OwningOpRef<mlir::ModuleOp> module = mlir::parseSourceString<mlir::ModuleOp>(replaceAll(text, "$T", "bf16"), &context);
  EXPECT_TRUE(module);
  PipelineOptions options;
  options.target = "cuda";
  options.arch = arch;
  options.candidate = candidate;
  options.tiles = table;
  mlir::PassManager passes(&context, mlir::ModuleOp::getOperationName());
  EXPECT_TRUE(succeeded(mlir::parsePassPipeline("mlsys-decompose,mlsys-infer-shapes,canonicalize,cse", passes)));
  EXPECT_TRUE(succeeded(buildPipeline(Stage::Fuse, options, passes)));
  EXPECT_TRUE(succeeded(buildPipeline(Stage::Kernel, options, passes)));
  EXPECT_TRUE(succeeded(passes.run(*module)));
  auto kernel = *module->getOps<kernel::FuncOp>().begin();
  auto [shape, tiles] = kernel->getAttrOfType<mlir::StringAttr>(kernel::tilesAttrName).getValue().split(": ");
  return {shape.str(), tiles.str()};
}

/// Each possible tile of a product with so many rows computes a function of its own.
void compareAll(const std::string &arch, int64_t rows, size_t least, int64_t contracted = 72) {
  constexpr int64_t columns = 130;
  std::string rule = tilesOf(functionText(rows, columns, contracted), arch, 0).second;
  std::vector<std::string> all;
  for (int64_t candidate = 1;; ++candidate) {
    std::string tiles = tilesOf(functionText(rows, columns, contracted), arch, candidate).second;
    if (candidate > 1 && tiles == rule)
      break;
    all.push_back(tiles);
  }
  EXPECT_GE(all.size(), least);
  EXPECT_EQ(all.front(), rule);
  EXPECT_EQ(std::set<std::string>(all.begin(), all.end()).size(), all.size());

  TileTable table;
  table.isa = arch;
  table.threads = 1;
  std::string text;
  for (size_t i = 0; i < all.size(); ++i) {
    text += functionText(rows, columns + i, contracted);
    table.tiles[tilesOf(functionText(rows, columns + i, contracted), arch, 0).first] = all[i];
  }
  std::string path = (std::filesystem::path(testing::TempDir()) /
                      llvm::formatv("mlsys-tiles-{0}-{1}.json", getpid(), rows).str())
                         .string();
  ASSERT_FALSE(static_cast<bool>(table.write(path)));
  for (size_t i = 0; i < all.size(); ++i)
    EXPECT_EQ(tilesOf(functionText(rows, columns + i, contracted), arch, 0, path).second, all[i]);
  KernelTest test(text, "bf16", arch == "sm_80" ? "cuda" : arch, "", 640, 0, path);
  ASSERT_TRUE(test.valid());
  for (const std::string &function : test.functions())
    test.compare(function, 1);
  std::filesystem::remove(path);
}

TEST(CudaTiles, OfManyRows) { compareAll("sm_80", 40, 25); }
TEST(CudaTiles, OfFewRows) { compareAll("sm_80", 2, 6); }
TEST(CudaTiles, OfHopper) { compareAll("sm_90a", 20, 8); }
// K is long enough for parts of it, and there are rows for blocks that share weights.
TEST(CudaTiles, OfHopperInParts) { compareAll("sm_90a", 70, 8, 520); }
TEST(CudaTiles, OfHopperInClusters) { compareAll("sm_90a", 300, 12, 520); }

} // namespace
