//===- ProgramCacheTest.cpp -----------------------------------------------===//
//
// Part of mlsys, under the Apache License v2.0. See LICENSE.
//
//===----------------------------------------------------------------------===//

#include "mlsys/Driver/Compiler.h"

#include "runtime/KernelCache.h"

#include "test/support/TempFolder.h"

#include <gtest/gtest.h>

#include <cstdlib>
#include <optional>

using namespace mlsys;

namespace {

/// A causal model with attention that is not: it gets no KV cache, and a warning says why.
constexpr const char *mixedModel = R"(
!ids = tensor<?x?xi64, #graph.dims<[B, S]>>
!q = tensor<?x?x1x8xf32, #graph.dims<[B, S, 1, 8]>>
!x = tensor<?x?x8xf32, #graph.dims<[B, S, 8]>>
func.func @mixed(%ids: !ids {graph.role = "token_ids"}) -> (!x {graph.role = "logits"}) attributes {graph.phase = "plain", graph.symbols = [#graph.symbol<"B", min = 1, max = -1, hint = 1>, #graph.symbol<"S", min = 1, max = 64, hint = 8>]} {
  %table = graph.constant dense<1.0> : tensor<4x8xf32>
  %x = graph.gather %table, %ids : tensor<4x8xf32>, !ids -> !x
  %q = graph.reshape %x : !x -> !q
  %a = graph.attention %q, %q, %q causal scale 1.0 : !q, !q
  %b = graph.attention %a, %q, %q scale 1.0 : !q, !q
  %l = graph.reshape %b : !q -> !x
  return %l : !x
})";

/// Compiles with a cache in a folder of its own.
class ProgramCacheTest : public testing::Test {
protected:
  ProgramCacheTest() {
    setenv("MLSYS_CACHE_DIR", cache.path().c_str(), 1);
    setenv("MLSYS_PROGRAM_CACHE", "1", 1);
    request.model = MLSYS_TEST_DATA "/models/stories260K";
    request.decodeBuckets = {1, 2};
    // The text of kernels takes least time.
    request.targets = {CompileTarget{"cuda", "sm_90a", false}};
  }
  ~ProgramCacheTest() override {
    restore("MLSYS_CACHE_DIR", formerFolder);
    restore("MLSYS_PROGRAM_CACHE", formerUse);
  }

  struct Result {
    std::vector<uint8_t> program;
    std::vector<std::string> warnings;
    /// Not taken from the cache.
    bool compiled = false;
  };

  Result compile() {
    Result result;
    request.progress = [&](const std::string &what) { result.compiled |= what != "reading the model"; };
    llvm::Expected<CompiledModel> model = compileModel(request);
    if (!model) {
      ADD_FAILURE() << llvm::toString(model.takeError());
      return result;
    }
    result.program = packProgram(*model->program);
    result.warnings = model->warnings;
    return result;
  }

  std::vector<std::filesystem::path> entries() {
    std::vector<std::filesystem::path> found;
    for (const auto &file : std::filesystem::directory_iterator(cache.path()))
      if (file.path().filename().string().starts_with("program-"))
        found.push_back(file.path());
    return found;
  }

  /// Compiles anew with a changed request, and the second time not.
  void expectOwnEntry(const char *what) {
    size_t before = entries().size();
    Result first = compile();
    EXPECT_TRUE(first.compiled) << what;
    EXPECT_EQ(entries().size(), before + 1) << what;
    Result second = compile();
    EXPECT_FALSE(second.compiled) << what;
    EXPECT_EQ(first.program, second.program) << what;
  }

  rt::test::TempFolder cache;
  CompileRequest request;

private:
  static std::optional<std::string> valueOf(const char *name) {
    const char *value = std::getenv(name);
    return value ? std::optional<std::string>(value) : std::nullopt;
  }
  static void restore(const char *name, const std::optional<std::string> &value) {
    value ? setenv(name, value->c_str(), 1) : unsetenv(name);
  }

  std::optional<std::string> formerFolder = valueOf("MLSYS_CACHE_DIR"), formerUse = valueOf("MLSYS_PROGRAM_CACHE");
};

TEST_F(ProgramCacheTest, eachOptionHasItsOwnEntry) {
  expectOwnEntry("as it is");
  request.decodeBuckets = {1};
  expectOwnEntry("decode buckets");
  request.kvType = "f16";
  expectOwnEntry("type of the KV cache");
  request.dtype = program::DType::BF16;
  expectOwnEntry("type of elements");
  request.prefillChunk = 64;
  expectOwnEntry("prefill chunk");
  request.functions = CompileRequest::Functions::Steps;
  expectOwnEntry("functions");
  request.targets = {CompileTarget{"cuda", "sm_80", false}};
  expectOwnEntry("architecture");
  request.targets.push_back(CompileTarget{"cuda", "sm_90a", false});
  expectOwnEntry("two targets");
  request.model = MLSYS_TEST_DATA "/models/phi";
  expectOwnEntry("model");
  request.targets = {CompileTarget{"cpu", "x86-64-v3"}};
  expectOwnEntry("device");
  request.targets = {CompileTarget{"cpu", "x86-64-v4"}};
  expectOwnEntry("instruction set");
}

TEST_F(ProgramCacheTest, tablesOfTilesCount) {
  request.tiles = cache.write("tiles.json", R"({"isa": "sm_90a", "threads": 1, "tiles": {}})");
  expectOwnEntry("a table");
  cache.write("tiles.json", R"({"isa": "sm_90a", "threads": 1,  "tiles": {}})");
  expectOwnEntry("the table has changed");
}

TEST_F(ProgramCacheTest, damagedEntriesAreNotUsed) {
  Result whole = compile();
  ASSERT_EQ(entries().size(), 1u);
  std::filesystem::path entry = entries().front();
  std::string bytes = rt::test::readBytes(entry.string());

  std::string changed = bytes;
  changed[changed.size() / 2] ^= 1;
  cache.write(entry.filename().string(), changed);
  Result again = compile();
  EXPECT_TRUE(again.compiled);
  EXPECT_EQ(again.program, whole.program);
  EXPECT_EQ(rt::test::readBytes(entry.string()), bytes);

  // Whole, but no program.
  ASSERT_TRUE(rt::KernelCache().put(entry.filename().string(), "something else"));
  again = compile();
  EXPECT_TRUE(again.compiled);
  EXPECT_EQ(again.program, whole.program);
}

TEST_F(ProgramCacheTest, isNotUsedWhereStagesAreWanted) {
  compile();
  rt::test::TempFolder dump;
  request.dumpDir = dump.path();
  EXPECT_TRUE(compile().compiled);
  EXPECT_GT(dump.entries(), 3u);
  request.dumpDir.clear();
  setenv("MLSYS_PROGRAM_CACHE", "0", 1);
  EXPECT_TRUE(compile().compiled);
  EXPECT_EQ(entries().size(), 1u);
}

TEST_F(ProgramCacheTest, warningsComeAgain) {
  rt::test::TempFolder folder;
  request.model = folder.write("mixed.mlir", mixedModel);
  Result first = compile(), second = compile();
  EXPECT_TRUE(first.compiled);
  EXPECT_FALSE(second.compiled);
  EXPECT_EQ(first.program, second.program);
  ASSERT_EQ(first.warnings.size(), 1u);
  EXPECT_EQ(first.warnings, second.warnings);
}

} // namespace
