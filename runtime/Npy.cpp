//===- Npy.cpp - Reads and writes NumPy arrays ----------------------------===//
//
// Part of mlsys, under the Apache License v2.0. See LICENSE.
//
//===----------------------------------------------------------------------===//
#include "runtime/Npy.h"

#include "runtime/AtomicFile.h"
#include "runtime/CheckedMath.h"
#include "runtime/Dequantize.h"
#include "runtime/Error.h"
#include "runtime/MappedFile.h"
#include "runtime/Program.h"
#include "runtime/StoredTensor.h"

#include <cctype>
#include <cstring>
#include <optional>
#include <string_view>

namespace mlsys::rt {

using program::DType;

static constexpr std::string_view magic("\x93NUMPY", 6);
/// As many dimensions as NumPy has.
static constexpr size_t maxDimensions = 64;

namespace {
struct Descr {
  std::string_view code;
  DType dtype;
};
} // namespace

/// NumPy's names, without the byte order.
static constexpr Descr descrs[] = {{"b1", DType::Bool}, {"i1", DType::I8},  {"u1", DType::U8},
                                   {"i2", DType::I16},  {"i4", DType::I32}, {"i8", DType::I64},
                                   {"f2", DType::F16},  {"f4", DType::F32}, {"f8", DType::F64}};

static DType parseDescr(const std::string &path, std::string_view text) {
  if (!text.empty() && text[0] == '>' && text.substr(1) != "b1" && text.substr(1) != "i1" &&
      text.substr(1) != "u1")
    throw Error("{} holds big-endian '{}'; only little-endian arrays are supported", path, text);
  std::string_view code = text;
  if (!code.empty() && std::string_view("<>=|").find(code[0]) != std::string_view::npos)
    code.remove_prefix(1);
  for (const Descr &known : descrs)
    if (known.code == code)
      return known.dtype;
  throw Error("{} holds elements of type '{}'; supported are bool, int8, uint8, int16, int32, "
              "int64, float16, float32 and float64",
              path, text);
}

namespace {
/// Parses the header, a Python dictionary with the keys descr, fortran_order and shape.
class HeaderParser {
public:
  HeaderParser(const std::string &path, std::string_view text) : path(path), text(text) {}

  std::optional<DType> dtype;
  std::optional<bool> fortranOrder;
  std::optional<std::vector<int64_t>> shape;

  void parse() {
    expect('{');
    while (!accept('}')) {
      std::string_view key = parseString();
      expect(':');
      if (key == "descr") {
        skipSpace();
        if (peek() == '[')
          throw Error("{} holds records; only arrays of numbers are supported", path);
        dtype = parseDescr(path, parseString());
      } else if (key == "fortran_order") {
        fortranOrder = parseBool();
      } else if (key == "shape") {
        shape = parseShape();
      } else {
        fail();
      }
      if (!accept(',')) {
        expect('}');
        break;
      }
    }
    if (!dtype || !fortranOrder || !shape)
      throw Error("{}: the header lacks descr, fortran_order or shape", path);
  }

private:
  [[noreturn]] void fail() {
    throw Error("{}: the header is not what NumPy writes, from character {}", path, position);
  }
  char peek() const { return position < text.size() ? text[position] : '\0'; }
  void skipSpace() {
    while (position < text.size() && std::isspace(static_cast<unsigned char>(text[position])))
      ++position;
  }
  bool accept(char c) {
    skipSpace();
    if (peek() != c)
      return false;
    ++position;
    return true;
  }
  void expect(char c) {
    if (!accept(c))
      fail();
  }

  std::string_view parseString() {
    skipSpace();
    char quote = peek();
    if (quote != '\'' && quote != '"')
      fail();
    size_t end = text.find(quote, position + 1);
    if (end == std::string_view::npos)
      fail();
    std::string_view value = text.substr(position + 1, end - position - 1);
    position = end + 1;
    return value;
  }

  bool parseBool() {
    skipSpace();
    for (std::string_view word : {std::string_view("True"), std::string_view("False")}) {
      if (text.substr(position, word.size()) == word) {
        position += word.size();
        return word == "True";
      }
    }
    fail();
  }

