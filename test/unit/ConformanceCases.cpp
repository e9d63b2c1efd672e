//===- ConformanceCases.cpp -----------------------------------------------===//
//
// Part of mlsys, under the Apache License v2.0. See LICENSE.
//
//===----------------------------------------------------------------------===//

#include "ConformanceCases.h"

#include "DeviceTest.h"

using namespace mlsys;
using namespace mlsys::rt;
using namespace mlsys::rt::test;

namespace {

using Bytes = std::vector<uint8_t>;

template <class T> Bytes bytesOf(const std::vector<T> &values) {
  Bytes bytes(values.size() * sizeof(T));
  std::memcpy(bytes.data(), values.data(), bytes.size());
  return bytes;
}

std::vector<uint16_t> numbered(size_t n) {
  std::vector<uint16_t> values(n);
  for (size_t i = 0; i < n; ++i)
    values[i] = static_cast<uint16_t>(i * 7 + 1);
  return values;
}

/// Values as bf16 or f16.
Bytes encoded(const std::vector<float> &values, bool bf16) {
  std::vector<uint16_t> bits;
  for (float value : values) {
    _Float16 half = static_cast<_Float16>(value);
    uint16_t word;
    std::memcpy(&word, &half, 2);
    bits.push_back(bf16 ? floatToBf16(value) : word);
  }
  return bytesOf(bits);
}

std::string kernel(const std::string &header, const std::string &name, int threads, const std::string &parameters,
                   const std::string &body) {
  return fmt::format(
      "#include \"mlsys/{}.cuh\"\nextern \"C\" __global__ void __launch_bounds__({}, 1) {}({}) {{\n{}}}\n", header,
      threads, name, parameters, body);
}

const std::string oneMap = "const __grid_constant__ tensor_map t0";
const std::string twoMaps = oneMap + ", const __grid_constant__ tensor_map t1";

//===----------------------------------------------------------------------===//
// Before Hopper
//===----------------------------------------------------------------------===//

void addCopies(std::vector<ConformanceCase> &cases) {
  std::vector<uint16_t> input = numbered(512), expected = input;
  for (size_t thread = 0; thread < 64; ++thread)
    for (size_t i = thread % 9; i < 8; ++i)
      expected[thread * 8 + i] = 0;
  cases.push_back({"cp_async",
                   "sm_80",
                   kernel("types", "cp_async", 64, "const u16 *a0, u16 *a1", R"(
  u16 *tile = shared_memory<u16>();
  cp_async16(shared_address(tile + thread_x() * 8), a0 + thread_x() * 8, thread_x() % 9 * 2);
  cp_commit();
  cp_wait<0>();
  bar_sync();
  int other = 63 - thread_x();
  store<8>(a1 + other * 8, load<8>(tile + other * 8));
)"),
                   64,
                   1024,
                   {bytesOf(input)},
                   1024,
                   {},
                   bytesOf(expected),
                   {}});

  std::vector<uint16_t> rows = numbered(256);
  std::vector<uint32_t> fragments;
  for (int lane = 0; lane < 32; ++lane)
    for (bool transposed : {false, true})
      for (int matrix = 0; matrix < 4; ++matrix) {
        int row = lane / 4, column = lane % 4 * 2;
        auto at = [&](int r, int c) -> uint32_t { return rows[matrix * 64 + (transposed ? c * 8 + r : r * 8 + c)]; };
        fragments.push_back(at(row, column) | at(row, column + 1) << 16);
      }
  cases.push_back({"ldmatrix",
                   "sm_80",
                   kernel("types", "ldmatrix", 32, "const u16 *a0, u32 *a1", R"(
  u16 *tile = shared_memory<u16>();
  store<8>(tile + thread_x() * 8, load<8>(a0 + thread_x() * 8));
  warp_sync();
  u32 fragment[8];
  ldsm4(fragment, shared_address(tile + thread_x() * 8));
  ldsm4_trans(fragment + 4, shared_address(tile + thread_x() * 8));
  for (int i = 0; i < 8; ++i)
    a1[thread_x() * 8 + i] = fragment[i];
)"),
                   32,
                   512,
                   {bytesOf(rows)},
                   1024,
                   {},
                   bytesOf(fragments),
                   {}});

  std::vector<int32_t> lanes;
  for (int lane = 0; lane < 32; ++lane)
    for (int value : {lane ^ 5, (lane + 3) & 31, 496})
      lanes.push_back(value);
  cases.push_back({"warps",
                   "sm_80",
                   kernel("reduce", "warps", 32, "i32 *a0", R"(
  a0[thread_x() * 3] = shfl_xor(thread_x(), 5);
  a0[thread_x() * 3 + 1] = shfl(thread_x(), thread_x() + 3 & 31);
  a0[thread_x() * 3 + 2] = warp_sum(thread_x());
)"),
                   32,
                   0,
                   {},
                   384,
                   {},
                   bytesOf(lanes),
                   {}});

  for (bool bf16 : {true, false}) {
    std::vector<float> a = randomValues(256, 1), b = randomValues(128, 2);
    ConformanceCase entry = {bf16 ? "mma_bf16_16x8" : "mma_f16_16x8",
                             "sm_80",
                             "",
                             32,
                             0,
                             {encoded(a, bf16), encoded(b, bf16)},
                             512,
                             {},
                             {},
                             std::vector<double>(128),
                             1e-4};
    entry.text = kernel("types", entry.name, 32, "const u32 *a0, const u32 *a1, f32 *a2",
                        fmt::format(R"(
  int row = thread_x() / 4, column = thread_x() % 4;
  u32 left[4], right[2];
  for (int i = 0; i < 4; ++i)
    left[i] = a0[(row + i % 2 * 8) * 8 + column + i / 2 * 4];
  for (int i = 0; i < 2; ++i)
    right[i] = a1[row * 8 + column + i * 4];
  float sums[4] = {{0.0f, 0.0f, 0.0f, 0.0f}};
  mma_{}(sums, left, right);
  for (int i = 0; i < 4; ++i)
    a2[(row + i / 2 * 8) * 8 + column * 2 + i % 2] = sums[i];
)",
                                    bf16 ? "bf16" : "f16"));
    for (int m = 0; m < 16; ++m)
      for (int n = 0; n < 8; ++n)
        for (int k = 0; k < 16; ++k)
          entry.sums[m * 8 + n] += double(a[m * 16 + k]) * b[n * 16 + k];
    cases.push_back(entry);
  }

