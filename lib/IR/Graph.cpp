//===- Graph.cpp - The graph dialect --------------------------------------===//
//
// Part of mlsys, under the Apache License v2.0. See LICENSE.
//
//===----------------------------------------------------------------------===//

#include "mlsys/IR/Graph.h"

#include "mlir/IR/AttrTypeSubElements.h"
#include "mlir/IR/DialectImplementation.h"
#include "llvm/ADT/StringSet.h"
#include "llvm/ADT/TypeSwitch.h"

using namespace mlir;
using namespace mlsys::graph;

#include "mlsys/IR/GraphDialect.cpp.inc"
#include "mlsys/IR/GraphEnums.cpp.inc"
#define GET_ATTRDEF_CLASSES
#include "mlsys/IR/GraphAttributes.cpp.inc"
#define GET_TYPEDEF_CLASSES
#include "mlsys/IR/GraphTypes.cpp.inc"
#define GET_OP_CLASSES
#include "mlsys/IR/GraphOps.cpp.inc"

void GraphDialect::initialize() {
  addAttributes<
#define GET_ATTRDEF_LIST
#include "mlsys/IR/GraphAttributes.cpp.inc"
      >();
  addTypes<
#define GET_TYPEDEF_LIST
#include "mlsys/IR/GraphTypes.cpp.inc"
      >();
  addOperations<
#define GET_OP_LIST
#include "mlsys/IR/GraphOps.cpp.inc"
      >();
}

Operation *GraphDialect::materializeConstant(OpBuilder &builder, Attribute value, Type type,
                                             Location loc) {
  auto elements = dyn_cast<ElementsAttr>(value);
  if (!elements || elements.getType() != type)
    return nullptr;
  return ConstantOp::create(builder, loc, elements);
}

//===----------------------------------------------------------------------===//
// #graph.dims
//===----------------------------------------------------------------------===//

Attribute DimsAttr::parse(AsmParser &parser, Type) {
  SmallVector<StringAttr> dims;
  MLIRContext *context = parser.getContext();
  auto parseDim = [&]() -> ParseResult {
    std::string text;
    StringRef name;
    int64_t value;
    SMLoc loc = parser.getCurrentLocation();
    OptionalParseResult integer = parser.parseOptionalInteger(value);
    if (integer.has_value()) {
      if (failed(*integer))
        return failure();
      text = std::to_string(value);
    } else if (succeeded(parser.parseOptionalKeyword(&name))) {
      text = name.str();
    } else if (failed(parser.parseOptionalString(&text))) {
      return parser.emitError(loc, "expected an integer, a symbol or a string");
    }
    std::optional<DimExpr> dim = DimExpr::parse(text);
    if (!dim)
      return parser.emitError(loc, "'") << text << "' is not a sum of products of symbols";
    dims.push_back(StringAttr::get(context, dim->str()));
    return success();
  };
  if (parser.parseLess() ||
      parser.parseCommaSeparatedList(AsmParser::Delimiter::Square, parseDim) ||
      parser.parseGreater())
    return {};
  return DimsAttr::get(context, dims);
}

void DimsAttr::print(AsmPrinter &printer) const {
  printer << "<[";
  llvm::interleaveComma(getDims(), printer, [&](StringAttr dim) {
    DimExpr expr = *DimExpr::parse(dim.getValue());
    if (expr.asConstant() || expr.asSymbol())
      printer << dim.getValue();
    else
      printer << '"' << dim.getValue() << '"';
  });
  printer << "]>";
}

LogicalResult DimsAttr::verifyEncoding(ArrayRef<int64_t> shape, Type elementType,
                                       function_ref<InFlightDiagnostic()> emitError) const {
  if (getDims().size() != shape.size())
    return emitError() << "#graph.dims has " << getDims().size() << " entries but the tensor has "
                       << shape.size() << " dimensions";
  for (auto [index, dim, extent] : llvm::enumerate(getDims(), shape)) {
    std::optional<int64_t> value = DimExpr::parse(dim.getValue())->asConstant();
    if (ShapedType::isDynamic(extent) ? value.has_value() : value != extent)
      return emitError() << "#graph.dims entry " << index << " is " << dim.getValue()
                         << " but the tensor's extent is "
                         << (ShapedType::isDynamic(extent) ? "?" : std::to_string(extent));
  }
  return success();
}

//===----------------------------------------------------------------------===//
// #graph.symbol and the attributes of functions and modules
//===----------------------------------------------------------------------===//

