//===- AmxTest.cpp - Kernels for AMX against the interpreter --------------===//
//
// Part of mlsys, under the Apache License v2.0. See LICENSE.
//
//===----------------------------------------------------------------------===//
//
// The code that is shipped for the target `amx`, on a processor that has it or, with AVX-512 BF16,
// on the emulator.
//
//===----------------------------------------------------------------------===//

#include "AmxEmulator.h"
#include "KernelTest.h"

#include "runtime/CpuDevice.h"

#include <cmath>
#include <cstring>

using namespace mlsys;
using namespace mlsys::test;

namespace {

class Amx : public testing::Test {
protected:
  static bool native() { return rt::cpuSupports("amx"); }
  void SetUp() override {
    if (!native() && !rt::cpuSupports("avx512bf16"))
      GTEST_SKIP() << "needs AVX-512 BF16";
  }

  AmxEmulator emulator;
};

/// linear(x, w) + b with `rows` rows ("?" for T); the weights come from outside or are
/// constants in panels.
std::string product(const std::string &rows, int64_t columns, int64_t contracted, bool packed) {
  auto type = [&](const std::string &first, int64_t second) {
    std::string text = "tensor<" + first + "x" + std::to_string(second) + "x$T";
    return text + (first == "?" ? ", #graph.dims<[T, " + std::to_string(second) + "]>>" : ">");
  };
  std::string n = std::to_string(columns), k = std::to_string(contracted);
  std::string x = type(rows, contracted), w = type(n, contracted), b = "tensor<" + n + "x$T>", y = type(rows, columns);
  std::string name = "@rows_" + (rows == "?" ? std::string("any") : rows) + (packed ? "_packed" : "");
  std::string text = "func.func " + name + "(%x: " + x + ", %b: " + b + (packed ? "" : ", %w: " + w) + ") -> " + y +
                     " attributes {test.kernels = [\"dot\"]";
  if (rows == "?")
    text += ", graph.symbols = [#graph.symbol<\"T\", min = 1, max = 1024, hint = 64>]";
  text += "} {\n";
  if (packed)
    text += "  %w = graph.weight \"w\" : " + w +
            " from #graph.weight_source<file = -1, offset = 1, bytes = 0, dtype = \"random\", shape = [" + n + ", " + k + "]>\n";
  return text + "  %y = graph.linear %x, %w bias %b : (" + x + ", " + w + ", " + b + ") -> " + y + "\n  return %y : " + y + "\n}\n";
}

/// Rows, columns and K around the tiles: 32 rows, 32 columns, 32 of K.
TEST_F(Amx, ProductsWithAllRemainders) {
  const std::pair<int64_t, int64_t> extents[] = {{32, 32}, {48, 64}, {37, 53}, {31, 95}, {80, 97}, {1, 130}, {65, 1056}};
  for (auto [columns, contracted] : extents) {
    SCOPED_TRACE(std::to_string(columns) + " columns, K = " + std::to_string(contracted));
    std::string text;
    for (const char *rows : {"?", "8", "9", "16", "31", "32", "33"})
      text += product(rows, columns, contracted, /*packed=*/true);
    text += product("?", columns, contracted, /*packed=*/false) + product("17", columns, contracted, /*packed=*/false);
    int64_t before = AmxEmulator::products();
    KernelTest test(text, "bf16", "amx");
    ASSERT_TRUE(test.valid());
    for (const std::string &function : test.functions()) {
      if (!test.isDynamic(function)) {
        test.compare(function, 1);
        continue;
      }
      for (int64_t tokens : {1, 8, 15, 16, 17, 31, 32, 33, 47, 64, 97})
        test.compare(function, tokens);
    }
    if (!native())
      EXPECT_GT(AmxEmulator::products(), before);
  }
}

/// Prologues, epilogues, several weights, other types beside bf16.
TEST_F(Amx, FusedProducts) {
  std::string text = readInput("kernels.mlir");
  KernelTest test(text.substr(text.rfind("// -----\n")), "bf16", "amx");
  ASSERT_TRUE(test.valid());
  for (const std::string &function : test.functions())
    for (int64_t tokens : {1, 5, 64, 67})
      test.compare(function, tokens);
}

TEST_F(Amx, Experts) {
  std::string text = readInput("experts.mlir");
  for (auto [name, value] : {std::pair("$E", 4), {"$K", 2}, {"$N", 35}, {"$D", 50}, {"$B", 3}})
    replace(text, name, value);
  text = replaceAll(text, "$L", ", \"loop\"");
  int64_t before = AmxEmulator::products();
  KernelTest test(text, "bf16", "amx");
  ASSERT_TRUE(test.valid());
  for (const std::string &function : test.functions())
    for (int64_t tokens : {1, 17, 67})
      test.compare(function, tokens);
  if (!native())
    EXPECT_GT(AmxEmulator::products(), before);
}

/// A product of `rows` rows whose sums have a known exact value: all weights are 1.
std::string rowSums(int64_t rows, int64_t contracted) {
  std::string text = R"(
func.func @rows_$R(%x: tensor<$Rx$Kxf32>) -> tensor<$Rx40xf32> {
  %w = graph.constant dense<1.0> : tensor<40x$Kxbf16>
  %h = graph.convert %x : tensor<$Rx$Kxf32> -> tensor<$Rx$Kxbf16>
  %y = graph.linear %h, %w : (tensor<$Rx$Kxbf16>, tensor<40x$Kxbf16>) -> tensor<$Rx40xbf16>
  %f = graph.convert %y : tensor<$Rx40xbf16> -> tensor<$Rx40xf32>
  return %f : tensor<$Rx40xf32>
}
)";
  replace(text, "$R", rows);
  replace(text, "$K", contracted);
  return text;
}