  for (bool isSigned : {true, false}) {
    std::mt19937 generator(3);
    std::vector<uint8_t> a(16 * 32), b(8 * 32);
    for (std::vector<uint8_t> *bytes : {&a, &b})
      for (uint8_t &byte : *bytes)
        byte = uint8_t(generator() >> 24);
    // Begun close to the largest number, some sums wrap around.
    constexpr int32_t start = 0x7fffff00;
    std::vector<int32_t> sums(128);
    for (int m = 0; m < 16; ++m)
      for (int n = 0; n < 8; ++n) {
        int64_t sum = start;
        for (int k = 0; k < 32; ++k)
          sum += (isSigned ? int8_t(a[m * 32 + k]) : int(a[m * 32 + k])) * int8_t(b[n * 32 + k]);
        sums[m * 8 + n] = int32_t(sum);
      }
    std::string name = isSigned ? "mma_s8" : "mma_u8";
    cases.push_back({name + "_16x8", "sm_80", kernel("types", name + "_16x8", 32, "const u32 *a0, const u32 *a1, i32 *a2",
                                                     fmt::format(R"(
  int row = thread_x() / 4, column = thread_x() % 4;
  u32 left[4], right[2];
  for (int i = 0; i < 4; ++i)
    left[i] = a0[(row + i % 2 * 8) * 8 + column + i / 2 * 4];
  for (int i = 0; i < 2; ++i)
    right[i] = a1[row * 8 + column + i * 4];
  i32 sums[4];
  for (int i = 0; i < 4; ++i)
    sums[i] = {};
  {}(sums, left, right);
  for (int i = 0; i < 4; ++i)
    a2[(row + i / 2 * 8) * 8 + column * 2 + i % 2] = sums[i];
)",
                                                                 start, name)),
                     32, 0, {bytesOf(a), bytesOf(b)}, 512, {}, bytesOf(sums), {}});
  }
}

