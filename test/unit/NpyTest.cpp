//===- NpyTest.cpp - NumPy arrays, good and bad ---------------------------===//
//
// Part of mlsys, under the Apache License v2.0. See LICENSE.
//
//===----------------------------------------------------------------------===//
#include "test/support/TempFolder.h"
#include "runtime/Dequantize.h"
#include "runtime/Error.h"
#include "runtime/MappedFile.h"
#include "runtime/Npy.h"
#include "runtime/Program.h"

#include <cstring>
#include <numeric>

using namespace mlsys::rt;
using mlsys::program::DType;
using test::TempFolder;

/// A version 1 file with `header` and `data`.
static std::string fileOf(const std::string &header, const std::string &data, char version = 1) {
  std::string bytes = "\x93NUMPY";
  bytes += {version, '\0', static_cast<char>(header.size() & 0xff),
            static_cast<char>(header.size() >> 8)};
  if (version > 1)
    bytes += {'\0', '\0'};
  return bytes + header + data;
}

TEST(Npy, ReadsWhatNumPyWrote) {
  NpyArray logits = readNpy(MLSYS_TEST_DATA "/models/stories260K/expected_logits.npy");
  EXPECT_EQ(logits.dtype, DType::F32);
  EXPECT_EQ(logits.shape.back(), 512);
  EXPECT_EQ(logits.data.size() % (512 * 4), 0u);
  NpyArray ids = readNpy(MLSYS_TEST_DATA "/models/stories260K/expected_input_ids.npy");
  EXPECT_EQ(ids.dtype, DType::I64);
}

TEST(Npy, RoundTrip) {
  TempFolder folder;
  const std::vector<int64_t> shapes[] = {{}, {5}, {2, 3}, {0, 4}, {1, 2, 3, 4}};
  for (DType dtype : {DType::Bool, DType::I8, DType::U8, DType::I16, DType::I32, DType::I64,
                      DType::F16, DType::F32, DType::F64})
    for (const std::vector<int64_t> &shape : shapes) {
      std::vector<std::byte> data(tensorBytes(dtype, shape));
      for (size_t i = 0; i < data.size(); ++i)
        data[i] = std::byte(i * 7);
      std::string path = folder.path("a.npy");
      writeNpy(path, dtype, shape, data);
      NpyArray read = readNpy(path);
      EXPECT_EQ(read.dtype, dtype);
      EXPECT_EQ(read.shape, shape);
      EXPECT_EQ(read.data, data);
      EXPECT_EQ((std::filesystem::file_size(path) - data.size()) % 64, 0u);
      EXPECT_EQ(folder.entries(), 1u);
    }
}

TEST(Npy, HeaderAsNumPyWritesIt) {
  TempFolder folder;
  const int64_t shape[] = {2};
  writeNpy(folder.path("a.npy"), DType::I8, shape, std::as_bytes(std::span("ab", 2)));
  MappedFile file(folder.path("a.npy"));
  std::string_view text(reinterpret_cast<const char *>(file.data()), file.size());
  EXPECT_EQ(text.substr(0, 10), std::string_view("\x93NUMPY\x01\x00\x76\x00", 10));
  EXPECT_EQ(text.substr(10, 60), "{'descr': '|i1', 'fortran_order': False, 'shape': (2,), }   ");
  EXPECT_EQ(text.substr(127), "\nab");
}

TEST(Npy, Bf16BecomesF32) {
  TempFolder folder;
  const uint16_t bits[] = {0x3f80, 0xc000};
  const int64_t shape[] = {2};
  writeNpy(folder.path("a.npy"), DType::BF16, shape, std::as_bytes(std::span(bits)));
  NpyArray read = readNpy(folder.path("a.npy"));
  EXPECT_EQ(read.dtype, DType::F32);
  float values[2];
  std::memcpy(values, read.data.data(), 8);
  EXPECT_EQ(values[0], 1.0f);
  EXPECT_EQ(values[1], -2.0f);
}

