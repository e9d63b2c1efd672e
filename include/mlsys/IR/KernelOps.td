//===- KernelOps.td - The kernel dialect -------------------*- tablegen -*-===//
//
// Part of mlsys, under the Apache License v2.0. See LICENSE.
//
//===----------------------------------------------------------------------===//
//
// How a model is computed: kernels, their launches and their buffers.
//
//===----------------------------------------------------------------------===//

#ifndef MLSYS_IR_KERNELOPS_TD
#define MLSYS_IR_KERNELOPS_TD

include "mlir/IR/AttrTypeBase.td"
include "mlir/IR/BuiltinAttributes.td"
include "mlir/IR/EnumAttr.td"
include "mlir/IR/OpBase.td"
include "mlir/IR/SymbolInterfaces.td"
include "mlir/Interfaces/CallInterfaces.td"
include "mlir/Interfaces/FunctionInterfaces.td"
include "mlir/Interfaces/SideEffectInterfaces.td"
include "mlsys/IR/GraphTypes.td"

def Kernel_Dialect : Dialect {
  let name = "kernel";
  let cppNamespace = "::mlsys::kernel";
  let summary = "Kernels, launches and static buffers";
  let description = [{
    Every buffer is flat: `memref<?xT>`, the elements in row-major order of the
    extents that `dims` names. Extents of a launch (its grid, symbol arguments,
    byte and flop counts) are affine maps over the symbols of the enclosing
    function, in the order of its `graph.symbols`.
  }];
  let dependentDialects = ["::mlir::memref::MemRefDialect", "::mlsys::graph::GraphDialect"];
}

class Kernel_Op<string mnemonic, list<Trait> traits = []>
    : Op<Kernel_Dialect, mnemonic, traits>;

def Kernel_FuncOp : Kernel_Op<"func", [AffineScope, AutomaticAllocationScope,
    FunctionOpInterface, IsolatedFromAbove]> {
  let summary = "A kernel";
  let description = [{
    Arguments are the buffers (`memref<?xT>`), then the symbols (`index`). A CPU
    kernel has three more: the scratch memory of its worker (`memref<?xi8>`,
    `scratch_bytes` long, aligned to 64) and the range of tasks that it
    does (`index`, `index`). `target` is "cpu" or "cuda", `kind` is that of the fusion.

    ```mlir
    kernel.func @loop_0(%x: memref<?xf32>, %y: memref<?xf32>, %T: index,
                        %scratch: memref<?xi8>, %begin: index, %end: index)
        attributes {target = "cpu", kind = "loop", scratch_bytes = 0 : i64} { ... kernel.return }
    ```
  }];
  let arguments = (ins SymbolNameAttr:$sym_name, TypeAttrOf<FunctionType>:$function_type,
                       StrAttr:$target, StrAttr:$kind,
                       DefaultValuedAttr<I64Attr, "0">:$scratch_bytes,
                       OptionalAttr<DictArrayAttr>:$arg_attrs,
                       OptionalAttr<DictArrayAttr>:$res_attrs);
  let regions = (region AnyRegion:$body);
  let hasCustomAssemblyFormat = 1;
  let extraClassDeclaration = [{
    /// What FunctionOpInterface asks for.
    mlir::ArrayRef<mlir::Type> getArgumentTypes() { return getFunctionType().getInputs(); }
    mlir::ArrayRef<mlir::Type> getResultTypes() { return getFunctionType().getResults(); }
    mlir::Region *getCallableRegion() { return &getBody(); }

    /// The number of leading buffer arguments and of the symbol arguments after them.
    unsigned getNumBuffers();
    unsigned getNumSymbols();
    bool isCpu() { return getTarget() == "cpu"; }
  }];
  let hasVerifier = 1;
}

def Kernel_ReturnOp : Kernel_Op<"return", [Pure, Terminator, HasParent<"FuncOp">]> {
  let summary = "The end of a kernel";
  let description = "Ends a `kernel.func`, which has no results.";
  let assemblyFormat = "attr-dict";
}

