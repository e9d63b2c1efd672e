//===- ProgramModel.cpp - Models that run a compiled program ----*- C++ -*-===//
//
// Part of mlsys, under the Apache License v2.0. See LICENSE.
//
//===----------------------------------------------------------------------===//
#include "runtime/ProgramModel.h"

#include "runtime/DeviceKernels.h"
#include "runtime/Devices.h"
#include "runtime/Error.h"
#include "runtime/Executor.h"
#include "runtime/Expr.h"
#include "runtime/ProgramDecodeLoop.h"
#include "runtime/ThreadPool.h"
#include "runtime/WeightLoader.h"

#include <algorithm>
#include <bit>
#include <chrono>
#include <cstdlib>
#include <cstring>
#include <future>
#include <limits>
#include <utility>

using namespace mlsys;
using namespace mlsys::rt;
using program::DType;
using program::Phase;
using program::Role;

/// The KV cache takes no more unless --ctx-size asks for it.
static constexpr int64_t defaultCacheBytes = 4ll << 30;
/// Tokens a prefill step does best where the program sets no limit.
static constexpr int64_t defaultChunk = 512;
/// The same on a GPU, which fewer tokens do not fill.
static constexpr int64_t defaultGpuChunk = 2048;
/// Pages of an encoder's cache, which has one layer, beyond those of its longest request: many
/// short requests in one step have a page each.
static constexpr int64_t encoderPages = 32;
/// The context of a model that does not say its own.
static constexpr int64_t defaultContext = 4096;

namespace {

/// A program on a device, with its constants in device memory.
class ProgramOnDevice {
public:
  ProgramOnDevice(LoadedProgram loaded, const OpenOptions &options);
  ~ProgramOnDevice();
  ProgramOnDevice(const ProgramOnDevice &) = delete;
  ProgramOnDevice &operator=(const ProgramOnDevice &) = delete;

  LoadedProgram program;
  std::unique_ptr<Device> device;
  const program::TargetProgram *target = nullptr;
  std::unique_ptr<Executor> executor;
  void *cache = nullptr;

private:
  void loadConstants(const OpenOptions &options);
  void loadConstant(const program::Constant &constant, const WeightFiles &files, void *address,
                    const ParallelFor &parallelFor);
  bool isMadeOnDevice(const program::Constant &constant) const;
  void makeRandomConstants();
  void placeConstants(const std::vector<bool> &used);
  void freeMemory();

  /// The address of each constant that is used; null for the others.
  std::vector<void *> constants;
  /// What they were allocated as.
  std::vector<void *> blocks;
};

class ProgramLanguageModel : public LanguageModel {
public:
  ProgramLanguageModel(std::unique_ptr<ProgramOnDevice> on, int64_t contextTokens);
  ~ProgramLanguageModel() override {
    for (auto [requests, memory] : loopMemory)
      on->device->free(memory);
  }

  int64_t contextLength() const override { return context; }
  int64_t vocabSize() const override { return vocabulary; }
  int64_t idLimit() const override { return ids; }
  bool bidirectional() const override { return encoder; }
  bool perToken() const override { return everyToken; }
  int64_t window() const override { return target.cache()->window(); }
  int64_t pageSize() const override { return target.cache()->page_size(); }
  int64_t pageCount() const override { return pages; }
  int64_t maxStepTokens() const override { return stepTokens; }
  int64_t preferredChunk() const override {
    return std::min(stepTokens, on->device->hostAccessible() ? defaultChunk : defaultGpuChunk);
  }
  void zeroPages(std::span<const int32_t> pages) override;
  void step(const StepBatch &batch, std::span<float> logits) override;
  std::unique_ptr<DecodeLoop> decode(const StepBatch &first, std::span<const DeviceSampling> how) override;
  void expectDecode(int64_t requests, int64_t maxPages) override { expected = {requests, maxPages}; }
  bool setProfile(LaunchProfile *profile) override {
    on->executor->setProfile(profile);
    profiled = profile != nullptr;
    return true;
  }

private:
  void readFunction(uint32_t index);
  void sizeCache(int64_t contextTokens);
  void reserveDecode();
  /// What decode() needs of a number of requests: the function, the kernels, memory. Nothing where it
  /// cannot be.
  struct LoopParts {
    uint32_t function;
    SampleKernels kernels;
    void *memory;
  };
  std::optional<LoopParts> loopParts(int64_t requests);
  void prepareExpected();
  void call(uint32_t function, const StepBatch &batch, float *logits);
  void callPadded(uint32_t function, int64_t bucket, const StepBatch &batch,
                  std::span<float> logits);

