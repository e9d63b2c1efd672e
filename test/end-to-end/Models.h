//===- Models.h - Models, devices and expected values -----------*- C++ -*-===//
//
// Part of mlsys, under the Apache License v2.0. See LICENSE.
//
//===----------------------------------------------------------------------===//
#pragma once

#include "mlsys/Driver/Compiler.h"

#include <map>
#include <string>
#include <vector>

namespace mlsys::test {

/// The devices that every model is run on.
std::vector<std::string> devices();

/// A file of the test data.
std::string dataPath(const std::string &name);

/// Where scripts/fetch-smollm2 has put the SmolLM2 model.
std::string smolLm2Path();

/// Where scripts/fetch-minilm has put the all-MiniLM-L6-v2 model.
std::string miniLmPath();

/// The folders and files in a folder of the test data, by name.
std::vector<std::string> listData(const std::string &folder);

/// Opens a model on a device, for one sequence a decode step unless told otherwise. Throws rt::Error.
rt::ModelHandle open(const std::string &model, const std::string &device, program::DType dtype,
                     rt::Purpose purpose, const std::vector<int64_t> &decodeBuckets = {1});

/// Opens a model on a device, once: later calls with the same arguments give the same
/// handle. Throws rt::Error.
rt::ModelHandle &openOnce(const std::string &model, const std::string &device,
                          program::DType dtype, rt::Purpose purpose);

/// The elements of a tensor, as numbers, and its shape.
template <typename T> struct Values {
  std::vector<int64_t> shape;
  std::vector<T> elements;
};

/// A tensor of a .safetensors file, or a .npy file when `tensor` is empty.
Values<float> readFloats(const std::string &file, const std::string &tensor = "");
Values<int64_t> readInts(const std::string &file, const std::string &tensor = "");

/// Whether a .safetensors file has a tensor.
bool hasTensor(const std::string &file, const std::string &tensor);

/// The rows of values [B, S] or [B, S, N] without the tokens that `mask` [B, S] leaves out.
std::vector<std::vector<int64_t>> unpadded(const Values<int64_t> &values,
                                           const Values<int64_t> &mask);
std::vector<std::vector<float>> unpadded(const Values<float> &values, const Values<int64_t> &mask);

/// Runs the plain function of a language model on one sequence: logits [S, V].
std::vector<float> runPlain(rt::ModelHandle &model, const std::vector<int64_t> &ids);

/// Runs several sequences in one step over the KV cache: the logits [R, V] that follow each. With
/// `next`, that many decode steps of all sequences with these tokens follow, and their logits.
std::vector<float> runBatch(rt::ModelHandle &model, const std::vector<std::vector<int64_t>> &rows,
                            const std::vector<int64_t> &next = {});

/// What rt::encode gives for some sequences. `tokenTypes` may be empty.
std::vector<float> runEncoder(rt::ModelHandle &model, const std::vector<std::vector<int64_t>> &rows,
                              const std::vector<std::vector<int64_t>> &tokenTypes);

/// Goes on greedily after `prompt`, which is given in steps of `chunk` tokens (0: the model's
/// choice).
std::vector<int64_t> runGreedy(rt::ModelHandle &model, const std::vector<int64_t> &prompt,
                               int64_t tokens, int64_t chunk);

/// Largest difference over largest expected value.
double relativeDifference(const std::vector<float> &actual, const std::vector<float> &expected);

/// Root of the mean of the squared differences.
double distance(const std::vector<float> &a, const std::vector<float> &b);

} // namespace mlsys::test
