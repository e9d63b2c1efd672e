//===- MappedFileTest.cpp - Mapped files, atomic files, checked math ------===//
//
// Part of mlsys, under the Apache License v2.0. See LICENSE.
//
//===----------------------------------------------------------------------===//
#include "test/support/TempFolder.h"
#include "runtime/AtomicFile.h"
#include "runtime/CheckedMath.h"
#include "runtime/Error.h"
#include "runtime/MappedFile.h"

#include <csignal>
#include <sys/resource.h>
#include <sys/stat.h>

using namespace mlsys::rt;
using test::TempFolder;

static std::string textOf(const MappedFile &file) {
  return std::string(reinterpret_cast<const char *>(file.data()), file.size());
}

TEST(MappedFile, Contents) {
  TempFolder folder;
  MappedFile file(folder.write("a", "hello"));
  EXPECT_EQ(textOf(file), "hello");
  file.prefetch();
  MappedFile moved(std::move(file));
  EXPECT_EQ(textOf(moved), "hello");
  EXPECT_EQ(file.size(), 0u);
  MappedFile other(folder.write("b", "other"));
  other = std::move(moved);
  EXPECT_EQ(textOf(other), "hello");
  EXPECT_EQ(other.path(), folder.path("a"));
}

TEST(MappedFile, Empty) {
  TempFolder folder;
  MappedFile file(folder.write("empty", ""));
  EXPECT_EQ(file.size(), 0u);
  EXPECT_TRUE(file.bytes().empty());
}

TEST(MappedFile, Errors) {
  TempFolder folder;
  EXPECT_ERROR(MappedFile(folder.path("missing")),
               "cannot open " + folder.path("missing") + ": No such file");
  EXPECT_ERROR(MappedFile(folder.path()), folder.path() + " is not a regular file");
  ASSERT_EQ(::mkfifo(folder.path("pipe").c_str(), 0600), 0);
  EXPECT_ERROR(MappedFile(folder.path("pipe")), "is not a regular file");
}

// What a full disk does: the write itself fails.
TEST(AtomicFile, FailedWriteKeepsTheOldFile) {
  TempFolder folder;
  folder.write("out", "old");
  rlimit before;
  ASSERT_EQ(::getrlimit(RLIMIT_FSIZE, &before), 0);
  auto handler = ::signal(SIGXFSZ, SIG_IGN);
  rlimit small = before;
  small.rlim_cur = 100;
  ASSERT_EQ(::setrlimit(RLIMIT_FSIZE, &small), 0);
  std::string message = test::messageOf<Error>([&] {
    AtomicFile file(folder.path("out"));
    file.write(std::string(1000, 'x'));
    file.commit();
  });
  ::setrlimit(RLIMIT_FSIZE, &before);
  ::signal(SIGXFSZ, handler);
  EXPECT_EQ(message, "cannot write '" + folder.path("out") + "': File too large");
  EXPECT_EQ(textOf(MappedFile(folder.path("out"))), "old");
  EXPECT_EQ(folder.entries(), 1u);
}

TEST(CheckedMath, Limits) {
  EXPECT_EQ(tryAdd(2, 3), 5u);
  EXPECT_FALSE(tryAdd(UINT64_MAX, 1));
  EXPECT_EQ(tryMul(1u << 31, 2), 1ull << 32);
  EXPECT_FALSE(tryMul(1ull << 32, 1ull << 32));
  EXPECT_EQ(tryAlign(65, 64), 128u);
  EXPECT_FALSE(tryAlign(UINT64_MAX, 64));
  const int64_t good[] = {2, 3, 0}, negative[] = {2, -1}, large[] = {INT64_MAX, 2};
  EXPECT_EQ(tryElementCount(good), 0u);
  EXPECT_EQ(tryElementCount({}), 1u);
  EXPECT_FALSE(tryElementCount(negative));
  EXPECT_FALSE(tryElementCount(large));
  EXPECT_TRUE(rangeInside(3, 4, 7));
  EXPECT_FALSE(rangeInside(3, 5, 7));
  EXPECT_FALSE(rangeInside(8, 0, 7));
  EXPECT_FALSE(rangeInside(UINT64_MAX, 2, 7));
}
