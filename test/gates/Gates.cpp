//===- Gates.cpp - Kernels of every model, checked without a GPU ----------===//
//
// Part of mlsys, under the Apache License v2.0. See LICENSE.
//
//===----------------------------------------------------------------------===//

#include "Gates.h"

#include "runtime/Error.h"

#include <algorithm>
#include <cctype>
#include <cstdlib>
#include <filesystem>
#include <map>

using namespace mlsys;
using namespace mlsys::test;
namespace fs = std::filesystem;

/// The name that every kernel has when it is compiled here.
static const std::string commonName = "kernel";

std::vector<GateModel> test::gateModels() {
  static const char *const few[] = {"llama", "gemma2", "mixtral", "bert"};
  std::vector<GateModel> models;
  auto add = [&](const std::string &folder, bool randomWeights) {
    std::vector<GateModel> some;
    for (const auto &entry : fs::directory_iterator(fs::path(MLSYS_TEST_DATA) / folder)) {
      GateModel model{entry.path().filename(), entry.path(), randomWeights};
      model.representative = std::find(std::begin(few), std::end(few), model.name) != std::end(few);
      for (char &c : model.name)
        c = std::isalnum(static_cast<unsigned char>(c)) ? c : '_';
      some.push_back(std::move(model));
    }
    std::sort(some.begin(), some.end(),
              [](const GateModel &a, const GateModel &b) { return a.name < b.name; });
    models.insert(models.end(), some.begin(), some.end());
  };
  add("configs", true);
  models.push_back({"smollm2", MLSYS_SMOLLM2, false, false});
  add("models", false);
  return models;
}

std::vector<GateModel> test::gatePrograms() {
  std::vector<GateModel> programs;
  for (const auto &entry : fs::directory_iterator(fs::path(MLSYS_TEST_DATA) / "../../bench/programs")) {
    GateModel program{entry.path().stem(), entry.path()};
    program.program = true;
    for (char &c : program.name)
      c = std::isalnum(static_cast<unsigned char>(c)) ? c : '_';
    programs.push_back(std::move(program));
  }
  std::sort(programs.begin(), programs.end(), [](const GateModel &a, const GateModel &b) { return a.name < b.name; });
  return programs;
}

bool test::checkAll() {
  const char *text = std::getenv("MLSYS_GATES");
  return text && std::string(text) == "all";
}

std::vector<GateKernel> test::compileKernelTexts(const GateModel &model, const std::string &arch,
                                                 program::DType dtype,
                                                 const std::vector<int64_t> &decodeBuckets) {
  CompileRequest request;
  request.model = model.path;
  if (!model.program) {
    request.dtype = dtype;
    request.decodeBuckets = decodeBuckets;
  }
  request.randomWeights = model.randomWeights;
  // The kernels of the plain functions are those of prefill without a cache.
  if (!checkAll() && !model.representative && !model.program)
    request.functions = CompileRequest::Functions::Steps;
  request.targets = {CompileTarget{"cuda", arch, /*cubins=*/false}};
  llvm::Expected<CompiledModel> compiled = compileModel(request);
  if (!compiled)
    throw rt::Error("{}: {}", model.name, llvm::toString(compiled.takeError()));
  const program::TargetProgramT &target = *compiled->program->targets.at(0);
  std::vector<GateKernel> kernels;
  for (const auto &kernel : target.kernels)
    kernels.push_back({{kernel->name, kernel->cuda_text}, 0, {}});
  for (const auto &function : target.functions)
    for (const auto &launch : function->launches) {
      GateKernel &kernel = kernels.at(launch->kernel);
      kernel.sharedBytes = std::max<int64_t>(kernel.sharedBytes, launch->shared_bytes);
      kernel.constants.resize(launch->args.size(), true);
      for (size_t i = 0; i < launch->args.size(); ++i)
        if (function->buffers.at(launch->args[i]->buffer)->kind != program::BufferKind::Constant)
          kernel.constants[i] = false;
    }
  return kernels;
}

std::shared_ptr<rt::Nvrtc> test::openGateNvrtc() {
  // Where scripts/fetch-nvidia puts it.
  if (!std::getenv("MLSYS_NVRTC") && !rt::Nvrtc::open() && fs::exists(MLSYS_FETCHED_NVRTC))
    setenv("MLSYS_NVRTC", MLSYS_FETCHED_NVRTC, 1);
  return rt::Nvrtc::openOrThrow();
}

/// `text` with the word `from` replaced.
static std::string replaceWord(const std::string &text, const std::string &from,
                               const std::string &to) {
  auto isWord = [](char c) { return std::isalnum(static_cast<unsigned char>(c)) || c == '_'; };
  std::string result;
  size_t at = 0;
  for (size_t found; (found = text.find(from, at)) != std::string::npos;) {
    size_t end = found + from.size();
    bool whole = (found == 0 || !isWord(text[found - 1])) && (end == text.size() || !isWord(text[end]));
    result.append(text, at, found - at).append(whole ? to : from);
    at = end;
  }
  return result.append(text, at);
}

rt::CompiledKernel test::compileGateKernel(const rt::Nvrtc &nvrtc, const rt::KernelText &kernel,
                                           const std::string &arch) {
  rt::KernelCache cache(MLSYS_GATE_CACHE);
  return rt::compileKernels(nvrtc, cache,
                            {{commonName, replaceWord(kernel.text, kernel.name, commonName)}}, arch)
      .at(0);
}

int64_t test::sharedMemoryOf(const std::string &arch) {
  static const std::map<std::string, int64_t> kibibytes = {
      {"sm_80", 163}, {"sm_89", 99}, {"sm_90a", 227}};
  return kibibytes.at(arch) * 1024;
}
