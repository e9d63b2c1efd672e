//===- DeviceAttentionTest.cpp - attention.cuh ----------------------------===//
//
// Part of mlsys, under the Apache License v2.0. See LICENSE.
//
//===----------------------------------------------------------------------===//

#include "DeviceTest.h"

using namespace mlsys::rt;
using namespace mlsys::rt::test;

namespace {

/// The kernels of one element type and head size: cache write, prefill, plain.
struct Variant {
  std::string type;
  int headDim;
  int group;
  bool slopes = false;

  float slope(int head) const { return slopes ? 0.3f / static_cast<float>(1 + head * head) : 0.0f; }
};
const std::vector<Variant> variants = {{"bf16", 64, 3}, {"bf16", 24, 2}, {"f16", 8, 1}, {"bf16", 160, 4},
                                       {"f32", 64, 2},  {"f32", 40, 1}, {"f32", 256, 8},
                                       {"bf16", 128, 3, true}, {"f32", 24, 2, true}};
constexpr int heads = 8, pageSize = 4, layers = 2;

std::string replaceAll(std::string text, const std::string &from, const std::string &to) {
  for (size_t at = text.find(from); at != std::string::npos; at = text.find(from, at + to.size()))
    text.replace(at, from.size(), to);
  return text;
}

std::vector<HostCudaDevice::Source> sourcesOf(const Variant &variant) {
  const std::pair<const char *, const char *> bodies[] = {
      {"write", R"(
extern "C" __global__ void __launch_bounds__(32) NAME(const T *a0, T *a1, const i64 *a2, long long H, long long stride, long long offset) {
  T *row = cache_row(a1, stride, offset, a2[block_x()], 4, block_y(), D);
  if (row)
    for (int i = thread_x(); i < D; i += block_dim_x())
      row[i] = a0[((i64)block_x() * H + block_y()) * D + i];
}
)"},
      {"prefill", R"(
extern "C" __global__ void __launch_bounds__(128) NAME(const T *a0, const T *a1, T *a2, const i32 *a3, const i32 *a4, const i32 *a5, long long H, long long KV, long long P, long long stride, long long k, long long v, long long causal) {
  PagedKV<T> kv{a1, stride, k, v, 4, D};
  attention_prefill<D>(a0, a2, kv, a3, a4, a5, P, H, KV, Scores<false, false, SLOPES>{0.125f, causal != 0});
}
)"},
      {"plain", R"(
extern "C" __global__ void __launch_bounds__(128) NAME(const T *a0, const T *a1, const T *a2, T *a3, i32 *a4, long long H, long long KV, long long SQ, long long SK, long long causal) {
  if (thread_x() == 0) {
    a4[0] = PrefillConfig<T, D>::sharedBytes();
    a4[1] = PrefillConfig<T, D>::Rows;
  }
  // Q and the result are [B, S, H, D], K is [B, KV, S, D], V is [B, S, KV, D].
  ContiguousKV<T> kv{a1, a2, {KV * SK * D, D, SK * D}, {SK * KV * D, KV * D, D}};
  if (SQ > 0)
    attention_plain<D>(a0, Strides{SQ * H * D, H * D, D}, a3, Strides{SQ * H * D, H * D, D}, kv, SQ, SK, H, KV, Scores<false, false, SLOPES>{0.125f, causal != 0});
}
)"}};
  std::string slopes = "NoSlopes";
  for (int head = 0; variant.slopes && head < heads; ++head)
    slopes = fmt::format("{}{}u", head ? slopes + ", " : "HeadSlopes<", std::bit_cast<uint32_t>(variant.slope(head)));
  slopes += variant.slopes ? ">" : "";
  std::vector<HostCudaDevice::Source> sources;
  for (auto &[name, body] : bodies) {
    std::string full = fmt::format("{}_{}_{}_{}", name, variant.type, variant.headDim, variant.group);
    std::string text = "#include \"mlsys/attention.cuh\"\nnamespace NAME_types {\ntypedef " + variant.type +
                       " T;\nconstexpr int D = " + std::to_string(variant.headDim) +
                       ", G = " + std::to_string(variant.group) + ";\n}\nusing namespace NAME_types;\n" + body;
    sources.push_back({full, replaceAll(replaceAll(text, "NAME", full), "SLOPES", slopes)});
  }
  return sources;
}

struct Loaded {
  HostCudaDevice device;
  explicit Loaded(size_t variant, HostSchedule schedule) : device(2, schedule) {
    device.loadSources(sourcesOf(variants[variant]));
  }
};

/// Attention of one query (D elements) over `count` keys and values, the last of which is its own when there is a slope.
template <class Key, class Value>
std::vector<double> reference(const float *q, float slope, int d, int count, Key key, Value value) {
  std::vector<double> scores(count), result(d, 0.0);
  double largest = -1e300, total = 0, *out = result.data();
  for (int j = 0; j < count; ++j) {
    const float *row = key(j);
    double score = 0;
    for (int e = 0; e < d; ++e)
      score += double(q[e]) * row[e];
    scores[j] = score * 0.125 + slope * (j - (count - 1));
    largest = std::max(largest, scores[j]);
  }
  for (double &score : scores)
    total += score = std::exp(score - largest);
  for (int j = 0; j < count; ++j) {
    const float *row = value(j);
    double weight = scores[j] / total;
    for (int e = 0; e < d; ++e)
      out[e] += weight * row[e];
  }
  return result;
}

/// The largest difference; infinite when there is a NaN.
double distance(const float *result, const std::vector<double> &expected) {
  double largest = 0;
  const double *right = expected.data();
  for (size_t e = 0; e < expected.size(); ++e) {
    double difference = std::abs(result[e] - right[e]);
    if (!(difference <= largest))
      largest = std::isnan(difference) ? HUGE_VAL : difference;
  }
  return largest;
}

double toleranceOf(const std::string &type) { return type == "f32" ? 2e-5 : type == "f16" ? 4e-3 : 2.5e-2; }

class DeviceAttentionTest : public testing::TestWithParam<std::tuple<size_t, HostSchedule>> {
protected:
  const Variant &variant = variants[std::get<0>(GetParam())];
  Loaded loaded{std::get<0>(GetParam()), std::get<1>(GetParam())};
  HostCudaDevice &device = loaded.device;
  int d = variant.headDim, kvHeads = 0;
  int elementBytes = variant.type == "f32" ? 4 : 2;

  void SetUp() override {
    // heads is a multiple of the group but for groups of 3, which get 6 heads.
    queryHeads = variant.group == 3 ? 6 : heads;
    kvHeads = queryHeads / variant.group;
    DeviceBuffer<int32_t> numbers(device, 2);
    launchKernel(device, 2, {nullptr, nullptr, nullptr, nullptr, numbers.data}, {queryHeads, kvHeads, 0, 0, 0}, {1},
                 128);
    facts = numbers.read();
  }
  int queryHeads = 0;
  std::vector<int32_t> facts;
};

} // namespace

TEST_P(DeviceAttentionTest, pagedMatchesReference) {
  // Requests with context {new tokens of the last step, keys in all}; the pages lie in
  // no order, and the other layer's share of each page is NaN.
  const std::vector<std::pair<int, int>> requests = {{5, 5}, {1, 9}, {70, 75}, {3, 40}};
  const int tokens = 79, layer = 1;
  const int64_t half = int64_t(pageSize) * kvHeads * d * elementBytes, pageBytes = 2 * layers * half;
  const int64_t kOffset = layer * 2 * half, vOffset = kOffset + half;
  const int pagesPerRequest = 20, pages = 64;
  std::vector<int32_t> blockTable(requests.size() * pagesPerRequest, -1), starts = {0}, contexts;
  int nextPage = 37;
  for (size_t r = 0; r < requests.size(); ++r) {
    starts.push_back(starts.back() + requests[r].first);
    contexts.push_back(requests[r].second);
    for (int p = 0; p * pageSize < requests[r].second; ++p) {
      blockTable[r * pagesPerRequest + p] = nextPage;
      nextPage = (nextPage + 23) % pages;
    }
  }
  DeviceBuffer<char> cache(device, std::vector<char>(pages * pageBytes, char(0xff)));

  // Every key and value goes in through the cache write kernel, with one token more that
  // has no slot.
  std::vector<std::vector<float>> keys, values;
  for (size_t r = 0; r < requests.size(); ++r) {
    int n = requests[r].second;
    keys.push_back(randomValues(size_t(n + 1) * kvHeads * d, 10 + r));
    values.push_back(randomValues(size_t(n + 1) * kvHeads * d, 20 + r));
    std::vector<int64_t> slots;
    for (int i = 0; i < n; ++i)
      slots.push_back(int64_t(blockTable[r * pagesPerRequest + i / pageSize]) * pageSize + i % pageSize);
    slots.push_back(-1);
    DeviceBuffer<int64_t> slotBuffer(device, slots);
    DeviceBuffer<char> k(device, encode(variant.type, keys[r])), v(device, encode(variant.type, values[r]));
    launchKernel(device, 0, {k.data, cache.data, slotBuffer.data}, {kvHeads, pageBytes, kOffset}, {n + 1, kvHeads}, 32);
    launchKernel(device, 0, {v.data, cache.data, slotBuffer.data}, {kvHeads, pageBytes, vOffset}, {n + 1, kvHeads}, 32);
  }

  std::vector<float> q = randomValues(size_t(tokens) * queryHeads * d, 5);
  DeviceBuffer<char> queries(device, encode(variant.type, q)), out(device, q.size() * elementBytes);
  DeviceBuffer<int32_t> start(device, starts), context(device, contexts), table(device, blockTable);
  auto checkRow = [&](const std::vector<float> &result, int row, size_t request, int visible, int qRow) {
    for (int h = 0; h < queryHeads; ++h) {
      int kvHead = h / variant.group;
      auto at = [&](const std::vector<float> &all) {
        return [&, kvHead](int j) { return &all[(size_t(j) * kvHeads + kvHead) * d]; };
      };
      std::vector<double> expected =
          reference(&q[(size_t(qRow) * queryHeads + h) * d], variant.slope(h), d, visible, at(keys[request]), at(values[request]));
      ASSERT_LE(distance(&result[(size_t(row) * queryHeads + h) * d], expected), toleranceOf(variant.type))
          << "request " << request << " row " << row << " head " << h;
    }
  };
  int rows = facts[1], tiles = (tokens + rows - 1) / rows;
  for (int causal : {1, 0}) {
    if (!causal && variant.slopes)
      continue;
    SCOPED_TRACE(causal);
    launchKernel(device, 1, {queries.data, cache.data, out.data, start.data, context.data, table.data},
                 {queryHeads, kvHeads, pagesPerRequest, pageBytes, kOffset, vOffset, causal},
                 {tiles, queryHeads, int64_t(requests.size())}, 128, facts[0]);
    std::vector<float> result = decode(variant.type, out.read());
    for (size_t r = 0; r < requests.size(); ++r)
      for (int i = 0; i < requests[r].first; ++i) {
        int visible = causal ? requests[r].second - requests[r].first + i + 1 : requests[r].second;
        checkRow(result, starts[r] + i, r, visible, starts[r] + i);
        if (HasFatalFailure())
          return;
      }
  }
}

TEST_P(DeviceAttentionTest, plainMatchesReference) {
  for (auto [sq, sk] : {std::pair(1, 1), {17, 17}, {66, 66}, {3, 130}, {6, 2}})
    for (int causal : {0, 1}) {
      if (!causal && variant.slopes)
        continue;
      SCOPED_TRACE(fmt::format("S_q {} S_k {} causal {}", sq, sk, causal));
      const int batches = 2;
      std::vector<float> q = randomValues(size_t(batches) * sq * queryHeads * d, 1),
                         k = randomValues(size_t(batches) * sk * kvHeads * d, 2),
                         v = randomValues(size_t(batches) * sk * kvHeads * d, 3);
      DeviceBuffer<char> a0(device, encode(variant.type, q)), a1(device, encode(variant.type, k)),
          a2(device, encode(variant.type, v)), a3(device, q.size() * elementBytes);
      DeviceBuffer<int32_t> numbers(device, 2);
      launchKernel(device, 2, {a0.data, a1.data, a2.data, a3.data, numbers.data},
                   {queryHeads, kvHeads, sq, sk, causal}, {(sq + facts[1] - 1) / facts[1], queryHeads, batches}, 128,
                   facts[0]);
      std::vector<float> result = decode(variant.type, a3.read());
      for (int b = 0; b < batches; ++b)
        for (int i = 0; i < sq; ++i)
          for (int h = 0; h < queryHeads; ++h) {
            int kvHead = h / variant.group, visible = causal ? std::max(0, sk - sq + i + 1) : sk;
            auto key = [&](int j) { return &k[((size_t(b) * kvHeads + kvHead) * sk + j) * d]; };
            auto value = [&](int j) { return &v[((size_t(b) * sk + j) * kvHeads + kvHead) * d]; };
            size_t row = ((size_t(b) * sq + i) * queryHeads + h) * d;
            std::vector<double> expected = reference(&q[row], variant.slope(h), d, visible, key, value);
            ASSERT_LE(distance(&result[row], expected), toleranceOf(variant.type))
                << "batch " << b << " query " << i << " head " << h;
          }
    }
}

static std::string nameOf(const testing::TestParamInfo<std::tuple<size_t, HostSchedule>> &info) {
  static const char *names[] = {"forward", "reverse", "random"};
  const Variant &variant = variants[std::get<0>(info.param)];
  return fmt::format("{}_{}_{}_{}", variant.type, variant.headDim, variant.group,
                     names[static_cast<int>(std::get<1>(info.param))]);
}

INSTANTIATE_TEST_SUITE_P(Variants, DeviceAttentionTest,
                         testing::Combine(testing::Range<size_t>(0, variants.size()), testing::ValuesIn(schedules)),
                         nameOf);
