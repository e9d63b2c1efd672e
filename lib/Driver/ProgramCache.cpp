//===- ProgramCache.cpp - Compiled targets of a model, kept ---------------===//
//
// Part of mlsys, under the Apache License v2.0. See LICENSE.
//
//===----------------------------------------------------------------------===//

#include "ProgramCache.h"
#include "EmitCode.h"

#include "runtime/CudaArch.h"
#include "runtime/KernelCache.h"

#include "mlir/Bytecode/BytecodeWriter.h"
#include "llvm/Support/MemoryBuffer.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <cstdlib>
#include <link.h>

using namespace mlir;
using namespace mlsys;

/// The build identifier among the notes of a loaded object; empty if it has none.
static std::string getBuildId(const dl_phdr_info &object) {
  for (int i = 0; i < object.dlpi_phnum; ++i) {
    const ElfW(Phdr) &segment = object.dlpi_phdr[i];
    if (segment.p_type != PT_NOTE)
      continue;
    const auto *notes = reinterpret_cast<const char *>(object.dlpi_addr + segment.p_vaddr);
    // Notes: name and descriptor, each padded to four bytes, after their sizes and a type.
    for (size_t at = 0; at + sizeof(ElfW(Nhdr)) <= segment.p_filesz;) {
      ElfW(Nhdr) note;
      std::memcpy(&note, notes + at, sizeof(note));
      llvm::StringRef name(notes + at + sizeof(note), note.n_namesz);
      const char *descriptor = name.data() + llvm::alignTo(note.n_namesz, 4);
      if (note.n_type == NT_GNU_BUILD_ID && name == llvm::StringRef("GNU\0", 4))
        return std::string(descriptor, note.n_descsz);
      at = size_t(descriptor - notes) + llvm::alignTo(note.n_descsz, 4);
    }
  }
  return "";
}

const std::string &mlsys::getCompilerIdentity() {
  static const std::string identity = [] {
    struct Found {
      std::string ids;
      bool first = true, complete = true;
    } found;
    auto visit = [](dl_phdr_info *object, size_t, void *data) {
      Found &found = *static_cast<Found *>(data);
      llvm::StringRef name = object->dlpi_name;
      // The executable comes first.
      if (!std::exchange(found.first, false) && !name.contains("libLLVM") && !name.contains("libMLIR"))
        return 0;
      std::string id = getBuildId(*object);
      found.complete &= !id.empty();
      found.ids += id + "\n";
      return 0;
    };
    dl_iterate_phdr(visit, &found);
    return found.complete ? found.ids : std::string();
  }();
  return identity;
}

/// The text of the measured tiles that a target takes; nothing when there are none.
static std::string readTiles(const Compilation &compilation, const CompileTarget &target) {
  std::string path = compilation.findTiles(target);
  if (path.empty())
    return "";
  auto file = llvm::MemoryBuffer::getFile(path);
  return file ? (*file)->getBuffer().str() : "";
}

/// What planning for a CPU takes from the machine.
static std::string describeHost() {
  CpuTarget host = CpuTarget::host();
  return fmt::format("{} {} {} {} {}", host.isa, host.l1Bytes, host.l2Bytes, host.l3Bytes, host.threads);
}

ProgramCache::ProgramCache(const Compilation &compilation) {
  const CompileRequest &request = compilation.request;
  const char *wanted = std::getenv("MLSYS_PROGRAM_CACHE");
  if ((wanted && llvm::StringRef(wanted) == "0") || getCompilerIdentity().empty() || !request.dumpDir.empty() ||
      request.candidate != 0)
    return;
  std::string module;
  llvm::raw_string_ostream stream(module);
  if (failed(writeBytecodeToFile(*compilation.model.module, stream)))
    return;
  std::string options =
      fmt::format("buckets {} chunk {} kv {} functions {} dtype {} stage {}", fmt::join(request.decodeBuckets, ","),
                  request.prefillChunk, request.kvType, static_cast<int>(request.functions),
                  static_cast<int>(compilation.model.dtype), static_cast<int>(compilation.initialStage()));
  std::string targets;
  for (const CompileTarget &target : compilation.targets()) {
    bool isCpu = target.device == "cpu";
    bool hasCubins = !isCpu && target.cubins && !target.variant.empty();
    targets += fmt::format("{} [{}] [{}]\n", target.str(),
                           isCpu ? describeHost() : (hasCubins ? getCubinCompiler() : ""), readTiles(compilation, target));
  }
  key = "program-" + rt::KernelCache::key({module, options, targets, getCompilerIdentity()});
}

bool ProgramCache::find(CompiledModel &model) const {
  if (key.empty())
    return false;
  std::optional<std::string> bytes = rt::KernelCache().get(key);
  if (!bytes)
    return false;
  flatbuffers::Verifier verifier(reinterpret_cast<const uint8_t *>(bytes->data()), bytes->size());
  if (!program::VerifyProgramBuffer(verifier))
    return false;
  program::ProgramT kept;
  program::GetProgram(bytes->data())->UnPackTo(&kept);
  model.program->targets = std::move(kept.targets);
  model.warnings = std::move(kept.warnings);
  return true;
}

void ProgramCache::keep(const CompiledModel &model) const {
  if (key.empty())
    return;
  // Packed with what belongs to the model taken away.
  program::ProgramT kept;
  kept.format_version = model.program->format_version;
  kept.warnings = model.warnings;
  kept.targets.swap(model.program->targets);
  std::vector<uint8_t> bytes = packProgram(kept);
  kept.targets.swap(model.program->targets);
  rt::KernelCache().put(key, {reinterpret_cast<const char *>(bytes.data()), bytes.size()});
}
