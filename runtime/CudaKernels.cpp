//===- CudaKernels.cpp - Loading and launching kernels on a GPU -----------===//
//
// Part of mlsys, under the Apache License v2.0. See LICENSE.
//
//===----------------------------------------------------------------------===//

#include "runtime/CudaDevice.h"

#include "runtime/Error.h"
#include "runtime/Nvrtc.h"
#include "runtime/Parallel.h"

#include <charconv>

using namespace mlsys;
using namespace mlsys::rt;

/// Threads that load the kernels of a program.
static constexpr size_t loadThreads = 4;

bool mlsys::rt::cubinRunsOn(const std::string &arch, const GpuInfo &gpu) {
  if (!arch.starts_with("sm_"))
    return false;
  int version = 0;
  const char *end = arch.data() + arch.size();
  auto [rest, failure] = std::from_chars(arch.data() + 3, end, version);
  if (failure != std::errc())
    return false;
  std::string_view suffix(rest, end - rest);
  int major = version / 10, minor = version % 10;
  if (suffix == "a")
    return major == gpu.major && minor == gpu.minor;
  return suffix.empty() && major == gpu.major && minor <= gpu.minor;
}

/// The compiler for kernels that have no cubin for the GPU.
static std::shared_ptr<Nvrtc> requireNvrtc(const CudaDriver &driver, const GpuInfo &info,
                                           const std::vector<KernelText> &missing, size_t kernels) {
  if (auto nvrtc = Nvrtc::open(driver.version / 1000))
    return nvrtc;
  if (auto newer = Nvrtc::open())
    throw Error("the NVIDIA driver is too old for NVRTC {} ({}): it runs CUDA {}; update the driver, or set "
                "MLSYS_NVRTC to a libnvrtc.so of its version",
                newer->version(), newer->path(), cudaVersionText(driver.version));
  try {
    return Nvrtc::openOrThrow();
  } catch (const Error &error) {
    throw Error("{} of the program's {} kernels {} not compiled for {} ({}), and {}", missing.size(), kernels,
                missing.size() == 1 ? "is" : "are", info.name, info.arch(), error.what());
  }
}

void CudaDevice::load(const program::TargetProgram &program) {
  if (!kernels.empty())
    throw Error("{}: a program is loaded already", description());
  if (!program.kernels())
    return;
  makeCurrent();
  std::vector<std::string_view> cubins(program.kernels()->size());
  std::vector<KernelText> missing;
  std::vector<size_t> missingIndices;
  for (size_t i = 0; i < program.kernels()->size(); ++i) {
    const program::Kernel *kernel = program.kernels()->Get(i);
    if (!kernel->name())
      throw Error("the program's kernel {} has no name", i);
    std::string_view text = kernel->cuda_text() ? kernel->cuda_text()->string_view() : std::string_view();
    Kernel loaded;
    loaded.name = kernel->name()->str();
    loaded.waits = text.find("pdl_wait") != std::string_view::npos;
    kernels.push_back(loaded);
    // The highest architecture that fits.
    std::string best;
    if (kernel->cubins())
      for (const program::Cubin *cubin : *kernel->cubins())
        if (cubin->arch() && cubin->data() && cubin->data()->size() && cubinRunsOn(cubin->arch()->str(), info) &&
            cubin->arch()->str() > best) {
          best = cubin->arch()->str();
          cubins[i] = {reinterpret_cast<const char *>(cubin->data()->data()), cubin->data()->size()};
        }
    if (!best.empty())
      continue;
    if (text.empty())
      throw Error("kernel '{}' has neither a cubin for {} nor CUDA text", loaded.name, info.arch());
    missing.push_back({loaded.name, std::string(text)});
    missingIndices.push_back(i);
  }
  std::vector<CompiledKernel> compiled;
  if (!missing.empty()) {
    KernelCache cache;
    compiled = compileKernels(*requireNvrtc(driver, info, missing, kernels.size()), cache, missing, info.arch());
    for (size_t i = 0; i < missing.size(); ++i)
      cubins[missingIndices[i]] = compiled[i].cubin;
  }
  std::vector<bool> fromProgram(kernels.size(), true);
  for (size_t i : missingIndices)
    fromProgram[i] = false;
  // Each takes some tenths of a millisecond, of which the driver does a part in parallel.
  size_t threads = kernels.size() < 2 * loadThreads ? 1 : loadThreads;
  forEachInParallel(threads, [&](size_t first) {
    makeCurrent();
    for (size_t i = first; i < kernels.size(); i += threads)
      loadModule(kernels[i], cubins[i], fromProgram[i]);
  });
}

void CudaDevice::loadModule(Kernel &kernel, std::string_view cubin, bool fromProgram) const {
  int status = driver.moduleLoadData(&kernel.module, cubin.data());
  bool refused = status == cuda::invalidImage || status == cuda::noBinaryForGpu || status == cuda::invalidPtx ||
                 status == cuda::unsupportedPtxVersion;
  if (refused && fromProgram)
    throw Error("the NVIDIA driver, which runs CUDA {}, does not take the program's code of kernel '{}' for {} ({}): "
                "update the driver if the program was compiled with a later CUDA, else compile the program again",
                cudaVersionText(driver.version), kernel.name, info.name, info.arch());
  driver.check(status, "loading kernel " + kernel.name);
  driver.check(driver.moduleGetFunction(&kernel.function, kernel.module, kernel.name.c_str()),
               "finding kernel " + kernel.name);
  // Now, beside the weights, and not in the first step.
  if (driver.functionLoad)
    driver.check(driver.functionLoad(kernel.function), "loading kernel " + kernel.name);
}

