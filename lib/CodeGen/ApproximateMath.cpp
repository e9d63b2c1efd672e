//===- ApproximateMath.cpp - Functions of f32 as polynomials --------------===//
//
// Part of mlsys, under the Apache License v2.0. See LICENSE.
//
//===----------------------------------------------------------------------===//
//
// Minimax polynomials and quotients of polynomials, fitted for relative error, with
// range reductions by fused multiply-adds. The same operations for scalars and
// vectors, so that an element's bits do not depend on where it lies. NaN, infinities,
// zeros and denormals are as the C library has them. docs/Numerics.md states the errors,
// test/device/MathTest.cpp measures them.
//
//===----------------------------------------------------------------------===//

#include "mlsys/CodeGen/Passes.h"

#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/Func/IR/FuncOps.h"
#include "mlir/Dialect/LLVMIR/LLVMDialect.h"
#include "mlir/Dialect/Math/IR/Math.h"
#include "mlir/Dialect/SCF/IR/SCF.h"
#include "mlir/Dialect/Vector/IR/VectorOps.h"
#include "mlir/IR/Matchers.h"
#include "mlir/Transforms/GreedyPatternRewriteDriver.h"
#include "mlir/Transforms/WalkPatternRewriteDriver.h"

#include <bit>
#include <cmath>
#include <limits>

namespace mlsys {
#define GEN_PASS_DEF_APPROXIMATEMATH
#include "mlsys/CodeGen/Passes.h.inc"
} // namespace mlsys

using namespace mlir;
using namespace mlsys;

namespace {
/// Emits arithmetic on f32 and on its bits, for elements or vectors as `real` says.
struct Arithmetic {
  OpBuilder &builder;
  Location loc;
  Type real, integer;
  /// Instructions of AVX-512 may be used.
  bool avx512;
  /// The result is rounded to 16 bits.
  bool rough;

  Arithmetic(OpBuilder &builder, Operation *op, bool avx512)
      : builder(builder), loc(op->getLoc()), real(op->getResult(0).getType()), avx512(avx512),
        rough(op->hasAttr(roughAttrName)) {
    integer = builder.getI32Type();
    if (auto vector = dyn_cast<VectorType>(real))
      integer = vector.clone(integer);
  }

  Value splat(Type type, TypedAttr value) const {
    if (auto vector = dyn_cast<VectorType>(type))
      value = DenseElementsAttr::get(vector, Attribute(value));
    return arith::ConstantOp::create(builder, loc, value);
  }
  Value number(double value) const {
    return splat(real, builder.getF32FloatAttr(static_cast<float>(value)));
  }
  Value bits(int32_t value) const { return splat(integer, builder.getI32IntegerAttr(value)); }

  Value add(Value a, Value b) const { return arith::AddFOp::create(builder, loc, a, b); }
  Value sub(Value a, Value b) const { return arith::SubFOp::create(builder, loc, a, b); }
  Value mul(Value a, Value b) const { return arith::MulFOp::create(builder, loc, a, b); }
  Value fma(Value a, Value b, Value c) const { return math::FmaOp::create(builder, loc, a, b, c); }
  Value select(Value condition, Value a, Value b) const {
    return arith::SelectOp::create(builder, loc, condition, a, b);
  }
  Value less(Value a, Value b) const {
    return arith::CmpFOp::create(builder, loc, arith::CmpFPredicate::OLT, a, b);
  }
  /// These keep a NaN in `x`, and are one instruction each.
  Value atMost(double limit, Value x) const {
    Value bound = number(limit);
    return select(less(bound, x), bound, x);
  }
  Value atLeast(double limit, Value x) const {
    Value bound = number(limit);
    return select(less(x, bound), bound, x);
  }
  Value toBits(Value x) const { return arith::BitcastOp::create(builder, loc, integer, x); }
  Value toReal(Value x) const { return arith::BitcastOp::create(builder, loc, real, x); }
  Value addBits(Value a, Value b) const { return arith::AddIOp::create(builder, loc, a, b); }
  Value subBits(Value a, Value b) const { return arith::SubIOp::create(builder, loc, a, b); }
  Value andBits(Value a, Value b) const { return arith::AndIOp::create(builder, loc, a, b); }
  Value shiftLeft(Value a, int32_t count) const {
    return arith::ShLIOp::create(builder, loc, a, bits(count));
  }
  Value shiftRight(Value a, int32_t count) const {
    return arith::ShRSIOp::create(builder, loc, a, bits(count));
  }

