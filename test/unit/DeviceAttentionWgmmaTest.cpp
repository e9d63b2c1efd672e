//===- DeviceAttentionWgmmaTest.cpp - attention_wgmma.cuh -----------------===//
//
// Part of mlsys, under the Apache License v2.0. See LICENSE.
//
//===----------------------------------------------------------------------===//

#include "DeviceTest.h"
#include "SeededBugs.h"
#include "runtime/DeviceLibrary.h"
#include "runtime/Nvrtc.h"

using namespace mlsys;
using namespace mlsys::rt;
using namespace mlsys::rt::test;

namespace {

/// Heads of one size over pages of one size: kernels for prefill and without a cache. A window or cap of 0 is none.
struct Variant {
  std::string name, type;
  int headDim, group, kvHeads, pageSize, window;
  float cap;
  bool slopes = false;

  float slope(int head) const { return slopes ? 0.3f / static_cast<float>(1 + head * head) : 0.0f; }
  int heads() const { return group * kvHeads; }
  /// AttentionWgmma<headDim>::Keys.
  int keys() const { return headDim <= 128 ? 128 : 64; }
  /// What the kernel's scores are.
  std::string scores() const {
    std::string list = "NoSlopes";
    for (int head = 0; slopes && head < heads(); ++head)
      list = fmt::format("{}{}u", head ? list + ", " : "HeadSlopes<", std::bit_cast<uint32_t>(slope(head)));
    return fmt::format("Scores<{}, {}, {}{}>{{0.125f, causal != 0, {}, {:.1f}f}}", window > 0, cap > 0, list,
                       slopes ? ">" : "", window, cap);
  }
};

const std::vector<Variant> variants = {
    {"d64", "bf16", 64, 4, 2, 64, 0, 0},      {"d128", "bf16", 128, 3, 1, 16, 0, 0},
    {"d256", "bf16", 256, 2, 1, 256, 0, 0},   {"d96_half", "f16", 96, 8, 1, 8, 0, 0},
    {"d80_window", "bf16", 80, 2, 1, 16, 70, 0}, {"d128_window_cap", "f16", 128, 2, 2, 64, 33, 2.0f},
    {"d32_cap", "bf16", 32, 1, 2, 128, 0, 1.5f},
    {"d128_slopes", "bf16", 128, 3, 2, 64, 0, 0, true}, {"d64_window_cap_slopes", "f16", 64, 2, 2, 16, 40, 1.5f, true},
};
constexpr int layers = 2;

std::string textOf(const Variant &variant, bool paged) {
  std::string scores = variant.scores(), name = variant.name + (paged ? "_prefill" : "_plain");
  const char *types = "#include \"mlsys/attention_wgmma.cuh\"\nextern \"C\" __global__ void __launch_bounds__(384, 1) ";
  if (paged)
    return fmt::format("{}{}({} *a0, {} *a1, i32 *a2, i32 *a3, i32 *a4, long long P, long long R, long long causal, const "
                       "__grid_constant__ tensor_map t0) {{\n  attention_prefill_wgmma<{}, {}>((const {} *)a0, a1, t0, a2, "
                       "a3, a4, P, R, {}, {}, {});\n}}\n",
                       types, name, variant.type, variant.type, variant.headDim, variant.pageSize, variant.type,
                       variant.heads(), variant.kvHeads, scores);
  int row = variant.heads() * variant.headDim;
  // Q and the result are [B, S, H, D].
  std::string strides = fmt::format("Strides{{SQ * {}, {}, {}}}", row, row, variant.headDim);
  return fmt::format("{}{}({} *a0, {} *a1, long long SQ, long long SK, long long causal, const __grid_constant__ tensor_map "
                     "t0, const __grid_constant__ tensor_map t1) {{\n  attention_plain_wgmma<{}>((const {} *)a0, {}, a1, "
                     "{}, t0, t1, SQ, SK, {}, {}, {});\n}}\n",
                     types, name, variant.type, variant.type, variant.headDim, variant.type, strides, strides,
                     variant.heads(), variant.kvHeads, scores);
}

std::string factsTextOf(const Variant &variant) {
  return fmt::format("#include \"mlsys/attention_wgmma.cuh\"\nextern \"C\" __global__ void {}_facts(i32 *a0) {{\n"
                     "  typedef AttentionWgmma<{}> Config;\n  a0[0] = Config::sharedBytes;\n  a0[1] = Config::Keys;\n"
                     "  a0[2] = Config::threads;\n}}\n",
                     variant.name, variant.headDim);
}

HostCudaDevice &deviceOf(HostSchedule schedule) {
  static std::map<HostSchedule, std::unique_ptr<HostCudaDevice>> devices;
  auto &device = devices[schedule];
  if (!device) {
    std::vector<HostCudaDevice::Source> sources;
    for (const Variant &variant : variants) {
      sources.push_back({variant.name + "_prefill", textOf(variant, true)});
      sources.push_back({variant.name + "_plain", textOf(variant, false)});
      sources.push_back({variant.name + "_facts", factsTextOf(variant)});
    }
    device = std::make_unique<HostCudaDevice>(2, schedule);
    device->loadSources(sources);
  }
  return *device;
}

TensorMapArgument tilesOf(const std::string &type, void *base, std::vector<uint64_t> extents,
                          std::vector<uint64_t> strides, uint32_t rows) {
  TensorMapArgument map;
  map.base = base;
  map.type = type == "bf16" ? program::DType::BF16 : program::DType::F16;
  map.rank = 4;
  std::copy(extents.begin(), extents.end(), map.extents);
  std::copy(strides.begin(), strides.end(), map.strides);
  map.box[0] = 64;
  map.box[1] = rows;
  map.box[2] = map.box[3] = 1;
  return map;
}

/// New tokens and keys in all, the new ones among them.
struct Request {
  int added, keys;
};

/// Requests over a cache whose pages lie in no order; what no token has written is NaN.
struct PagedCase {
  const Variant &variant;
  std::vector<Request> requests;
  std::vector<std::vector<float>> queries, keys, values;
  int pagesPerRequest = 1;
  int64_t half, pageBytes;
  std::vector<int32_t> table, starts = {0}, contexts;
  std::vector<char> cache;

