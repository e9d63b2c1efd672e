//===- Phases.cpp - What phases of a step have in common ------------------===//
//
// Part of mlsys, under the Apache License v2.0. See LICENSE.
//
//===----------------------------------------------------------------------===//

#include "Phases.h"

using namespace mlir;
using namespace mlsys;
using namespace mlsys::graph;

std::optional<std::string> mlsys::getRoleSymbol(func::FuncOp step, StringRef role) {
  for (unsigned index = 0; index < step.getNumArguments(); ++index) {
    auto name = step.getArgAttrOfType<StringAttr>(index, roleAttrName);
    auto type = dyn_cast<RankedTensorType>(step.getArgumentTypes()[index]);
    if (name && name.getValue() == role && type && type.getRank() == 1)
      if (std::optional<std::string> symbol = getDim(type, 0).asSymbol())
        return symbol;
  }
  step.emitOpError("has no argument of role ") << role << " with one symbol as its extent";
  return std::nullopt;
}

void mlsys::removeLastTokens(func::FuncOp decode) {
  decode.walk([](LastTokenOp op) {
    op.getResult().replaceAllUsesWith(op.getInput());
    op.erase();
  });
}