  std::unique_ptr<ProgramOnDevice> on;
  const program::TargetProgram &target;
  /// A decode function takes `bucket` requests, or any number up to it.
  struct Decode {
    int64_t bucket;
    uint32_t function;
    bool anyNumber;
    bool takes(int64_t requests) const { return anyNumber ? requests <= bucket : requests == bucket; }
  };
  /// Function indices; decode ones by bucket.
  std::optional<uint32_t> prefill;
  std::vector<Decode> decodes;
  int64_t context = 0, vocabulary = 0, ids = 0, pages = 0, stepTokens = 1;
  bool encoder = false, everyToken = false;
  bool profiled = false;
  /// Requests and width of the block table of the decode steps that are likely to follow; 0: none.
  std::pair<int64_t, int64_t> expected = {0, 0};
  /// Of decode loops, by their number of requests.
  std::map<int64_t, void *> loopMemory;
  /// Memory of callPadded, reused.
  struct {
    std::vector<int64_t> ids, slots, tokenTypes;
    std::vector<int32_t> positions, queryStart, contextLength, blockTable;
    std::vector<float> logits;
  } padded;
};

class ProgramTensorModel : public TensorModel {
public:
  explicit ProgramTensorModel(std::unique_ptr<ProgramOnDevice> on) : on(std::move(on)) {}

  std::vector<std::string> functions() const override;
  std::vector<TensorPort> inputs(const std::string &function) const override;
  std::vector<HostTensor> run(const std::string &function,
                              const std::vector<HostTensor> &inputs) override;
  ResidentCall makeResident(const std::string &function,
                            const std::map<std::string, int64_t> &symbols) override;
  bool setProfile(LaunchProfile *profile) override {
    on->executor->setProfile(profile);
    return true;
  }

private:
  uint32_t find(const std::string &name) const;
  int64_t idLimitOf(const program::Function &function) const;

  std::unique_ptr<ProgramOnDevice> on;
};

} // namespace

/// Whether a program that is opened for `purpose` is one of steps.
static bool wantsSteps(const program::TargetProgram &target, Purpose purpose) {
  if (purpose != Purpose::Any)
    return purpose == Purpose::Text;
  for (uint32_t i = 0; i < length(target.functions()); ++i)
    if (target.functions()->Get(i)->phase() != Phase::Plain)
      return true;
  return false;
}

ProgramOnDevice::ProgramOnDevice(LoadedProgram loaded, const OpenOptions &options)
    : program(std::move(loaded)) {
  DeviceOptions wanted = options.device;
  wanted.device = resolveDevice(wanted.device, program);
  device = createDevice(wanted);
  target = &program.target(device->target(), device->arch());
  try {
    // Kernels are compiled while the weights are loaded.
    std::future<void> kernels = std::async(std::launch::async, [this] { device->load(*target); });
    loadConstants(options);
    kernels.get();
    makeRandomConstants();
    executor = std::make_unique<Executor>(*target, *device, constants);
  } catch (...) {
    freeMemory();
    throw;
  }
}

ProgramOnDevice::~ProgramOnDevice() {
  executor.reset();
  freeMemory();
}

void ProgramOnDevice::freeMemory() {
  for (void *block : blocks)
    device->free(block);
  if (cache)
    device->free(cache);
}

