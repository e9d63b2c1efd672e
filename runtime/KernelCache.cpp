//===- KernelCache.cpp ----------------------------------------------------===//
//
// Part of mlsys, under the Apache License v2.0. See LICENSE.
//
//===----------------------------------------------------------------------===//

#include "runtime/KernelCache.h"

#define XXH_INLINE_ALL
#include <xxhash.h>

#include <fmt/format.h>

#include <atomic>
#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <fcntl.h>
#include <fstream>
#include <unistd.h>

using namespace mlsys::rt;
namespace fs = std::filesystem;

/// Last in every entry.
namespace {
struct Trailer {
  char magic[8] = {'m', 'l', 's', 'y', 's', 'k', 'c', '1'};
  uint64_t bytes = 0;
  uint64_t hash[2] = {};
};
} // namespace

static Trailer trailerOf(std::string_view bytes) {
  XXH128_hash_t hash = XXH3_128bits(bytes.data(), bytes.size());
  Trailer trailer;
  trailer.bytes = bytes.size();
  trailer.hash[0] = hash.low64;
  trailer.hash[1] = hash.high64;
  return trailer;
}

static fs::path defaultFolder() {
  auto variable = [](const char *name) {
    const char *value = std::getenv(name);
    return std::string(value ? value : "");
  };
  if (std::string folder = variable("MLSYS_CACHE_DIR"); !folder.empty())
    return folder;
  if (std::string folder = variable("XDG_CACHE_HOME"); !folder.empty())
    return fs::path(folder) / "mlsys";
  if (std::string folder = variable("HOME"); !folder.empty())
    return fs::path(folder) / ".cache" / "mlsys";
  return {};
}

/// True after the whole of `bytes` is in the file and on disk.
static bool writeAll(int file, std::string_view bytes) {
  while (!bytes.empty()) {
    ssize_t written = write(file, bytes.data(), bytes.size());
    if (written < 0 && errno == EINTR)
      continue;
    if (written <= 0)
      return false;
    bytes.remove_prefix(written);
  }
  return true;
}

KernelCache::KernelCache() : directory(defaultFolder()) {}
KernelCache::KernelCache(fs::path folder) : directory(std::move(folder)) {}

std::string KernelCache::key(std::initializer_list<std::string_view> parts) {
  XXH3_state_t state;
  XXH3_128bits_reset(&state);
  for (std::string_view part : parts) {
    uint64_t bytes = part.size(); // so that no two lists of parts hash the same bytes
    XXH3_128bits_update(&state, &bytes, sizeof(bytes));
    XXH3_128bits_update(&state, part.data(), part.size());
  }
  XXH128_hash_t hash = XXH3_128bits_digest(&state);
  return fmt::format("{:016x}{:016x}", hash.high64, hash.low64);
}

std::optional<std::string> KernelCache::get(const std::string &key) const {
  if (directory.empty())
    return std::nullopt;
  std::ifstream file(directory / key, std::ios::binary);
  if (!file)
    return std::nullopt;
  std::string bytes{std::istreambuf_iterator<char>(file), {}};
  Trailer found;
  if (bytes.size() < sizeof(found))
    return std::nullopt;
  std::memcpy(&found, bytes.data() + bytes.size() - sizeof(found), sizeof(found));
  bytes.resize(bytes.size() - sizeof(found));
  Trailer expected = trailerOf(bytes);
  if (std::memcmp(&found, &expected, sizeof(found)) != 0)
    return std::nullopt;
  return bytes;
}

std::optional<fs::path> KernelCache::getFile(const std::string &key) const {
  if (!get(key))
    return std::nullopt;
  return directory / key;
}

bool KernelCache::put(const std::string &key, std::string_view bytes) {
  static std::atomic<unsigned> counter{0};
  static std::atomic<bool> warned{false};
  std::error_code ignored;
  std::string reason = "no home folder";
  if (!directory.empty()) {
    fs::create_directories(directory, ignored);
    fs::path temporary = directory / fmt::format(".{}.{}.{}", key, getpid(), counter++);
    int file = open(temporary.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0644);
    bool good = file >= 0;
    if (good) {
      Trailer trailer = trailerOf(bytes);
      good = writeAll(file, bytes) &&
             writeAll(file, {reinterpret_cast<const char *>(&trailer), sizeof(trailer)}) && fsync(file) == 0;
      int failure = errno;
      good = close(file) == 0 && good;
      good = good && rename(temporary.c_str(), (directory / key).c_str()) == 0;
      if (!good) {
        failure = failure ? failure : errno;
        unlink(temporary.c_str());
        errno = failure;
      }
    }
    if (good)
      return true;
    reason = std::strerror(errno);
  }
  if (!warned.exchange(true))
    fmt::print(stderr,
               "warning: the kernel cache {} cannot be written ({}); kernels are compiled again each time. Set "
               "MLSYS_CACHE_DIR to a folder that can\n",
               directory.string(), reason);
  return false;
}
