//===- SassWait.cpp - What a kernel does before it waits ------------------===//
//
// Part of mlsys, under the Apache License v2.0. See LICENSE.
//
//===----------------------------------------------------------------------===//

#include "Sass.h"

#include "runtime/Error.h"

#include <array>
#include <cctype>
#include <deque>
#include <optional>
#include <set>

using namespace mlsys;
using namespace mlsys::test;

namespace {

/// Pointer parameters, one bit each.
using Pointers = uint64_t;
constexpr Pointers anyPointer = ~Pointers(0);
constexpr size_t generalRegisters = 256, uniformRegisters = 64;

/// For each register, the parameters that its value comes from.
using State = std::array<Pointers, generalRegisters + uniformRegisters>;

class WaitCheck {
public:
  WaitCheck(const SassCode &code, const std::vector<bool> &constants) : code(code) {
    if (constants.size() > 63)
      throw rt::Error("a kernel of {} buffers is more than this check can tell apart", constants.size());
    pointers = constants.size();
    for (const SassInstruction &instruction : code.instructions)
      waits += instruction.base == "ACQBULK";
    for (size_t i = 0; i < constants.size(); ++i)
      if (constants[i])
        allowed |= Pointers(1) << i;
  }

  std::vector<std::string> run();

private:
  void step(size_t at, State state);
  std::vector<size_t> successors(size_t at);
  void check(const SassInstruction &instruction, const State &state);
  void apply(const SassInstruction &instruction, State &state) const;
  Pointers valueOf(std::string_view operand, const State &state, int registers = 1) const;
  void report(const SassInstruction &instruction, const std::string &what);

  const SassCode &code;
  size_t pointers = 0, waits = 0;
  Pointers allowed = 0;
  std::map<size_t, State> states;
  std::deque<size_t> work;
  std::set<std::string> problems;
};

} // namespace

/// The register that a name begins with: R12, UR4; nothing for RZ and URZ.
static std::optional<size_t> registerOf(std::string_view text) {
  size_t base = 0;
  if (text.starts_with("UR")) {
    base = generalRegisters;
    text.remove_prefix(2);
  } else if (text.starts_with("R")) {
    text.remove_prefix(1);
  } else {
    return std::nullopt;
  }
  if (text.empty() || !std::isdigit(static_cast<unsigned char>(text[0])))
    return std::nullopt;
  size_t number = 0;
  for (size_t i = 0; i < text.size() && std::isdigit(static_cast<unsigned char>(text[i])); ++i)
    number = number * 10 + size_t(text[i] - '0');
  size_t limit = base ? uniformRegisters : generalRegisters;
  return number < limit ? std::optional(base + number) : std::nullopt;
}

static bool isPredicate(std::string_view operand) {
  while (operand.starts_with("!"))
    operand.remove_prefix(1);
  if (operand.starts_with("U"))
    operand.remove_prefix(1);
  return operand.size() == 2 && operand[0] == 'P' && (operand[1] == 'T' || std::isdigit(operand[1]));
}

/// How many registers an instruction writes or reads at a place of several.
static int widthOf(const SassInstruction &instruction) {
  auto has = [&](const char *part) { return instruction.name.find(part) != std::string::npos; };
  return has(".128") ? 4 : has(".64") || has(".WIDE") ? 2 : 1;
}

