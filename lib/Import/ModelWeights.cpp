//===- ModelWeights.cpp - The tensors of a model --------------------------===//
//
// Part of mlsys, under the Apache License v2.0. See LICENSE.
//
//===----------------------------------------------------------------------===//

#include "ModelWeights.h"

#include "ModuleShapes.h"

#include "runtime/Program.h"

#include "llvm/ADT/StringExtras.h"
#include "llvm/ADT/StringMap.h"
#include "llvm/ADT/StringSet.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

using namespace llvm;
using namespace mlsys;
using namespace mlsys::importer;

namespace mlsys::importer {

/// Finds the tensors of one model.
class WeightResolver {
public:
  WeightResolver(const ModelConfig &config, const Checkpoint &checkpoint);
  Expected<ModelWeights> resolve();
  static ModelWeights makeRandom(const ModelConfig &config);

private:
  /// Calls `visit(module, part, layer)` for every tensor that the model has.
  template <typename F> static void forEachTensor(const ModelConfig &config, F visit);
  static ModelWeight makeWeight(const ModelConfig &config, Module module, Part part, int64_t layer);

  void addTensor(Module module, Part part, int64_t layer);
  const rt::StoredTensor *findStored(StringRef names, Part part, int64_t layer, int64_t index);
  bool isIgnored(StringRef name) const;
  Error checkNames() const;
  void fail(const std::string &message) {
    if (problem.empty())
      problem = message;
  }

  const ModelConfig &config;
  const Checkpoint &checkpoint;
  /// What names of tensors inside the family's base model begin with.
  std::string base;
  StringMap<const rt::StoredTensor *> stored;
  StringSet<> known;
  std::vector<std::string> missing;
  std::string problem;
  ModelWeights result;
};

} // namespace mlsys::importer

/// "{0}" and "{1}" in a name.
static std::string formatName(StringRef pattern, int64_t layer, int64_t index) {
  std::string name = pattern.str();
  for (auto [mark, value] : {std::pair("{0}", layer), std::pair("{1}", index)})
    if (size_t at = name.find(mark); at != std::string::npos)
      name.replace(at, 3, std::to_string(value));
  return name;
}

static const char *suffixOf(Part part) { return part == Part::Weight ? ".weight" : ".bias"; }

WeightResolver::WeightResolver(const ModelConfig &config, const Checkpoint &checkpoint)
    : config(config), checkpoint(checkpoint) {
  for (const rt::StoredTensor &tensor : checkpoint.tensors)
    stored[tensor.name] = &tensor;
  // Base models are saved without it.
  StringRef prefix = config.family->base;
  if (!config.isGguf && llvm::any_of(checkpoint.tensors, [&](const rt::StoredTensor &tensor) {
        return StringRef(tensor.name).starts_with(prefix);
      }))
    base = prefix.str();
}

template <typename F> void WeightResolver::forEachTensor(const ModelConfig &config, F visit) {
  for (int index = 0; index <= static_cast<int>(lastModule); ++index) {
    auto module = static_cast<Module>(index);
    for (int64_t layer = 0, end = isLayerModule(module) ? config.layers : 1; layer < end; ++layer) {
      if (hasWeight(config, module, layer))
        visit(module, Part::Weight, layer);
      if (hasBias(config, module, layer))
        visit(module, Part::Bias, layer);
    }
  }
}

ModelWeight WeightResolver::makeWeight(const ModelConfig &config, Module module, Part part,
                                       int64_t layer) {
  ModelWeight weight;
  std::vector<Extent> shape = weightShape(config, module);
  if (part == Part::Bias && shape.size() > 1)
    shape.pop_back();
  for (const Extent &extent : shape)
    weight.shape.push_back(extent.value);
  const ModuleName *name = findModuleName(config, module);
  StringRef plain = name ? StringRef(name->name).split('|').first : StringRef("unnamed");
  bool inBase = !config.isGguf && module < Module::Head;
  weight.name = (inBase ? config.family->base : "") + formatName(plain, layer, 0) + suffixOf(part);
  bool interleaved = config.isGguf ? config.family->interleavedGguf : config.family->interleaved;
  bool rotated = module == Module::Query || module == Module::Key || module == Module::QueryNorm ||
                 module == Module::KeyNorm;
  if (interleaved && rotated && !config.ropes.empty()) {
    weight.unpermuteRows = config.ropes.front().rotaryDims(config.headDim);
    weight.headRows = weight.unpermuteRows == config.headDim ? 0 : config.headDim;
  }
  return weight;
}