  /// coefficients[0] + coefficients[1] * x + ...
  Value polynomial(Value x, ArrayRef<double> coefficients) const {
    Value sum = number(coefficients.back());
    for (double coefficient : llvm::reverse(coefficients.drop_back()))
      sum = fma(sum, x, number(coefficient));
    return sum;
  }
  /// `x` rounded to an integer, as a float and as bits. |x| < 2^22.
  std::pair<Value, Value> round(Value x, Value factor) const {
    // Adding 1.5 * 2^23 leaves the integer in the low bits.
    Value magic = number(12582912.0);
    Value shifted = fma(x, factor, magic);
    return {sub(shifted, magic),
            subBits(toBits(shifted), bits(std::bit_cast<int32_t>(12582912.0f)))};
  }
  /// Whether vectors are made of whole registers of AVX-512.
  bool hasWideVectors() const {
    auto vector = dyn_cast<VectorType>(real);
    return avx512 && vector && vector.getRank() == 1 && vector.getDimSize(0) % lanes == 0;
  }
  static constexpr int64_t lanes = 16;
  /// An intrinsic on each register of vectors. `call` gives its operands for those of a register.
  Value onRegisters(StringRef name, ArrayRef<Value> vectors,
                    llvm::function_ref<SmallVector<Value>(ArrayRef<Value>)> operands) const {
    auto type = VectorType::get({lanes}, builder.getF32Type());
    int64_t count = cast<VectorType>(real).getDimSize(0);
    auto call = [&](ArrayRef<Value> parts) -> Value {
      return LLVM::CallIntrinsicOp::create(builder, loc, type, builder.getStringAttr(name), operands(parts))
          .getResult(0);
    };
    if (count == lanes)
      return call(vectors);
    Value result = number(0);
    for (int64_t first = 0; first < count; first += lanes) {
      SmallVector<Value> parts;
      for (Value vector : vectors)
        parts.push_back(vector::ExtractStridedSliceOp::create(
            builder, loc, vector, ArrayRef<int64_t>{first}, ArrayRef<int64_t>{lanes}, ArrayRef<int64_t>{1}));
      result = vector::InsertStridedSliceOp::create(builder, loc, call(parts), result,
                                                    ArrayRef<int64_t>{first}, ArrayRef<int64_t>{1});
    }
    return result;
  }
  /// All lanes, and the rounding of the control register, as masked intrinsics want them.
  Value allLanes() const { return arith::ConstantOp::create(builder, loc, builder.getI16IntegerAttr(-1)); }
  Value currentRounding() const {
    return arith::ConstantOp::create(builder, loc, builder.getI32IntegerAttr(4));
  }
  /// x * 2^n, rounded once; `n` is an integer in [-152, 128], given both ways.
  Value scale(Value x, Value n, Value bitsOfN) const {
    // (x86vector.avx512.mask.scalef gives its operands to the intrinsic in another order than its
    // description says.)
    if (hasWideVectors())
      return onRegisters("llvm.x86.avx512.mask.scalef.ps.512", {x, n}, [&](ArrayRef<Value> parts) {
        return SmallVector<Value>{parts[0], parts[1], parts[0], allLanes(), currentRounding()};
      });
    Value half = shiftRight(bitsOfN, 1), rest = subBits(bitsOfN, half), bias = bits(127);
    Value first = toReal(shiftLeft(addBits(half, bias), 23));
    Value second = toReal(shiftLeft(addBits(rest, bias), 23));
    return mul(mul(x, first), second);
  }

  Value exp(Value x) const;
  Value roughExp(Value x) const;
  Value log(Value x) const;
  Value tanh(Value x) const;
  Value erf(Value x) const;
  Value wave(Value x, bool cosine) const;
};
} // namespace

/// 2^n * e^r with |r| <= ln(2) / 2.
Value Arithmetic::exp(Value x) const {
  if (rough)
    return roughExp(x);
  // Beyond, the result is infinite or zero.
  x = atLeast(-105, atMost(89, x));
  auto [n, bitsOfN] = round(x, number(1.44269504088896341));
  Value r = fma(n, number(-0.693147182464599609), x);
  r = fma(n, number(1.90465429995776776e-9), r);
  return scale(polynomial(r, {1, 1, 0.49999994039535522, 0.1666652113199234, 0.04166838899254799,
                              0.008368716575205326, 0.0013814597623422742}),
               n, bitsOfN);
}

