//===- CudaDevice.cpp -----------------------------------------------------===//
//
// Part of mlsys, under the Apache License v2.0. See LICENSE.
//
//===----------------------------------------------------------------------===//

#include "runtime/CudaDevice.h"

#include "runtime/Error.h"
#include "runtime/Nvrtc.h"

#include <charconv>
#include <cstring>

using namespace mlsys;
using namespace mlsys::rt;

static const CudaDriver &requireDriver() {
  std::string reason;
  if (const CudaDriver *driver = CudaDriver::get(&reason))
    return *driver;
  throw Error("--device cuda: {}; use --device cpu, or --device host-cuda to run CUDA kernels on the CPU", reason);
}

static cuda::Address addressOf(const void *pointer) { return reinterpret_cast<cuda::Address>(pointer); }

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

CudaDevice::CudaDevice(int index) : driver(requireDriver()) {
  std::vector<GpuInfo> gpus = listGpus();
  if (index < 0 || index >= static_cast<int>(gpus.size()))
    throw Error("--device cuda:{}: this machine has {} GPU{}, numbered from 0", index, gpus.size(),
                gpus.size() == 1 ? "" : "s");
  info = gpus[index];
  if (info.major < 8)
    throw Error("{} has compute capability {}.{}; the kernels need 8.0 (Ampere) or later", info.name, info.major,
                info.minor);
  driver.check(driver.deviceGet(&device, index), "cuDeviceGet");
  driver.check(driver.primaryCtxRetain(&context, device), "starting the GPU");
  try {
    makeCurrent();
    driver.check(driver.streamCreate(&stream, cuda::streamNonBlocking), "cuStreamCreate");
  } catch (...) {
    driver.primaryCtxRelease(device);
    throw;
  }
}

CudaDevice::~CudaDevice() {
  // Errors here have been reported by the call that caused them.
  driver.ctxSetCurrent(context);
  driver.streamSynchronize(stream);
  for (Kernel &kernel : kernels)
    if (kernel.module)
      driver.moduleUnload(kernel.module);
  driver.streamDestroy(stream);
  driver.primaryCtxRelease(device);
}

void CudaDevice::makeCurrent() const { driver.check(driver.ctxSetCurrent(context), "cuCtxSetCurrent"); }

std::string CudaDevice::description() const {
  return fmt::format("cuda:{} ({}, {}, {:.1f} GiB)", info.index, info.name, info.arch(),
                     static_cast<double>(info.memoryBytes) / (1 << 30));
}

//===----------------------------------------------------------------------===//
// Memory
//===----------------------------------------------------------------------===//

void *CudaDevice::allocate(size_t bytes) {
  if (bytes == 0)
    return nullptr;
  makeCurrent();
  cuda::Address address = 0;
  driver.check(driver.memAlloc(&address, bytes), fmt::format("allocating {} bytes on {}", bytes, info.name));
  return reinterpret_cast<void *>(address);
}

void CudaDevice::free(void *address) {
  if (!address)
    return;
  makeCurrent();
  // Kernels that still use the memory end first.
  driver.check(driver.streamSynchronize(stream), "the kernels before a free");
  driver.check(driver.memFree(addressOf(address)), "cuMemFree");
}

void CudaDevice::upload(void *destination, const void *source, size_t bytes) {
  if (bytes == 0)
    return;
  makeCurrent();
  driver.check(driver.memcpyHtoD(addressOf(destination), source, bytes, stream), "copying to the GPU");
  driver.check(driver.streamSynchronize(stream), "copying to the GPU");
}

void CudaDevice::download(void *destination, const void *source, size_t bytes) {
  if (bytes == 0)
    return;
  makeCurrent();
  driver.check(driver.memcpyDtoH(destination, addressOf(source), bytes, stream), "copying from the GPU");
  driver.check(driver.streamSynchronize(stream), "copying from the GPU");
}

void CudaDevice::zero(void *destination, size_t bytes) {
  if (bytes == 0)
    return;
  makeCurrent();
  driver.check(driver.memsetD8(addressOf(destination), 0, bytes, stream), "cuMemsetD8Async");
}

void CudaDevice::synchronize() {
  makeCurrent();
  driver.check(driver.streamSynchronize(stream), "running kernels");
}

//===----------------------------------------------------------------------===//
// Kernels
//===----------------------------------------------------------------------===//

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
    compiled = compileKernels(*Nvrtc::openOrThrow(), cache, missing, info.arch());
    for (size_t i = 0; i < missing.size(); ++i)
      cubins[missingIndices[i]] = compiled[i].cubin;
  }
  for (size_t i = 0; i < kernels.size(); ++i) {
    Kernel &kernel = kernels[i];
    driver.check(driver.moduleLoadData(&kernel.module, cubins[i].data()), "loading kernel " + kernel.name);
    driver.check(driver.moduleGetFunction(&kernel.function, kernel.module, kernel.name.c_str()),
                 "finding kernel " + kernel.name);
  }
}

void CudaDevice::launch(const LaunchArgs &args) {
  if (args.kernel >= kernels.size())
    throw Error("launch of kernel {} of {}", args.kernel, kernels.size());
  Kernel &kernel = kernels[args.kernel];
  if (args.grid[0] == 0 || args.grid[1] == 0 || args.grid[2] == 0)
    return;
  const int64_t limits[3] = {INT32_MAX, 65535, 65535};
  for (int i = 0; i < 3; ++i)
    if (args.grid[i] < 0 || args.grid[i] > limits[i])
      throw Error("kernel '{}': {} blocks in dimension {}; a GPU takes {} at most", kernel.name, args.grid[i], i,
                  limits[i]);
  if (args.sharedBytes > info.maxSharedBytes)
    throw Error("kernel '{}' needs {} bytes of shared memory; {} has {}", kernel.name, args.sharedBytes, info.name,
                info.maxSharedBytes);
  makeCurrent();
  if (args.sharedBytes > kernel.allowedShared) {
    driver.check(driver.funcSetAttribute(kernel.function, cuda::functionAttributeMaxDynamicShared,
                                         static_cast<int>(args.sharedBytes)),
                 "shared memory of kernel " + kernel.name);
    kernel.allowedShared = args.sharedBytes;
  }
  // A pointer to each value; the driver copies the values before it returns.
  constexpr size_t maxParameters = 512;
  size_t count = args.buffers.size() + args.symbols.size();
  if (count > maxParameters)
    throw Error("kernel '{}' is launched with {} parameters; {} is the limit", kernel.name, count, maxParameters);
  void *pointers[maxParameters];
  size_t next = 0;
  for (void *const &buffer : args.buffers)
    pointers[next++] = const_cast<void **>(&buffer);
  for (const int64_t &symbol : args.symbols)
    pointers[next++] = const_cast<int64_t *>(&symbol);

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
  if (kernel.waits && info.major >= 9) {
    config.attributes = &attribute;
    config.attributeCount = 1;
  }
  driver.check(driver.launchKernelEx(&config, kernel.function, pointers, nullptr),
               "launching kernel " + kernel.name);
}

std::unique_ptr<Device> mlsys::rt::createCudaDevice(const DeviceOptions &options) {
  int index = 0;
  if (options.device.starts_with("cuda:")) {
    const char *begin = options.device.data() + 5, *end = options.device.data() + options.device.size();
    auto [rest, failure] = std::from_chars(begin, end, index);
    if (failure != std::errc() || rest != end)
      throw Error("--device {}: expected cuda or cuda:N", options.device);
  }
  return std::make_unique<CudaDevice>(index);
}
