//===- EmbedCommand.cpp - Texts to embeddings and scores ------------------===//
//
// Part of mlsys, under the Apache License v2.0. See LICENSE.
//
//===----------------------------------------------------------------------===//
#include "runtime/Commands.h"
#include "runtime/Encoder.h"
#include "runtime/Error.h"
#include "runtime/TextCommands.h"

#include <nlohmann/json.hpp>

#include <algorithm>
#include <cmath>
#include <ostream>

using namespace mlsys;
using namespace mlsys::rt;
using Json = nlohmann::ordered_json;

namespace {
/// What a model made of some texts.
struct EncodedTexts {
  std::vector<std::vector<int64_t>> ids;
  /// [rows, width]: those of a text begin at `starts` and are `counts` many.
  std::vector<float> rows;
  std::vector<size_t> starts, counts;
  size_t width = 0;

  std::span<const float> row(size_t text, size_t index) const {
    return std::span(rows).subspan((starts[text] + index) * width, width);
  }
};
} // namespace

static EncodedTexts encodeTexts(ModelHandle &model, const TextMaterial &material,
                                const std::vector<std::string> &texts, std::ostream &log) {
  if (texts.empty())
    throw Error("there is no text; give one with -p, or a file of lines with -f");
  Tokenizer tokenizer = openTokenizer(material);
  EncodedTexts result;
  for (const std::string &text : texts) {
    result.ids.push_back(tokenizer.encode(checkedUtf8(text, log), /*addSpecialTokens=*/true));
    if (result.ids.back().empty())
      throw Error("text {} is empty", result.ids.size());
  }
  std::vector<EncoderInput> inputs;
  for (const std::vector<int64_t> &ids : result.ids)
    inputs.push_back({ids});
  LanguageModel &language = *model.language;
  KvCache cache(language.pageSize(), language.pageCount());
  result.rows = encode(language, cache, inputs);
  result.width = size_t(language.vocabSize());
  size_t next = 0;
  for (const std::vector<int64_t> &ids : result.ids) {
    result.starts.push_back(next);
    result.counts.push_back(language.perToken() ? ids.size() : 1);
    next += result.counts.back();
  }
  return result;
}

//===----------------------------------------------------------------------===//
// embed
//===----------------------------------------------------------------------===//

std::vector<float> rt::poolRows(std::span<const float> rows, size_t width,
                                const std::string &pooling, bool normalize) {
  size_t count = rows.size() / width;
  std::vector<double> sum(width);
  size_t begin = pooling == "last" ? count - 1 : 0;
  size_t end = pooling == "cls" ? 1 : count;
  for (size_t row = begin; row < end; ++row)
    for (size_t column = 0; column < width; ++column)
      sum[column] += double(rows[row * width + column]);
  double squares = 0;
  for (double &value : sum) {
    value /= double(end - begin);
    squares += value * value;
  }
  // As torch.nn.functional.normalize: a vector of zeros stays one.
  double scale = normalize ? 1 / std::max(std::sqrt(squares), 1e-12) : 1;
  std::vector<float> result;
  for (double value : sum)
    result.push_back(float(value * scale));
  return result;
}

int rt::runEmbed(ModelHandle &model, const EmbedRequest &request, Streams streams) {
  TextMaterial material = model.text.value_or(TextMaterial{});
  if (!model.language || material.output != "hidden")
    throw Error("{} ({}) gives no embeddings; a model without a head does, such as BertModel",
                model.name, model.architecture);
  std::string pooling = request.pooling == "auto" ? material.pooling : request.pooling;
  if (pooling.empty())
    pooling = model.language->bidirectional() ? "mean" : "last";
  bool normalize = request.normalize.value_or(material.normalize);
  EncodedTexts texts = encodeTexts(model, material, request.texts, streams.log);
  Json list = Json::array();
  for (size_t index = 0; index < request.texts.size(); ++index) {
    std::span<const float> rows = std::span(texts.rows).subspan(
        texts.starts[index] * texts.width, texts.counts[index] * texts.width);
    std::vector<std::vector<float>> vectors;
    if (pooling == "none")
      for (size_t row = 0; row < texts.counts[index]; ++row)
        vectors.push_back(poolRows(texts.row(index, row), texts.width, "cls", normalize));
    else
      vectors.push_back(poolRows(rows, texts.width, pooling, normalize));
    if (request.json) {
      Json entry = {{"index", index}, {"tokens", texts.ids[index].size()}};
      entry["embedding"] = pooling == "none" ? Json(vectors) : Json(vectors.front());
      list.push_back(std::move(entry));
      continue;
    }
    for (const std::vector<float> &vector : vectors) {
      for (size_t column = 0; column < vector.size(); ++column)
        streams.out << (column ? " " : "") << fmt::format("{:.7g}", vector[column]);
      streams.out << "\n";
    }
  }
  if (request.json)
    streams.out << Json{{"model", model.name}, {"pooling", pooling}, {"data", list}}.dump() << "\n";
  return 0;
}

//===----------------------------------------------------------------------===//
// classify
//===----------------------------------------------------------------------===//

std::vector<double> rt::classProbabilities(std::span<const float> logits) {
  std::vector<double> result;
  if (logits.size() == 1)
    return {1 / (1 + std::exp(-double(logits[0])))};
  double largest = *std::max_element(logits.begin(), logits.end()), sum = 0;
  for (float logit : logits) {
    result.push_back(std::exp(double(logit) - largest));
    sum += result.back();
  }
  for (double &value : result)
    value /= sum;
  return result;
}

int rt::runClassify(ModelHandle &model, const ClassifyRequest &request, Streams streams) {
  TextMaterial material = model.text.value_or(TextMaterial{});
  if (!model.language || material.output != "scores")
    throw Error("{} ({}) is no classifier; one is called ...ForSequenceClassification", model.name,
                model.architecture);
  EncodedTexts texts = encodeTexts(model, material, request.texts, streams.log);
  Json list = Json::array();
  for (size_t index = 0; index < request.texts.size(); ++index) {
    // An encoder's first token stands for the text; a decoder gives the last one's row alone.
    std::span<const float> logits = texts.row(index, 0);
    std::vector<double> scores = classProbabilities(logits);
    auto label = [&](size_t i) {
      return i < material.labels.size() ? material.labels[i] : fmt::format("LABEL_{}", i);
    };
    if (request.json) {
      Json classes = Json::array();
      for (size_t i = 0; i < scores.size(); ++i)
        classes.push_back({{"label", label(i)}, {"score", scores[i]}, {"logit", logits[i]}});
      list.push_back({{"index", index}, {"classes", classes}});
      continue;
    }
    for (size_t i = 0; i < scores.size(); ++i)
      streams.out << fmt::format("{}{} {:.6f} (logit {:.6f})", i ? ", " : "", label(i), scores[i],
                                 logits[i]);
    streams.out << "\n";
  }
  if (request.json)
    streams.out << Json{{"model", model.name}, {"data", list}}.dump() << "\n";
  return 0;
}
