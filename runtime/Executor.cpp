//===- Executor.cpp - Runs the functions of a program -----------*- C++ -*-===//
//
// Part of mlsys, under the Apache License v2.0. See LICENSE.
//
//===----------------------------------------------------------------------===//
#include "runtime/Executor.h"

#include "runtime/Error.h"
#include "runtime/Expr.h"
#include "runtime/Program.h"

#include <algorithm>

using namespace mlsys;
using namespace mlsys::rt;
using program::BufferKind;

/// Launch lists kept for one function; prefill lengths vary without bound.
static constexpr size_t maxBindings = 64;

/// A function with its symbols bound and everything evaluated.
struct Executor::Binding {
  std::vector<int64_t> symbols;
  std::vector<std::vector<int64_t>> outputShapes;
  std::vector<size_t> inputBytes, outputBytes;
  /// Memory that the buffers need, at least the size of the tensors.
  std::vector<size_t> inputRoom, outputRoom, slotRoom;
  struct Argument {
    BufferKind kind;
    uint32_t index;
    uint64_t offset;
  };
  std::vector<Argument> arguments;
  /// Addresses of `arguments` for the arena's state `generation`.
  std::vector<void *> addresses;
  uint64_t generation = ~0ull;
  std::vector<int64_t> symbolArguments;
  /// Their bases are filled in with the addresses; `tensorArguments` says which of `arguments` those are.
  std::vector<TensorMapArgument> tensorMaps;
  std::vector<size_t> tensorArguments;
  std::vector<LaunchArgs> launches;
  /// The place of each of them in the list of its function.
  std::vector<uint32_t> launchIndices;
  /// What the device keeps of `launches` while the addresses hold.
  std::unique_ptr<LaunchRecording> recording;

  /// The launches with a tail behind them.
  struct WithTail {
    std::vector<TailLaunch> tail;
    std::vector<std::vector<void *>> addresses;
    std::vector<LaunchArgs> launches;
    std::unique_ptr<LaunchRecording> recording;
  };
  std::unique_ptr<WithTail> withTail;
};

static int64_t nonNegative(const program::Expr &expr, std::span<const int64_t> symbols,
                           std::string_view what) {
  int64_t value = evaluate(expr, symbols);
  if (value < 0)
    throw Error("{} is negative: {}", what, value);
  return value;
}

static std::vector<int64_t>
evaluateShape(const flatbuffers::Vector<flatbuffers::Offset<program::Expr>> *shape,
              std::span<const int64_t> symbols) {
  std::vector<int64_t> result;
  for (uint32_t i = 0; i < length(shape); ++i)
    result.push_back(nonNegative(*shape->Get(i), symbols, "a dimension"));
  return result;
}

std::vector<int64_t> rt::typicalSymbols(const program::Function &function,
                                        const std::map<std::string, int64_t> &given) {
  std::vector<int64_t> result;
  for (uint32_t i = 0; i < length(function.symbols()); ++i) {
    const program::Symbol &symbol = *function.symbols()->Get(i);
    auto found = given.find(symbol.name()->str());
    int64_t value = found == given.end() ? symbol.hint() : found->second;
    value = std::max(value, symbol.min());
    result.push_back(symbol.max() < 0 ? value : std::min(value, symbol.max()));
  }
  return result;
}

std::vector<int64_t> rt::slotSizes(const program::Function &function,
                                   std::span<const int64_t> symbols) {
  std::vector<int64_t> sizes(function.slots());
  for (uint32_t i = 0; i < length(function.buffers()); ++i) {
    const program::Buffer &buffer = *function.buffers()->Get(i);
    if (buffer.kind() != BufferKind::Temporary)
      continue;
    int64_t bytes = nonNegative(*buffer.bytes(), symbols, "the size of a temporary");
    sizes[buffer.index()] = std::max(sizes[buffer.index()], bytes);
  }
  return sizes;
}

Executor::Executor(const program::TargetProgram &target, Device &device,
                   std::vector<void *> constants)
    : target(target), device(device), constants(std::move(constants)), temporaries(device),
      inputMemory(device), outputMemory(device) {
  bindings.resize(length(target.functions()));
  lastBinding.resize(length(target.functions()));
}

Executor::~Executor() = default;

