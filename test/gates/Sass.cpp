//===- Sass.cpp - Machine code of a GPU, as text --------------------------===//
//
// Part of mlsys, under the Apache License v2.0. See LICENSE.
//
//===----------------------------------------------------------------------===//

#include "Sass.h"

#include "runtime/Error.h"
#include "runtime/HostCudaDevice.h"

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <unistd.h>

using namespace mlsys;
using namespace mlsys::test;
namespace fs = std::filesystem;

static std::string_view trim(std::string_view text) {
  size_t begin = text.find_first_not_of(" \t"), end = text.find_last_not_of(" \t;");
  return begin == std::string_view::npos ? "" : text.substr(begin, end - begin + 1);
}

/// Text up to the next space, which is cut off.
static std::string takeWord(std::string_view &text) {
  size_t end = std::min(text.find(' '), text.size());
  std::string word(text.substr(0, end));
  text = trim(text.substr(end));
  return word;
}

SassCode test::parseSass(std::string_view text) {
  SassCode code;
  for (size_t at = 0; at < text.size();) {
    size_t end = std::min(text.find('\n', at), text.size());
    std::string_view line = trim(text.substr(at, end - at));
    at = end + 1;
    if (line.ends_with(':')) {
      code.labels[std::string(line.substr(0, line.size() - 1))] = code.instructions.size();
      continue;
    }
    if (!line.starts_with("/*") || line.find("*/") == std::string_view::npos)
      continue;
    SassInstruction instruction;
    instruction.address = std::strtoll(std::string(line.substr(2, 16)).c_str(), nullptr, 16);
    line = trim(line.substr(line.find("*/") + 2));
    if (line.empty() || line.starts_with("/*"))
      continue;
    if (line.starts_with("@"))
      instruction.predicate = takeWord(line);
    instruction.name = takeWord(line);
    instruction.base = instruction.name.substr(0, instruction.name.find('.'));
    while (!line.empty()) {
      size_t comma = std::min(line.find(", "), line.size());
      instruction.operands.emplace_back(trim(line.substr(0, comma)));
      line = comma < line.size() ? trim(line.substr(comma + 1)) : "";
    }
    code.instructions.push_back(std::move(instruction));
  }
  if (code.instructions.empty())
    throw rt::Error("nvdisasm gives no instructions:\n{}", text.substr(0, 2000));
  return code;
}

std::string test::disassemble(const std::string &cubin) {
  const char *given = std::getenv("MLSYS_NVDISASM");
  std::string program = given ? given : MLSYS_FETCHED_NVDISASM;
  if (!fs::exists(program))
    throw rt::Error("{} is not there; run scripts/fetch-nvidia", program);
  std::string path = (fs::temp_directory_path() / "mlsys-XXXXXX").string();
  int file = mkstemp(path.data());
  if (file < 0)
    throw rt::Error("cannot make a temporary file");
  close(file);
  std::ofstream(path, std::ios::binary) << cubin;
  int status = 0;
  std::string text = rt::runProcess({program, "-c", path}, status);
  fs::remove(path);
  if (status != 0)
    throw rt::Error("nvdisasm fails:\n{}", text.substr(0, 2000));
  return text;
}
