//===- PreTokenizer.cpp - Pre-tokenizers of tokenizer.json ----------------===//
//
// Part of mlsys, under the Apache License v2.0. See LICENSE.
//
//===----------------------------------------------------------------------===//
#include "runtime/PreTokenizer.h"

#include "runtime/ByteLevel.h"
#include "runtime/JsonFields.h"
#include "runtime/Regex.h"
#include "runtime/Utf8.h"

#include <utf8proc.h>

#include <optional>

using namespace mlsys::rt;

PreTokenizerStep::~PreTokenizerStep() = default;

static const char *const where = "tokenizer.json, pre_tokenizer";

namespace {

/// What becomes of the matches of a pattern.
enum class Behavior {
  Removed,
  Isolated,
  MergedWithPrevious,
  MergedWithNext,
  Contiguous
};

/// A byte range of a piece, and whether the pattern matched it.
struct Part {
  size_t begin, end;
  bool isMatch;
};

/// Joins parts as a behaviour says and hands them on, one part late.
class PartMerger {
public:
  PartMerger(Behavior behavior, Piece piece, const PieceSink &sink)
      : behavior(behavior), piece(piece), sink(sink) {}

  void add(Part part) {
    if (part.begin == part.end)
      return;
    if (pending && joins(part))
      pending->end = part.end;
    else {
      flush();
      pending = part;
    }
    // A run that swallowed a match keeps the state of its last part.
    pending->isMatch = part.isMatch;
  }

  void flush() {
    if (pending && !(behavior == Behavior::Removed && pending->isMatch))
      sink({piece.text.substr(pending->begin, pending->end - pending->begin),
            piece.atStart && pending->begin == 0});
    pending.reset();
  }

private:
  bool joins(Part part) const {
    switch (behavior) {
    case Behavior::Removed:
    case Behavior::Isolated:
      return false;
    case Behavior::Contiguous:
      return pending->isMatch == part.isMatch;
    case Behavior::MergedWithPrevious:
      return part.isMatch && !pending->isMatch;
    case Behavior::MergedWithNext:
      return pending->isMatch && !part.isMatch;
    }
    return false;
  }

  Behavior behavior;
  Piece piece;
  const PieceSink &sink;
  std::optional<Part> pending;
};

/// Splits at a literal or a regular expression.
class Split : public PreTokenizerStep {
public:
  Split(std::optional<Regex> regex, std::string literal, Behavior behavior,
        bool invert)
      : regex(std::move(regex)), literal(std::move(literal)),
        behavior(behavior), invert(invert) {}

  void split(Piece piece, const PieceSink &sink) const override {
    PartMerger merger(behavior, piece, sink);
    size_t done = 0;
    auto match = [&](size_t begin, size_t end) {
      merger.add({done, begin, invert});
      merger.add({begin, end, !invert});
      done = end;
    };
    if (regex) {
      Regex::Matches matches(*regex, piece.text);
      size_t begin, end;
      while (matches.next(begin, end))
        match(begin, end);
    } else {
      for (size_t at;
           (at = piece.text.find(literal, done)) != std::string_view::npos;)
        match(at, at + literal.size());
    }
    merger.add({done, piece.text.size(), invert});
    merger.flush();
  }

private:
  std::optional<Regex> regex;
  std::string literal;
  Behavior behavior;
  bool invert;
};

/// Splits numeric characters from the rest.
class Digits : public PreTokenizerStep {
public:
  explicit Digits(bool individual)
      : behavior(individual ? Behavior::Isolated : Behavior::Contiguous) {}

  void split(Piece piece, const PieceSink &sink) const override {
    PartMerger merger(behavior, piece, sink);
    size_t done = 0;
    for (size_t i = 0; i < piece.text.size();) {
      size_t begin = i;
      if (!isNumeric(nextCodePoint(piece.text, i)))
        continue;
      merger.add({done, begin, false});
      merger.add({begin, i, true});
      done = i;
    }
    merger.add({done, piece.text.size(), false});
    merger.flush();
  }

private:
  static bool isNumeric(char32_t c) {
    if (c < 0x80)
      return c >= '0' && c <= '9';
    utf8proc_category_t category =
        utf8proc_category(static_cast<utf8proc_int32_t>(c));
    return category == UTF8PROC_CATEGORY_ND ||
           category == UTF8PROC_CATEGORY_NL || category == UTF8PROC_CATEGORY_NO;
  }

  Behavior behavior;
};

/// Writes a space before a piece that does not begin with one.
class PrefixSpace : public PreTokenizerStep {
public:
  void split(Piece piece, const PieceSink &sink) const override {
    if (piece.text.starts_with(' '))
      return sink(piece);
    std::string text = " ";
    text += piece.text;
    sink({text, piece.atStart});
  }
};

/// Writes bytes as their stand-in characters.
class ByteCharacters : public PreTokenizerStep {
public:
  void split(Piece piece, const PieceSink &sink) const override {
    sink({bytelevel::encode(piece.text), piece.atStart});
  }
};

/// Writes spaces as a visible character, may put one in front, and may split
/// before each.
class Metaspace : public PreTokenizerStep {
public:
  enum class Prepend { First, Never, Always };
  Metaspace(std::string character, Prepend prepend, bool splits)
      : character(std::move(character)), prepend(prepend), splits(splits) {}