/// On the CPU all constants lie in one block, so that small ones, too, are on large pages and
/// none wastes the rest of a page; on a GPU, too. The host executor guards each by itself.
void ProgramOnDevice::placeConstants(const std::vector<bool> &used) {
  constexpr int64_t alignment = 256;
  bool together = device->target() == "cpu" || !device->hostAccessible();
  std::vector<int64_t> offsets(used.size());
  int64_t total = 0;
  constants.assign(used.size(), nullptr);
  for (size_t i = 0; i < used.size(); ++i) {
    if (!used[i])
      continue;
    auto bytes = std::max(int64_t(target->constants()->Get(uint32_t(i))->bytes()), int64_t(1));
    if (together) {
      offsets[i] = total;
      total = checkedAdd(total, checkedAdd(bytes, alignment - 1) / alignment * alignment);
    } else {
      constants[i] = blocks.emplace_back(device->allocateFor(MemoryUse::Weights, size_t(bytes)));
    }
  }
  if (!together || total == 0)
    return;
  auto *block = static_cast<std::byte *>(blocks.emplace_back(device->allocateFor(MemoryUse::Weights, size_t(total))));
  for (size_t i = 0; i < used.size(); ++i)
    if (used[i])
      constants[i] = block + offsets[i];
}

void ProgramOnDevice::loadConstants(const OpenOptions &options) {
  // Those that functions of the wanted kind use; one may serve several.
  std::vector<bool> used(length(target->constants()));
  for (uint32_t f = 0; f < length(target->functions()); ++f) {
    const program::Function &function = *target->functions()->Get(f);
    if ((function.phase() == Phase::Plain) == wantsSteps(*target, options.purpose))
      continue;
    for (uint32_t i = 0; i < length(function.buffers()); ++i)
      if (function.buffers()->Get(i)->kind() == program::BufferKind::Constant)
        used[function.buffers()->Get(i)->index()] = true;
  }
  uint64_t total = 0, done = 0;
  for (size_t i = 0; i < used.size(); ++i)
    if (used[i])
      total += target->constants()->Get(uint32_t(i))->bytes();
  placeConstants(used);
  if (total == 0)
    return;
  WeightFiles files(program.get(), program.baseDir(), program.appendedData(),
                    program.isMapped());
  ThreadPool pool(options.device.threads);
  // Memory belongs to the NUMA node whose worker writes it first: with several, each worker loads
  // the part of a constant that it will read.
  auto schedule = CpuTopology::detect().nodes > 1 ? program::Schedule::Static
                                                  : program::Schedule::Dynamic;
  ParallelFor parallelFor = [&](int64_t count,
                                const std::function<void(int64_t, int64_t)> &body) {
    pool.parallelFor(count, schedule, std::max<int64_t>(1, count / (8 * pool.size())),
                     [&](int64_t begin, int64_t end, int) { body(begin, end); });
  };
  for (size_t i = 0; i < used.size(); ++i) {
    if (!used[i])
      continue;
    const program::Constant &constant = *target->constants()->Get(uint32_t(i));
    if (options.progress)
      options.progress(done, total);
    done += constant.bytes();
    if (isMadeOnDevice(constant))
      continue;
    loadConstant(constant, files, constants[i], parallelFor);
  }
  device->synchronize();
  if (options.progress)
    options.progress(done, total);
}

/// True for random numbers that a kernel of the program makes where they are wanted.
bool ProgramOnDevice::isMadeOnDevice(const program::Constant &constant) const {
  return findKernel(*target, randomKind) && length(constant.sources()) == 1 &&
         WeightFiles::isRandom(*constant.sources()->Get(0)) && constant.layout() == program::Layout::RowMajor &&
         (constant.dtype() == DType::F32 || constant.dtype() == DType::BF16 || constant.dtype() == DType::F16);
}