def Kernel_FlatBuffer : MemRefRankOf<[AnyType], [1]>;

def Kernel_AllocOp : Kernel_Op<"alloc", [MemoryEffects<[MemAlloc]>]> {
  let summary = "A temporary buffer";
  let description = [{
    `-mlsys-plan-memory` gives it the slot of the arena that it shares with
    buffers whose lives do not overlap.

    ```mlir
    %b = kernel.alloc memref<?xf32> dims #graph.dims<[T, 64]> slot 2
    ```
  }];
  let arguments = (ins Graph_DimsAttr:$dims, OptionalAttr<I64Attr>:$slot);
  let results = (outs Kernel_FlatBuffer:$result);
  let assemblyFormat = "type($result) `dims` $dims (`slot` $slot^)? attr-dict";
}

def Kernel_ConstantOp : Kernel_Op<"constant", [Pure]> {
  let summary = "A buffer of constant elements, in the layout that kernels read";
  let description = [{
    Either `source` (a weight file) or `value` (elements in row-major order). `block` and `pair` not 0
    mean the layout Panels of Program.fbs: [N, K] stored as [N/block][K/pair][block][pair], and
    [E, N, K] as E such matrices.
    Equal constants become one in the program.

    ```mlir
    %w = kernel.constant "model.norm.weight" from #graph.weight_source<...>
      shape [64] : memref<?xf32>
    ```
  }];
  let arguments = (ins StrAttr:$name, OptionalAttr<Graph_WeightSources>:$source,
                       OptionalAttr<ElementsAttr>:$value, DenseI64ArrayAttr:$shape,
                       DefaultValuedAttr<I64Attr, "0">:$block,
                       DefaultValuedAttr<I64Attr, "0">:$pair);
  let results = (outs Kernel_FlatBuffer:$result);
  let assemblyFormat = [{
    $name (`from` $source^)? (`value` $value^)? `shape` $shape (`panels` $block^ `x` $pair)? attr-dict `:` type($result)
  }];
  let hasVerifier = 1;
}

def Kernel_ViewOp : Kernel_Op<"view", [Pure]> {
  let summary = "A buffer from a byte offset on";
  let description = [{
    ```mlir
    %l = kernel.view %cache[98304] : memref<?xi8> to memref<?xbf16>
    ```
  }];
  let arguments = (ins Kernel_FlatBuffer:$source, I64Attr:$offset);
  let results = (outs Kernel_FlatBuffer:$result);
  let assemblyFormat = "$source `[` $offset `]` attr-dict `:` type($source) `to` type($result)";
}

