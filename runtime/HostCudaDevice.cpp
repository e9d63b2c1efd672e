//===- HostCudaDevice.cpp -------------------------------------------------===//
//
// Part of mlsys, under the Apache License v2.0. See LICENSE.
//
//===----------------------------------------------------------------------===//

#include "runtime/HostCudaDevice.h"

#include "runtime/DeviceLibrary.h"
#include "runtime/Error.h"
#include "runtime/Parallel.h"
#include "runtime/KernelCache.h"

#include <algorithm>
#include <cctype>
#include <cerrno>
#include <charconv>
#include <cstdlib>
#include <cstring>
#include <dlfcn.h>
#include <fcntl.h>
#include <fstream>
#include <spawn.h>
#include <sstream>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

extern char **environ;

using namespace mlsys;
using namespace mlsys::rt;
namespace fs = std::filesystem;

static constexpr size_t pageBytes = 4096;
static constexpr size_t alignment = 256;
static constexpr unsigned char paddingByte = 0xa5;

static size_t roundUp(size_t value, size_t unit) { return (value + unit - 1) / unit * unit; }

//===----------------------------------------------------------------------===//
// The compiler
//===----------------------------------------------------------------------===//

namespace {
/// A folder that is removed at the end.
struct TemporaryFolder {
  fs::path path;
  TemporaryFolder() {
    std::string name = (fs::temp_directory_path() / "mlsys-XXXXXX").string();
    if (!mkdtemp(name.data()))
      throw Error("cannot make a temporary folder {}: {}", name, std::strerror(errno));
    path = name;
  }
  ~TemporaryFolder() {
    std::error_code ignored;
    fs::remove_all(path, ignored);
  }
};
} // namespace

static void writeFile(const fs::path &path, std::string_view text) {
  std::ofstream file(path, std::ios::binary);
  file.write(text.data(), static_cast<std::streamsize>(text.size()));
  file.close();
  if (!file)
    throw Error("cannot write {}: {}", path.string(), std::strerror(errno));
}

static std::string readFile(const fs::path &path) {
  std::ifstream file(path, std::ios::binary);
  if (!file)
    throw Error("cannot read {}: {}", path.string(), std::strerror(errno));
  return {std::istreambuf_iterator<char>(file), {}};
}

std::string mlsys::rt::runProcess(const std::vector<std::string> &arguments, int &status) {
  TemporaryFolder folder;
  std::string log = (folder.path / "log").string();
  std::vector<char *> argv;
  for (const std::string &argument : arguments)
    argv.push_back(const_cast<char *>(argument.c_str()));
  argv.push_back(nullptr);
  posix_spawn_file_actions_t actions;
  posix_spawn_file_actions_init(&actions);
  posix_spawn_file_actions_addopen(&actions, 1, log.c_str(), O_WRONLY | O_CREAT, 0600);
  posix_spawn_file_actions_adddup2(&actions, 1, 2);
  pid_t child;
  int failure = posix_spawnp(&child, argv[0], &actions, nullptr, argv.data(), environ);
  posix_spawn_file_actions_destroy(&actions);
  if (failure)
    throw Error("cannot run {}: {}", arguments[0], std::strerror(failure));
  while (waitpid(child, &status, 0) < 0)
    if (errno != EINTR)
      throw Error("cannot wait for {}: {}", arguments[0], std::strerror(errno));
  return readFile(log);
}

std::string mlsys::rt::findHostCompiler() {
  if (const char *given = std::getenv("MLSYS_HOST_CXX"); given && *given)
    return given;
  std::vector<std::string> names = {"clang++-22", "clang++", "g++", "c++"};
  for (int version = 21; version >= 16; --version)
    names.push_back(fmt::format("clang++-{}", version));
  for (int version = 15; version >= 12; --version)
    names.push_back(fmt::format("g++-{}", version));
  const char *path = std::getenv("PATH");
  for (const std::string &name : names) {
    std::istringstream folders(path ? path : "");
    for (std::string folder; std::getline(folders, folder, ':');) {
      std::string program = folder + "/" + name;
      if (access(program.c_str(), X_OK) == 0)
        return program;
    }
  }
  throw Error("--device host-cuda needs a C++ compiler, and PATH has neither clang++ nor g++; install one or set "
              "MLSYS_HOST_CXX");
}

/// Kernels of one translation unit: few, so that several are compiled at a time.
static constexpr size_t unitKernels = 8;