ModelWeights WeightResolver::makeRandom(const ModelConfig &config) {
  ModelWeights weights;
  forEachTensor(config, [&](Module module, Part part, int64_t layer) {
    ModelWeight weight = makeWeight(config, module, part, layer);
    weight.unpermuteRows = weight.headRows = 0;
    weights.weights[{module, part, layer}] = std::move(weight);
  });
  return weights;
}

/// The shape that a file has for a tensor of `shape`, and which rows of it are meant.
static std::vector<int64_t> storedShape(const ModelConfig &config, const ModuleName &name,
                                        Part part, std::vector<int64_t> shape,
                                        std::vector<int64_t> &rows) {
  int64_t ratio = config.heads / config.keyHeads, dim = config.headDim;
  int64_t queries = config.heads * dim, keys = config.keyHeads * dim;
  int64_t groups = config.keyHeads, group = (ratio + 2) * dim;
  // Stacked matrices have each their own halves.
  bool stacked = shape.size() == 3;
  int64_t &extent = stacked ? shape[1] : shape[0];
  int64_t half = extent, count = stacked ? shape[0] : 1;
  auto take = [&](int64_t first, int64_t size, int64_t stride, int64_t number, int64_t total) {
    rows = {first, size, stride, number};
    extent = total;
  };
  switch (name.pick) {
  case Pick::Whole:
    break;
  case Pick::FusedQuery:
    take(0, queries, queries, 1, queries + 2 * keys);
    break;
  case Pick::FusedKey:
    take(queries, keys, keys, 1, queries + 2 * keys);
    break;
  case Pick::FusedValue:
    take(queries + keys, keys, keys, 1, queries + 2 * keys);
    break;
  case Pick::GroupedQuery:
    take(0, ratio * dim, group, groups, groups * group);
    break;
  case Pick::GroupedKey:
    take(ratio * dim, dim, group, groups, groups * group);
    break;
  case Pick::GroupedValue:
    take((ratio + 1) * dim, dim, group, groups, groups * group);
    break;
  case Pick::FirstHalf:
    take(0, half, 2 * half, count, 2 * half);
    break;
  case Pick::SecondHalf:
    take(half, half, 2 * half, count, 2 * half);
    break;
  case Pick::FromFirstPosition:
    if (config.firstPosition > 0)
      take(config.firstPosition, half, half, 1, half + config.firstPosition);
    break;
  }
  if (name.transposed && part == Part::Weight)
    std::swap(shape[0], shape[1]);
  return shape;
}

const rt::StoredTensor *WeightResolver::findStored(StringRef names, Part part, int64_t layer,
                                                   int64_t index) {
  std::string first;
  const rt::StoredTensor *found = nullptr;
  for (StringRef pattern : llvm::split(names, '|')) {
    std::string name = formatName(pattern, layer, index) + suffixOf(part);
    if (first.empty())
      first = name;
    known.insert(name);
    if (!found)
      found = stored.lookup(name);
  }
  if (!found)
    missing.push_back(first);
  return found;
}

void WeightResolver::addTensor(Module module, Part part, int64_t layer) {
  ModelWeight weight = makeWeight(config, module, part, layer);
  const ModuleName *name = findModuleName(config, module);
  if (!name)
    return missing.push_back(weight.name);
  std::string pattern;
  for (StringRef choice : llvm::split(StringRef(name->name), '|'))
    pattern += (pattern.empty() ? "" : "|") + (module < Module::Head ? base : "") + choice.str();

  std::vector<int64_t> shape = weight.shape, rows;
  int64_t count = 1;
  if (StringRef(pattern).contains("{1}")) {
    // One tensor an expert, or a head.
    bool isHead = module == Module::QueryNorm || module == Module::KeyNorm;
    count = isHead ? shape[0] / config.headDim : shape[0];
    if (isHead)
      shape[0] = config.headDim;
    else
      shape.erase(shape.begin());
  }
  std::vector<int64_t> expected = storedShape(config, *name, part, shape, rows);
  for (int64_t index = 0; index < count; ++index) {
    const rt::StoredTensor *tensor = findStored(pattern, part, layer, index);
    if (!tensor)
      continue;
    const std::string &file = checkpoint.files[tensor->file];
    auto product = [](ArrayRef<int64_t> extents) {
      int64_t elements = 1;
      for (int64_t extent : extents)
        elements *= extent;
      return elements;
    };
    // Vectors may be stored as rows: [heads, head_dim], [1, hidden_size].
    bool isVector = expected.size() == 1 || (expected.size() == 2 && expected[0] == 1);
    bool fits = tensor->shape == expected || (isVector && product(tensor->shape) == product(expected));
    if (!fits) {
      std::vector<std::string> reasons;
      for (const Extent &extent : weightShape(config, module))
        reasons.push_back(extent.reason);
      if (part == Part::Bias && reasons.size() > 1)
        reasons.pop_back();
      fail(fmt::format("{}: tensor {} has shape {}, but {} says {}, which needs {}", file,
                       tensor->name, rt::shapeText(tensor->shape), config.file,
                       fmt::join(reasons, " and "), rt::shapeText(expected)));
    }
    if (!rt::isFloatDType(tensor->dtype))
      fail(fmt::format("{}: tensor {} is {}, expected floating-point numbers", file, tensor->name,
                       rt::dtypeName(tensor->dtype)));
    weight.parts.push_back({tensor, expected, name->transposed && part == Part::Weight, rows});
  }
  if (!weight.parts.empty() && count == 1)
    weight.name = config.isGguf ? weight.name : weight.parts.front().stored->name;
  result.weights[{module, part, layer}] = std::move(weight);
}

