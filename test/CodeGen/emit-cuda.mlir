// RUN: mlsys-translate --to-cuda %s | FileCheck %s
//
// One statement an operation. Every kernel of a module is printed.

// Buffers, symbols, the block size of the launch; indices are divided without a subroutine.
// CHECK-LABEL: // scalars
// CHECK-NEXT:  #include "mlsys/types.cuh"
// CHECK-NEXT:  #include "mlsys/math.cuh"
// CHECK-EMPTY:
// CHECK-NEXT:  extern "C" __global__ void __launch_bounds__(64, 1) scalars(f32 *a0, bf16 *a1, i64 *a2, b1 *a3, long long s4) {
// CHECK-NEXT:    const auto v0 = (i64)8;
// CHECK-NEXT:    const auto v1 = float_from_bits(1065353216u);
// CHECK-NEXT:    const auto v2 = (i64)block_x();
// CHECK-NEXT:    const auto v3 = (i64)block_y();
// CHECK-NEXT:    const auto v4 = (i64)block_z();
// CHECK-NEXT:    const auto v5 = (i64)thread_x();
// CHECK-NEXT:    const auto v6 = (i64)((u64)v5 / (u64)v0);
// CHECK-NEXT:    const auto v7 = (i64)((u64)v5 % (u64)v0);
// CHECK-NEXT:    const auto v8 = index_div(v5, s4);
// CHECK-NEXT:    const auto v9 = index_mod(v5, s4);
// CHECK-NEXT:    const auto v10 = a0[v6];
// CHECK-NEXT:    const auto v11 = a1[v7];
// CHECK-NEXT:    const auto v12 = convert<f32>(v11);
// CHECK-NEXT:    const auto v13 = v10 + v12;
// CHECK-NEXT:    const auto v14 = v13 - v1;
// CHECK-NEXT:    const auto v15 = divide(v13, v14);
// CHECK-NEXT:    const auto v16 = -v15;
// CHECK-NEXT:    const auto v17 = exp(v16);
// CHECK-NEXT:    const auto v18 = fma(v16, v17, v1);
// CHECK-NEXT:    const auto v19 = v18 < v17;
// CHECK-NEXT:    const auto v20 = select(v19, v17, v18);
// CHECK-NEXT:    const auto v21 = convert<bf16>(v20);
// CHECK-NEXT:    a1[v8] = v21;
// CHECK-NEXT:    a3[v9] = v19;
// CHECK-NEXT:  }
kernel.func @scalars(%x: memref<?xf32>, %y: memref<?xbf16>, %i: memref<?xi64>, %c: memref<?xi1>, %n: index) attributes {kind = "loop", target = "cuda"} {
  %c8 = arith.constant 8 : index
  %one = arith.constant 1.0 : f32
  %b0 = kernel.block_id 0
  %b1 = kernel.block_id 1
  %b2 = kernel.block_id 2
  %t = kernel.thread_id
  %0 = arith.divui %t, %c8 : index
  %1 = arith.remui %t, %c8 : index
  %2 = arith.divui %t, %n : index
  %3 = arith.remui %t, %n : index
  %4 = memref.load %x[%0] : memref<?xf32>
  %5 = memref.load %y[%1] : memref<?xbf16>
  %6 = arith.extf %5 : bf16 to f32
  %7 = arith.addf %4, %6 : f32
  %8 = arith.subf %7, %one : f32
  %9 = arith.divf %7, %8 : f32
  %10 = arith.negf %9 : f32
  %11 = math.exp %10 : f32
  %12 = math.fma %10, %11, %one : f32
  %13 = arith.cmpf olt, %12, %11 : f32
  %14 = arith.select %13, %11, %12 : f32
  %15 = arith.truncf %14 : f32 to bf16
  memref.store %15, %y[%2] : memref<?xbf16>
  memref.store %13, %c[%3] : memref<?xi1>
  kernel.return
}

func.func @launches(%x: memref<?xf32>, %y: memref<?xbf16>, %i: memref<?xi64>, %c: memref<?xi1>) {
  kernel.launch @scalars(%x, %y, %i, %c) writes [1, 3] grid affine_map<() -> (1, 1, 1)> symbols affine_map<() -> (8)> block [64, 1, 1]
    : memref<?xf32>, memref<?xbf16>, memref<?xi64>, memref<?xi1>
  return
}