  PagedCase(const Variant &variant, std::vector<Request> list, unsigned seed = 1)
      : variant(variant), requests(std::move(list)) {
    const int d = variant.headDim, size = variant.pageSize, kv = variant.kvHeads;
    half = int64_t(size) * kv * d * 2;
    pageBytes = 2 * layers * half;
    int pages = 0;
    for (const Request &request : requests) {
      int count = (request.keys + size - 1) / size;
      pages += count;
      pagesPerRequest = std::max(pagesPerRequest, count);
    }
    cache.assign((pages + 1) * pageBytes, char(0xff));
    table.assign(requests.size() * pagesPerRequest, -1);
    int next = pages;
    for (size_t r = 0; r < requests.size(); ++r) {
      auto [added, count] = requests[r];
      starts.push_back(starts.back() + added);
      contexts.push_back(count);
      queries.push_back(randomValues(size_t(added) * variant.heads() * d, seed + 3 * r));
      keys.push_back(randomValues(size_t(count) * kv * d, seed + 3 * r + 1));
      values.push_back(randomValues(size_t(count) * kv * d, seed + 3 * r + 2));
      // No query's window reaches pages before the first one's.
      int first = variant.window ? std::max(0, count - added + 1 - variant.window) / size : 0;
      for (int p = first; p * size < count; ++p)
        table[r * pagesPerRequest + p] = next--;
      for (int part = 0; part < 2; ++part) {
        std::vector<char> bytes = encode(variant.type, part ? values[r] : keys[r]);
        for (int i = first * size; i < count; ++i)
          for (int h = 0; h < kv; ++h)
            std::memcpy(&cache[table[r * pagesPerRequest + i / size] * pageBytes + (2 + part) * half +
                               (int64_t(h) * size + i % size) * d * 2],
                        &bytes[(int64_t(i) * kv + h) * d * 2], d * 2);
      }
    }
  }

