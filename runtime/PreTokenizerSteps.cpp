//===- PreTokenizerSteps.cpp - The steps of pre-tokenizers ----------------===//
//
// Part of mlsys, under the Apache License v2.0. See LICENSE.
//
//===----------------------------------------------------------------------===//
#include "runtime/PreTokenizerSteps.h"

#include "runtime/ByteLevel.h"
#include "runtime/JsonFields.h"
#include "runtime/Regex.h"
#include "runtime/Unicode.h"
#include "runtime/Utf8.h"

#include <optional>

using namespace mlsys::rt;

static const char *const where = "tokenizer.json, pre_tokenizer";

namespace {

/// What becomes of the matches of a pattern.
enum class Behavior { Removed, Isolated, MergedWithPrevious, MergedWithNext, Contiguous };

/// A byte range of a piece, and whether the pattern matched it.
struct Part {
  size_t begin, end;
  bool isMatch;
};

/// Joins parts as a behaviour says and hands them on, one part late.
class PartMerger {
public:
  PartMerger(Behavior behavior, bool invert, Piece piece, PieceSink sink)
      : behavior(behavior), invert(invert), piece(piece), sink(sink) {}

  /// The pattern matches from `begin` to `end`, which may be empty.
  void match(size_t begin, size_t end) {
    if (done < begin)
      add({done, begin, invert});
    add({begin, end, !invert});
    done = end;
  }

  /// There are no more matches.
  void finish() {
    if (done < piece.text.size())
      add({done, piece.text.size(), invert});
    flush();
  }

private:
  void add(Part part) {
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
  bool invert;
  Piece piece;
  PieceSink sink;
  size_t done = 0;
  std::optional<Part> pending;
};

/// Splits at a literal or a regular expression.
class Split : public PreTokenizerStep {
public:
  Split(std::optional<Regex> regex, std::string literal, Behavior behavior, bool invert)
      : regex(std::move(regex)), literal(std::move(literal)), behavior(behavior), invert(invert) {}

  void split(Piece piece, PieceSink sink) const override {
    PartMerger merger(behavior, invert, piece, sink);
    if (regex) {
      Regex::Matches matches(*regex, piece.text);
      size_t begin, end;
      while (matches.next(begin, end))
        merger.match(begin, end);
    } else {
      size_t done = 0;
      for (size_t at; (at = piece.text.find(literal, done)) != std::string_view::npos;
           done = at + literal.size())
        merger.match(at, at + literal.size());
    }
    merger.finish();
  }

private:
  std::optional<Regex> regex;
  std::string literal;
  Behavior behavior;
  bool invert;
};

/// Splits at single characters of a kind.
class SplitAt : public PreTokenizerStep {
public:
  SplitAt(bool (*isOfKind)(char32_t), Behavior behavior) : isOfKind(isOfKind), behavior(behavior) {
    for (char32_t c = 0; c < 128; ++c)
      ascii[c] = isOfKind(c);
  }

  void split(Piece piece, PieceSink sink) const override {
    PartMerger merger(behavior, false, piece, sink);
    for (size_t i = 0; i < piece.text.size();) {
      size_t begin = i;
      char32_t c = nextCodePoint(piece.text, i);
      if (c < 128 ? ascii[c] : isOfKind(c))
        merger.match(begin, i);
    }
    merger.finish();
  }

private:
  bool (*isOfKind)(char32_t);
  Behavior behavior;
  bool ascii[128];
};

/// Gives the runs of words and of other characters between white space.
class Words : public PreTokenizerStep {
public:
  void split(Piece piece, PieceSink sink) const override {
    enum class Kind { Space, Word, Other } kind = Kind::Space;
    size_t begin = 0;
    for (size_t i = 0; i <= piece.text.size();) {
      size_t at = i;
      Kind next = Kind::Space;
      if (at < piece.text.size()) {
        char32_t c = nextCodePoint(piece.text, i);
        next = unicode::isWord(c) ? Kind::Word : isWhiteSpace(c) ? Kind::Space : Kind::Other;
      } else {
        ++i;
      }
      if (next == kind && at < piece.text.size())
        continue;
      if (kind != Kind::Space)
        sink({piece.text.substr(begin, at - begin), piece.atStart && begin == 0});
      kind = next;
      begin = at;
    }
  }
};

/// Splits at white space and sets punctuation apart.
class BertWords : public PreTokenizerStep {
public:
  BertWords() {
    for (char32_t c = 0; c < 128; ++c)
      ascii[c] = kindOf(c);
  }