void addMath(std::vector<ConformanceCase> &cases) {
  std::vector<float> input;
  std::vector<double> powers;
  for (int i = 0; i < 128; ++i) {
    input.push_back(static_cast<float>(i - 120) / 8);
    powers.push_back(std::exp2(input.back()));
  }
  // What is below the smallest normal number is 0.
  input[0] = -140;
  powers[0] = 0;
  cases.push_back({"exp2_approx_case", "sm_80",
                   kernel("types", "exp2_approx_case", 128, "const f32 *a0, f32 *a1",
                          "  a1[thread_x()] = exp2_approx(a0[thread_x()]);\n"),
                   128, 0, {bytesOf(input)}, 512, {}, {}, powers, 2e-6});
}

//===----------------------------------------------------------------------===//
// Bulk copies
//===----------------------------------------------------------------------===//

/// A tile of `box`, from `corner` on, of a tensor whose element i is numbered(i), as it lies in
/// shared memory.
std::vector<uint16_t> tileOf(const std::vector<uint64_t> &extents, const std::vector<uint32_t> &box,
                             const std::vector<int> &corner, bool swizzled) {
  size_t total = 1, elements = 1;
  for (uint64_t extent : extents)
    elements *= extent;
  for (uint32_t extent : box)
    total *= extent;
  std::vector<uint16_t> tensor = numbered(elements), tile(total, 0);
  for (size_t i = 0; i < total; ++i) {
    size_t rest = i, index = 0, stride = 1;
    bool inside = true;
    for (size_t d = 0; d < box.size(); rest /= box[d], stride *= extents[d], ++d) {
      int64_t at = corner[d] + static_cast<int64_t>(rest % box[d]);
      inside = inside && at >= 0 && at < static_cast<int64_t>(extents[d]);
      index += static_cast<size_t>(at) * stride;
    }
    size_t row = i / box[0], column = i % box[0];
    size_t place = swizzled ? row * 64 + ((column / 8) ^ (row & 7)) * 8 + column % 8 : i;
    tile[place] = inside ? tensor[index] : 0;
  }
  return tile;
}

CaseMap mapOf(int buffer, std::vector<uint64_t> extents, std::vector<uint32_t> box, bool swizzled,
              program::DType type = program::DType::BF16) {
  CaseMap map = {buffer, type, extents, {}, box, swizzled};
  uint64_t stride = 2;
  for (size_t d = 0; d + 1 < extents.size(); ++d)
    map.strides.push_back(stride *= extents[d]);
  return map;
}

void addTile(std::vector<ConformanceCase> &cases, const std::string &name, std::vector<uint64_t> extents,
             std::vector<uint32_t> box, std::vector<int> corner, bool swizzled) {
  std::string coordinates;
  size_t elements = 1;
  for (uint64_t extent : extents)
    elements *= extent;
  for (int at : corner)
    coordinates += fmt::format(", {}", at);
  std::vector<uint16_t> tile = tileOf(extents, box, corner, swizzled);
  int bytes = static_cast<int>(tile.size() * 2);
  cases.push_back({name,
                   "sm_90",
                   kernel("hopper", name, 64, "const u16 *a0, u16 *a1, " + oneMap,
                          fmt::format(R"(
  u32 tile = shared_address(shared_memory<u8>()), full = tile + {0};
  if (thread_x() == 0) {{
    tma_prefetch(t0);
    mbarrier_init(full, 1);
    mbarrier_fence();
  }}
  bar_sync();
  if (thread_x() == 0) {{
    mbarrier_arrive_expect(full, {0});
    tma_load_{1}d(tile, t0, full{2});
  }}
  mbarrier_wait(full, 0);
  for (int i = thread_x(); i < {0} / 2; i += 64)
    a1[i] = shared_memory<u16>()[i];
)",
                                      bytes, box.size(), coordinates)),
                   64,
                   static_cast<uint32_t>(bytes + 16),
                   {bytesOf(numbered(elements))},
                   tile.size() * 2,
                   {mapOf(0, extents, box, swizzled)},
                   bytesOf(tile),
                   {}});
}