  std::vector<char> run(HostCudaDevice &device, uint32_t kernel, int sharedBytes, bool causal) {
    const uint64_t d = variant.headDim, size = variant.pageSize;
    std::vector<float> all;
    for (const auto &some : queries)
      all.insert(all.end(), some.begin(), some.end());
    DeviceBuffer<char> q(device, encode(variant.type, all)), out(device, all.size() * 2), pages(device, cache);
    DeviceBuffer<int32_t> start(device, starts), context(device, contexts), blocks(device, table);
    std::vector<void *> buffers = {q.data, out.data, start.data, context.data, blocks.data};
    std::vector<int64_t> symbols = {pagesPerRequest, int64_t(requests.size()), causal};
    std::vector<TensorMapArgument> maps = {
        tilesOf(variant.type, pages.data + 2 * half, {d, size, uint64_t(2 * variant.kvHeads), cache.size() / pageBytes},
                {d * 2, size * d * 2, uint64_t(pageBytes)}, std::min(variant.pageSize, variant.keys()))};
    LaunchArgs args;
    args.kernel = kernel;
    args.buffers = buffers;
    args.symbols = symbols;
    args.tensorMaps = maps;
    args.grid[0] = (int64_t(starts.back()) * variant.group + 127 * requests.size()) / 128;
    args.grid[1] = variant.kvHeads;
    args.block[0] = 384;
    args.sharedBytes = sharedBytes;
    device.launch(args);
    return out.read();
  }
};

/// Attention of one query over keys [begin, end), the last of which is at the query's position when there are slopes.
template <class Row>
std::vector<double> reference(const Variant &variant, int head, const float *q, int begin, int end, Row key, Row value) {
  std::vector<double> scores, result(variant.headDim, 0.0);
  double largest = -1e300, total = 0, *out = result.data();
  for (int j = begin; j < end; ++j) {
    const float *row = key(j);
    double score = 0;
    for (int e = 0; e < variant.headDim; ++e)
      score += double(q[e]) * row[e];
    score *= 0.125;
    if (variant.cap > 0)
      score = variant.cap * std::tanh(score / variant.cap);
    score += variant.slope(head) * (j - (end - 1));
    scores.push_back(score);
    largest = std::max(largest, score);
  }
  for (double &score : scores)
    total += score = std::exp(score - largest);
  for (int j = begin; j < end; ++j) {
    const float *row = value(j);
    double weight = scores[j - begin] / total;
    for (int e = 0; e < variant.headDim; ++e)
      out[e] += weight * row[e];
  }
  return result;
}

/// Whether a result is near what is expected; NaN is not.
bool isNear(const Variant &variant, const float *result, const std::vector<double> &expected) {
  const double tolerance = variant.type == "f16" ? 4e-3 : 2.5e-2;
  for (size_t e = 0; e < expected.size(); ++e)
    if (!(std::abs(result[e] - expected.data()[e]) <= tolerance))
      return false;
  return true;
}

/// The first row that is wrong, or "".
std::string wrongRow(const PagedCase &batch, const std::vector<float> &result, bool causal) {
  const Variant &variant = batch.variant;
  const int d = variant.headDim, kv = variant.kvHeads;
  for (size_t r = 0; r < batch.requests.size(); ++r)
    for (int i = 0; i < batch.requests[r].added; ++i)
      for (int h = 0; h < variant.heads(); ++h) {
        int end = causal ? batch.requests[r].keys - batch.requests[r].added + i + 1 : batch.requests[r].keys;
        int begin = variant.window ? std::max(0, end - variant.window) : 0, head = h / variant.group;
        std::function<const float *(int)> key = [&](int j) { return &batch.keys[r][(size_t(j) * kv + head) * d]; },
                                          value = [&](int j) { return &batch.values[r][(size_t(j) * kv + head) * d]; };
        size_t at = (size_t(i) * variant.heads() + h) * d;
        if (!isNear(variant, &result[size_t(batch.starts[r]) * variant.heads() * d + at],
                    reference(variant, h, &batch.queries[r][at], begin, end, key, value)))
          return fmt::format("request {} query {} head {}", r, i, h);
      }
  return "";
}

class DeviceAttentionWgmmaTest : public testing::TestWithParam<std::tuple<size_t, HostSchedule>> {
protected:
  const uint32_t index = static_cast<uint32_t>(std::get<0>(GetParam()));
  const Variant &variant = variants[index];
  HostCudaDevice &device = deviceOf(std::get<1>(GetParam()));
  std::vector<int32_t> facts;

