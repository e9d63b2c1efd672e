//===- JinjaFormat.cpp - Formatting of chat template values -----*- C++ -*-===//
//
// Part of mlsys, under the Apache License v2.0. See LICENSE.
//
//===----------------------------------------------------------------------===//
// Python's `format % values` and format.format(values).
#include "runtime/JinjaBuiltins.h"

#include "runtime/Error.h"
#include "runtime/Utf8.h"

#include <algorithm>
#include <cmath>
#include <cstdlib>

using namespace mlsys::rt;
using namespace mlsys::rt::jinja;

/// Widths and precisions that a format may ask for.
static constexpr int64_t widest = 10'000;
static constexpr int64_t mostDigits = 400;

double jinja::roundTo(double value, int64_t digits) {
  if (!std::isfinite(value))
    return value;
  if (digits < 0) {
    double scale = std::pow(10.0, double(-digits));
    return std::isfinite(scale) ? std::nearbyint(value / scale) * scale : 0.0;
  }
  // The decimal digits decide, as in Python.
  if (digits > 22)
    return value;
  return std::strtod(fmt::format("{:.{}f}", value, digits).c_str(), nullptr);
}

namespace {
/// What a format says about one value.
struct Spec {
  std::string fill = " ";
  char align = 0, sign = '-', type = 0, grouping = 0;
  bool alternate = false;
  int64_t width = 0, precision = -1;
};
} // namespace

//===----------------------------------------------------------------------===//
// One value
//===----------------------------------------------------------------------===//

static std::string digitsOf(uint64_t value, unsigned base, bool upper) {
  std::string out;
  do
    out += (upper ? "0123456789ABCDEF" : "0123456789abcdef")[value % base];
  while (value /= base);
  return {out.rbegin(), out.rend()};
}

/// Puts separators between groups of digits of the integral part.
static std::string grouped(const std::string &digits, char separator, size_t group) {
  size_t whole = std::min(digits.find_first_not_of("0123456789abcdefABCDEF"), digits.size());
  std::string out = digits.substr(whole);
  for (size_t i = whole; i > 0;) {
    size_t count = std::min(group, i);
    out.insert(0, digits, i - count, count);
    i -= count;
    if (i > 0)
      out.insert(0, 1, separator);
  }
  return out;
}

/// Sign, digits and padding of a number whose magnitude is `digits`.
static std::string signedText(bool negative, const std::string &prefix, std::string digits,
                              const Spec &spec, Budget &budget) {
  if (spec.grouping)
    digits = grouped(digits, spec.grouping, prefix.empty() ? 3 : 4);
  std::string sign = negative ? "-" : spec.sign == '-' ? "" : std::string(1, spec.sign);
  sign += prefix;
  if (spec.align == '=')
    return sign + pad(digits, spec.width - int64_t(sign.size()), spec.fill, 1, budget);
  int side = spec.align == '<' ? -1 : spec.align == '^' ? 0 : 1;
  return pad(sign + digits, spec.width, spec.fill, side, budget);
}

static std::string integerText(int64_t value, const Spec &spec, Budget &budget) {
  uint64_t magnitude = value < 0 ? 0 - uint64_t(value) : uint64_t(value);
  char type = spec.type ? spec.type : 'd';
  unsigned base = type == 'b' ? 2 : type == 'o' ? 8 : type == 'x' || type == 'X' ? 16 : 10;
  std::string prefix = spec.alternate && base != 10 ? std::string("0") + type : "";
  std::string digits = digitsOf(magnitude, base, type == 'X');
  return signedText(value < 0, prefix, digits, spec, budget);
}