def Kernel_LaunchOp : Kernel_Op<"launch", [DeclareOpInterfaceMethods<SymbolUserOpInterface>]> {
  let summary = "Runs a kernel";
  let description = [{
    `writes` says which of the buffers the kernel writes (by position); the others it only reads.
    `grid` has one result (CPU: the number of tasks) or three (CUDA: blocks in x, y, z); `symbols`
    gives the kernel's symbol arguments. `bytes` and `flops` are estimates for `mlsys inspect`.
    `shared_bytes` is the kernel's dynamic shared memory; with `shared` a launch takes that many of them.
    With `max_blocks` the grid's first extent is at most that (a kernel whose blocks walk over tiles).
    `tensor_maps` are the kernel's tensor maps: the position of its buffer, how many dimensions it has, and the
    extents of a tile for each; `tensor_extents` has the extents of each, then its strides. Dimension 0, whose
    elements are neighbours, has no stride. The last dimension of a map of the KV cache counts pages: its extent
    here is 1, the runtime knows how many there are.

    ```mlir
    kernel.launch @loop_0(%x, %y) writes [1] grid affine_map<()[s0] -> (s0)>
      symbols affine_map<()[s0] -> (s0)> {label = "add"} : memref<?xf32>, memref<?xf32>
    ```
  }];
  let arguments = (ins FlatSymbolRefAttr:$kernel, Variadic<Kernel_FlatBuffer>:$buffers,
                       DenseI64ArrayAttr:$writes, AffineMapAttr:$grid, AffineMapAttr:$symbols,
                       OptionalAttr<DenseI32ArrayAttr>:$block,
                       DefaultValuedAttr<I64Attr, "0">:$shared_bytes,
                       UnitAttr:$dynamic, DefaultValuedAttr<I64Attr, "1">:$grain,
                       OptionalAttr<AffineMapAttr>:$bytes, OptionalAttr<AffineMapAttr>:$flops,
                       OptionalAttr<StrAttr>:$label,
                       DefaultValuedAttr<I64Attr, "0">:$max_blocks,
                       OptionalAttr<DenseI64ArrayAttr>:$tensor_maps,
                       OptionalAttr<AffineMapAttr>:$tensor_extents, OptionalAttr<AffineMapAttr>:$shared);
  let assemblyFormat = [{
    $kernel `(` $buffers `)` `writes` $writes `grid` $grid `symbols` $symbols
    (`block` $block^)? attr-dict `:` type($buffers)
  }];
  let hasVerifier = 1;
}

//===----------------------------------------------------------------------===//
// CUDA
//===----------------------------------------------------------------------===//

def Kernel_BlockIdOp : Kernel_Op<"block_id", [Pure]> {
  let summary = "The block's position in the grid along a dimension";
  let description = [{
    ```mlir
    %b = kernel.block_id 0
    ```
  }];
  let arguments = (ins ConfinedAttr<I32Attr, [IntNonNegative, IntMaxValue<2>]>:$dim);
  let results = (outs Index:$result);
  let assemblyFormat = "$dim attr-dict";
}

def Kernel_ThreadIdOp : Kernel_Op<"thread_id", [Pure]> {
  let summary = "The thread's position in its block";
  let description = [{
    ```mlir
    %t = kernel.thread_id
    ```
  }];
  let results = (outs Index:$result);
  let assemblyFormat = "attr-dict";
}

def Kernel_BarrierOp : Kernel_Op<"barrier"> {
  let summary = "Waits for all threads of the block";
  let description = [{
    ```mlir
    kernel.barrier
    ```
  }];
  let assemblyFormat = "attr-dict";
}

def Kernel_GridWaitOp : Kernel_Op<"grid_wait"> {
  let summary = "Waits for the kernels before this one";
  let description = [{
    A GPU may start a kernel before the one ahead of it has ended. Until it has waited, a kernel
    reads constants only, and writes nothing. Every thread waits, if only before its end: the
    kernel after it relies on this one's wait.

    ```mlir
    kernel.grid_wait
    ```
  }];
  let assemblyFormat = "attr-dict";
}

def Kernel_GridLaunchOp : Kernel_Op<"grid_launch"> {
  let summary = "Lets the kernel after this one start";
  let description = [{
    That one's blocks start where there is room once all blocks of this one have called, and wait for
    its end at their `kernel.grid_wait`.

    ```mlir
    kernel.grid_launch
    ```
  }];
  let assemblyFormat = "attr-dict";
}

def Kernel_SharedOp : Kernel_Op<"shared", [Pure]> {
  let summary = "A part of the block's dynamic shared memory";
  let description = [{
    `offset` is in bytes from its start.

    ```mlir
    %s = kernel.shared 1024 : memref<16xf32>
    ```
  }];
  let arguments = (ins I64Attr:$offset);
  let results = (outs Kernel_FlatBuffer:$result);
  let assemblyFormat = "$offset attr-dict `:` type($result)";
}

