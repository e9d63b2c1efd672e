//===- JinjaJson.cpp - JSON of chat template values -------------*- C++ -*-===//
//
// Part of mlsys, under the Apache License v2.0. See LICENSE.
//
//===----------------------------------------------------------------------===//
#include "runtime/JinjaValue.h"

#include "runtime/Error.h"
#include "runtime/Utf8.h"

#include <algorithm>
#include <cmath>

using namespace mlsys::rt;
using namespace mlsys::rt::jinja;

/// Lists and dicts may nest this deep.
static constexpr int deepest = 200;

namespace {
class JsonWriter {
public:
  explicit JsonWriter(const JsonStyle &style) : style(style) {}
  void value(const Value &value, int depth);

  std::string out;

private:
  void string(std::string_view text);
  void key(const Value &key);
  void escape(uint32_t unit) { out += fmt::format("\\u{:04x}", unit); }
  void breakLine(int level) {
    if (!style.indent)
      return;
    out += '\n';
    for (int i = 0; i < level; ++i)
      out += *style.indent;
  }

  const JsonStyle &style;
};
} // namespace

void JsonWriter::string(std::string_view text) {
  static constexpr std::string_view special = "\"\\\n\r\t\b\f", names = "\"\\nrtbf";
  out += '"';
  for (size_t i = 0; i < text.size();) {
    char32_t c = nextCodePoint(text, i);
    size_t which = c < 0x80 ? special.find(char(c)) : std::string_view::npos;
    if (which != std::string_view::npos)
      out += {'\\', names[which]};
    else if (c < 0x20 || (style.ensureAscii && c >= 0x7F && c < 0x10000))
      escape(c);
    else if (style.ensureAscii && c >= 0x10000) {
      escape(0xD800 + ((uint32_t(c) - 0x10000) >> 10));
      escape(0xDC00 + ((uint32_t(c) - 0x10000) & 0x3FF));
    } else {
      appendUtf8(out, c);
    }
  }
  out += '"';
}

/// A key as json.dumps writes it: a string whatever it was.
void JsonWriter::key(const Value &key) {
  if (key.isString())
    return string(key.string());
  if (!key.isNumber() && !key.isNone())
    throw Error("tojson: a key must be a string or a number, not {}", key.typeName());
  out += '"';
  value(key, 0);
  out += '"';
}

void JsonWriter::value(const Value &value, int depth) {
  if (depth > deepest)
    throw Error("values nest more than {} deep", deepest);
  if (value.isNone()) {
    out += "null";
  } else if (value.isBool()) {
    out += value.boolean() ? "true" : "false";
  } else if (value.isFloat() && !std::isfinite(value.number("tojson"))) {
    double number = value.number("tojson");
    out += std::isnan(number) ? "NaN" : number < 0 ? "-Infinity" : "Infinity";
  } else if (value.isNumber()) {
    out += value.repr();
  } else if (value.isString()) {
    string(value.string());
  } else if (value.isList() && value.list().kind != ListObject::Kind::Range) {
    const auto &items = value.list().items;
    out += '[';
    for (size_t i = 0; i < items.size(); ++i) {
      if (i > 0)
        out += style.itemSeparator;
      breakLine(depth + 1);
      this->value(items[i], depth + 1);
    }
    if (!items.empty())
      breakLine(depth);
    out += ']';
  } else if (value.isMapping()) {
    auto entries = value.dict().entries;
    if (style.sortKeys)
      std::sort(entries.begin(), entries.end(), [](const auto &a, const auto &b) {
        return compare(a.first, b.first) < 0;
      });
    out += '{';
    for (size_t i = 0; i < entries.size(); ++i) {
      if (i > 0)
        out += style.itemSeparator;
      breakLine(depth + 1);
      key(entries[i].first);
      out += style.keySeparator;
      this->value(entries[i].second, depth + 1);
    }
    if (!entries.empty())
      breakLine(depth);
    out += '}';
  } else {
    throw Error("tojson: {} cannot be written as JSON", value.typeName());
  }
}

std::string jinja::toJson(const Value &value, const JsonStyle &style) {
  JsonWriter writer(style);
  writer.value(value, 0);
  return std::move(writer.out);
}
