//===- Gguf.cpp - Reads GGUF headers --------------------------------------===//
//
// Part of mlsys, under the Apache License v2.0. See LICENSE.
//
//===----------------------------------------------------------------------===//
#include "runtime/Gguf.h"

#include "runtime/CheckedMath.h"
#include "runtime/DType.h"
#include "runtime/Error.h"
#include "runtime/MappedFile.h"

#include <algorithm>
#include <cstring>
#include <set>

namespace mlsys::rt {

using program::DType;

/// As many dimensions as ggml has.
static constexpr uint32_t maxDimensions = 4;
/// How deep arrays may nest.
static constexpr int maxArrayDepth = 4;
/// Fewest bytes of a metadata pair: key length, value type, a value of one byte.
static constexpr uint64_t minPairBytes = 8 + 4 + 1;
/// Fewest bytes of a tensor's description: name length, dimension count, type, offset.
static constexpr uint64_t minTensorBytes = 8 + 4 + 4 + 8;

std::string_view ggufTypeName(GgufType type) {
  static constexpr std::string_view names[] = {"u8",   "i8",     "u16",   "i16", "u32", "i32", "f32",
                                               "bool", "string", "array", "u64", "i64", "f64"};
  return names[static_cast<uint32_t>(type)];
}

/// Bytes of one number or bool.
static uint64_t scalarBytes(GgufType type) {
  switch (type) {
  case GgufType::U8:
  case GgufType::I8:
  case GgufType::Bool:
    return 1;
  case GgufType::U16:
  case GgufType::I16:
    return 2;
  case GgufType::U32:
  case GgufType::I32:
  case GgufType::F32:
    return 4;
  case GgufType::U64:
  case GgufType::I64:
  case GgufType::F64:
    return 8;
  case GgufType::String:
  case GgufType::Array:
    break;
  }
  return 0;
}

/// The value of a signed integer type; nothing for other types.
static std::optional<int64_t> signedValue(GgufType type, uint64_t bits) {
  switch (type) {
  case GgufType::I8:
    return static_cast<int8_t>(bits);
  case GgufType::I16:
    return static_cast<int16_t>(bits);
  case GgufType::I32:
    return static_cast<int32_t>(bits);
  case GgufType::I64:
    return static_cast<int64_t>(bits);
  default:
    return std::nullopt;
  }
}

std::optional<uint64_t> GgufValue::asUnsigned() const {
  if (std::optional<int64_t> value = signedValue(type, bits))
    return *value < 0 ? std::nullopt : std::optional<uint64_t>(*value);
  if (scalarBytes(type) == 0 || type == GgufType::F32 || type == GgufType::F64)
    return std::nullopt;
  return bits;
}

std::optional<double> GgufValue::asDouble() const {
  if (type == GgufType::F32) {
    float value;
    uint32_t low = static_cast<uint32_t>(bits);
    std::memcpy(&value, &low, 4);
    return value;
  }
  if (type == GgufType::F64) {
    double value;
    std::memcpy(&value, &bits, 8);
    return value;
  }
  if (std::optional<int64_t> value = signedValue(type, bits))
    return static_cast<double>(*value);
  if (scalarBytes(type) == 0)
    return std::nullopt;
  return static_cast<double>(bits);
}

GgufValue GgufValue::element(uint64_t index) const {
  GgufValue value;
  value.type = elementType;
  uint64_t bytes = scalarBytes(elementType);
  std::memcpy(&value.bits, raw.data() + index * bytes, bytes);
  return value;
}

const GgufValue *Gguf::find(std::string_view key) const {
  auto found = metadata.find(key);
  return found == metadata.end() ? nullptr : &found->second;
}

const StoredTensor *Gguf::findTensor(std::string_view name) const {
  auto found = std::find_if(tensors.begin(), tensors.end(),
                            [&](const StoredTensor &tensor) { return tensor.name == name; });
  return found == tensors.end() ? nullptr : &*found;
}

[[noreturn]] static void wrongType(const Gguf &file, std::string_view key, const GgufValue &value,
                                   const char *expected) {
  throw Error("{}: metadata {} is of type {}, expected {}", file.path, key,
              ggufTypeName(value.type), expected);
}

std::optional<uint64_t> Gguf::getUnsigned(std::string_view key) const {
  const GgufValue *value = find(key);
  if (!value)
    return std::nullopt;
  std::optional<uint64_t> number = value->asUnsigned();
  if (!number || value->type == GgufType::Bool)
    wrongType(*this, key, *value, "an integer that is not negative");
  return number;
}

std::optional<double> Gguf::getDouble(std::string_view key) const {
  const GgufValue *value = find(key);
  if (!value)
    return std::nullopt;
  std::optional<double> number = value->asDouble();
  if (!number || value->type == GgufType::Bool)
    wrongType(*this, key, *value, "a number");
  return number;
}

std::optional<bool> Gguf::getBool(std::string_view key) const {
  const GgufValue *value = find(key);
  if (!value)
    return std::nullopt;
  if (value->type != GgufType::Bool)
    wrongType(*this, key, *value, "a bool");
  return value->bits != 0;
}

std::optional<std::string> Gguf::getString(std::string_view key) const {
  const GgufValue *value = find(key);
  if (!value)
    return std::nullopt;
  if (value->type != GgufType::String)
    wrongType(*this, key, *value, "a string");
  return value->text;
}

const std::vector<std::string> *Gguf::getStrings(std::string_view key) const {
  const GgufValue *value = find(key);
  if (!value)
    return nullptr;
  if (value->type != GgufType::Array || value->elementType != GgufType::String)
    wrongType(*this, key, *value, "an array of strings");
  return &value->strings;
}

namespace {
/// A tensor type of ggml: its number in the file and what it is here.
struct GgmlType {
  uint32_t number;
  const char *name;
  DType dtype;
};
} // namespace

static constexpr GgmlType ggmlTypes[] = {
    {0, "F32", DType::F32}, {1, "F16", DType::F16}, {2, "Q4_0", DType::Q4_0},
    {3, "Q4_1", DType::Q4_1}, {6, "Q5_0", DType::Q5_0}, {7, "Q5_1", DType::Q5_1},
    {8, "Q8_0", DType::Q8_0}, {10, "Q2_K", DType::Q2_K}, {11, "Q3_K", DType::Q3_K},
    {12, "Q4_K", DType::Q4_K}, {13, "Q5_K", DType::Q5_K}, {14, "Q6_K", DType::Q6_K},
    {15, "Q8_K", DType::Q8_K}, {16, "IQ2_XXS", DType::IQ2_XXS}, {17, "IQ2_XS", DType::IQ2_XS},
    {18, "IQ3_XXS", DType::IQ3_XXS}, {19, "IQ1_S", DType::IQ1_S}, {20, "IQ4_NL", DType::IQ4_NL},
    {21, "IQ3_S", DType::IQ3_S}, {22, "IQ2_S", DType::IQ2_S}, {23, "IQ4_XS", DType::IQ4_XS},
    {24, "I8", DType::I8}, {25, "I16", DType::I16}, {26, "I32", DType::I32},
    {27, "I64", DType::I64}, {28, "F64", DType::F64}, {29, "IQ1_M", DType::IQ1_M},
    {30, "BF16", DType::BF16}, {34, "TQ1_0", DType::TQ1_0}, {35, "TQ2_0", DType::TQ2_0},
    {39, "MXFP4", DType::MXFP4}, {40, "NVFP4", DType::NVFP4}, {41, "Q1_0", DType::Q1_0}};

/// Types that were in ggml once, or that files do not hold.
static constexpr std::pair<uint32_t, const char *> otherGgmlTypes[] = {
    {4, "Q4_2, which ggml dropped"},
    {5, "Q4_3, which ggml dropped"},
    {9, "Q8_1, which ggml uses in products and does not store"},
    {31, "Q4_0_4_4, which ggml dropped"},
    {32, "Q4_0_4_8, which ggml dropped"},
    {33, "Q4_0_8_8, which ggml dropped"},
    {36, "IQ4_NL_4_4, which ggml dropped"},
    {37, "IQ4_NL_4_8, which ggml dropped"},
    {38, "IQ4_NL_8_8, which ggml dropped"}};

/// Throws for a type that is not in the table.
static DType ggmlDType(const std::string &path, std::string_view what, uint32_t number) {
  std::string known;
  for (const GgmlType &type : ggmlTypes) {
    if (type.number == number)
      return type.dtype;
    known.append(known.empty() ? "" : ", ").append(type.name);
  }
  std::string name = std::to_string(number);
  for (auto [other, text] : otherGgmlTypes)
    if (other == number)
      name = text;
  throw Error("{}: {} has type {}; supported are {}", path, what, name, known);
}

namespace {
/// Walks through the header; every read is checked against the file's end.
class Reader {
public:
  explicit Reader(const MappedFile &file) : file(file) {}

