//===- DeviceDecodeTest.cpp - attention_decode.cuh ------------------------===//
//
// Part of mlsys, under the Apache License v2.0. See LICENSE.
//
//===----------------------------------------------------------------------===//

#include "DeviceTest.h"

using namespace mlsys::rt;
using namespace mlsys::rt::test;

namespace {

/// The kernels of one kind of decode attention: decode, join.
struct Variant {
  std::string type, cacheType;
  int headDim, group, pageSize;
  /// 0: none.
  int window = 0;
  float cap = 0;
  bool slopes = false;

  float slope(int head) const { return slopes ? 0.3f / static_cast<float>(1 + head * head) : 0.0f; }
};
const std::vector<Variant> variants = {
    {"bf16", "bf16", 128, 4, 64},       {"bf16", "bf16", 64, 4, 16}, {"f16", "f16", 256, 8, 16, 100, 0},
    {"bf16", "bf16", 80, 1, 4, 0, 3.5}, {"bf16", "bf16", 24, 16, 4}, {"f16", "f16", 64, 10, 32, 300, 2.5},
    {"bf16", "bf16", 192, 2, 8},        {"f32", "f32", 64, 2, 4},    {"f32", "f32", 40, 5, 16, 77, 2.0},
    {"f32", "bf16", 128, 8, 64},        {"bf16", "f32", 256, 3, 4},
    {"bf16", "bf16", 64, 12, 8, 0, 0, true}, {"f16", "f16", 128, 3, 16, 150, 2.0, true},
    {"f32", "f32", 80, 4, 8, 0, 0, true}};
constexpr int kvHeads = 2, layers = 2, layer = 1;
constexpr float scale = 0.25f;

std::string scoresOf(const Variant &variant) {
  std::string slopes = "NoSlopes";
  for (int head = 0; variant.slopes && head < kvHeads * variant.group; ++head)
    slopes = fmt::format("{}{}u", head ? slopes + ", " : "HeadSlopes<", std::bit_cast<uint32_t>(variant.slope(head)));
  return fmt::format("Scores<{}, {}, {}{}>{{{}f, true, {}, {:.1f}f}}", variant.window > 0, variant.cap > 0, slopes,
                     variant.slopes ? ">" : "", scale, variant.window, variant.cap);
}

std::vector<HostCudaDevice::Source> sourcesOf(const Variant &variant) {
  std::string suffix = fmt::format("{}_{}_{}_{}", variant.type, variant.cacheType, variant.headDim, variant.group);
  std::string config = fmt::format("DecodeConfig<{}, {}, {}, {}>", variant.type, variant.headDim, variant.group,
                                   variant.cacheType);
  std::string decode = fmt::format(
      "#include \"mlsys/attention_decode.cuh\"\nextern \"C\" __global__ void __launch_bounds__({6}::threads) decode_{0}("
      "const {1} *a0, const {2} *a1, {1} *a2, f32 *a3, const i32 *a4, const i32 *a5, i32 *a6, long long P, long long "
      "heads, long long stride, long long k, long long v) {{\n"
      "  if (heads == 0) {{\n    a6[0] = {6}::threads;\n    a6[1] = {6}::sharedBytes();\n    a6[2] = {6}::Part;\n"
      "    a6[3] = JoinConfig<{3}>::sharedBytes();\n    return;\n  }}\n  pdl_wait();\n"
      "  attention_decode<{3}, {4}>(a0, a2, a3, PagedKV<{2}>{{a1, stride, k, v, {5}, {3}}}, a4, a5, P, heads, {7}, {8});\n"
      "}}\n",
      suffix, variant.type, variant.cacheType, variant.headDim, variant.group, variant.pageSize, config, kvHeads,
      scoresOf(variant));
  std::string join = fmt::format(
      "#include \"mlsys/attention_decode.cuh\"\nextern \"C\" __global__ void __launch_bounds__(128) join_{0}("
      "const f32 *a0, {1} *a1, const i32 *a2, long long heads, long long splits) {{\n  pdl_wait();\n"
      "  attention_join<{2}, {3}::Part>(a0, a1, a2, heads, splits, {4});\n}}\n",
      suffix, variant.type, variant.headDim, config, scoresOf(variant));
  return {{"decode_" + suffix, decode}, {"join_" + suffix, join}};
}

class DeviceDecodeTest : public testing::TestWithParam<std::tuple<size_t, HostSchedule>> {
protected:
  const Variant &variant = variants[std::get<0>(GetParam())];
  HostCudaDevice device{2, std::get<1>(GetParam())};
  const int d = variant.headDim, heads = kvHeads * variant.group;
  std::vector<int32_t> facts;