void Executor::setCache(void *address, int64_t pages) {
  cache = address;
  cachePages = static_cast<uint64_t>(pages);
  // Launch lists hold addresses.
  for (auto &known : bindings)
    known.clear();
  std::fill(lastBinding.begin(), lastBinding.end(), nullptr);
}

uint32_t Executor::functionIndex(std::string_view name) const {
  std::string names;
  for (uint32_t i = 0; i < length(target.functions()); ++i) {
    if (text(function(i).name()) == name)
      return i;
    names += (names.empty() ? "" : ", ") + function(i).name()->str();
  }
  throw Error("no function '{}'; the model has {}", name, names.empty() ? "none" : names);
}

/// The shape a port expects, in the words of its dimension names.
static std::string expectedShape(const program::Function &function, const program::Port &port) {
  std::vector<std::string> names, dims;
  for (uint32_t i = 0; i < length(function.symbols()); ++i)
    names.push_back(function.symbols()->Get(i)->name()->str());
  for (uint32_t i = 0; i < length(port.shape()); ++i)
    dims.push_back(length(port.dims()) > 0 && port.dims()->Get(i)->size() > 0
                       ? port.dims()->Get(i)->str()
                       : toString(*port.shape()->Get(i), names));
  return fmt::format("[{}]", fmt::join(dims, ", "));
}

void Executor::bindSymbols(const program::Function &function,
                           std::span<const InputTensor> inputs) {
  if (inputs.size() != length(function.inputs()))
    throw Error("function '{}' takes {} inputs, not {}", text(function.name()),
                length(function.inputs()), inputs.size());
  symbols.assign(length(function.symbols()), -1);
  for (uint32_t i = 0; i < inputs.size(); ++i) {
    const program::Port &port = *function.inputs()->Get(i);
    if (inputs[i].dtype != port.dtype())
      throw Error("input '{}' is {}, expected {}", text(port.name()), dtypeName(inputs[i].dtype),
                  dtypeName(port.dtype()));
    if (inputs[i].shape.size() != length(port.shape()))
      throw Error("input '{}' has shape {}, expected {}", text(port.name()),
                  shapeText(inputs[i].shape), expectedShape(function, port));
    for (uint32_t d = 0; d < length(port.shape()); ++d) {
      std::optional<uint32_t> symbol = asSymbol(*port.shape()->Get(d));
      if (!symbol)
        continue;
      int64_t extent = inputs[i].shape[d];
      const program::Symbol &range = *function.symbols()->Get(*symbol);
      if (extent < range.min() || (range.max() >= 0 && extent > range.max()))
        throw Error("input '{}' has shape {}, expected {} with {} from {} to {}",
                    text(port.name()), shapeText(inputs[i].shape), expectedShape(function, port),
                    text(range.name()), range.min(),
                    range.max() < 0 ? "any size" : std::to_string(range.max()));
      if (symbols[*symbol] >= 0 && symbols[*symbol] != extent)
        throw Error("input '{}' has shape {}, expected {} with {} = {} as in an earlier dimension",
                    text(port.name()), shapeText(inputs[i].shape), expectedShape(function, port),
                    text(range.name()), symbols[*symbol]);
      symbols[*symbol] = extent;
    }
  }
  // Symbols that no input names have a range of one value.
  for (uint32_t i = 0; i < symbols.size(); ++i)
    if (symbols[i] < 0)
      symbols[i] = function.symbols()->Get(i)->min();
  for (uint32_t i = 0; i < inputs.size(); ++i) {
    const program::Port &port = *function.inputs()->Get(i);
    for (uint32_t d = 0; d < length(port.shape()); ++d)
      if (evaluate(*port.shape()->Get(d), symbols) != inputs[i].shape[d])
        throw Error("input '{}' has shape {}, expected {} with {} = {}", text(port.name()),
                    shapeText(inputs[i].shape), expectedShape(function, port),
                    length(port.dims()) > 0 ? text(port.dims()->Get(d)) : "the dimension",
                    evaluate(*port.shape()->Get(d), symbols));
  }
}