  void split(Piece piece, PieceSink sink) const override {
    size_t begin = 0;
    auto flush = [&](size_t end) {
      if (begin < end)
        sink({piece.text.substr(begin, end - begin), piece.atStart && begin == 0});
    };
    for (size_t i = 0; i < piece.text.size();) {
      size_t at = i;
      char32_t c = nextCodePoint(piece.text, i);
      Kind kind = c < 128 ? ascii[c] : kindOf(c);
      if (kind == Kind::Word)
        continue;
      flush(at);
      begin = at;
      if (kind == Kind::Punctuation)
        flush(i);
      begin = i;
    }
    flush(piece.text.size());
  }

private:
  enum class Kind : uint8_t { Word, Space, Punctuation };
  static Kind kindOf(char32_t c) {
    return isWhiteSpace(c)             ? Kind::Space
           : unicode::isPunctuation(c) ? Kind::Punctuation
                                       : Kind::Word;
  }
  Kind ascii[128];
};

/// Splits where the script changes. What comes before the first character that
/// has one is dropped, as in the tokenizers library.
class Scripts : public PreTokenizerStep {
public:
  void split(Piece piece, PieceSink sink) const override {
    uint8_t last = 0;
    size_t begin = 0;
    for (size_t i = 0; i < piece.text.size();) {
      size_t at = i;
      uint8_t script = unicode::splitScript(nextCodePoint(piece.text, i));
      if (script == 0 || script == last)
        continue;
      if (last != 0)
        sink({piece.text.substr(begin, at - begin), piece.atStart && begin == 0});
      begin = at;
      last = script;
    }
    if (last != 0)
      sink({piece.text.substr(begin), piece.atStart && begin == 0});
  }
};

/// Splits after every so many characters.
class FixedLength : public PreTokenizerStep {
public:
  explicit FixedLength(size_t length) : length(length) {}

