//===- KernelTest.cpp -----------------------------------------------------===//
//
// Part of mlsys, under the Apache License v2.0. See LICENSE.
//
//===----------------------------------------------------------------------===//

#include "KernelTest.h"

#include "mlsys/CodeGen/EmitCuda.h"
#include "mlsys/CodeGen/EmitObject.h"
#include "mlsys/CodeGen/EmitProgram.h"
#include "mlsys/Driver/Compiler.h"
#include "mlsys/IR/Kernel.h"
#include "mlsys/IR/ProgramTypes.h"

#include "runtime/CpuDevice.h"
#include "runtime/HostCudaDevice.h"
#include "runtime/Program.h"
#include "runtime/WeightLoader.h"

#include "mlir/InitAllDialects.h"
#include "mlir/InitAllExtensions.h"
#include "mlir/Parser/Parser.h"
#include "mlir/Pass/PassManager.h"
#include "mlir/Pass/PassRegistry.h"

#include <gtest/gtest.h>

#include <cmath>
#include <fstream>

using namespace mlir;
using namespace mlsys;
using namespace mlsys::test;
using program::DType;


/// What a request is for the kernels.
struct KernelTest::Batch {
  std::vector<int64_t> slots;
  std::vector<int32_t> positions, queryStart{0}, contextLength, blockTable;
  int64_t maxPages = 1;

  Batch(const std::vector<Request> &requests, int64_t pageSize, int64_t pages) {
    for (Request request : requests)
      maxPages = std::max(maxPages, (request.before + request.added + pageSize - 1) / pageSize);
    // Pages are handed out from the last one down, so that no page is where it would be
    // by chance.
    int32_t next = static_cast<int32_t>(pages);
    for (Request request : requests) {
      size_t row = blockTable.size();
      for (int64_t page = 0; page < maxPages; ++page)
        blockTable.push_back(page * pageSize < request.before + request.added ? --next : next);
      for (int position = request.before; position < request.before + request.added; ++position) {
        positions.push_back(position);
        slots.push_back(blockTable[row + position / pageSize] * pageSize + position % pageSize);
      }
      queryStart.push_back(static_cast<int32_t>(positions.size()));
      contextLength.push_back(request.before + request.added);
    }
    EXPECT_GE(next, 0) << "the cache has too few pages for the test";
  }
};

std::string mlsys::test::replaceAll(std::string text, const std::string &from,
                                    const std::string &to) {
  for (size_t at = text.find(from); at != std::string::npos; at = text.find(from, at + to.size()))
    text.replace(at, from.size(), to);
  return text;
}

//===----------------------------------------------------------------------===//
// Variants and texts
//===----------------------------------------------------------------------===//

void mlsys::test::PrintTo(const Variant &variant, std::ostream *os) {
  *os << variant.type << " on " << variant.target;
}

std::vector<Variant> mlsys::test::variants() {
  std::vector<Variant> all;
  for (std::string target : {"cuda", "x86-64-v3", "x86-64-v4", "avx512bf16", "amx"})
    if (target == "cuda" || rt::cpuSupports(target))
      for (std::string type : {"f32", "bf16", "f16"})
        all.push_back({type, target});
  return all;
}

std::string mlsys::test::nameOfVariant(const testing::TestParamInfo<Variant> &info) {
  std::string name = info.param.type + "_" + info.param.target;
  std::replace(name.begin(), name.end(), '-', '_');
  return name;
}

std::string mlsys::test::readInput(const std::string &name) {
  std::ifstream file(std::string(MLSYS_KERNEL_INPUTS) + "/" + name);
  EXPECT_TRUE(file) << name;
  return {std::istreambuf_iterator<char>(file), {}};
}

void mlsys::test::replace(std::string &text, const std::string &from, int64_t value) {
  text = replaceAll(std::move(text), from, std::to_string(value));
}

std::string mlsys::test::attentionText(const std::string &input, Extents extents,
                                       const std::vector<std::string> &wanted) {
  std::string text = readInput(input);
  if (!wanted.empty()) {
    const std::string start = "func.func @";
    std::string kept = text.substr(0, text.find(start));
    for (const std::string &name : wanted) {
      size_t begin = text.find(start + name + "("), end = text.find("\n}\n", begin);
      EXPECT_NE(begin, std::string::npos) << name;
      kept += text.substr(begin, end + 3 - begin);
    }
    text = kept;
  }
  std::string slopes;
  for (int64_t head = 0; head < extents.heads; ++head)
    slopes += (head ? ", " : "") + std::to_string(std::ldexp(0.3, -3 * static_cast<int>(head)));
  text = replaceAll(std::move(text), "$B", slopes);
  replace(text, "$HD", extents.heads * extents.dim);
  replace(text, "$KD", extents.kvHeads * extents.dim);
  replace(text, "$H", extents.heads);
  replace(text, "$K", extents.kvHeads);
  replace(text, "$D", extents.dim);
  replace(text, "$S", extents.dim / 2);
  replace(text, "$P", extents.page);
  return text;
}

