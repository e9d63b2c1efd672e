//===- Tensor.cpp - Values of the interpreter -----------------------------===//
//
// Part of mlsys, under the Apache License v2.0. See LICENSE.
//
//===----------------------------------------------------------------------===//

#include "mlsys/Interpreter/Tensor.h"

#include "llvm/ADT/STLExtras.h"
#include "llvm/ADT/bit.h"
#include "llvm/Support/ErrorHandling.h"

#include <cmath>
#include <cstring>

using namespace mlsys;
using program::DType;

//===----------------------------------------------------------------------===//
// Element types
//===----------------------------------------------------------------------===//

static float roundToBF16(float value) {
  if (std::isnan(value))
    return value;
  uint32_t bits = llvm::bit_cast<uint32_t>(value);
  bits += 0x7fff + ((bits >> 16) & 1);
  return llvm::bit_cast<float>(bits & 0xffff0000u);
}

static float roundToF16(float value) {
  float magnitude = std::fabs(value);
  if (!(magnitude < 65520.0f)) // Also NaN.
    return std::isnan(value) ? value : std::copysign(INFINITY, value);
  // Subnormals are multiples of 2^-24.
  if (magnitude < 0x1p-14f)
    return std::copysign(std::nearbyint(magnitude * 0x1p24f) * 0x1p-24f, value);
  uint32_t bits = llvm::bit_cast<uint32_t>(value);
  bits += 0xfff + ((bits >> 13) & 1);
  return llvm::bit_cast<float>(bits & ~0x1fffu);
}

double mlsys::roundToFloatType(double value, DType dtype) {
  switch (dtype) {
  case DType::F64:
    return value;
  case DType::F32:
    return static_cast<float>(value);
  case DType::BF16:
    return roundToBF16(static_cast<float>(value));
  case DType::F16:
    return roundToF16(static_cast<float>(value));
  default:
    llvm_unreachable("not a float type");
  }
}

/// The encoding of a value that F16 holds exactly.
static uint16_t encodeF16(float value) {
  uint32_t bits = llvm::bit_cast<uint32_t>(value);
  uint16_t sign = (bits >> 16) & 0x8000;
  if (std::isnan(value))
    return sign | 0x7e00;
  if (std::isinf(value))
    return sign | 0x7c00;
  float magnitude = std::fabs(value);
  if (magnitude < 0x1p-14f)
    return sign | static_cast<uint16_t>(magnitude * 0x1p24f);
  return sign | static_cast<uint16_t>(((bits & 0x7fffffff) >> 13) - (112 << 10));
}

static float decodeF16(uint16_t code) {
  float sign = code & 0x8000 ? -1.0f : 1.0f;
  int exponent = (code >> 10) & 31, mantissa = code & 0x3ff;
  if (exponent == 31)
    return mantissa ? NAN : sign * INFINITY;
  if (exponent == 0)
    return sign * std::ldexp(float(mantissa), -24);
  return sign * std::ldexp(float(mantissa + 1024), exponent - 25);
}

static int64_t wrapInt(int64_t value, DType dtype) {
  switch (dtype) {
  case DType::Bool:
    return value != 0;
  case DType::I8:
    return static_cast<int8_t>(value);
  case DType::U8:
    return static_cast<uint8_t>(value);
  case DType::I16:
    return static_cast<int16_t>(value);
  case DType::I32:
    return static_cast<int32_t>(value);
  case DType::I64:
    return value;
  default:
    llvm_unreachable("not an integer type");
  }
}

size_t mlsys::elementBytes(DType dtype) {
  switch (dtype) {
  case DType::Bool:
  case DType::I8:
  case DType::U8:
    return 1;
  case DType::I16:
  case DType::F16:
  case DType::BF16:
    return 2;
  case DType::I32:
  case DType::F32:
    return 4;
  case DType::I64:
  case DType::F64:
    return 8;
  default:
    return 0;
  }
}

llvm::StringRef mlsys::dtypeText(DType dtype) {
  static constexpr llvm::StringLiteral names[] = {"bool", "i8",  "u8",   "i16",  "i32", "i64", "f16",
                                                  "bf16", "f32", "f64", "q4_0", "q4_1", "q8_0"};
  return names[static_cast<size_t>(dtype)];
}

//===----------------------------------------------------------------------===//
// Shapes
//===----------------------------------------------------------------------===//

std::string mlsys::shapeText(llvm::ArrayRef<int64_t> shape) {
  std::string text = "[";
  for (auto [index, extent] : llvm::enumerate(shape))
    text += (index ? ", " : "") + std::to_string(extent);
  return text + "]";
}

int64_t mlsys::countElements(llvm::ArrayRef<int64_t> shape) {
  int64_t count = 1;
  for (int64_t extent : shape)
    count *= extent;
  return count;
}

//===----------------------------------------------------------------------===//
// Tensor
//===----------------------------------------------------------------------===//

bool Tensor::isFloat() const {
  return type == DType::F16 || type == DType::BF16 || type == DType::F32 || type == DType::F64;
}

Tensor::Tensor(DType dtype, llvm::ArrayRef<int64_t> shape)
    : type(dtype), extents(shape), count(countElements(shape)) {
  if (dtype == DType::F64)
    elements = std::make_shared<Elements>(std::vector<double>(count));
  else if (isFloat())
    elements = std::make_shared<Elements>(std::vector<float>(count));
  else
    elements = std::make_shared<Elements>(std::vector<int64_t>(count));
}