std::unique_ptr<Executor::Binding> Executor::resolve(const program::Function &function) const {
  auto binding = std::make_unique<Binding>();
  binding->symbols = symbols;
  for (uint32_t i = 0; i < length(function.inputs()); ++i) {
    const program::Port &port = *function.inputs()->Get(i);
    binding->inputBytes.push_back(
        tensorBytes(port.dtype(), evaluateShape(port.shape(), symbols)));
  }
  for (uint32_t i = 0; i < length(function.outputs()); ++i) {
    const program::Port &port = *function.outputs()->Get(i);
    binding->outputShapes.push_back(evaluateShape(port.shape(), symbols));
    binding->outputBytes.push_back(tensorBytes(port.dtype(), binding->outputShapes.back()));
  }
  binding->inputRoom = binding->inputBytes;
  binding->outputRoom = binding->outputBytes;
  for (int64_t bytes : slotSizes(function, symbols))
    binding->slotRoom.push_back(size_t(bytes));
  std::vector<uint64_t> bufferBytes;
  for (uint32_t i = 0; i < length(function.buffers()); ++i) {
    const program::Buffer &buffer = *function.buffers()->Get(i);
    bufferBytes.push_back(uint64_t(nonNegative(*buffer.bytes(), symbols, "the size of a buffer")));
    if (buffer.kind() == BufferKind::Input || buffer.kind() == BufferKind::Output) {
      auto &room =
          buffer.kind() == BufferKind::Input ? binding->inputRoom : binding->outputRoom;
      room[buffer.index()] = std::max<size_t>(room[buffer.index()], bufferBytes.back());
    }
  }
  struct Ranges {
    size_t arguments, symbols, tensorMaps;
  };
  std::vector<Ranges> starts;
  for (uint32_t i = 0; i < length(function.launches()); ++i) {
    const program::Launch &launch = *function.launches()->Get(i);
    LaunchArgs args;
    args.kernel = launch.kernel();
    bool empty = false;
    for (uint32_t d = 0; d < length(launch.grid()); ++d) {
      args.grid[d] = nonNegative(*launch.grid()->Get(d), symbols, "a grid");
      empty |= args.grid[d] == 0;
    }
    if (empty)
      continue;
    checkedMul(checkedMul(args.grid[0], args.grid[1]), args.grid[2]);
    for (uint32_t d = 0; d < length(launch.block()); ++d)
      args.block[d] = launch.block()->Get(d);
    args.sharedBytes = launch.shared_bytes();
    if (launch.shared())
      args.sharedBytes = static_cast<uint32_t>(
          std::min<int64_t>(args.sharedBytes, nonNegative(*launch.shared(), symbols, "shared memory")));
    args.schedule = launch.schedule();
    args.grain = std::max<int64_t>(1, launch.grain());
    starts.push_back({binding->arguments.size(), binding->symbolArguments.size(), binding->tensorMaps.size()});
    for (uint32_t a = 0; a < length(launch.args()); ++a) {
      const program::BufferRef &ref = *launch.args()->Get(a);
      const program::Buffer &buffer = *function.buffers()->Get(ref.buffer());
      // The verifier has held offsets into the cache against the size of its pages.
      if (buffer.kind() != BufferKind::Cache && ref.offset() > bufferBytes[ref.buffer()])
        throw Error("function '{}', launch {}: offset {} is beyond a buffer of {} bytes",
                    text(function.name()), i, ref.offset(), bufferBytes[ref.buffer()]);
      if (buffer.kind() == BufferKind::Cache && !cache)
        throw Error("function '{}' needs a KV cache", text(function.name()));
      if (buffer.kind() == BufferKind::Constant && !constants[buffer.index()])
        throw Error("function '{}' needs the constant '{}', which is not loaded",
                    text(function.name()),
                    text(target.constants()->Get(buffer.index())->name()));
      binding->arguments.push_back({buffer.kind(), buffer.index(), ref.offset()});
      if (buffer.kind() != BufferKind::Constant)
        continue;
      const program::Constant &constant = *target.constants()->Get(buffer.index());
      if (constant.layout() == program::Layout::Panels && constant.bytes() > args.stream.size())
        args.stream = {static_cast<const std::byte *>(constants[buffer.index()]),
                       size_t(constant.bytes())};
    }
    for (uint32_t s = 0; s < length(launch.symbols()); ++s)
      binding->symbolArguments.push_back(evaluate(*launch.symbols()->Get(s), symbols));
    for (uint32_t t = 0; t < length(launch.tensor_maps()); ++t) {
      const program::TensorMap &map = *launch.tensor_maps()->Get(t);
      CachePages pages;
      if (target.cache())
        pages = {cachePages, target.cache()->page_bytes()};
      binding->tensorMaps.push_back(bindTensorMap(function, launch, map, symbols, bufferBytes, pages));
      binding->tensorArguments.push_back(starts.back().arguments + map.argument());
    }
    // A gather takes only rows of its panels.
    if (text(target.kernels()->Get(args.kernel)->kind()) != "dot")
      args.stream = {};
    binding->launches.push_back(args);
    binding->launchIndices.push_back(i);
  }
  // The vectors have their final addresses now.
  binding->addresses.resize(binding->arguments.size());
  for (size_t i = 0; i < starts.size(); ++i) {
    size_t argumentsEnd = i + 1 < starts.size() ? starts[i + 1].arguments
                                                : binding->arguments.size();
    size_t symbolsEnd = i + 1 < starts.size() ? starts[i + 1].symbols
                                              : binding->symbolArguments.size();
    size_t mapsEnd = i + 1 < starts.size() ? starts[i + 1].tensorMaps : binding->tensorMaps.size();
    binding->launches[i].tensorMaps =
        std::span(binding->tensorMaps).subspan(starts[i].tensorMaps, mapsEnd - starts[i].tensorMaps);
    binding->launches[i].buffers =
        std::span(binding->addresses).subspan(starts[i].arguments,
                                              argumentsEnd - starts[i].arguments);
    binding->launches[i].symbols =
        std::span(binding->symbolArguments).subspan(starts[i].symbols,
                                                    symbolsEnd - starts[i].symbols);
  }
  return binding;
}

