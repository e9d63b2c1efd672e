//===- TokenDecoder.cpp - Decoders of tokenizer.json ----------------------===//
//
// Part of mlsys, under the Apache License v2.0. See LICENSE.
//
//===----------------------------------------------------------------------===//
// Each step takes tokens as text in parts, then an end. Steps that join all
// tokens into one (Fuse, ByteLevel) pass parts on and end their one token at
// the end of the stream; steps that must see a token whole buffer it.
#include "runtime/TokenDecoder.h"

#include "runtime/ByteLevel.h"
#include "runtime/JsonFields.h"

using namespace mlsys::rt;

static const char *const where = "tokenizer.json, decoder";

//===----------------------------------------------------------------------===//
// Loading
//===----------------------------------------------------------------------===//

/// Fills in what a step of a type needs; false when the type is not known.
bool TokenDecoder::read(Step &step, const std::string &type, const nlohmann::json &description) {
  auto text = [&](const char *key, const char *fallback) {
    bool absent = json::member(description, key).is_null();
    return absent ? std::string(fallback) : json::string(description, key, where);
  };
  auto count = [&](const char *key) {
    return static_cast<size_t>(
        json::index(json::member(description, key), int64_t(1) << 20, where));
  };
  if (type == "Replace") {
    step.kind = Kind::Replace;
    step.replacement = Replacement::fromJson(description, where);
  } else if (type == "ByteFallback") {
    step.kind = Kind::ByteFallback;
  } else if (type == "Fuse") {
    step.kind = Kind::Fuse;
  } else if (type == "ByteLevel") {
    step.kind = Kind::ByteLevel;
  } else if (type == "Strip") {
    step.kind = Kind::Strip;
    step.character = json::string(description, "content", where);
    step.start = count("start");
    step.stop = count("stop");
  } else if (type == "Metaspace") {
    step.kind = Kind::Metaspace;
    step.character = json::string(description, "replacement", where);
    step.dropsFirst = json::member(description, "prepend_scheme").is_null()
                          ? json::boolean(description, "add_prefix_space", true, where)
                          : json::string(description, "prepend_scheme", where) != "never";
  } else if (type == "WordPiece") {
    step.kind = Kind::WordPiece;
    step.mark = text("prefix", "##");
    step.cleans = json::boolean(description, "cleanup", true, where);
  } else if (type == "BPEDecoder") {
    step.kind = Kind::WordEnd;
    step.mark = text("suffix", "</w>");
  } else if (type == "CTC") {
    step.kind = Kind::Ctc;
    step.mark = text("pad_token", "<pad>");
    step.delimiter = text("word_delimiter_token", "|");
    step.cleans = json::boolean(description, "cleanup", true, where);
  } else {
    return false;
  }
  bool hasCharacter = step.kind == Kind::Strip || step.kind == Kind::Metaspace;
  if (hasCharacter && countCodePoints(step.character) != 1)
    throw Error("{}: {} needs one character, not '{}'", where, type, step.character);
  return true;
}

void TokenDecoder::add(const nlohmann::json &description, int depth) {
  const std::string &type = json::string(description, "type", where);
  if (type == "Sequence") {
    if (depth > 16)
      throw Error("{}: sequences nest more than 16 deep", where);
    for (const json::Json &child : json::list(description, "decoders", where))
      add(child, depth + 1);
    return;
  }
  Step step{Kind::Fuse, {}};
  if (!read(step, type, description))
    throw Error("{} '{}' is not supported; supported are Replace, ByteFallback, Fuse, Strip, "
                "ByteLevel, Metaspace, WordPiece, BPEDecoder, CTC and Sequence",
                where, type);
  steps.push_back(std::move(step));
}

TokenDecoder TokenDecoder::fromJson(const nlohmann::json &description) {
  TokenDecoder result;
  if (description.is_null())
    result.steps.push_back({Kind::Join, {}});
  else
    result.add(description, 0);
  return result;
}

/// The byte of a token like <0x0A>, or -1.
static int parseByteToken(std::string_view token) {
  if (token.size() != 6 || !token.starts_with("<0x") || token.back() != '>')
    return -1;
  int value = 0;
  for (char c : token.substr(3, 2)) {
    int digit = c >= '0' && c <= '9'   ? c - '0'
                : c >= 'a' && c <= 'f' ? c - 'a' + 10
                : c >= 'A' && c <= 'F' ? c - 'A' + 10
                                       : -1;
    if (digit < 0)
      return -1;
    value = value * 16 + digit;
  }
  return value;
}