void addBulkCopies(std::vector<ConformanceCase> &cases) {
  std::vector<uint16_t> input = numbered(2048);
  // Blocks of 512 bytes, in four phases of one mbarrier, stored in reverse.
  std::vector<uint16_t> reversed;
  for (int i = 3; i >= 0; --i)
    reversed.insert(reversed.end(), input.begin() + i * 256, input.begin() + (i + 1) * 256);
  cases.push_back({"bulk",
                   "sm_90",
                   kernel("hopper", "bulk", 32, "const u16 *a0, u16 *a1", R"(
  u32 tile = shared_address(shared_memory<u8>()), full = tile + 2048;
  if (thread_x() == 0) {
    mbarrier_init(full, 1);
    mbarrier_fence();
  }
  warp_sync();
  for (int i = 0; i < 4; ++i) {
    if (thread_x() == 0) {
      mbarrier_arrive_expect(full, 512);
      bulk_load(tile + i * 512, a0 + i * 256, 512, full);
    }
    mbarrier_wait(full, i & 1);
    if (thread_x() == 0) {
      bulk_store(a1 + (3 - i) * 256, tile + i * 512, 512);
      bulk_commit();
    }
    warp_sync();
  }
  if (thread_x() == 0)
    bulk_wait<0>();
)"),
                   32,
                   2064,
                   {bytesOf(input)},
                   2048,
                   {},
                   bytesOf(reversed),
                   {}});
  addTile(cases, "tma_2d", {96, 40}, {64, 24}, {8, 4}, true);
  addTile(cases, "tma_2d_outside", {96, 40}, {64, 24}, {56, 28}, true);
  addTile(cases, "tma_2d_before", {96, 40}, {64, 16}, {-24, -3}, true);
  addTile(cases, "tma_2d_rows", {24, 10}, {24, 8}, {0, 5}, false);
  addTile(cases, "tma_3d", {64, 12, 6}, {64, 8, 4}, {0, 6, 1}, true);
  addTile(cases, "tma_4d", {64, 5, 4, 3}, {64, 4, 2, 2}, {0, 2, 1, 2}, true);

  // Stores a tile that threads have written, partly outside.
  std::vector<uint16_t> stored(80 * 20, 0);
  for (int y = 0; y < 16; ++y)
    for (int x = 0; x < 64; ++x)
      if (x + 32 < 80 && y + 8 < 20)
        stored[(y + 8) * 80 + x + 32] = static_cast<uint16_t>(y * 64 + x + 1);
  ConformanceCase store = {"tma_store",
                           "sm_90",
                           kernel("hopper", "tma_store", 64, "u16 *a0, " + oneMap, R"(
  for (int i = thread_x(); i < 80 * 20; i += 64)
    a0[i] = 0;
  for (int i = thread_x(); i < 1024; i += 64)
    shared_memory<u16>()[i / 64 * 64 + ((i % 64 / 8) ^ (i / 64 & 7)) * 8 + i % 8] = (u16)(i + 1);
  proxy_fence();
  bar_sync();
  if (thread_x() == 0) {
    tma_store_2d(t0, 32, 8, shared_address(shared_memory<u8>()));
    bulk_commit();
    bulk_wait<0>();
  }
)"),
                           64,
                           2048,
                           {},
                           3200,
                           {mapOf(0, {80, 20}, {64, 16}, true)},
                           bytesOf(stored),
                           {}};
  cases.push_back(store);
}

//===----------------------------------------------------------------------===//
// Order
//===----------------------------------------------------------------------===//

