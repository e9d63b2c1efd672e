//===- MappedFile.cpp - A file mapped for reading -------------------------===//
//
// Part of mlsys, under the Apache License v2.0. See LICENSE.
//
//===----------------------------------------------------------------------===//
#include "runtime/MappedFile.h"

#include "runtime/Error.h"

#include <cerrno>
#include <cstring>
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>
#include <utility>

namespace mlsys::rt {

namespace {
struct Descriptor {
  int number;
  ~Descriptor() {
    if (number >= 0)
      ::close(number);
  }
};
} // namespace

MappedFile::MappedFile(const std::string &path) : filePath(path) {
  // O_NONBLOCK: opening a pipe must not wait for a writer.
  Descriptor file{::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK)};
  if (file.number < 0)
    throw Error("cannot open {}: {}", path, std::strerror(errno));
  struct stat status;
  if (::fstat(file.number, &status) != 0)
    throw Error("cannot read the size of {}: {}", path, std::strerror(errno));
  if (!S_ISREG(status.st_mode))
    throw Error("{} is not a regular file", path);
  byteCount = static_cast<uint64_t>(status.st_size);
  if (byteCount == 0)
    return;
  address = ::mmap(nullptr, byteCount, PROT_READ, MAP_PRIVATE, file.number, 0);
  if (address == MAP_FAILED) {
    address = nullptr;
    throw Error("cannot map {} ({} bytes): {}", path, byteCount, std::strerror(errno));
  }
}

MappedFile::~MappedFile() { unmap(); }

MappedFile::MappedFile(MappedFile &&other) noexcept
    : filePath(std::move(other.filePath)), address(std::exchange(other.address, nullptr)),
      byteCount(std::exchange(other.byteCount, 0)) {}

MappedFile &MappedFile::operator=(MappedFile &&other) noexcept {
  if (this != &other) {
    unmap();
    filePath = std::move(other.filePath);
    address = std::exchange(other.address, nullptr);
    byteCount = std::exchange(other.byteCount, 0);
  }
  return *this;
}

void MappedFile::prefetch() const {
  if (address)
    ::madvise(address, byteCount, MADV_WILLNEED);
}

void MappedFile::release(std::span<const std::byte> bytes) {
  if (bytes.empty())
    return;
  const auto page = static_cast<uintptr_t>(::sysconf(_SC_PAGESIZE));
  auto begin = reinterpret_cast<uintptr_t>(bytes.data()) / page * page;
  auto end = (reinterpret_cast<uintptr_t>(bytes.data()) + bytes.size() + page - 1) / page * page;
  ::madvise(reinterpret_cast<void *>(begin), end - begin, MADV_DONTNEED);
}

void MappedFile::unmap() noexcept {
  if (address)
    ::munmap(address, byteCount);
  address = nullptr;
}

} // namespace mlsys::rt