  uint64_t position = 0;
  uint64_t remaining() const { return file.size() - position; }

  template <typename T> T read(std::string_view what) {
    need(sizeof(T), what);
    T value;
    std::memcpy(&value, file.data() + position, sizeof(T));
    position += sizeof(T);
    return value;
  }

  std::string readString(std::string_view what) {
    uint64_t length = read<uint64_t>(what);
    need(length, what);
    std::string text(reinterpret_cast<const char *>(file.data()) + position, length);
    position += length;
    return text;
  }

  /// A count of things of at least `minBytes` bytes each.
  uint64_t readCount(uint64_t minBytes, std::string_view what) {
    uint64_t count = read<uint64_t>(what);
    if (count > remaining() / minBytes)
      throw Error("{}: {} is {}, more than the rest of the file ({} bytes) can hold", file.path(),
                  what, count, remaining());
    return count;
  }

  GgufType readType(std::string_view key) {
    uint32_t type = read<uint32_t>(key);
    if (type > static_cast<uint32_t>(GgufType::F64))
      throw Error("{}: {} has value type {}, which GGUF does not have", file.path(), key, type);
    return static_cast<GgufType>(type);
  }

  GgufValue readValue(GgufType type, const std::string &key, int depth = 0) {
    GgufValue value;
    value.type = type;
    if (type == GgufType::String) {
      value.text = readString(key);
    } else if (type == GgufType::Array) {
      readArray(value, key, depth);
    } else {
      uint64_t bytes = scalarBytes(type);
      need(bytes, key);
      std::memcpy(&value.bits, file.data() + position, bytes);
      position += bytes;
    }
    return value;
  }

private:
  void need(uint64_t bytes, std::string_view what) {
    if (bytes > remaining())
      throw Error("{}: the file ends at byte {} inside {}, which needs {} bytes from byte {}; it "
                  "is truncated or damaged",
                  file.path(), file.size(), what, bytes, position);
  }

