//===- Program.cpp - Compiled models in memory and on disk ------*- C++ -*-===//
//
// Part of mlsys, under the Apache License v2.0. See LICENSE.
//
//===----------------------------------------------------------------------===//
#include "runtime/Program.h"

#include "runtime/CpuDevice.h"

#include "runtime/AtomicFile.h"
#include "runtime/CudaArch.h"
#include "runtime/Error.h"
#include "runtime/Expr.h"

#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <fcntl.h>
#include <filesystem>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

using namespace mlsys;
using namespace mlsys::rt;
using program::DType;

static constexpr uint64_t regionAlignment = 4096;
static constexpr char trailerMagic[8] = {'M', 'L', 'S', 'Y', 'E', 'N', 'D', '1'};

namespace {
/// The last bytes of a .mlsys file.
struct Trailer {
  uint64_t programBytes;
  uint64_t dataOffset;
  uint64_t dataBytes;
  uint64_t checksum;
  char magic[8];
};
static_assert(sizeof(Trailer) == 40);
} // namespace

/// A 64-bit checksum against damaged files (not against attackers): four
/// multiplicative lanes over 8-byte words.
static uint64_t checksumOf(std::span<const uint8_t> bytes) {
  constexpr uint64_t prime = 0x9E3779B97F4A7C15ull;
  uint64_t lanes[4] = {1, 2, 3, 4};
  size_t position = 0;
  for (unsigned lane = 0; position < bytes.size(); position += 8, ++lane) {
    uint64_t word = 0;
    std::memcpy(&word, bytes.data() + position, std::min<size_t>(8, bytes.size() - position));
    uint64_t &state = lanes[lane % 4];
    state = (state ^ word) * prime;
    state ^= state >> 29;
  }
  uint64_t result = bytes.size();
  for (uint64_t lane : lanes)
    result = (result ^ lane) * prime ^ (result >> 31);
  return result;
}

uint64_t rt::constantBytes(const program::Constant &constant) {
  std::span<const int64_t> shape = values(constant.shape());
  uint64_t plain = tensorBytes(constant.dtype(), shape);
  if (constant.layout() == program::Layout::RowMajor)
    return plain;
  auto padded = [](int64_t extent, int64_t unit) {
    return checkedMul(checkedAdd(extent, unit - 1) / unit, unit);
  };
  int64_t rows = padded(shape[shape.size() - 2], constant.block());
  int64_t columns = padded(shape.back(), constant.pair());
  if (shape.size() == 3)
    rows = checkedMul(shape[0], rows);
  return uint64_t(checkedMul(checkedMul(rows, columns), int64_t(elementBytes(constant.dtype()))));
}

LoadedProgram LoadedProgram::fromFile(const std::string &path) {
  int fd = ::open(path.c_str(), O_RDONLY | O_CLOEXEC);
  if (fd < 0)
    throw Error("cannot open '{}': {}", path, std::strerror(errno));
  struct stat info;
  bool statted = ::fstat(fd, &info) == 0;
  if (!statted || !S_ISREG(info.st_mode)) {
    ::close(fd);
    if (statted && S_ISDIR(info.st_mode))
      throw Error("'{}' is a folder, not a compiled model; make one with 'mlsys compile {} -o "
                  "model.mlsys'",
                  path, path);
    throw Error("cannot open '{}': not a regular file", path);
  }
  uint64_t size = uint64_t(info.st_size);
  if (size < sizeof(Trailer)) {
    ::close(fd);
    throw Error("'{}' is not a compiled model: it has only {} bytes", path, size);
  }
  void *address = ::mmap(nullptr, size, PROT_READ, MAP_PRIVATE, fd, 0);
  int error = errno;
  ::close(fd);
  if (address == MAP_FAILED)
    throw Error("cannot map '{}': {}", path, std::strerror(error));

  LoadedProgram loaded;
  loaded.memory = std::shared_ptr<const void>(
      address, [size](const void *mapped) { ::munmap(const_cast<void *>(mapped), size); });
  loaded.mapped = true;
  loaded.source = path;
  loaded.base = std::filesystem::path(path).parent_path().string();

  const auto *bytes = static_cast<const uint8_t *>(address);
  if (size < 8 || std::memcmp(bytes + 4, program::ProgramIdentifier(), 4) != 0)
    throw Error("'{}' is not a compiled model (.mlsys)", path);
  Trailer trailer;
  std::memcpy(&trailer, bytes + size - sizeof(Trailer), sizeof(Trailer));
  if (std::memcmp(trailer.magic, trailerMagic, sizeof(trailerMagic)) != 0)
    throw Error("'{}' is damaged: its end is missing; compile the model again", path);
  uint64_t room = size - sizeof(Trailer);
  if (trailer.programBytes > room || trailer.dataOffset < trailer.programBytes ||
      trailer.dataOffset > room || trailer.dataBytes != room - trailer.dataOffset ||
      trailer.dataOffset % regionAlignment != 0)
    throw Error("'{}' is damaged: its parts do not add up to the {} bytes of the file", path,
                size);
  std::span<const uint8_t> program(bytes, trailer.programBytes);
  if (checksumOf(program) != trailer.checksum)
    throw Error("'{}' is damaged: wrong checksum; compile the model again", path);
  loaded.appended = {reinterpret_cast<const std::byte *>(bytes) + trailer.dataOffset,
                     trailer.dataBytes};
  try {
    loaded.root = &verifyProgram(program, trailer.dataBytes);
  } catch (const Error &problem) {
    throw Error("'{}' is not a valid compiled model: {}", path, problem.what());
  }
  return loaded;
}

