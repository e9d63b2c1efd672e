//===- DeviceTest.h - Runs CUDA text in unit tests --------------*- C++ -*-===//
//
// Part of mlsys, under the Apache License v2.0. See LICENSE.
//
//===----------------------------------------------------------------------===//
#pragma once

#include "runtime/Error.h"
#include "runtime/HostCudaDevice.h"

#include <gtest/gtest.h>

#include <bit>
#include <cmath>
#include <cstring>
#include <random>

namespace mlsys::rt::test {

inline const HostSchedule schedules[] = {HostSchedule::Forward, HostSchedule::Reverse, HostSchedule::Random};

/// A device buffer that a test fills and reads.
template <class T> struct DeviceBuffer {
  Device &device;
  size_t size;
  T *data;
  DeviceBuffer(Device &device, size_t size)
      : device(device), size(size), data(static_cast<T *>(device.allocate(size * sizeof(T)))) {}
  DeviceBuffer(Device &device, const std::vector<T> &values) : DeviceBuffer(device, values.size()) {
    device.upload(data, values.data(), values.size() * sizeof(T));
  }
  DeviceBuffer(const DeviceBuffer &) = delete;
  ~DeviceBuffer() { device.free(data); }
  std::vector<T> read() const {
    std::vector<T> values(size);
    device.download(values.data(), data, size * sizeof(T));
    return values;
  }
};

/// Launches kernel `kernel` of the device.
inline void launchKernel(Device &device, uint32_t kernel, std::vector<void *> buffers, std::vector<int64_t> symbols,
                         std::vector<int64_t> grid, int block, uint32_t sharedBytes = 0) {
  LaunchArgs args;
  args.kernel = kernel;
  args.buffers = buffers;
  args.symbols = symbols;
  for (size_t i = 0; i < grid.size(); ++i)
    args.grid[i] = grid[i];
  args.block[0] = block;
  args.sharedBytes = sharedBytes;
  device.launch(args);
}

inline float bf16ToFloat(uint16_t bits) {
  uint32_t word = uint32_t(bits) << 16;
  float value;
  std::memcpy(&value, &word, 4);
  return value;
}
inline uint16_t floatToBf16(float value) {
  uint32_t word;
  std::memcpy(&word, &value, 4);
  if (std::isnan(value))
    return 0x7fff;
  return static_cast<uint16_t>((word + 0x7fff + ((word >> 16) & 1)) >> 16);
}

/// n values of the normal distribution, rounded to bf16 so that every type holds them.
inline std::vector<float> randomValues(size_t n, unsigned seed, float scale = 1.0f) {
  std::mt19937 generator(seed);
  std::normal_distribution<float> normal(0.0f, scale);
  std::vector<float> values(n);
  for (float &value : values)
    value = bf16ToFloat(floatToBf16(normal(generator)));
  return values;
}

inline std::vector<uint16_t> toBf16(const std::vector<float> &values) {
  std::vector<uint16_t> bits(values.size());
  for (size_t i = 0; i < values.size(); ++i)
    bits[i] = floatToBf16(values[i]);
  return bits;
}

/// The bytes of `values` as elements of `type`: f32, f16 or bf16.
inline std::vector<char> encode(const std::string &type, const std::vector<float> &values) {
  size_t size = type == "f32" ? 4 : 2;
  std::vector<char> bytes(values.size() * size);
  for (size_t i = 0; i < values.size(); ++i) {
    _Float16 half = static_cast<_Float16>(values[i]);
    uint16_t brain = floatToBf16(values[i]);
    const void *from = &values[i];
    if (type != "f32")
      from = type == "f16" ? static_cast<const void *>(&half) : &brain;
    std::memcpy(&bytes[size * i], from, size);
  }
  return bytes;
}

/// The values of elements of `type`.
inline std::vector<float> decode(const std::string &type, const std::vector<char> &bytes) {
  size_t size = type == "f32" ? 4 : 2;
  std::vector<float> values(bytes.size() / size);
  for (size_t i = 0; i < values.size(); ++i) {
    uint16_t bits;
    _Float16 half;
    if (type == "f32") {
      std::memcpy(&values[i], &bytes[4 * i], 4);
      continue;
    }
    std::memcpy(&bits, &bytes[2 * i], 2);
    std::memcpy(&half, &bits, 2);
    values[i] = type == "bf16" ? bf16ToFloat(bits) : static_cast<float>(half);
  }
  return values;
}

/// The message of the rt::Error that `body` throws, "" when it throws none.
template <class Body> std::string errorOf(Body body) {
  try {
    body();
  } catch (const Error &error) {
    return error.what();
  }
  return "";
}

} // namespace mlsys::rt::test
