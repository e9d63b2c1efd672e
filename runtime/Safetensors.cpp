//===- Safetensors.cpp - Reads safetensors headers ------------------------===//
//
// Part of mlsys, under the Apache License v2.0. See LICENSE.
//
//===----------------------------------------------------------------------===//
#include "runtime/Safetensors.h"

#include "runtime/CheckedMath.h"
#include "runtime/DType.h"
#include "runtime/Error.h"
#include "runtime/MappedFile.h"

#include <nlohmann/json.hpp>

#include <algorithm>
#include <cstring>
#include <filesystem>
#include <set>

namespace mlsys::rt {

using nlohmann::json;
using program::DType;

/// Longest header that the format allows.
static constexpr uint64_t maxHeaderBytes = 100'000'000;
/// A header is an object of objects of lists.
static constexpr int maxHeaderDepth = 4;

const StoredTensor *Safetensors::find(std::string_view name) const {
  auto found =
      std::lower_bound(tensors.begin(), tensors.end(), name,
                       [](const StoredTensor &t, std::string_view n) { return t.name < n; });
  return found != tensors.end() && found->name == name ? &*found : nullptr;
}

/// Parses a JSON object; refuses repeated names on its first level.
static json parseObject(const std::string &path, std::string_view text, const char *what) {
  std::set<std::string> names;
  std::string repeated;
  bool tooDeep = false;
  auto watch = [&](int depth, json::parse_event_t event, json &parsed) {
    if (depth > maxHeaderDepth) {
      tooDeep = true;
      return false;
    }
    if (event == json::parse_event_t::key && depth == 1 &&
        !names.insert(parsed.get_ref<const std::string &>()).second)
      repeated = parsed.get<std::string>();
    return true;
  };
  json value = json::parse(text.begin(), text.end(), watch, /*allow_exceptions=*/false);
  if (tooDeep)
    throw Error("{}: the {} nests deeper than {} levels", path, what, maxHeaderDepth);
  if (value.is_discarded() || !value.is_object())
    throw Error("{}: the {} is not a JSON object", path, what);
  if (!repeated.empty())
    throw Error("{}: the {} lists {} twice", path, what, repeated);
  return value;
}

static DType parseDType(const std::string &path, const std::string &tensor,
                        const std::string &name) {
  static const std::map<std::string, DType> known = {
      {"BOOL", DType::Bool}, {"I8", DType::I8},     {"U8", DType::U8},   {"I16", DType::I16},
      {"I32", DType::I32},   {"I64", DType::I64},   {"F16", DType::F16}, {"BF16", DType::BF16},
      {"F32", DType::F32},   {"F64", DType::F64}};
  auto found = known.find(name);
  if (found == known.end())
    throw Error("{}: tensor {} has dtype {}; supported are BOOL, I8, U8, I16, I32, I64, F16, BF16, "
                "F32 and F64",
                path, tensor, name);
  return found->second;
}

/// A list of non-negative integers, or an error about `field`.
static std::vector<int64_t> parseIntegers(const std::string &path, const std::string &tensor,
                                          const json &entry, const char *field) {
  auto list = entry.find(field);
  if (list == entry.end() || !list->is_array())
    throw Error("{}: tensor {} has no list `{}`", path, tensor, field);
  std::vector<int64_t> values;
  for (const json &item : *list) {
    bool fits = item.is_number_unsigned() &&
                item.get<uint64_t>() <= static_cast<uint64_t>(INT64_MAX);
    if (!fits)
      throw Error("{}: tensor {}: `{}` holds {}, expected a non-negative integer", path, tensor,
                  field, item.dump(-1, ' ', false, json::error_handler_t::replace));
    values.push_back(item.get<int64_t>());
  }
  return values;
}

static StoredTensor parseTensor(const std::string &path, const std::string &name,
                                const json &entry, uint64_t dataStart, uint64_t dataBytes) {
  if (!entry.is_object())
    throw Error("{}: tensor {} is not described by an object", path, name);
  auto dtype = entry.find("dtype");
  if (dtype == entry.end() || !dtype->is_string())
    throw Error("{}: tensor {} has no string `dtype`", path, name);
  StoredTensor tensor;
  tensor.name = name;
  tensor.dtype = parseDType(path, name, dtype->get<std::string>());
  tensor.shape = parseIntegers(path, name, entry, "shape");
  std::vector<int64_t> extent = parseIntegers(path, name, entry, "data_offsets");
  if (extent.size() != 2 || extent[0] > extent[1])
    throw Error("{}: tensor {}: `data_offsets` is not [begin, end]", path, name);
  if (static_cast<uint64_t>(extent[1]) > dataBytes)
    throw Error("{}: tensor {} ends at byte {} of the data, but the file holds {} bytes of data; "
                "the file is truncated or its header is wrong",
                path, name, extent[1], dataBytes);
  tensor.offset = dataStart + static_cast<uint64_t>(extent[0]);
  tensor.bytes = static_cast<uint64_t>(extent[1] - extent[0]);
  uint64_t expected = storedBytes(path + ": tensor " + name, tensor.dtype, tensor.shape);
  if (tensor.bytes != expected)
    throw Error("{}: tensor {} has {} bytes, but shape {} of {} needs {}", path, name,
                tensor.bytes, shapeText(tensor.shape), dtypeName(tensor.dtype), expected);
  return tensor;
}

Safetensors readSafetensors(const std::string &path) {
  MappedFile file(path);
  if (file.size() < 8)
    throw Error("{} has {} bytes; a safetensors file begins with an 8-byte header length", path,
                file.size());
  uint64_t headerBytes;
  std::memcpy(&headerBytes, file.data(), 8);
  if (headerBytes > file.size() - 8)
    throw Error("{}: the header is said to have {} bytes, but the file has only {}; it is "
                "truncated or not a safetensors file",
                path, headerBytes, file.size());
  if (headerBytes > maxHeaderBytes)
    throw Error("{}: the header has {} bytes; at most {} are allowed", path, headerBytes,
                maxHeaderBytes);
  std::string_view text(reinterpret_cast<const char *>(file.data()) + 8, headerBytes);
  json header = parseObject(path, text, "header");

  Safetensors result;
  result.files.push_back({path, file.size()});
  uint64_t dataStart = 8 + headerBytes;
  for (const auto &[name, entry] : header.items()) {
    if (name == "__metadata__") {
      if (!entry.is_object())
        throw Error("{}: __metadata__ is not an object", path);
      for (const auto &[key, value] : entry.items()) {
        if (!value.is_string())
          throw Error("{}: __metadata__ entry {} is not a string", path, key);
        result.metadata[key] = value.get<std::string>();
      }
      continue;
    }
    result.tensors.push_back(parseTensor(path, name, entry, dataStart, file.size() - dataStart));
  }
  std::sort(result.tensors.begin(), result.tensors.end(),
            [](const StoredTensor &a, const StoredTensor &b) { return a.name < b.name; });
  std::vector<const StoredTensor *> extents;
  for (const StoredTensor &tensor : result.tensors)
    extents.push_back(&tensor);
  checkNoOverlap(path, std::move(extents));
  return result;
}

/// The path of a shard, which may not leave the folder.
static std::filesystem::path shardPath(const std::string &index,
                                       const std::filesystem::path &folder,
                                       const std::string &shard) {
  std::filesystem::path relative(shard);
  bool leaves = shard.empty() || relative.is_absolute() || shard.find('\0') != std::string::npos;
  for (const std::filesystem::path &part : relative)
    leaves |= part == "..";
  if (leaves)
    throw Error("{}: shard '{}' is not a path inside the model's folder", index, shard.c_str());
  return folder / relative;
}

/// Reads the shards that an index lists and keeps the tensors it names.
static Safetensors readSharded(const std::filesystem::path &folder, const std::string &index) {
  MappedFile file(index);
  if (file.size() > maxHeaderBytes)
    throw Error("{} has {} bytes; at most {} are allowed", index, file.size(), maxHeaderBytes);
  std::string_view text(reinterpret_cast<const char *>(file.data()), file.size());
  json root = parseObject(index, text, "index");
  auto weightMap = root.find("weight_map");
  if (weightMap == root.end() || !weightMap->is_object())
    throw Error("{} has no object `weight_map`", index);

  Safetensors result;
  struct Shard {
    uint32_t file;
    Safetensors content;
  };
  std::map<std::string, Shard> shards;
  for (const auto &[name, value] : weightMap->items()) {
    if (!value.is_string())
      throw Error("{}: the file of tensor {} is not a string", index, name);
    std::string shardName = value.get<std::string>();
    auto found = shards.find(shardName);
    if (found == shards.end()) {
      Safetensors content = readSafetensors(shardPath(index, folder, shardName).string());
      uint32_t number = static_cast<uint32_t>(result.files.size());
      result.files.push_back(content.files.front());
      result.metadata.insert(content.metadata.begin(), content.metadata.end());
      found = shards.emplace(shardName, Shard{number, std::move(content)}).first;
    }
    const StoredTensor *tensor = found->second.content.find(name);
    if (!tensor)
      throw Error("{} says that tensor {} is in {}, but that file does not have it", index, name,
                  shardName);
    result.tensors.push_back(*tensor);
    result.tensors.back().file = found->second.file;
  }
  std::sort(result.tensors.begin(), result.tensors.end(),
            [](const StoredTensor &a, const StoredTensor &b) { return a.name < b.name; });
  return result;
}

Safetensors readSafetensorsFolder(const std::string &folder) {
  std::filesystem::path root(folder);
  std::filesystem::path single = root / "model.safetensors";
  std::filesystem::path index = root / "model.safetensors.index.json";
  std::error_code ignored;
  if (std::filesystem::exists(single, ignored))
    return readSafetensors(single.string());
  if (std::filesystem::exists(index, ignored))
    return readSharded(root, index.string());
  throw Error("{} has neither model.safetensors nor model.safetensors.index.json", folder);
}

} // namespace mlsys::rt
