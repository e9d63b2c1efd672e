//===- safetensors.cpp - Fuzzes the reading of safetensors ----------------===//
//
// Part of mlsys, under the Apache License v2.0. See LICENSE.
//
//===----------------------------------------------------------------------===//
//
// A file by itself; an input that begins with '{' is the index of a folder with
// two shards instead.
//
//===----------------------------------------------------------------------===//
#include "Fuzz.h"

#include "runtime/Dequantize.h"
#include "runtime/MappedFile.h"
#include "runtime/Safetensors.h"

#include <filesystem>
#include <fstream>
#include <vector>

using namespace mlsys;

static void writeFile(const std::filesystem::path &path, std::string_view bytes) {
  std::ofstream(path, std::ios::binary | std::ios::trunc)
      .write(bytes.data(), static_cast<std::streamsize>(bytes.size()));
}

static std::string shard(const std::string &name) {
  std::string header =
      "{\"" + name + "\":{\"dtype\":\"F32\",\"shape\":[2],\"data_offsets\":[0,8]}}";
  std::string bytes(8, '\0');
  bytes[0] = static_cast<char>(header.size());
  return bytes + header + std::string(8, '\x11');
}

namespace {
/// A folder with two shards, removed at the end.
struct Folder {
  std::filesystem::path path;
  Folder() {
    std::string pattern = (std::filesystem::temp_directory_path() / "fuzz-XXXXXX").string();
    if (!::mkdtemp(pattern.data()))
      __builtin_trap();
    path = pattern;
    writeFile(path / "a.safetensors", shard("a"));
    writeFile(path / "b.safetensors", shard("b"));
  }
  ~Folder() {
    std::error_code ignored;
    std::filesystem::remove_all(path, ignored);
  }
};
} // namespace

static void readTensors(const rt::Safetensors &model) {
  std::vector<rt::MappedFile> files;
  for (const rt::Safetensors::File &file : model.files)
    files.emplace_back(file.path);
  for (const rt::StoredTensor &tensor : model.tensors) {
    if (!rt::isFloatDType(tensor.dtype))
      continue;
    auto count = static_cast<int64_t>(tensor.bytes) / rt::dtypeBlockBytes(tensor.dtype);
    std::vector<float> values(static_cast<size_t>(count));
    rt::convertToF32(tensor.dtype, files.at(tensor.file).data() + tensor.offset, values.data(),
                     count);
  }
}

extern "C" int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  std::string_view text = fuzz::textOf(data, size);
  fuzz::expectErrorsOnly([&] {
    if (text.starts_with("{")) {
      static const Folder folder;
      writeFile(folder.path / "model.safetensors.index.json", text);
      readTensors(rt::readSafetensorsFolder(folder.path.string()));
    } else {
      fuzz::MemoryFile file(text);
      readTensors(rt::readSafetensors(file.path()));
    }
  });
  return 0;
}
