//===- SharedLibrary.h - A library opened at run time -----------*- C++ -*-===//
//
// Part of mlsys, under the Apache License v2.0. See LICENSE.
//
//===----------------------------------------------------------------------===//
#pragma once

#include "runtime/Error.h"

#include <dlfcn.h>

#include <string>
#include <utility>
#include <vector>

namespace mlsys::rt {

/// A shared library by dlopen, closed at the end.
class SharedLibrary {
public:
  SharedLibrary() = default;
  SharedLibrary(SharedLibrary &&other) noexcept
      : handle(std::exchange(other.handle, nullptr)), name(std::move(other.name)) {}
  SharedLibrary &operator=(SharedLibrary &&other) noexcept {
    std::swap(handle, other.handle);
    std::swap(name, other.name);
    return *this;
  }
  ~SharedLibrary() {
    if (handle)
      dlclose(handle);
  }

  /// Opens the first of `candidates` that can be; an empty SharedLibrary when none.
  static SharedLibrary openFirst(const std::vector<std::string> &candidates) {
    SharedLibrary library;
    for (const std::string &candidate : candidates)
      if ((library.handle = dlopen(candidate.c_str(), RTLD_NOW | RTLD_LOCAL))) {
        library.name = candidate;
        break;
      }
    return library;
  }

  explicit operator bool() const { return handle; }
  const std::string &path() const { return name; }

  /// Sets `function` to the symbol, or to null when the library has none.
  template <class Function> void findOptional(Function *&function, const char *symbol) const {
    function = reinterpret_cast<Function *>(dlsym(handle, symbol));
  }
  /// Sets `function` to the symbol; throws rt::Error when the library has none.
  template <class Function> void find(Function *&function, const char *symbol) const {
    function = reinterpret_cast<Function *>(dlsym(handle, symbol));
    if (!function)
      throw Error("{} has no function {}; the library is too old or not what it is taken for", name, symbol);
  }

private:
  void *handle = nullptr;
  std::string name;
};

} // namespace mlsys::rt