  void split(Piece piece, const PieceSink &sink) const override {
    std::string text;
    for (char c : piece.text)
      if (c == ' ')
        text += character;
      else
        text += c;
    bool wanted = prepend == Prepend::Always ||
                  (prepend == Prepend::First && piece.atStart);
    if (wanted && !text.starts_with(character))
      text.insert(0, character);
    Piece changed{text, piece.atStart};
    if (splits)
      Split({}, character, Behavior::MergedWithNext, false)
          .split(changed, sink);
    else
      sink(changed);
  }

private:
  std::string character;
  Prepend prepend;
  bool splits;
};

} // namespace

static Behavior parseBehavior(const std::string &name) {
  if (name == "Removed")
    return Behavior::Removed;
  if (name == "Isolated")
    return Behavior::Isolated;
  if (name == "MergedWithPrevious")
    return Behavior::MergedWithPrevious;
  if (name == "MergedWithNext")
    return Behavior::MergedWithNext;
  if (name == "Contiguous")
    return Behavior::Contiguous;
  throw Error(
      "{}: the behavior '{}' of Split is unknown; known are Removed, Isolated, "
      "MergedWithPrevious, MergedWithNext and Contiguous",
      where, name);
}

static std::unique_ptr<PreTokenizerStep>
makeSplit(const json::Json &description) {
  Behavior behavior =
      parseBehavior(json::string(description, "behavior", where));
  bool invert = json::boolean(description, "invert", false, where);
  const json::Json &pattern = json::member(description, "pattern");
  if (json::member(pattern, "Regex").is_string())
    return std::make_unique<Split>(Regex(json::string(pattern, "Regex", where)),
                                   "", behavior, invert);
  std::string literal = json::string(pattern, "String", where);
  if (literal.empty())
    throw Error("{}: Split at an empty string", where);
  return std::make_unique<Split>(std::nullopt, literal, behavior, invert);
}

static std::unique_ptr<PreTokenizerStep>
makeMetaspace(const json::Json &description) {
  std::string character = json::string(description, "replacement", where);
  if (countCodePoints(character) != 1)
    throw Error("{}: Metaspace needs one replacement character, not '{}'",
                where, character);
  auto prepend = Metaspace::Prepend::Always;
  bool prefix = json::boolean(description, "add_prefix_space", true, where);
  if (json::member(description, "prepend_scheme").is_null()) {
    if (!prefix)
      prepend = Metaspace::Prepend::Never;
  } else {
    const std::string &scheme =
        json::string(description, "prepend_scheme", where);
    if (scheme == "first")
      prepend = Metaspace::Prepend::First;
    else if (scheme == "never")
      prepend = Metaspace::Prepend::Never;
    else if (scheme != "always")
      throw Error(
          "{}: the prepend_scheme '{}' of Metaspace is unknown; known are "
          "first, never and always",
          where, scheme);
  }
  return std::make_unique<Metaspace>(
      character, prepend, json::boolean(description, "split", true, where));
}

void PreTokenizer::add(const nlohmann::json &description, int depth) {
  const std::string &type = json::string(description, "type", where);
  // Bytes left to the model would hide the stand-ins from a later step.
  if (bytesAtEnd && type != "Sequence") {
    steps.push_back(std::make_unique<ByteCharacters>());
    bytesAtEnd = false;
  }
  if (type == "Sequence") {
    if (depth > 16)
      throw Error("{}: sequences nest more than 16 deep", where);
    for (const json::Json &child :
         json::list(description, "pretokenizers", where))
      add(child, depth + 1);
  } else if (type == "Split") {
    steps.push_back(makeSplit(description));
  } else if (type == "Digits") {
    steps.push_back(std::make_unique<Digits>(
        json::boolean(description, "individual_digits", false, where)));
  } else if (type == "Metaspace") {
    steps.push_back(makeMetaspace(description));
  } else if (type == "ByteLevel") {
    if (json::boolean(description, "add_prefix_space", true, where))
      steps.push_back(std::make_unique<PrefixSpace>());
    if (json::boolean(description, "use_regex", true, where))
      steps.push_back(std::make_unique<Split>(Regex(bytelevel::pattern), "",
                                              Behavior::Isolated, false));
    bytesAtEnd = true;
  } else {
    throw Error(
        "{} '{}' is not supported; supported are Split, ByteLevel, Digits, "
        "Metaspace and Sequence",
        where, type);
  }
}

PreTokenizer PreTokenizer::fromJson(const nlohmann::json &description) {
  PreTokenizer result;
  if (!description.is_null())
    result.add(description, 0);
  return result;
}

void PreTokenizer::run(size_t step, Piece piece, const PieceSink &sink) const {
  if (piece.text.empty())
    return;
  if (step == steps.size())
    return sink(piece);
  steps[step]->split(piece, [&](Piece part) { run(step + 1, part, sink); });
}

void PreTokenizer::split(Piece piece, const PieceSink &sink) const {
  run(0, piece, sink);
}