  void SetUp() override {
    device.loadSources(sourcesOf(variant));
    DeviceBuffer<int32_t> numbers(device, 4);
    launchKernel(device, 0, {nullptr, nullptr, nullptr, nullptr, nullptr, nullptr, numbers.data}, {0, 0, 0, 0, 0}, {1},
                 32);
    facts = numbers.read();
  }
  int part() const { return facts[2]; }

  /// Keys or values of a request, [position][kv head][d].
  std::vector<float> keysOf(int context) const { return randomValues(size_t(context) * kvHeads * d, 10 + context); }
  std::vector<float> valuesOf(int context) const { return randomValues(size_t(context) * kvHeads * d, 77 + context); }
  std::vector<float> queryOf(int context) const { return randomValues(size_t(heads) * d, 1000 + context); }

  /// The results of a batch, a row a request, computed with a block table of `pagesPerRequest` columns.
  std::vector<float> run(const std::vector<int> &contexts, int pagesPerRequest) {
    const int page = variant.pageSize, count = contexts.size();
    const size_t bytes = variant.cacheType == "f32" ? 4 : 2, half = size_t(page) * kvHeads * d * bytes;
    const size_t pageBytes = 2 * layers * half, kOffset = layer * 2 * half;
    int pages = 3;
    for (int context : contexts)
      pages += (context + page - 1) / page;
    // What no request has is NaN, and so are the other layer and what a window hides.
    std::vector<char> cache(pages * pageBytes, char(0xff));
    std::vector<int32_t> table(size_t(count) * pagesPerRequest, -1000000), lengths(contexts.begin(), contexts.end());
    std::vector<float> q;
    int next = pages;
    for (int r = 0; r < count; ++r) {
      int context = contexts[r], oldest = variant.window ? std::max(0, context - variant.window) : 0;
      std::vector<char> keys = encode(variant.cacheType, keysOf(context)),
                        values = encode(variant.cacheType, valuesOf(context));
      for (int position = oldest; position < context; ++position) {
        int32_t &entry = table[size_t(r) * pagesPerRequest + position / page];
        if (entry < 0)
          entry = --next;
        for (int head = 0; head < kvHeads; ++head) {
          size_t from = (size_t(position) * kvHeads + head) * d * bytes;
          size_t into = entry * pageBytes + kOffset + (size_t(head) * page + position % page) * d * bytes;
          std::memcpy(&cache[into], &keys[from], d * bytes);
          std::memcpy(&cache[into + half], &values[from], d * bytes);
        }
      }
      std::vector<float> query = queryOf(context);
      q.insert(q.end(), query.begin(), query.end());
    }
    const int splits = (pagesPerRequest * page + part() - 1) / part();
    DeviceBuffer<char> a0(device, encode(variant.type, q)), a1(device, cache),
        out(device, q.size() * (variant.type == "f32" ? 4 : 2));
    DeviceBuffer<float> parts(device, size_t(count) * heads * splits * (d + 2));
    DeviceBuffer<int32_t> context(device, lengths), blockTable(device, table);
    launchKernel(device, 0, {a0.data, a1.data, out.data, parts.data, context.data, blockTable.data, nullptr},
                 {pagesPerRequest, heads, int64_t(pageBytes), int64_t(kOffset), int64_t(kOffset + half)},
                 {heads / variant.group, count, splits}, facts[0], facts[1]);
    if (splits > 1)
      launchKernel(device, 1, {parts.data, out.data, context.data}, {heads, splits}, {heads, count}, 128, facts[3]);
    return decode(variant.type, out.read());
  }

