//===- AtomicFile.cpp - A file that appears whole or not at all -*- C++ -*-===//
//
// Part of mlsys, under the Apache License v2.0. See LICENSE.
//
//===----------------------------------------------------------------------===//
#include "runtime/AtomicFile.h"

#include "runtime/Error.h"

#include <atomic>
#include <cerrno>
#include <cstdio>
#include <cstring>
#include <fcntl.h>
#include <filesystem>
#include <sys/stat.h>
#include <unistd.h>

using namespace mlsys::rt;

AtomicFile::AtomicFile(std::string target) : path(std::move(target)) {
  static std::atomic<unsigned> counter{0};
  struct stat info;
  // A device such as /dev/null or /dev/full is written in place.
  if (::stat(path.c_str(), &info) == 0 && !S_ISREG(info.st_mode)) {
    if (S_ISDIR(info.st_mode))
      throw Error("cannot write '{}': it is a directory", path);
    fd = ::open(path.c_str(), O_WRONLY | O_CLOEXEC);
  } else {
    temporary = fmt::format("{}.tmp.{}.{}", path, ::getpid(), counter++);
    // A file without a name vanishes even when the process is killed; not
    // every file system has them.
    std::string folder = std::filesystem::path(path).parent_path().string();
    fd = ::open(folder.empty() ? "." : folder.c_str(), O_TMPFILE | O_WRONLY | O_CLOEXEC, 0644);
    unnamed = fd >= 0;
    if (!unnamed)
      fd = ::open(temporary.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0644);
  }
  if (fd < 0) {
    int error = errno;
    temporary.clear();
    throw Error("cannot write '{}': {}", path, std::strerror(error));
  }
}

AtomicFile::~AtomicFile() {
  if (fd >= 0)
    ::close(fd);
  if (!temporary.empty() && !unnamed)
    ::unlink(temporary.c_str());
}

void AtomicFile::fail(std::string_view action) const {
  int error = errno;
  throw Error("cannot {} '{}': {}", action, path, std::strerror(error));
}

void AtomicFile::write(std::span<const std::byte> bytes) {
  while (!bytes.empty()) {
    ssize_t count = ::write(fd, bytes.data(), std::min<size_t>(bytes.size(), 1 << 30));
    if (count < 0 && errno == EINTR)
      continue;
    if (count <= 0)
      fail("write");
    bytes = bytes.subspan(size_t(count));
    written += uint64_t(count);
  }
}

void AtomicFile::write(std::string_view text) {
  write(std::as_bytes(std::span(text.data(), text.size())));
}

void AtomicFile::commit() {
  if (!temporary.empty() && ::fsync(fd) != 0)
    fail("write");
  if (unnamed) {
    std::string self = fmt::format("/proc/self/fd/{}", fd);
    if (::linkat(AT_FDCWD, self.c_str(), AT_FDCWD, temporary.c_str(), AT_SYMLINK_FOLLOW) != 0)
      fail("create");
    unnamed = false;
  }
  int closed = ::close(fd);
  fd = -1;
  if (closed != 0)
    fail("write");
  if (temporary.empty())
    return;
  if (std::rename(temporary.c_str(), path.c_str()) != 0)
    fail("create");
  temporary.clear();
}