static constexpr size_t maxTensorMaps = 16;

static void encodeTensorMap(const CudaDriver &driver, const TensorMapArgument &argument, const std::string &kernel,
                            cuda::TensorMap &map) {
  checkTensorMap(argument, kernel);
  if (!driver.tensorMapEncodeTiled)
    throw Error("kernel '{}' copies tiles, which the NVIDIA driver, which runs CUDA {}, does not know: update it", kernel,
                cudaVersionText(driver.version));
  unsigned ones[TensorMapArgument::maxRank] = {1, 1, 1, 1, 1};
  int type = argument.type == program::DType::BF16  ? cuda::tensorMapBf16
             : argument.type == program::DType::F16 ? cuda::tensorMapF16
             : argument.type == program::DType::F32 ? cuda::tensorMapF32
                                                    : cuda::tensorMapU8;
  driver.check(driver.tensorMapEncodeTiled(&map, type, static_cast<unsigned>(argument.rank), argument.base,
                                           argument.extents, argument.strides, argument.box, ones, 0,
                                           argument.swizzled ? cuda::tensorMapSwizzle128 : 0,
                                           cuda::tensorMapPromotion256, 0),
               "a tensor map of kernel " + kernel);
}

void CudaDevice::launch(const LaunchArgs &args) {
  makeCurrent();
  launch(args, true);
}

/// The kernel of a launch, with the shared memory that it needs; throws when this GPU cannot run it.
CudaDevice::Kernel &CudaDevice::readyFor(const LaunchArgs &args) {
  if (args.kernel >= kernels.size())
    throw Error("launch of kernel {} of {}", args.kernel, kernels.size());
  Kernel &kernel = kernels[args.kernel];
  const int64_t limits[3] = {INT32_MAX, 65535, 65535};
  for (int i = 0; i < 3; ++i)
    if (args.grid[i] < 0 || args.grid[i] > limits[i])
      throw Error("kernel '{}': {} blocks in dimension {}; a GPU takes {} at most", kernel.name, args.grid[i], i,
                  limits[i]);
  if (args.sharedBytes > info.maxSharedBytes)
    throw Error("kernel '{}' needs {} bytes of shared memory; {} has {}", kernel.name, args.sharedBytes, info.name,
                info.maxSharedBytes);
  if (args.sharedBytes > kernel.allowedShared) {
    driver.check(driver.funcSetAttribute(kernel.function, cuda::functionAttributeMaxDynamicShared,
                                         static_cast<int>(args.sharedBytes)),
                 "shared memory of kernel " + kernel.name);
    kernel.allowedShared = args.sharedBytes;
  }
  return kernel;
}

void CudaDevice::launch(const LaunchArgs &args, bool early) {
  if (args.grid[0] == 0 || args.grid[1] == 0 || args.grid[2] == 0)
    return;
  Kernel &kernel = readyFor(args);
  // A pointer to each value; the driver copies the values before it returns.
  constexpr size_t maxParameters = 512;
  size_t count = args.buffers.size() + args.symbols.size() + args.tensorMaps.size();
  if (count > maxParameters)
    throw Error("kernel '{}' is launched with {} parameters; {} is the limit", kernel.name, count, maxParameters);
  void *pointers[maxParameters];
  size_t next = 0;
  for (void *const &buffer : args.buffers)
    pointers[next++] = const_cast<void **>(&buffer);
  for (const int64_t &symbol : args.symbols)
    pointers[next++] = const_cast<int64_t *>(&symbol);
  // A launch has few tensor maps, and encoding one takes less than the launch.
  cuda::TensorMap maps[maxTensorMaps];
  if (args.tensorMaps.size() > maxTensorMaps)
    throw Error("kernel '{}' is launched with {} tensor maps; {} is the limit", kernel.name, args.tensorMaps.size(),
                maxTensorMaps);
  for (size_t i = 0; i < args.tensorMaps.size(); ++i) {
    encodeTensorMap(driver, args.tensorMaps[i], kernel.name, maps[i]);
    pointers[next++] = &maps[i];
  }

  cuda::LaunchAttribute attribute = {};
  attribute.id = cuda::launchAttributeProgrammaticStreamSerialization;
  attribute.value.programmaticStreamSerializationAllowed = 1;
  cuda::LaunchConfig config = {};
  config.gridX = static_cast<unsigned>(args.grid[0]);
  config.gridY = static_cast<unsigned>(args.grid[1]);
  config.gridZ = static_cast<unsigned>(args.grid[2]);
  config.blockX = static_cast<unsigned>(args.block[0]);
  config.blockY = static_cast<unsigned>(args.block[1]);
  config.blockZ = static_cast<unsigned>(args.block[2]);
  config.sharedBytes = args.sharedBytes;
  config.stream = stream;
  if (early && kernel.waits && info.major >= 9) {
    config.attributes = &attribute;
    config.attributeCount = 1;
  }
  driver.check(driver.launchKernelEx(&config, kernel.function, pointers, nullptr),
               "launching kernel " + kernel.name);
}
