//===- CudaMemoryTest.cpp - Memory of a GPU over a fake driver ------------===//
//
// Part of mlsys, under the Apache License v2.0. See LICENSE.
//
//===----------------------------------------------------------------------===//

#include "FakeCuda.h"

#include <cstring>
#include <numeric>

using namespace mlsys;
using namespace mlsys::rt;
using namespace mlsys::test;

using CudaMemoryTest = FakeCudaTest;

TEST_F(CudaMemoryTest, temporariesComeFromThePoolInTheOrderOfTheStream) {
  {
    CudaDevice device(0);
    takeCalls();
    void *address = device.allocate(5);
    device.free(address);
    // Freed when the stream gets there, and without waiting.
    EXPECT_EQ(takeCalls(), "cuMemAllocAsync 5 s0\ncuMemFreeAsync s0\n");
    EXPECT_EQ(usedBytes(), 5u);
    device.synchronize();
    EXPECT_EQ(usedBytes(), 0u);
    takeCalls();
    void *weights = device.allocateFor(MemoryUse::Weights, 6);
    device.free(weights);
    EXPECT_EQ(takeCalls(), "cuMemAlloc 6\ncuStreamSynchronize s0\ncuMemFree\n");
    EXPECT_EQ(device.allocate(0), nullptr);
    device.free(nullptr);
    EXPECT_EQ(takeCalls(), "");
  }
  EXPECT_EQ(takeCalls(), "cuStreamSynchronize s0\ncuStreamSynchronize s1\ncuStreamDestroy\ncuStreamDestroy\n"
                         "cuDevicePrimaryCtxRelease 100\n");
}

TEST_F(CudaMemoryTest, uploadsDoNotWait) {
  {
    CudaDevice device(0);
    auto *address = static_cast<char *>(device.allocate(8));
    takeCalls();
    char source[] = "abcd", out[5] = "";
    device.upload(address, source, 5);
    // The copy has not run, and what it copies is no longer here.
    std::memset(source, 'x', 4);
    EXPECT_EQ(takeCalls(), "cuMemHostAlloc 1048576\ncuMemcpyHtoDAsync 5 s0\n");
    device.download(out, address, 5);
    EXPECT_STREQ(out, "abcd");
    EXPECT_EQ(takeCalls(), "cuMemHostAlloc 4194304\ncuMemcpyDtoHAsync 5 s0\ncuStreamSynchronize s0\n");
    device.zero(address, 3);
    device.download(out, address, 5);
    EXPECT_EQ(out[2], 0);
    EXPECT_EQ(out[3], 'd');
    device.free(address);
  }
  EXPECT_EQ(pinnedBytes(), 0u);
  EXPECT_EQ(usedBytes(), 0u);
}

TEST_F(CudaMemoryTest, uploadsReuseTheirRing) {
  CudaDevice device(0);
  constexpr size_t count = 3 << 20;
  void *address = device.allocate(count * sizeof(int));
  std::vector<int> in(count), out(count);
  // 36 MiB through a ring of 4.
  for (int round = 0; round < 3; ++round) {
    std::iota(in.begin(), in.end(), round);
    device.upload(address, in.data(), count * sizeof(int));
    EXPECT_LE(pinnedBytes(), size_t(4 + 4) << 20);
    device.download(out.data(), address, count * sizeof(int));
    ASSERT_EQ(in, out);
  }
  takeCalls();
  device.upload(address, in.data(), count * sizeof(int));
  EXPECT_FALSE(contains(takeCalls(), "cuStreamSynchronize"));
  device.free(address);
}

TEST_F(CudaMemoryTest, weightsTravelWhileTheNextPieceIsMade) {
  CudaDevice device(0);
  constexpr size_t bytes = (size_t(16) << 20) * 5 + 12;
  auto *address = static_cast<std::byte *>(device.allocateFor(MemoryUse::Weights, bytes));
  takeCalls();
  std::vector<size_t> offsets;
  auto valueAt = [](size_t at) { return std::byte(at * 31 >> 8); };
  device.fill(address, bytes, [&](size_t offset, std::span<std::byte> piece) {
    offsets.push_back(offset);
    EXPECT_EQ(piece.size(), std::min<size_t>(size_t(16) << 20, bytes - offset));
    for (size_t i = 0; i < piece.size(); ++i)
      piece[i] = valueAt(offset + i);
  });
  EXPECT_EQ(offsets.size(), 6u);
  std::string calls = takeCalls();
  EXPECT_TRUE(contains(calls, "cuMemcpyHtoDAsync 16777216 s1\n")) << calls;
  // The first copy ends before its slot is filled again; the host waits for no stream.
  EXPECT_TRUE(contains(calls, "cuEventSynchronize s1\n"));
  EXPECT_FALSE(contains(calls, "cuStreamSynchronize"));
  EXPECT_EQ(pinnedBytes(), size_t(64) << 20);
  device.synchronize();
  EXPECT_EQ(pinnedBytes(), 0u);
  std::vector<std::byte> out(bytes);
  device.download(out.data(), address, bytes);
  for (size_t i = 0; i < bytes; i += 997)
    ASSERT_EQ(out[i], valueAt(i)) << i;
  device.free(address);
}

TEST_F(CudaMemoryTest, smallDownloadsAreTakenLater) {
  CudaDevice device(0);
  auto *address = static_cast<char *>(device.allocate(64));
  int64_t value = 0;
  std::vector<uint64_t> tickets;
  for (int64_t i = 0; i < 16; ++i) {
    device.upload(address, &i, 8);
    tickets.push_back(device.startDownload(address, 8));
  }
  EXPECT_TRUE(contains(errorOf([&] { device.startDownload(address, 8); }), "16 under way"));
  takeCalls();
  for (int64_t i = 0; i < 16; ++i) {
    device.finishDownload(tickets[size_t(i)], &value);
    EXPECT_EQ(value, i);
  }
  EXPECT_FALSE(contains(takeCalls(), "cuStreamSynchronize"));
  EXPECT_TRUE(contains(errorOf([&] { device.finishDownload(tickets[0], &value); }), "out of turn"));
  device.free(address);
}

TEST_F(CudaMemoryTest, saysWhatNeededHowMuch) {
  CudaDevice device(0);
  void *most = device.allocateFor(MemoryUse::Weights, size_t(70) << 30);
  EXPECT_EQ(errorOf([&] { device.allocateFor(MemoryUse::Weights, size_t(16) << 30); }),
            "not enough memory on Fake 100 (cuda:0): the model's weights need 16.0 GiB and 10.0 GiB of 80.0 GiB are "
            "free; use --device cpu, another GPU with --device cuda:N, or a smaller model");
  EXPECT_TRUE(contains(errorOf([&] { device.allocateFor(MemoryUse::Cache, size_t(11) << 30); }),
                       "the KV cache needs 11.0 GiB and 10.0 GiB of 80.0 GiB are free; use a smaller --ctx-size"));
  // What the pool holds is given back before that is said.
  takeCalls();
  EXPECT_TRUE(contains(errorOf([&] { device.allocate(size_t(11) << 30); }), "the temporaries of a step need 11.0 GiB"));
  EXPECT_TRUE(contains(takeCalls(), "cuMemPoolTrimTo 0\n"));
  device.free(most);
  failNext("cuMemAlloc");
  EXPECT_TRUE(contains(errorOf([&] { device.allocateFor(MemoryUse::Cache, 10); }), "allocating 10 bytes on Fake 100"));
}