/// True for tensors that checkpoints hold although no model reads them: saved
/// tables and masks, the head of a model with tied embeddings, and the pooler of encoders.
bool WeightResolver::isIgnored(StringRef name) const {
  if (config.isGguf)
    return false;
  for (StringRef ending : {".rotary_emb.inv_freq", ".attn.bias", ".attn.masked_bias", ".attention.bias",
                           ".attention.masked_bias", ".position_ids"})
    if (name.ends_with(ending))
      return true;
  if (name == "lm_head.weight" || name.starts_with("lm_head.decoder.") ||
      name.starts_with("cls.predictions.decoder."))
    return config.tiedEmbeddings || config.head == HeadKind::Hidden;
  bool head = name.starts_with("cls.") || name.starts_with("lm_head.");
  bool pooler = name.starts_with("pooler.") || name.contains(".pooler.") || name.starts_with("cls.seq_relationship.");
  return config.bidirectional && (pooler || (head && config.head == HeadKind::Hidden));
}

/// The first few of `names`.
static std::string listNames(const std::vector<std::string> &names) {
  std::vector<std::string> shown(names.begin(), names.begin() + std::min<size_t>(names.size(), 3));
  std::string text = fmt::format("{}", fmt::join(shown, ", "));
  if (names.size() > 3)
    text += fmt::format(" and {} more", names.size() - 3);
  return text;
}

Error WeightResolver::checkNames() const {
  std::string where = checkpoint.files.empty() ? config.file : checkpoint.files.front();
  if (checkpoint.files.size() > 1)
    where += fmt::format(" and {} more files", checkpoint.files.size() - 1);
  if (!missing.empty())
    return makeError(fmt::format("{}: tensor{} {} {} missing; {} describes a {} of {} layers that "
                                 "has {}",
                                 where, missing.size() > 1 ? "s" : "", listNames(missing),
                                 missing.size() > 1 ? "are" : "is", config.file,
                                 config.architecture, config.layers,
                                 missing.size() > 1 ? "them" : "it"));
  std::vector<std::string> unexpected;
  for (const rt::StoredTensor &tensor : checkpoint.tensors)
    if (!known.contains(tensor.name) && !isIgnored(tensor.name))
      unexpected.push_back(tensor.name);
  if (unexpected.empty())
    return Error::success();
  return makeError(fmt::format("{}: unexpected tensor{} {}; {} describes a {} of {} layers that "
                               "does not have {}",
                               where, unexpected.size() > 1 ? "s" : "", listNames(unexpected),
                               config.file, config.architecture, config.layers,
                               unexpected.size() > 1 ? "them" : "it"));
}

Expected<ModelWeights> WeightResolver::resolve() {
  forEachTensor(config, [&](Module module, Part part, int64_t layer) {
    addTensor(module, part, layer);
  });
  // What is missing or too much says more than a shape does.
  if (Error error = checkNames())
    return std::move(error);
  if (!problem.empty())
    return makeError(problem);
  return std::move(result);
}

Expected<ModelWeights> ModelWeights::resolve(const ModelConfig &config,
                                             const Checkpoint &checkpoint) {
  return WeightResolver(config, checkpoint).resolve();
}

ModelWeights ModelWeights::random(const ModelConfig &config) {
  return WeightResolver::makeRandom(config);
}

const ModelWeight *ModelWeights::find(Module module, Part part, int64_t layer) const {
  auto found = weights.find({module, part, layer});
  return found == weights.end() ? nullptr : &found->second;
}
