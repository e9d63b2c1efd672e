// RUN: mlsys-opt %s -split-input-file -mlsys-specialize-phases="decode-buckets=2,16" -verify-diagnostics
// RUN: not mlsys-opt %s -split-input-file -mlsys-specialize-phases="decode-buckets=1,0" 2>&1 | FileCheck %s

// CHECK: error: decode bucket 0 is less than 1

// expected-error @below {{has no argument of role token_ids with one symbol as its extent}}
// expected-error @below {{has no argument of role context_length with one symbol as its extent}}
func.func @no_tokens(%ids: tensor<4xi64> {graph.role = "token_ids"}) attributes {graph.phase = "step"} {
  return
}

// -----

// expected-error @below {{takes at most 8 tokens, too few for a decode bucket of 16}}
func.func @too_few_tokens(%ids: tensor<?xi64, #graph.dims<[T]>> {graph.role = "token_ids"}, %context: tensor<?xi32, #graph.dims<[R]>> {graph.role = "context_length"})
    attributes {graph.phase = "step", graph.symbols = [#graph.symbol<"T", min = 1, max = 8, hint = 8>]} {
  return
}

// -----

func.func @prefill() {
  return
}

// expected-error @below {{cannot be specialized: the module already has @prefill}}
func.func @taken(%ids: tensor<?xi64, #graph.dims<[T]>> {graph.role = "token_ids"}, %context: tensor<?xi32, #graph.dims<[R]>> {graph.role = "context_length"})
    attributes {graph.phase = "step"} {
  return
}
