//===- AmxEmulator.cpp ----------------------------------------------------===//
//
// Part of mlsys, under the Apache License v2.0. See LICENSE.
//
//===----------------------------------------------------------------------===//
//
// Intel's Software Developer's Manual, volume 2, is what this follows: the tables of palette 1, the
// exceptions of each instruction, and the order and rounding of TDPBF16PS.
//
//===----------------------------------------------------------------------===//

#include "AmxEmulator.h"

#include "llvm/Support/Signals.h"

#include <atomic>
#include <bit>
#include <cmath>
#include <cstdlib>
#include <cstring>
#include <ucontext.h>
#include <unistd.h>
#include <xmmintrin.h>

using namespace mlsys::test;

namespace {

constexpr int numTiles = 8, maxRows = 16, maxRowBytes = 64;

/// What LDTILECFG reads.
struct Configuration {
  uint8_t palette, startRow, reserved[14];
  uint16_t rowBytes[16];
  uint8_t rows[16];
};
static_assert(sizeof(Configuration) == 64);

/// The tiles of a thread.
struct Tiles {
  Configuration configuration;
  uint8_t data[numTiles][maxRows][maxRowBytes];
};
thread_local Tiles tiles;

std::atomic<int64_t> instructionCount, productCount;

/// Ends the process: in the handler of a signal nothing else is safe.
[[noreturn]] void refuse(const char *text) {
  const char *parts[] = {"AMX: ", text, "\n"};
  for (const char *part : parts)
    if (::write(STDERR_FILENO, part, std::strlen(part)) < 0)
      break;
  std::abort();
}

void check(bool good, const char *text) {
  if (!good)
    refuse(text);
}

int rowsOf(int tile) { return tiles.configuration.rows[tile]; }
int rowBytesOf(int tile) { return tiles.configuration.rowBytes[tile]; }

void checkTile(int tile) {
  check(tiles.configuration.palette == 1, "tiles are used before LDTILECFG");
  check(tile < numTiles, "there are eight tiles");
  check(rowsOf(tile) != 0, "a tile is used that has no rows");
}

void loadConfiguration(const uint8_t *memory) {
  Configuration next;
  std::memcpy(&next, memory, sizeof(next));
  check(next.palette <= 1, "unknown palette");
  if (next.palette == 0) {
    tiles = {};
    return;
  }
  check(next.startRow < maxRows, "start_row is too large");
  for (uint8_t byte : next.reserved)
    check(byte == 0, "reserved bytes of a configuration are not zero");
  for (int tile = 0; tile < 16; ++tile) {
    check(tile < numTiles || (next.rows[tile] == 0 && next.rowBytes[tile] == 0), "there are eight tiles");
    check(next.rows[tile] <= maxRows, "a tile has more than 16 rows");
    check(next.rowBytes[tile] <= maxRowBytes, "a row of a tile has more than 64 bytes");
    check((next.rows[tile] == 0) == (next.rowBytes[tile] == 0), "a tile has rows but no columns, or no rows");
  }
  tiles = {};
  tiles.configuration = next;
}

void moveRows(int tile, uint8_t *memory, int64_t stride, bool load) {
  checkTile(tile);
  int bytes = rowBytesOf(tile);
  uint8_t(&data)[maxRows][maxRowBytes] = tiles.data[tile];
  if (load)
    std::memset(data, 0, sizeof(data));
  for (int row = tiles.configuration.startRow; row < rowsOf(tile); ++row)
    load ? std::memcpy(data[row], memory + row * stride, bytes)
         : std::memcpy(memory + row * stride, data[row], bytes);
  tiles.configuration.startRow = 0;
}

float element(int tile, int row, int column) {
  uint16_t half;
  std::memcpy(&half, &tiles.data[tile][row][2 * column], sizeof(half));
  return std::bit_cast<float>(uint32_t(half) << 16);
}

void checkProduct(int sum, int left, int right) {
  checkTile(sum), checkTile(left), checkTile(right);
  check(sum != left && sum != right && left != right, "a tile is two operands of a product");
  check(rowBytesOf(sum) % 4 == 0 && rowBytesOf(left) % 4 == 0 && rowBytesOf(right) % 4 == 0,
        "a row of a tile has a part of an element");
  check(rowsOf(sum) == rowsOf(left), "rows of the sum and of the left side differ");
  check(rowBytesOf(sum) == rowBytesOf(right), "columns of the sum and of the right side differ");
  check(rowBytesOf(left) / 4 == rowsOf(right), "what is summed over differs");
}

/// What lies behind the sums becomes zero.
void finishProduct(int sum) {
  for (int row = 0; row < rowsOf(sum); ++row)
    std::memset(tiles.data[sum][row] + rowBytesOf(sum), 0, maxRowBytes - rowBytesOf(sum));
  for (int row = rowsOf(sum); row < maxRows; ++row)
    std::memset(tiles.data[sum][row], 0, maxRowBytes);
  tiles.configuration.startRow = 0;
  ++productCount;
}

/// sum += left * right, of pairs of bf16. Even and odd elements are added up apart in f32, then both to
/// the sum; denormals are zero.
void multiply(int sum, int left, int right) {
  checkProduct(sum, left, right);
  unsigned control = _mm_getcsr();
  constexpr unsigned roundToNearestFlushed = 0x9fc0;
  _mm_setcsr(roundToNearestFlushed);
  int columns = rowBytesOf(sum) / 4, pairs = rowsOf(right);
  for (int row = 0; row < rowsOf(sum); ++row) {
    float even[maxRowBytes / 4] = {}, odd[maxRowBytes / 4] = {};
    for (int pair = 0; pair < pairs; ++pair)
      for (int column = 0; column < columns; ++column) {
        even[column] = std::fma(element(left, row, 2 * pair), element(right, pair, 2 * column), even[column]);
        odd[column] =
            std::fma(element(left, row, 2 * pair + 1), element(right, pair, 2 * column + 1), odd[column]);
      }
    auto *totals = reinterpret_cast<float *>(tiles.data[sum][row]);
    for (int column = 0; column < columns; ++column)
      totals[column] += even[column] + odd[column];
  }
  finishProduct(sum);
  _mm_setcsr(control);
}

/// sum += left * right, of fours of bytes; i32 wraps around.
void multiplyBytes(int sum, int left, int right, bool unsignedLeft, bool unsignedRight) {
  checkProduct(sum, left, right);
  auto byte = [](int tile, int row, int column, bool isUnsigned) {
    uint8_t bits = tiles.data[tile][row][column];
    return isUnsigned ? int32_t(bits) : int32_t(int8_t(bits));
  };
  int columns = rowBytesOf(sum) / 4, fours = rowsOf(right);
  for (int row = 0; row < rowsOf(sum); ++row) {
    auto *totals = reinterpret_cast<uint32_t *>(tiles.data[sum][row]);
    for (int four = 0; four < fours; ++four)
      for (int column = 0; column < columns; ++column)
        for (int k = 0; k < 4; ++k)
          totals[column] += uint32_t(byte(left, row, 4 * four + k, unsignedLeft) *
                                     byte(right, four, 4 * column + k, unsignedRight));
  }
  finishProduct(sum);
}

/// An instruction in VEX's long form and the registers that it reads.
class Instruction {
public:
  Instruction(const uint8_t *code, const greg_t *registers) : code(code), registers(registers) {}

