//===- Pipelines.cpp - The stages of a compilation ------------------------===//
//
// Part of mlsys, under the Apache License v2.0. See LICENSE.
//
//===----------------------------------------------------------------------===//
//
// The table of contents of the compiler. Each stage ends in -mlsys-verify-stage, which
// names any operation that a later stage cannot take.
//
//===----------------------------------------------------------------------===//

#include "mlsys/Driver/Pipelines.h"
#include "mlsys/CodeGen/Passes.h"
#include "mlsys/IR/Kernel.h"
#include "mlsys/Transforms/Passes.h"

#include "mlir/Pass/PassRegistry.h"
#include "mlir/Transforms/Passes.h"
#include "llvm/ADT/StringExtras.h"
#include "llvm/Support/FormatVariadic.h"

#include <mutex>

using namespace mlir;
using namespace mlsys;

static constexpr Stage stages[] = {Stage::Import, Stage::Decompose, Stage::Cache,
                                   Stage::Fuse,   Stage::Kernel,    Stage::Emit};
static constexpr StringLiteral stageNames[] = {"import", "decompose", "cache",
                                               "fuse",   "kernel",    "emit"};

llvm::ArrayRef<Stage> mlsys::allStages() { return stages; }

StringRef mlsys::stringifyStage(Stage stage) { return stageNames[static_cast<size_t>(stage)]; }

std::optional<Stage> mlsys::symbolizeStage(StringRef name) {
  for (Stage stage : stages)
    if (stringifyStage(stage) == name)
      return stage;
  return std::nullopt;
}

bool mlsys::isTargetStage(Stage stage) { return stage >= Stage::Fuse; }

std::string mlsys::getPipelineText(Stage stage, const PipelineOptions &options) {
  std::string passes;
  switch (stage) {
  case Stage::Import:
    passes = "mlsys-infer-shapes";
    break;
  case Stage::Decompose:
    passes = "mlsys-decompose,mlsys-infer-shapes,canonicalize,cse";
    break;
  case Stage::Cache: {
    std::string buckets;
    for (int64_t bucket : options.decodeBuckets)
      buckets += (buckets.empty() ? "" : ",") + std::to_string(bucket);
    passes = llvm::formatv("mlsys-derive-cache{{page-size={0} prefill-chunk={1}{2}},"
                           "mlsys-specialize-phases{{decode-buckets={3}},canonicalize,cse",
                           options.pageSize, options.prefillChunk,
                           options.kvType == "auto" ? "" : " kv-type=" + options.kvType, buckets);
    break;
  }
  case Stage::Fuse:
    passes = std::string(options.target == "cuda" ? "mlsys-join-decode," : "") +
             "func.func(mlsys-fuse{target=" + options.target + "})";
    break;
  case Stage::Kernel:
    passes = "mlsys-lower-to-kernel{target=" + options.target +
             (options.isa.empty() ? "" : " isa=" + options.isa) +
             (options.arch.empty() ? "" : " arch=" + options.arch) +
             (options.threads == 0 ? "" : " threads=" + std::to_string(options.threads)) +
             (options.tiles.empty() ? "" : " tiles=\"" + options.tiles + "\"") +
             (options.candidate == 0 ? "" : " candidate=" + std::to_string(options.candidate)) +
             "},func.func(mlsys-plan-memory)";
    break;
  case Stage::Emit:
    // CUDA text is printed from the kernel stage as it is.
    if (options.target != "cpu")
      return "builtin.module()";
    return "builtin.module(mlsys-lower-to-llvm" +
           (options.isa.empty() ? "" : "{isa=" + options.isa + "}") + ")";
  }
  return "builtin.module(" + passes + ",mlsys-verify-stage{stage=" + stringifyStage(stage).str() +
         "})";
}

LogicalResult mlsys::buildPipeline(Stage stage, const PipelineOptions &options,
                                   OpPassManager &passes) {
  std::string text = getPipelineText(stage, options);
  // The pass manager is one of modules already.
  StringRef inside = StringRef(text).drop_front(StringRef("builtin.module(").size()).drop_back();
  return parsePassPipeline(inside, passes, llvm::errs());
}

namespace {
/// The options of the pipelines in mlsys-opt.
struct PipelineFlags : PassPipelineOptions<PipelineFlags> {
  Option<std::string> target{*this, "target", llvm::cl::desc("cpu or cuda"),
                             llvm::cl::init("cpu")};
  Option<std::string> isa{*this, "isa", llvm::cl::desc("Instruction set of the CPU")};
  Option<std::string> arch{*this, "arch", llvm::cl::desc("GPU that kernels are planned for")};
  ListOption<int64_t> decodeBuckets{*this, "decode-buckets",
                                    llvm::cl::desc("Numbers of requests of decode functions")};
};
} // namespace

void mlsys::registerPasses() {
  static std::once_flag once;
  std::call_once(once, [] {
    registerTransformsPasses();
    registerMlsysTransformsPasses();
    registerMlsysCodeGenPasses();
    for (Stage stage : stages)
      PassPipelineRegistration<PipelineFlags>(
          ("mlsys-" + stringifyStage(stage) + "-pipeline").str(),
          "The passes of the stage " + stringifyStage(stage).str(),
          [stage](OpPassManager &passes, const PipelineFlags &flags) {
            PipelineOptions options;
            options.target = flags.target;
            options.isa = flags.isa;
            options.arch = flags.arch;
            if (!flags.decodeBuckets.empty())
              options.decodeBuckets.assign(flags.decodeBuckets.begin(), flags.decodeBuckets.end());
            if (failed(buildPipeline(stage, options, passes)))
              llvm::report_fatal_error("a pass of the stage does not exist");
          });
  });
}

Stage mlsys::detectStage(ModuleOp module) {
  Stage stage = Stage::Import;
  auto reach = [&](Stage reached) { stage = std::max(stage, reached); };
  module.walk([&](Operation *op) {
    if (op != module && isa<ModuleOp>(op))
      reach(Stage::Emit);
    else if (isa<kernel::FuncOp, kernel::LaunchOp>(op))
      reach(Stage::Kernel);
    else if (isa<graph::FusionOp>(op))
      reach(Stage::Fuse);
    else if (isa<graph::PagedAttentionOp, graph::CacheWriteOp>(op))
      reach(Stage::Cache);
  });
  return stage;
}