/// Each element of K is there once, and a row's result does not depend on the others.
TEST_F(Amx, SumsAreExactAndDoNotDependOnTheBatch) {
  constexpr int64_t contracted = 117;
  const std::vector<int64_t> batches = {8, 17, 33, 70};
  std::string text;
  for (int64_t rows : batches)
    text += rowSums(rows, contracted);
  KernelTest test(text, "f32", "amx");
  ASSERT_TRUE(test.valid());
  std::mt19937 random(3);
  std::vector<float> whole(batches.back() * contracted), parts(whole.size());
  for (size_t i = 0; i < whole.size(); ++i) {
    whole[i] = float(int(random() % 256) - 128);
    parts[i] = std::normal_distribution<float>()(random);
  }
  std::vector<float> most = test.apply("rows_" + std::to_string(batches.back()), parts);
  for (int64_t rows : batches) {
    std::string name = "rows_" + std::to_string(rows);
    std::vector<float> sums = test.apply(name, {whole.begin(), whole.begin() + rows * contracted});
    for (int64_t row = 0; row < rows; ++row) {
      float expected = 0;
      for (int64_t k = 0; k < contracted; ++k)
        expected += whole[row * contracted + k];
      for (int64_t column = 0; column < 40; ++column)
        ASSERT_EQ(sums[row * 40 + column], expected) << name << ", row " << row;
    }
    std::vector<float> few = test.apply(name, {parts.begin(), parts.begin() + rows * contracted});
    EXPECT_EQ(std::memcmp(few.data(), most.data(), few.size() * sizeof(float)), 0) << name;
  }
}

//===----------------------------------------------------------------------===//
// The emulator itself
//===----------------------------------------------------------------------===//

struct alignas(64) Configuration {
  uint8_t palette = 1, startRow = 0, reserved[14] = {};
  uint16_t rowBytes[16] = {};
  uint8_t rows[16] = {};
};