void ProgramOnDevice::makeRandomConstants() {
  for (size_t i = 0; i < constants.size(); ++i) {
    const program::Constant &constant = *target->constants()->Get(uint32_t(i));
    if (!constants[i] || constant.bytes() == 0 || !isMadeOnDevice(constant))
      continue;
    const program::WeightSource &source = *constant.sources()->Get(0);
    int64_t type = constant.dtype() == DType::F32 ? 0 : constant.dtype() == DType::BF16 ? 1 : 2;
    int64_t count = int64_t(constant.bytes()) / (type == 0 ? 4 : 2);
    auto bits = [](float value) { return int64_t(std::bit_cast<uint32_t>(value)); };
    int64_t symbols[] = {type, count, int64_t(source.random_seed()), bits(source.random_mean()),
                         bits(source.random_spread())};
    LaunchArgs args;
    args.kernel = *findKernel(*target, randomKind);
    args.buffers = std::span<void *const>(&constants[i], 1);
    args.symbols = symbols;
    // Each thread makes several runs of 16 bytes.
    args.grid[0] = std::clamp<int64_t>(count / (randomThreads * 32), 1, 4096);
    args.block[0] = randomThreads;
    device->launch(args);
  }
}

void ProgramOnDevice::loadConstant(const program::Constant &constant, const WeightFiles &files, void *address,
                                   const ParallelFor &parallelFor) {
  ConstantLoader loader(constant, files);
  if (loader.hasPieces()) {
    device->fill(address, constant.bytes(), [&](size_t offset, std::span<std::byte> piece) {
      loader.load(offset, piece, parallelFor);
    });
    return;
  }
  std::vector<std::byte> staging;
  std::span<std::byte> memory(static_cast<std::byte *>(address), constant.bytes());
  if (!device->hostAccessible()) {
    staging.resize(constant.bytes());
    memory = staging;
  }
  loader.load(0, memory, parallelFor);
  if (!staging.empty())
    device->upload(address, staging.data(), staging.size());
}

/// The input of a function that has a role; step functions have each.
static const program::Port &portWithRole(const program::Function &function, Role role) {
  for (const program::Port *port : *function.inputs())
    if (port->role() == role)
      return *port;
  throw Error("function '{}' has no input {}", text(function.name()),
              program::EnumNameRole(role));
}

ProgramLanguageModel::ProgramLanguageModel(std::unique_ptr<ProgramOnDevice> owned,
                                           int64_t contextTokens)
    : on(std::move(owned)), target(*on->target) {
  for (uint32_t i = 0; i < length(target.functions()); ++i)
    if (target.functions()->Get(i)->phase() != Phase::Plain)
      readFunction(i);
  std::sort(decodes.begin(), decodes.end(), [](const Decode &a, const Decode &b) { return a.bucket < b.bucket; });
  if (!prefill && decodes.empty())
    throw Error("{} is no language model: it has no prefill or decode function",
                on->program.name());
  sizeCache(contextTokens);
  on->cache = on->device->allocateFor(
      MemoryUse::Cache, size_t(checkedMul(pages, int64_t(target.cache()->page_bytes()))));
  on->executor->setCache(on->cache, pages);
  if (!on->device->hostAccessible())
    reserveDecode();
}

/// Makes room for decode steps of any context, the largest first, so that no later one moves what
/// graphs of the others refer to.
void ProgramLanguageModel::reserveDecode() {
  int64_t widest = (context + pageSize() - 1) / pageSize();
  for (auto at = decodes.rbegin(); at != decodes.rend(); ++at) {
    const program::Function &function = *target.functions()->Get(at->function);
    std::map<std::string, int64_t> given;
    const program::Port &table = portWithRole(function, Role::BlockTable);
    for (auto [dimension, value] : {std::pair(0, at->bucket), std::pair(1, widest)})
      if (std::optional<uint32_t> symbol = asSymbol(*table.shape()->Get(dimension)))
        given[function.symbols()->Get(*symbol)->name()->str()] = value;
    on->executor->reserve(at->function, typicalSymbols(function, given));
  }
}