Tensor Tensor::reshaped(llvm::ArrayRef<int64_t> shape) const {
  assert(countElements(shape) == count && "a reshape keeps the number of elements");
  Tensor result = *this;
  result.extents = shape.vec();
  return result;
}

double Tensor::getFloat(int64_t index) const {
  assert(index >= 0 && index < count && "element outside the tensor");
  if (auto *floats = std::get_if<std::vector<float>>(elements.get()))
    return (*floats)[index];
  if (auto *doubles = std::get_if<std::vector<double>>(elements.get()))
    return (*doubles)[index];
  return static_cast<double>(std::get<std::vector<int64_t>>(*elements)[index]);
}

int64_t Tensor::getInt(int64_t index) const {
  assert(index >= 0 && index < count && "element outside the tensor");
  return std::get<std::vector<int64_t>>(*elements)[index];
}

void Tensor::setFloat(int64_t index, double value) {
  assert(index >= 0 && index < count && "element outside the tensor");
  if (type == DType::F64)
    std::get<std::vector<double>>(*elements)[index] = value;
  else
    std::get<std::vector<float>>(*elements)[index] =
        static_cast<float>(roundToFloatType(value, type));
}

void Tensor::setInt(int64_t index, int64_t value) {
  assert(index >= 0 && index < count && "element outside the tensor");
  std::get<std::vector<int64_t>>(*elements)[index] = wrapInt(value, type);
}

/// Reads elements of type T and gives each to `set(index, value)`.
template <typename T, typename Set>
static void readElements(llvm::ArrayRef<std::byte> bytes, int64_t count, Set set) {
  for (int64_t index = 0; index < count; ++index) {
    T value;
    std::memcpy(&value, bytes.data() + index * sizeof(T), sizeof(T));
    set(index, value);
  }
}

llvm::Expected<Tensor> Tensor::fromBytes(DType dtype, llvm::ArrayRef<int64_t> shape,
                                         llvm::ArrayRef<std::byte> bytes) {
  int64_t count = countElements(shape);
  size_t width = elementBytes(dtype);
  if (width == 0 || bytes.size() != count * width)
    return llvm::createStringError("a " + dtypeText(dtype) + " tensor of shape " +
                                   shapeText(shape) + " does not have " +
                                   std::to_string(bytes.size()) + " bytes");
  Tensor result(dtype, shape);
  auto setInt = [&](int64_t index, auto value) { result.setInt(index, value); };
  auto setFloat = [&](int64_t index, auto value) { result.setFloat(index, value); };
  switch (dtype) {
  case DType::Bool:
  case DType::U8:
    readElements<uint8_t>(bytes, count, setInt);
    break;
  case DType::I8:
    readElements<int8_t>(bytes, count, setInt);
    break;
  case DType::I16:
    readElements<int16_t>(bytes, count, setInt);
    break;
  case DType::I32:
    readElements<int32_t>(bytes, count, setInt);
    break;
  case DType::I64:
    readElements<int64_t>(bytes, count, setInt);
    break;
  case DType::F16:
    readElements<uint16_t>(bytes, count,
                           [&](int64_t i, uint16_t code) { result.setFloat(i, decodeF16(code)); });
    break;
  case DType::BF16:
    readElements<uint16_t>(bytes, count, [&](int64_t i, uint16_t code) {
      result.setFloat(i, llvm::bit_cast<float>(uint32_t(code) << 16));
    });
    break;
  case DType::F32:
    // The one type that weights of hundreds of megabytes come in.
    std::memcpy(std::get<std::vector<float>>(*result.elements).data(), bytes.data(), bytes.size());
    break;
  case DType::F64:
    readElements<double>(bytes, count, setFloat);
    break;
  default:
    llvm_unreachable("refused above");
  }
  return result;
}

std::vector<std::byte> Tensor::toBytes() const {
  size_t width = elementBytes(type);
  std::vector<std::byte> bytes(count * width);
  for (int64_t index = 0; index < count; ++index) {
    std::byte *to = bytes.data() + index * width;
    if (type == DType::F64) {
      double value = getFloat(index);
      std::memcpy(to, &value, width);
    } else if (isFloat()) {
      float value = static_cast<float>(getFloat(index));
      uint32_t bits = llvm::bit_cast<uint32_t>(value);
      uint16_t code = type == DType::F16 ? encodeF16(value) : static_cast<uint16_t>(bits >> 16);
      std::memcpy(to, type == DType::F32 ? static_cast<void *>(&bits) : &code, width);
    } else {
      int64_t value = getInt(index); // Little endian: the low bytes come first.
      std::memcpy(to, &value, width);
    }
  }
  return bytes;
}

//===----------------------------------------------------------------------===//
// KvPages
//===----------------------------------------------------------------------===//

KvPages::KvPages(int64_t pages, int64_t layers, int64_t heads, int64_t headDim, int64_t pageSize,
                 DType dtype)
    : pages(pages), layers(layers), heads(heads), headDim(headDim), pageSize(pageSize),
      dtype(dtype), elements(pages) {}

float *KvPages::row(int64_t layer, int64_t part, int64_t slot, int64_t head) {
  int64_t page = slot / pageSize, row = slot % pageSize;
  assert(page < pages && layer < layers && head < heads && "outside the KV cache");
  if (elements[page].empty())
    elements[page].resize(layers * 2 * pageSize * heads * headDim);
  int64_t index = ((layer * 2 + part) * pageSize + row) * heads + head;
  return elements[page].data() + index * headDim;
}

void KvPages::zero(int64_t page) { elements[page].clear(); }