  std::vector<int64_t> parseShape() {
    std::vector<int64_t> extents;
    expect('(');
    while (!accept(')')) {
      extents.push_back(parseExtent());
      if (extents.size() > maxDimensions)
        throw Error("{} has more than {} dimensions", path, maxDimensions);
      if (!accept(',')) {
        expect(')');
        break;
      }
    }
    return extents;
  }

  int64_t parseExtent() {
    skipSpace();
    int64_t value = 0;
    size_t begin = position;
    for (; std::isdigit(static_cast<unsigned char>(peek())); ++position) {
      if (__builtin_mul_overflow(value, int64_t(10), &value) ||
          __builtin_add_overflow(value, int64_t(peek() - '0'), &value))
        throw Error("{} has a dimension that is too large", path);
    }
    if (position == begin)
      fail();
    return value;
  }

  const std::string &path;
  std::string_view text;
  size_t position = 0;
};
} // namespace

NpyArray readNpy(const std::string &path) {
  MappedFile file(path);
  const char *begin = reinterpret_cast<const char *>(file.data());
  if (file.size() < 10 || std::string_view(begin, 6) != magic)
    throw Error("{} is not a .npy file", path);
  unsigned version = static_cast<unsigned char>(begin[6]);
  if (version < 1 || version > 3)
    throw Error("{} has .npy version {}; supported are 1, 2 and 3", path, version);
  uint64_t headerStart = version == 1 ? 10 : 12;
  uint32_t headerBytes = 0;
  if (file.size() >= headerStart)
    std::memcpy(&headerBytes, begin + 8, headerStart - 8);
  if (!rangeInside(headerStart, headerBytes, file.size()))
    throw Error("{}: the header is said to have {} bytes, but the file has only {}; it is truncated",
                path, headerBytes, file.size());
  HeaderParser header(path, std::string_view(begin + headerStart, headerBytes));
  header.parse();
  if (*header.fortranOrder && header.shape->size() > 1)
    throw Error("{} is in Fortran order; save it with numpy.ascontiguousarray", path);

  uint64_t dataStart = headerStart + headerBytes;
  uint64_t dataBytes = storedBytes(path, *header.dtype, *header.shape);
  if (dataBytes != file.size() - dataStart)
    throw Error("{} has {} bytes of data, but shape {} of {} needs {}", path,
                file.size() - dataStart, shapeText(*header.shape), dtypeName(*header.dtype),
                dataBytes);
  NpyArray array;
  array.dtype = *header.dtype;
  array.shape = std::move(*header.shape);
  array.data.assign(file.data() + dataStart, file.data() + file.size());
  return array;
}

static std::string_view descrOf(const std::string &path, DType dtype) {
  for (const Descr &known : descrs)
    if (known.dtype == dtype)
      return known.code;
  throw Error("cannot write {}: .npy has no element type for {}", path, dtypeName(dtype));
}

void writeNpy(const std::string &path, DType dtype, std::span<const int64_t> shape,
              std::span<const std::byte> data) {
  uint64_t bytes = storedBytes("cannot write " + path + ": the array", dtype, shape);
  if (bytes != data.size())
    throw Error("cannot write {}: {} bytes were given, but shape {} of {} needs {}", path,
                data.size(), shapeText(shape), dtypeName(dtype), bytes);
  std::vector<float> widened;
  if (dtype == DType::BF16) {
    widened.resize(data.size() / 2);
    convertToF32(dtype, data.data(), widened.data(), static_cast<int64_t>(widened.size()));
    data = std::as_bytes(std::span<const float>(widened));
    dtype = DType::F32;
  }
  std::string extents;
  for (int64_t extent : shape)
    extents += std::to_string(extent) + (shape.size() == 1 ? "," : ", ");
  if (shape.size() > 1)
    extents.resize(extents.size() - 2);
  std::string_view code = descrOf(path, dtype);
  std::string header = fmt::format("{{'descr': '{}{}', 'fortran_order': False, 'shape': ({}), }}",
                                   code.back() == '1' ? '|' : '<', code, extents);
  // The data begins at a multiple of 64.
  header.resize((10 + header.size() + 1 + 63) / 64 * 64 - 11, ' ');
  header += '\n';
  std::string prefix(magic);
  prefix += {'\x01', '\x00', static_cast<char>(header.size() & 0xff),
             static_cast<char>(header.size() >> 8)};
  prefix += header;
  AtomicFile file(path);
  file.write(prefix);
  file.write(data);
  file.commit();
}

} // namespace mlsys::rt