std::optional<ProgramLanguageModel::LoopParts> ProgramLanguageModel::loopParts(int64_t requests) {
  std::optional<SampleKernels> kernels = SampleKernels::find(target);
  auto found =
      std::find_if(decodes.begin(), decodes.end(), [&](const Decode &decode) { return decode.takes(requests); });
  const char *wanted = std::getenv("MLSYS_DEVICE_SAMPLING");
  if (!kernels || found == decodes.end() || profiled || (wanted && std::string_view(wanted) == "0") ||
      !ProgramDecodeLoop::supports(*target.functions()->Get(found->function)))
    return std::nullopt;
  void *&memory = loopMemory[requests];
  if (!memory)
    memory = on->device->allocate(ProgramDecodeLoop::memoryBytes(*target.functions()->Get(found->function), requests));
  return LoopParts{found->function, *kernels, memory};
}

std::unique_ptr<DecodeLoop> ProgramLanguageModel::decode(const StepBatch &first,
                                                         std::span<const DeviceSampling> how) {
  std::optional<LoopParts> parts = loopParts(first.requests());
  if (!parts)
    return nullptr;
  return std::make_unique<ProgramDecodeLoop>(*on->device, *on->executor, parts->function, parts->kernels, pageSize(),
                                             parts->memory, first, how);
}

void ProgramLanguageModel::prepareExpected() {
  auto [requests, maxPages] = std::exchange(expected, {0, 0});
  if (requests == 0)
    return;
  if (std::optional<LoopParts> parts = loopParts(requests))
    ProgramDecodeLoop::prepare(*on->executor, parts->function, requests, parts->kernels, pageSize(), parts->memory, maxPages);
}

/// Takes a function of phase prefill or decode into the model.
void ProgramLanguageModel::readFunction(uint32_t index) {
  const program::Function &function = *target.functions()->Get(index);
  for (const program::Port *port : *function.inputs())
    if (port->role() == Role::Tensor)
      throw Error("function '{}' has an input '{}' that no language model step has",
                  text(function.name()), text(port->name()));
  const program::Port *logits = nullptr;
  for (const program::Port *port : *function.outputs())
    if (port->role() == Role::Logits)
      logits = port;
  std::optional<int64_t> columns = asConstant(*logits->shape()->Get(1));
  if (!columns || *columns < 1 || (vocabulary != 0 && vocabulary != *columns) ||
      length(function.outputs()) != 1)
    throw Error("function '{}' has logits of no fixed vocabulary", text(function.name()));
  bool first = !prefill && decodes.empty();
  if (!first && (function.per_token() != everyToken || function.bidirectional() != encoder))
    throw Error("function '{}' is of another kind than the functions before it",
                text(function.name()));
  vocabulary = *columns;
  everyToken = function.per_token();
  encoder = function.bidirectional();
  if (function.phase() == Phase::Decode)
    decodes.push_back({function.bucket(), index, !asConstant(*portWithRole(function, Role::TokenIds).shape()->Get(0))});
  else
    prefill = index;
}

/// Chooses the context and what follows from it.
void ProgramLanguageModel::sizeCache(int64_t contextTokens) {
  const program::TextModel *textModel = on->program->text();
  int64_t limit = textModel && textModel->context_length() > 0 ? textModel->context_length()
                                                               : int64_t(1) << 30;
  ids = textModel && textModel->vocab_size() > 0 ? textModel->vocab_size() : vocabulary;
  if (contextTokens < 0 || contextTokens > limit)
    throw Error("--ctx-size {} is not in the range of 1 to {} of this model", contextTokens,
                limit);
  context = contextTokens > 0 ? contextTokens
            : limit < int64_t(1) << 30 ? limit
                                       : defaultContext;
  int64_t pageBytes = int64_t(target.cache()->page_bytes());
  auto pagesOf = [&](int64_t tokens) { return (tokens + pageSize() - 1) / pageSize(); };
  // Of a context that is larger than the window only so many tokens are kept.
  auto kept = [&](int64_t tokens) {
    return window() > 0 ? std::min(tokens, window() + defaultChunk + 2 * pageSize()) : tokens;
  };
  pages = pagesOf(kept(context));
  if (contextTokens == 0 && checkedMul(pages, pageBytes) > defaultCacheBytes) {
    pages = std::max<int64_t>(1, defaultCacheBytes / pageBytes);
    context = pages * pageSize();
  }
  if (encoder)
    pages += encoderPages;

  if (prefill) {
    const program::Function &function = *target.functions()->Get(*prefill);
    const program::Expr &tokens = *portWithRole(function, Role::TokenIds).shape()->Get(0);
    stepTokens = context;
    if (std::optional<uint32_t> symbol = asSymbol(tokens)) {
      int64_t most = function.symbols()->Get(*symbol)->max();
      stepTokens = most < 0 ? context : std::max<int64_t>(1, std::min(most, context));
      if (window() > 0)
        stepTokens = std::min(stepTokens, defaultChunk);
    } else if (std::optional<int64_t> fixed = asConstant(tokens)) {
      throw Error("the prefill function takes exactly {} tokens, expected any number", *fixed);
    }
  }
}

