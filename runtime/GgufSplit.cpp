//===- GgufSplit.cpp - GGUF models in several files -----------------------===//
//
// Part of mlsys, under the Apache License v2.0. See LICENSE.
//
//===----------------------------------------------------------------------===//
//
// llama.cpp's convention: parts are called NAME-00001-of-00003.gguf and so on.
// All have split.no (from zero), split.count and split.tensors.count (of all
// parts together); the first has the model's metadata.
//
//===----------------------------------------------------------------------===//
#include "runtime/Gguf.h"

#include "runtime/Error.h"

#include <filesystem>
#include <set>

namespace mlsys::rt {

/// More files than a model could sensibly have.
static constexpr uint64_t maxParts = 9999;

/// What ends the name of part `index` (from zero) of `count`.
static std::string partSuffix(uint64_t index, uint64_t count) {
  return fmt::format("-{:05}-of-{:05}.gguf", index + 1, count);
}

/// Checks what a part says about itself.
static void checkPart(const Gguf &part, uint64_t index, uint64_t count) {
  uint64_t number = part.getUnsigned("split.no").value_or(0);
  uint64_t parts = part.getUnsigned("split.count").value_or(1);
  if (number != index || parts != count)
    throw Error("{}: split.no is {} and split.count {}, but the name says part {} of {}", part.path,
                number, parts, index + 1, count);
}

Gguf readGguf(const std::string &path) {
  Gguf model = readGgufFile(path);
  uint64_t count = model.getUnsigned("split.count").value_or(1);
  if (count <= 1)
    return model;
  if (count > maxParts)
    throw Error("{}: split.count is {}; at most {} parts are supported", path, count, maxParts);
  uint64_t number = model.getUnsigned("split.no").value_or(0);
  if (number >= count)
    throw Error("{}: split.no is {}, but there are {} parts", path, number, count);
  std::string suffix = partSuffix(number, count);
  if (!path.ends_with(suffix))
    throw Error("{}: it is part {} of {} of a model, so its name must end with '{}' for the others "
                "to be found",
                path, number + 1, count, suffix);
  std::string stem = path.substr(0, path.size() - suffix.size());
  if (number != 0)
    throw Error("{}: it is part {} of {} of a model; give the first, {}", path, number + 1, count,
                stem + partSuffix(0, count));

  std::set<std::string> names;
  for (const StoredTensor &tensor : model.tensors)
    names.insert(tensor.name);
  for (uint64_t index = 1; index < count; ++index) {
    std::string next = stem + partSuffix(index, count);
    std::error_code error;
    if (!std::filesystem::exists(next, error))
      throw Error("{}: part {} of {} of the model is missing: {}", path, index + 1, count, next);
    Gguf part = readGgufFile(next);
    checkPart(part, index, count);
    for (StoredTensor &tensor : part.tensors) {
      if (!names.insert(tensor.name).second)
        throw Error("{}: tensor {} is in an earlier part, too", next, tensor.name);
      tensor.file = static_cast<uint32_t>(index);
      model.tensors.push_back(std::move(tensor));
    }
    model.files.push_back(std::move(next));
  }
  std::optional<uint64_t> tensors = model.getUnsigned("split.tensors.count");
  if (tensors && *tensors != model.tensors.size())
    throw Error("{}: split.tensors.count is {}, but the {} parts have {} tensors", path, *tensors,
                count, model.tensors.size());
  return model;
}

} // namespace mlsys::rt
