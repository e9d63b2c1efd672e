//===- InspectCommand.cpp - What a program consists of ----------*- C++ -*-===//
//
// Part of mlsys, under the Apache License v2.0. See LICENSE.
//
// Collects everything into one JSON value; the text is printed from it.
//
//===----------------------------------------------------------------------===//
#include "runtime/Commands.h"
#include "runtime/Error.h"
#include "runtime/Executor.h"
#include "runtime/Expr.h"
#include "runtime/Progress.h"

#include <algorithm>
#include <cstring>
#include <nlohmann/json.hpp>
#include <ostream>

using namespace mlsys;
using namespace mlsys::rt;
using Json = nlohmann::ordered_json;

static std::vector<std::string> symbolNames(const program::Function &function) {
  std::vector<std::string> names;
  for (uint32_t i = 0; i < length(function.symbols()); ++i)
    names.push_back(function.symbols()->Get(i)->name()->str());
  return names;
}

static Json describePorts(const flatbuffers::Vector<flatbuffers::Offset<program::Port>> *ports,
                          const std::vector<std::string> &names) {
  Json result = Json::array();
  for (uint32_t i = 0; i < length(ports); ++i) {
    const program::Port &port = *ports->Get(i);
    Json shape = Json::array();
    for (uint32_t d = 0; d < length(port.shape()); ++d)
      shape.push_back(toString(*port.shape()->Get(d), names));
    result.push_back({{"name", text(port.name())},
                      {"role", program::EnumNameRole(port.role())},
                      {"dtype", dtypeName(port.dtype())},
                      {"shape", shape}});
  }
  return result;
}

/// The arena slots of a function and who lies in them.
static Json describeMemory(const program::Function &function, std::span<const int64_t> symbols,
                           const std::vector<std::string> &names) {
  std::vector<int64_t> sizes = slotSizes(function, symbols);
  Json slots = Json::array();
  int64_t total = 0, sum = 0;
  for (int64_t size : sizes) {
    slots.push_back({{"bytes", size}, {"buffers", Json::array()}});
    total = checkedAdd(total, size);
  }
  for (uint32_t i = 0; i < length(function.buffers()); ++i) {
    const program::Buffer &buffer = *function.buffers()->Get(i);
    if (buffer.kind() != program::BufferKind::Temporary)
      continue;
    int64_t bytes = evaluate(*buffer.bytes(), symbols);
    sum = checkedAdd(sum, bytes);
    slots[buffer.index()]["buffers"].push_back({{"name", text(buffer.name())},
                                                {"size", toString(*buffer.bytes(), names)},
                                                {"bytes", bytes}});
  }
  return {{"arena_bytes", total}, {"temporary_bytes", sum}, {"slots", slots}};
}

static Json describeFunction(const program::TargetProgram &target,
                             const program::Function &function,
                             const std::map<std::string, int64_t> &given) {
  std::vector<std::string> names = symbolNames(function);
  std::vector<int64_t> symbols = typicalSymbols(function, given);
  Json result = {{"name", text(function.name())},
                 {"phase", program::EnumNamePhase(function.phase())}};
  if (function.phase() == program::Phase::Decode)
    result["bucket"] = function.bucket();
  result["symbols"] = Json::array();
  for (uint32_t i = 0; i < length(function.symbols()); ++i) {
    const program::Symbol &symbol = *function.symbols()->Get(i);
    result["symbols"].push_back(
        {{"name", names[i]}, {"min", symbol.min()}, {"max", symbol.max()}, {"value", symbols[i]}});
  }
  result["inputs"] = describePorts(function.inputs(), names);
  result["outputs"] = describePorts(function.outputs(), names);
  result["memory"] = describeMemory(function, symbols, names);

  Json launches = Json::array();
  int64_t bytes = 0, flops = 0;
  std::vector<bool> kernels(length(target.kernels()));
  for (uint32_t i = 0; i < length(function.launches()); ++i) {
    const program::Launch &launch = *function.launches()->Get(i);
    int64_t launchBytes = launch.bytes() ? evaluate(*launch.bytes(), symbols) : 0;
    int64_t launchFlops = launch.flops() ? evaluate(*launch.flops(), symbols) : 0;
    Json grid = Json::array();
    for (uint32_t d = 0; d < length(launch.grid()); ++d)
      grid.push_back(evaluate(*launch.grid()->Get(d), symbols));
    launches.push_back({{"kernel", text(target.kernels()->Get(launch.kernel())->name())},
                        {"label", text(launch.label())},
                        {"grid", grid},
                        {"bytes", launchBytes},
                        {"flops", launchFlops}});
    bytes = checkedAdd(bytes, launchBytes);
    flops = checkedAdd(flops, launchFlops);
    kernels[launch.kernel()] = true;
  }
  result["kernels"] = std::count(kernels.begin(), kernels.end(), true);
  result["launch_count"] = length(function.launches());
  result["bytes"] = bytes;
  result["flops"] = flops;
  result["launches"] = launches;
  return result;
}