// Constants by their bits: nothing is lost. Without a launch, a block has 256 threads.
// CHECK-LABEL: void __launch_bounds__(256, 1) constants(
// CHECK-NEXT:    const auto v{{[0-9]+}} = float_from_bits(2143289344u);
// CHECK-NEXT:    const auto v{{[0-9]+}} = float_from_bits(4286578688u);
// CHECK-NEXT:    const auto v{{[0-9]+}} = float_from_bits(1036831949u);
// CHECK-NEXT:    const auto v{{[0-9]+}} = (i64)-5;
// CHECK-NEXT:    const auto v{{[0-9]+}} = (i64)(-9223372036854775807 - 1);
// CHECK-NEXT:    const auto v{{[0-9]+}} = true;
// CHECK-NEXT:    const auto v{{[0-9]+}} = vec<f32, 2>{{[{][{]}}float_from_bits(1065353216u), float_from_bits(1073741824u)}};
// CHECK-NEXT:    const auto v{{[0-9]+}} = vec<i32, 2>{{[{][{]}}(i32)7, (i32)7}};
kernel.func @constants(%x: memref<?xf32>) attributes {kind = "loop", target = "cuda"} {
  %0 = arith.constant 0x7FC00000 : f32
  %1 = arith.constant 0xFF800000 : f32
  %2 = arith.constant 0.1 : f32
  %3 = arith.constant -5 : i64
  %min = arith.constant -9223372036854775808 : i64
  %4 = arith.constant true
  %5 = arith.constant dense<[1.0, 2.0]> : vector<2xf32>
  %6 = arith.constant dense<7> : vector<2xi32>
  kernel.return
}

// Vectors: aligned loads and stores, lanes, conversions of all lanes at once.
// CHECK-LABEL: vectors(
// CHECK:         const auto [[L:v[0-9]+]] = load<4>(a0 + v0);
// CHECK-NEXT:    const auto [[F:v[0-9]+]] = convert<f32>([[L]]);
// CHECK-NEXT:    const auto [[E:v[0-9]+]] = [[F]][2];
// CHECK-NEXT:    const auto [[B:v[0-9]+]] = broadcast<4>([[E]]);
// CHECK-NEXT:    const auto [[M:v[0-9]+]] = maximumf([[F]], [[B]]);
// CHECK-NEXT:    const auto [[R:v[0-9]+]] = convert<f16>([[M]]);
// CHECK-NEXT:    store<4>(a0 + v0, [[R]]);
// CHECK-NEXT:    const auto [[T:v[0-9]+]] = a1[v0];
// CHECK-NEXT:    const auto {{v[0-9]+}} = vec<b1, 2>{{[{][{]}}[[T]], [[T]]}};
// CHECK-NEXT:    const auto [[BYTE:v[0-9]+]] = a2[v0];
// CHECK-NEXT:    const auto {{v[0-9]+}} = convert<i8>([[BYTE]] + [[BYTE]]);
kernel.func @vectors(%x: memref<?xf16>, %c: memref<?xi1>, %b: memref<?xi8>) attributes {kind = "loop", target = "cuda"} {
  %i = arith.constant 16 : index
  %0 = vector.load %x[%i] : memref<?xf16>, vector<4xf16>
  %1 = arith.extf %0 : vector<4xf16> to vector<4xf32>
  %2 = vector.extract %1[2] : f32 from vector<4xf32>
  %3 = vector.broadcast %2 : f32 to vector<4xf32>
  %4 = arith.maximumf %1, %3 : vector<4xf32>
  %5 = arith.truncf %4 : vector<4xf32> to vector<4xf16>
  vector.store %5, %x[%i] : memref<?xf16>, vector<4xf16>
  %6 = memref.load %c[%i] : memref<?xi1>
  %7 = vector.from_elements %6, %6 : vector<2xi1>
  %8 = memref.load %b[%i] : memref<?xi8>
  %9 = arith.addi %8, %8 : i8
  kernel.return
}