//===----------------------------------------------------------------------===//
// Compilation
//===----------------------------------------------------------------------===//

DialectRegistry mlsys::test::makeRegistry() {
  DialectRegistry registry;
  registerAllDialects(registry);
  registerAllExtensions(registry);
  registry.insert<graph::GraphDialect, kernel::KernelDialect>();
  registerPasses();
  return registry;
}

void KernelTest::build(OwningOpRef<ModuleOp> &module, std::string text, const std::string &type,
                       const std::string &cacheType, bool compile) {
  text = replaceAll(replaceAll(std::move(text), "$T", type), "$C", cacheType);
  module = parseSourceString<ModuleOp>(text, &context);
  ASSERT_TRUE(module);
  if (!compile)
    return;
  PipelineOptions options;
  options.target = isCpu() ? "cpu" : "cuda";
  options.isa = isCpu() ? target : "";
  options.arch = target == "sm_90a" ? target : "";
  options.threads = threads;
  options.tiles = tiles;
  // The stage `decompose` without its check, which wants models without a cache.
  PassManager passes(&context, ModuleOp::getOperationName());
  ASSERT_TRUE(succeeded(
      parsePassPipeline("mlsys-decompose,mlsys-infer-shapes,canonicalize,cse", passes)));
  ASSERT_TRUE(succeeded(buildPipeline(Stage::Fuse, options, passes)));
  ASSERT_TRUE(succeeded(buildPipeline(Stage::Kernel, options, passes)));
  ASSERT_TRUE(succeeded(passes.run(*module)));
}

/// The kernels that each function launches are those that `test.kernels` lists.
void KernelTest::checkKinds(ModuleOp lowered) {
  for (auto function : lowered.getOps<func::FuncOp>()) {
    auto expected = function->getAttrOfType<ArrayAttr>("test.kernels");
    if (!expected)
      continue;
    std::string kinds, wanted;
    for (auto launch : function.getOps<kernel::LaunchOp>()) {
      // The kernel that joins the parts of attention is no fusion's own.
      if (launch.getLabel().value_or("").ends_with(" join"))
        continue;
      kinds += SymbolTable::lookupNearestSymbolFrom<kernel::FuncOp>(launch, launch.getKernelAttr())
                   .getKind()
                   .str() +
               " ";
    }
    for (Attribute kind : expected)
      wanted += cast<StringAttr>(kind).getValue().str() + " ";
    EXPECT_EQ(kinds, wanted) << function.getName().str();
  }
}

KernelTest::KernelTest(const std::string &text, const std::string &type, const std::string &target,
                       const std::string &cacheType, int64_t cacheTokens, int64_t threads,
                       const std::string &tiles)
    : context(makeRegistry()), target(target), tiles(tiles), cacheTokens(cacheTokens), threads(threads) {
  load(text, type, cacheType.empty() ? type : cacheType);
}

void KernelTest::emitText(program::TargetProgramT &program) {
  SymbolTable symbols(*lowered);
  for (auto &kernel : program.kernels) {
    auto function = symbols.lookup<kernel::FuncOp>(kernel->name);
    FailureOr<std::string> cuda = emitCuda(function, getBlockThreads(function, *lowered));
    ASSERT_TRUE(succeeded(cuda)) << kernel->name;
    kernel->cuda_text = *cuda;
  }
}

void KernelTest::emitLibrary(program::TargetProgramT &program) {
  PipelineOptions options;
  options.isa = target;
  PassManager passes(&context, ModuleOp::getOperationName());
  ASSERT_TRUE(succeeded(buildPipeline(Stage::Emit, options, passes)));
  ASSERT_TRUE(succeeded(passes.run(*lowered)));
  llvm::Expected<std::vector<uint8_t>> object = emitSharedObject(*lowered, *CpuTarget::get(target));
  ASSERT_TRUE(static_cast<bool>(object)) << llvm::toString(object.takeError());
  auto library = std::make_unique<program::CpuLibraryT>();
  // What is compiled for an instruction set that is emulated (AmxEmulator.h) is loaded by another's name.
  library->isa = rt::cpuSupports(target) ? target : rt::bestCpuIsa();
  library->data = std::move(*object);
  program.cpu_libraries.push_back(std::move(library));
}