static Json describeTarget(const program::TargetProgram &target,
                           const std::map<std::string, int64_t> &given) {
  Json result = {{"target", text(target.target())}, {"dtype", dtypeName(target.dtype())}};
  if (!text(target.arch()).empty())
    result["arch"] = text(target.arch());
  if (const program::CacheSpec *cache = target.cache())
    result["cache"] = {{"layers", cache->layers()},       {"kv_heads", cache->kv_heads()},
                       {"head_dim", cache->head_dim()},   {"page_size", cache->page_size()},
                       {"dtype", dtypeName(cache->dtype())}, {"page_bytes", cache->page_bytes()},
                       {"window", cache->window()}};
  uint64_t constantTotal = 0;
  for (uint32_t i = 0; i < length(target.constants()); ++i)
    constantTotal += target.constants()->Get(i)->bytes();
  result["constants"] = {{"count", length(target.constants())}, {"bytes", constantTotal}};
  result["libraries"] = Json::array();
  for (uint32_t i = 0; i < length(target.cpu_libraries()); ++i) {
    const program::CpuLibrary &library = *target.cpu_libraries()->Get(i);
    result["libraries"].push_back(
        {{"isa", text(library.isa())}, {"bytes", length(library.data())}});
  }
  std::vector<int64_t> uses(length(target.kernels()));
  for (uint32_t f = 0; f < length(target.functions()); ++f) {
    const auto *launches = target.functions()->Get(f)->launches();
    for (uint32_t i = 0; i < length(launches); ++i)
      ++uses[launches->Get(i)->kernel()];
  }
  result["kernels"] = Json::array();
  for (uint32_t i = 0; i < length(target.kernels()); ++i) {
    const program::Kernel &kernel = *target.kernels()->Get(i);
    Json entry = {{"name", text(kernel.name())},
                  {"kind", text(kernel.kind())},
                  {"launches", uses[i]},
                  {"scratch_bytes", kernel.scratch_bytes()}};
    if (kernel.tiles())
      entry["tiles"] = text(kernel.tiles());
    if (length(kernel.cubins()) > 0)
      entry["cubins"] = Json::array();
    for (uint32_t c = 0; c < length(kernel.cubins()); ++c) {
      const program::Cubin &cubin = *kernel.cubins()->Get(c);
      entry["cubins"].push_back({{"arch", text(cubin.arch())},
                                 {"registers", cubin.registers()},
                                 {"spill_bytes", cubin.spill_bytes()},
                                 {"shared_bytes", cubin.shared_bytes()},
                                 {"bytes", length(cubin.data())}});
    }
    result["kernels"].push_back(std::move(entry));
  }
  result["functions"] = Json::array();
  for (uint32_t i = 0; i < length(target.functions()); ++i)
    result["functions"].push_back(
        describeFunction(target, *target.functions()->Get(i), given));
  return result;
}

static Json describe(const LoadedProgram &program, const std::map<std::string, int64_t> &given) {
  Json result = {{"file", program.name()},
                 {"model", text(program->model_name())},
                 {"architecture", text(program->architecture())},
                 {"producer", text(program->producer())},
                 {"parameters", program->parameters()},
                 {"weight_bytes", program->weight_bytes()},
                 {"appended_bytes", program.appendedData().size()}};
  result["weight_files"] = Json::array();
  for (uint32_t i = 0; i < length(program->weight_files()); ++i)
    result["weight_files"].push_back({{"path", text(program->weight_files()->Get(i)->path())},
                                      {"bytes", program->weight_files()->Get(i)->size()}});
  if (const program::TextModel *model = program->text())
    result["text"] = {{"context_length", model->context_length()},
                      {"vocab_size", model->vocab_size()},
                      {"bos_id", model->bos_id()},
                      {"eos_ids", values(model->eos_ids())},
                      {"output", text(model->output())},
                      {"tokenizer", !text(model->tokenizer_json()).empty()},
                      {"chat_template", !text(model->chat_template()).empty()}};
  result["targets"] = Json::array();
  for (const program::TargetProgram *target : *program->targets())
    result["targets"].push_back(describeTarget(*target, given));
  return result;
}

static std::string string(const Json &value) {
  return value.is_string() ? value.get<std::string>() : value.dump();
}

static std::string bytesText(const Json &value) { return formatBytes(value.get<uint64_t>()); }

static std::string flopsText(const Json &value) {
  double flops = value.get<double>();
  return flops >= 1e9 ? fmt::format("{:.2f} GFLOP", flops / 1e9)
                      : fmt::format("{:.2f} MFLOP", flops / 1e6);
}