/// `text` with each `from` written as `to`.
static std::string replaceAll(std::string_view text, std::string_view from,
                              std::string_view to) {
  std::string out;
  if (from.empty()) {
    // It is found around every character.
    for (size_t i = 0; i < text.size();) {
      size_t length = codePointLength(text[i]);
      out.append(to).append(text.substr(i, length));
      i += length;
    }
    return out.append(to);
  }
  size_t done = 0;
  for (size_t at; (at = text.find(from, done)) != std::string_view::npos;
       done = at + from.size())
    out.append(text.substr(done, at - done)).append(to);
  return out.append(text.substr(done));
}

/// `text` without the spaces that tokenization put before punctuation.
static std::string cleanUp(std::string text) {
  static constexpr const char *pairs[][2] = {
      {" .", "."},     {" ?", "?"},       {" !", "!"},           {" ,", ","},
      {" ' ", "'"},    {" n't", "n't"},   {" 'm", "'m"},         {" do not", " don't"},
      {" 's", "'s"},   {" 've", "'ve"},   {" 're", "'re"},
  };
  for (auto [from, to] : pairs)
    if (text.find(from) != std::string::npos)
      text = replaceAll(text, from, to);
  return text;
}

std::string TokenDecoder::bytesOf(std::string_view token) const {
  std::string bytes(token);
  for (const Step &step : steps) {
    if (step.kind == Kind::Replace)
      bytes = step.replacement.apply(bytes);
    else if (step.kind == Kind::Metaspace)
      bytes = replaceAll(bytes, step.character, " ");
    else if (step.kind == Kind::WordPiece)
      bytes = bytes.starts_with(step.mark) ? bytes.substr(step.mark.size()) : " " + bytes;
    else if (step.kind == Kind::WordEnd)
      bytes = replaceAll(bytes, step.mark, " ");
    else if (step.kind == Kind::Ctc)
      bytes = replaceAll(replaceAll(bytes, step.mark, ""), step.delimiter, " ");
    else if (step.kind == Kind::ByteLevel)
      return bytelevel::decode(bytes);
    else if (int byte = parseByteToken(bytes);
             step.kind == Kind::ByteFallback && byte >= 0)
      return std::string(1, static_cast<char>(byte));
  }
  return bytes;
}

//===----------------------------------------------------------------------===//
// Streaming
//===----------------------------------------------------------------------===//

DecoderStream::DecoderStream(const TokenDecoder &decoder)
    : decoder(decoder), states(decoder.steps.size()) {}

std::string DecoderStream::push(std::string_view token) {
  text(0, token);
  endToken(0);
  return std::exchange(out, {});
}

std::string DecoderStream::finish() {
  for (size_t step = 0; step < states.size(); ++step)
    flush(step);
  states.assign(states.size(), {});
  return std::exchange(out, {});
}

/// True when `replacement` can be applied to any part of a token alone.
static bool replacesCharacters(const Replacement &replacement) {
  return !replacement.regex && countCodePoints(replacement.literal) == 1;
}

void DecoderStream::text(size_t index, std::string_view part) {
  if (index == states.size()) {
    out += part;
    return;
  }
  const TokenDecoder::Step &step = decoder.steps[index];
  State &state = states[index];
  switch (step.kind) {
  case TokenDecoder::Kind::Replace:
    if (replacesCharacters(step.replacement))
      text(index + 1, step.replacement.apply(part));
    else
      state.buffer += part;
    break;
  case TokenDecoder::Kind::ByteFallback:
  case TokenDecoder::Kind::ByteLevel:
  case TokenDecoder::Kind::WordPiece:
  case TokenDecoder::Kind::WordEnd:
  case TokenDecoder::Kind::Ctc:
    state.buffer += part;
    break;
  case TokenDecoder::Kind::Fuse:
    text(index + 1, part);
    break;
  case TokenDecoder::Kind::Strip:
    strip(index, part);
    break;
  case TokenDecoder::Kind::Metaspace:
    text(index + 1,
         replaceAll(part, step.character,
                    state.tokens == 0 && step.dropsFirst ? "" : " "));
    break;
  case TokenDecoder::Kind::Join:
    if (state.tokens > 0 && !state.inside)
      text(index + 1, " ");
    state.inside = true;
    text(index + 1, part);
    break;
  }
}

