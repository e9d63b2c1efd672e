// RUN: split-file %s %t
// RUN: not mlsys-translate --to-program %t/slot.mlir 2>&1 | FileCheck %t/slot.mlir
// RUN: not mlsys-translate --to-program %t/dims.mlir 2>&1 | FileCheck %t/dims.mlir
// RUN: not mlsys-translate --to-program %t/role.mlir 2>&1 | FileCheck %t/role.mlir
// RUN: not mlsys-translate --to-program %t/phase.mlir 2>&1 | FileCheck %t/phase.mlir
// RUN: not mlsys-translate --to-program %t/bucket.mlir 2>&1 | FileCheck %t/bucket.mlir
// RUN: not mlsys-translate --to-program %t/symbol.mlir 2>&1 | FileCheck %t/symbol.mlir
// RUN: not mlsys-translate --to-program %t/body.mlir 2>&1 | FileCheck %t/body.mlir
// RUN: not mlsys-translate --to-program %t/target.mlir 2>&1 | FileCheck %t/target.mlir
// RUN: not mlsys-translate --to-program %t/dtype.mlir 2>&1 | FileCheck %t/dtype.mlir
// RUN: not mlsys-translate --to-program %t/caches.mlir 2>&1 | FileCheck %t/caches.mlir
// RUN: not mlsys-translate --to-program %t/element.mlir 2>&1 | FileCheck %t/element.mlir
// RUN: not mlsys-translate --to-program %t/width.mlir 2>&1 | FileCheck %t/width.mlir
// RUN: not mlsys-translate --to-program %t/result.mlir 2>&1 | FileCheck %t/result.mlir
// RUN: not mlsys-translate --to-program %t/grid.mlir 2>&1 | FileCheck %t/grid.mlir
// RUN: not mlsys-translate --to-program %t/symbols.mlir 2>&1 | FileCheck %t/symbols.mlir
// RUN: not mlsys-translate --to-program %t/estimate.mlir 2>&1 | FileCheck %t/estimate.mlir
// RUN: not mlsys-translate --to-program %t/buffer.mlir 2>&1 | FileCheck %t/buffer.mlir
// RUN: not mlsys-translate --to-program %t/cache.mlir 2>&1 | FileCheck %t/cache.mlir
// RUN: not mlsys-translate --to-program %t/blob.mlir 2>&1 | FileCheck %t/blob.mlir

