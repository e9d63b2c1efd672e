//===- GgufSplitTest.cpp - GGUF models in several files -------------------===//
//
// Part of mlsys, under the Apache License v2.0. See LICENSE.
//
//===----------------------------------------------------------------------===//
#include "test/support/TempFolder.h"
#include "runtime/Error.h"
#include "runtime/Gguf.h"

#include <fstream>

using namespace mlsys::rt;
using test::TempFolder;

/// A part with one f32 tensor for each of `names`.
static std::string part(uint32_t number, uint32_t count, const std::vector<std::string> &names,
                        uint32_t total) {
  std::string bytes = "GGUF";
  auto add = [&](auto value) {
    bytes.append(reinterpret_cast<const char *>(&value), sizeof(value));
  };
  auto text = [&](const std::string &value) {
    add(uint64_t(value.size()));
    bytes += value;
  };
  add(uint32_t(3));
  add(uint64_t(names.size()));
  add(uint64_t(3));
  for (auto [key, value] : {std::pair<const char *, uint32_t>{"split.no", number},
                            {"split.count", count},
                            {"split.tensors.count", total}}) {
    text(key);
    add(static_cast<uint32_t>(GgufType::U32));
    add(value);
  }
  for (size_t i = 0; i < names.size(); ++i) {
    text(names[i]);
    add(uint32_t(1));
    add(uint64_t(8));
    add(uint32_t(0));
    add(uint64_t(32 * i));
  }
  bytes.resize((bytes.size() + 31) / 32 * 32 + 32 * names.size());
  return bytes;
}

TEST(GgufSplit, PartsAreOneModel) {
  TempFolder folder;
  std::string first = folder.write("m-00001-of-00003.gguf", part(0, 3, {"a", "b"}, 4));
  std::string second = folder.write("m-00002-of-00003.gguf", part(1, 3, {"c"}, 4));
  std::string third = folder.write("m-00003-of-00003.gguf", part(2, 3, {"d"}, 4));
  Gguf model = readGguf(first);
  EXPECT_EQ(model.files, (std::vector<std::string>{first, second, third}));
  ASSERT_EQ(model.tensors.size(), 4u);
  EXPECT_EQ(model.findTensor("b")->file, 0u);
  EXPECT_EQ(model.findTensor("c")->file, 1u);
  EXPECT_EQ(model.findTensor("d")->file, 2u);
  EXPECT_EQ(model.findTensor("d")->bytes, 32u);
  EXPECT_ERROR(readGguf(second), "it is part 2 of 3 of a model; give the first, " + first);
}

TEST(GgufSplit, WhatDoesNotFit) {
  TempFolder folder;
  std::string first = folder.write("m-00001-of-00002.gguf", part(0, 2, {"a"}, 2));
  EXPECT_ERROR(readGguf(first), "part 2 of 2 of the model is missing: " + folder / "m-00002-of-00002.gguf");
  folder.write("m-00002-of-00002.gguf", part(1, 2, {"a"}, 2));
  EXPECT_ERROR(readGguf(first), "tensor a is in an earlier part, too");
  folder.write("m-00002-of-00002.gguf", part(0, 2, {"b"}, 2));
  EXPECT_ERROR(readGguf(first), "split.no is 0 and split.count 2, but the name says part 2 of 2");
  folder.write("m-00002-of-00002.gguf", part(1, 2, {"b", "c"}, 2));
  EXPECT_ERROR(readGguf(first), "split.tensors.count is 2, but the 2 parts have 3 tensors");
  std::string other = folder.write("other.gguf", part(0, 2, {"a"}, 2));
  EXPECT_ERROR(readGguf(other), "its name must end with '-00001-of-00002.gguf'");
  other = folder.write("o-00001-of-70000.gguf", part(0, 70000, {"a"}, 2));
  EXPECT_ERROR(readGguf(other), "split.count is 70000; at most 9999 parts");
  other = folder.write("p-00004-of-00002.gguf", part(3, 2, {"a"}, 2));
  EXPECT_ERROR(readGguf(other), "split.no is 3, but there are 2 parts");
}
