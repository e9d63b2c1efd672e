//===- Nvrtc.cpp ----------------------------------------------------------===//
//
// Part of mlsys, under the Apache License v2.0. See LICENSE.
//
//===----------------------------------------------------------------------===//

#include "runtime/Nvrtc.h"

#include "runtime/DeviceLibrary.h"
#include "runtime/Error.h"
#include "runtime/Parallel.h"
#include "runtime/SharedLibrary.h"

#include <algorithm>
#include <atomic>
#include <cctype>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <filesystem>

using namespace mlsys::rt;
namespace fs = std::filesystem;

static const std::vector<std::string> options = {"--std=c++20", "-default-device", "--ptxas-options=-v"};
/// They save time; releases before 12.9 do not know them.
static const std::vector<std::string> recentOptions = {"--minimal", "--no-cache"};
constexpr int invalidOption = 5;

namespace {

using Program = struct NvrtcProgram *;

class NvrtcLibrary : public Nvrtc {
public:
  explicit NvrtcLibrary(SharedLibrary opened) : library(std::move(opened)) {
    library.find(getVersion, "nvrtcVersion");
    library.find(getErrorString, "nvrtcGetErrorString");
    library.find(createProgram, "nvrtcCreateProgram");
    library.find(destroyProgram, "nvrtcDestroyProgram");
    library.find(compileProgram, "nvrtcCompileProgram");
    library.find(getCubinSize, "nvrtcGetCUBINSize");
    library.find(getCubin, "nvrtcGetCUBIN");
    library.find(getLogSize, "nvrtcGetProgramLogSize");
    library.find(getLog, "nvrtcGetProgramLog");
    int minor = 0;
    check(getVersion(&major, &minor), "version");
    versionText = fmt::format("{}.{}", major, minor);
  }

  std::string version() const override { return versionText; }
  int majorVersion() const override { return major; }
  std::string path() const override { return library.path(); }

  CompiledKernel compile(const KernelText &kernel, const std::string &arch) const override {
    std::vector<const char *> names, texts;
    for (const DeviceLibraryFile &file : deviceLibraryFiles()) {
      names.push_back(file.name.c_str());
      texts.push_back(file.text.c_str());
    }
    Program program = nullptr;
    check(createProgram(&program, kernel.text.c_str(), (kernel.name + ".cu").c_str(), static_cast<int>(names.size()),
                        texts.data(), names.data()),
          kernel.name);
    struct Destroy {
      const NvrtcLibrary &nvrtc;
      Program program;
      ~Destroy() { nvrtc.destroyProgram(&program); }
    } destroy{*this, program};

    std::string architecture = "--gpu-architecture=" + arch;
    std::vector<const char *> arguments = {architecture.c_str()};
    for (const std::string &option : options)
      arguments.push_back(option.c_str());
    size_t needed = arguments.size();
    for (const std::string &option : recentOptions)
      arguments.push_back(option.c_str());
    int status = compileProgram(program, static_cast<int>(arguments.size()), arguments.data());
    if (status == invalidOption)
      status = compileProgram(program, static_cast<int>(needed), arguments.data());
    size_t bytes = 0;
    check(getLogSize(program, &bytes), kernel.name);
    std::string log(bytes, '\0');
    check(getLog(program, log.data()), kernel.name);
    log.resize(std::strlen(log.c_str()));
    if (status != 0)
      throw Error("NVRTC {} cannot compile kernel '{}' for {}: {}\n{}", versionText, kernel.name, arch,
                  getErrorString(status), log.substr(0, 8000));
    CompiledKernel result = parsePtxasLog(kernel.name, log);
    check(getCubinSize(program, &bytes), kernel.name);
    result.cubin.resize(bytes);
    check(getCubin(program, result.cubin.data()), kernel.name);
    return result;
  }

private:
  void check(int status, const std::string &what) const {
    if (status != 0)
      throw Error("NVRTC failed for '{}': {}", what, getErrorString(status));
  }

  SharedLibrary library;
  int major = 0;
  std::string versionText;
  int (*getVersion)(int *, int *);
  const char *(*getErrorString)(int);
  int (*createProgram)(Program *, const char *, const char *, int, const char *const *, const char *const *);
  int (*destroyProgram)(Program *);
  int (*compileProgram)(Program, int, const char *const *);
  int (*getCubinSize)(Program, size_t *);
  int (*getCubin)(Program, char *);
  int (*getLogSize)(Program, size_t *);
  int (*getLog)(Program, char *);
};

} // namespace

