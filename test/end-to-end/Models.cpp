//===- Models.cpp - Models, devices and expected values -------------------===//
//
// Part of mlsys, under the Apache License v2.0. See LICENSE.
//
//===----------------------------------------------------------------------===//

#include "Models.h"

#include "runtime/Encoder.h"
#include "runtime/Error.h"
#include "runtime/Generator.h"
#include "runtime/KvCache.h"
#include "runtime/MappedFile.h"
#include "runtime/Npy.h"
#include "runtime/Program.h"
#include "runtime/Safetensors.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <filesystem>

using namespace mlsys;
using namespace mlsys::test;

std::vector<std::string> test::devices() { return {"reference", "cpu", "host-cuda"}; }

std::string test::dataPath(const std::string &name) {
  return std::string(MLSYS_TEST_DATA) + "/" + name;
}

std::string test::smolLm2Path() { return MLSYS_SMOLLM2; }

std::string test::miniLmPath() { return MLSYS_MINILM; }

std::vector<std::string> test::listData(const std::string &folder) {
  std::vector<std::string> names;
  for (const auto &entry : std::filesystem::directory_iterator(folder))
    names.push_back(entry.path().filename());
  std::sort(names.begin(), names.end());
  return names;
}

rt::ModelHandle test::open(const std::string &model, const std::string &device,
                           program::DType dtype, rt::Purpose purpose,
                           const std::vector<int64_t> &decodeBuckets) {
  CompileRequest request;
  request.model = model;
  request.dtype = dtype;
  request.decodeBuckets = decodeBuckets;
  rt::OpenOptions options;
  options.device.device = device;
  options.purpose = purpose;
  llvm::Expected<OpenedModel> result = openModel(std::move(request), options);
  if (!result)
    throw rt::Error("{}", llvm::toString(result.takeError()));
  return std::move(result->handle);
}

rt::ModelHandle &test::openOnce(const std::string &model, const std::string &device,
                                program::DType dtype, rt::Purpose purpose) {
  using Key = std::tuple<std::string, std::string, program::DType, rt::Purpose>;
  static std::map<Key, rt::ModelHandle> opened;
  Key key(model, device, dtype, purpose);
  // The interpreter serves both purposes.
  if (device == "reference")
    std::get<3>(key) = rt::Purpose::Text;
  if (auto found = opened.find(key); found != opened.end())
    return found->second;
  return opened[key] = open(model, device, dtype, purpose);
}

//===----------------------------------------------------------------------===//
// Expected values
//===----------------------------------------------------------------------===//

/// Shape, type and bytes of a tensor in a file.
static rt::NpyArray readTensor(const std::string &file, const std::string &name) {
  if (name.empty())
    return rt::readNpy(file);
  rt::Safetensors tensors = rt::readSafetensors(file);
  const rt::StoredTensor *tensor = tensors.find(name);
  if (!tensor)
    throw rt::Error("{} has no tensor {}", file, name);
  rt::MappedFile mapped(file);
  std::span<const std::byte> bytes = mapped.bytes().subspan(tensor->offset, tensor->bytes);
  return {tensor->dtype, tensor->shape, {bytes.begin(), bytes.end()}};
}

template <typename T>
static Values<T> readValues(const std::string &file, const std::string &name,
                            program::DType dtype) {
  rt::NpyArray array = readTensor(file, name);
  if (array.dtype != dtype)
    throw rt::Error("{} {} is {}", file, name, rt::dtypeName(array.dtype));
  Values<T> values{array.shape, std::vector<T>(array.data.size() / sizeof(T))};
  std::memcpy(values.elements.data(), array.data.data(), array.data.size());
  return values;
}

Values<float> test::readFloats(const std::string &file, const std::string &tensor) {
  return readValues<float>(file, tensor, program::DType::F32);
}

Values<int64_t> test::readInts(const std::string &file, const std::string &tensor) {
  return readValues<int64_t>(file, tensor, program::DType::I64);
}

bool test::hasTensor(const std::string &file, const std::string &tensor) {
  return rt::readSafetensors(file).find(tensor) != nullptr;
}

template <typename T>
static std::vector<std::vector<T>> unpaddedRows(const Values<T> &values,
                                                const Values<int64_t> &mask) {
  size_t columns = size_t(mask.shape.at(1)), width = values.elements.size() / mask.elements.size();
  if (values.elements.size() != width * mask.elements.size())
    throw rt::Error("values and mask have different shapes");
  std::vector<std::vector<T>> rows(mask.elements.size() / columns);
  for (size_t i = 0; i < mask.elements.size(); ++i)
    if (mask.elements[i]) {
      auto begin = values.elements.begin() + i * width;
      rows[i / columns].insert(rows[i / columns].end(), begin, begin + width);
    }
  return rows;
}

std::vector<std::vector<int64_t>> test::unpadded(const Values<int64_t> &values,
                                                 const Values<int64_t> &mask) {
  return unpaddedRows(values, mask);
}

std::vector<std::vector<float>> test::unpadded(const Values<float> &values,
                                               const Values<int64_t> &mask) {
  return unpaddedRows(values, mask);
}

//===----------------------------------------------------------------------===//
// Running
//===----------------------------------------------------------------------===//

