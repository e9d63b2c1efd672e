//===- DevicesCommand.cpp - What there is to run on -------------*- C++ -*-===//
//
// Part of mlsys, under the Apache License v2.0. See LICENSE.
//
//===----------------------------------------------------------------------===//
#include "runtime/Commands.h"
#include "runtime/Devices.h"
#include "runtime/Error.h"

#include <nlohmann/json.hpp>
#include <ostream>

using namespace mlsys;
using namespace mlsys::rt;

int rt::runDevices(bool json, Streams streams) {
  nlohmann::ordered_json list = nlohmann::ordered_json::array();
  for (const char *name : {"cpu", "cuda", "host-cuda"}) {
    nlohmann::ordered_json entry = {{"name", name}};
    try {
      std::string description = createDevice({name, 0})->description();
      entry["available"] = true;
      entry["description"] = description;
    } catch (const Error &error) {
      entry["available"] = false;
      entry["description"] = error.what();
    }
    list.push_back(entry);
  }
  if (json) {
    streams.out << list.dump(2) << "\n";
    return 0;
  }
  for (const auto &entry : list)
    streams.out << fmt::format("{:<10} {}\n", entry["name"].get<std::string>(),
                               (entry["available"].get<bool>() ? "" : "not available: ") +
                                   entry["description"].get<std::string>());
  return 0;
}