/// Every place where NVRTC may be, in the order of preference.
static std::vector<std::string> candidates() {
  auto variable = [](const char *name) {
    const char *value = std::getenv(name);
    return std::string(value ? value : "");
  };
  if (std::string file = variable("MLSYS_NVRTC"); !file.empty())
    return {file};
  const std::string names[] = {"libnvrtc.so.13", "libnvrtc.so.12"};
  std::vector<std::string> found(std::begin(names), std::end(names));
  for (const std::string &toolkit : {variable("CUDA_HOME"), std::string("/usr/local/cuda")})
    if (!toolkit.empty())
      for (const std::string &name : names)
        found.push_back(toolkit + "/lib64/" + name);
  if (std::string environment = variable("VIRTUAL_ENV"); !environment.empty()) {
    std::error_code ignored;
    for (const auto &python : fs::directory_iterator(environment + "/lib", ignored)) {
      std::vector<fs::path> packages;
      for (const auto &package : fs::directory_iterator(python.path() / "site-packages" / "nvidia", ignored))
        packages.push_back(package.path());
      std::sort(packages.begin(), packages.end());
      for (const std::string &name : names)
        for (const fs::path &package : packages)
          if (fs::path file = package / "lib" / name; fs::exists(file, ignored))
            found.push_back(file.string());
    }
  }
  return found;
}

Nvrtc::~Nvrtc() = default;

std::shared_ptr<Nvrtc> Nvrtc::open(int newest) {
  for (const std::string &candidate : candidates()) {
    SharedLibrary library = SharedLibrary::openFirst({candidate});
    if (!library)
      continue;
    auto nvrtc = std::make_shared<NvrtcLibrary>(std::move(library));
    if (newest == 0 || nvrtc->majorVersion() <= newest)
      return nvrtc;
  }
  return nullptr;
}

std::shared_ptr<Nvrtc> Nvrtc::openOrThrow() {
  if (auto nvrtc = open())
    return nvrtc;
  throw Error("NVRTC, which compiles CUDA kernels, is not found (looked for {}); install the CUDA toolkit or the "
              "Python package nvidia-cuda-nvrtc, or set MLSYS_NVRTC to libnvrtc.so",
              fmt::join(candidates(), ", "));
}

CompiledKernel mlsys::rt::parsePtxasLog(const std::string &name, std::string_view log) {
  // The number that stands right before `text`, added up over its occurrences, or
  // their maximum.
  auto numbers = [&](std::string_view text, bool sum) {
    int result = 0;
    for (size_t at = log.find(text); at != std::string_view::npos; at = log.find(text, at + text.size())) {
      size_t begin = at;
      while (begin > 0 && std::isdigit(static_cast<unsigned char>(log[begin - 1])))
        --begin;
      int value = std::atoi(std::string(log.substr(begin, std::min<size_t>(at - begin, 9))).c_str());
      result = sum ? result + value : std::max(result, value);
    }
    return result;
  };
  CompiledKernel result;
  result.registers = numbers(" registers", false);
  result.stackBytes = numbers(" bytes stack frame", false);
  result.spillBytes = numbers(" bytes spill stores", true) + numbers(" bytes spill loads", true);
  result.sharedBytes = numbers(" bytes smem", false);
  if (result.spillBytes > 0)
    throw Error("kernel '{}' spills {} bytes of registers with {} registers; its tile is too large", name,
                result.spillBytes, result.registers);
  if (result.stackBytes > 0)
    throw Error("kernel '{}' uses {} bytes of stack; an array is indexed by a value unknown when compiling", name,
                result.stackBytes);
  if (log.find("wgmma") != std::string_view::npos && log.find("serializ") != std::string_view::npos)
    throw Error("kernel '{}': ptxas serialises its wgmma instructions:\n{}", name, log.substr(0, 2000));
  return result;
}

/// A cached entry: the numbers as text on one line, then the cubin.
static std::string pack(const CompiledKernel &kernel) {
  return fmt::format("{} {} {} {}\n{}", kernel.registers, kernel.spillBytes, kernel.stackBytes, kernel.sharedBytes,
                     kernel.cubin);
}

static bool unpack(const std::string &entry, CompiledKernel &kernel) {
  size_t end = entry.find('\n');
  if (end == std::string::npos || std::sscanf(entry.c_str(), "%d %d %d %d", &kernel.registers, &kernel.spillBytes,
                                              &kernel.stackBytes, &kernel.sharedBytes) != 4)
    return false;
  kernel.cubin = entry.substr(end + 1);
  return true;
}

std::vector<CompiledKernel> mlsys::rt::compileKernels(const Nvrtc &nvrtc, KernelCache &cache,
                                                      const std::vector<KernelText> &kernels, const std::string &arch,
                                                      void (*progress)(size_t, size_t)) {
  std::string library;
  for (const DeviceLibraryFile &file : deviceLibraryFiles())
    library += file.name + "\n" + file.text;
  for (const std::string &option : options)
    library += option + "\n";
  library = KernelCache::key({library}); // hashed once, not for each kernel
  std::vector<CompiledKernel> results(kernels.size());
  std::atomic<size_t> done{0};
  forEachInParallel(kernels.size(), [&](size_t i) {
    std::string key =
        "cubin-" + KernelCache::key({kernels[i].name, kernels[i].text, library, arch, nvrtc.version()});
    auto entry = cache.get(key);
    if (!entry || !unpack(*entry, results[i])) {
      results[i] = nvrtc.compile(kernels[i], arch);
      cache.put(key, pack(results[i]));
    }
    size_t count = ++done;
    if (progress)
      progress(count, kernels.size());
  });
  return results;
}