Executor::Binding &Executor::bind(uint32_t index, std::span<const InputTensor> inputs) {
  bindSymbols(function(index), inputs);
  if (lastBinding[index] && lastBinding[index]->symbols == symbols)
    return *lastBinding[index];
  auto &known = bindings[index];
  auto found = known.find(symbols);
  if (found == known.end()) {
    auto resolved = resolve(function(index));
    if (known.size() >= maxBindings) {
      lastBinding[index] = nullptr;
      known.clear();
    }
    found = known.emplace(symbols, std::move(resolved)).first;
  }
  lastBinding[index] = found->second.get();
  return *found->second;
}

std::vector<std::vector<int64_t>> Executor::outputShapes(uint32_t index,
                                                         std::span<const InputTensor> inputs) {
  return bind(index, inputs).outputShapes;
}

/// Makes room for a call and fills in the addresses when any has changed.
void Executor::place(Binding &binding) {
  for (size_t i = 0; i < binding.slotRoom.size(); ++i)
    temporaries.reserve(i, binding.slotRoom[i]);
  for (size_t i = 0; i < binding.inputRoom.size(); ++i)
    inputMemory.reserve(i, binding.inputRoom[i]);
  for (size_t i = 0; i < binding.outputRoom.size(); ++i)
    outputMemory.reserve(i, binding.outputRoom[i]);
  uint64_t generation =
      temporaries.generation() + inputMemory.generation() + outputMemory.generation();
  if (binding.generation == generation)
    return;
  for (size_t i = 0; i < binding.arguments.size(); ++i) {
    const Binding::Argument &argument = binding.arguments[i];
    void *base = nullptr;
    switch (argument.kind) {
    case BufferKind::Input:
      base = inputMemory.address(argument.index);
      break;
    case BufferKind::Output:
      base = outputMemory.address(argument.index);
      break;
    case BufferKind::Constant:
      base = constants[argument.index];
      break;
    case BufferKind::Temporary:
      base = temporaries.address(argument.index);
      break;
    case BufferKind::Cache:
      base = cache;
      break;
    }
    binding.addresses[i] = static_cast<char *>(base) + argument.offset;
  }
  for (size_t i = 0; i < binding.tensorMaps.size(); ++i)
    binding.tensorMaps[i].base = binding.addresses[binding.tensorArguments[i]];
  binding.generation = generation;
  binding.recording.reset();
  binding.withTail.reset();
}

