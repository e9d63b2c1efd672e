//===- TuneGate.cpp - mlsys tune over a fake driver -----------------------===//
//
// Part of mlsys, under the Apache License v2.0. See LICENSE.
//
//===----------------------------------------------------------------------===//
//
// The fake driver measures each time 5 % less than the one before, so the last tiles that are tried win.
//
//===----------------------------------------------------------------------===//

#include "mlsys/Driver/Tune.h"

#include "runtime/Nvrtc.h"

#include <gtest/gtest.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <unistd.h>

using namespace mlsys;

static const char *text = R"(
func.func @f(%x: tensor<200x64xbf16> {graph.name = "x"}) -> tensor<200x384xbf16> {
  %w = graph.weight "w" : tensor<384x64xbf16> from #graph.weight_source<file = -2, offset = 0, bytes = 49152, dtype = "random", shape = [384, 64]>
  %y = graph.dot %x, %w batch [] x [] contract [1] x [1] : tensor<200x64xbf16>, tensor<384x64xbf16> -> tensor<200x384xbf16>
  return %y : tensor<200x384xbf16>
}
)";

TEST(TuneGate, MeasuresOnAGpu) {
  if (!rt::Nvrtc::open())
    GTEST_SKIP() << "NVRTC is not installed";
  setenv("MLSYS_CUDA_DRIVER", MLSYS_FAKE_CUDA, 1);
  setenv("FAKE_CUDA", "time=95", 1);
  auto path = std::filesystem::path(testing::TempDir()) / ("mlsys-tune-" + std::to_string(getpid()) + ".mlir");
  std::ofstream(path) << text;
  TuneRequest request;
  request.compile.model = path.string();
  request.device = "cuda";
  request.repetitions = 1;
  std::vector<int64_t> progress;
  request.progress = [&](int, int64_t candidate) { progress.push_back(candidate); };
  TileTable known;
  known.isa = "sm_90a";
  known.tiles["dot of another model"] = "wgmma columns=256 stages=4";
  llvm::Expected<TuneResult> result = tuneModel(request, &known);
  std::filesystem::remove(path);
  unsetenv("FAKE_CUDA");
  unsetenv("MLSYS_CUDA_DRIVER");
  ASSERT_TRUE(static_cast<bool>(result)) << llvm::toString(result.takeError());
  EXPECT_EQ(result->table.isa, "sm_90a");
  EXPECT_EQ(result->table.threads, 132);
  EXPECT_EQ(result->table.tiles.size(), 2u);
  ASSERT_EQ(result->shapes.size(), 1u);
  const TunedShape &shape = result->shapes.front();
  EXPECT_EQ(shape.shape, "dot rows=200 columns=384 contracted=64 dots=1 lhs=bf16 rhs=bf16");
  // The model's choice, then the eight tiles that are possible.
  EXPECT_EQ(progress.size(), 9u);
  EXPECT_NE(shape.rule, shape.best);
  EXPECT_TRUE(llvm::StringRef(shape.rule).starts_with("wgmma columns="));
  EXPECT_TRUE(llvm::StringRef(shape.best).starts_with("wgmma columns="));
  EXPECT_EQ(result->table.tiles.at(shape.shape), shape.best);
  EXPECT_GT(result->ruleSeconds, 0);
}
