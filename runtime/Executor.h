//===- Executor.h - Runs the functions of a program -------------*- C++ -*-===//
//
// Part of mlsys, under the Apache License v2.0. See LICENSE.
//
//===----------------------------------------------------------------------===//
#pragma once

#include "runtime/Arena.h"
#include "runtime/Device.h"
#include "runtime/LaunchProfile.h"

#include <functional>
#include <map>
#include <memory>
#include <span>
#include <string>
#include <vector>

namespace mlsys::rt {

/// A dense row-major tensor in host memory that a caller passes in. Null data
/// stands for an input that no kernel reads, or that keeps what the call before gave it.
struct InputTensor {
  program::DType dtype;
  std::span<const int64_t> shape;
  const void *data;
};

/// Values of a function's symbols for which no input needs to be at hand: those
/// that are given, the others their hint (clamped to their range).
std::vector<int64_t> typicalSymbols(const program::Function &function,
                                    const std::map<std::string, int64_t> &given = {});

/// Bytes of each arena slot of a function for the given symbol values: the
/// largest of the buffers that lie in it.
std::vector<int64_t> slotSizes(const program::Function &function,
                               std::span<const int64_t> symbols);

/// A kernel that runs behind a function, as part of the same step.
struct TailLaunch {
  /// An input or output of the function by its index, or memory of the caller's.
  struct Argument {
    program::BufferKind kind;
    uint32_t index;
    void *address;
    bool operator==(const Argument &) const = default;
  };
  uint32_t kernel = 0;
  std::vector<Argument> buffers;
  std::vector<int64_t> symbols;
  int64_t grid[3] = {1, 1, 1};
  int threads = 32;
  uint32_t sharedBytes = 0;
  bool operator==(const TailLaunch &) const = default;
};

/// Runs functions of one target on one device. The launch list of a function is
/// evaluated once for each combination of symbol values and then kept, so that
/// a decode step only binds, copies its inputs and launches.
class Executor {
public:
  /// `constants` holds the device address of each constant of `target`, null for
  /// those of functions that are not called; `device` has loaded the kernels. All must outlive
  /// it.
  Executor(const program::TargetProgram &target, Device &device, std::vector<void *> constants);
  ~Executor();

  /// Gives the device address of the KV pages and how many there are, before the first call of a
  /// function that uses them.
  void setCache(void *address, int64_t pages);

  /// The index of a function by name; throws naming those there are.
  uint32_t functionIndex(std::string_view name) const;
  const program::Function &function(uint32_t index) const {
    return *target.functions()->Get(index);
  }

  /// Checks the inputs of a call and gives the shapes of its outputs. Throws
  /// rt::Error that names the input, its shape and the expected one.
  std::vector<std::vector<int64_t>> outputShapes(uint32_t function,
                                                 std::span<const InputTensor> inputs);

  /// Runs a function. `outputs` has host memory for each output of the size
  /// that its shape and type say; null for one that is not copied. `meanwhile` is called when the
  /// device works; it may call prepare().
  void run(uint32_t function, std::span<const InputTensor> inputs,
           std::span<void *const> outputs, const std::function<void()> &meanwhile = {});

  /// Starts a function and the launches of `tail` behind it and does not wait for them. Inputs
  /// without data keep what they hold.
  void start(uint32_t function, std::span<const InputTensor> inputs, std::span<const TailLaunch> tail);

  /// Gets ready for the first start() with inputs of these shapes. Does nothing where there is
  /// no room for it (see reserve).
  void prepare(uint32_t function, std::span<const InputTensor> inputs, std::span<const TailLaunch> tail);

  /// Makes room for calls of a function with these values of its symbols, so that addresses
  /// stay as they are when it is called with smaller ones.
  void reserve(uint32_t function, std::vector<int64_t> symbols);

  /// The device memory of an output, as the last call left it.
  const void *output(uint32_t index) const { return outputMemory.address(index); }

  /// While it is not null, each launch is waited for and recorded in it.
  void setProfile(LaunchProfile *wanted) { profile = wanted; }

  /// Device memory of temporaries, inputs and outputs now allocated.
  size_t arenaBytes() const;

private:
  struct Binding;

  void bindSymbols(const program::Function &function, std::span<const InputTensor> inputs);
  Binding &bind(uint32_t function, std::span<const InputTensor> inputs);
  std::unique_ptr<Binding> resolve(const program::Function &function) const;
  void place(Binding &binding);
  bool hasRoom(const Binding &binding) const;
  void upload(const Binding &binding, std::span<const InputTensor> inputs);
  void setTail(Binding &binding, std::span<const TailLaunch> tail);
  void launchAndRecord(const program::Function &function, const Binding &binding);

  const program::TargetProgram &target;
  Device &device;
  std::vector<void *> constants;
  void *cache = nullptr;
  uint64_t cachePages = 0;
  LaunchProfile *profile = nullptr;
  Arena temporaries, inputMemory, outputMemory;
  /// For each function the launch lists by symbol values.
  std::vector<std::map<std::vector<int64_t>, std::unique_ptr<Binding>>> bindings;
  std::vector<Binding *> lastBinding;
  /// Symbol values of the call being bound; a member to reuse its memory.
  std::vector<int64_t> symbols;
};

} // namespace mlsys::rt