void addOrder(std::vector<ConformanceCase> &cases) {
  // A producer warp and a consumer warp over a ring of two tiles.
  std::vector<uint32_t> input(16 * 32), output(16 * 32);
  for (size_t i = 0; i < input.size(); ++i)
    input[i] = static_cast<uint32_t>(i * 3 + 1), output[i] = input[i] * 2;
  cases.push_back({"ring",
                   "sm_90",
                   kernel("hopper", "ring", 64, "const u32 *a0, u32 *a1", R"(
  u32 *tile = shared_memory<u32>();
  u32 full = shared_address(tile) + 256, empty = full + 16;
  if (thread_x() == 0) {
    for (int i = 0; i < 2; ++i) {
      mbarrier_init(full + 8 * i, 1);
      mbarrier_init(empty + 8 * i, 32);
    }
    mbarrier_fence();
  }
  bar_sync();
  if (thread_x() < 32) {
    if (thread_x() == 0)
      for (int i = 0; i < 16; ++i) {
        mbarrier_wait(empty + i % 2 * 8, i / 2 & 1 ^ 1);
        mbarrier_arrive_expect(full + i % 2 * 8, 128);
        bulk_load(shared_address(tile + i % 2 * 32), a0 + i * 32, 128, full + i % 2 * 8);
      }
  } else {
    for (int i = 0; i < 16; ++i) {
      mbarrier_wait(full + i % 2 * 8, i / 2 & 1);
      u32 value = tile[i % 2 * 32 + 63 - thread_x()];
      mbarrier_arrive(empty + i % 2 * 8);
      a1[i * 32 + 63 - thread_x()] = value * 2;
    }
  }
)"),
                   64,
                   288,
                   {bytesOf(input)},
                   2048,
                   {},
                   bytesOf(output),
                   {}});

  // Two warps hand numbers to and fro; a third takes no part.
  cases.push_back({"groups",
                   "sm_90",
                   kernel("hopper", "groups", 96, "u32 *a0", R"(
  u32 *cell = shared_memory<u32>();
  int warp = thread_x() / 32, lane = thread_x() % 32;
  if (warp == 0)
    cell[lane] = 0;
  for (int i = 0; i < 5; ++i) {
    if (warp == 0) {
      cell[lane] += 1;
      group_arrive(1, 64);
      group_sync(2, 64);
    }
    if (warp == 1) {
      group_sync(1, 64);
      cell[31 - lane] *= 2;
      group_arrive(2, 64);
    }
  }
  if (warp == 0)
    a0[lane] = cell[lane];
)"),
                   96,
                   128,
                   {},
                   128,
                   {},
                   bytesOf(std::vector<uint32_t>(32, 62)),
                   {}});
}

//===----------------------------------------------------------------------===//
// Clusters
//===----------------------------------------------------------------------===//

/// A kernel whose blocks run in a cluster.
std::string clusterKernel(int blocks, const std::string &name, int threads, const std::string &parameters,
                          const std::string &body) {
  std::string text = kernel("hopper", name, threads, parameters, body);
  return text.replace(text.find("__launch_bounds__"), 0, fmt::format("__cluster_dims__({}, 1, 1) ", blocks));
}

void addClusters(std::vector<ConformanceCase> &cases) {
  // Each block reads what its neighbour has written.
  std::vector<float> read(4 * 128);
  for (size_t i = 0; i < read.size(); ++i)
    read[i] = static_cast<float>((i / 128 + 1) % 4 * 1000 + i % 128);
  cases.push_back({"cluster", "sm_90", clusterKernel(4, "cluster", 32, "f32 *a0", R"(
  int rank = cluster_rank();
  for (int i = thread_x(); i < 128; i += 32)
    shared_memory<float>()[i] = (float)(rank * 1000 + i);
  cluster_sync();
  vec<float, 4> value = cluster_load(shared_address(shared_memory<u8>()) + thread_x() * 16, (rank + 1) % 4);
  store<4>(a0 + rank * 128 + thread_x() * 4, value);
  cluster_sync();
)"),
                   32, 512, {}, 2048, {}, bytesOf(read), {}});
  cases.back().blocks = 4;

  // Each of two blocks brings half of every tile for both, through a ring of two.
  std::vector<uint16_t> input = numbered(64 * 64), output = input;
  output.insert(output.end(), input.begin(), input.end());
  cases.push_back({"cluster_tiles", "sm_90",
                   clusterKernel(2, "cluster_tiles", 64, "const u16 *a0, u16 *a1, " + oneMap, R"(
  int rank = cluster_rank();
  u32 tile = shared_address(shared_memory<u8>()), full = tile + 4096, empty = full + 16;
  if (thread_x() == 0) {
    for (int i = 0; i < 2; ++i) {
      mbarrier_init(full + 8 * i, 1);
      mbarrier_init(empty + 8 * i, 2);
    }
    mbarrier_fence();
  }
  cluster_sync();
  if (thread_x() == 0)
    for (int i = 0; i < 4; ++i) {
      mbarrier_wait(empty + i % 2 * 8, i / 2 & 1 ^ 1);
      mbarrier_arrive_expect(full + i % 2 * 8, 2048);
      tma_load_2d_cluster(tile + i % 2 * 2048 + rank * 1024, t0, full + i % 2 * 8, 0, i * 16 + rank * 8, 3);
    }
  if (thread_x() >= 32)
    for (int i = 0; i < 4; ++i) {
      mbarrier_wait(full + i % 2 * 8, i / 2 & 1);
      for (int at = thread_x() - 32; at < 1024; at += 32) {
        int row = at / 64, column = at % 64;
        a1[rank * 4096 + i * 1024 + at] =
            shared_memory<u16>()[i % 2 * 1024 + row * 64 + ((column / 8) ^ (row & 7)) * 8 + column % 8];
      }
      warp_sync();
      if (thread_x() == 32) {
        mbarrier_arrive(empty + i % 2 * 8);
        mbarrier_arrive_cluster(empty + i % 2 * 8, rank ^ 1);
      }
    }
  cluster_sync();
)"),
                   64, 4128, {bytesOf(input)}, 16384, {mapOf(0, {64, 64}, {64, 8}, true)}, bytesOf(output), {}});
  cases.back().blocks = 2;
}