TEST(Npy, OtherVersionsAndSpellings) {
  TempFolder folder;
  std::string header = R"({"shape": (2, 1), "fortran_order": False, "descr": "=u1"})";
  for (char version : {1, 2, 3}) {
    NpyArray read = readNpy(folder.write("a.npy", fileOf(header, "xy", version)));
    EXPECT_EQ(read.shape, (std::vector<int64_t>{2, 1}));
    EXPECT_EQ(read.dtype, DType::U8);
  }
  // Fortran order is C order for a vector.
  readNpy(folder.write("a.npy",
                       fileOf("{'descr':'|u1','fortran_order':True,'shape':(2,)}", "xy")));
}

TEST(Npy, BadFiles) {
  TempFolder folder;
  struct Case {
    std::string bytes, message;
  };
  const Case cases[] = {
      {"", "is not a .npy file"},
      {"\x93NUMPZ\x01\x00zzzzzzzzzzzz", "is not a .npy file"},
      {fileOf("{}", "", 9), "has .npy version 9; supported are 1, 2 and 3"},
      {std::string("\x93NUMPY\x01\x00\xff\xff{}", 12), "said to have 65535 bytes"},
      {std::string("\x93NUMPY\x02\x00\xff\xff", 10), "said to have"},
      {std::string("\x93NUMPY\x02\x00\xff\xff\xff\xff{}", 14), "said to have 4294967295 bytes"},
      {fileOf("{}", ""), "lacks descr, fortran_order or shape"},
      {fileOf("hello", ""), "not what NumPy writes, from character 0"},
      {fileOf("{'descr'", ""), "not what NumPy writes"},
      {fileOf("{'descr", ""), "not what NumPy writes"},
      {fileOf("{'other': 1}", ""), "not what NumPy writes"},
      {fileOf("{'fortran_order': Maybe}", ""), "not what NumPy writes"},
      {fileOf("{'shape': (a)}", ""), "not what NumPy writes"},
      {fileOf("{'shape': (-1,)}", ""), "not what NumPy writes"},
      {fileOf("{'shape': (1 2)}", ""), "not what NumPy writes"},
      {fileOf("{'shape': (99999999999999999999,)}", ""), "has a dimension that is too large"},
      {fileOf("{'shape': (1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,"
              "1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1)}",
              ""),
       "has more than 64 dimensions"},
      {fileOf("{'descr': [('a', '<f4')]}", ""), "holds records"},
      {fileOf("{'descr': '>f4'}", ""), "holds big-endian '>f4'"},
      {fileOf("{'descr': '|O'}", ""), "holds elements of type '|O'; supported are bool"},
      {fileOf("{'descr': '<c8'}", ""), "holds elements of type '<c8'"},
      {fileOf("{'descr': '', 'shape': ()}", ""), "holds elements of type ''"},
      {fileOf("{'descr':'|u1','fortran_order':True,'shape':(2,1)}", "xy"), "is in Fortran order"},
      {fileOf("{'descr':'|u1','fortran_order':False,'shape':(3,)}", "xy"),
       "has 2 bytes of data, but shape [3] of u8 needs 3"},
      {fileOf("{'descr':'|u1','fortran_order':False,'shape':(1,)}", "xy"),
       "has 2 bytes of data, but shape [1] of u8 needs 1"},
      {fileOf("{'descr':'<f4','fortran_order':False,'shape':(4611686018427387904,9)}", "xy"),
       "which is negative or too large"},
  };
  for (const Case &bad : cases) {
    std::string path = folder.write("bad.npy", bad.bytes);
    EXPECT_ERROR(readNpy(path), bad.message);
    EXPECT_ERROR(readNpy(path), path);
  }
  EXPECT_ERROR(readNpy(folder.path("missing.npy")), "cannot open");
}

TEST(Npy, BadWrites) {
  TempFolder folder;
  const int64_t shape[] = {32}, three[] = {3};
  std::vector<std::byte> bytes(18);
  EXPECT_ERROR(writeNpy(folder.path("a.npy"), DType::F32, three, bytes),
               "18 bytes were given, but shape [3] of f32 needs 12");
  EXPECT_ERROR(writeNpy(folder.path("a.npy"), DType::Q4_0, shape, bytes),
               ".npy has no element type for q4_0");
  EXPECT_ERROR(writeNpy(folder.path("no/a.npy"), DType::U8, three, std::span(bytes).first(3)),
               "cannot write '" + folder.path("no/a.npy"));
  EXPECT_EQ(folder.entries(), 0u);
}