/// 2^t with t = x / ln(2), which is not exact: for a softmax whose results have 16 bits. Of a difference
/// x - m the term in m is rounded by itself: that is an equal factor for all of a row. In registers of AVX-512
/// nothing needs limits.
Value Arithmetic::roughExp(Value x) const {
  constexpr double log2OfE = 1.44269504088896341;
  Value t;
  if (auto difference = x.getDefiningOp<arith::SubFOp>())
    t = fma(difference.getLhs(), number(log2OfE),
            arith::NegFOp::create(builder, loc, mul(difference.getRhs(), number(log2OfE))));
  else
    t = mul(x, number(log2OfE));
  auto power = [&](Value fraction) {
    return polynomial(fraction, {1.0000026226043701, 0.6930038332939148, 0.2414427548646927, 0.052011460065841675, 0.013534167781472206});
  };
  if (hasWideVectors()) {
    // What t is above the integer below it, of infinities nothing; the exponent is rounded down as well.
    Value down = arith::ConstantOp::create(builder, loc, builder.getI32IntegerAttr(9));
    Value fraction = onRegisters("llvm.x86.avx512.mask.reduce.ps.512", {t}, [&](ArrayRef<Value> parts) {
      return SmallVector<Value>{parts[0], down, parts[0], allLanes(), currentRounding()};
    });
    return scale(power(fraction), t, Value());
  }
  t = atLeast(-152, atMost(129, t));
  auto [nearest, bitsOfNearest] = round(t, number(1));
  Value above = less(t, nearest);
  Value n = select(above, sub(nearest, number(1)), nearest);
  Value bitsOfN = select(above, subBits(bitsOfNearest, bits(1)), bitsOfNearest);
  return scale(power(sub(t, n)), n, bitsOfN);
}

/// e * ln(2) + log(1 + f) with 1 + f in [sqrt(1/2), sqrt(2)).
Value Arithmetic::log(Value x) const {
  Value zero = number(0), infinity = number(std::numeric_limits<double>::infinity());
  // Denormals become normal first.
  Value tiny = less(x, number(std::numeric_limits<float>::min()));
  Value word = toBits(select(tiny, mul(x, number(8388608.0)), x));
  Value start = bits(std::bit_cast<int32_t>(0.70710678f));
  Value offset = subBits(word, start);
  Value exponent = addBits(shiftRight(offset, 23), select(tiny, bits(-23), bits(0)));
  Value fraction = toReal(addBits(andBits(offset, bits(0x7fffff)), start));
  Value e = arith::SIToFPOp::create(builder, loc, real, exponent);
  Value f = sub(fraction, number(1)), square = mul(f, f);
  Value p = polynomial(f, {0.3333333134651184, -0.2500081956386566, 0.20001226663589478,
                           -0.16623356938362122, 0.14201758801937103, -0.13160187005996704,
                           0.12761567533016205, -0.07634474337100983});
  // f - f^2 / 2 + f^3 p, the smallest terms first; ln(2) in two parts, the first exact times e.
  Value low = fma(e, number(-2.12194440054690583e-4), mul(mul(p, f), square));
  low = fma(square, number(-0.5), low);
  Value result = fma(e, number(0.693359375), add(f, low));
  result = select(less(x, infinity), result, x);
  Value isZero = arith::CmpFOp::create(builder, loc, arith::CmpFPredicate::OEQ, x, zero);
  result = select(isZero, number(-std::numeric_limits<double>::infinity()), result);
  return select(less(x, zero), number(std::numeric_limits<double>::quiet_NaN()), result);
}

/// x * P(x^2) / Q(x^2); the clamped argument gives 1.
Value Arithmetic::tanh(Value x) const {
  x = atLeast(-9.02, atMost(9.02, x));
  Value square = mul(x, x);
  Value p = polynomial(square, {1.0, 0.13379715383052826, 0.0034940310288220644,
                                2.0583429432008415e-05, 1.3319009006806937e-08});
  Value q = polynomial(square, {1.0, 0.46713030338287354, 0.02587105892598629,
                                0.0003283087571617216, 7.761992151245067e-07});
  return arith::DivFOp::create(builder, loc, mul(x, p), q);
}

/// The same form.
Value Arithmetic::erf(Value x) const {
  x = atLeast(-3.925, atMost(3.925, x));
  Value square = mul(x, x);
  Value p = polynomial(square, {1.1283791065216064, 0.19059495627880096, 0.05276946350932121,
                                0.0037726035807281733, 0.0002848450094461441, 2.0460217911022482e-06});
  Value q = polynomial(square, {1.0, 0.5022431015968323, 0.1141832247376442, 0.014983303844928741,
                                0.0011638712603598833, 3.8047794078011066e-05});
  return arith::DivFOp::create(builder, loc, mul(x, p), q);
}