bool Executor::hasRoom(const Binding &binding) const {
  auto holds = [](const Arena &arena, const std::vector<size_t> &room) {
    for (size_t i = 0; i < room.size(); ++i)
      if (!arena.holds(i, room[i]))
        return false;
    return true;
  };
  return holds(temporaries, binding.slotRoom) && holds(inputMemory, binding.inputRoom) &&
         holds(outputMemory, binding.outputRoom);
}

void Executor::prepare(uint32_t index, std::span<const InputTensor> inputs, std::span<const TailLaunch> tail) {
  Binding &binding = bind(index, inputs);
  if (!hasRoom(binding))
    return;
  place(binding);
  setTail(binding, tail);
  device.prepare(binding.withTail->launches, binding.withTail->recording);
}

void Executor::reserve(uint32_t index, std::vector<int64_t> wanted) {
  symbols = std::move(wanted);
  std::unique_ptr<Binding> binding = resolve(function(index));
  place(*binding);
}

void Executor::upload(const Binding &binding, std::span<const InputTensor> inputs) {
  for (size_t i = 0; i < inputs.size(); ++i)
    if (inputs[i].data)
      device.upload(inputMemory.address(i), inputs[i].data, binding.inputBytes[i]);
}

void Executor::setTail(Binding &binding, std::span<const TailLaunch> tail) {
  if (binding.withTail && std::ranges::equal(binding.withTail->tail, tail))
    return;
  auto made = std::make_unique<Binding::WithTail>();
  made->tail.assign(tail.begin(), tail.end());
  made->launches = binding.launches;
  for (const TailLaunch &launch : made->tail) {
    std::vector<void *> &addresses = made->addresses.emplace_back();
    for (const TailLaunch::Argument &argument : launch.buffers)
      addresses.push_back(argument.kind == BufferKind::Input    ? inputMemory.address(argument.index)
                          : argument.kind == BufferKind::Output ? outputMemory.address(argument.index)
                                                                : argument.address);
    LaunchArgs &args = made->launches.emplace_back();
    args.kernel = launch.kernel;
    args.buffers = addresses;
    args.symbols = launch.symbols;
    std::copy(std::begin(launch.grid), std::end(launch.grid), args.grid);
    args.block[0] = launch.threads;
    args.sharedBytes = launch.sharedBytes;
  }
  binding.withTail = std::move(made);
}

void Executor::start(uint32_t index, std::span<const InputTensor> inputs, std::span<const TailLaunch> tail) {
  Binding &binding = bind(index, inputs);
  place(binding);
  setTail(binding, tail);
  upload(binding, inputs);
  device.replay(binding.withTail->launches, binding.withTail->recording);
}

void Executor::launchAndRecord(const program::Function &function, const Binding &binding) {
  ++profile->calls[&function];
  std::vector<double> seconds = device.timeLaunches(binding.launches);
  for (size_t i = 0; i < binding.launches.size(); ++i) {
    const program::Launch &launch = *function.launches()->Get(binding.launchIndices[i]);
    auto count = [&](const program::Expr *expr) {
      return expr ? std::max<int64_t>(0, evaluate(*expr, binding.symbols)) : 0;
    };
    profile->records.push_back({&function, &launch, target.kernels()->Get(launch.kernel()), seconds[i],
                                count(launch.bytes()), count(launch.flops())});
  }
}

void Executor::run(uint32_t index, std::span<const InputTensor> inputs,
                   std::span<void *const> outputs, const std::function<void()> &meanwhile) {
  Binding &binding = bind(index, inputs);
  place(binding);
  upload(binding, inputs);
  if (profile)
    launchAndRecord(function(index), binding);
  else if (function(index).phase() == program::Phase::Decode)
    // Prompts are of any length, decode steps of few shapes.
    device.replay(binding.launches, binding.recording);
  else
    device.launchAll(binding.launches);
  if (meanwhile)
    meanwhile();
  for (size_t i = 0; i < outputs.size(); ++i)
    if (outputs[i])
      device.download(outputs[i], outputMemory.address(i), binding.outputBytes[i]);
  device.synchronize();
}

size_t Executor::arenaBytes() const {
  return temporaries.totalBytes() + inputMemory.totalBytes() + outputMemory.totalBytes();
}