LoadedProgram LoadedProgram::fromBytes(std::vector<uint8_t> bytes, std::string baseDir) {
  LoadedProgram loaded;
  loaded.source = "compiled model";
  loaded.base = std::move(baseDir);
  // The schema aligns data to 16 bytes, which a vector need not.
  size_t capacity = (bytes.size() + 64) / 64 * 64;
  void *address = std::aligned_alloc(64, capacity);
  if (!address)
    throw Error("not enough memory for a program of {} bytes", bytes.size());
  loaded.memory = std::shared_ptr<const void>(
      address, [](const void *memory) { std::free(const_cast<void *>(memory)); });
  if (!bytes.empty())
    std::memcpy(address, bytes.data(), bytes.size());
  try {
    loaded.root = &verifyProgram({static_cast<const uint8_t *>(address), bytes.size()}, 0);
  } catch (const Error &problem) {
    throw Error("the compiled model is not valid: {}", problem.what());
  }
  return loaded;
}

/// Of programs for CUDA the one that a GPU of `arch` runs best; the portable one for the host
/// executor. Null when there is none.
static const program::TargetProgram *
bestCudaProgram(std::span<const program::TargetProgram *const> programs, std::string_view arch) {
  const program::TargetProgram *best = nullptr;
  for (const program::TargetProgram *candidate : programs) {
    std::string_view family = cudaFamily(text(candidate->arch()));
    if (!cudaFamilyRunsOn(family, arch))
      continue;
    if (!best || family == cudaFamily(arch))
      best = candidate;
  }
  return best;
}

const program::TargetProgram &LoadedProgram::target(std::string_view wanted,
                                                    std::string_view arch) const {
  std::string names;
  std::vector<const program::TargetProgram *> found;
  for (const program::TargetProgram *target : *root->targets()) {
    if (text(target->target()) == wanted)
      found.push_back(target);
    names += names.empty() ? "" : ", ";
    names += text(target->target());
    if (!text(target->arch()).empty())
      names += fmt::format(":{}", text(target->arch()));
  }
  if (wanted == "cuda") {
    if (const program::TargetProgram *best = bestCudaProgram(found, arch))
      return *best;
    if (!found.empty())
      throw Error("{} was compiled for {}, and the GPU is {}; compile it with --target cuda", source,
                  names, arch);
  } else if (!found.empty()) {
    return *bestCpuProgram(found);
  }
  throw Error("{} was compiled for {}, not for {}; compile it with --target {}", source, names,
              wanted, wanted);
}

void rt::writeProgramFile(const std::string &path, std::span<const uint8_t> flatbuffer,
                          std::span<const std::span<const std::byte>> appended) {
  AtomicFile file(path);
  file.write(std::as_bytes(flatbuffer));
  uint64_t padding = (regionAlignment - flatbuffer.size() % regionAlignment) % regionAlignment;
  std::vector<std::byte> zeros(padding);
  file.write(zeros);
  Trailer trailer{};
  trailer.programBytes = flatbuffer.size();
  trailer.dataOffset = file.size();
  for (std::span<const std::byte> part : appended)
    file.write(part);
  trailer.dataBytes = file.size() - trailer.dataOffset;
  trailer.checksum = checksumOf(flatbuffer);
  std::memcpy(trailer.magic, trailerMagic, sizeof(trailerMagic));
  file.write(std::as_bytes(std::span(&trailer, 1)));
  file.commit();
}