void KernelTest::load(const std::string &text, const std::string &type,
                      const std::string &cacheType) {
  dtype = *dtypeNamed(type);
  cacheDtype = *dtypeNamed(cacheType);
  // 16-bit: eight times the distance of neighbouring numbers, since a prologue, the
  // weights of attention and results between kernels are rounded too.
  auto toleranceOf = [](DType type) {
    return type == DType::F32 ? 2e-5 : type == DType::BF16 ? 1.0 / 32 : 1.0 / 256;
  };
  tolerance = std::max(toleranceOf(dtype), toleranceOf(cacheDtype));
  build(source, text, type, cacheType, false);
  build(reference, text, "f32", "f32", false);
  build(lowered, text, type, cacheType, true);
  if (testing::Test::HasFatalFailure())
    return;
  checkKinds(*lowered);
  auto emitted = emitTargetProgram(*lowered, isCpu() ? "cpu" : "cuda", dtype);
  ASSERT_TRUE(succeeded(emitted));
  isCpu() ? emitLibrary(**emitted) : emitText(**emitted);
  if (testing::Test::HasFatalFailure())
    return;
  program::ProgramT program;
  program.format_version = 1;
  program.targets.push_back(std::move(*emitted));
  packed = packProgram(program);
  const program::Program &verified = rt::verifyProgram(packed, 0);
  const program::TargetProgram &loaded = *verified.targets()->Get(0);
  // Weights are random numbers, not from files.
  rt::WeightFiles files(verified, ".", {});
  device = isCpu() ? rt::createCpuDevice({"cpu", 2})
                   : std::make_unique<rt::HostCudaDevice>(0, rt::hostScheduleFromEnvironment());
  for (uint32_t i = 0; i < rt::length(loaded.constants()); ++i) {
    const program::Constant &constant = *loaded.constants()->Get(i);
    std::vector<std::byte> bytes(constant.bytes());
    rt::loadConstant(constant, files, bytes,
                     [](int64_t count, const std::function<void(int64_t, int64_t)> &body) {
                       body(0, count);
                     });
    constants.push_back(device->allocate(bytes.size()));
    device->upload(constants.back(), bytes.data(), bytes.size());
  }
  device->load(loaded);
  executor = std::make_unique<rt::Executor>(loaded, *device, constants);
  if (loaded.cache()) {
    cache = device->allocate(loaded.cache()->page_bytes() *
                             cachePages(loaded.cache()->page_size()));
    executor->setCache(cache, cachePages(loaded.cache()->page_size()));
  }
  llvm::Expected<WeightProvider> weights = makeFileWeightProvider(*reference, ".");
  ASSERT_TRUE(static_cast<bool>(weights)) << llvm::toString(weights.takeError());
  interpreter = std::make_unique<Interpreter>(*reference, *weights);
}

std::string KernelTest::cudaText() const {
  const program::TargetProgram &program = *rt::verifyProgram(packed, 0).targets()->Get(0);
  std::string text;
  for (const program::Kernel *kernel : *program.kernels())
    text += kernel->cuda_text()->str();
  return text;
}

KernelTest::~KernelTest() {
  executor.reset();
  for (void *constant : constants)
    device->free(constant);
  if (cache)
    device->free(cache);
}

std::vector<std::string> KernelTest::functions() {
  std::vector<std::string> names;
  for (auto function : source->getOps<func::FuncOp>())
    names.push_back(function.getName().str());
  return names;
}

static graph::KvCacheType cacheOf(func::FuncOp function) {
  for (Type type : function.getArgumentTypes())
    if (auto cache = dyn_cast<graph::KvCacheType>(type))
      return cache;
  return {};
}

bool KernelTest::usesCache(const std::string &function) {
  return cacheOf(source->lookupSymbol<func::FuncOp>(function)) != nullptr;
}

int64_t KernelTest::decodeBatch(const std::string &function) {
  auto type = cast<RankedTensorType>(
      source->lookupSymbol<func::FuncOp>(function).getArgumentTypes().front());
  return type.isDynamicDim(0) ? 0 : type.getDimSize(0);
}