/// The sine or cosine of x - n pi/2, n the nearest integer. |x| < 65536.
Value Arithmetic::wave(Value x, bool cosine) const {
  auto [n, quadrant] = round(x, number(0.636619772367581343));
  // pi/2 in three parts.
  Value r = fma(n, number(-1.57079625129699707), x);
  r = fma(n, number(-7.54978941586159635e-8), r);
  r = fma(n, number(-5.39030252995776476e-15), r);
  Value square = mul(r, r);
  Value sine = fma(mul(polynomial(square, {-0.1666666716337204, 0.008333329111337662,
                                           -0.0001983930851565674, 2.7180840334040113e-06}),
                       square),
                   r, r);
  Value cosineOfR = polynomial(square, {1.0, -0.5, 0.0416666679084301, -0.0013888883404433727,
                                        2.479945578670595e-05, -2.7205399533158925e-07});
  if (cosine)
    quadrant = addBits(quadrant, bits(1));
  Value odd = arith::CmpIOp::create(builder, loc, arith::CmpIPredicate::ne,
                                    andBits(quadrant, bits(1)), bits(0));
  Value result = select(odd, cosineOfR, sine);
  // Quadrants 2 and 3 change the sign.
  Value sign = shiftLeft(andBits(quadrant, bits(2)), 30);
  return toReal(arith::XOrIOp::create(builder, loc, toBits(result), sign));
}

/// Says of an operation that the C library computes it.
static constexpr StringLiteral libraryAttrName = "mlsys.library";

namespace {
bool isF32(Value value) { return getElementTypeOrSelf(value.getType()).isF32(); }

template <typename Op> struct Approximate : OpRewritePattern<Op> {
  using Function = Value (Arithmetic::*)(Value) const;
  Approximate(MLIRContext *context, Function function, bool avx512)
      : OpRewritePattern<Op>(context), function(function), avx512(avx512) {}

  LogicalResult matchAndRewrite(Op op, PatternRewriter &rewriter) const override {
    if (!isF32(op.getResult()))
      return failure();
    rewriter.replaceOp(op, (Arithmetic(rewriter, op, avx512).*function)(op.getOperand()));
    return success();
  }

  Function function;
  bool avx512;
};

/// Sine and cosine; where any element is far from zero the C library is called.
template <typename Op> struct ApproximateWave : OpRewritePattern<Op> {
  using OpRewritePattern<Op>::OpRewritePattern;

  LogicalResult matchAndRewrite(Op op, PatternRewriter &rewriter) const override {
    auto vector = dyn_cast<VectorType>(op.getType());
    if (!isF32(op.getResult()) || op->hasAttr(libraryAttrName) || (vector && vector.getRank() != 1))
      return failure();
    Arithmetic arithmetic(rewriter, op, false);
    Location loc = op.getLoc();
    Value x = op.getOperand(), far = arithmetic.less(arithmetic.number(65536),
                                                     math::AbsFOp::create(rewriter, loc, x));
    if (vector)
      far = vector::ReductionOp::create(rewriter, loc, vector::CombiningKind::OR, far);
    auto branch = scf::IfOp::create(rewriter, loc, op.getType(), far, /*withElseRegion=*/true);
    OpBuilder::InsertionGuard guard(rewriter);
    rewriter.setInsertionPointToStart(branch.thenBlock());
    auto library = Op::create(rewriter, loc, x);
    library->setAttr(libraryAttrName, rewriter.getUnitAttr());
    scf::YieldOp::create(rewriter, loc, library.getResult());
    rewriter.setInsertionPointToStart(branch.elseBlock());
    scf::YieldOp::create(rewriter, loc, arithmetic.wave(x, std::is_same_v<Op, math::CosOp>));
    rewriter.replaceOp(op, branch);
    return success();
  }
};

/// The constant factor or summand of an operation and its other operand.
template <typename Op> std::optional<std::pair<double, Value>> splitConstant(Value value) {
  auto op = value.getDefiningOp<Op>();
  if (!op)
    return std::nullopt;
  for (auto [constant, other] : {std::pair(op.getLhs(), op.getRhs()), std::pair(op.getRhs(), op.getLhs())}) {
    llvm::APFloat number(0.0f);
    auto splat = constant.template getDefiningOp<vector::BroadcastOp>();
    if (matchPattern(splat ? splat.getSource() : constant, m_ConstantFloat(&number)))
      return std::pair(number.convertToDouble(), other);
  }
  return std::nullopt;
}

/// The operand of an operation that multiplies with, or adds, about `constant`; null when it does not.
template <typename Op> Value behindConstant(Value value, double constant) {
  auto split = splitConstant<Op>(value);
  return split && std::abs(split->first - constant) < 1e-6 ? split->second : Value();
}

/// Whether `value` is x + 0.044715 x^3.
bool isCubic(Value value, Value x) {
  auto sum = value.getDefiningOp<arith::AddFOp>();
  if (!sum || (sum.getLhs() != x && sum.getRhs() != x))
    return false;
  Value cube = behindConstant<arith::MulFOp>(sum.getLhs() == x ? sum.getRhs() : sum.getLhs(), 0.044715);
  auto outer = cube ? cube.getDefiningOp<arith::MulFOp>() : arith::MulFOp();
  if (!outer || (outer.getLhs() != x && outer.getRhs() != x))
    return false;
  auto inner = (outer.getLhs() == x ? outer.getRhs() : outer.getLhs()).getDefiningOp<arith::MulFOp>();
  return inner && inner.getLhs() == x && inner.getRhs() == x;
}

/// What GELU multiplies its argument with, as polynomials on intervals: the normal distribution's
/// function or its approximation by a tanh.
class GeluTable {
public:
  static constexpr int maxDegree = 4, intervals = 32;
  /// The width of an interval; they are around its multiples by -16 to 15.
  static constexpr float step = 0.35f;