  void SetUp() override {
    DeviceBuffer<int32_t> numbers(device, 3);
    launchKernel(device, 3 * index + 2, {numbers.data}, {}, {1}, 32);
    facts = numbers.read();
    ASSERT_EQ(facts[1], variant.keys());
    ASSERT_EQ(facts[2], 384);
  }
};

std::string nameOf(const testing::TestParamInfo<std::tuple<size_t, HostSchedule>> &info) {
  static const char *names[] = {"forward", "reverse", "random"};
  return variants[std::get<0>(info.param)].name + "_" + names[static_cast<int>(std::get<1>(info.param))];
}

} // namespace

TEST_P(DeviceAttentionWgmmaTest, pagedMatchesReference) {
  PagedCase batch(variant, {{5, 5}, {1, 9}, {70, 75}, {0, 0}, {3, 140}, {2, 258}});
  for (bool causal : {true, false}) {
    // Without causality queries see the same keys, and so does a window; slopes need it.
    if (!causal && (variant.window || variant.slopes))
      continue;
    std::vector<float> result = decode(variant.type, batch.run(device, 3 * index, facts[0], causal));
    EXPECT_EQ(wrongRow(batch, result, causal), "") << "causal " << causal;
  }
}

TEST_P(DeviceAttentionWgmmaTest, plainMatchesReference) {
  const int d = variant.headDim, heads = variant.heads(), kv = variant.kvHeads, batches = 2;
  for (auto [sq, sk] : {std::pair(1, 1), {66, 66}, {3, 130}, {6, 2}})
    for (int causal : {0, 1}) {
      if (!causal && (variant.window || variant.slopes))
        continue;
      SCOPED_TRACE(fmt::format("S_q {} S_k {} causal {}", sq, sk, causal));
      std::vector<float> q = randomValues(size_t(batches) * sq * heads * d, 1),
                         k = randomValues(size_t(batches) * sk * kv * d, 2),
                         v = randomValues(size_t(batches) * sk * kv * d, 3);
      DeviceBuffer<char> a0(device, encode(variant.type, q)), keys(device, encode(variant.type, k)),
          values(device, encode(variant.type, v)), a1(device, q.size() * 2);
      // K is [B, KV, S, D], V is [B, S, KV, D].
      uint64_t row = d * 2, length = sk, count = kv;
      std::vector<void *> buffers = {a0.data, a1.data};
      std::vector<int64_t> symbols = {sq, sk, causal};
      std::vector<uint64_t> extents = {uint64_t(d), length, count, batches};
      std::vector<TensorMapArgument> maps = {
          tilesOf(variant.type, keys.data, extents, {row, length * row, count * length * row}, variant.keys()),
          tilesOf(variant.type, values.data, extents, {count * row, row, count * length * row}, variant.keys())};
      LaunchArgs args;
      args.kernel = 3 * index + 1;
      args.buffers = buffers;
      args.symbols = symbols;
      args.tensorMaps = maps;
      args.grid[0] = (sq * variant.group + 127) / 128;
      args.grid[1] = kv;
      args.grid[2] = batches;
      args.block[0] = 384;
      args.sharedBytes = facts[0];
      device.launch(args);
      std::vector<float> result = decode(variant.type, a1.read());
      for (int b = 0; b < batches; ++b)
        for (int i = 0; i < sq; ++i)
          for (int h = 0; h < heads; ++h) {
            int head = h / variant.group, end = causal ? std::max(0, sk - sq + i + 1) : sk;
            int begin = variant.window ? std::max(0, end - variant.window) : 0;
            std::function<const float *(int)> key = [&](int j) { return &k[((size_t(b) * kv + head) * sk + j) * d]; },
                                              value = [&](int j) { return &v[((size_t(b) * sk + j) * kv + head) * d]; };
            size_t at = ((size_t(b) * sq + i) * heads + h) * d;
            ASSERT_TRUE(isNear(variant, &result[at], reference(variant, h, &q[at], begin, end, key, value)))
                << "batch " << b << " query " << i << " head " << h;
          }
    }
}

