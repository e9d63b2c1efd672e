//===- ExecutorTest.cpp - Runs the functions of a program -------*- C++ -*-===//
//
// Part of mlsys, under the Apache License v2.0. See LICENSE.
//
//===----------------------------------------------------------------------===//
#include "runtime/Executor.h"
#include "TestPrograms.h"
#include "runtime/CpuDevice.h"
#include "runtime/Error.h"
#include "runtime/Program.h"

#include <gtest/gtest.h>

#include <numeric>

using namespace mlsys;
using namespace mlsys::rt;
using namespace mlsys::test;
using program::DType;

namespace {

/// The scale program on a CPU device.
struct Scale {
  explicit Scale(program::ProgramT source = scaleProgram(), int threads = 2)
      : loaded(LoadedProgram::fromBytes(pack(source), "")),
        device(createCpuDevice({"cpu", threads})) {
    const program::TargetProgram &target = loaded.target("cpu");
    weights = device->allocate(16);
    device->upload(weights, target.constants()->Get(0)->data()->data(), 16);
    device->load(target);
    executor = std::make_unique<Executor>(target, *device, std::vector<void *>{weights});
  }
  ~Scale() {
    executor.reset();
    device->free(weights);
  }

  std::vector<float> run(const std::vector<float> &x) {
    int64_t shape[] = {int64_t(x.size())};
    InputTensor inputs[] = {{DType::F32, shape, x.data()}};
    std::vector<float> y(x.size(), -1);
    void *outputs[] = {y.data()};
    executor->run(0, inputs, outputs);
    return y;
  }

  std::string problem(DType dtype, std::vector<int64_t> shape) {
    std::vector<float> data(1000);
    InputTensor inputs[] = {{dtype, shape, data.data()}};
    try {
      executor->outputShapes(0, inputs);
    } catch (const Error &error) {
      return error.what();
    }
    return "";
  }

  LoadedProgram loaded;
  std::unique_ptr<Device> device;
  void *weights;
  std::unique_ptr<Executor> executor;
};

TEST(Executor, RunsForAnySize) {
  for (int threads : {1, 2, 5}) {
    Scale scale(scaleProgram(), threads);
    // Larger, smaller and repeated sizes: the arena moves and launch lists are reused.
    for (size_t size : {3, 100, 7, 3, 100, 1}) {
      std::vector<float> x(size);
      std::iota(x.begin(), x.end(), 1.f);
      std::vector<float> y = scale.run(x);
      for (size_t i = 0; i < size; ++i)
        EXPECT_EQ(y[i], 2 * x[i] * float(1 + i % 4)) << size << " " << i;
    }
    EXPECT_EQ(scale.executor->arenaBytes(), 3u * 400);
  }
}

TEST(Executor, GivesOutputShapes) {
  Scale scale;
  int64_t shape[] = {9};
  InputTensor inputs[] = {{DType::F32, shape, nullptr}};
  auto shapes = scale.executor->outputShapes(0, inputs);
  EXPECT_EQ(shapes, (std::vector<std::vector<int64_t>>{{9}}));
}

TEST(Executor, SaysWhichInputIsWrong) {
  Scale scale;
  EXPECT_EQ(scale.problem(DType::F32, {100}), "");
  EXPECT_EQ(scale.problem(DType::I64, {10}), "input 'x' is i64, expected f32");
  EXPECT_EQ(scale.problem(DType::F32, {2, 3}), "input 'x' has shape [2, 3], expected [N]");
  EXPECT_EQ(scale.problem(DType::F32, {101}),
            "input 'x' has shape [101], expected [N] with N from 1 to 100");
  EXPECT_EQ(scale.problem(DType::F32, {0}),
            "input 'x' has shape [0], expected [N] with N from 1 to 100");
  try {
    scale.executor->outputShapes(0, {});
    FAIL();
  } catch (const Error &error) {
    EXPECT_STREQ(error.what(), "function 'forward' takes 1 inputs, not 0");
  }
  try {
    scale.executor->functionIndex("backward");
    FAIL();
  } catch (const Error &error) {
    EXPECT_STREQ(error.what(), "no function 'backward'; the model has forward");
  }
}

TEST(Executor, EqualSymbolsNeedEqualExtents) {
  program::ProgramT source = scaleProgram();
  auto &forward = *source.targets[0]->functions[0];
  forward.inputs.push_back(std::make_unique<program::PortT>(*forward.inputs[0]));
  forward.inputs[1]->name = "z";
  forward.inputs.push_back(std::make_unique<program::PortT>(*forward.inputs[0]));
  forward.inputs[2]->name = "starts";
  forward.inputs[2]->dims.clear();
  forward.inputs[2]->shape[0] = expr({Sym, 0, Const, 1, Add});
  Scale scale(std::move(source));
  auto problem = [&](std::vector<int64_t> sizes) -> std::string {
    std::vector<InputTensor> inputs;
    for (int64_t &size : sizes)
      inputs.push_back({DType::F32, std::span<const int64_t>(&size, 1), nullptr});
    try {
      scale.executor->outputShapes(0, inputs);
    } catch (const Error &error) {
      return error.what();
    }
    return "";
  };
  EXPECT_EQ(problem({4, 4, 5}), "");
  EXPECT_EQ(problem({4, 5, 5}),
            "input 'z' has shape [5], expected [N] with N = 4 as in an earlier dimension");
  EXPECT_EQ(problem({4, 4, 4}),
            "input 'starts' has shape [4], expected [N + 1] with the dimension = 5");
}

TEST(Executor, RefusesSizesThatOverflow) {
  program::ProgramT source = scaleProgram();
  auto &forward = *source.targets[0]->functions[0];
  forward.buffers[2]->bytes = expr({Sym, 0, Const, 1ll << 62, Mul});
  Scale scale(std::move(source));
  EXPECT_THROW(scale.run({1, 2, 3}), Error);
}

TEST(Executor, RefusesNegativeGridsAndSizes) {
  program::ProgramT source = scaleProgram();
  source.targets[0]->functions[0]->launches[0]->grid[0] = expr({Const, 1, Sym, 0, Const, -1, Mul, Add});
  Scale scale(std::move(source));
  EXPECT_NO_THROW(scale.run({1}));
  EXPECT_THROW(scale.run({1, 2, 3}), Error);
}

TEST(Executor, RefusesOffsetsBeyondBoundBuffers) {
  program::ProgramT source = scaleProgram();
  source.targets[0]->functions[0]->launches[0]->args[0]->offset = 12;
  Scale scale(std::move(source));
  EXPECT_THROW(scale.run({1, 2}), Error);
}

TEST(Executor, RefusesImpossibleAllocations) {
  program::ProgramT source = scaleProgram();
  source.targets[0]->functions[0]->buffers[2]->bytes = expr({Const, 1ll << 50});
  Scale scale(std::move(source));
  EXPECT_THROW(scale.run({1, 2}), Error);
  EXPECT_THROW(scale.run({1, 2}), Error);
}

TEST(Executor, TypicalSymbolsAndSlots) {
  LoadedProgram loaded = LoadedProgram::fromBytes(pack(scaleProgram()), "");
  const program::Function &forward = *loaded.target("cpu").functions()->Get(0);
  EXPECT_EQ(typicalSymbols(forward), std::vector<int64_t>{10});
  EXPECT_EQ(typicalSymbols(forward, {{"N", 30}}), std::vector<int64_t>{30});
  EXPECT_EQ(typicalSymbols(forward, {{"N", 300}}), std::vector<int64_t>{100});
  EXPECT_EQ(slotSizes(forward, std::vector<int64_t>{30}), std::vector<int64_t>{120});
}

} // namespace
