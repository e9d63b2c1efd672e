//===- CpuDevice.cpp - Kernels of a CPU program on threads ------*- C++ -*-===//
//
// Part of mlsys, under the Apache License v2.0. See LICENSE.
//
//===----------------------------------------------------------------------===//
#include "runtime/CpuDevice.h"

#include "runtime/Error.h"
#include "runtime/Expr.h"
#include "runtime/Program.h"

#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <dlfcn.h>
#include <fstream>
#include <mutex>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>
#include <unordered_map>

#if defined(__x86_64__)
#include <cpuid.h>
#endif

using namespace mlsys;
using namespace mlsys::rt;

static constexpr size_t alignment = 256;
static constexpr size_t hugePage = size_t(2) << 20;
/// From here on memory is made of huge pages.
static constexpr size_t hugeBytes = size_t(512) << 10;
/// From the best to the one that needs least.
static constexpr std::string_view knownIsas[] = {"amx", "avx512bf16", "x86-64-v4", "x86-64-v3"};

#if defined(__x86_64__)
namespace {
/// What CPUID and XGETBV say, by the names of CpuLibrary.isa.
struct Features {
  bool v3 = false, v4 = false, bf16 = false, amx = false;
  Features();
};
} // namespace

static bool bit(unsigned word, int index) { return (word >> index) & 1; }

Features::Features() {
  unsigned a, b, c, d;
  if (!__get_cpuid(1, &a, &b, &c, &d))
    return;
  unsigned first = c;
  // OSXSAVE, then the register state that the operating system saves.
  if (!bit(first, 27))
    return;
  unsigned low, high;
  __asm__ volatile("xgetbv" : "=a"(low), "=d"(high) : "c"(0));
  bool saves256 = (low & 0x6) == 0x6, saves512 = (low & 0xe6) == 0xe6;
  bool savesTiles = (low & 0x60000) == 0x60000;
  if (!__get_cpuid_count(7, 0, &a, &b, &c, &d))
    return;
  unsigned highestSubleaf = a, seventhB = b, seventhC = c, seventhD = d;
  // FMA, MOVBE, AVX, F16C; BMI1, AVX2, BMI2.
  v3 = saves256 && bit(first, 12) && bit(first, 22) && bit(first, 28) && bit(first, 29) &&
       bit(seventhB, 3) && bit(seventhB, 5) && bit(seventhB, 8);
  // AVX-512 F, DQ, CD, BW, VL.
  v4 = v3 && saves512 && bit(seventhB, 16) && bit(seventhB, 17) && bit(seventhB, 28) &&
       bit(seventhB, 30) && bit(seventhB, 31);
  unsigned bf16Word = 0;
  if (highestSubleaf >= 1 && __get_cpuid_count(7, 1, &a, &b, &c, &d))
    bf16Word = a;
  bf16 = v4 && bit(seventhC, 11) && bit(bf16Word, 5);
  amx = bf16 && savesTiles && bit(seventhD, 22) && bit(seventhD, 24) && bit(seventhD, 25);
  if (amx) {
    // ARCH_REQ_XCOMP_PERM for XTILEDATA.
    constexpr long request = 0x1023, tileData = 18;
    amx = ::syscall(SYS_arch_prctl, request, tileData) == 0;
  }
}

bool rt::cpuSupports(std::string_view isa) {
  static const Features features;
  if (isa == "x86-64-v3")
    return features.v3;
  if (isa == "x86-64-v4")
    return features.v4;
  if (isa == "avx512bf16")
    return features.bf16;
  return isa == "amx" && features.amx;
}
#else
bool rt::cpuSupports(std::string_view isa) { return false; }
#endif

std::string rt::bestCpuIsa() {
  for (std::string_view isa : knownIsas)
    if (cpuSupports(isa))
      return std::string(isa);
  return "";
}

const program::TargetProgram *
rt::bestCpuProgram(std::span<const program::TargetProgram *const> programs) {
  for (std::string_view isa : knownIsas)
    for (const program::TargetProgram *program : programs)
      for (uint32_t i = 0; i < length(program->cpu_libraries()); ++i)
        if (cpuSupports(isa) && text(program->cpu_libraries()->Get(i)->isa()) == isa)
          return program;
  return programs.front();
}