  /// Carries it out; gives its length, or 0 when it is none of AMX's.
  int64_t run();

private:
  enum Prefix { None, P66, Pf3, Pf2 };

  int mode() const { return code[4] >> 6; }
  int field() const { return (code[4] >> 3 & 7) | (~code[1] >> 4 & 8); }
  int base() const { return (code[4] & 7) | (~code[1] >> 2 & 8); }
  int extra() const { return ~code[2] >> 3 & 15; }
  int64_t registerValue(int number) const;
  /// The operand in memory: its address, and for those with an index the index alone.
  void decodeMemory();
  int64_t configure(Prefix prefix);

  const uint8_t *code;
  const greg_t *registers;
  uint8_t *address = nullptr;
  int64_t index = 0, length = 5;
};

} // namespace

int64_t Instruction::registerValue(int number) const {
  static constexpr int names[] = {REG_RAX, REG_RCX, REG_RDX, REG_RBX, REG_RSP, REG_RBP, REG_RSI, REG_RDI,
                                  REG_R8,  REG_R9,  REG_R10, REG_R11, REG_R12, REG_R13, REG_R14, REG_R15};
  return registers[names[number]];
}

void Instruction::decodeMemory() {
  int64_t start = 0;
  bool baseless = false;
  if ((code[4] & 7) == 4) {
    int indexNumber = (code[5] >> 3 & 7) | (~code[1] >> 3 & 8), scale = code[5] >> 6;
    int baseNumber = (code[5] & 7) | (~code[1] >> 2 & 8);
    // Register 4 is no index; with mode 0 the base 5 is a displacement alone.
    if (indexNumber != 4)
      index = registerValue(indexNumber) << scale;
    baseless = mode() == 0 && (code[5] & 7) == 5;
    if (!baseless)
      start = registerValue(baseNumber);
    ++length;
  } else if (mode() == 0 && (code[4] & 7) == 5) {
    // From the next instruction on.
    int32_t displacement;
    std::memcpy(&displacement, code + 5, 4);
    length += 4;
    address = const_cast<uint8_t *>(code) + length + displacement;
    return;
  } else {
    start = registerValue(base());
  }
  int64_t displacement = 0;
  if (mode() == 1) {
    displacement = static_cast<int8_t>(code[length]);
    length += 1;
  } else if (mode() == 2 || baseless) {
    int32_t wide;
    std::memcpy(&wide, code + length, 4);
    displacement = wide;
    length += 4;
  }
  address = reinterpret_cast<uint8_t *>(start + displacement);
}

