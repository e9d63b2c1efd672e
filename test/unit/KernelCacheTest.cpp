//===- KernelCacheTest.cpp ------------------------------------------------===//
//
// Part of mlsys, under the Apache License v2.0. See LICENSE.
//
//===----------------------------------------------------------------------===//

#include "runtime/KernelCache.h"

#include <gtest/gtest.h>

#include <cstdlib>
#include <fstream>
#include <unistd.h>

using namespace mlsys::rt;
namespace fs = std::filesystem;

namespace {
class KernelCacheTest : public testing::Test {
protected:
  fs::path folder = fs::path(testing::TempDir()) / ("mlsys-kernel-cache-test-" + std::to_string(getpid()));
  void SetUp() override { fs::remove_all(folder); }
  void TearDown() override { fs::remove_all(folder); }
};
} // namespace

TEST_F(KernelCacheTest, givesBackWhatWasPut) {
  KernelCache cache(folder / "deeper");
  std::string key = KernelCache::key({"text", "options"}), bytes("\0some\nbytes", 11);
  EXPECT_FALSE(cache.get(key));
  EXPECT_TRUE(cache.put(key, bytes));
  EXPECT_EQ(cache.get(key), bytes);
  EXPECT_TRUE(cache.put(key, "other"));
  EXPECT_EQ(KernelCache(folder / "deeper").get(key), "other");
  size_t files = std::distance(fs::directory_iterator(folder / "deeper"), fs::directory_iterator());
  EXPECT_EQ(files, 1u) << "temporary files are left";
}

TEST_F(KernelCacheTest, keysDependOnEveryPart) {
  EXPECT_EQ(KernelCache::key({"a", "b"}), KernelCache::key({"a", "b"}));
  EXPECT_NE(KernelCache::key({"a", "b"}), KernelCache::key({"ab", ""}));
  EXPECT_NE(KernelCache::key({"a", "b"}), KernelCache::key({"a", "c"}));
  EXPECT_NE(KernelCache::key({"a"}), KernelCache::key({"a", ""}));
}

TEST_F(KernelCacheTest, damagedEntriesAreNotUsed) {
  KernelCache cache(folder);
  ASSERT_TRUE(cache.put("entry", "0123456789"));
  std::string whole;
  {
    std::ifstream file(folder / "entry", std::ios::binary);
    whole.assign(std::istreambuf_iterator<char>(file), {});
  }
  auto write = [&](const std::string &bytes) { std::ofstream(folder / "entry", std::ios::binary) << bytes; };
  for (size_t length : {size_t(0), size_t(5), whole.size() - 1}) {
    write(whole.substr(0, length));
    EXPECT_FALSE(cache.get("entry")) << length;
    EXPECT_FALSE(cache.getFile("entry")) << length;
  }
  for (size_t at = 0; at < whole.size(); ++at) {
    std::string damaged = whole;
    damaged[at] ^= 1;
    write(damaged);
    EXPECT_FALSE(cache.get("entry")) << at;
  }
  write(whole);
  EXPECT_EQ(cache.get("entry"), "0123456789");
}

TEST_F(KernelCacheTest, worksWithoutAFolderToWrite) {
  std::ofstream(folder.string()) << "a file, so no folder of that name can be made";
  KernelCache cache(folder);
  testing::internal::CaptureStderr();
  EXPECT_FALSE(cache.put("entry", "bytes"));
  EXPECT_FALSE(cache.put("entry", "bytes"));
  std::string warning = testing::internal::GetCapturedStderr();
  EXPECT_FALSE(cache.get("entry"));
  EXPECT_EQ(warning.find("warning: the kernel cache"), 0u) << warning;
  EXPECT_EQ(warning.find("warning", 1), std::string::npos) << "said twice: " << warning;
}

TEST_F(KernelCacheTest, folderComesFromTheEnvironment) {
  auto keep = [](const char *name) {
    const char *value = std::getenv(name);
    return value ? std::optional<std::string>(value) : std::nullopt;
  };
  auto restore = [](const char *name, const std::optional<std::string> &value) {
    value ? setenv(name, value->c_str(), 1) : unsetenv(name);
  };
  auto first = keep("MLSYS_CACHE_DIR"), second = keep("XDG_CACHE_HOME"), third = keep("HOME");
  setenv("MLSYS_CACHE_DIR", "/one", 1);
  setenv("XDG_CACHE_HOME", "/two", 1);
  setenv("HOME", "/three", 1);
  EXPECT_EQ(KernelCache().folder(), "/one");
  unsetenv("MLSYS_CACHE_DIR");
  EXPECT_EQ(KernelCache().folder(), "/two/mlsys");
  unsetenv("XDG_CACHE_HOME");
  EXPECT_EQ(KernelCache().folder(), "/three/.cache/mlsys");
  restore("MLSYS_CACHE_DIR", first);
  restore("XDG_CACHE_HOME", second);
  restore("HOME", third);
}