bool KernelTest::isBidirectional(const std::string &function) {
  return source->lookupSymbol<func::FuncOp>(function)->hasAttr("test.bidirectional");
}

bool KernelTest::isDynamic(const std::string &function) {
  auto op = source->lookupSymbol<func::FuncOp>(function);
  return op->hasAttr(graph::symbolsAttrName);
}

//===----------------------------------------------------------------------===//
// Inputs
//===----------------------------------------------------------------------===//

template <class T> static Tensor fromValues(DType dtype, ArrayRef<int64_t> shape, const std::vector<T> &values) {
  Tensor tensor(dtype, shape);
  EXPECT_EQ(tensor.size(), static_cast<int64_t>(values.size()));
  for (auto [index, value] : llvm::enumerate(values))
    tensor.setInt(index, value);
  return tensor;
}

Tensor KernelTest::makeInput(func::FuncOp function, unsigned index, int64_t tokens,
                             const Batch *batch) {
  auto type = cast<RankedTensorType>(function.getArgumentTypes()[index]);
  SmallVector<int64_t> shape;
  for (const graph::DimExpr &dim : graph::getDims(type))
    shape.push_back(dim.evaluate([&](StringRef name) -> int64_t {
      if (name == "R")
        return batch->contextLength.size();
      return name == "P" ? batch->maxPages : tokens;
    }));
  DType element = *dtypeOf(type.getElementType());
  if (auto role = function.getArgAttrOfType<StringAttr>(index, graph::roleAttrName)) {
    if (role == "slots")
      return fromValues(element, shape, batch->slots);
    if (role == "positions")
      return fromValues(element, shape, batch->positions);
    if (role == "query_start")
      return fromValues(element, shape, batch->queryStart);
    if (role == "context_length")
      return fromValues(element, shape, batch->contextLength);
    return fromValues(element, shape, batch->blockTable);
  }
  Tensor tensor(element, shape);
  auto below = function.getArgAttrOfType<IntegerAttr>(index, "test.below");
  auto deviation = function.getArgAttrOfType<FloatAttr>(index, "test.deviation");
  std::normal_distribution<double> normal(0, deviation ? deviation.getValueAsDouble() : 1.0);
  for (int64_t i = 0; i < tensor.size(); ++i) {
    if (tensor.isFloat())
      tensor.setFloat(i, normal(generator));
    else
      tensor.setInt(i, generator() % below.getInt());
  }
  return tensor;
}

/// The same numbers as f32.
static Tensor widened(const Tensor &tensor) {
  if (!tensor.isFloat())
    return tensor;
  Tensor result(DType::F32, tensor.shape());
  for (int64_t i = 0; i < tensor.size(); ++i)
    result.setFloat(i, tensor.getFloat(i));
  return result;
}

/// Calls `body(page, layer, part, row, head, element, position)` for each element of the cache;
/// `position` is its place in the target's pages (CacheLayout.h): the CPU keeps the keys of a
/// head by element, so that a vector holds one element of many rows.
template <class Body> static void forCache(const KvPages &pages, bool cpu, Body body) {
  int64_t first = 0, headElements = pages.pageSize * pages.headDim;
  for (int64_t page = 0; page < pages.pages; ++page)
    for (int64_t layer = 0; layer < pages.layers; ++layer)
      for (int64_t part = 0; part < 2; ++part)
        for (int64_t head = 0; head < pages.heads; ++head, first += headElements)
          for (int64_t row = 0; row < pages.pageSize; ++row)
            for (int64_t element = 0; element < pages.headDim; ++element)
              body(layer, part, page * pages.pageSize + row, head, element,
                   first + (cpu && part == 0 ? element * pages.pageSize + row
                                             : row * pages.headDim + element));
}

