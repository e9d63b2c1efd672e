//===- WeightsBoundary.cpp - The interpreter's weights, from files --------===//
//
// Part of mlsys, under the Apache License v2.0. See LICENSE.
//
//===----------------------------------------------------------------------===//
//
// Reads weights with the runtime's loader, which throws.
//
//===----------------------------------------------------------------------===//

#include "mlsys/IR/ProgramTypes.h"
#include "mlsys/Interpreter/Interpreter.h"

#include "runtime/Error.h"
#include "runtime/Program.h"
#include "runtime/WeightLoader.h"

#include <filesystem>

using namespace mlir;
using namespace mlsys;

/// A table of the schema in memory.
template <typename Table, typename Object> static std::vector<uint8_t> pack(const Object &object) {
  flatbuffers::FlatBufferBuilder builder;
  builder.Finish(Table::Pack(builder, &object));
  return {builder.GetBufferPointer(), builder.GetBufferPointer() + builder.GetSize()};
}

static llvm::Expected<Tensor> loadWeight(graph::WeightOp op, const rt::WeightFiles &files) {
  auto type = cast<RankedTensorType>(op.getType());
  program::ConstantT object;
  object.name = op.getName().str();
  object.dtype = *dtypeOf(type.getElementType());
  object.shape = type.getShape().vec();
  object.bytes = type.getNumElements() * elementBytes(object.dtype);
  if (!makeWeightSources(op.getName(), op.getSource(), object.sources))
    return llvm::createStringError("weight '" + op.getName() + "' is stored in an unknown type");
  std::vector<uint8_t> packed = pack<program::Constant>(object);
  try {
    auto &constant = *flatbuffers::GetRoot<program::Constant>(packed.data());
    std::vector<std::byte> bytes(object.bytes);
    rt::loadConstant(constant, files, bytes,
                     [](int64_t count, const std::function<void(int64_t, int64_t)> &body) {
                       body(0, count);
                     });
    return Tensor::fromBytes(object.dtype, object.shape, bytes);
  } catch (const rt::Error &error) {
    return llvm::createStringError(error.what());
  }
}

llvm::Expected<WeightProvider> mlsys::makeFileWeightProvider(ModuleOp module,
                                                             const std::string &baseDir) {
  program::ProgramT object;
  if (auto paths = module->getAttrOfType<ArrayAttr>(graph::weightFilesAttrName))
    for (Attribute path : paths) {
      auto file = std::make_unique<program::WeightFileT>();
      file->path = cast<StringAttr>(path).getValue().str();
      std::error_code code;
      file->size = std::filesystem::file_size(std::filesystem::path(baseDir) / file->path, code);
      if (code)
        return llvm::createStringError("cannot read '" + file->path + "': " + code.message());
      object.weight_files.push_back(std::move(file));
    }
  std::vector<uint8_t> packed = pack<program::Program>(object);
  try {
    auto files = std::make_shared<rt::WeightFiles>(
        *flatbuffers::GetRoot<program::Program>(packed.data()), baseDir,
        std::span<const std::byte>());
    return [files](graph::WeightOp op) { return loadWeight(op, *files); };
  } catch (const rt::Error &error) {
    return llvm::createStringError(error.what());
  }
}