/// Where the value of an operand may come from: its registers and parameters.
Pointers WaitCheck::valueOf(std::string_view operand, const State &state, int registers) const {
  Pointers result = 0;
  if (size_t bank = operand.find("c[0x0]["); bank != std::string_view::npos) {
    std::string_view index = operand.substr(bank + 7);
    index = index.substr(0, index.find(']'));
    if (registerOf(index))
      return anyPointer;
    int64_t offset = std::strtoll(std::string(index).c_str(), nullptr, 16) - sassParameters;
    for (int64_t byte = 0; byte < 4 * registers; byte += 4)
      if (int64_t parameter = (offset + byte) / 8; offset + byte >= 0 && parameter < int64_t(pointers))
        result |= Pointers(1) << parameter;
    return result;
  }
  for (size_t at = 0; at < operand.size(); ++at) {
    // A register's name is not inside another word.
    if (at > 0 && (std::isalnum(static_cast<unsigned char>(operand[at - 1])) || operand[at - 1] == '_'))
      continue;
    std::optional<size_t> first = registerOf(operand.substr(at));
    if (!first)
      continue;
    size_t end = at + 1;
    while (end < operand.size() && std::isalnum(static_cast<unsigned char>(operand[end])))
      ++end;
    bool pair = operand.substr(end).starts_with(".64");
    result |= state[*first];
    if (pair && *first + 1 < state.size())
      result |= state[*first + 1];
  }
  return result;
}

void WaitCheck::report(const SassInstruction &instruction, const std::string &what) {
  std::string text = instruction.name;
  for (const std::string &operand : instruction.operands)
    text += (&operand == instruction.operands.data() ? " " : ", ") + operand;
  problems.insert(fmt::format("{} at {:#06x}: {}", what, instruction.address, text));
}

void WaitCheck::check(const SassInstruction &instruction, const State &state) {
  static const std::set<std::string, std::less<>> stores = {
      "ST",  "STG",  "RED",      "REDG",     "ATOM",    "ATOMG",  "SUST",
      "SUATOM", "SURED", "UTMASTG", "UTMAREDG", "UBLKRED", "UBLKRS", "STAS"};
  static const std::set<std::string, std::less<>> loads = {
      "LD", "LDG", "LDGSTS", "LDGDEPBAR", "CCTL", "UBLKCP", "UBLKPF", "UTMALDG", "UTMAPF", "TEX", "SULD"};
  if (stores.count(instruction.base) ||
      (instruction.base == "UBLKCP" && instruction.name.find(".G.S") != std::string::npos)) {
    report(instruction, "memory is written before the wait");
    return;
  }
  if (!loads.count(instruction.base) || instruction.base == "LDGDEPBAR")
    return;
  // CCTL.IVALL and the like name no address.
  Pointers from = 0;
  bool hasAddress = false;
  for (std::string_view operand : instruction.operands) {
    if (operand.starts_with("desc[")) // the descriptor of all memory, then the address
      operand.remove_prefix(std::min(operand.find(']') + 1, operand.size()));
    if (!operand.starts_with("["))
      continue;
    hasAddress = true;
    from |= valueOf(operand, state);
  }
  if (!hasAddress && instruction.base == "CCTL")
    return;
  if (from == 0)
    report(instruction, "memory is read before the wait at an address from no parameter");
  else if (from & ~allowed)
    report(instruction, "memory that is no constant is read before the wait");
}