  GeluTable(bool tanh, int degree);
  int degree;
  /// Coefficients of a power by multiples modulo 32.
  float coefficients[maxDegree + 1][intervals];
};

GeluTable::GeluTable(bool tanh, int degree) : degree(degree) {
  auto exact = [&](double x) {
    double cubic = std::sqrt(2 / M_PI) * (x + 0.044715 * x * x * x);
    return tanh ? 1 / (1 + std::exp(-2 * cubic)) : 0.5 * std::erfc(-x * std::sqrt(0.5));
  };
  for (int multiple = -intervals / 2; multiple < intervals / 2; ++multiple) {
    // Newton's form through the zeros of a Chebyshev polynomial, then powers.
    double nodes[maxDegree + 1], differences[maxDegree + 1], powers[maxDegree + 1] = {};
    for (int i = 0; i <= degree; ++i) {
      nodes[i] = double(step) / 2 * std::cos(M_PI * (i + 0.5) / (degree + 1));
      differences[i] = exact(multiple * double(step) + nodes[i]);
    }
    for (int order = 1; order <= degree; ++order)
      for (int i = degree; i >= order; --i)
        differences[i] = (differences[i] - differences[i - 1]) / (nodes[i] - nodes[i - order]);
    for (int i = degree; i >= 0; --i) {
      for (int power = degree; power > 0; --power)
        powers[power] = powers[power - 1] - nodes[i] * powers[power];
      powers[0] = differences[i] - nodes[i] * powers[0];
    }
    // From there on down the result is zero.
    bool zero = multiple == -intervals / 2;
    for (int power = 0; power <= degree; ++power)
      coefficients[power][multiple & (intervals - 1)] = zero ? 0.0f : static_cast<float>(powers[power]);
  }
}

/// GELU of whole registers: x/2 (1 + erf(x / sqrt(2))), or with a tanh. The coefficients of an element's interval
/// come out of two registers each; of one fewer where the result is rounded to 16 bits.
struct TabulateGelu : OpRewritePattern<arith::MulFOp> {
  using OpRewritePattern::OpRewritePattern;

  LogicalResult matchAndRewrite(arith::MulFOp op, PatternRewriter &rewriter) const override {
    auto type = dyn_cast<VectorType>(op.getType());
    if (!type || !type.getElementType().isF32() || !Arithmetic(rewriter, op, true).hasWideVectors())
      return failure();
    for (auto [half, sum] : {std::pair(op.getLhs(), op.getRhs()), std::pair(op.getRhs(), op.getLhs())}) {
      Value x = behindConstant<arith::MulFOp>(half, 0.5), inner = behindConstant<arith::AddFOp>(sum, 1);
      if (!x || !inner)
        continue;
      auto erf = inner.getDefiningOp<math::ErfOp>();
      auto tanh = inner.getDefiningOp<math::TanhOp>();
      if (erf && behindConstant<arith::MulFOp>(erf.getOperand(), std::sqrt(0.5)) == x) {
        rewriter.replaceOp(op, emit(op, x, false, rewriter));
        return success();
      }
      Value cubic = tanh ? behindConstant<arith::MulFOp>(tanh.getOperand(), std::sqrt(2 / M_PI)) : Value();
      if (cubic && isCubic(cubic, x)) {
        rewriter.replaceOp(op, emit(op, x, true, rewriter));
        return success();
      }
    }
    return failure();
  }

