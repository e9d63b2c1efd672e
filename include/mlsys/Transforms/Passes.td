//===- Passes.td - The passes of lib/Transforms -----------*- tablegen -*-===//
//
// Part of mlsys, under the Apache License v2.0. See LICENSE.
//
//===----------------------------------------------------------------------===//

#ifndef MLSYS_TRANSFORMS_PASSES_TD
#define MLSYS_TRANSFORMS_PASSES_TD

include "mlir/Pass/PassBase.td"

def Decompose : Pass<"mlsys-decompose", "::mlir::ModuleOp"> {
  let summary = "Rewrite composite operations into primitives";
  let description = [{
    `graph.embedding` becomes `graph.gather`, `graph.linear` a `graph.dot` and a bias,
    `graph.rms_norm`, `graph.rope`, `graph.silu` and `graph.softmax` elementwise
    operations, reductions and data movement, in f32 where the composite says so.
    `graph.top_k` becomes k rounds of a maximum and of the first place where it is. Reductions are
    over the last dimension afterwards: a short one elsewhere is cut into slices, others are
    transposed. The cosines and sines of a rotary embedding are made once a position, not once a head.

    ```mlir
    %y = graph.silu %x : tensor<4xf32>
    // becomes
    %s = graph.sigmoid %x : tensor<4xf32>
    %y = graph.mul %x, %s : tensor<4xf32>
    ```
  }];
  let dependentDialects = ["::mlsys::graph::GraphDialect"];
}

def InferShapes : Pass<"mlsys-infer-shapes", "::mlir::ModuleOp"> {
  let summary = "Name the extents of results after those of operands";
  let description = [{
    Goes through each function in order and gives every result the extents that its
    operation makes of its operands' extents: an extent without a name gets one, or
    becomes a number. Extents that contradict each other are an error at the operation.

    ```mlir
    // %x is tensor<?x64xf32, #graph.dims<[T, 64]>>
    %y = graph.linear %x, %w : (...) -> tensor<?x128xf32>
    // becomes
    %y = graph.linear %x, %w : (...) -> tensor<?x128xf32, #graph.dims<[T, 128]>>
    ```
  }];
  let dependentDialects = ["::mlsys::graph::GraphDialect"];
}

def DeriveCache : Pass<"mlsys-derive-cache", "::mlir::ModuleOp"> {
  let summary = "Derive a step over a paged KV cache from a plain model";
  let description = [{
    For a function with `graph.phase = "plain"` that maps token ids [B, S] to logits
    [B, S, V] and mixes positions of the sequence in `graph.attention` only, adds
    the function `@step` (phase "step"): T tokens of R requests to the R logits of each
    request's last token, or to T logits when the result of the plain function has the attribute
    `graph.per_token`. Its arguments are

    | role | type |
    |---|---|
    | token_ids | [T] i64 |
    | positions | [T] i32 |
    | slots | [T] i64: where each token's key and value go |
    | query_start | [R + 1] i32: each request's first token |
    | context_length | [R] i32: cached tokens of each request, the new ones included |
    | block_table | [R, P] i32: the pages of each request |
    | kv_cache | `!graph.kv_cache` |
    | token_types | [T] i64, when the plain function has an argument of that role |

    Every value is classified by its dataflow. A token-invariant value has neither B nor S
    among its extents and is kept; a value per token has S once and B at most once, and gets
    T in place of S and no B; anything else mixes. The index along S becomes the
    positions; attention becomes `cache_layer`, two `cache_write` and `paged_attention`. What
    only reaches the result after the last attention is computed for the last
    tokens alone, behind `graph.last_token`.

    Attention is causal everywhere or nowhere. Where it is not, the model is an encoder: the step
    has the attribute `graph.bidirectional`, takes all tokens of a request at once, and its
    attentions share a cache of one layer, which each of them fills before it reads it. When
    every attention has a window, `graph.window` is the largest.

    When something else mixes, a warning (a remark when the function has no causal
    attention at all) names the operation, and the function stays as it is.
  }];
  let dependentDialects = ["::mlsys::graph::GraphDialect"];
  let options = [
    Option<"pageSize", "page-size", "int64_t", "64", "Tokens of a page of the cache">,
    Option<"prefillChunk", "prefill-chunk", "int64_t", "512", "Largest number of tokens of a step">,
    Option<"kvType", "kv-type", "std::string", "\"auto\"",
           "Element type of the cache: f32, bf16, f16 or auto (that of the model's keys)">,
  ];
}