  /// One head of a request in f64.
  std::vector<double> reference(int context, int head) const {
    std::vector<float> keys = keysOf(context), values = valuesOf(context), q = queryOf(context);
    std::vector<double> result(d, 0.0), scores;
    double largest = -1e300, total = 0;
    int oldest = variant.window ? std::max(0, context - variant.window) : 0;
    for (int position = oldest; position < context; ++position) {
      double score = 0;
      for (int e = 0; e < d; ++e)
        score += double(q[head * d + e]) * keys[(size_t(position) * kvHeads + head / variant.group) * d + e];
      score *= scale;
      if (variant.cap > 0)
        score = std::tanh(score / variant.cap) * variant.cap;
      score += variant.slope(head) * (position - (context - 1));
      scores.push_back(score);
      largest = std::max(largest, score);
    }
    for (double &score : scores)
      total += score = std::exp(score - largest);
    for (size_t i = 0; i < scores.size(); ++i)
      for (int e = 0; e < d; ++e)
        result[e] += scores[i] / total * values[((oldest + i) * kvHeads + head / variant.group) * d + e];
    return result;
  }

  void check(const std::vector<int> &contexts, int pagesPerRequest) {
    SCOPED_TRACE(fmt::format("{} keys in the first, table of {}", contexts[0], pagesPerRequest));
    std::vector<float> result = run(contexts, pagesPerRequest);
    double tolerance = variant.type == "f32" ? 3e-5 : variant.type == "f16" ? 4e-3 : 2.5e-2;
    for (size_t r = 0; r < contexts.size(); ++r)
      for (int head = 0; head < heads; head += std::max(1, heads - 1)) {
        std::vector<double> expected = reference(contexts[r], head);
        for (int e = 0; e < d; ++e)
          ASSERT_NEAR(result[(r * heads + head) * d + e], expected[e], tolerance)
              << "request of " << contexts[r] << " head " << head << " element " << e;
      }
  }
  int pagesOf(int context) const { return (context + variant.pageSize - 1) / variant.pageSize; }
};

} // namespace

TEST_P(DeviceDecodeTest, matchesReference) {
  // A dummy slot, one key, the borders of parts, pages and steps; alone and ragged.
  check({1}, 1);
  check({part()}, pagesOf(part()));
  check({part() + 1, 0, 1, 15, part() - 1, 2 * part(), 17}, pagesOf(2 * part()) + 1);
  if (std::get<1>(GetParam()) == HostSchedule::Random)
    check({2500, 3}, pagesOf(2500));
}

TEST_P(DeviceDecodeTest, doesNotDependOnTheBatch) {
  const int context = part() + 40;
  std::vector<float> together = run({5, context, 0, 2 * part() + 7}, pagesOf(3 * part())),
                     alone = run({context}, pagesOf(context));
  for (size_t i = 0; i < alone.size(); ++i)
    ASSERT_EQ(alone[i], together[alone.size() + i]) << i;
}

static std::string nameOf(const testing::TestParamInfo<std::tuple<size_t, HostSchedule>> &info) {
  static const char *names[] = {"forward", "reverse", "random"};
  const Variant &variant = variants[std::get<0>(info.param)];
  return fmt::format("{}_{}_{}_{}_{}", variant.type, variant.cacheType, variant.headDim, variant.group,
                     names[static_cast<int>(std::get<1>(info.param))]);
}

INSTANTIATE_TEST_SUITE_P(Variants, DeviceDecodeTest,
                         testing::Combine(testing::Range<size_t>(0, variants.size()), testing::ValuesIn(schedules)),
                         nameOf);