/// Random pages, on both sides. Pages that lie before the `window` of every new token (0: none)
/// are NaN.
void KernelTest::fillCache(KvPages &pages, const Batch &batch, int64_t window) {
  std::vector<bool> gone(pages.pages);
  for (size_t r = 0; window && r < batch.contextLength.size(); ++r) {
    int64_t added = batch.queryStart[r + 1] - batch.queryStart[r];
    int64_t oldest = std::max<int64_t>(0, batch.contextLength[r] - added + 1 - window);
    for (int64_t page = 0; page < oldest / pages.pageSize; ++page)
      gone[batch.blockTable[r * batch.maxPages + page]] = true;
  }
  Tensor values(cacheDtype, {pages.pages * pages.layers * 2 * pages.heads * pages.pageSize * pages.headDim});
  std::normal_distribution<double> normal;
  for (int64_t i = 0; i < values.size(); ++i)
    values.setFloat(i, normal(generator));
  forCache(pages, isCpu(), [&](int64_t, int64_t, int64_t slot, int64_t, int64_t, int64_t position) {
    if (gone[slot / pages.pageSize])
      values.setFloat(position, std::numeric_limits<double>::quiet_NaN());
  });
  std::vector<std::byte> bytes = values.toBytes();
  device->upload(cache, bytes.data(), bytes.size());
  forCache(pages, isCpu(), [&](int64_t layer, int64_t part, int64_t slot, int64_t head, int64_t element, int64_t position) {
    pages.row(layer, part, slot, head)[element] = static_cast<float>(values.getFloat(position));
  });
}

//===----------------------------------------------------------------------===//
// Comparison
//===----------------------------------------------------------------------===//

void KernelTest::compareTensor(const std::string &subject, const Tensor &actual,
                               const Tensor &expected) {
  ASSERT_EQ(actual.size(), expected.size()) << subject;
  if (!actual.isFloat()) {
    for (int64_t i = 0; i < actual.size(); ++i)
      ASSERT_EQ(actual.getInt(i), expected.getInt(i)) << subject << " at " << i;
    return;
  }
  double squares = 0;
  for (int64_t i = 0; i < expected.size(); ++i)
    squares += expected.getFloat(i) * expected.getFloat(i);
  double typical = std::sqrt(squares / std::max<int64_t>(1, expected.size()));
  for (int64_t i = 0; i < actual.size(); ++i) {
    double wanted = expected.getFloat(i), limit = tolerance * (std::abs(wanted) + typical);
    ASSERT_LE(std::abs(actual.getFloat(i) - wanted), limit)
        << subject << " at " << i << ": " << actual.getFloat(i) << " instead of " << wanted;
  }
}

void KernelTest::compareCache(const std::string &subject, const KvPages &pages) {
  int64_t count = pages.pages * pages.layers * 2 * pages.heads * pages.pageSize * pages.headDim;
  std::vector<std::byte> bytes(count * elementBytes(cacheDtype));
  device->download(bytes.data(), cache, bytes.size());
  llvm::Expected<Tensor> actual = Tensor::fromBytes(cacheDtype, {count}, bytes);
  ASSERT_TRUE(static_cast<bool>(actual)) << llvm::toString(actual.takeError());
  Tensor expected(DType::F32, {count});
  KvPages copy = pages;
  forCache(pages, isCpu(), [&](int64_t layer, int64_t part, int64_t slot, int64_t head, int64_t element, int64_t position) {
    expected.setFloat(position, copy.row(layer, part, slot, head)[element]);
  });
  // NaN stays NaN.
  for (int64_t i = 0; i < count; ++i)
    if (std::isnan(expected.getFloat(i))) {
      ASSERT_TRUE(std::isnan(actual->getFloat(i))) << subject << ", KV cache at " << i;
      expected.setFloat(i, 0);
      actual->setFloat(i, 0);
    }
  compareTensor(subject + ", KV cache", *actual, expected);
}