  static Value emit(arith::MulFOp op, Value x, bool tanh, PatternRewriter &rewriter) {
    static const GeluTable exact[] = {{false, 4}, {true, 4}}, rough[] = {{false, 3}, {true, 3}};
    bool rounded = llvm::all_of(op->getUsers(), [](Operation *user) { return isa<arith::TruncFOp>(user); });
    const GeluTable &table = (rounded ? rough : exact)[tanh];
    Arithmetic arithmetic(rewriter, op, true);
    Location loc = op.getLoc();
    // The last interval on either side takes what is beyond.
    double step = GeluTable::step;
    Value near = arithmetic.atLeast(-16.25 * step, arithmetic.atMost(15.49 * step, x));
    auto [n, index] = arithmetic.round(near, arithmetic.number(1 / step));
    Value r = arithmetic.fma(n, arithmetic.number(-step), near);
    auto type = VectorType::get({Arithmetic::lanes}, rewriter.getF32Type());
    Value sum;
    for (int power = table.degree; power >= 0; --power) {
      const float *row = table.coefficients[power];
      auto half = [&](const float *values) -> Value {
        return arith::ConstantOp::create(rewriter, loc,
                                         DenseElementsAttr::get(type, ArrayRef(values, Arithmetic::lanes)));
      };
      Value coefficient =
          arithmetic.onRegisters("llvm.x86.avx512.vpermi2var.ps.512", {index}, [&](ArrayRef<Value> parts) {
            return SmallVector<Value>{half(row), parts[0], half(row + Arithmetic::lanes)};
          });
      sum = sum ? arithmetic.fma(sum, r, coefficient) : coefficient;
    }
    return arithmetic.mul(x, sum);
  }
};

/// Of two numbers, with NaN if either is. The first comparison and selection are one instruction, the
/// others do not wait for it.
template <typename Op, arith::CmpFPredicate predicate> struct SelectExtreme : OpRewritePattern<Op> {
  using OpRewritePattern<Op>::OpRewritePattern;

  LogicalResult matchAndRewrite(Op op, PatternRewriter &rewriter) const override {
    if (!isF32(op.getResult()))
      return failure();
    Location loc = op.getLoc();
    Value lhs = op.getLhs(), rhs = op.getRhs();
    Value better = arith::CmpFOp::create(rewriter, loc, predicate, lhs, rhs);
    Value extreme = arith::SelectOp::create(rewriter, loc, better, lhs, rhs);
    Value isNan = arith::CmpFOp::create(rewriter, loc, arith::CmpFPredicate::UNO, lhs, lhs);
    rewriter.replaceOpWithNewOp<arith::SelectOp>(op, isNan, lhs, extreme);
    return success();
  }
};

struct ApproximateMath : mlsys::impl::ApproximateMathBase<ApproximateMath> {
  using ApproximateMathBase::ApproximateMathBase;

  void runOnOperation() override {
    MLIRContext *context = &getContext();
    if (avx512) {
      // Found by functions that are replaced next.
      RewritePatternSet patterns(context);
      patterns.add<TabulateGelu>(context);
      walkAndApplyPatterns(getOperation(), std::move(patterns));
    }
    RewritePatternSet patterns(context);
    patterns.add<Approximate<math::ExpOp>>(context, &Arithmetic::exp, avx512);
    patterns.add<Approximate<math::LogOp>>(context, &Arithmetic::log, avx512);
    patterns.add<Approximate<math::TanhOp>>(context, &Arithmetic::tanh, avx512);
    patterns.add<Approximate<math::ErfOp>>(context, &Arithmetic::erf, avx512);
    patterns.add<ApproximateWave<math::SinOp>, ApproximateWave<math::CosOp>>(context);
    patterns.add<SelectExtreme<arith::MaximumFOp, arith::CmpFPredicate::OGT>,
                 SelectExtreme<arith::MinimumFOp, arith::CmpFPredicate::OLT>>(context);
    if (failed(applyPatternsGreedily(getOperation(), std::move(patterns))))
      signalPassFailure();
  }
};
} // namespace