def Kernel_ReduceOp : Kernel_Op<"reduce", [AllTypesMatch<["value", "result"]>]> {
  let summary = "Folds one value of each thread of a warp or block";
  let description = [{
    Every thread gets the result; the order depends on the number of threads alone.

    ```mlir
    %s = kernel.reduce sum block %x : f32
    ```
  }];
  let arguments = (ins Graph_ReduceKindAttr:$kind, UnitAttr:$block, AnyType:$value);
  let results = (outs AnyType:$result);
  let assemblyFormat = "$kind (`block` $block^)? $value attr-dict `:` type($result)";
}

def Kernel_ContractOp : Kernel_Op<"contract", [SingleBlock, NoTerminator, AttrSizedOperandSegments]> {
  let summary = "One tile of sibling matrix products, by a template of the device library";
  let description = [{
    A[m, k] * W[n, k]^T for each weight W. `method` and `config` name a template of runtime/device
    with its constants: matmul [BM, BN, BK, stages, warpsM, warpsN], gemv [rows, BN, warps,
    chunk], gemv_mma [rows, tiles at once, tiles, warps, unroll, and
    bytes of shared memory before the staged rows, when not 0], matmul_int8 [BM, BN, warpsM, warpsN, unsigned], whose sums are i32. A is the row-major buffer
    `lhs`, or what the prologue computes for (%m, %k) as f32 (gemv_mma: or as a vector of it and the
    elements after it). What stands in `prepare` (gemv_mma only) runs when the first weights are under
    way: it waits for the kernels before and computes what the prologue reads. The epilogue's arguments are the tile's first row and column and its numbers of rows and
    columns inside the matrix; it reads sums with `kernel.tile_load`. With `rows`, row m is
    row `rows[m] / rows_per_left` of `lhs`; with `offset`, the weights begin at that element; with
    `half` (gemv_mma only), unless it is 0, the second half of the tile's columns lies that much further on than the first.

    ```mlir
    kernel.contract "gemv" [1, 16, 8, 1024] weights(%w : memref<?xbf16>) lhs(%x : memref<?xbf16>)
      shape(%m, %n, %k) at(%row0, %col0) prologue { } epilogue { ... }
    ```
  }];
  let arguments = (ins StrAttr:$method, DenseI32ArrayAttr:$config,
                       Variadic<Kernel_FlatBuffer>:$weights, Optional<Kernel_FlatBuffer>:$lhs,
                       Optional<Kernel_FlatBuffer>:$rows,
                       DefaultValuedAttr<I64Attr, "1">:$rows_per_left, Optional<Index>:$offset,
                       Optional<Index>:$half, Index:$m, Index:$n, Index:$k, Index:$row0, Index:$col0);
  let regions = (region MaxSizedRegion<1>:$prepare, MaxSizedRegion<1>:$prologue,
                        SizedRegion<1>:$epilogue);
  let assemblyFormat = [{
    $method $config `weights` `(` $weights `:` type($weights) `)` (`lhs` `(` $lhs^ `:` type($lhs) `)`)?
    (`rows` `(` $rows^ `:` type($rows) `)`)? (`offset` `(` $offset^ `)`)?
    (`half` `(` $half^ `)`)? `shape` `(` $m `,` $n `,` $k `)` `at` `(` $row0 `,` $col0 `)` attr-dict-with-keyword
    (`prepare` $prepare^)? `prologue` $prologue `epilogue` $epilogue
  }];
  let hasVerifier = 1;
  let hasRegionVerifier = 1;
}