int64_t WeightSourceAttr::countTakenRows() const {
  ArrayRef<int64_t> shape = getShape(), taken = getRows();
  int64_t rows = shape.empty() ? 1 : shape.front();
  for (size_t dim = 1; dim + 1 < shape.size(); ++dim)
    if (llvm::MulOverflow(rows, shape[dim], rows))
      return -1;
  if (getTransposed()) {
    if (shape.size() != 2)
      return -1;
    rows = shape.back();
  }
  if (taken.empty())
    return rows;
  if (taken.size() != 4)
    return -1;
  int64_t first = taken[0], group = taken[1], stride = taken[2], groups = taken[3];
  bool valid = first >= 0 && group >= 1 && groups >= 1 && stride >= group && group <= rows &&
               first <= rows - group &&
               (groups == 1 || stride <= (rows - group - first) / (groups - 1));
  return valid ? groups * group : -1;
}

SmallVector<WeightSourceAttr> mlsys::graph::getWeightParts(Attribute source) {
  if (auto stack = dyn_cast<WeightStackAttr>(source))
    return llvm::to_vector(stack.getParts());
  return {cast<WeightSourceAttr>(source)};
}

LogicalResult SymbolAttr::verify(function_ref<InFlightDiagnostic()> emitError, StringRef name,
                                 int64_t min, int64_t max, int64_t hint) {
  std::optional<DimExpr> dim = DimExpr::parse(name);
  if (!dim || dim->asSymbol() != name.str())
    return emitError() << "'" << name << "' cannot be the name of a symbol";
  if (min < 0 || max < -1 || hint < min || (max >= 0 && hint > max))
    return emitError() << "symbol '" << name << "' cannot have the hint " << hint << " and the range "
                       << min << " to " << max;
  return success();
}

static LogicalResult verifySymbolList(Operation *op, Attribute value) {
  auto list = dyn_cast<ArrayAttr>(value);
  if (!list || !llvm::all_of(list, llvm::IsaPred<SymbolAttr>))
    return op->emitOpError() << symbolsAttrName << " is not an array of #graph.symbol";
  llvm::StringSet<> names;
  for (auto symbol : list.getAsRange<SymbolAttr>())
    if (!names.insert(symbol.getName()).second)
      return op->emitOpError() << symbolsAttrName << " lists '" << symbol.getName() << "' twice";
  return success();
}

LogicalResult GraphDialect::verifyOperationAttribute(Operation *op, NamedAttribute attribute) {
  StringRef name = attribute.getName();
  Attribute value = attribute.getValue();
  if (name == symbolsAttrName)
    return verifySymbolList(op, value);
  if (name == weightFilesAttrName) {
    auto list = dyn_cast<ArrayAttr>(value);
    if (!list || !llvm::all_of(list, llvm::IsaPred<StringAttr>))
      return op->emitOpError() << weightFilesAttrName << " is not an array of strings";
  }
  if (name == phaseAttrName && !isa<StringAttr>(value))
    return op->emitOpError() << phaseAttrName << " is not a string";
  if (name == bucketAttrName && !isa<IntegerAttr>(value))
    return op->emitOpError() << bucketAttrName << " is not an integer";
  return success();
}

/// What arguments and results of functions carry.
static LogicalResult verifyPort(Operation *op, NamedAttribute attribute) {
  StringRef name = attribute.getName();
  if ((name == roleAttrName || name == nameAttrName) && !isa<StringAttr>(attribute.getValue()))
    return op->emitOpError() << name << " is not a string";
  return success();
}

LogicalResult GraphDialect::verifyRegionArgAttribute(Operation *op, unsigned, unsigned,
                                                     NamedAttribute attribute) {
  return verifyPort(op, attribute);
}

LogicalResult GraphDialect::verifyRegionResultAttribute(Operation *op, unsigned, unsigned,
                                                        NamedAttribute attribute) {
  return verifyPort(op, attribute);
}

//===----------------------------------------------------------------------===//
// !graph.kv_cache, !graph.kv_layer
//===----------------------------------------------------------------------===//

static LogicalResult verifyCacheType(function_ref<InFlightDiagnostic()> emitError,
                                     ArrayRef<int64_t> extents, Type elementType) {
  for (int64_t extent : extents)
    if (extent < 1)
      return emitError() << "a KV cache needs at least 1 layer, head, dim and token a page";
  if (!isa<FloatType>(elementType))
    return emitError() << "a KV cache holds floats, not " << elementType;
  return success();
}

LogicalResult KvCacheType::verify(function_ref<InFlightDiagnostic()> emitError, int64_t layers,
                                  int64_t heads, int64_t headDim, int64_t pageSize,
                                  Type elementType) {
  return verifyCacheType(emitError, {layers, heads, headDim, pageSize}, elementType);
}

LogicalResult KvLayerType::verify(function_ref<InFlightDiagnostic()> emitError, int64_t layers,
                                  int64_t heads, int64_t headDim, int64_t pageSize,
                                  Type elementType) {
  return verifyCacheType(emitError, {layers, heads, headDim, pageSize}, elementType);
}