void ProgramLanguageModel::zeroPages(std::span<const int32_t> fresh) {
  size_t pageBytes = target.cache()->page_bytes();
  for (int32_t page : fresh) {
    if (page < 0 || page >= pages)
      throw Error("page {} of {}", page, pages);
    on->device->zero(static_cast<char *>(on->cache) + size_t(page) * pageBytes, pageBytes);
  }
}

void ProgramLanguageModel::call(uint32_t index, const StepBatch &batch, float *logits) {
  StepInputs inputs(*target.functions()->Get(index), batch, batch.tokens(), batch.requests());
  void *outputs[] = {logits};
  on->executor->run(index, inputs.get(), outputs, [&] { prepareExpected(); });
}

/// Fills a batch of single tokens up to the bucket with requests that read and
/// write nothing.
void ProgramLanguageModel::callPadded(uint32_t function, int64_t bucket, const StepBatch &batch,
                                      std::span<float> logits) {
  size_t size = size_t(bucket);
  padded.ids.assign(batch.ids.begin(), batch.ids.end());
  padded.ids.resize(size, 0);
  padded.positions.assign(batch.positions.begin(), batch.positions.end());
  padded.positions.resize(size, 0);
  padded.slots.assign(batch.slots.begin(), batch.slots.end());
  padded.slots.resize(size, -1);
  padded.contextLength.assign(batch.contextLength.begin(), batch.contextLength.end());
  padded.contextLength.resize(size, 0);
  padded.blockTable.assign(batch.blockTable.begin(), batch.blockTable.end());
  padded.blockTable.resize(size * size_t(batch.maxPages), 0);
  padded.queryStart.resize(size + 1);
  for (size_t i = 0; i <= size; ++i)
    padded.queryStart[i] = int32_t(i);
  padded.logits.resize(size * size_t(vocabulary));
  StepBatch full{padded.ids,           padded.positions,     padded.slots,  padded.queryStart,
                 padded.contextLength, padded.blockTable, batch.maxPages, {}};
  if (!batch.tokenTypes.empty()) {
    padded.tokenTypes.assign(batch.tokenTypes.begin(), batch.tokenTypes.end());
    padded.tokenTypes.resize(size, 0);
    full.tokenTypes = padded.tokenTypes;
  }
  call(function, full, padded.logits.data());
  std::copy_n(padded.logits.begin(), logits.size(), logits.begin());
}

void ProgramLanguageModel::step(const StepBatch &batch, std::span<float> logits) {
  int64_t tokens = batch.tokens(), requests = batch.requests();
  if (tokens < 1 || requests < 1 || batch.maxPages < 1 ||
      int64_t(batch.positions.size()) != tokens || int64_t(batch.slots.size()) != tokens ||
      int64_t(batch.queryStart.size()) != requests + 1 ||
      int64_t(batch.blockTable.size()) != requests * batch.maxPages ||
      (!batch.tokenTypes.empty() && int64_t(batch.tokenTypes.size()) != tokens) ||
      int64_t(logits.size()) != rows(tokens, requests) * vocabulary)
    throw Error("a step's arrays do not fit its {} tokens of {} requests", tokens, requests);
  if (tokens == requests) {
    for (const Decode &decode : decodes) {
      if (decode.takes(requests))
        return call(decode.function, batch, logits.data());
      if (decode.bucket > requests)
        return callPadded(decode.function, decode.bucket, batch, logits);
    }
  }
  if (!prefill)
    throw Error("the model has no function for {} tokens of {} requests", tokens, requests);
  call(*prefill, batch, logits.data());
}