INSTANTIATE_TEST_SUITE_P(Variants, DeviceAttentionWgmmaTest,
                         testing::Combine(testing::Range<size_t>(0, variants.size()), testing::ValuesIn(schedules)),
                         nameOf);

TEST(DeviceAttentionWgmmaTest, resultsDoNotDependOnTheBatch) {
  HostCudaDevice &device = deviceOf(HostSchedule::Forward);
  for (uint32_t index : {1, 4, 7}) {
    const Variant &variant = variants[index];
    DeviceBuffer<int32_t> numbers(device, 3);
    launchKernel(device, 3 * index + 2, {numbers.data}, {}, {1}, 32);
    int sharedBytes = numbers.read()[0];
    PagedCase alone(variant, {{60, 150}}, 7);
    std::vector<char> first = alone.run(device, 3 * index, sharedBytes, true);
    // The same request behind two others, and its last queries alone.
    PagedCase together(variant, {{3, 8}, {50, 60}, {60, 150}}, 1);
    std::vector<char> all = together.run(device, 3 * index, sharedBytes, true);
    ASSERT_EQ(alone.keys[0], together.keys[2]);
    size_t rowBytes = size_t(variant.heads()) * variant.headDim * 2;
    EXPECT_TRUE(std::equal(first.begin(), first.end(), all.begin() + 53 * rowBytes)) << variant.name;
    PagedCase part(variant, {{60, 150}}, 7);
    part.requests[0].added = 20;
    part.starts[1] = 20;
    part.queries[0].erase(part.queries[0].begin(), part.queries[0].begin() + 40 * rowBytes / 2);
    std::vector<char> last = part.run(device, 3 * index, sharedBytes, true);
    EXPECT_TRUE(std::equal(last.begin(), last.end(), first.begin() + 40 * rowBytes)) << variant.name;
  }
}

TEST(DeviceAttentionWgmmaTest, compilesWithoutSpills) {
  std::shared_ptr<Nvrtc> nvrtc = Nvrtc::open();
  if (!nvrtc)
    GTEST_SKIP() << "NVRTC is not installed";
  KernelCache cache(std::filesystem::path(testing::TempDir()) / "mlsys-conformance");
  std::vector<KernelText> kernels;
  for (const Variant &variant : variants)
    kernels.push_back({variant.name + "_prefill", textOf(variant, true)});
  for (size_t i : {1, 5, 7})
    kernels.push_back({variants[i].name + "_plain", textOf(variants[i], false)});
  for (const CompiledKernel &kernel : compileKernels(*nvrtc, cache, kernels, "sm_90a"))
    EXPECT_LE(kernel.registers, 168);
  std::string error = errorOf([&] { nvrtc->compile(kernels[0], "sm_80"); });
  EXPECT_NE(error.find("needs sm_90a"), std::string::npos) << error;
}

//===----------------------------------------------------------------------===//
// Seeded bugs
//===----------------------------------------------------------------------===//