std::vector<float> test::runPlain(rt::ModelHandle &model, const std::vector<int64_t> &ids) {
  rt::HostTensor input{"input_ids", program::DType::I64, {1, int64_t(ids.size())}, {}};
  std::span<const std::byte> bytes = std::as_bytes(std::span(ids));
  input.data.assign(bytes.begin(), bytes.end());
  std::vector<rt::HostTensor> results = model.tensors->run("forward", {input});
  if (results.size() != 1 || results[0].dtype != program::DType::F32)
    throw rt::Error("expected one f32 result");
  std::vector<float> logits(results[0].data.size() / sizeof(float));
  std::memcpy(logits.data(), results[0].data.data(), results[0].data.size());
  return logits;
}

/// One step of sequences that `sequences` names, each with the new tokens of its row.
static std::vector<float> runStep(rt::LanguageModel &language, rt::KvCache &cache,
                                  const std::vector<int64_t> &sequences, std::vector<int64_t> &lengths,
                                  const std::vector<std::vector<int64_t>> &rows) {
  std::vector<int64_t> ids, slots;
  std::vector<int32_t> positions, queryStart = {0}, contextLength, blockTable;
  size_t width = 0;
  for (size_t r = 0; r < rows.size(); ++r) {
    int64_t before = lengths[r];
    lengths[r] += int64_t(rows[r].size());
    language.zeroPages(cache.grow(sequences[r], lengths[r]));
    width = std::max(width, cache.pages(sequences[r]).size());
    for (size_t i = 0; i < rows[r].size(); ++i) {
      ids.push_back(rows[r][i]);
      positions.push_back(int32_t(before) + int32_t(i));
      slots.push_back(cache.slot(sequences[r], before + int64_t(i)));
    }
    queryStart.push_back(int32_t(ids.size()));
    contextLength.push_back(int32_t(lengths[r]));
  }
  for (int64_t sequence : sequences) {
    std::span<const int32_t> pages = cache.pages(sequence);
    blockTable.insert(blockTable.end(), pages.begin(), pages.end());
    blockTable.insert(blockTable.end(), width - pages.size(), pages[0]);
  }
  rt::StepBatch batch;
  batch.ids = ids;
  batch.positions = positions;
  batch.slots = slots;
  batch.queryStart = queryStart;
  batch.contextLength = contextLength;
  batch.blockTable = blockTable;
  batch.maxPages = int64_t(width);
  std::vector<float> logits(rows.size() * size_t(language.vocabSize()));
  language.step(batch, logits);
  return logits;
}

std::vector<float> test::runBatch(rt::ModelHandle &model,
                                  const std::vector<std::vector<int64_t>> &rows,
                                  const std::vector<int64_t> &next) {
  rt::LanguageModel &language = *model.language;
  rt::KvCache cache(language.pageSize(), language.pageCount());
  std::vector<int64_t> sequences, lengths(rows.size());
  for (size_t r = 0; r < rows.size(); ++r)
    sequences.push_back(cache.addSequence());
  std::vector<float> logits = runStep(language, cache, sequences, lengths, rows);
  for (int64_t token : next) {
    std::vector<float> more = runStep(language, cache, sequences, lengths,
                                      std::vector<std::vector<int64_t>>(rows.size(), {token}));
    logits.insert(logits.end(), more.begin(), more.end());
  }
  return logits;
}

std::vector<float> test::runEncoder(rt::ModelHandle &model,
                                    const std::vector<std::vector<int64_t>> &rows,
                                    const std::vector<std::vector<int64_t>> &tokenTypes) {
  std::vector<rt::EncoderInput> inputs;
  for (size_t i = 0; i < rows.size(); ++i)
    inputs.push_back({rows[i], tokenTypes.empty() ? std::span<const int64_t>() : tokenTypes[i]});
  rt::KvCache cache(model.language->pageSize(), model.language->pageCount());
  return rt::encode(*model.language, cache, inputs);
}

std::vector<int64_t> test::runGreedy(rt::ModelHandle &model, const std::vector<int64_t> &prompt,
                                     int64_t tokens, int64_t chunk) {
  rt::GenerationLimits limits;
  limits.maxTokens = tokens;
  limits.chunk = chunk;
  auto likeliest = [](std::span<const float> logits) {
    return std::max_element(logits.begin(), logits.end()) - logits.begin();
  };
  return rt::generate(*model.language, prompt, limits, likeliest, [](int64_t) {}).ids;
}

double test::relativeDifference(const std::vector<float> &actual,
                                const std::vector<float> &expected) {
  if (actual.size() != expected.size())
    throw rt::Error("{} values instead of {}", actual.size(), expected.size());
  double most = 0, largest = 0;
  for (size_t i = 0; i < actual.size(); ++i) {
    double difference = std::abs(double(actual[i]) - expected[i]);
    // A NaN is infinitely far off.
    most = std::isnan(difference) ? INFINITY : std::max(most, difference);
    largest = std::max(largest, std::abs(double(expected[i])));
  }
  return most / largest;
}

double test::distance(const std::vector<float> &a, const std::vector<float> &b) {
  if (a.size() != b.size())
    throw rt::Error("{} values instead of {}", a.size(), b.size());
  double sum = 0;
  for (size_t i = 0; i < a.size(); ++i)
    sum += (double(a[i]) - b[i]) * (double(a[i]) - b[i]);
  return std::sqrt(sum / double(a.size()));
}
