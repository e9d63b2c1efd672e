//===- DeviceMathTest.cpp - types.cuh and math.cuh ------------------------===//
//
// Part of mlsys, under the Apache License v2.0. See LICENSE.
//
//===----------------------------------------------------------------------===//

#include "DeviceTest.h"

#include <algorithm>
#include <functional>
#include <limits>

using namespace mlsys::rt;
using namespace mlsys::rt::test;

namespace {

const std::vector<std::string> unary = {"exp",  "exp2", "expm1", "log",   "log2", "log1p", "sqrt",  "rsqrt",    "tanh",
                                        "sin",  "cos",  "erf",   "abs",   "floor", "ceil", "trunc", "roundeven"};
const std::vector<std::string> binary = {"divide", "pow", "maximumf", "minimumf", "maxnumf", "minnumf"};

/// One kernel a function, with the expression as a printer writes it, at width W.
std::vector<HostCudaDevice::Source> sources() {
  std::vector<HostCudaDevice::Source> result;
  for (std::string width : {"1", "4"}) {
    auto add = [&](const std::string &name, const std::string &expression) {
      std::string kernel = name + "_" + width;
      result.push_back({kernel, "#include \"mlsys/math.cuh\"\nextern \"C\" __global__ void " + kernel +
                                    "(const f32 *a0, const f32 *a1, f32 *a2, long long N) {\n  for (i64 i = thread_x() * " +
                                    width + "; i < N; i += block_dim_x() * " + width + ") {\n    auto x = load<" + width +
                                    ">(a0 + i);\n    auto y = load<" + width + ">(a1 + i);\n    store<" + width +
                                    ">(a2 + i, " + expression + ");\n  }\n}\n"});
    };
    for (const std::string &name : unary)
      add(name, name + "(x) + y * 0.0f");
    for (const std::string &name : binary)
      add(name, name + "(x, y)");
    add("select", "select(x > y, x - 1.0f, 2.0f * y)");
    add("halves", "convert<f32>(convert<f16>(x)) - convert<f32>(convert<bf16>(y))");
    add("integers", "convert<f32>(convert<i64>(x) % 7 + (convert<i64>(y) & 3)) + convert<f32>(convert<i32>(x) << 1)");
    add("powers", "convert<f32>(ipow(convert<i64>(x), convert<i64>(y)))");
    // Beyond 32 bits too.
    add("quotients", "convert<f32>(divide(convert<i64>(x), convert<i64>(y)))");
    add("remainders", "convert<f32>(modulo(convert<i64>(x), convert<i64>(y)))");
    add("fused", "fma(x, y, broadcast<" + width + ">(1.0f)) + convert<f32>(iota<" + width + ">((i64)i))");
  }
  return result;
}

HostCudaDevice &device() {
  static HostCudaDevice device(1, HostSchedule::Forward);
  static bool loaded = (device.loadSources(sources()), true);
  (void)loaded;
  return device;
}

/// Runs a kernel at both widths, which must agree, and returns the result.
std::vector<float> run(const std::string &name, const std::vector<float> &x, const std::vector<float> &y) {
  std::vector<HostCudaDevice::Source> all = sources();
  std::vector<float> results[2];
  for (int wide : {0, 1}) {
    DeviceBuffer<float> a0(device(), x), a1(device(), y), a2(device(), x.size());
    for (uint32_t i = 0; i < all.size(); ++i)
      if (all[i].name == name + (wide ? "_4" : "_1"))
        launchKernel(device(), i, {a0.data, a1.data, a2.data}, {int64_t(x.size())}, {1}, 32);
    results[wide] = a2.read();
  }
  for (size_t i = 0; i < x.size(); ++i)
    EXPECT_TRUE(results[0][i] == results[1][i] || (std::isnan(results[0][i]) && std::isnan(results[1][i])))
        << name << "(" << x[i] << ", " << y[i] << ") differs with the width: " << results[0][i] << " "
        << results[1][i];
  return results[0];
}

/// Values over the whole range of f32, with the special ones.
std::vector<float> manyValues() {
  const float infinity = std::numeric_limits<float>::infinity();
  std::vector<float> values = {0.0f, -0.0f, 1.0f, -1.0f, 0.5f, -0.5f, 1.5f, 2.5f, infinity, -infinity, NAN, 3.4e38f,
                               -3.4e38f, 1e-40f, 88.0f, -88.0f, 0.785398163f, 1.57079637f, 3.14159274f, 355.0f,
                               8191.9f, 8192.0f, 1e5f, 1e10f, 1e22f, -1e22f, 2.0e38f};
  std::mt19937 generator(1);
  for (float scale : {1e-3f, 1.0f, 20.0f, 4000.0f, 1e6f, 1e20f, 1e37f})
    for (float value : [&] {
           std::vector<float> some(64);
           std::uniform_real_distribution<float> uniform(-scale, scale);
           for (float &v : some)
             v = uniform(generator);
           return some;
         }())
      values.push_back(value);
  while (values.size() % 4)
    values.push_back(0.25f);
  return values;
}

} // namespace

