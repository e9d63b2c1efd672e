//===- MutationTest.cpp - Damaged models: an error, never a crash ---------===//
//
// Part of mlsys, under the Apache License v2.0. See LICENSE.
//
//===----------------------------------------------------------------------===//

#include "test/support/Mutator.h"
#include "test/support/TempFolder.h"
#include "Models.h"

#include "mlsys/Import/Import.h"

#include "mlir/IR/Verifier.h"

#include <fstream>
#include <iterator>

using namespace mlsys;
using mlsys::test::Mutator;
using mlsys::test::readBytes;
using mlsys::test::TempFolder;

namespace {

/// True when the import gives a graph; it is a valid one then.
bool imports(const std::string &path, const ImportOptions &options) {
  mlir::MLIRContext context(mlir::MLIRContext::Threading::DISABLED);
  llvm::Expected<ImportedModel> model = importModel(context, path, options);
  if (!model) {
    EXPECT_FALSE(llvm::toString(model.takeError()).empty());
    return false;
  }
  EXPECT_TRUE(succeeded(mlir::verify(*model->module)));
  return true;
}

TEST(Mutation, ConfigJson) {
  TempFolder folder(rt::test::memoryParent());
  std::string good = readBytes(test::dataPath("models/llama3_rope/config.json"));
  Mutator mutator(1);
  ImportOptions random;
  random.randomWeights = true;
  int accepted = 0;
  for (int i = 0; i < 1000; ++i) {
    folder.write("config.json", mutator.mutate(good, good.size()));
    accepted += imports(folder.path(), random);
  }
  EXPECT_GT(accepted, 50);
  EXPECT_LT(accepted, 900);
}

TEST(Mutation, ConfigJsonAgainstWeights) {
  TempFolder folder(rt::test::memoryParent());
  std::string source = test::dataPath("models/llama");
  folder.write("model.safetensors", readBytes(source + "/model.safetensors"));
  std::string good = readBytes(source + "/config.json");
  Mutator mutator(2);
  int accepted = 0;
  for (int i = 0; i < 500; ++i) {
    folder.write("config.json", mutator.mutate(good, good.size()));
    accepted += imports(folder.path(), {});
  }
  EXPECT_GT(accepted, 20);
  EXPECT_LT(accepted, 450);
}

TEST(Mutation, TextFiles) {
  TempFolder folder(rt::test::memoryParent());
  std::string source = test::dataPath("models/llama");
  folder.write("config.json", readBytes(source + "/config.json"));
  ImportOptions random;
  random.randomWeights = true;
  Mutator mutator(3);
  int accepted = 0;
  for (const char *name : {"generation_config.json", "tokenizer_config.json"}) {
    std::string good = readBytes(source + "/" + name);
    for (int i = 0; i < 200; ++i) {
      folder.write(name, mutator.mutate(good, good.size()));
      accepted += imports(folder.path(), random);
    }
    folder.write(name, good);
  }
  EXPECT_GT(accepted, 20);
  EXPECT_LT(accepted, 390);
}

} // namespace