  void readArray(GgufValue &value, const std::string &key, int depth) {
    if (depth == maxArrayDepth)
      throw Error("{}: {} nests arrays deeper than {} levels", file.path(), key, maxArrayDepth);
    value.elementType = readType(key);
    uint64_t bytes = scalarBytes(value.elementType);
    uint64_t minBytes = bytes ? bytes : value.elementType == GgufType::String ? 8 : 12;
    value.count = readCount(minBytes, fmt::format("the length of {}", key));
    if (value.elementType == GgufType::String) {
      value.strings.reserve(value.count);
      for (uint64_t i = 0; i < value.count; ++i)
        value.strings.push_back(readString(key));
    } else if (value.elementType == GgufType::Array) {
      for (uint64_t i = 0; i < value.count; ++i)
        value.nested.push_back(readValue(GgufType::Array, key, depth + 1));
    } else {
      const std::byte *begin = file.data() + position;
      value.raw.assign(begin, begin + value.count * bytes);
      position += value.count * bytes;
    }
  }

  const MappedFile &file;
};
} // namespace

/// One tensor's description; `offset` is still relative to the data.
static StoredTensor readTensorInfo(Reader &reader, const Gguf &file, uint64_t index) {
  StoredTensor tensor;
  tensor.name = reader.readString(fmt::format("the name of tensor {}", index));
  std::string what = "tensor " + tensor.name;
  uint32_t rank = reader.read<uint32_t>(what);
  if (rank > maxDimensions)
    throw Error("{}: {} has {} dimensions; at most {} are allowed", file.path, what, rank,
                maxDimensions);
  for (uint32_t i = 0; i < rank; ++i) {
    uint64_t extent = reader.read<uint64_t>(what);
    if (extent > static_cast<uint64_t>(INT64_MAX))
      throw Error("{}: {} has a dimension of {}", file.path, what, extent);
    tensor.shape.push_back(static_cast<int64_t>(extent));
  }
  // The file lists the innermost dimension first.
  std::reverse(tensor.shape.begin(), tensor.shape.end());
  uint32_t type = reader.read<uint32_t>(what);
  tensor.dtype = ggmlDType(file.path, what, type);
  tensor.offset = reader.read<uint64_t>(what);
  tensor.bytes = storedBytes(file.path + ": " + what, tensor.dtype, tensor.shape);
  return tensor;
}

/// general.alignment, or the format's default.
static uint64_t readAlignment(const Gguf &file) {
  std::optional<uint64_t> alignment = file.getUnsigned("general.alignment");
  if (!alignment)
    return 32;
  bool valid = *alignment >= 1 && *alignment <= (1u << 20) && (*alignment & (*alignment - 1)) == 0;
  if (!valid)
    throw Error("{}: general.alignment is {}, expected a power of two up to {}", file.path,
                *alignment, 1u << 20);
  return *alignment;
}

/// Makes the tensors' offsets absolute and checks them.
static void placeTensors(Gguf &file, uint64_t headerEnd) {
  uint64_t alignment = readAlignment(file);
  uint64_t dataStart = *tryAlign(headerEnd, alignment);
  std::vector<const StoredTensor *> extents;
  for (StoredTensor &tensor : file.tensors) {
    if (tensor.offset % alignment != 0)
      throw Error("{}: tensor {} begins at byte {} of the data, which is no multiple of the "
                  "alignment {}",
                  file.path, tensor.name, tensor.offset, alignment);
    std::optional<uint64_t> start = tryAdd(tensor.offset, dataStart);
    if (!start || !rangeInside(*start, tensor.bytes, file.size))
      throw Error("{}: tensor {} has {} bytes at offset {} of the data, beyond the end of the file "
                  "({} bytes); it is truncated or damaged",
                  file.path, tensor.name, tensor.bytes, tensor.offset, file.size);
    tensor.offset = *start;
    extents.push_back(&tensor);
  }
  checkNoOverlap(file.path, std::move(extents));
}

Gguf readGgufFile(const std::string &path) {
  MappedFile mapped(path);
  Reader reader(mapped);
  Gguf file;
  file.path = path;
  file.files = {path};
  file.size = mapped.size();
  if (file.size < 4 || std::memcmp(mapped.data(), "GGUF", 4) != 0)
    throw Error("{} is not a GGUF file: it does not begin with 'GGUF'", path);
  reader.position = 4;
  file.version = reader.read<uint32_t>("the version");
  if (file.version == 0x02000000 || file.version == 0x03000000)
    throw Error("{} is a big-endian GGUF file; only little-endian ones are supported", path);
  if (file.version != 2 && file.version != 3)
    throw Error("{} has GGUF version {}; supported are 2 and 3", path, file.version);
  uint64_t tensorCount = reader.readCount(minTensorBytes, "the number of tensors");
  uint64_t pairCount = reader.readCount(minPairBytes, "the number of metadata pairs");

  for (uint64_t i = 0; i < pairCount; ++i) {
    std::string key = reader.readString(fmt::format("the key of metadata pair {}", i));
    GgufType type = reader.readType("metadata " + key);
    GgufValue value = reader.readValue(type, "metadata " + key);
    if (!file.metadata.emplace(key, std::move(value)).second)
      throw Error("{}: metadata {} occurs twice", path, key);
  }
  std::set<std::string> names;
  for (uint64_t i = 0; i < tensorCount; ++i) {
    file.tensors.push_back(readTensorInfo(reader, file, i));
    if (!names.insert(file.tensors.back().name).second)
      throw Error("{}: tensor {} occurs twice", path, file.tensors.back().name);
  }
  placeTensors(file, reader.position);
  return file;
}

} // namespace mlsys::rt