// Values that leave a loop or a branch are variables; several are read before one changes.
// CHECK-LABEL: control(
// CHECK:         f32 [[A:v[0-9]+]] = v3;
// CHECK-NEXT:    f32 [[B:v[0-9]+]] = v4;
// CHECK-NEXT:    for (i64 [[I:v[0-9]+]] = v0; [[I]] < s1; [[I]] += v1) {
// CHECK-NEXT:      const auto [[TA:t[0-9]+]] = [[B]];
// CHECK-NEXT:      const auto [[TB:t[0-9]+]] = [[A]];
// CHECK-NEXT:      [[A]] = [[TA]];
// CHECK-NEXT:      [[B]] = [[TB]];
// CHECK-NEXT:    }
// CHECK-NEXT:    const auto [[C:v[0-9]+]] = [[A]] >= [[B]];
// CHECK-NEXT:    f32 [[R:v[0-9]+]];
// CHECK-NEXT:    if ([[C]]) {
// CHECK-NEXT:      [[R]] = [[A]];
// CHECK-NEXT:    } else {
// CHECK-NEXT:      [[R]] = [[B]];
// CHECK-NEXT:    }
// CHECK-NEXT:    if ([[C]]) {
// CHECK-NEXT:      a0[v0] = [[R]];
// CHECK-NEXT:    }
kernel.func @control(%x: memref<?xf32>, %n: index) attributes {kind = "loop", target = "cuda"} {
  %c0 = arith.constant 0 : index
  %c1 = arith.constant 1 : index
  %t = kernel.thread_id
  %a0 = arith.constant 0.0 : f32
  %b0 = arith.constant 1.0 : f32
  %a, %b = scf.for %i = %c0 to %n step %c1 iter_args(%a1 = %a0, %b1 = %b0) -> (f32, f32) {
    scf.yield %b1, %a1 : f32, f32
  }
  %c = arith.cmpf oge, %a, %b : f32
  %r = scf.if %c -> f32 {
    scf.yield %a : f32
  } else {
    scf.yield %b : f32
  }
  scf.if %c {
    memref.store %r, %x[%c0] : memref<?xf32>
  }
  kernel.return
}

// CHECK-LABEL: // threads
// CHECK:       #include "mlsys/reduce.cuh"
// CHECK:         f32 *const [[S:v[0-9]+]] = shared_memory<f32>(64);
// CHECK:         const auto [[W:v[0-9]+]] = warp_max([[X:v[0-9]+]]);
// CHECK-NEXT:    const auto {{v[0-9]+}} = block_sum([[W]]);
// CHECK-NEXT:    [[S]][v0] = [[W]];
// CHECK-NEXT:    bar_sync();
// CHECK-NEXT:    pdl_launch();
// CHECK-NEXT:    pdl_wait();
kernel.func @threads(%x: memref<?xf32>) attributes {kind = "row", target = "cuda"} {
  %c0 = arith.constant 0 : index
  %s = kernel.shared 64 : memref<?xf32>
  %0 = memref.load %x[%c0] : memref<?xf32>
  %1 = kernel.reduce max %0 : f32
  %2 = kernel.reduce sum block %1 : f32
  memref.store %1, %s[%c0] : memref<?xf32>
  kernel.barrier
  kernel.grid_launch
  kernel.grid_wait
  kernel.return
}

// A buffer as the left side, two products with one epilogue.
// CHECK-LABEL: // products
// CHECK-NEXT:  #include "mlsys/types.cuh"
// CHECK-NEXT:  #include "mlsys/math.cuh"
// CHECK-NEXT:  #include "mlsys/matmul.cuh"
// CHECK-EMPTY:
// CHECK:         matmul<MatmulConfig<64, 64, 32, 3, 2, 2>, bf16>(
// CHECK-NEXT:        Rows<bf16>{a0, v0},
// CHECK-NEXT:        weights((const bf16 *)a1, (const bf16 *)a2, v0), s4, v0, v0, (int)v1, (int)v1,
// CHECK-NEXT:        [&](auto tile, i64 row0, i64 col0, i64 rows, i64 cols) {
// CHECK-NEXT:          const auto [[G:v[0-9]+]] = tile.template load<4>(0, (int)row0, (int)cols);
// CHECK-NEXT:          const auto [[U:v[0-9]+]] = tile.at(1, (int)rows, (int)col0);
// CHECK-NEXT:        });
kernel.func @products(%x: memref<?xbf16>, %g: memref<?xbf16>, %u: memref<?xbf16>, %y: memref<?xbf16>, %m: index) attributes {kind = "dot", target = "cuda"} {
  %k = arith.constant 64 : index
  %c0 = arith.constant 0 : index
  kernel.contract "matmul" [64, 64, 32, 3, 2, 2] weights(%g, %u : memref<?xbf16>, memref<?xbf16>) lhs(%x : memref<?xbf16>)
    shape(%m, %k, %k) at(%c0, %c0) prologue {
  } epilogue {
  ^bb0(%row0: index, %col0: index, %rows: index, %cols: index):
    %0 = kernel.tile_load 0 [%row0, %cols] : vector<4xf32>
    %1 = kernel.tile_load 1 [%rows, %col0] : f32
  }
  kernel.return
}