//===----------------------------------------------------------------------===//
// Extents and symbols
//===----------------------------------------------------------------------===//

SmallVector<DimExpr> mlsys::graph::getDims(RankedTensorType type) {
  SmallVector<DimExpr> dims;
  for (int64_t index = 0; index < type.getRank(); ++index)
    dims.push_back(getDim(type, index));
  return dims;
}

DimExpr mlsys::graph::getDim(RankedTensorType type, int64_t index) {
  if (!type.isDynamicDim(index))
    return DimExpr::constant(type.getDimSize(index));
  if (auto dims = dyn_cast_or_null<DimsAttr>(type.getEncoding()))
    return *DimExpr::parse(dims.getDims()[index].getValue());
  return DimExpr::symbol("_");
}

RankedTensorType mlsys::graph::getTensorType(ArrayRef<DimExpr> dims, Type elementType) {
  SmallVector<int64_t> shape;
  SmallVector<StringAttr> names;
  bool dynamic = false;
  for (const DimExpr &dim : dims) {
    std::optional<int64_t> value = dim.asConstant();
    shape.push_back(value ? *value : ShapedType::kDynamic);
    names.push_back(StringAttr::get(elementType.getContext(), dim.str()));
    dynamic |= !value;
  }
  return RankedTensorType::get(shape, elementType,
                               dynamic ? DimsAttr::get(elementType.getContext(), names)
                                       : DimsAttr());
}

RankedTensorType mlsys::graph::withElementType(RankedTensorType type, Type elementType) {
  return RankedTensorType::get(type.getShape(), elementType, type.getEncoding());
}

bool mlsys::graph::mayEqual(const DimExpr &lhs, const DimExpr &rhs) {
  auto isUnnamed = [](const DimExpr &dim) { return llvm::is_contained(dim.symbols(), "_"); };
  return lhs == rhs || isUnnamed(lhs) || isUnnamed(rhs);
}

bool mlsys::graph::mayEqual(ArrayRef<DimExpr> lhs, ArrayRef<DimExpr> rhs) {
  return llvm::equal(lhs, rhs,
                     [](const DimExpr &l, const DimExpr &r) { return mayEqual(l, r); });
}

DimExpr mlsys::graph::getNumElements(RankedTensorType type) {
  DimExpr count = DimExpr::constant(1);
  for (const DimExpr &dim : getDims(type))
    count = count * dim;
  return count;
}

SmallVector<SymbolAttr> mlsys::graph::getSymbols(func::FuncOp function) {
  SmallVector<SymbolAttr> symbols;
  if (auto list = function->getAttrOfType<ArrayAttr>(symbolsAttrName))
    for (Attribute entry : list)
      if (auto symbol = dyn_cast<SymbolAttr>(entry))
        symbols.push_back(symbol);
  return symbols;
}

SymbolAttr mlsys::graph::getSymbol(func::FuncOp function, StringRef name) {
  for (SymbolAttr symbol : getSymbols(function))
    if (symbol.getName() == name)
      return symbol;
  return {};
}

void mlsys::graph::substituteSymbols(func::FuncOp function,
                                     llvm::function_ref<std::optional<DimExpr>(StringRef)> replacement) {
  AttrTypeReplacer replacer;
  replacer.addReplacement([&](RankedTensorType type) -> std::optional<Type> {
    SmallVector<DimExpr> dims;
    for (const DimExpr &dim : getDims(type))
      dims.push_back(dim.substitute(replacement));
    if (llvm::equal(dims, getDims(type)))
      return type;
    return getTensorType(dims, type.getElementType());
  });
  replacer.recursivelyReplaceElementsIn(function, /*replaceAttrs=*/true, /*replaceLocs=*/false,
                                        /*replaceTypes=*/true);
  SmallVector<Attribute> symbols;
  for (SymbolAttr symbol : getSymbols(function))
    if (!replacement(symbol.getName()))
      symbols.push_back(symbol);
  function->setAttr(symbolsAttrName, ArrayAttr::get(function.getContext(), symbols));
}

int64_t mlsys::graph::evaluateAtHints(const DimExpr &expr, Operation *op) {
  auto function = dyn_cast<func::FuncOp>(op);
  if (!function)
    function = op->getParentOfType<func::FuncOp>();
  return expr.evaluate([&](StringRef name) -> int64_t {
    SymbolAttr symbol = function ? getSymbol(function, name) : SymbolAttr();
    return symbol ? symbol.getHint() : 128;
  });
}

bool mlsys::graph::isElementwise(Operation *op) {
  return op->getDialect() && op->getName().getDialectNamespace() == "graph" &&
         op->hasTrait<OpTrait::Elementwise>();
}

int64_t mlsys::graph::getElementBits(Type elementType) {
  return std::max<int64_t>(8, elementType.getIntOrFloatBitWidth());
}