/// Passes on what of `part` is neither at the front nor, maybe, at the end.
void DecoderStream::strip(size_t index, std::string_view part) {
  const TokenDecoder::Step &step = decoder.steps[index];
  State &state = states[index];
  for (size_t i = 0; i < part.size();) {
    std::string_view character = part.substr(i, codePointLength(part[i]));
    i += character.size();
    bool matches = character == step.character;
    if (matches && !state.inside && state.taken < step.start) {
      ++state.taken;
      continue;
    }
    state.inside = true;
    if (matches && state.held < step.stop) {
      ++state.held;
      continue;
    }
    if (!matches)
      for (; state.held > 0; --state.held)
        text(index + 1, step.character);
    text(index + 1, character);
  }
}

void DecoderStream::endToken(size_t index) {
  if (index == states.size())
    return;
  const TokenDecoder::Step &step = decoder.steps[index];
  State &state = states[index];
  ++state.tokens;
  std::string token = std::exchange(state.buffer, {});
  switch (step.kind) {
  case TokenDecoder::Kind::Replace:
    if (!replacesCharacters(step.replacement))
      text(index + 1, step.replacement.apply(token));
    break;
  case TokenDecoder::Kind::ByteFallback:
    if (int byte = parseByteToken(token); byte >= 0) {
      state.bytes.push_back(static_cast<char>(byte));
      return;
    }
    flushBytes(index);
    text(index + 1, token);
    break;
  case TokenDecoder::Kind::ByteLevel: {
    std::string repaired;
    state.repairer.push(bytelevel::decode(token), repaired);
    text(index + 1, repaired);
    return;
  }
  case TokenDecoder::Kind::Fuse:
    return;
  case TokenDecoder::Kind::WordPiece:
    if (state.tokens > 1) {
      if (token.starts_with(step.mark))
        token.erase(0, step.mark.size());
      else
        token.insert(0, " ");
    }
    text(index + 1, step.cleans ? cleanUp(std::move(token)) : token);
    break;
  case TokenDecoder::Kind::WordEnd:
    // Of the last token the suffix is no space, so each waits for the next.
    std::swap(token, state.last);
    if (state.tokens == 1)
      return;
    text(index + 1, replaceAll(token, step.mark, " "));
    break;
  case TokenDecoder::Kind::Ctc: {
    bool isRepeated = state.tokens > 1 && token == state.last;
    state.last = token;
    if (isRepeated)
      return;
    token = replaceAll(token, step.mark, "");
    if (step.cleans)
      token = replaceAll(cleanUp(std::move(token)), step.delimiter, " ");
    if (token.empty())
      return;
    text(index + 1, token);
    break;
  }
  case TokenDecoder::Kind::Strip:
    state.taken = state.held = 0;
    state.inside = false;
    break;
  case TokenDecoder::Kind::Join:
    state.inside = false;
    break;
  case TokenDecoder::Kind::Metaspace:
    break;
  }
  endToken(index + 1);
}

/// Ends a run of byte tokens: their text, or one U+FFFD each if they are not
/// UTF-8.
void DecoderStream::flushBytes(size_t index) {
  std::string bytes = std::exchange(states[index].bytes, {});
  if (bytes.empty())
    return;
  if (isValidUtf8(bytes)) {
    text(index + 1, bytes);
    endToken(index + 1);
    return;
  }
  for (size_t i = 0; i < bytes.size(); ++i) {
    text(index + 1, "\xEF\xBF\xBD");
    endToken(index + 1);
  }
}

void DecoderStream::flush(size_t index) {
  switch (decoder.steps[index].kind) {
  case TokenDecoder::Kind::ByteFallback:
    flushBytes(index);
    break;
  case TokenDecoder::Kind::ByteLevel: {
    std::string repaired;
    states[index].repairer.finish(repaired);
    text(index + 1, repaired);
    endToken(index + 1);
    break;
  }
  case TokenDecoder::Kind::Fuse:
    endToken(index + 1);
    break;
  case TokenDecoder::Kind::WordEnd:
    if (states[index].tokens > 0) {
      text(index + 1, replaceAll(states[index].last, decoder.steps[index].mark, ""));
      endToken(index + 1);
    }
    break;
  default:
    break;
  }
}
