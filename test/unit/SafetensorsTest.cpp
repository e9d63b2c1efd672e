//===- SafetensorsTest.cpp - Safetensors headers, good and bad ------------===//
//
// Part of mlsys, under the Apache License v2.0. See LICENSE.
//
//===----------------------------------------------------------------------===//
#include "test/support/TempFolder.h"
#include "runtime/Error.h"
#include "runtime/Safetensors.h"

#include <cstring>

using namespace mlsys::rt;
using mlsys::program::DType;
using test::TempFolder;

static const std::string models = MLSYS_TEST_DATA "/models/";

/// A file with `header` and `dataBytes` zeros.
static std::string fileOf(std::string_view header, size_t dataBytes) {
  uint64_t length = header.size();
  std::string bytes(8, '\0');
  std::memcpy(bytes.data(), &length, 8);
  return bytes.append(header).append(dataBytes, '\0');
}

static std::string tensorEntry(const std::string &name, const std::string &dtype,
                               const std::string &shape, const std::string &offsets) {
  return "\"" + name + "\":{\"dtype\":\"" + dtype + "\",\"shape\":" + shape +
         ",\"data_offsets\":" + offsets + "}";
}

TEST(Safetensors, SingleFile) {
  Safetensors model = readSafetensorsFolder(models + "llama");
  ASSERT_EQ(model.files.size(), 1u);
  const StoredTensor *table = model.find("model.embed_tokens.weight");
  ASSERT_TRUE(table);
  EXPECT_EQ(table->dtype, DType::F32);
  ASSERT_EQ(table->shape.size(), 2u);
  EXPECT_EQ(table->bytes, static_cast<uint64_t>(table->shape[0] * table->shape[1] * 4));
  EXPECT_LE(table->offset + table->bytes, model.files[0].size);
  EXPECT_FALSE(model.find("model.embed_tokens.weigh"));
  EXPECT_FALSE(model.find("zzz"));
}

TEST(Safetensors, Sharded) {
  Safetensors model = readSafetensorsFolder(models + "llama_sharded_bf16");
  ASSERT_EQ(model.files.size(), 4u);
  std::vector<bool> used(4);
  for (const StoredTensor &tensor : model.tensors) {
    ASSERT_LT(tensor.file, 4u);
    used[tensor.file] = true;
    EXPECT_LE(tensor.offset + tensor.bytes, model.files[tensor.file].size);
  }
  EXPECT_EQ(used, std::vector<bool>(4, true));
  ASSERT_TRUE(model.find("model.norm.weight"));
  EXPECT_EQ(model.find("model.norm.weight")->dtype, DType::BF16);
}

TEST(Safetensors, SmallTensorsAndMetadata) {
  TempFolder folder;
  std::string header = "{\"__metadata__\":{\"format\":\"pt\"}," +
                       tensorEntry("scalar", "I64", "[]", "[2,10]") + "," +
                       tensorEntry("empty", "F32", "[3,0]", "[0,0]") + "," +
                       tensorEntry("flags", "BOOL", "[2]", "[0,2]") + "}   ";
  Safetensors file = readSafetensors(folder.write("a.safetensors", fileOf(header, 10)));
  EXPECT_EQ(file.metadata.at("format"), "pt");
  ASSERT_EQ(file.tensors.size(), 3u);
  EXPECT_EQ(file.find("scalar")->bytes, 8u);
  EXPECT_EQ(file.find("scalar")->offset, 8 + header.size() + 2);
  EXPECT_EQ(file.find("empty")->bytes, 0u);
  EXPECT_EQ(file.find("flags")->dtype, DType::Bool);
}

struct BadHeader {
  const char *header;
  const char *message;
};