static std::string floatText(double value, const Spec &spec, Budget &budget) {
  char type = spec.type;
  double magnitude = std::abs(value);
  std::string digits;
  if (!std::isfinite(value)) {
    digits = std::isnan(value) ? "nan" : "inf";
  } else if (type == 0 && spec.precision < 0) {
    digits = Value(magnitude).repr();
  } else if (type == 0) {
    digits = fmt::format("{:.{}g}", magnitude, std::max<int64_t>(spec.precision, 1));
    if (digits.find_first_of(".e") == std::string::npos)
      digits += ".0";
  } else if (type == '%') {
    digits = fmt::format("{:.{}f}%", magnitude * 100, spec.precision < 0 ? 6 : spec.precision);
  } else {
    int64_t precision = spec.precision < 0 ? 6 : spec.precision;
    char kind = char(std::tolower(type == 'n' ? 'g' : type));
    digits = kind == 'f'   ? fmt::format("{:.{}f}", magnitude, precision)
             : kind == 'e' ? fmt::format("{:.{}e}", magnitude, precision)
                           : fmt::format("{:.{}g}", magnitude, std::max<int64_t>(precision, 1));
  }
  if (std::isupper(static_cast<unsigned char>(type)))
    std::transform(digits.begin(), digits.end(), digits.begin(),
                   [](unsigned char c) { return char(std::toupper(c)); });
  return signedText(std::signbit(value), "", digits, spec, budget);
}

static std::string stringText(std::string text, const Spec &spec, Budget &budget) {
  if (spec.precision >= 0)
    text = slice(Value(text), Value(), Value(spec.precision), Value(), budget).string();
  int side = spec.align == '>' ? 1 : spec.align == '^' ? 0 : -1;
  return pad(text, spec.width, spec.fill, side, budget);
}

//===----------------------------------------------------------------------===//
// format % values
//===----------------------------------------------------------------------===//

namespace {
/// Reads a format from left to right.
struct Reader {
  const std::string &text;
  size_t at = 0;

  char peek() const { return at < text.size() ? text[at] : '\0'; }
  bool accept(char c) { return peek() == c && at < text.size() ? (++at, true) : false; }
  int64_t number() {
    int64_t value = 0;
    for (; peek() >= '0' && peek() <= '9'; ++at)
      value = std::min<int64_t>(value * 10 + (peek() - '0'), widest + 1);
    return value;
  }
};

/// The values of `format % value`, one after another or by name.
class PercentValues {
public:
  explicit PercentValues(const Value &value) : value(value) {
    if (value.isTuple())
      items = value.list().items;
    else
      items = {value};
  }
  const Value &next() {
    if (used == items.size())
      throw Error("the format needs more values than there are");
    return items[used++];
  }
  Value named(const std::string &key) {
    if (!value.isMapping())
      throw Error("a format with names needs a dict, not {}", value.typeName());
    isNamed = true;
    if (const Value *found = value.dict().find(std::string_view(key)))
      return *found;
    throw Error("the format's dict has no key '{}'", key);
  }
  void finish() const {
    // Python looks for keys in lists, too, and so does not miss them.
    bool mayHaveKeys = value.isMapping() || (value.hasItems() && !value.isTuple());
    if (used < items.size() && !isNamed && !mayHaveKeys)
      throw Error("the format does not take all values");
  }

private:
  const Value &value;
  std::vector<Value> items;
  size_t used = 0;
  bool isNamed = false;
};
} // namespace

static void checkSpec(const Spec &spec) {
  if (spec.width > widest || spec.precision > mostDigits)
    throw Error("a format asks for a width or precision that is too large");
}