  void split(Piece piece, PieceSink sink) const override {
    size_t begin = 0, count = 0;
    for (size_t i = 0; i < piece.text.size();) {
      i += codePointLength(piece.text[i]);
      if (++count < length && i < piece.text.size())
        continue;
      sink({piece.text.substr(begin, i - begin), piece.atStart && begin == 0});
      begin = i;
      count = 0;
    }
  }

private:
  size_t length;
};

/// Writes a space before a piece that does not begin with one.
class PrefixSpace : public PreTokenizerStep {
public:
  void split(Piece piece, PieceSink sink) const override {
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
  void split(Piece piece, PieceSink sink) const override {
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

  void split(Piece piece, PieceSink sink) const override {
    std::string text;
    text.reserve(piece.text.size() + piece.text.size() / 4 + 16);
    bool wanted = prepend == Prepend::Always || (prepend == Prepend::First && piece.atStart);
    if (wanted && !piece.text.starts_with(' ') && !piece.text.starts_with(character))
      text = character;
    size_t done = 0;
    for (size_t at; (at = piece.text.find(' ', done)) != std::string_view::npos; done = at + 1)
      text.append(piece.text.substr(done, at - done)).append(character);
    text.append(piece.text.substr(done));
    if (!splits)
      return sink({text, piece.atStart});
    PartMerger merger(Behavior::MergedWithNext, false, {text, piece.atStart}, sink);
    for (size_t at, from = 0; (at = text.find(character, from)) != std::string::npos;
         from = at + character.size())
      merger.match(at, at + character.size());
    merger.finish();
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
      "{}: the behavior '{}' is unknown; known are Removed, Isolated, "
      "MergedWithPrevious, MergedWithNext and Contiguous",
      where, name);
}

static std::unique_ptr<PreTokenizerStep> makeSplit(const json::Json &description) {
  Behavior behavior = parseBehavior(json::string(description, "behavior", where));
  bool invert = json::boolean(description, "invert", false, where);
  const json::Json &pattern = json::member(description, "pattern");
  if (json::member(pattern, "Regex").is_string())
    return std::make_unique<Split>(Regex(json::string(pattern, "Regex", where)), "", behavior,
                                   invert);
  const std::string &literal = json::string(pattern, "String", where);
  // An empty literal is found between any two characters.
  if (literal.empty())
    return std::make_unique<Split>(Regex(""), "", behavior, invert);
  return std::make_unique<Split>(std::nullopt, literal, behavior, invert);
}

/// The one character that `key` names.
static const std::string &character(const json::Json &description, const char *key,
                                    const std::string &type) {
  const std::string &text = json::string(description, key, where);
  if (countCodePoints(text) != 1)
    throw Error("{}: {} needs one character as '{}', not '{}'", where, type, key, text);
  return text;
}

static std::unique_ptr<PreTokenizerStep> makeMetaspace(const json::Json &description) {
  auto prepend = Metaspace::Prepend::Always;
  bool prefix = json::boolean(description, "add_prefix_space", true, where);
  if (json::member(description, "prepend_scheme").is_null()) {
    if (!prefix)
      prepend = Metaspace::Prepend::Never;
  } else {
    const std::string &scheme = json::string(description, "prepend_scheme", where);
    if (scheme == "first")
      prepend = Metaspace::Prepend::First;
    else if (scheme == "never")
      prepend = Metaspace::Prepend::Never;
    else if (scheme != "always")
      throw Error("{}: the prepend_scheme '{}' of Metaspace is unknown; known are "
                  "first, never and always",
                  where, scheme);
    if (!prefix && scheme != "never")
      throw Error("{}: Metaspace has the prepend_scheme '{}' but no add_prefix_space", where,
                  scheme);
  }
  return std::make_unique<Metaspace>(character(description, "replacement", "Metaspace"), prepend,
                                     json::boolean(description, "split", true, where));
}

std::unique_ptr<const PreTokenizerStep> mlsys::rt::makeByteCharacters() {
  return std::make_unique<ByteCharacters>();
}

bool mlsys::rt::addPreTokenizerSteps(const nlohmann::json &description,
                                     std::vector<std::unique_ptr<const PreTokenizerStep>> &steps) {
  const std::string &type = json::string(description, "type", where);
  if (type == "Split") {
    steps.push_back(makeSplit(description));
  } else if (type == "Digits") {
    bool individual = json::boolean(description, "individual_digits", false, where);
    steps.push_back(std::make_unique<SplitAt>(
        unicode::isNumeric, individual ? Behavior::Isolated : Behavior::Contiguous));
  } else if (type == "Punctuation") {
    bool isSaid = !json::member(description, "behavior").is_null();
    steps.push_back(std::make_unique<SplitAt>(
        unicode::isPunctuation, isSaid ? parseBehavior(json::string(description, "behavior", where))
                                       : Behavior::Isolated));
  } else if (type == "WhitespaceSplit") {
    steps.push_back(std::make_unique<SplitAt>(isWhiteSpace, Behavior::Removed));
  } else if (type == "Whitespace") {
    steps.push_back(std::make_unique<Words>());
  } else if (type == "BertPreTokenizer") {
    steps.push_back(std::make_unique<BertWords>());
  } else if (type == "CharDelimiterSplit") {
    steps.push_back(std::make_unique<Split>(std::nullopt, character(description, "delimiter", type),
                                            Behavior::Removed, false));
  } else if (type == "UnicodeScripts") {
    steps.push_back(std::make_unique<Scripts>());
  } else if (type == "FixedLength") {
    const json::Json &length = json::member(description, "length");
    size_t characters = 5;
    if (!length.is_null())
      characters = static_cast<size_t>(json::index(length, int64_t(1) << 32, where));
    if (characters == 0)
      throw Error("{}: the length of FixedLength is 0", where);
    steps.push_back(std::make_unique<FixedLength>(characters));
  } else if (type == "Metaspace") {
    steps.push_back(makeMetaspace(description));
  } else if (type == "ByteLevel") {
    if (json::boolean(description, "add_prefix_space", true, where))
      steps.push_back(std::make_unique<PrefixSpace>());
    if (json::boolean(description, "use_regex", true, where))
      steps.push_back(std::make_unique<Split>(Regex(bytelevel::pattern), "", Behavior::Isolated,
                                              false));
    return true;
  } else {
    throw Error("{} '{}' is not supported; supported are Split, ByteLevel, Digits, Metaspace, "
                "Punctuation, BertPreTokenizer, Whitespace, WhitespaceSplit, CharDelimiterSplit, "
                "UnicodeScripts, FixedLength and Sequence",
                where, type);
  }
  return false;
}
