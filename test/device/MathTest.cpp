//===- MathTest.cpp - Functions on the CPU against f64 --------------------===//
//
// Part of mlsys, under the Apache License v2.0. See LICENSE.
//
//===----------------------------------------------------------------------===//
//
// The errors that docs/Numerics.md states, and rows too long for the caches.
//
//===----------------------------------------------------------------------===//

#include "KernelTest.h"

#include <bit>
#include <cmath>
#include <functional>
#include <limits>

using namespace mlsys;
using namespace mlsys::test;

namespace {

/// Module text with one function on all elements for each operation.
std::string elementwise(const std::vector<std::string> &operations) {
  const std::string type = "tensor<?xf32, #graph.dims<[T]>>";
  std::string text;
  for (const std::string &operation : operations)
    text += "func.func @" + operation + "(%x: " + type + ") -> " + type +
            " attributes {graph.symbols = [#graph.symbol<\"T\", min = 1, max = 4194304, hint = 4096>]} {\n" +
            "  %0 = graph." + operation + " %x : " + type + "\n  return %0 : " + type + "\n}\n";
  return text;
}

/// The distance of `actual` to `expected` in units of the last place of f32 there.
double ulps(float actual, double expected) {
  if (std::isnan(expected) || std::isnan(actual))
    return std::isnan(expected) && std::isnan(actual) ? 0 : std::numeric_limits<double>::infinity();
  auto rounded = static_cast<float>(expected);
  if (actual == rounded)
    return 0;
  if (std::isinf(actual) || std::isinf(rounded)) {
    // The largest number is one step from infinity.
    double largest = std::numeric_limits<float>::max();
    bool next = std::abs(actual) >= largest && std::abs(rounded) >= largest;
    return next && std::signbit(actual) == std::signbit(rounded) ? 1 : std::numeric_limits<double>::infinity();
  }
  int exponent = std::max(-126, std::ilogb(rounded == 0 ? std::numeric_limits<float>::min() : rounded));
  return std::abs(actual - expected) / std::ldexp(1.0, exponent - 23);
}

/// Bit patterns from all of f32, near and far, and those where something changes.
std::vector<float> samples() {
  std::vector<float> result;
  for (uint64_t bits = 0; bits < uint64_t(1) << 32; bits += 8209)
    result.push_back(std::bit_cast<float>(static_cast<uint32_t>(bits)));
  for (float limit : {0.5f, 1.0f, 3.93f, 9.02f, 20.0f, 105.0f, 1000.0f, 65536.0f})
    for (int step = -20000; step <= 20000; ++step)
      result.push_back(limit * (float(step) / 20000.0f));
  float infinity = std::numeric_limits<float>::infinity();
  for (float value : {0.0f, 88.72283f, 88.72284f, 87.3365f, 103.97f, 104.0f, 65535.996f, 65536.0f, 65536.01f,
                      std::numeric_limits<float>::min(), std::numeric_limits<float>::denorm_min(),
                      std::numeric_limits<float>::max(), infinity, std::numeric_limits<float>::quiet_NaN()}) {
    result.push_back(value);
    result.push_back(-value);
  }
  return result;
}

struct Function {
  std::string name;
  std::function<double(double)> exact;
  double bound;
};

const Function functions[] = {
    {"exp", [](double x) { return std::exp(x); }, 1.0},
    {"log", [](double x) { return std::log(x); }, 1.0},
    {"tanh", [](double x) { return std::tanh(x); }, 6.0},
    {"erf", [](double x) { return std::erf(x); }, 6.0},
    {"sin", [](double x) { return std::sin(x); }, 1.5},
    {"cos", [](double x) { return std::cos(x); }, 1.5},
    {"sigmoid", [](double x) { return 1 / (1 + std::exp(-x)); }, 2.5},
};

class Math : public testing::TestWithParam<Variant> {};

TEST_P(Math, FunctionsAreAsCloseAsStated) {
  std::vector<std::string> names;
  for (const Function &function : functions)
    names.push_back(function.name);
  KernelTest test(elementwise(names), "f32", GetParam().target);
  ASSERT_TRUE(test.valid());
  std::vector<float> inputs = samples();
  for (const Function &function : functions) {
    std::vector<float> actual = test.apply(function.name, inputs);
    double worst = 0;
    for (size_t i = 0; i < inputs.size(); ++i) {
      double exact = function.exact(inputs[i]);
      // Where e^-x overflows.
      if (function.name == "sigmoid" && exact < std::numeric_limits<float>::min() && actual[i] == 0)
        continue;
      double error = ulps(actual[i], exact);
      worst = std::max(worst, error);
      ASSERT_LE(error, function.bound) << function.name << " of " << inputs[i] << " is " << actual[i];
    }
    RecordProperty(function.name, std::to_string(worst));
  }
}

/// Errors of what GELU multiplies its argument with.
TEST_P(Math, GeluIsAsCloseAsStated) {
  const std::string type = "tensor<?xf32, #graph.dims<[T]>>";
  std::string text;
  for (std::string form : {"", " tanh"})
    text += std::string("func.func @gelu") + (form.empty() ? "" : "_tanh") + "(%x: " + type + ") -> " + type +
            " attributes {graph.symbols = [#graph.symbol<\"T\", min = 1, max = 4194304, hint = 4096>]} {\n" +
            "  %0 = graph.gelu %x" + form + " : " + type + "\n  return %0 : " + type + "\n}\n";
  KernelTest test(text, "f32", GetParam().target);
  ASSERT_TRUE(test.valid());
  std::vector<float> inputs = samples();
  std::erase_if(inputs, [](float x) { return std::isinf(x) || std::isnan(x); });
  std::vector<float> erf = test.apply("gelu", inputs), tanh = test.apply("gelu_tanh", inputs);
  for (size_t i = 0; i < inputs.size(); ++i) {
    double x = inputs[i], limit = std::max(4e-7 * std::abs(x), double(std::numeric_limits<float>::denorm_min()));
    ASSERT_NEAR(erf[i], x * 0.5 * std::erfc(-x * std::sqrt(0.5)), limit) << x;
    double cubic = std::sqrt(2 / M_PI) * (x + 0.044715 * x * x * x);
    ASSERT_NEAR(tanh[i], x / (1 + std::exp(-2 * cubic)), limit) << x;
  }
}

/// The nearest bf16; denormals are zero, as the processor has them.
double toBf16(double value) {
  uint32_t bits = std::bit_cast<uint32_t>(static_cast<float>(value));
  float rounded = std::bit_cast<float>((bits + 0x7fff + (bits >> 16 & 1)) & 0xffff0000u);
  return std::abs(rounded) < std::numeric_limits<float>::min() ? 0 : rounded;
}

/// Whether `actual` is what a number within `error` of `exact` is rounded to.
bool isRounded(double actual, double exact, double error) {
  actual = toBf16(actual);
  return toBf16(exact - error) <= actual && actual <= toBf16(exact + error);
}

/// Cheaper functions where results have 16 bits: what they add to the rounding.
TEST_P(Math, RoundedResultsAreAsCloseAsStated) {
  auto softmax = [](int64_t columns) {
    std::string size = "6x" + std::to_string(columns);
    return "func.func @softmax_" + std::to_string(columns) + "(%x: tensor<" + size + "xf32>) -> tensor<" + size +
           "xbf16> {\n  %0 = graph.softmax %x dim 1 : tensor<" + size + "xf32>\n  %1 = graph.convert %0 : tensor<" +
           size + "xf32> -> tensor<" + size + "xbf16>\n  return %1 : tensor<" + size + "xbf16>\n}\n";
  };
  std::string text = softmax(4096) + softmax(77);
  for (std::string form : {"", " tanh"})
    text += std::string("func.func @gelu") + (form.empty() ? "" : "_tanh") +
            "(%x: tensor<512x64xf32>) -> tensor<512x64xbf16> {\n  %0 = graph.gelu %x" + form +
            " : tensor<512x64xf32>\n  %1 = graph.convert %0 : tensor<512x64xf32> -> tensor<512x64xbf16>\n" +
            "  return %1 : tensor<512x64xbf16>\n}\n";
  KernelTest test(text, "f32", GetParam().target);
  ASSERT_TRUE(test.valid());
  for (int64_t columns : {4096, 77}) {
    std::vector<float> inputs(6 * columns);
    // Differences from small to where nothing is left; the last rows are masked in part and have a NaN.
    const float scales[] = {0.01f, 3, 60, 400, 3, 3};
    for (int64_t i = 0; i < 6 * columns; ++i)
      inputs[i] = scales[i / columns] * (static_cast<float>((i * 7919) % 10007) / 5000.0f - 1.0f) + 100.0f;
    for (int64_t column = 0; column < columns; column += 2)
      inputs[4 * columns + column] = -std::numeric_limits<float>::infinity();
    inputs[5 * columns + 3] = std::numeric_limits<float>::quiet_NaN();
    std::vector<float> actual = test.apply("softmax_" + std::to_string(columns), inputs);
    for (int64_t row = 0; row < 6; ++row) {
      const float *x = inputs.data() + row * columns, *y = actual.data() + row * columns;
      double largest = row == 5 ? std::numeric_limits<double>::quiet_NaN() : *std::max_element(x, x + columns), sum = 0;
      for (int64_t column = 0; column < columns; ++column)
        sum += std::exp(x[column] - largest);
      for (int64_t column = 0; column < columns; ++column) {
        double expected = std::exp(x[column] - largest) / sum;
        if (std::isnan(expected))
          ASSERT_TRUE(std::isnan(y[column])) << row << ", " << column;
        else
          ASSERT_TRUE(isRounded(y[column], expected, 2e-5 * expected)) << row << ", " << column << ": " << y[column];
      }
    }
  }
  std::vector<float> inputs(512 * 64);
  for (size_t i = 0; i < inputs.size(); ++i)
    inputs[i] = (static_cast<float>(i) / static_cast<float>(inputs.size()) - 0.5f) * (i % 5 == 0 ? 60.0f : 12.0f);
  std::vector<float> erf = test.apply("gelu", inputs), tanh = test.apply("gelu_tanh", inputs);
  for (size_t i = 0; i < inputs.size(); ++i) {
    double x = inputs[i], added = 4e-6 * std::abs(x);
    double exact = x * 0.5 * std::erfc(-x * std::sqrt(0.5));
    ASSERT_TRUE(isRounded(erf[i], exact, added)) << x << ": " << erf[i];
    double cubic = std::sqrt(2 / M_PI) * (x + 0.044715 * x * x * x);
    exact = x / (1 + std::exp(-2 * cubic));
    ASSERT_TRUE(isRounded(tanh[i], exact, added)) << x << ": " << tanh[i];
  }
}

/// What is larger than the caches is stored past them.
TEST_P(Math, LongLaunches) {
  constexpr int64_t rows = 1060, columns = 4096;
  const std::string type = "tensor<1060x4096xf32>";
  KernelTest test("func.func @softmax(%x: " + type + ") -> " + type + " {\n  %0 = graph.softmax %x dim 1 : " + type +
                      "\n  return %0 : " + type + "\n}\nfunc.func @silu(%x: " + type + ") -> " + type +
                      " {\n  %0 = graph.silu %x : " + type + "\n  return %0 : " + type + "\n}\n",
                  "f32", GetParam().target);
  ASSERT_TRUE(test.valid());
  std::vector<float> inputs(rows * columns);
  for (size_t i = 0; i < inputs.size(); ++i)
    inputs[i] = static_cast<float>((i * 7919) % 10007) / 1000.0f - 5.0f;
  std::vector<float> actual = test.apply("softmax", inputs);
  for (int64_t row = 0; row < rows; ++row) {
    const float *x = inputs.data() + row * columns, *y = actual.data() + row * columns;
    double largest = *std::max_element(x, x + columns), sum = 0;
    for (int64_t column = 0; column < columns; ++column)
      sum += std::exp(x[column] - largest);
    for (int64_t column = 0; column < columns; column += 5) {
      double expected = std::exp(x[column] - largest) / sum;
      ASSERT_NEAR(y[column], expected, 1e-6 * expected) << row << ", " << column;
    }
  }
  actual = test.apply("silu", inputs);
  for (size_t i = 0; i < inputs.size(); i += 3)
    ASSERT_LE(ulps(actual[i], inputs[i] / (1 + std::exp(-double(inputs[i])))), 4) << inputs[i];
}

std::vector<Variant> instructionSets() {
  std::vector<Variant> result;
  for (const Variant &variant : variants())
    if (variant.type == "f32" && variant.target != "cuda")
      result.push_back(variant);
  return result;
}

INSTANTIATE_TEST_SUITE_P(Cpu, Math, testing::ValuesIn(instructionSets()), nameOfVariant);

} // namespace