__attribute__((target("amx-tile,amx-bf16"))) void multiplyTiles(const Configuration &configuration, float *sum,
                                                                 const uint16_t *left, const uint16_t *right,
                                                                 int64_t stride) {
  __asm__ volatile("ldtilecfg (%0)\n\t"
                   "tileloadd (%1,%4), %%tmm2\n\t"
                   "tileloaddt1 (%2,%4), %%tmm5\n\t"
                   "tilezero %%tmm0\n\t"
                   "tdpbf16ps %%tmm5, %%tmm2, %%tmm0\n\t"
                   "tdpbf16ps %%tmm5, %%tmm2, %%tmm0\n\t"
                   "tilestored %%tmm0, (%3,%4)\n\t"
                   "tilerelease"
                   :
                   : "r"(&configuration), "r"(left), "r"(right), "r"(sum), "r"(stride)
                   : "memory");
}

uint16_t toBf16(float value) { return static_cast<uint16_t>(std::bit_cast<uint32_t>(value) >> 16); }

/// Twice the product of 3 x 10 and 10 x 7.
TEST_F(Amx, EmulatedProduct) {
  constexpr int rows = 3, columns = 7, contracted = 10, stride = 64;
  Configuration configuration;
  configuration.rows[0] = configuration.rows[2] = rows;
  configuration.rows[5] = contracted / 2;
  configuration.rowBytes[0] = configuration.rowBytes[5] = 4 * columns;
  configuration.rowBytes[2] = 2 * contracted;
  // A row of memory has 64 bytes; what lies behind a tile's rows must stay.
  std::vector<uint16_t> left(16 * 32, 0x7fc0), right(16 * 32, 0x7fc0);
  std::vector<float> sum(16 * 16, -1.0f);
  auto a = [](int row, int k) { return float(row - 1) * 0.5f + float(k); };
  auto b = [](int k, int column) { return float(k % 3) - float(column) * 0.25f; };
  for (int row = 0; row < rows; ++row)
    for (int k = 0; k < contracted; ++k)
      left[row * 32 + k] = toBf16(a(row, k));
  for (int k = 0; k < contracted; ++k)
    for (int column = 0; column < columns; ++column)
      right[k / 2 * 32 + 2 * column + k % 2] = toBf16(b(k, column));
  multiplyTiles(configuration, sum.data(), left.data(), right.data(), stride);
  for (int row = 0; row < 16; ++row)
    for (int column = 0; column < 16; ++column) {
      float expected = 0;
      for (int k = 0; k < contracted; ++k)
        expected += 2 * a(row, k) * b(k, column);
      EXPECT_EQ(sum[row * 16 + column], row < rows && column < columns ? expected : -1.0f) << row << " " << column;
    }
}

/// Errors of the code are found, not computed over.
TEST_F(Amx, EmulatorRefuses) {
  if (native())
    GTEST_SKIP() << "the processor itself says so";
  testing::FLAGS_gtest_death_test_style = "threadsafe";
  std::vector<uint16_t> operand(16 * 32);
  std::vector<float> sum(16 * 16);
  auto run = [&](auto change) {
    Configuration configuration;
    for (int tile : {0, 2, 5}) {
      configuration.rows[tile] = 16;
      configuration.rowBytes[tile] = 64;
    }
    change(configuration);
    multiplyTiles(configuration, sum.data(), operand.data(), operand.data(), 64);
  };
  run([](Configuration &) {});
  EXPECT_DEATH(run([](Configuration &c) { c.palette = 2; }), "unknown palette");
  EXPECT_DEATH(run([](Configuration &c) { c.palette = 0; }), "before LDTILECFG");
  EXPECT_DEATH(run([](Configuration &c) { c.rows[0] = 17; }), "more than 16 rows");
  EXPECT_DEATH(run([](Configuration &c) { c.rows[5] = c.rowBytes[5] = 0; }), "has no rows");
  EXPECT_DEATH(run([](Configuration &c) { c.rows[2] = 8; }), "left side differ");
  EXPECT_DEATH(run([](Configuration &c) { c.rowBytes[5] = 32; }), "right side differ");
  EXPECT_DEATH(run([](Configuration &c) { c.rowBytes[2] = 32; }), "summed over differs");
}

} // namespace