TEST(DeviceMathTest, functionsMatchDoublePrecision) {
  using F = double (*)(double);
  const std::map<std::string, F> expected = {
      {"exp", std::exp},     {"exp2", std::exp2},   {"expm1", std::expm1}, {"log", std::log},
      {"log2", std::log2},   {"log1p", std::log1p}, {"sqrt", std::sqrt},   {"rsqrt", [](double x) { return 1 / std::sqrt(x); }},
      {"tanh", std::tanh},   {"sin", std::sin},     {"cos", std::cos},     {"erf", std::erf},
      {"abs", std::fabs},    {"floor", std::floor}, {"ceil", std::ceil},   {"trunc", std::trunc},
      {"roundeven", std::nearbyint}};
  std::vector<float> x = manyValues(), zeros(x.size(), 0.0f);
  for (const std::string &name : unary) {
    std::vector<float> result = run(name, x, zeros);
    for (size_t i = 0; i < x.size(); ++i) {
      float right = static_cast<float>(expected.at(name)(double(x[i])));
      if (std::isnan(right))
        EXPECT_TRUE(std::isnan(result[i])) << name << "(" << x[i] << ") = " << result[i];
      else if (std::isinf(right) || std::abs(right) < 1e-37f)
        EXPECT_NEAR(result[i] == right ? 0 : result[i] - right, 0, 1e-37) << name << "(" << x[i] << ")";
      else
        EXPECT_NEAR(result[i] / right, 1.0, 4 * 1.2e-7)
            << name << "(" << x[i] << ") = " << result[i] << ", not " << right;
    }
  }
}

TEST(DeviceMathTest, minimaAndMaximaTreatNaNAsPyTorch) {
  std::vector<float> x = {1.0f, NAN, 3.0f, NAN, -2.0f, 0.0f, 7.0f, -1.0f}, y = {2.0f, 1.0f, NAN, NAN, -3.0f, 5.0f, 7.0f, 1.0f};
  std::vector<float> largest = run("maximumf", x, y), least = run("minimumf", x, y), largestNumber = run("maxnumf", x, y),
                     leastNumber = run("minnumf", x, y), power = run("pow", x, y);
  for (size_t i = 0; i < x.size(); ++i) {
    if (std::isnan(x[i]) || std::isnan(y[i])) {
      EXPECT_TRUE(std::isnan(largest[i]) && std::isnan(least[i]));
    } else {
      EXPECT_EQ(largest[i], std::max(x[i], y[i]));
      EXPECT_EQ(least[i], std::min(x[i], y[i]));
      EXPECT_NEAR(power[i], std::pow(double(x[i]), double(y[i])), 1e-6 * std::abs(std::pow(x[i], y[i])));
    }
    float max = std::fmax(x[i], y[i]), min = std::fmin(x[i], y[i]);
    EXPECT_TRUE(largestNumber[i] == max || std::isnan(max));
    EXPECT_TRUE(leastNumber[i] == min || std::isnan(min));
  }
}

TEST(DeviceMathTest, integerPowers) {
  std::vector<float> x = {2, -3, 7, 1, -1, -1, 5, 0}, y = {10, 3, 0, -4, -3, -2, -1, 0};
  EXPECT_EQ(run("powers", x, y), (std::vector<float>{1024, -27, 1, 1, -1, 1, 0, 1}));
}

TEST(DeviceMathTest, divisionIsRoundedAsTheHostRounds) {
  std::vector<float> x = manyValues(), y = x;
  std::shuffle(y.begin(), y.end(), std::mt19937(3));
  std::vector<float> result = run("divide", x, y);
  for (size_t i = 0; i < x.size(); ++i) {
    float right = x[i] / y[i];
    if (std::isnan(right)) {
      EXPECT_TRUE(std::isnan(result[i])) << x[i] << " / " << y[i];
    } else if (std::isinf(right) || std::abs(right) < 1e-29f || std::abs(right) > 1e29f || std::abs(y[i]) < 1e-37f) {
      EXPECT_TRUE(result[i] == right || std::abs(result[i] - right) <= 3e-7f * std::abs(right) + 1e-44f)
          << x[i] << " / " << y[i] << " = " << result[i];
    } else {
      EXPECT_EQ(result[i], right) << x[i] << " / " << y[i];
    }
  }
}

TEST(DeviceMathTest, integersAreDivided) {
  std::vector<float> x = {7, -7, 7, -7, 1e12f, 1e12f, -3e13f, 4294967296.0f}, y = {2, 2, -2, -2, 1000, 7e10f, 12345, 65536};
  std::vector<float> quotients = run("quotients", x, y), remainders = run("remainders", x, y);
  for (size_t i = 0; i < x.size(); ++i) {
    EXPECT_EQ(quotients[i], float(int64_t(x[i]) / int64_t(y[i])));
    EXPECT_EQ(remainders[i], float(int64_t(x[i]) % int64_t(y[i])));
  }
}

TEST(DeviceMathTest, expressionsAreTheSameAtEveryWidth) {
  std::vector<float> x = randomValues(64, 1, 30.0f), y = randomValues(64, 2, 30.0f);
  for (float &value : x)
    value = value * 1.0009765f + 0.0001f; // more bits than a half holds
  std::vector<float> chosen = run("select", x, y), halves = run("halves", x, y), integers = run("integers", x, y),
                     fused = run("fused", x, y);
  for (size_t i = 0; i < x.size(); ++i) {
    EXPECT_EQ(chosen[i], x[i] > y[i] ? x[i] - 1.0f : 2.0f * y[i]);
    EXPECT_EQ(halves[i], static_cast<float>(static_cast<_Float16>(x[i])) - bf16ToFloat(floatToBf16(y[i])));
    EXPECT_EQ(integers[i], float(int64_t(x[i]) % 7 + (int64_t(y[i]) & 3)) + float(int32_t(x[i]) * 2));
    EXPECT_EQ(fused[i], std::fma(x[i], y[i], 1.0f) + float(i));
  }
}