def SpecializePhases : Pass<"mlsys-specialize-phases", "::mlir::ModuleOp"> {
  let summary = "Make the decode and prefill functions from a step";
  let description = [{
    A phase is a binding of symbols. The function of phase "step" is replaced by
    `@decode_N` for every bucket N (T = R = N, one token a request, so the last token of a
    request is its only one) and by `@prefill` (T and R stay free). `graph.bucket` holds N.
    Symbols that are bound leave the types and `graph.symbols`.
  }];
  let dependentDialects = ["::mlsys::graph::GraphDialect"];
  let options = [
    ListOption<"decodeBuckets", "decode-buckets", "int64_t",
               "Numbers of requests that decode functions are made for (default: 1,2,4,8)">,
  ];
}

def JoinDecode : Pass<"mlsys-join-decode", "::mlir::ModuleOp"> {
  let summary = "Make one function of the decode functions with few requests";
  let description = [{
    For targets whose products cost the same for 1 to `rows` rows. Where all weights of products have 16
    bits, the functions `@decode_N` with N <= `rows` become one, named after the largest: it is
    `@prefill` with T = R and 1 <= R <= N. `graph.bucket` holds this N.
  }];
  let dependentDialects = ["::mlsys::graph::GraphDialect"];
  let options = [
    Option<"rows", "rows", "int64_t", "8", "Buckets up to this one are joined">,
  ];
}

def VerifyStage : Pass<"mlsys-verify-stage", "::mlir::ModuleOp"> {
  let summary = "Check that a stage has left nothing that later stages cannot take";
  let description = [{
    | after stage | refused |
    |---|---|
    | import | extents without a name, symbols that the function does not list, fusions, cache operations, kernels |
    | decompose | also composites |
    | cache | extents without a name, unlisted symbols, composites, fusions, kernels; functions of phase "step"; `graph.attention` outside plain functions |
    | fuse | as cache, with fusions; graph operations outside a fusion other than weight, constant and cache_layer |
    | kernel | every graph operation |

    Each error names the operation, where it comes from and what was expected.
  }];
  let dependentDialects = ["::mlsys::graph::GraphDialect"];
  let options = [
    Option<"stage", "stage", "std::string", "\"\"",
           "The stage that has just ended: import, decompose, cache, fuse or kernel">,
  ];
}

def Fuse : Pass<"mlsys-fuse", "::mlir::func::FuncOp"> {
  let summary = "Group operations into fusions, one kernel each";
  let description = [{
    Takes a function of primitive operations and leaves `graph.fusion`,
    `graph.weight`, `graph.constant` and `graph.cache_layer`. Dots with the same
    left side become one kernel first; then edges between producers and consumers are merged in
    the order of the time that each saves, by a roofline of the target with the
    symbols at their hints. Operations that are cheap to compute again are
    duplicated into each reader. FusionAnalysis.h says which bodies are legal.

    Each refusal is a remark of the category `fusion` with its reason:
    `--remark-format=emitRemark --remarks-filter=fusion`.
  }];
  let options = [
    Option<"target", "target", "std::string", "\"cpu\"", "Machine of the cost model: cpu or cuda">
  ];
  let statistics = [
    Statistic<"numMerged", "merged", "Number of merged groups">,
    Statistic<"numDuplicated", "duplicated", "Number of duplicated producers">
  ];
  let dependentDialects = ["::mlsys::graph::GraphDialect"];
}

#endif // MLSYS_TRANSFORMS_PASSES_TD