TEST(Safetensors, BadHeaders) {
  const BadHeader cases[] = {
      {"{\"a\":", "the header is not a JSON object"},
      {"[1]", "the header is not a JSON object"},
      {"\xff\xfe{}", "the header is not a JSON object"},
      {R"({"a":[[[[[[1]]]]]]})", "the header nests deeper than 4 levels"},
      {R"({"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4]},
           "a":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}})",
       "the header lists a twice"},
      {R"({"__metadata__":1})", "__metadata__ is not an object"},
      {R"({"__metadata__":{"a":1}})", "__metadata__ entry a is not a string"},
      {R"({"a":1})", "tensor a is not described by an object"},
      {R"({"a":{"shape":[1],"data_offsets":[0,4]}})", "tensor a has no string `dtype`"},
      {R"({"a":{"dtype":"F8_E4M3","shape":[4],"data_offsets":[0,4]}})",
       "tensor a has dtype F8_E4M3; supported are BOOL, I8"},
      {R"({"a":{"dtype":"F32","data_offsets":[0,4]}})", "tensor a has no list `shape`"},
      {R"({"a":{"dtype":"F32","shape":[-1],"data_offsets":[0,4]}})",
       "tensor a: `shape` holds -1, expected a non-negative integer"},
      {R"({"a":{"dtype":"F32","shape":[1.5],"data_offsets":[0,4]}})", "`shape` holds 1.5"},
      {R"({"a":{"dtype":"F32","shape":[18446744073709551615],"data_offsets":[0,4]}})",
       "`shape` holds 18446744073709551615"},
      {R"({"a":{"dtype":"F32","shape":[4611686018427387904,4],"data_offsets":[0,4]}})",
       "has the shape [4611686018427387904, 4], which is negative or too large"},
      {R"({"a":{"dtype":"F64","shape":[4611686018427387904],"data_offsets":[0,4]}})",
       "has the shape [4611686018427387904], which is too large"},
      {R"({"a":{"dtype":"F32","shape":[1]}})", "tensor a has no list `data_offsets`"},
      {R"({"a":{"dtype":"F32","shape":[1],"data_offsets":[0]}})",
       "tensor a: `data_offsets` is not [begin, end]"},
      {R"({"a":{"dtype":"F32","shape":[1],"data_offsets":[4,0]}})",
       "tensor a: `data_offsets` is not [begin, end]"},
      {R"({"a":{"dtype":"F32","shape":[1],"data_offsets":[-4,0]}})",
       "tensor a: `data_offsets` holds -4"},
      {R"({"a":{"dtype":"F32","shape":[3],"data_offsets":[0,12]}})",
       "tensor a ends at byte 12 of the data, but the file holds 8 bytes of data"},
      {R"({"a":{"dtype":"F32","shape":[1],"data_offsets":[0,8]}})",
       "tensor a has 8 bytes, but shape [1] of f32 needs 4"},
      {R"({"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4]},
           "b":{"dtype":"F32","shape":[1],"data_offsets":[2,6]}})",
       "tensors a and b overlap"},
  };
  TempFolder folder;
  for (const BadHeader &bad : cases) {
    std::string path = folder.write("bad.safetensors", fileOf(bad.header, 8));
    EXPECT_ERROR(readSafetensors(path), bad.message);
    EXPECT_ERROR(readSafetensors(path), path);
  }
}

TEST(Safetensors, BadLengths) {
  TempFolder folder;
  EXPECT_ERROR(readSafetensors(folder.write("a", "1234567")), "has 7 bytes");
  EXPECT_ERROR(readSafetensors(folder.write("a", "")), "has 0 bytes");
  EXPECT_ERROR(readSafetensors(folder.write("a", std::string(8, '\xff') + "{}")),
               "said to have 18446744073709551615 bytes, but the file has only 10");
  EXPECT_ERROR(readSafetensors(folder.write("a", std::string("\x03\0\0\0\0\0\0\0{}", 10))),
               "said to have 3 bytes");
  // A header of more than 100 MB in a sparse file.
  std::string path = folder.write("big", std::string("\x01\xe1\xf5\x05\0\0\0\0", 8));
  std::filesystem::resize_file(path, 200'000'000);
  EXPECT_ERROR(readSafetensors(path), "the header has 100000001 bytes; at most 100000000");
  EXPECT_ERROR(readSafetensors(folder.path("missing")), "cannot open");
}

TEST(Safetensors, BadIndexes) {
  TempFolder folder;
  EXPECT_ERROR(readSafetensorsFolder(folder.path()),
               "has neither model.safetensors nor model.safetensors.index.json");
  folder.write("shard.safetensors",
               fileOf("{" + tensorEntry("a", "F32", "[1]", "[0,4]") + "}", 4));
  const BadHeader cases[] = {
      {"{", "the index is not a JSON object"},
      {"{}", "has no object `weight_map`"},
      {R"({"weight_map":{"a":1}})", "the file of tensor a is not a string"},
      {R"({"weight_map":{"b":"shard.safetensors"}})",
       "says that tensor b is in shard.safetensors, but that file does not have it"},
      {R"({"weight_map":{"a":"gone.safetensors"}})", "gone.safetensors: No such file"},
      {R"({"weight_map":{"a":"../shard.safetensors"}})", "is not a path inside"},
      {R"({"weight_map":{"a":"x/../../shard.safetensors"}})", "is not a path inside"},
      {R"({"weight_map":{"a":"/etc/passwd"}})", "shard '/etc/passwd' is not a path inside"},
      {R"({"weight_map":{"a":""}})", "is not a path inside"},
      {R"({"weight_map":{"a":"shard.safetensors\u0000x"}})", "is not a path inside"},
  };
  for (const BadHeader &bad : cases) {
    folder.write("model.safetensors.index.json", bad.header);
    EXPECT_ERROR(readSafetensorsFolder(folder.path()), bad.message);
  }
  folder.write("model.safetensors.index.json", R"({"weight_map":{"a":"shard.safetensors"}})");
  EXPECT_EQ(readSafetensorsFolder(folder.path()).tensors.size(), 1u);
}