std::string rt::cpuModelName() {
  std::ifstream info("/proc/cpuinfo");
  for (std::string line; std::getline(info, line);)
    if (line.starts_with("model name"))
      if (size_t colon = line.find(": "); colon != std::string::npos)
        return line.substr(colon + 2);
  return "unknown processor";
}

namespace {

/// A shared object loaded from memory.
class MemoryLibrary {
public:
  MemoryLibrary() = default;
  explicit MemoryLibrary(std::span<const uint8_t> bytes);
  ~MemoryLibrary() {
    if (handle)
      ::dlclose(handle);
    if (fd >= 0)
      ::close(fd);
  }
  MemoryLibrary(const MemoryLibrary &) = delete;
  MemoryLibrary &operator=(const MemoryLibrary &) = delete;

  void *symbol(const char *name) const { return ::dlsym(handle, name); }

private:
  void *handle = nullptr;
  // Stays open: the dynamic linker takes libraries of one path for the same,
  // so the number must not be used again.
  int fd = -1;
};

class CpuDevice : public Device {
public:
  explicit CpuDevice(int threads);
  ~CpuDevice() override;

  std::string description() const override;
  std::string target() const override { return "cpu"; }
  bool hostAccessible() const override { return true; }
  void *allocate(size_t bytes) override;
  void free(void *address) override;
  void upload(void *destination, const void *source, size_t bytes) override;
  void download(void *destination, const void *source, size_t bytes) override;
  void zero(void *destination, size_t bytes) override;
  void load(const program::TargetProgram &program) override;
  void launch(const LaunchArgs &args) override { launch(args, {}); }
  void launchAll(std::span<const LaunchArgs> launches) override;
  void synchronize() override {}

private:
  using KernelFunction = void (*)(void *const *buffers, const int64_t *symbols, void *scratch,
                                  int64_t begin, int64_t end);

  /// `ahead` is what the next launch streams through.
  void launch(const LaunchArgs &args, std::span<const std::byte> ahead);

  std::string isa;
  ThreadPool pool;
  std::mutex mutex;
  std::unordered_map<void *, size_t> mapped;
  std::unique_ptr<MemoryLibrary> library;
  std::vector<KernelFunction> kernels;
  std::vector<void *> scratch;
};

} // namespace

MemoryLibrary::MemoryLibrary(std::span<const uint8_t> bytes) {
  fd = int(::syscall(SYS_memfd_create, "mlsys-kernels", 1u /* MFD_CLOEXEC */));
  if (fd < 0)
    throw Error("cannot create memory for the kernels: {}", std::strerror(errno));
  for (size_t done = 0; done < bytes.size();) {
    ssize_t count = ::write(fd, bytes.data() + done, bytes.size() - done);
    if (count < 0 && errno == EINTR)
      continue;
    if (count <= 0) {
      int error = errno;
      ::close(fd);
      throw Error("cannot write the kernels to memory: {}", std::strerror(error));
    }
    done += size_t(count);
  }
  handle = ::dlopen(fmt::format("/proc/self/fd/{}", fd).c_str(), RTLD_NOW | RTLD_LOCAL);
  if (!handle) {
    ::close(fd);
    throw Error("cannot load the kernels: {}", ::dlerror());
  }
}

// The order matters: AMX is asked for (bestCpuIsa) before the pool's threads start.
CpuDevice::CpuDevice(int threads) : isa(bestCpuIsa()), pool(threads) {}

CpuDevice::~CpuDevice() {
  for (void *memory : scratch)
    std::free(memory);
  for (auto [address, bytes] : mapped)
    ::munmap(address, bytes);
}

std::string CpuDevice::description() const {
  return fmt::format("cpu ({}, {}, {} thread{})", cpuModelName(), isa.empty() ? "no AVX2" : isa,
                     pool.size(), pool.size() == 1 ? "" : "s");
}

