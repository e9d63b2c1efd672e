//===- mlsys-run.cpp - Runs compiled models ---------------------*- C++ -*-===//
//
// Part of mlsys, under the Apache License v2.0. See LICENSE.
//
//===----------------------------------------------------------------------===//
#include <CLI/CLI.hpp>

int main(int argc, char **argv) {
  CLI::App app{"Runs models that mlsys compiled (.mlsys files)"};
  app.set_version_flag("--version", "mlsys-run 0.1.0");
  CLI11_PARSE(app, argc, argv);
  return 0;
}