/// One conversion, from behind its %.
static std::string convertPercent(Reader &in, PercentValues &values, Budget &budget) {
  Spec spec;
  std::optional<Value> named;
  if (in.accept('(')) {
    size_t end = in.text.find(')', in.at);
    if (end == std::string::npos)
      throw Error("a format has no ')'");
    named = values.named(in.text.substr(in.at, end - in.at));
    in.at = end + 1;
  }
  bool zero = false;
  for (;; ++in.at) {
    if (in.peek() == '-')
      spec.align = '<';
    else if (in.peek() == '+' || (in.peek() == ' ' && spec.sign != '+'))
      spec.sign = in.peek();
    else if (in.peek() == '#')
      spec.alternate = true;
    else if (in.peek() == '0')
      zero = true;
    else if (in.peek() != ' ')
      break;
  }
  spec.width = in.accept('*') ? values.next().integer("a width") : in.number();
  if (in.accept('.'))
    spec.precision = in.accept('*') ? values.next().integer("a precision") : in.number();
  checkSpec(spec);
  char type = in.peek();
  ++in.at;
  if (type == '%')
    return "%";
  Value value = named ? *named : values.next();
  if (type == 's' || type == 'r' || type == 'a' || type == 'c') {
    spec.align = spec.align ? spec.align : '>';
    return stringText(type == 's' || type == 'c' ? value.text() : value.repr(), spec, budget);
  }
  if (zero && !spec.align) {
    spec.fill = "0";
    spec.align = '=';
  }
  spec.type = type == 'i' || type == 'u' ? 'd' : type;
  if (std::string_view("doxX").find(spec.type) != std::string_view::npos) {
    if (!value.isNumber())
      throw Error("%{} needs a number, not {}", type, value.typeName());
    int64_t whole = value.isFloat() ? int64_t(std::clamp(value.number("%d"), -9e18, 9e18))
                                    : value.integer("%d");
    return integerText(whole, spec, budget);
  }
  if (std::string_view("eEfFgG").find(spec.type) != std::string_view::npos)
    return floatText(value.number("a value of a format"), spec, budget);
  throw Error("a format has the type '{}', which there is not", type ? type : '?');
}

std::string jinja::formatPercent(const std::string &format, const Value &value,
                                 Budget &budget) {
  std::string out;
  PercentValues values(value);
  for (Reader in{format}; in.at < format.size();) {
    size_t next = std::min(format.find('%', in.at), format.size());
    out.append(format, in.at, next - in.at);
    in.at = next + 1;
    size_t before = out.size();
    if (next < format.size())
      out += convertPercent(in, values, budget);
    budget.spend(out.size() - before);
  }
  values.finish();
  return out;
}

//===----------------------------------------------------------------------===//
// format.format(values)
//===----------------------------------------------------------------------===//

static Spec parseSpec(const std::string &text) {
  Spec spec;
  Reader in{text};
  auto isAlign = [](char c) { return c == '<' || c == '>' || c == '^' || c == '='; };
  size_t fill = text.empty() ? 0 : codePointLength(text[0]);
  if (fill < text.size() && isAlign(text[fill])) {
    spec.fill = text.substr(0, fill);
    spec.align = text[fill];
    in.at = fill + 1;
  } else if (isAlign(in.peek())) {
    spec.align = in.peek();
    ++in.at;
  }
  if (in.peek() == '+' || in.peek() == '-' || in.peek() == ' ')
    spec.sign = text[in.at++];
  spec.alternate = in.accept('#');
  if (in.peek() == '0' && !spec.align) {
    spec.fill = "0";
    spec.align = '=';
  }
  spec.width = in.number();
  if (in.peek() == ',' || in.peek() == '_')
    spec.grouping = text[in.at++];
  if (in.accept('.'))
    spec.precision = in.number();
  if (in.at < text.size())
    spec.type = text[in.at++];
  if (in.at < text.size() ||
      (spec.type && std::string_view("sdboxXneEfFgG%").find(spec.type) == std::string_view::npos))
    throw Error("the format '{}' is not supported", text);
  checkSpec(spec);
  return spec;
}

