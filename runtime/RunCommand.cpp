//===- RunCommand.cpp - Tensors in, tensors out -----------------*- C++ -*-===//
//
// Part of mlsys, under the Apache License v2.0. See LICENSE.
//
//===----------------------------------------------------------------------===//
#include "runtime/Commands.h"
#include "runtime/Error.h"
#include "runtime/Npy.h"

#include <algorithm>
#include <bit>
#include <cstring>
#include <filesystem>
#include <ostream>

using namespace mlsys;
using namespace mlsys::rt;
using program::DType;

static std::string describe(const TensorPort &port) {
  return fmt::format("{} {} [{}]", port.name, dtypeName(port.dtype), fmt::join(port.dims, ", "));
}

/// .npy files have no bf16, so that a bf16 input is given as f32 and rounded to
/// the nearest, ties to even.
static void convertToBf16(HostTensor &tensor) {
  std::vector<std::byte> result(tensor.data.size() / 2);
  for (size_t i = 0; i < result.size() / 2; ++i) {
    uint32_t bits;
    std::memcpy(&bits, tensor.data.data() + 4 * i, 4);
    bool nan = (bits & 0x7fffffff) > 0x7f800000;
    uint16_t half = nan ? uint16_t((bits >> 16) | 0x40)
                        : uint16_t((bits + 0x7fff + ((bits >> 16) & 1)) >> 16);
    std::memcpy(result.data() + 2 * i, &half, 2);
  }
  tensor.data = std::move(result);
  tensor.dtype = DType::BF16;
}

static std::map<std::string, std::string> splitInputs(const std::vector<std::string> &inputs) {
  std::map<std::string, std::string> files;
  for (const std::string &input : inputs) {
    size_t equals = input.find('=');
    if (equals == 0 || equals == std::string::npos || equals + 1 == input.size())
      throw Error("--input {}: expected NAME=FILE.npy", input);
    if (!files.emplace(input.substr(0, equals), input.substr(equals + 1)).second)
      throw Error("--input {}: given twice", input.substr(0, equals));
  }
  return files;
}

int rt::runTensors(ModelHandle &model, const RunRequest &request, Streams streams) {
  if (!model.tensors)
    throw Error("{} has no functions on tensors", model.name);
  std::map<std::string, std::string> files = splitInputs(request.inputs);
  std::vector<TensorPort> ports = model.tensors->inputs(request.function);
  std::vector<std::string> expected;
  for (const TensorPort &port : ports)
    expected.push_back(describe(port));
  for (const auto &[name, file] : files)
    if (std::none_of(ports.begin(), ports.end(),
                     [&](const TensorPort &port) { return port.name == name; }))
      throw Error("--input {}: function '{}' takes {}", name, request.function,
                  fmt::join(expected, "; "));
  std::vector<HostTensor> tensors;
  for (const TensorPort &port : ports) {
    auto found = files.find(port.name);
    if (found == files.end())
      throw Error("missing --input {}=FILE.npy; function '{}' takes {}", port.name,
                  request.function, fmt::join(expected, "; "));
    NpyArray array = readNpy(found->second);
    tensors.push_back(
        {port.name, array.dtype, std::move(array.shape), std::move(array.data)});
    if (port.dtype == DType::BF16 && array.dtype == DType::F32)
      convertToBf16(tensors.back());
  }
  std::error_code error;
  std::filesystem::create_directories(request.outputDir, error);
  if (error)
    throw Error("cannot create '{}': {}", request.outputDir, error.message());
  std::vector<HostTensor> results = model.tensors->run(request.function, tensors);
  for (const HostTensor &result : results) {
    std::string file = result.name + ".npy";
    std::replace(file.begin(), file.end(), '/', '_');
    std::string path = (std::filesystem::path(request.outputDir) / file).string();
    writeNpy(path, result.dtype, result.shape, result.data);
    streams.log << fmt::format("{} {} {} in {}\n", result.name, dtypeName(result.dtype),
                               shapeText(result.shape), path);
  }
  return 0;
}