// A computed left side.
// CHECK-LABEL: // prologue
// CHECK:       #include "mlsys/gemv.cuh"
// CHECK:         gemv<GemvConfig<4, 16, 8, 1024>, f32>(
// CHECK-NEXT:        [&](i64 m, i64 k) -> f32 {
// CHECK-NEXT:          const auto [[X:v[0-9]+]] = a0[k];
// CHECK-NEXT:          return [[X]];
// CHECK-NEXT:        },
// CHECK-NEXT:        weights((const f32 *)a1, v0), v0, v0, v0, (int)v1,
// CHECK-NEXT:        [&](auto tile, i64 row0, i64 col0, i64 rows, i64 cols) {
// CHECK-NEXT:        });
kernel.func @prologue(%x: memref<?xf32>, %w: memref<?xf32>) attributes {kind = "dot", target = "cuda"} {
  %k = arith.constant 4 : index
  %c0 = arith.constant 0 : index
  kernel.contract "gemv" [4, 16, 8, 1024] weights(%w : memref<?xf32>) shape(%k, %k, %k) at(%c0, %c0) prologue {
  ^bb0(%m: index, %kk: index):
    %0 = memref.load %x[%kk] : memref<?xf32>
    kernel.yield %0 : f32
  } epilogue {
  ^bb0(%row0: index, %col0: index, %rows: index, %cols: index):
  }
  kernel.return
}

// CHECK-LABEL: // attention
// CHECK:       #include "mlsys/attention.cuh"
// CHECK:         attention_plain<16>((const f32 *)a0, Strides{s6 * 64, 64, 16}, a3, Strides{s6 * 64, 64, 16},
// CHECK-NEXT:        ContiguousKV<f32>{a1, a2, Strides{s7 * 32, 32, 16}, Strides{s7 * 32, 32, 16}}, s6, s7, 4, 2, Scores<>{float_from_bits(1048576000u), true});
// CHECK-NEXT:    attention_prefill<16>((const f32 *)a0, a3, PagedKV<f32>{a1, 8192, 0, 2048, 16, 16}, a4, a5, a4, s6, 4, 2, Scores<>{float_from_bits(1048576000u), true});
// CHECK-NEXT:    attention_decode<16, 2>((const f32 *)a0, a3, (f32 *)0, PagedKV<f32>{a1, 8192, 0, 2048, 16, 16}, a5, a4, s6, 4, 2, Scores<>{float_from_bits(1048576000u), true});
kernel.func @attention(%q: memref<?xf32>, %k: memref<?xf32>, %v: memref<?xf32>, %o: memref<?xf32>, %i: memref<?xi32>, %j: memref<?xi32>, %s: index, %t: index) attributes {kind = "attention", target = "cuda"} {
  kernel.attention "plain" query(%q : memref<?xf32>) key(%k : memref<?xf32>) value(%v : memref<?xf32>) extents(%s, %t) result(%o : memref<?xf32>)
    {heads = 4, kv_heads = 2, head_dim = 16, page_size = 0, page_stride = 0, heads_per_block = 1, scale = 0.25 : f32, causal}
  kernel.attention "prefill" query(%q : memref<?xf32>) key(%k : memref<?xf32>) metadata(%i, %j, %i : memref<?xi32>, memref<?xi32>, memref<?xi32>) extents(%s) result(%o : memref<?xf32>)
    {heads = 4, kv_heads = 2, head_dim = 16, page_size = 16, page_stride = 8192, heads_per_block = 1, scale = 0.25 : f32, causal}
  kernel.attention "decode" query(%q : memref<?xf32>) key(%k : memref<?xf32>) metadata(%j, %i : memref<?xi32>, memref<?xi32>) extents(%s) result(%o : memref<?xf32>)
    {heads = 4, kv_heads = 2, head_dim = 16, page_size = 16, page_stride = 8192, heads_per_block = 2, scale = 0.25 : f32, causal}
  kernel.return
}