namespace {

const std::vector<Seed> seeds = {
    {"original", "", ""},
    {"stage_not_waited_for", "mbarrier_wait(stage.empty, stage.parity ^ 1);", ""},
    {"bytes_missing", "(to - from) * Box * 128", "(to - from) * Box * 64"},
    {"page_of_first_box", "page = tiles.page(position);", "page = tiles.page(start);"},
    {"values_not_cleared", "clear(max_int(0, range.keys - start), Keys);", ""},
    {"values_not_complete", "const u32 barrier = edge ? landing : stage.full;", "const u32 barrier = stage.full;"},
    {"clearing_not_fenced", "proxy_fence();\n  warp_sync();", "warp_sync();"},
    {"queries_not_fenced", "proxy_fence();\n  group_sync(1 + warpgroup, 128);", "group_sync(1 + warpgroup, 128);"},
    {"keys_not_waited_for", "mbarrier_wait(keys.full, keys.parity);\n      await();\n      wgmma_fence();",
     "await();\n      wgmma_fence();"},
    {"values_not_waited_for", "mbarrier_wait(values.full, values.parity);", ""},
    {"keys_freed_too_early", "pass();\n      wgmma_wait<1>(scores);\n      if (speaks)\n        mbarrier_arrive(keys.empty);",
     "if (speaks)\n        mbarrier_arrive(keys.empty);\n      pass();\n      wgmma_wait<1>(scores);"},
    {"scores_not_waited_for", "wgmma_wait<1>(scores);", "wgmma_wait<2>(scores);"},
    {"sums_not_waited_for", "auto finish_sums = [&](int n) {\n    wgmma_wait<0>(sums);", "auto finish_sums = [&](int n) {"},
    {"sums_not_scaled", "sums[i] *= softmax.shrink[i / 2 % 2];", ""},
    {"shrink_of_other_row", "sums[i] *= softmax.shrink[i / 2 % 2];", "sums[i] *= softmax.shrink[i % 2];"},
    {"turns_out_of_order", "if (warpgroup == 1)\n      pass();", "if (warpgroup == 0)\n      pass();"},
    {"second_warpgroup_has_first_queries", "shared_memory<u8>(warpgroup * 8192)", "shared_memory<u8>(0)"},
    {"mask_of_whole_tiles_only", "start + Keys > least", "start > least"},
    {"window_not_masked", "|| start < latest", ""},
    {"oldest_page_not_brought", "max_int(0, range.oldest - start) / Box", "max_int(0, range.oldest - start + Box - 1) / Box"},
};

} // namespace

TEST(DeviceAttentionWgmmaTest, seededBugsAreCaught) {
  Variant variant{"", "bf16", 64, 2, 1, 16, 700, 0};
  std::vector<HostCudaDevice::Source> sources;
  for (const Seed &seed : seeds) {
    std::string text = seededLibrary("mlsys/attention_wgmma.cuh", seed);
    variant.name = "seed_" + seed.name;
    std::string call = textOf(variant, true);
    text += call.substr(call.find("extern"));
    // Other names than the library's, which the executor has compiled too.
    for (std::string name : {"AttentionWgmma", "AttentionStage", "PagedTiles", "PlainTiles", "GroupedQueries", "KeyRange",
                             "RunningSoftmax", "attention_fetch", "attention_produce", "attention_load_queries",
                             "attention_store", "attention_begin_scores", "attention_begin_sums", "attention_pack",
                             "attention_consume", "attention_block", "attention_prefill_wgmma", "attention_plain_wgmma"})
      for (size_t at = text.find(name); at != std::string::npos; at = text.find(name, at + name.size() + 5))
        text.insert(at + name.size(), "_copy");
    sources.push_back({variant.name + "_prefill", "#include \"mlsys/attention.cuh\"\n#include \"mlsys/hopper.cuh\"\n" + text});
  }
  sources.push_back({"d64_facts", factsTextOf(variants[0])});
  PagedCase batch(variant, {{70, 900}, {10, 90}});
  std::map<std::string, int> caught;
  for (HostSchedule schedule : schedules) {
    HostCudaDevice device(1, schedule);
    device.loadSources(sources);
    DeviceBuffer<int32_t> numbers(device, 3);
    launchKernel(device, seeds.size(), {numbers.data}, {}, {1}, 32);
    for (size_t i = 0; i < seeds.size(); ++i) {
      std::string wrong;
      std::string error = errorOf([&] {
        wrong = wrongRow(batch, decode(variant.type, batch.run(device, i, numbers.read()[0], true)), true);
      });
      caught[seeds[i].name] += !wrong.empty() || !error.empty();
    }
  }
  for (const Seed &seed : seeds)
    if (seed.from.empty())
      EXPECT_EQ(caught[seed.name], 0);
    else
      EXPECT_GT(caught[seed.name], 0) << seed.name;
}
