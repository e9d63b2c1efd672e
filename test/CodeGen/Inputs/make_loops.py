"""Prints kernels of many loops with carried values: as many names as kernels may have, and more."""

for offset in range(4):
    print(f'kernel.func @loops_{offset}(%x: memref<?xf32>, %n: index) attributes {{kind = "loop", target = "cuda"}} {{')
    print("  %i = kernel.thread_id\n  %a0 = memref.load %x[%i] : memref<?xf32>")
    for index in range(offset):
        print(f"  %o{index} = memref.load %x[%i] : memref<?xf32>")
    for loop in range(60):
        print(f"  %a{loop + 1} = scf.for %j{loop} = %i to %n step %n iter_args(%c{loop} = %a{loop}) -> (f32) {{\n"
              f"    %b{loop} = arith.addf %c{loop}, %c{loop} : f32\n"
              f"    scf.yield %b{loop} : f32\n  }}")
    print("  memref.store %a60, %x[%i] : memref<?xf32>\n  kernel.return\n}")