//===----------------------------------------------------------------------===//
// wgmma
//===----------------------------------------------------------------------===//

/// 64 x N products over K = 64, from tiles that the copy engine brings.
void addProduct(std::vector<ConformanceCase> &cases, int n, bool bf16, bool fragment, bool transposed) {
  std::vector<float> a = randomValues(64 * 64, 1), b = randomValues(n * 64, 2);
  std::vector<float> stored(b.size());
  for (int column = 0; column < n; ++column)
    for (int k = 0; k < 64; ++k)
      stored[transposed ? k * n + column : column * 64 + k] = b[column * 64 + k];
  std::string type = bf16 ? "bf16" : "f16";
  program::DType dtype = bf16 ? program::DType::BF16 : program::DType::F16;
  int panels = transposed ? (n + 63) / 64 : 1;
  uint32_t boxRows = transposed ? 64 : n;
  int bytesB = panels * static_cast<int>(boxRows) * 128;
  std::string name =
      fmt::format("wgmma_{}_{}{}{}", type, n, fragment ? "_fragment" : "", transposed ? "_transposed" : "");
  std::string product = fmt::format("wgmma<{}, {}, {}>(sums, {}, {}, k > 0);", type, n, transposed,
                                    fragment ? "left[k]" : "wgmma_rows(a) + 2 * k",
                                    transposed ? "wgmma_columns(b, 8192) + 128 * k" : "wgmma_rows(b) + 2 * k");
  std::string fragments = fragment ? R"(
  u32 left[4][4];
  MLSYS_UNROLL
  for (int k = 0; k < 4; ++k)
    MLSYS_UNROLL
    for (int i = 0; i < 4; ++i)
      left[k][i] = a0[(row + i % 2 * 8) * 32 + k * 8 + i / 2 * 4 + column];
)"
                                   : "";
  ConformanceCase entry = {name,
                           "sm_90a",
                           "",
                           128,
                           static_cast<uint32_t>(8192 + bytesB + 16),
                           {encoded(a, bf16), encoded(stored, bf16)},
                           static_cast<size_t>(n) * 256,
                           {mapOf(0, {64, 64}, {64, 64}, true, dtype),
                            transposed ? mapOf(1, {uint64_t(n), 64}, {64, 64}, true, dtype)
                                       : mapOf(1, {64, uint64_t(n)}, {64, uint32_t(n)}, true, dtype)},
                           {},
                           std::vector<double>(64 * n),
                           1e-3};
  entry.text = kernel("hopper", name, 128, "const u32 *a0, const u32 *a1, f32 *a2, " + twoMaps,
                      fmt::format(R"(
  u32 a = shared_address(shared_memory<u8>()), b = a + 8192, full = b + {0};
  int row = thread_x() / 32 * 16 + thread_x() % 32 / 4, column = thread_x() % 4;
  if (thread_x() == 0) {{
    mbarrier_init(full, 1);
    mbarrier_fence();
  }}
  bar_sync();
  if (thread_x() == 0) {{
    mbarrier_arrive_expect(full, 8192 + {0});
    tma_load_2d(a, t0, full, 0, 0);
    for (int i = 0; i < {1}; ++i)
      tma_load_2d(b + 8192 * i, t1, full, 64 * i, 0);
  }}{2}
  mbarrier_wait(full, 0);
  float sums[{3} / 2];
  MLSYS_UNROLL
  for (int i = 0; i < {3} / 2; ++i)
    sums[i] = 1.0f;
  wgmma_fence();
  MLSYS_UNROLL
  for (int k = 0; k < 4; ++k)
    {4}
  wgmma_commit();
  wgmma_wait<0>(sums);
  MLSYS_UNROLL
  for (int i = 0; i < {3} / 2; ++i)
    a2[(row + i / 2 % 2 * 8) * {3} + i / 4 * 8 + column * 2 + i % 2] = sums[i];
)",
                                  bytesB, panels, fragments, n, product));
  for (int m = 0; m < 64; ++m)
    for (int column = 0; column < n; ++column)
      for (int k = 0; k < 64; ++k)
        entry.sums[m * n + column] += double(a[m * 64 + k]) * b[column * 64 + k];
  cases.push_back(entry);
}