std::vector<std::string> ProgramTensorModel::functions() const {
  std::vector<std::string> names;
  for (uint32_t i = 0; i < length(on->target->functions()); ++i)
    if (on->executor->function(i).phase() == Phase::Plain)
      names.push_back(on->executor->function(i).name()->str());
  return names;
}

uint32_t ProgramTensorModel::find(const std::string &name) const {
  std::vector<std::string> names = functions();
  uint32_t index = on->executor->functionIndex(name);
  if (on->executor->function(index).phase() != Phase::Plain)
    throw Error("function '{}' works on the KV cache of a generation; run takes {}", name,
                names.empty() ? "none of this model" : fmt::format("{}", fmt::join(names, ", ")));
  return index;
}

/// What token ids are smaller than: the size of the vocabulary. A model that does not say it
/// has it as the last extent of a plain function's logits; 0 when that is not fixed.
int64_t ProgramTensorModel::idLimitOf(const program::Function &function) const {
  if (const program::TextModel *model = on->program->text(); model && model->vocab_size() > 0)
    return model->vocab_size();
  if (length(function.outputs()) == 0 || length(function.outputs()->Get(0)->shape()) == 0)
    return 0;
  const auto &shape = *function.outputs()->Get(0)->shape();
  return std::max<int64_t>(0, asConstant(*shape.Get(shape.size() - 1)).value_or(0));
}

std::vector<TensorPort> ProgramTensorModel::inputs(const std::string &name) const {
  const program::Function &function = on->executor->function(find(name));
  std::vector<std::string> symbols;
  for (uint32_t i = 0; i < length(function.symbols()); ++i)
    symbols.push_back(function.symbols()->Get(i)->name()->str());
  std::vector<TensorPort> result;
  for (uint32_t i = 0; i < length(function.inputs()); ++i) {
    const program::Port &port = *function.inputs()->Get(i);
    TensorPort info{port.name()->str(), port.dtype(), {}, 0};
    if (port.role() == Role::TokenIds)
      info.idLimit = idLimitOf(function);
    for (uint32_t d = 0; d < length(port.shape()); ++d)
      info.dims.push_back(toString(*port.shape()->Get(d), symbols));
    result.push_back(std::move(info));
  }
  return result;
}

std::vector<HostTensor> ProgramTensorModel::run(const std::string &name,
                                                const std::vector<HostTensor> &inputs) {
  uint32_t index = find(name);
  checkInputs(this->inputs(name), inputs);
  std::vector<InputTensor> views;
  for (const HostTensor &input : inputs)
    views.push_back({input.dtype, input.shape, input.data.data()});
  std::vector<std::vector<int64_t>> shapes = on->executor->outputShapes(index, views);
  const program::Function &function = on->executor->function(index);
  std::vector<HostTensor> results;
  std::vector<void *> addresses;
  for (uint32_t i = 0; i < length(function.outputs()); ++i) {
    const program::Port &port = *function.outputs()->Get(i);
    uint64_t bytes = tensorBytes(port.dtype(), shapes[i]);
    results.push_back({port.name()->str(), port.dtype(), shapes[i], std::vector<std::byte>(bytes)});
    addresses.push_back(results.back().data.data());
  }
  on->executor->run(index, views, addresses);
  return results;
}