def Kernel_WgmmaOp : Kernel_Op<"wgmma", [SingleBlock, NoTerminator]> {
  let summary = "Matrix products that share a left side, by matmul_wgmma.cuh";
  let description = [{
    The blocks of the launch walk over the tiles of all groups. A group is P weights of the same
    shape, [columns, k], and the epilogue of their products, as of `kernel.contract`; the epilogue is
    run by the 128 threads of a warpgroup. The kernel's tensor maps are the left side, then the weights of each
    group. `config` is that of WgmmaConfig [P, BN, stages, columns of a sub-tile, parts, pair] or, when `swapped`, of
    SwappedConfig [P, columns, rows, stages, parts]; parts of K (1) and whether two blocks share weights (0) may be left
    out. A kernel whose blocks run in clusters has the attribute `kernel.cluster`.

    ```mlir
    kernel.wgmma [1, 256, 4, 32] : bf16 shape(%m, %k) columns [4096] epilogues {
    ^bb0(%row0: index, %col0: index, %rows: index, %cols: index):
      ...
    }
    ```
  }];
  let arguments = (ins UnitAttr:$swapped, DenseI32ArrayAttr:$config, TypeAttr:$element, Index:$m, Index:$k,
                       DenseI64ArrayAttr:$columns);
  let regions = (region VariadicRegion<SizedRegion<1>>:$epilogues);
  let assemblyFormat = [{
    (`swapped` $swapped^)? $config `:` $element `shape` `(` $m `,` $k `)` `columns` $columns
    attr-dict-with-keyword `epilogues` $epilogues
  }];
  let hasVerifier = 1;
  let hasRegionVerifier = 1;
}

def Kernel_FetchRowsOp : Kernel_Op<"fetch_rows"> {
  let summary = "Brings the first rows of a buffer to shared memory";
  let description = [{
    `rows` rows of `columns` elements, which lie `stride` elements apart there. All threads of the block
    take part, and see all of it afterwards.

    ```mlir
    kernel.fetch_rows %x [%rows, %columns] into %shared stride 4128 : memref<?xbf16>, memref<4128xbf16>
    ```
  }];
  let arguments = (ins Kernel_FlatBuffer:$source, Index:$rows, Index:$columns, Kernel_FlatBuffer:$shared,
                       I64Attr:$stride);
  let assemblyFormat = [{
    $source `[` $rows `,` $columns `]` `into` $shared `stride` $stride attr-dict
    `:` type($source) `,` type($shared)
  }];
}

def Kernel_CollectRowsOp : Kernel_Op<"collect_rows"> {
  let summary = "Lists rows that chose an expert";
  let description = [{
    Of the rows r below `rows` with `experts[r] == expert`, in order, those with the numbers `skip` and
    following go into `list`, as many as it has room for. Gives how many such rows there are. All
    threads of the block take part.

    ```mlir
    %total = kernel.collect_rows %experts [%rows] expert %e skip %s into %list
      : memref<?xi32>, memref<64xi32>
    ```
  }];
  let arguments = (ins Kernel_FlatBuffer:$experts, Index:$rows, Index:$expert, Index:$skip,
                       Kernel_FlatBuffer:$list);
  let results = (outs Index:$total);
  let assemblyFormat = [{
    $experts `[` $rows `]` `expert` $expert `skip` $skip `into` $list attr-dict
    `:` type($experts) `,` type($list)
  }];
  let hasVerifier = 1;
}

def Kernel_TileLoadOp : Kernel_Op<"tile_load", [Pure]> {
  let summary = "Sums of the tile of the enclosing product";
  let description = [{
    `product` counts the weights of a `kernel.contract`, or of a group of a `kernel.wgmma`. A vector reads consecutive columns.

    ```mlir
    %v = kernel.tile_load 0 [%m, %n] : vector<4xf32>
    ```
  }];
  let arguments = (ins I64Attr:$product, Index:$m, Index:$n);
  let results = (outs AnyType:$result);
  let assemblyFormat = "$product `[` $m `,` $n `]` attr-dict `:` type($result)";
  let hasVerifier = 1;
}

def Kernel_YieldOp : Kernel_Op<"yield", [Pure, Terminator, HasParent<"ContractOp">]> {
  let summary = "The elements that a prologue computes";
  let description = "Ends the prologue of a `kernel.contract`.";
  let arguments = (ins AnyTypeOf<[F32, VectorOfRankAndType<[1], [F32]>]>:$value);
  let assemblyFormat = "$value attr-dict `:` type($value)";
}