static std::string formatValue(const Value &value, const std::string &text, Budget &budget) {
  if (text.empty())
    return value.text();
  Spec spec = parseSpec(text);
  if (value.isString() && (spec.type == 0 || spec.type == 's') && spec.align != '=')
    return stringText(value.string(), spec, budget);
  bool wantsFloat =
      spec.type && std::string_view("eEfFgG%").find(spec.type) != std::string_view::npos;
  if (value.isNumber() && spec.type != 's' && (value.isFloat() || wantsFloat)) {
    if (spec.type && std::string_view("dboxX").find(spec.type) != std::string_view::npos)
      throw Error("the format '{}' is for integers, not for {}", text, value.typeName());
    return floatText(value.number("format"), spec, budget);
  }
  if (value.isNumber() && spec.type != 's' && spec.precision < 0)
    return integerText(value.integer("format"), spec, budget);
  throw Error("the format '{}' is not for {}", text, value.typeName());
}

namespace {
class BraceFormatter {
public:
  BraceFormatter(const Arguments &arguments, Budget &budget)
      : arguments(arguments), budget(budget) {}
  std::string run(const std::string &format, int depth);

private:
  Value field(const std::string &path);

  const Arguments &arguments;
  Budget &budget;
  size_t automatic = 0;
};
} // namespace

/// The value of a field such as 0, name, name.attribute or name[key].
Value BraceFormatter::field(const std::string &path) {
  size_t end = std::min(path.find_first_of(".["), path.size());
  std::string first = path.substr(0, end);
  const Value *found;
  bool isNumber = first.find_first_not_of("0123456789") == std::string::npos;
  if (isNumber) {
    size_t index = first.empty() ? automatic++ : size_t(std::atoll(first.substr(0, 9).c_str()));
    found = index < arguments.positional.size() ? &arguments.positional[index] : nullptr;
  } else {
    found = arguments.find(SIZE_MAX, first);
  }
  if (!found)
    throw Error("the format has no value for '{{{}}}'", path);
  Value value = *found;
  while (end < path.size()) {
    bool isKey = path[end] == '[';
    size_t close = isKey ? path.find(']', end) : path.find_first_of(".[", end + 1);
    if (isKey && close == std::string::npos)
      throw Error("a format has no ']'");
    close = std::min(close, path.size());
    std::string name = path.substr(end + 1, close - end - 1);
    bool isIndex = !name.empty() && name.find_first_not_of("0123456789") == std::string::npos;
    if (isIndex && isKey)
      value = subscript(value, Value(int64_t(std::atoll(name.substr(0, 9).c_str()))), budget);
    else
      value = isKey ? subscript(value, Value(name), budget) : attribute(value, name, budget);
    defined(value);
    end = close + isKey;
  }
  return value;
}

std::string BraceFormatter::run(const std::string &format, int depth) {
  if (depth > 2)
    throw Error("fields of a format nest too deep");
  std::string out;
  for (size_t i = 0; i < format.size();) {
    char c = format[i++];
    if ((c == '{' || c == '}') && i < format.size() && format[i] == c) {
      out += c;
      ++i;
      continue;
    }
    if (c == '}')
      throw Error("a format has a '}' that closes nothing");
    if (c != '{') {
      out += c;
      continue;
    }
    size_t begin = i;
    int open = 1;
    for (; i < format.size() && open > 0; ++i)
      open += format[i] == '{' ? 1 : format[i] == '}' ? -1 : 0;
    if (open > 0)
      throw Error("a format has a '{' that nothing closes");
    std::string inside = format.substr(begin, i - 1 - begin);
    size_t colon = std::min(inside.find(':'), inside.size());
    std::string name = inside.substr(0, colon);
    char conversion = 0;
    if (size_t mark = name.find('!'); mark != std::string::npos && mark + 2 == name.size()) {
      conversion = name[mark + 1];
      name.resize(mark);
    }
    Value value = field(name);
    std::string spec = colon < inside.size() ? run(inside.substr(colon + 1), depth + 1) : "";
    if (conversion)
      value = Value(conversion == 's' ? value.text() : value.repr());
    std::string text = formatValue(value, spec, budget);
    budget.spend(text.size());
    out += text;
  }
  return out;
}

std::string jinja::formatBraces(const std::string &format, const Arguments &arguments,
                                Budget &budget) {
  return BraceFormatter(arguments, budget).run(format, 0);
}