static void printFunction(const Json &function, bool launches, std::ostream &out) {
  std::vector<std::string> symbols;
  for (const Json &symbol : function["symbols"])
    symbols.push_back(fmt::format(
        "{} = {} ({} to {})", string(symbol["name"]), string(symbol["value"]),
        string(symbol["min"]),
        symbol["max"].get<int64_t>() < 0 ? "any" : string(symbol["max"])));
  out << fmt::format("\n  function {} ({})\n", string(function["name"]),
                     string(function["phase"]));
  if (!symbols.empty())
    out << fmt::format("    symbols  {}\n", fmt::join(symbols, ", "));
  for (const char *kind : {"inputs", "outputs"})
    for (const Json &port : function[kind]) {
      std::vector<std::string> dims;
      for (const Json &dim : port["shape"])
        dims.push_back(string(dim));
      out << fmt::format("    {:<8} {} {} [{}]\n", std::string(kind).substr(0, std::strlen(kind) - 1),
                         string(port["name"]), string(port["dtype"]), fmt::join(dims, ", "));
    }
  out << fmt::format("    work     {} launches of {} kernels, {}, {}\n",
                     string(function["launch_count"]), string(function["kernels"]),
                     bytesText(function["bytes"]), flopsText(function["flops"]));
  const Json &memory = function["memory"];
  out << fmt::format("    memory   arena {} in {} slots (temporaries add up to {})\n",
                     bytesText(memory["arena_bytes"]), memory["slots"].size(),
                     bytesText(memory["temporary_bytes"]));
  size_t index = 0;
  for (const Json &slot : memory["slots"]) {
    std::vector<std::string> buffers;
    for (const Json &buffer : slot["buffers"])
      if (buffers.size() < 4)
        buffers.push_back(string(buffer["name"]));
    if (slot["buffers"].size() > buffers.size())
      buffers.push_back(fmt::format("{} more", slot["buffers"].size() - buffers.size()));
    out << fmt::format("      slot {:<3} {:>10}  {}\n", index++, bytesText(slot["bytes"]),
                       fmt::join(buffers, ", "));
  }
  if (!launches)
    return;
  index = 0;
  for (const Json &launch : function["launches"])
    out << fmt::format("      launch {:<4} {:<24} {:>12} {:>10} {:>14}  {}\n", index++,
                       string(launch["kernel"]), launch["grid"].dump(),
                       bytesText(launch["bytes"]), flopsText(launch["flops"]),
                       string(launch["label"]));
}

static void printTarget(const Json &target, bool launches, std::ostream &out) {
  out << fmt::format("\ntarget {} ({})\n", string(target["target"]) + (target.contains("arch") ? ":" + string(target["arch"]) : ""),
                     string(target["dtype"]));
  out << fmt::format("  constants {}, {}\n", string(target["constants"]["count"]),
                     bytesText(target["constants"]["bytes"]));
  if (target.contains("cache"))
    out << fmt::format("  KV cache  {} layers, {} heads of {}, {}, pages of {} tokens and {}{}\n",
                       string(target["cache"]["layers"]), string(target["cache"]["kv_heads"]),
                       string(target["cache"]["head_dim"]), string(target["cache"]["dtype"]),
                       string(target["cache"]["page_size"]),
                       bytesText(target["cache"]["page_bytes"]),
                       target["cache"]["window"] > 0
                           ? ", freed behind a window of " + string(target["cache"]["window"])
                           : "");
  for (const Json &library : target["libraries"])
    out << fmt::format("  code      {}, {}\n", string(library["isa"]),
                       bytesText(library["bytes"]));
  out << fmt::format("  kernels   {}\n", target["kernels"].size());
  for (const Json &kernel : target["kernels"]) {
    out << fmt::format("    {:<24} {:<10} {:>4} launches", string(kernel["name"]),
                       string(kernel["kind"]), string(kernel["launches"]));
    if (kernel["scratch_bytes"].get<uint64_t>() > 0)
      out << ", scratch " << bytesText(kernel["scratch_bytes"]);
    if (kernel.contains("cubins"))
      for (const Json &cubin : kernel["cubins"])
        out << fmt::format(", {}: {} registers, {} B spilled, {} B shared",
                           string(cubin["arch"]), string(cubin["registers"]),
                           string(cubin["spill_bytes"]), string(cubin["shared_bytes"]));
    out << "\n";
  }
  for (const Json &function : target["functions"])
    printFunction(function, launches, out);
}

int rt::runInspect(const LoadedProgram &program, const InspectRequest &request,
                   Streams streams) {
  Json all = describe(program, request.symbols);
  if (request.json) {
    streams.out << all.dump(2, ' ', false, Json::error_handler_t::replace) << "\n";
    return 0;
  }
  streams.out << fmt::format("{}: {}, {:.2f} M parameters, weights {}\n", string(all["model"]),
                             string(all["architecture"]),
                             all["parameters"].get<double>() / 1e6,
                             bytesText(all["weight_bytes"]));
  for (const Json &file : all["weight_files"])
    streams.out << fmt::format("weights from {}, {}\n", string(file["path"]),
                               bytesText(file["bytes"]));
  if (all.contains("text"))
    streams.out << fmt::format("text: context {} tokens, vocabulary {}{}\n",
                               string(all["text"]["context_length"]),
                               string(all["text"]["vocab_size"]),
                               all["text"]["chat_template"].get<bool>() ? ", chat template" : "");
  for (const Json &target : all["targets"])
    printTarget(target, request.launches, streams.out);
  return 0;
}