void KernelTest::run(const std::string &name, int64_t tokens, const Batch *batch) {
  std::string subject = name + " with T = " + std::to_string(tokens);
  auto function = source->lookupSymbol<func::FuncOp>(name);
  std::vector<InterpreterValue> arguments;
  std::shared_ptr<KvPages> pages;
  std::vector<std::vector<std::byte>> memory;
  std::vector<std::vector<int64_t>> shapes;
  std::vector<DType> types;
  for (auto [index, type] : llvm::enumerate(function.getArgumentTypes())) {
    if (auto cacheType = dyn_cast<graph::KvCacheType>(type)) {
      pages = std::make_shared<KvPages>(cachePages(cacheType.getPageSize()), cacheType.getLayers(), cacheType.getHeads(),
                                        cacheType.getHeadDim(), cacheType.getPageSize(), DType::F32);
      auto window = function->getAttrOfType<IntegerAttr>("test.window");
      fillCache(*pages, *batch, window ? window.getInt() : 0);
      arguments.push_back(CacheValue{pages});
      continue;
    }
    Tensor input = makeInput(function, index, tokens, batch);
    arguments.push_back(widened(input));
    memory.push_back(input.toBytes());
    shapes.push_back(input.shape().vec());
    types.push_back(input.dtype());
  }
  llvm::Expected<std::vector<InterpreterValue>> expected = interpreter->run(name, arguments);
  ASSERT_TRUE(static_cast<bool>(expected)) << subject << ": " << llvm::toString(expected.takeError());

  std::vector<rt::InputTensor> inputs;
  for (size_t i = 0; i < memory.size(); ++i)
    inputs.push_back({types[i], shapes[i], memory[i].data()});
  uint32_t index = executor->functionIndex(name);
  std::vector<std::vector<int64_t>> resultShapes = executor->outputShapes(index, inputs);
  std::vector<std::vector<std::byte>> results;
  std::vector<void *> outputs;
  for (auto [shape, type] : llvm::zip_equal(resultShapes, function.getResultTypes())) {
    DType element = *dtypeOf(cast<RankedTensorType>(type).getElementType());
    results.emplace_back(countElements(shape) * elementBytes(element));
    outputs.push_back(results.back().data());
  }
  executor->run(index, inputs, outputs);
  for (auto [i, type] : llvm::enumerate(function.getResultTypes())) {
    DType element = *dtypeOf(cast<RankedTensorType>(type).getElementType());
    llvm::Expected<Tensor> actual = Tensor::fromBytes(element, resultShapes[i], results[i]);
    ASSERT_TRUE(static_cast<bool>(actual)) << llvm::toString(actual.takeError());
    compareTensor(subject + ", result " + std::to_string(i), *actual, std::get<Tensor>((*expected)[i]));
  }
  if (pages)
    compareCache(subject, *pages);
}

std::vector<float> KernelTest::apply(const std::string &function, const std::vector<float> &input) {
  auto type = cast<RankedTensorType>(
      source->lookupSymbol<func::FuncOp>(function).getArgumentTypes().front());
  std::vector<int64_t> shape;
  for (const graph::DimExpr &dim : graph::getDims(type))
    shape.push_back(dim.evaluate([&](StringRef) { return static_cast<int64_t>(input.size()); }));
  EXPECT_EQ(countElements(shape), static_cast<int64_t>(input.size()));
  rt::InputTensor tensor{DType::F32, shape, input.data()};
  uint32_t index = executor->functionIndex(function);
  std::vector<int64_t> resultShape = executor->outputShapes(index, {&tensor, 1}).front();
  DType element = *dtypeOf(cast<RankedTensorType>(
      source->lookupSymbol<func::FuncOp>(function).getResultTypes().front()).getElementType());
  std::vector<std::byte> bytes(countElements(resultShape) * elementBytes(element));
  void *output = bytes.data();
  executor->run(index, {&tensor, 1}, {&output, 1});
  llvm::Expected<Tensor> values = Tensor::fromBytes(element, resultShape, bytes);
  EXPECT_TRUE(static_cast<bool>(values)) << llvm::toString(values.takeError());
  std::vector<float> result(values->size());
  for (int64_t i = 0; i < values->size(); ++i)
    result[i] = static_cast<float>(values->getFloat(i));
  return result;
}

void KernelTest::compare(const std::string &function, int64_t tokens) { run(function, tokens, nullptr); }

void KernelTest::compare(const std::string &function, const std::vector<Request> &requests) {
  graph::KvCacheType type = cacheOf(source->lookupSymbol<func::FuncOp>(function));
  Batch batch(requests, type.getPageSize(), cachePages(type.getPageSize()));
  run(function, static_cast<int64_t>(batch.positions.size()), &batch);
}

/// One token, fewer than a tile has, a whole tile, and more than one.
static const int64_t tokenCounts[] = {1, 5, 64, 67};

void mlsys::test::compareAll(KernelTest &test) {
  for (const std::string &function : test.functions()) {
    if (test.usesCache(function)) {
      if (test.decodeBatch(function)) {
        test.compare(function, {{0, 1}, {6, 1}, {70, 1}});
        continue;
      }
      test.compare(function, {{0, 1}});
      test.compare(function, {{0, 70}});
      if (test.isBidirectional(function)) {
        test.compare(function, {{0, 5}, {0, 1}, {0, 66}, {0, 23}});
        continue;
      }
      test.compare(function, {{0, 5}, {13, 1}, {3, 20}, {40, 66}, {0, 1}});
      continue;
    }
    if (!test.isDynamic(function)) {
      test.compare(function, 1);
      continue;
    }
    for (int64_t tokens : tokenCounts)
      test.compare(function, tokens);
  }
}
