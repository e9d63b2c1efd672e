//===- TempFolder.h - A folder for one test ---------------------*- C++ -*-===//
//
// Part of mlsys, under the Apache License v2.0. See LICENSE.
//
//===----------------------------------------------------------------------===//
#pragma once

#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>
#include <iterator>
#include <string>
#include <string_view>

#include <unistd.h>

namespace mlsys::rt::test {

/// A new folder that is removed with everything in it.
class TempFolder {
public:
  explicit TempFolder(
      const std::filesystem::path &parent = std::filesystem::temp_directory_path()) {
    std::string pattern = (parent / "mlsys-XXXXXX").string();
    if (!::mkdtemp(pattern.data()))
      ADD_FAILURE() << "cannot make a temporary folder";
    root = pattern;
  }
  ~TempFolder() {
    std::error_code ignored;
    std::filesystem::remove_all(root, ignored);
  }
  TempFolder(const TempFolder &) = delete;
  TempFolder &operator=(const TempFolder &) = delete;

  std::string path(const std::string &name = "") const {
    return name.empty() ? root.string() : (root / name).string();
  }

  std::string operator/(const std::string &name) const { return path(name); }

  /// Writes `bytes` to the file `name` and gives its path.
  std::string write(const std::string &name, std::string_view bytes) const {
    std::filesystem::create_directories((root / name).parent_path());
    std::ofstream(root / name, std::ios::binary).write(bytes.data(), bytes.size());
    return path(name);
  }

  /// The number of files and folders in it.
  size_t entries() const {
    return std::distance(std::filesystem::directory_iterator(root),
                         std::filesystem::directory_iterator());
  }

private:
  std::filesystem::path root;
};

/// The bytes of a file; empty when it cannot be read.
inline std::string readBytes(const std::string &path) {
  std::ifstream file(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(file), {}};
}

/// A parent for folders with thousands of short-lived files: memory, if there is
/// such a file system.
inline std::filesystem::path memoryParent() {
  std::error_code ignored;
  if (std::filesystem::is_directory("/dev/shm", ignored) && ::access("/dev/shm", W_OK) == 0)
    return "/dev/shm";
  return std::filesystem::temp_directory_path();
}

/// The message of the exception of type E that `function` throws.
template <typename E, typename F> std::string messageOf(F &&function) {
  try {
    function();
  } catch (const E &error) {
    return error.what();
  }
  ADD_FAILURE() << "nothing was thrown";
  return "";
}

} // namespace mlsys::rt::test

namespace mlsys::test {
using rt::test::readBytes;
using rt::test::TempFolder;
} // namespace mlsys::test

/// Expects an rt::Error whose message contains `text`.
#define EXPECT_ERROR(statement, text)                                                              \
  EXPECT_PRED_FORMAT2(::testing::IsSubstring, text,                                                \
                      ::mlsys::rt::test::messageOf<::mlsys::rt::Error>([&] { statement; }))
