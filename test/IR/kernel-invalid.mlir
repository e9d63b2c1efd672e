// RUN: mlsys-opt %s -split-input-file -verify-diagnostics
//
// Every rule of the kernel dialect's verifiers.

// expected-error @below {{target 'tpu' is not cpu or cuda}}
kernel.func @target(%x: memref<?xf32>) attributes {target = "tpu", kind = "loop"} { kernel.return }

// -----

// expected-error @below {{has results; kernels write to their buffers}}
kernel.func @results(%x: memref<?xf32>) -> index attributes {target = "cuda", kind = "loop"} { kernel.return }

// -----

// expected-error @below {{a CPU kernel ends with scratch memory and a range of tasks}}
kernel.func @no_range(%x: memref<?xf32>, %y: memref<?xf32>, %scratch: memref<?xi8>) attributes {target = "cpu", kind = "loop"} { kernel.return }

// -----

// expected-error @below {{a CPU kernel ends with scratch memory and a range of tasks}}
kernel.func @no_arguments() attributes {target = "cpu", kind = "loop"} { kernel.return }

// -----

// expected-error @below {{buffer 'memref<?x4xf32>' is not flat}}
kernel.func @not_flat(%x: memref<?x4xf32>) attributes {target = "cuda", kind = "loop"} { kernel.return }

// -----

// expected-error @below {{argument 'f32' is neither a buffer nor a symbol}}
kernel.func @scalar(%x: memref<?xf32>, %y: f32) attributes {target = "cuda", kind = "loop"} { kernel.return }

// -----

// expected-error @below {{argument 'memref<?xf32>' is neither a buffer nor a symbol}}
kernel.func @buffer_after_symbol(%x: memref<?xf32>, %T: index, %y: memref<?xf32>) attributes {target = "cuda", kind = "loop"} { kernel.return }

// -----

func.func @constant_of_nothing() {
  // expected-error @below {{needs either a source or a value}}
  %0 = kernel.constant "w" shape [4] : memref<?xf32>
  return
}

// -----

func.func @constant_of_both() {
  // expected-error @below {{needs either a source or a value}}
  %0 = kernel.constant "w" from <file = 0, offset = 0, bytes = 8, dtype = "f32", shape = [2]> value dense<1.0> : tensor<2xf32> shape [2] : memref<?xf32>
  return
}

// -----

func.func @constant_half_panels() {
  // expected-error @below {{panels need both a block and a pair}}
  %0 = kernel.constant "w" from <file = 0, offset = 0, bytes = 16, dtype = "f32", shape = [2, 2]> shape [2, 2] panels 32 x 0 : memref<?xf32>
  return
}

// -----

func.func @constant_panels_of_vector() {
  // expected-error @below {{only a matrix has panels}}
  %0 = kernel.constant "w" from <file = 0, offset = 0, bytes = 16, dtype = "f32", shape = [4]> shape [4] panels 32 x 2 : memref<?xf32>
  return
}

// -----

kernel.func @k(%x: memref<?xf32>) attributes {target = "cuda", kind = "loop"} { kernel.return }
func.func @launch_grid(%x: memref<?xf32>) {
  // expected-error @below {{grid has 2 results instead of 1 or 3}}
  kernel.launch @k(%x) writes [] grid affine_map<() -> (1, 1)> symbols affine_map<() -> ()> : memref<?xf32>
  return
}

// -----

kernel.func @k(%x: memref<?xf32>) attributes {target = "cuda", kind = "loop"} { kernel.return }
func.func @launch_writes(%x: memref<?xf32>) {
  // expected-error @below {{writes buffer 1 of 1}}
  kernel.launch @k(%x) writes [1] grid affine_map<() -> (1)> symbols affine_map<() -> ()> : memref<?xf32>
  return
}

// -----

func.func @launch_unknown(%x: memref<?xf32>) {
  // expected-error @below {{'launch_unknown' is not a kernel.func}}
  kernel.launch @launch_unknown(%x) writes [] grid affine_map<() -> (1)> symbols affine_map<() -> ()> : memref<?xf32>
  return
}

// -----

kernel.func @k(%x: memref<?xf32>, %T: index) attributes {target = "cuda", kind = "loop"} { kernel.return }
func.func @launch_counts(%x: memref<?xf32>) {
  // expected-error @below {{gives 1 buffers and 0 symbols to a kernel of 1 and 1}}
  kernel.launch @k(%x) writes [] grid affine_map<() -> (1)> symbols affine_map<() -> ()> : memref<?xf32>
  return
}

// -----

kernel.func @k(%x: memref<?xf32>) attributes {target = "cuda", kind = "loop"} { kernel.return }
func.func @launch_type(%x: memref<?xf16>) {
  // expected-error @below {{buffer 0 is 'memref<?xf16>' but the kernel takes 'memref<?xf32>'}}
  kernel.launch @k(%x) writes [] grid affine_map<() -> (1)> symbols affine_map<() -> ()> : memref<?xf16>
  return
}

// -----

// expected-error @below {{expects parent op 'kernel.func'}}
func.func @return_outside() { "kernel.return"() : () -> () }
