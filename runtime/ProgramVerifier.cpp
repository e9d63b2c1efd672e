//===- ProgramVerifier.cpp - Checks a program before its use ----*- C++ -*-===//
//
// Part of mlsys, under the Apache License v2.0. See LICENSE.
//
// FlatBuffers' own verifier shows that tables, strings and vectors lie inside
// the bytes. What they say may still be nonsense; the checks here follow the
// comments of Program.fbs.
//
// Tables may be shared inside a FlatBuffer, so that a small file can unfold into
// much work. The number of tables is bounded by the FlatBuffers verifier, and the
// length of each vector of scalars that tables hold is bounded here.
//
//===----------------------------------------------------------------------===//
#include "runtime/CudaArch.h"
#include "runtime/Error.h"
#include "runtime/Expr.h"
#include "runtime/Program.h"

#include <algorithm>
#include <map>
#include <optional>
#include <unordered_set>

using namespace mlsys;
using namespace mlsys::rt;
using namespace mlsys::program;

static constexpr uint32_t maxRank = 16;
static constexpr uint32_t maxNameLength = 1024;
static constexpr uint32_t maxArguments = 1024;
static constexpr uint32_t maxTensorMaps = 16;
static constexpr uint32_t maxTables = 1u << 23;
static constexpr uint64_t maxScratchBytes = 1ull << 30;

static void check(bool condition, std::string_view subject, std::string_view message) {
  if (!condition)
    throw Error("{}: {}", subject, message);
}

template <typename Enum> static void checkEnum(Enum value, std::string_view subject) {
  check(value >= Enum::MIN && value <= Enum::MAX, subject,
        fmt::format("unknown value {} of an enumeration", int(value)));
}

static void checkDType(DType dtype, std::string_view subject) {
  checkEnum(dtype, subject);
  check(elementBytes(dtype) != 0, subject, "a block type is only for tensors in files");
}

static std::string checkName(const flatbuffers::String *name, const std::string &subject) {
  check(name && name->size() > 0, subject, "it has no name");
  check(name->size() <= maxNameLength, subject, "its name is too long");
  return subject + " '" + name->str() + "'";
}