ResidentCall ProgramTensorModel::makeResident(const std::string &name,
                                              const std::map<std::string, int64_t> &given) {
  uint32_t index = find(name);
  const program::Function &function = on->executor->function(index);
  std::vector<int64_t> values = typicalSymbols(function, given);
  ResidentCall call;
  for (uint32_t i = 0; i < length(function.symbols()); ++i)
    call.symbols[function.symbols()->Get(i)->name()->str()] = values[i];
  std::vector<std::vector<int64_t>> shapes;
  std::vector<InputTensor> inputs;
  std::vector<std::vector<std::byte>> data;
  shapes.reserve(length(function.inputs()));
  for (uint32_t i = 0; i < length(function.inputs()); ++i) {
    const program::Port &port = *function.inputs()->Get(i);
    shapes.emplace_back();
    for (const program::Expr *extent : *port.shape())
      shapes.back().push_back(evaluate(*extent, values));
    data.push_back(randomElements(port.dtype(), tensorBytes(port.dtype(), shapes.back()), i));
    inputs.push_back({port.dtype(), shapes.back(), data.back().data()});
    call.bytes = checkedAdd(call.bytes, int64_t(data.back().size()));
  }
  std::vector<std::vector<int64_t>> results = on->executor->outputShapes(index, inputs);
  for (uint32_t i = 0; i < length(function.outputs()); ++i)
    call.bytes = checkedAdd(
        call.bytes, int64_t(tensorBytes(function.outputs()->Get(i)->dtype(), results[i])));
  for (uint32_t i = 0; i < length(function.launches()); ++i)
    if (const program::Expr *flops = function.launches()->Get(i)->flops())
      call.flops = checkedAdd(call.flops, std::max<int64_t>(0, evaluate(*flops, values)));
  on->executor->run(index, inputs, {});
  call.run = [this, index, shapes] {
    std::vector<InputTensor> kept;
    for (uint32_t i = 0; i < shapes.size(); ++i)
      kept.push_back(
          {on->executor->function(index).inputs()->Get(i)->dtype(), shapes[i], nullptr});
    on->executor->run(index, kept, {});
  };
  return call;
}

std::optional<TextMaterial> rt::textMaterial(const program::Program &program) {
  const program::TextModel *model = program.text();
  if (!model)
    return std::nullopt;
  TextMaterial result;
  result.tokenizerJson = text(model->tokenizer_json());
  result.tokenizerConfigJson = text(model->tokenizer_config_json());
  result.generationConfigJson = text(model->generation_config_json());
  result.chatTemplate = text(model->chat_template());
  result.bosId = model->bos_id();
  result.eosIds.assign(values(model->eos_ids()).begin(), values(model->eos_ids()).end());
  result.contextLength = model->context_length();
  result.vocabSize = model->vocab_size();
  if (model->output())
    result.output = text(model->output());
  result.pooling = text(model->pooling());
  result.normalize = model->normalize();
  for (uint32_t i = 0; model->labels() && i < model->labels()->size(); ++i)
    result.labels.emplace_back(text(model->labels()->Get(i)));
  return result;
}

ModelHandle rt::openProgram(LoadedProgram program, const OpenOptions &options) {
  auto start = std::chrono::steady_clock::now();
  ModelHandle handle;
  handle.name = text(program->model_name());
  handle.architecture = text(program->architecture());
  handle.parameters = program->parameters();
  handle.weightBytes = program->weight_bytes();
  handle.text = textMaterial(program.get());
  handle.threads =
      options.device.threads > 0 ? options.device.threads : CpuTopology::detect().defaultThreads();
  auto on = std::make_unique<ProgramOnDevice>(std::move(program), options);
  handle.dtype = dtypeName(on->target->dtype());
  handle.backend = on->device->target() == "cpu" ? "CPU"
                   : on->device->hostAccessible() ? "host-cuda"
                                                  : "CUDA";
  if (wantsSteps(*on->target, options.purpose))
    handle.language =
        std::make_unique<ProgramLanguageModel>(std::move(on), options.contextTokens);
  else
    handle.tensors = std::make_unique<ProgramTensorModel>(std::move(on));
  handle.loadSeconds =
      std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
  return handle;
}