/// A translation unit with kernels [begin, end), each in a namespace of its own, and their
/// entries.
static std::string translationUnit(const std::vector<HostCudaDevice::Source> &sources, size_t begin, size_t end) {
  std::string text;
  for (const DeviceLibraryFile &file : deviceLibraryFiles())
    if (file.name.ends_with(".cuh") && !file.name.starts_with("mlsys/ptx"))
      text += fmt::format("#include \"{}\"\n", file.name);
  for (size_t i = begin; i < end; ++i) {
    const auto &[name, body] = sources[i];
    text += fmt::format("namespace mlsys_kernel_{} {{\n#line 1 \"{}.cu\"\n{}\n"
                        "extern \"C\" __attribute__((visibility(\"default\"))) void mlsys_host_entry_{}"
                        "(mlsys::host::Context *context, void *const *arguments) {{\n"
                        "  mlsys::host::current = context;\n  mlsys::host::invoke(&{}, arguments);\n}}\n"
                        "extern \"C\" __attribute__((visibility(\"default\"))) int mlsys_host_parameters_{}() {{ "
                        "return mlsys::host::parameterCount(&{}); }}\n}}\n",
                        i, name, body, i, name, i, name);
  }
  return text;
}

/// How many blocks the kernel's __cluster_dims__ says run together; 1 without.
static int clusterOf(std::string_view text) {
  constexpr std::string_view name = "__cluster_dims__(";
  size_t at = text.find(name);
  int blocks = 1;
  if (at != std::string_view::npos)
    std::from_chars(text.data() + at + name.size(), text.data() + text.size(), blocks);
  return blocks;
}

/// What the machine can execute, from /proc/cpuinfo; empty when that says nothing.
static std::string machineFeatures() {
  std::ifstream info("/proc/cpuinfo");
  for (std::string line; std::getline(info, line);)
    if (line.starts_with("flags"))
      return line;
  return "";
}

/// Runs a command of the C++ compiler; throws with its output when it fails.
static void runCompiler(const std::vector<std::string> &command) {
  int status = 0;
  std::string log = runProcess(command, status);
  if (status != 0)
    throw Error("{} cannot compile the CUDA text for the host executor:\n{}", command.front(), log.substr(0, 8000));
}

/// Compiles the units, on all cores, and links them to `folder`/kernels.so.
static void compileUnits(const fs::path &folder, const std::vector<std::string> &units,
                         const std::vector<std::string> &compile) {
  fs::create_directory(folder / "mlsys");
  for (const DeviceLibraryFile &file : deviceLibraryFiles())
    writeFile(folder / file.name, file.text);
  auto pathOf = [&](size_t unit, const char *suffix) {
    return (folder / fmt::format("kernels{}.{}", unit, suffix)).string();
  };
  forEachInParallel(units.size(), [&](size_t i) {
    writeFile(pathOf(i, "cpp"), units[i]);
    std::vector<std::string> command = compile;
    for (const std::string &argument :
         {"-I" + folder.string(), std::string("-c"), pathOf(i, "cpp"), std::string("-o"), pathOf(i, "o")})
      command.push_back(argument);
    runCompiler(command);
  });
  std::vector<std::string> command = {compile.front(), "-shared", "-o", (folder / "kernels.so").string()};
  for (size_t i = 0; i < units.size(); ++i)
    command.push_back(pathOf(i, "o"));
  runCompiler(command);
}

/// Compiles the units to a shared object and opens it.
static void *compileAndOpen(const std::vector<std::string> &units) {
  std::string compiler = findHostCompiler();
  int status = 0;
  std::string version = runProcess({compiler, "--version"}, status);
  if (status != 0)
    throw Error("{} is no C++ compiler that works:\n{}", compiler, version.substr(0, 2000));
  // -march=native depends on the machine, which may share the cache with others.
  std::string machine = machineFeatures();
  const std::vector<std::string> compile = {compiler,       "-O2",          "-std=c++20",
                                            "-fPIC",        "-march=native", "-DMLSYS_HOST",
                                            "-w",           "-fno-strict-aliasing", "-fvisibility=hidden"};
  std::string parts;
  for (const std::string &option : compile)
    parts += option + "\n";
  for (const DeviceLibraryFile &file : deviceLibraryFiles())
    parts += file.name + "\n" + file.text;
  for (const std::string &unit : units)
    parts += unit;
  std::string key = "host-" + KernelCache::key({parts, version, machine});

  KernelCache cache;
  auto openLibrary = [](const fs::path &path) {
    void *opened = dlopen(path.c_str(), RTLD_NOW | RTLD_LOCAL);
    if (!opened)
      throw Error("cannot load the kernels compiled for the host executor: {}", dlerror());
    return opened;
  };
  if (auto path = cache.getFile(key))
    return openLibrary(*path);
  TemporaryFolder folder;
  compileUnits(folder.path, units, compile);
  if (cache.put(key, readFile(folder.path / "kernels.so")))
    if (auto path = cache.getFile(key))
      return openLibrary(*path);
  return openLibrary(folder.path / "kernels.so");
}

