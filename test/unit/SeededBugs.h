//===- SeededBugs.h - Wrong versions of Hopper's templates ------*- C++ -*-===//
//
// Part of mlsys, under the Apache License v2.0. See LICENSE.
//
//===----------------------------------------------------------------------===//
#pragma once

#include "runtime/DeviceLibrary.h"
#include "runtime/Error.h"

#include <string>

/// A bug: the first `from` of a template becomes `to`. None when `from` is empty.
struct Seed {
  std::string name, from, to;
};

/// The part for sm_90a of a file of the device library, with a bug. Throws when the file has no such text any more.
inline std::string seededLibrary(const std::string &file, const Seed &seed) {
  std::string text;
  for (const mlsys::rt::DeviceLibraryFile &entry : mlsys::rt::deviceLibraryFiles())
    if (entry.name == file)
      text = entry.text;
  const std::string include = "#include \"mlsys/hopper.cuh\"\n";
  text = text.substr(text.find(include) + include.size());
  text = text.substr(0, text.rfind("#else"));
  if (seed.from.empty())
    return text;
  size_t at = text.find(seed.from);
  if (at == std::string::npos)
    throw mlsys::rt::Error("{}: '{}' is not in {} any more", seed.name, seed.from, file);
  return text.replace(at, seed.from.size(), seed.to);
}
