//===- mlsys-run.cpp - Runs compiled models ---------------------*- C++ -*-===//
//
// Part of mlsys, under the Apache License v2.0. See LICENSE.
//
//===----------------------------------------------------------------------===//
#include "SharedCommands.h"

using namespace mlsys;
using namespace mlsys::tools;

static rt::LoadedProgram load(const ModelFlags &flags) {
  return rt::LoadedProgram::fromFile(flags.model);
}

int main(int argc, char **argv) {
  CLI::App app{"Runs models that mlsys compiled"};
  app.name("mlsys-run");
  app.set_version_flag("--version", std::string("mlsys-run ") + versionText);
  app.require_subcommand(1);
  Opener opener;
  opener.what = "A compiled model (.mlsys)";
  opener.devices = {"auto", "cpu", "cuda", "host-cuda"};
  opener.open = [](const ModelFlags &flags, rt::Purpose purpose) {
    return openCompiled(flags, load(flags), purpose);
  };
  opener.openText = openCompiledText;
  opener.openProgram = load;
  SharedCommands commands(app, std::move(opener));
  return parseAndRun(app, argc, argv, [&] { return commands.action(); });
}