def Kernel_AttentionOp : Kernel_Op<"attention", [AttrSizedOperandSegments]> {
  let summary = "Attention by a template of the device library";
  let description = [{
    `method` is prefill, decode (one query a request) or plain (no cache; `key` and
    `value` are tensors, and `extents` are the sequence lengths of query and key). For the paged
    ones `key` is the layer's part of the pages, `value` is absent, `metadata` is query start,
    context length and block table (decode: without query start), `extents` is the number
    of pages of a row of the block table. `heads_per_block` query heads share a decode block; what it
    computes for a part of the keys goes to `parts`, for a `kernel.attention_join`, unless there is only one.
    `window`, `softcap` and `slopes` are those of `graph.attention`; keys and values may have another
    float type than the query. With `wgmma` prefill or plain attention is computed by the template for
    Hopper; the kernel's tensor maps are the pages, or key and value, and prefill has the number of requests as
    second of the `extents`.

    ```mlir
    kernel.attention "decode" query(%q : memref<?xf32>) key(%c : memref<?xf32>)
      metadata(%cl, %bt : memref<?xi32>, memref<?xi32>) extents(%p) result(%o : memref<?xf32>)
      {heads = 9, kv_heads = 3, head_dim = 64, ...}
    ```
  }];
  let arguments = (ins StrAttr:$method, Kernel_FlatBuffer:$query, Kernel_FlatBuffer:$key,
                       Optional<Kernel_FlatBuffer>:$value, Variadic<Kernel_FlatBuffer>:$metadata,
                       Variadic<Index>:$extents, Kernel_FlatBuffer:$result,
                       Optional<Kernel_FlatBuffer>:$parts, I64Attr:$heads, I64Attr:$kv_heads, I64Attr:$head_dim, I64Attr:$page_size,
                       I64Attr:$page_stride, I64Attr:$heads_per_block, F32Attr:$scale,
                       UnitAttr:$causal, OptionalAttr<I64Attr>:$window, OptionalAttr<F32Attr>:$softcap,
                       OptionalAttr<DenseF32ArrayAttr>:$slopes, UnitAttr:$wgmma);
  let assemblyFormat = [{
    $method `query` `(` $query `:` type($query) `)` `key` `(` $key `:` type($key) `)`
    (`value` `(` $value^ `:` type($value) `)`)? (`metadata` `(` $metadata^ `:` type($metadata) `)`)?
    `extents` `(` $extents `)` `result` `(` $result `:` type($result) `)`
    (`parts` `(` $parts^ `:` type($parts) `)`)? attr-dict
  }];
  let hasVerifier = 1;
}

def Kernel_AttentionJoinOp : Kernel_Op<"attention_join"> {
  let summary = "Joins the parts of decode attention, by a template of the device library";
  let description = [{
    `context_length` counts the keys of each request, of which `part_keys` are a part; there is room
    for `splits` parts of each request. A request with one part has its result already. A block
    does a head (blockIdx.x) of a request (blockIdx.y).

    ```mlir
    kernel.attention_join %parts, %cl splits(%s) result(%o)
      {heads = 9, head_dim = 64, part_keys = 256} : memref<?xf32>, memref<?xi32>, memref<?xbf16>
    ```
  }];
  let arguments = (ins Kernel_FlatBuffer:$parts, Kernel_FlatBuffer:$context_length, Index:$splits,
                       Kernel_FlatBuffer:$result, I64Attr:$heads, I64Attr:$head_dim, I64Attr:$part_keys,
                       OptionalAttr<I64Attr>:$window);
  let assemblyFormat = [{
    $parts `,` $context_length `splits` `(` $splits `)` `result` `(` $result `)` attr-dict
    `:` type($parts) `,` type($context_length) `,` type($result)
  }];
}

#endif // MLSYS_IR_KERNELOPS_TD