int64_t Instruction::configure(Prefix prefix) {
  if (mode() == 3) {
    if (prefix == Pf2) {
      checkTile(field());
      std::memset(tiles.data[field()], 0, sizeof(tiles.data[0]));
      return length;
    }
    if (prefix != None || code[4] != 0xc0)
      return 0;
    tiles = {};
    return length;
  }
  if ((code[4] >> 3 & 7) != 0 || (prefix != None && prefix != P66))
    return 0;
  decodeMemory();
  // Without a step between rows the index is a part of the address.
  address += index;
  if (prefix == None)
    loadConfiguration(address);
  else
    std::memcpy(address, &tiles.configuration, sizeof(Configuration));
  return length;
}

int64_t Instruction::run() {
  constexpr uint8_t longVex = 0xc4, map0f38 = 2;
  // No W, 128 bits.
  if (code[0] != longVex || (code[1] & 31) != map0f38 || (code[2] & 0x84) != 0)
    return 0;
  auto prefix = static_cast<Prefix>(code[2] & 3);
  switch (code[3]) {
  case 0x49:
    return configure(prefix);
  case 0x4b:
    if (mode() == 3 || (code[4] & 7) != 4 || prefix == None)
      return 0;
    decodeMemory();
    moveRows(field(), address, index, /*load=*/prefix != Pf3);
    return length;
  case 0x5c:
    if (mode() != 3 || prefix != Pf3)
      return 0;
    multiply(field(), base(), extra());
    return length;
  case 0x5e:
    if (mode() != 3)
      return 0;
    // TDPBUUD, TDPBUSD, TDPBSUD, TDPBSSD.
    multiplyBytes(field(), base(), extra(), /*unsignedLeft=*/prefix == None || prefix == P66,
                  /*unsignedRight=*/prefix == None || prefix == Pf3);
    return length;
  default:
    return 0;
  }
}

static void handle(int, siginfo_t *, void *context) {
  greg_t *registers = static_cast<ucontext_t *>(context)->uc_mcontext.gregs;
  auto *code = reinterpret_cast<const uint8_t *>(registers[REG_RIP]);
  int64_t length = Instruction(code, registers).run();
  if (length == 0) {
    char text[] = "an instruction that this processor has not, and that is none of AMX: .. .. .. .. .. .. .. ..";
    for (int byte = 0; byte < 8; ++byte)
      for (int half = 0; half < 2; ++half)
        text[sizeof(text) - 24 + 3 * byte + half] = "0123456789abcdef"[code[byte] >> (half == 0 ? 4 : 0) & 15];
    refuse(text);
  }
  registers[REG_RIP] += length;
  ++instructionCount;
}

AmxEmulator::AmxEmulator() {
  // LLVM puts its handlers over others once, when it writes its first file: let that be before.
  [[maybe_unused]] static const bool registered = [] {
    llvm::sys::AddSignalHandler([](void *) {}, nullptr);
    return true;
  }();
  struct sigaction action = {};
  action.sa_sigaction = handle;
  action.sa_flags = SA_SIGINFO;
  ::sigaction(SIGILL, &action, &previous);
}

AmxEmulator::~AmxEmulator() { ::sigaction(SIGILL, &previous, nullptr); }

int64_t AmxEmulator::instructions() { return instructionCount; }
int64_t AmxEmulator::products() { return productCount; }
