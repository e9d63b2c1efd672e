//===- PostProcessor.h - Post-processors of tokenizer.json ------*- C++ -*-===//
//
// Part of mlsys, under the Apache License v2.0. See LICENSE.
//
//===----------------------------------------------------------------------===//
#pragma once

#include <nlohmann/json_fwd.hpp>

#include <cstdint>
#include <span>
#include <vector>

namespace mlsys::rt {

/// The ids of a text or of two, with the number of the text (or what the
/// tokenizer says in its place) for each.
struct Encoding {
  std::vector<int64_t> ids, typeIds;
};

/// Puts special tokens around the ids of one text or two: TemplateProcessing,
/// BertProcessing, RobertaProcessing; ByteLevel, which changes nothing here, and
/// sequences with at most one of the others.
class PostProcessor {
public:
  /// Reads the "post_processor" of a tokenizer.json; null adds nothing. Ids must
  /// be below `idLimit`.
  static PostProcessor fromJson(const nlohmann::json &description, int64_t idLimit);

  /// True when the ids of one text stay as they are.
  bool keepsSingle() const { return single.size() == 1 && single[0].sequence == 0; }

  /// The ids of one text with what belongs around them.
  Encoding apply(std::span<const int64_t> ids, bool addSpecialTokens) const;

  /// The ids of two texts; throws rt::Error when the tokenizer does not say how.
  Encoding apply(std::span<const int64_t> first, std::span<const int64_t> second,
                 bool addSpecialTokens) const;

private:
  /// A part of a template: the ids of a text, or special tokens.
  struct Part {
    int sequence = -1; ///< 0 or 1: a text; -1: `ids`.
    std::vector<int64_t> ids;
    int64_t typeId = 0;
  };
  using Template = std::vector<Part>;

  void add(const nlohmann::json &description, int64_t idLimit, int depth, bool &isSet);
  static Template readTemplate(const nlohmann::json &description, const char *key,
                               int64_t idLimit);

  Template single = {{0, {}, 0}}, pair = {{0, {}, 0}, {1, {}, 1}};
};

} // namespace mlsys::rt