void WaitCheck::apply(const SassInstruction &instruction, State &state) const {
  static const std::set<std::string, std::less<>> none = {
      "ST", "STG", "STS", "STL", "STSM", "RED", "BAR", "BRA", "EXIT", "SYNCS", "UTMALDG", "UBLKCP", "UBLKPF",
      "UTMAPF", "CCTL", "LDGSTS", "WARPSYNC", "BSSY", "BSYNC", "CALL", "RET", "MEMBAR", "DEPBAR", "ARRIVES", "NOP"};
  if (none.count(instruction.base) || instruction.name.find("SETP") != std::string::npos ||
      instruction.base == "PLOP3" || instruction.base == "UPLOP3")
    return;
  size_t first = 0;
  while (first < instruction.operands.size() && isPredicate(instruction.operands[first]))
    ++first;
  if (first == instruction.operands.size())
    return;
  std::optional<size_t> target = registerOf(instruction.operands[first]);
  if (!target)
    return;
  static const std::set<std::string, std::less<>> memory = {"LD",   "LDG",  "LDS", "LDL", "LDSM",
                                                            "ATOM", "ATOMG", "ATOMS"};
  int width = widthOf(instruction);
  Pointers value = 0;
  if (!memory.count(instruction.base))
    for (size_t i = first + 1; i < instruction.operands.size(); ++i)
      value |= valueOf(instruction.operands[i], state, width);
  // A parameter of a group that is loaded at once has registers of its own.
  bool separate = instruction.base == "LDC" || instruction.base == "ULDC" || instruction.base == "LDCU";
  for (int i = 0; i < width && *target + size_t(i) < state.size(); ++i) {
    Pointers part = value;
    if (separate && instruction.operands.size() == first + 2 && value != anyPointer) {
      const std::string &operand = instruction.operands[first + 1];
      size_t index = operand.find("][");
      if (index != std::string::npos) {
        int64_t offset = std::strtoll(operand.c_str() + index + 2, nullptr, 16) + 4 * i;
        part = valueOf(fmt::format("c[0x0][{:#x}]", offset), state);
      }
    }
    Pointers &known = state[*target + size_t(i)];
    known = instruction.isPredicated() ? known | part : part;
  }
}

/// Where control may go next.
std::vector<size_t> WaitCheck::successors(size_t at) {
  const SassInstruction &instruction = code.instructions[at];
  std::vector<size_t> result;
  std::optional<size_t> label;
  for (const std::string &operand : instruction.operands)
    if (operand.starts_with("`(")) {
      auto found = code.labels.find(operand.substr(2, operand.size() - 3));
      if (found != code.labels.end())
        label = found->second;
    }
  bool falls = true;
  if (instruction.base == "BRA" || instruction.base == "JMP") {
    if (!label)
      report(instruction, "a branch that cannot be followed");
    else
      result.push_back(*label);
    falls = instruction.isPredicated() || instruction.operands.size() > 1;
  } else if (instruction.base == "CALL") {
    if (!label)
      report(instruction, "a call that cannot be followed");
    else
      result.push_back(*label);
    // What follows is reached through RET.
    falls = !label || instruction.isPredicated();
  } else if (instruction.base == "RET") {
    for (size_t i = 0; i + 1 < code.instructions.size(); ++i)
      if (code.instructions[i].base == "CALL")
        result.push_back(i + 1);
    falls = false;
  } else if (instruction.base == "BRX" || instruction.base == "JMX" || instruction.base == "BRXU") {
    report(instruction, "a branch that cannot be followed");
  } else if (instruction.base == "EXIT") {
    // Where each group of blocks has a wait of its own, the way of blocks of no group is never taken.
    if (waits < 2)
      report(instruction, "a path ends without a wait");
    falls = instruction.isPredicated();
  }
  if (falls && at + 1 < code.instructions.size())
    result.push_back(at + 1);
  return result;
}

void WaitCheck::step(size_t at, State state) {
  const SassInstruction &instruction = code.instructions[at];
  if (instruction.base == "ACQBULK") {
    if (instruction.isPredicated())
      report(instruction, "a wait that not all threads do");
    return;
  }
  check(instruction, state);
  apply(instruction, state);
  for (size_t next : successors(at)) {
    auto [known, isNew] = states.try_emplace(next, state);
    bool changed = isNew;
    if (!isNew)
      for (size_t i = 0; i < state.size(); ++i) {
        Pointers joined = known->second[i] | state[i];
        changed |= joined != known->second[i];
        known->second[i] = joined;
      }
    if (changed)
      work.push_back(next);
  }
}

std::vector<std::string> WaitCheck::run() {
  states[0] = State{};
  work = {0};
  while (!work.empty()) {
    size_t at = work.front();
    work.pop_front();
    step(at, states.at(at));
  }
  return {problems.begin(), problems.end()};
}

std::vector<std::string> test::checkGridWait(const SassCode &code, const std::vector<bool> &constants) {
  return WaitCheck(code, constants).run();
}