void addWarpgroups(std::vector<ConformanceCase> &cases) {
  for (int n : {8, 16, 24, 32, 48, 64, 96, 128, 192, 256})
    addProduct(cases, n, true, false, false);
  for (int n : {8, 128})
    addProduct(cases, n, false, false, false);
  addProduct(cases, 64, true, true, false);
  addProduct(cases, 24, true, false, true);
  addProduct(cases, 128, true, false, true);
  addProduct(cases, 256, false, true, true);

  // Three warpgroups give registers up, the other takes them, writes a tile and multiplies it.
  std::vector<double> sums(64 * 8);
  for (int m = 0; m < 64; ++m)
    for (int n = 0; n < 8; ++n)
      for (int k = 0; k < 16; ++k)
        sums[m * 8 + n] += double(m + k) * (n - k);
  cases.push_back({"stores_then_wgmma",
                   "sm_90a",
                   kernel("hopper", "stores_then_wgmma", 512, "f32 *a0", R"(
  if (thread_x() >= 128) {
    registers_release<40>();
    return;
  }
  registers_claim<216>();
  bf16 *left = shared_memory<bf16>(), *right = left + 4096;
  for (int i = thread_x(); i < 72 * 16; i += 128) {
    int row = i / 16, k = i % 16, n = row - 64;
    float value = row < 64 ? (float)(row + k) : (float)(n - k);
    left[row * 64 + ((k / 8) ^ (row & 7)) * 8 + k % 8] = convert<bf16>(value);
  }
  proxy_fence();
  group_sync(1, 128);
  float sums[4] = {0.0f, 0.0f, 0.0f, 0.0f};
  wgmma_fence();
  wgmma<bf16, 8>(sums, wgmma_rows(shared_address(left)), wgmma_rows(shared_address(right)));
  wgmma_commit();
  wgmma_wait<0>(sums);
  for (int i = 0; i < 4; ++i)
    a0[(thread_x() / 32 * 16 + thread_x() % 32 / 4 + i / 2 * 8) * 8 + thread_x() % 4 * 2 + i % 2] = sums[i];
)"),
                   512,
                   9216,
                   {},
                   2048,
                   {},
                   {},
                   sums,
                   1e-3});
}

} // namespace

const std::vector<ConformanceCase> &mlsys::rt::test::conformanceCases() {
  static const std::vector<ConformanceCase> cases = [] {
    std::vector<ConformanceCase> all;
    addCopies(all);
    addMath(all);
    addBulkCopies(all);
    addOrder(all);
    addClusters(all);
    addWarpgroups(all);
    return all;
  }();
  return cases;
}

const ConformanceCase &mlsys::rt::test::conformanceCase(const std::string &name) {
  for (const ConformanceCase &entry : conformanceCases())
    if (entry.name == name)
      return entry;
  throw Error("no case {}", name);
}
