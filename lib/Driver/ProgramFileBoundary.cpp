//===- ProgramFileBoundary.cpp - Writes compiled models -------------------===//
//
// Part of mlsys, under the Apache License v2.0. See LICENSE.
//
//===----------------------------------------------------------------------===//

#include "mlsys/Driver/Compiler.h"

#include "runtime/Error.h"
#include "runtime/MappedFile.h"
#include "runtime/Program.h"

#include <filesystem>
#include <map>

using namespace mlsys;

/// Weights in the data region start at multiples of this.
static constexpr uint64_t weightAlignment = 64;

/// Makes the paths of weight files relative to the folder of `path`; a file on another
/// root keeps its absolute path.
static void relativizeWeights(program::ProgramT &program, const std::string &path) {
  namespace fs = std::filesystem;
  fs::path folder = fs::weakly_canonical(fs::absolute(path).parent_path());
  for (auto &file : program.weight_files) {
    fs::path target = fs::weakly_canonical(fs::absolute(file->path));
    fs::path relative = target.lexically_relative(folder);
    file->path = (relative.empty() ? target : relative).string();
  }
}

namespace {
/// The weights of a program as one data region.
struct DataRegion {
  std::vector<rt::MappedFile> files;
  std::vector<std::span<const std::byte>> pieces;
  std::array<std::byte, weightAlignment> zeros{};
  uint64_t size = 0;

  /// Where the bytes are in the region.
  uint64_t add(std::span<const std::byte> bytes) {
    uint64_t padding = (weightAlignment - size % weightAlignment) % weightAlignment;
    if (padding)
      pieces.push_back(std::span<const std::byte>(zeros).first(padding));
    pieces.push_back(bytes);
    uint64_t offset = size + padding;
    size = offset + bytes.size();
    return offset;
  }
};
} // namespace

/// Points every constant to the data region instead of to its file.
static void appendWeightsTo(DataRegion &region, program::ProgramT &program) {
  for (auto &file : program.weight_files)
    region.files.emplace_back(file->path);
  std::map<std::pair<int32_t, uint64_t>, uint64_t> places;
  for (auto &target : program.targets)
    for (auto &constant : target->constants)
      for (auto &source : constant->sources) {
        if (source->file < 0)
          continue;
        auto [place, isNew] = places.try_emplace({source->file, source->offset}, 0);
        if (isNew) {
          std::span<const std::byte> all = region.files[source->file].bytes();
          if (source->offset > all.size() || source->bytes > all.size() - source->offset)
            throw rt::Error("tensor {} lies beyond the end of {}", source->name,
                            region.files[source->file].path());
          place->second = region.add(all.subspan(source->offset, source->bytes));
        }
        source->file = -1;
        source->offset = place->second;
      }
  program.weight_files.clear();
}

llvm::Error mlsys::writeProgramFile(CompiledModel model, const std::string &path,
                                    bool appendWeights) {
  try {
    DataRegion region;
    if (appendWeights)
      appendWeightsTo(region, *model.program);
    else
      relativizeWeights(*model.program, path);
    std::vector<uint8_t> bytes = packProgram(*model.program);
    rt::verifyProgram(bytes, region.size);
    rt::writeProgramFile(path, bytes, region.pieces);
    return llvm::Error::success();
  } catch (const std::exception &error) {
    return llvm::createStringError(error.what());
  }
}