//--- slot.mlir
func.func @f() {
  // CHECK: error: 'kernel.alloc' op has no slot; run -mlsys-plan-memory
  %a = kernel.alloc memref<?xf32> dims #graph.dims<[4]>
  return
}
//--- dims.mlir
// CHECK: error: 'func.func' op argument 0 is no buffer with the attribute graph.dims
func.func @f(%x: memref<?xf32>) { return }
//--- role.mlir
// CHECK: error: 'func.func' op argument 0 has the unknown role "king"
func.func @f(%x: memref<?xf32> {graph.dims = #graph.dims<[4]>, graph.role = "king"}) { return }
//--- phase.mlir
// CHECK: error: 'func.func' op has the phase 'step', which cannot be executed
func.func @f() attributes {graph.phase = "step"} { return }
//--- bucket.mlir
// CHECK: error: 'func.func' op is a decode function without graph.bucket
func.func @f() attributes {graph.phase = "decode"} { return }
//--- symbol.mlir
// CHECK: error: 'func.func' op uses the symbol N, which graph.symbols does not list
func.func @f(%x: memref<?xf32> {graph.dims = #graph.dims<[N]>}) { return }
//--- body.mlir
func.func @f() {
  // CHECK: error: 'arith.constant' op cannot be part of a launch list; lower it to kernels first
  %0 = arith.constant 1 : index
  return
}
//--- target.mlir
kernel.func @k(%x: memref<?xf32>) attributes {target = "cuda", kind = "loop"} { kernel.return }
func.func @f(%x: memref<?xf32> {graph.dims = #graph.dims<[4]>}) {
  // CHECK: error: 'kernel.launch' op runs 'k', which is no kernel of this target
  kernel.launch @k(%x) writes [] grid affine_map<() -> (1)> symbols affine_map<() -> ()> : memref<?xf32>
  return
}
//--- dtype.mlir
func.func @f() {
  // CHECK: error: 'kernel.constant' op is stored in an unknown type: #graph.weight_source<{{.*}}>
  %0 = kernel.constant "w" from #graph.weight_source<file = 0, offset = 0, bytes = 4, dtype = "q9", shape = [1]> shape [1] : memref<?xf32>
  return
}
//--- caches.mlir
func.func @f(%c: memref<?xi8> {graph.type = !graph.kv_cache<layers = 2, heads = 1, dim = 16, page = 8, bf16>}) { return }
// CHECK: error: 'func.func' op has another KV cache than the functions before it
func.func @g(%c: memref<?xi8> {graph.type = !graph.kv_cache<layers = 3, heads = 1, dim = 16, page = 8, bf16>}) { return }
//--- element.mlir
func.func @f() {
  // CHECK: error: 'kernel.constant' op has elements of type 'i4', which a program file cannot hold
  %0 = kernel.constant "w" from #graph.weight_source<file = 0, offset = 0, bytes = 4, dtype = "f32", shape = [1]> shape [1] : memref<?xi4>
  return
}
//--- width.mlir
func.func @f() {
  // CHECK: error: 'kernel.constant' op holds elements of 'f64' for a buffer of 'f32'
  %0 = kernel.constant "w" value dense<1.0> : tensor<1xf64> shape [1] : memref<?xf32>
  return
}
//--- result.mlir
// CHECK: error: 'func.func' op returns values; at this stage results are arguments
func.func @f(%x: memref<?xf32> {graph.dims = #graph.dims<[4]>}) -> memref<?xf32> { return %x : memref<?xf32> }
//--- grid.mlir
kernel.func @k(%x: memref<?xf32>, %scratch: memref<?xi8>, %begin: index, %end: index) attributes {target = "cpu", kind = "loop"} { kernel.return }
func.func @f(%x: memref<?xf32> {graph.dims = #graph.dims<[4]>}) {
  // CHECK: error: 'kernel.launch' op grid must be over the 0 symbols of the function
  kernel.launch @k(%x) writes [] grid affine_map<()[s0] -> (s0)> symbols affine_map<() -> ()> : memref<?xf32>
  return
}
//--- symbols.mlir
kernel.func @k(%x: memref<?xf32>, %T: index, %scratch: memref<?xi8>, %begin: index, %end: index) attributes {target = "cpu", kind = "loop"} { kernel.return }
func.func @f(%x: memref<?xf32> {graph.dims = #graph.dims<[4]>}) {
  // CHECK: error: 'kernel.launch' op symbols must be over the 0 symbols of the function
  kernel.launch @k(%x) writes [] grid affine_map<() -> (1)> symbols affine_map<(d0) -> (d0)> : memref<?xf32>
  return
}
//--- estimate.mlir
kernel.func @k(%x: memref<?xf32>, %scratch: memref<?xi8>, %begin: index, %end: index) attributes {target = "cpu", kind = "loop"} { kernel.return }
func.func @f(%x: memref<?xf32> {graph.dims = #graph.dims<[4]>}) {
  // CHECK: error: 'kernel.launch' op bytes must have one result
  kernel.launch @k(%x) writes [] grid affine_map<() -> (1)> symbols affine_map<() -> ()> {bytes = affine_map<() -> (1, 2)>} : memref<?xf32>
  return
}
//--- buffer.mlir
// CHECK: error: 'func.func' op has a buffer of 'i4', which a program cannot hold
func.func @f(%x: memref<?xi4> {graph.dims = #graph.dims<[4]>}) { return }
//--- cache.mlir
// CHECK: error: 'func.func' op has a KV cache of 'tf32', which a program cannot hold
func.func @f(%c: memref<?xi8> {graph.type = !graph.kv_cache<layers = 2, heads = 1, dim = 16, page = 8, tf32>}) { return }
//--- blob.mlir
func.func @f() {
  // CHECK: error: 'kernel.constant' op has elements that cannot be read
  %0 = kernel.constant "w" value dense_resource<blob> : tensor<1xf32> shape [1] : memref<?xf32>
  return
}
{-#
  dialect_resources: { builtin: { blob: "0x0400000000000000" } }
#-}