//===----------------------------------------------------------------------===//
// Memory
//===----------------------------------------------------------------------===//

HostCudaDevice::HostCudaDevice(int threads, HostSchedule schedule, std::string arch)
    : executor(threads, schedule), architecture(std::move(arch)) {
  executor.describeAddress = [this](const void *address) { return nearestAllocation(address); };
}

HostCudaDevice::~HostCudaDevice() {
  for (auto &[address, allocation] : allocations)
    munmap(allocation.region, allocation.regionBytes);
  if (library)
    dlclose(library);
}

std::string HostCudaDevice::description() const {
  return fmt::format("host-cuda (CUDA text on the CPU, {} threads)", executor.threads());
}

void *HostCudaDevice::allocate(size_t bytes) {
  if (bytes == 0)
    return nullptr;
  size_t limit = size_t(1) << 46;
  size_t padded = bytes < limit ? roundUp(bytes, alignment) : 0;
  size_t usable = roundUp(padded, pageBytes);
  size_t regionBytes = usable + 2 * pageBytes;
  void *region =
      padded ? mmap(nullptr, regionBytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0)
             : MAP_FAILED;
  if (region == MAP_FAILED)
    throw Error("out of memory: cannot allocate {} bytes for host-cuda", bytes);
  auto *base = static_cast<unsigned char *>(region);
  mprotect(base, pageBytes, PROT_NONE);
  mprotect(base + pageBytes + usable, pageBytes, PROT_NONE);
  unsigned char *address = base + pageBytes + usable - padded;
  // The kernel's pages are zero; a GPU's are not. Large buffers are weights and
  // pages, which their owner fills.
  if (bytes <= 64u << 20)
    std::memset(address, 0xff, bytes);
  std::memset(address + bytes, paddingByte, padded - bytes);
  allocations[reinterpret_cast<uintptr_t>(address)] = {base, regionBytes, bytes};
  return address;
}

void HostCudaDevice::free(void *address) {
  if (!address)
    return;
  auto found = allocations.find(reinterpret_cast<uintptr_t>(address));
  if (found == allocations.end())
    throw Error("host-cuda: free of {}, which is not allocated", address);
  munmap(found->second.region, found->second.regionBytes);
  allocations.erase(found);
}

void HostCudaDevice::upload(void *destination, const void *source, size_t bytes) {
  if (bytes)
    std::memcpy(destination, source, bytes);
}
void HostCudaDevice::download(void *destination, const void *source, size_t bytes) {
  if (bytes)
    std::memcpy(destination, source, bytes);
}
void HostCudaDevice::zero(void *destination, size_t bytes) {
  if (bytes)
    std::memset(destination, 0, bytes);
}

std::string HostCudaDevice::nearestAllocation(const void *address) const {
  auto wanted = reinterpret_cast<uintptr_t>(address);
  for (auto &[start, allocation] : allocations) {
    auto region = reinterpret_cast<uintptr_t>(allocation.region);
    if (wanted < region || wanted >= region + allocation.regionBytes)
      continue;
    if (wanted < start)
      return fmt::format("{} bytes before a buffer of {} bytes", start - wanted, allocation.bytes);
    return fmt::format("{} bytes after the start of a buffer of {} bytes", wanted - start, allocation.bytes);
  }
  return "";
}

void HostCudaDevice::checkPadding(const std::string &kernel) const {
  for (auto &[start, allocation] : allocations) {
    size_t padded = roundUp(allocation.bytes, alignment);
    auto *data = reinterpret_cast<const unsigned char *>(start);
    for (size_t i = allocation.bytes; i < padded; ++i)
      if (data[i] != paddingByte)
        throw Error("kernel '{}': wrote byte {} of a buffer of {} bytes", kernel, i, allocation.bytes);
  }
}

//===----------------------------------------------------------------------===//
// Kernels
//===----------------------------------------------------------------------===//