/// Letters, digits and underscores: what the linker and NVRTC get to see.
static bool isIdentifier(std::string_view name) {
  for (char c : name)
    if (!((c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_'))
      return false;
  return !name.empty() && !(name[0] >= '0' && name[0] <= '9');
}

namespace {

/// Checks one function of a target.
class FunctionVerifier {
public:
  FunctionVerifier(const TargetProgram &target, const Function &function, std::string subject)
      : target(target), function(function), subject(std::move(subject)) {}

  void run();

  /// Symbol and argument counts by kernel, equal in all launches of a target.
  using Arity = std::map<uint32_t, std::pair<uint32_t, uint32_t>>;
  Arity *arity = nullptr;

private:
  void checkSymbols() const;
  void checkPort(const Port *port, const std::string &name) const;
  void checkBuffer(const Buffer *buffer, const std::string &name) const;
  void checkTensorMaps(const Launch &launch, const std::string &name) const;
  void checkLaunch(const Launch &launch, const std::string &name) const;
  void checkPhase() const;
  void checkShape(const flatbuffers::Vector<flatbuffers::Offset<Expr>> *shape,
                  const std::string &name) const;
  const Port *portWithRole(Role role, DType dtype, uint32_t rank, bool output,
                           bool optional = false) const;

  const TargetProgram &target;
  const Function &function;
  std::string subject;
};

} // namespace

void FunctionVerifier::checkShape(const flatbuffers::Vector<flatbuffers::Offset<Expr>> *shape,
                                  const std::string &name) const {
  check(length(shape) <= maxRank, name, "too many dimensions");
  for (uint32_t i = 0; i < length(shape); ++i)
    validateExpr(shape->Get(i), length(function.symbols()), name + " dimension");
}

void FunctionVerifier::checkSymbols() const {
  std::unordered_set<std::string_view> names;
  for (uint32_t i = 0; i < length(function.symbols()); ++i) {
    const Symbol &symbol = *function.symbols()->Get(i);
    std::string name = checkName(symbol.name(), subject + ", symbol");
    check(names.insert(text(symbol.name())).second, name, "defined twice");
    check(symbol.min() >= 0, name, "its minimum is negative");
    check(symbol.max() == -1 || symbol.max() >= symbol.min(), name, "its range is empty");
    bool bound = symbol.min() == symbol.max();
    for (uint32_t p = 0; !bound && p < length(function.inputs()); ++p) {
      const Port *port = function.inputs()->Get(p);
      for (uint32_t d = 0; d < length(port->shape()); ++d)
        bound |= asSymbol(*port->shape()->Get(d)) == i;
    }
    check(bound, name, "no input has it as a dimension");
  }
}

void FunctionVerifier::checkPort(const Port *port, const std::string &name) const {
  checkEnum(port->role(), name);
  checkDType(port->dtype(), name);
  checkShape(port->shape(), name);
  check(length(port->dims()) == 0 || length(port->dims()) == length(port->shape()), name,
        "as many dimension names as dimensions expected");
}

void FunctionVerifier::checkBuffer(const Buffer *buffer, const std::string &name) const {
  checkEnum(buffer->kind(), name);
  checkDType(buffer->dtype(), name);
  checkShape(buffer->shape(), name);
  validateExpr(buffer->bytes(), length(function.symbols()), name + " size");
  uint32_t count = 0;
  switch (buffer->kind()) {
  case BufferKind::Input:
    count = length(function.inputs());
    break;
  case BufferKind::Output:
    count = length(function.outputs());
    break;
  case BufferKind::Constant:
    count = length(target.constants());
    break;
  case BufferKind::Temporary:
    count = function.slots();
    break;
  case BufferKind::Cache:
    check(target.cache(), name, "the program has no KV cache");
    count = 1;
    break;
  }
  check(buffer->index() < count, name, fmt::format("index {} of {}", buffer->index(), count));
  if (buffer->kind() != BufferKind::Constant)
    return;
  const Constant &constant = *target.constants()->Get(buffer->index());
  std::optional<int64_t> bytes = asConstant(*buffer->bytes());
  check(bytes && *bytes >= 0 && uint64_t(*bytes) <= constant.bytes(), name,
        "it does not have the size of its constant");
}

void FunctionVerifier::checkTensorMaps(const Launch &launch, const std::string &name) const {
  check(length(launch.tensor_maps()) <= maxTensorMaps, name, "too many tensor maps");
  for (uint32_t i = 0; i < length(launch.tensor_maps()); ++i) {
    const TensorMap &map = *launch.tensor_maps()->Get(i);
    std::string what = fmt::format("{} tensor map {}", name, i);
    check(map.argument() < length(launch.args()), what, "wrong argument");
    DType type = function.buffers()->Get(launch.args()->Get(map.argument())->buffer())->dtype();
    check(type == DType::BF16 || type == DType::F16 || type == DType::F32, what, "its elements have no tiles");
    uint32_t rank = length(map.extents());
    check(rank >= 1 && rank <= 5 && length(map.strides()) == rank - 1 && length(map.tile()) == rank, what,
          "wrong number of dimensions");
    for (uint32_t d = 0; d < rank; ++d) {
      validateExpr(map.extents()->Get(d), length(function.symbols()), what + " extent");
      if (d > 0)
        validateExpr(map.strides()->Get(d - 1), length(function.symbols()), what + " stride");
      check(map.tile()->Get(d) >= 1 && map.tile()->Get(d) <= 256, what, "wrong tile");
    }
  }
}

void FunctionVerifier::checkLaunch(const Launch &launch, const std::string &name) const {
  check(launch.kernel() < length(target.kernels()), name,
        fmt::format("kernel {} of {}", launch.kernel(), length(target.kernels())));
  check(length(launch.args()) <= maxArguments && length(launch.symbols()) <= maxArguments, name,
        "too many arguments");
  for (uint32_t i = 0; i < length(launch.args()); ++i) {
    const BufferRef &ref = *launch.args()->Get(i);
    check(ref.buffer() < length(function.buffers()), name,
          fmt::format("buffer {} of {}", ref.buffer(), length(function.buffers())));
    const Buffer &buffer = *function.buffers()->Get(ref.buffer());
    std::optional<int64_t> bytes = asConstant(*buffer.bytes());
    // Of the cache every page has what lies at the offset.
    if (buffer.kind() == BufferKind::Cache)
      bytes = static_cast<int64_t>(target.cache()->page_bytes());
    check(!bytes || (*bytes >= 0 && ref.offset() <= uint64_t(*bytes)), name,
          fmt::format("offset {} is beyond its buffer", ref.offset()));
  }
  size_t symbols = length(function.symbols());
  for (uint32_t i = 0; i < length(launch.symbols()); ++i)
    validateExpr(launch.symbols()->Get(i), symbols, name + " symbol");
  check(length(launch.grid()) <= 3, name, "a grid has up to three dimensions");
  for (uint32_t i = 0; i < length(launch.grid()); ++i)
    validateExpr(launch.grid()->Get(i), symbols, name + " grid");
  checkTensorMaps(launch, name);
  check(length(launch.block()) <= 3, name, "a block has up to three dimensions");
  int64_t threads = 1;
  for (int extent : values(launch.block())) {
    check(extent >= 1 && extent <= 1024, name, "wrong number of threads");
    threads *= extent;
  }
  check(threads <= 1024, name, "wrong number of threads");
  check(launch.shared_bytes() <= 1u << 20, name, "too much shared memory");
  if (launch.shared())
    validateExpr(launch.shared(), symbols, name + " shared memory");
  checkEnum(launch.schedule(), name);
  check(launch.grain() >= 0, name, "negative grain");
  if (launch.bytes())
    validateExpr(launch.bytes(), symbols, name + " bytes");
  if (launch.flops())
    validateExpr(launch.flops(), symbols, name + " flops");
  std::pair<uint32_t, uint32_t> counts(length(launch.args()), length(launch.symbols()));
  auto [known, inserted] = arity->emplace(launch.kernel(), counts);
  check(inserted || known->second == counts, name,
        "its kernel has other arguments in another launch");
}

/// The one port of a role, which the function must have unless it is optional; null when it has none.
const Port *FunctionVerifier::portWithRole(Role role, DType dtype, uint32_t rank, bool output,
                                           bool optional) const {
  const auto *ports = output ? function.outputs() : function.inputs();
  const Port *found = nullptr;
  std::string what = fmt::format("{}, {}", subject, EnumNameRole(role));
  for (uint32_t i = 0; i < length(ports); ++i) {
    if (ports->Get(i)->role() != role)
      continue;
    check(!found, what, "given twice");
    found = ports->Get(i);
  }
  if (!found && optional)
    return nullptr;
  check(found, what, "missing");
  check(found->dtype() == dtype && length(found->shape()) == rank, what,
        fmt::format("expected {} with {} dimensions", dtypeName(dtype), rank));
  return found;
}

void FunctionVerifier::checkPhase() const {
  checkEnum(function.phase(), subject);
  if (function.phase() == Phase::Plain)
    return;
  check(target.cache(), subject, "the program has no KV cache");
  portWithRole(Role::TokenIds, DType::I64, 1, false);
  portWithRole(Role::Positions, DType::I32, 1, false);
  portWithRole(Role::Slots, DType::I64, 1, false);
  portWithRole(Role::QueryStart, DType::I32, 1, false);
  portWithRole(Role::ContextLength, DType::I32, 1, false);
  portWithRole(Role::BlockTable, DType::I32, 2, false);
  portWithRole(Role::TokenTypes, DType::I64, 1, false, /*optional=*/true);
  portWithRole(Role::Logits, DType::F32, 2, true);
  check(!function.bidirectional() || function.phase() == Phase::Prefill, subject,
        "an encoder has no decode functions");
  if (function.phase() == Phase::Decode)
    check(function.bucket() >= 1 && function.bucket() <= 1 << 20, subject, "wrong bucket");
}

void FunctionVerifier::run() {
  for (uint32_t i = 0; i < length(function.inputs()); ++i) {
    const Port *port = function.inputs()->Get(i);
    checkPort(port, checkName(port->name(), subject + ", input"));
  }
  for (uint32_t i = 0; i < length(function.outputs()); ++i) {
    const Port *port = function.outputs()->Get(i);
    checkPort(port, checkName(port->name(), subject + ", output"));
  }
  checkSymbols();
  checkPhase();
  check(function.slots() <= length(function.buffers()), subject, "more slots than buffers");
  std::vector<bool> produced(length(function.outputs()));
  for (uint32_t i = 0; i < length(function.buffers()); ++i) {
    const Buffer *buffer = function.buffers()->Get(i);
    checkBuffer(buffer, fmt::format("{}, buffer {}", subject, i));
    if (buffer->kind() == BufferKind::Output)
      produced[buffer->index()] = true;
  }
  for (uint32_t i = 0; i < produced.size(); ++i)
    check(produced[i], subject, fmt::format("output {} has no buffer", i));
  for (uint32_t i = 0; i < length(function.launches()); ++i)
    checkLaunch(*function.launches()->Get(i), fmt::format("{}, launch {}", subject, i));
}

static void checkSource(const Program &program, const Constant &constant, const WeightSource &source,
                        uint64_t appendedBytes, const std::string &subject) {
  checkEnum(source.dtype(), subject);
  check(length(source.shape()) <= maxRank, subject, "too many dimensions in its source");
  check(text(source.name()).size() <= maxNameLength, subject, "the name of its source is too long");
  std::span<const int64_t> stored = values(source.shape());
  uint64_t storedBytes = tensorBytes(source.dtype(), stored);
  if (source.file() == -2) {
    bool isKnown = constant.dtype() == DType::F16 || constant.dtype() == DType::BF16 ||
                   constant.dtype() == DType::F32 || constant.dtype() == DType::F64 ||
                   constant.dtype() == DType::I8;
    check(isKnown && std::ranges::equal(stored, values(constant.shape())), subject, "wrong random source");
    return;
  }
  check(source.bytes() == storedBytes, subject,
        fmt::format("its source has {} bytes, but {} {} needs {}", source.bytes(),
                    dtypeName(source.dtype()), shapeText(stored), storedBytes));
  check(source.file() >= -1 && source.file() < int64_t(length(program.weight_files())), subject,
        fmt::format("weight file {} of {}", source.file(), length(program.weight_files())));
  uint64_t size = source.file() < 0 ? appendedBytes
                                     : program.weight_files()->Get(source.file())->size();
  check(source.offset() <= size && source.bytes() <= size - source.offset(), subject,
        fmt::format("bytes {} to {} lie beyond the {} bytes of its file", source.offset(),
                    source.offset() + source.bytes(), size));
  int64_t unpermute = source.unpermute_rows(), head = source.head_rows();
  check(unpermute >= 0 && unpermute % 2 == 0 && head >= 0 && (head == 0 || unpermute <= head), subject,
        "wrong row permutation");
}

static void checkConstant(const Program &program, const Constant &constant, uint64_t appendedBytes,
                          const std::string &subject) {
  checkDType(constant.dtype(), subject);
  check(length(constant.shape()) <= maxRank, subject, "too many dimensions");
  checkEnum(constant.layout(), subject);
  if (constant.layout() == Layout::Panels) {
    uint32_t rank = length(constant.shape());
    check(rank == 2 || rank == 3, subject, "panels have two or three dimensions");
    check(constant.block() >= 1 && constant.block() <= 1 << 16 && constant.pair() >= 1 &&
              constant.pair() <= 1 << 16,
          subject, "wrong panel size");
  }
  std::span<const int64_t> shape = values(constant.shape());
  uint64_t plainBytes = tensorBytes(constant.dtype(), shape);
  uint64_t expected = constantBytes(constant);
  check(constant.bytes() == expected, subject,
        fmt::format("{} bytes, but {} {} needs {}", constant.bytes(), dtypeName(constant.dtype()),
                    shapeText(shape), expected));
  if (length(constant.sources()) == 0) {
    check(length(constant.data()) == plainBytes, subject,
          fmt::format("it holds {} bytes of {}", length(constant.data()), plainBytes));
    return;
  }
  check(length(constant.data()) == 0, subject, "both data and a source");
  // The loader compares the rows that the sources give with those of the shape.
  for (const WeightSource *source : *constant.sources())
    checkSource(program, constant, *source, appendedBytes, subject);
}

static void checkKernel(const Kernel &kernel, bool cuda, const std::string &subject) {
  check(isIdentifier(text(kernel.name())), subject, "its name is not an identifier");
  check(kernel.scratch_bytes() <= maxScratchBytes, subject, "too much scratch memory");
  if (!cuda)
    return;
  check(!text(kernel.cuda_text()).empty() || length(kernel.cubins()) > 0, subject,
        "it has neither text nor a cubin");
  for (uint32_t i = 0; i < length(kernel.cubins()); ++i) {
    const Cubin &cubin = *kernel.cubins()->Get(i);
    check(!text(cubin.arch()).empty() && length(cubin.data()) > 0, subject, "empty cubin");
  }
}

static void checkCache(const CacheSpec &cache) {
  checkDType(cache.dtype(), "KV cache");
  for (int64_t extent : {cache.layers(), cache.kv_heads(), cache.head_dim(), cache.page_size()})
    check(extent >= 1 && extent <= 1 << 20, "KV cache", "wrong extent");
  int64_t tokens = checkedMul(checkedMul(cache.kv_heads(), cache.head_dim()), cache.page_size());
  int64_t bytes = checkedMul(checkedMul(tokens, cache.layers()),
                             2 * int64_t(elementBytes(cache.dtype())));
  check(cache.window() >= 0, "KV cache", "negative window");
  check(cache.page_bytes() >= uint64_t(bytes) && cache.page_bytes() <= 1ull << 40, "KV cache",
        fmt::format("a page of {} bytes does not hold its {} bytes", cache.page_bytes(), bytes));
}

static void checkTarget(const Program &program, const TargetProgram &target,
                        uint64_t appendedBytes) {
  std::string_view name = text(target.target());
  bool cuda = name == "cuda";
  check(cuda || name == "cpu", "target", "expected cpu or cuda");
  std::string_view arch = text(target.arch());
  check(arch.empty() || (cuda && arch == cudaFamily(arch)), "target", "unknown architecture");
  checkDType(target.dtype(), name);
  if (target.cache())
    checkCache(*target.cache());
  std::unordered_set<std::string_view> kernelNames, functionNames, isas;
  for (uint32_t i = 0; i < length(target.kernels()); ++i) {
    const Kernel &kernel = *target.kernels()->Get(i);
    std::string subject = checkName(kernel.name(), "kernel");
    checkKernel(kernel, cuda, subject);
    check(kernelNames.insert(text(kernel.name())).second, subject, "defined twice");
  }
  for (uint32_t i = 0; i < length(target.cpu_libraries()); ++i) {
    const CpuLibrary &library = *target.cpu_libraries()->Get(i);
    std::string_view isa = text(library.isa());
    std::string subject = fmt::format("CPU library {}", i);
    check(isa == "x86-64-v3" || isa == "x86-64-v4" || isa == "avx512bf16" || isa == "amx", subject,
          "unknown instruction set");
    check(isas.insert(isa).second, subject, "instruction set given twice");
    check(length(library.data()) > 0, subject, "it is empty");
  }
  check(cuda || length(target.kernels()) == 0 || length(target.cpu_libraries()) > 0, name,
        "it has kernels and no library");
  for (uint32_t i = 0; i < length(target.constants()); ++i) {
    const Constant &constant = *target.constants()->Get(i);
    checkConstant(program, constant, appendedBytes, checkName(constant.name(), "constant"));
  }
  FunctionVerifier::Arity arity;
  for (uint32_t i = 0; i < length(target.functions()); ++i) {
    const Function &function = *target.functions()->Get(i);
    std::string subject = checkName(function.name(), "function");
    check(functionNames.insert(text(function.name())).second, subject, "defined twice");
    FunctionVerifier verifier(target, function, subject);
    verifier.arity = &arity;
    verifier.run();
  }
}

static void checkText(const TextModel &model) {
  check(model.bos_id() >= -1, "text model", "wrong bos id");
  check(length(model.eos_ids()) <= 4096, "text model", "too many eos ids");
  for (int64_t id : values(model.eos_ids()))
    check(id >= 0, "text model", "negative eos id");
  check(model.context_length() >= 0 && model.vocab_size() >= 0, "text model", "negative size");
  check(model.context_length() < 1ll << 31 && model.vocab_size() < 1ll << 31, "text model",
        "size beyond 31 bits");
  std::string_view output = text(model.output()), pooling = text(model.pooling());
  check(output.empty() || output == "logits" || output == "hidden" || output == "scores",
        "text model", "unknown output");
  check(pooling.empty() || pooling == "mean" || pooling == "cls" || pooling == "last",
        "text model", "unknown pooling");
}

const Program &rt::verifyProgram(std::span<const uint8_t> bytes, uint64_t appendedBytes) {
  if (bytes.size() < 16 || bytes.size() >= size_t(FLATBUFFERS_MAX_BUFFER_SIZE))
    throw Error("wrong size: {} bytes", bytes.size());
  flatbuffers::Verifier::Options options;
  options.max_tables = maxTables;
  flatbuffers::Verifier verifier(bytes.data(), bytes.size(), options);
  if (!VerifyProgramBuffer(verifier))
    throw Error("its structure is damaged");
  const Program &program = *GetProgram(bytes.data());
  if (program.format_version() != 1)
    throw Error("format version {}, but this mlsys reads version 1; compile the model again",
                program.format_version());
  for (uint32_t i = 0; i < length(program.weight_files()); ++i) {
    const WeightFile &file = *program.weight_files()->Get(i);
    check(!text(file.path()).empty() && text(file.path()).size() <= 4096 &&
              text(file.path()).find('\0') == std::string_view::npos,
          "weight file", "wrong path");
  }
  if (program.text())
    checkText(*program.text());
  check(length(program.targets()) > 0, "program", "it has no target");
  std::unordered_set<std::string> names;
  for (uint32_t i = 0; i < length(program.targets()); ++i) {
    const TargetProgram &target = *program.targets()->Get(i);
    checkTarget(program, target, appendedBytes);
    // A CPU has one for each instruction set, CUDA one for each family.
    std::string name(text(target.target()));
    if (name == "cuda")
      name += fmt::format(":{}", cudaFamily(text(target.arch())));
    if (length(target.cpu_libraries()) > 0)
      name += ":" + target.cpu_libraries()->Get(0)->isa()->str();
    check(names.insert(name).second, "target", "given twice");
  }
  return program;
}