void *CpuDevice::allocate(size_t bytes) {
  if (bytes == 0)
    return nullptr;
  if (bytes > size_t(1) << 46)
    throw Error("cannot allocate {} bytes", bytes);
  if (bytes < hugeBytes) {
    void *address = std::aligned_alloc(alignment, (bytes + alignment - 1) / alignment * alignment);
    if (!address)
      throw Error("not enough memory for {} bytes", bytes);
    return address;
  }
  // Maps a huge page more than needed and returns what the alignment leaves over.
  size_t rounded = (bytes + hugePage - 1) / hugePage * hugePage;
  void *raw = ::mmap(nullptr, rounded + hugePage, PROT_READ | PROT_WRITE,
                     MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (raw == MAP_FAILED)
    throw Error("not enough memory for {} MiB", bytes >> 20);
  auto start = reinterpret_cast<uintptr_t>(raw);
  uintptr_t aligned = (start + hugePage - 1) / hugePage * hugePage;
  if (aligned != start)
    ::munmap(raw, aligned - start);
  if (size_t tail = start + hugePage - aligned)
    ::munmap(reinterpret_cast<void *>(aligned + rounded), tail);
  auto *address = reinterpret_cast<void *>(aligned);
  ::madvise(address, rounded, MADV_HUGEPAGE);
  std::lock_guard lock(mutex);
  mapped.emplace(address, rounded);
  return address;
}

void CpuDevice::free(void *address) {
  {
    std::lock_guard lock(mutex);
    if (auto found = mapped.find(address); found != mapped.end()) {
      ::munmap(address, found->second);
      mapped.erase(found);
      return;
    }
  }
  std::free(address);
}

void CpuDevice::upload(void *destination, const void *source, size_t bytes) {
  if (bytes != 0)
    std::memcpy(destination, source, bytes);
}

void CpuDevice::download(void *destination, const void *source, size_t bytes) {
  if (bytes != 0)
    std::memcpy(destination, source, bytes);
}

void CpuDevice::zero(void *destination, size_t bytes) {
  if (bytes != 0)
    std::memset(destination, 0, bytes);
}

void CpuDevice::load(const program::TargetProgram &program) {
  if (library || !kernels.empty())
    throw Error("a program is already loaded on this device");
  if (length(program.kernels()) == 0)
    return;
  const program::CpuLibrary *best = nullptr;
  std::string names;
  for (std::string_view wanted : knownIsas)
    for (const program::CpuLibrary *candidate : *program.cpu_libraries())
      if (text(candidate->isa()) == wanted) {
        names += (names.empty() ? "" : ", ") + std::string(wanted);
        if (!best && cpuSupports(wanted))
          best = candidate;
      }
  if (!best)
    throw Error("this model was compiled for {}, and this processor ({}) has {}; compile it here",
                names, cpuModelName(), isa.empty() ? "none of them" : "only " + isa);
  isa = best->isa()->str();
  library = std::make_unique<MemoryLibrary>(values(best->data()));
  size_t scratchBytes = 64;
  for (const program::Kernel *kernel : *program.kernels()) {
    void *symbol = library->symbol(kernel->name()->c_str());
    if (!symbol)
      throw Error("the {} code of the compiled model lacks the kernel '{}'", isa,
                  kernel->name()->str());
    kernels.push_back(reinterpret_cast<KernelFunction>(symbol));
    scratchBytes = std::max<size_t>(scratchBytes, kernel->scratch_bytes());
  }
  scratchBytes = (scratchBytes + 63) / 64 * 64;
  for (int worker = 0; worker < pool.size(); ++worker) {
    scratch.push_back(std::aligned_alloc(64, scratchBytes));
    if (!scratch.back())
      throw Error("not enough memory for {} bytes of scratch", scratchBytes);
  }
}

void CpuDevice::launch(const LaunchArgs &args, std::span<const std::byte> ahead) {
  int64_t tasks = checkedMul(checkedMul(args.grid[0], args.grid[1]), args.grid[2]);
  KernelFunction function = kernels[args.kernel];
  auto share = [&](int64_t begin, int64_t end, int worker) {
    function(args.buffers.data(), args.symbols.data(), scratch[size_t(worker)], begin, end);
  };
  pool.parallelFor(tasks, args.schedule, args.grain, share, ahead);
}

void CpuDevice::launchAll(std::span<const LaunchArgs> launches) {
  for (size_t i = 0; i < launches.size(); ++i)
    launch(launches[i], i + 1 < launches.size() ? launches[i + 1].stream
                                                : std::span<const std::byte>());
}

std::unique_ptr<Device> rt::createCpuDevice(const DeviceOptions &options) {
  return std::make_unique<CpuDevice>(options.threads);
}