void HostCudaDevice::load(const program::TargetProgram &program) {
  std::vector<Source> sources;
  if (program.kernels())
    for (const program::Kernel *kernel : *program.kernels()) {
      if (!kernel->name() || !kernel->cuda_text())
        throw Error("the program's kernel {} has no CUDA text", kernel->name() ? kernel->name()->str() : "?");
      sources.push_back({kernel->name()->str(), kernel->cuda_text()->str()});
    }
  loadSources(sources);
}

void HostCudaDevice::loadSources(const std::vector<Source> &sources) {
  if (library)
    throw Error("host-cuda: a program is loaded already");
  if (sources.empty())
    return;
  for (const Source &source : sources) {
    bool identifier = !source.name.empty();
    for (char c : source.name)
      identifier = identifier && (std::isalnum(static_cast<unsigned char>(c)) || c == '_');
    if (!identifier)
      throw Error("the program's kernel name '{}' is no identifier", source.name);
  }
  std::vector<std::string> units;
  for (size_t begin = 0; begin < sources.size(); begin += unitKernels)
    units.push_back(translationUnit(sources, begin, std::min(begin + unitKernels, sources.size())));
  library = compileAndOpen(units);
  for (size_t i = 0; i < sources.size(); ++i) {
    void *entry = dlsym(library, fmt::format("mlsys_host_entry_{}", i).c_str());
    void *parameters = dlsym(library, fmt::format("mlsys_host_parameters_{}", i).c_str());
    if (!entry || !parameters)
      throw Error("the compiled kernels lack '{}'", sources[i].name);
    kernels.push_back({sources[i].name, reinterpret_cast<void (*)(host::Context *, void *const *)>(entry),
                       reinterpret_cast<int (*)()>(parameters)(), clusterOf(sources[i].text)});
  }
}

void HostCudaDevice::launch(const LaunchArgs &args) {
  if (args.kernel >= kernels.size())
    throw Error("host-cuda: launch of kernel {} of {}", args.kernel, kernels.size());
  const Kernel &kernel = kernels[args.kernel];
  if (args.buffers.size() + args.symbols.size() + args.tensorMaps.size() != static_cast<size_t>(kernel.parameters))
    throw Error("kernel '{}' has {} parameters, but is launched with {} buffers, {} symbols and {} tensor maps",
                kernel.name, kernel.parameters, args.buffers.size(), args.symbols.size(), args.tensorMaps.size());
  if (args.grid[0] == 0 || args.grid[1] == 0 || args.grid[2] == 0)
    return;
  std::vector<void *> buffers(args.buffers.begin(), args.buffers.end());
  std::vector<long long> symbols(args.symbols.begin(), args.symbols.end());
  // A tensor map is 128 bytes, aligned to 64.
  struct alignas(64) MapParameter {
    char bytes[128] = {};
  };
  std::vector<MapParameter> maps(args.tensorMaps.size());
  std::vector<void *> pointers;
  for (void *&buffer : buffers)
    pointers.push_back(&buffer);
  for (long long &symbol : symbols)
    pointers.push_back(&symbol);
  for (size_t i = 0; i < maps.size(); ++i) {
    checkTensorMap(args.tensorMaps[i], kernel.name);
    host::TensorMap map = encodeHostTensorMap(args.tensorMaps[i]);
    std::memcpy(maps[i].bytes, &map, sizeof(map));
    pointers.push_back(&maps[i]);
  }
  for (int64_t extent : args.grid)
    if (extent < 0 || extent > INT32_MAX)
      throw Error("kernel '{}': a grid extent of {}", kernel.name, extent);
  HostLaunch launch;
  launch.name = kernel.name;
  launch.entry = kernel.entry;
  launch.arguments = pointers.data();
  launch.grid = {static_cast<int>(args.grid[0]), static_cast<int>(args.grid[1]), static_cast<int>(args.grid[2])};
  launch.block = {args.block[0], args.block[1], args.block[2]};
  launch.cluster = kernel.cluster;
  launch.sharedBytes = args.sharedBytes;
  executor.launch(launch);
  checkPadding(kernel.name);
}

std::unique_ptr<Device> mlsys::rt::createHostCudaDevice(const DeviceOptions &options) {
  constexpr std::string_view prefix = "host-cuda:";
  std::string arch = options.device.starts_with(prefix) ? options.device.substr(prefix.size()) : "";
  return std::make_unique<HostCudaDevice>(options.threads, hostScheduleFromEnvironment(), arch);
}
