//===- ptx.cuh - Wrappers of PTX instructions -------------------*- C++ -*-===//
//
// Part of mlsys, under the Apache License v2.0. See LICENSE.
//
//===----------------------------------------------------------------------===//
//
// The GPU's body of every wrapper; host.h has the host's. Included by types.cuh.
//
//===----------------------------------------------------------------------===//
#pragma once

#define MLSYS_INLINE __forceinline__

//===----------------------------------------------------------------------===//
// Bits
//===----------------------------------------------------------------------===//

MLSYS_INLINE float float_from_bits(u32 bits) { return __uint_as_float(bits); }
MLSYS_INLINE u32 bits_from_float(float value) { return __float_as_uint(value); }

/// Rounds to nearest even. A NaN stays a NaN.
MLSYS_INLINE u16 bf16_from_float(float value) {
  u16 bits;
  asm("cvt.rn.bf16.f32 %0, %1;" : "=h"(bits) : "f"(value));
  return bits;
}
MLSYS_INLINE u16 f16_from_float(float value) {
  u16 bits;
  asm("cvt.rn.f16.f32 %0, %1;" : "=h"(bits) : "f"(value));
  return bits;
}
MLSYS_INLINE float f16_to_float(u16 bits) {
  float value;
  asm("cvt.f32.f16 %0, %1;" : "=f"(value) : "h"(bits));
  return value;
}

/// Within 2 ulp. The built-in operators are exact, but call a subroutine for rare
/// operands, around which registers are spilled; math.cuh corrects these instead.
MLSYS_INLINE float divide_approx(float a, float b) {
  float result;
  asm("div.full.f32 %0, %1, %2;" : "=f"(result) : "f"(a), "f"(b));
  return result;
}
MLSYS_INLINE float reciprocal_approx(float value) {
  float result;
  asm("rcp.approx.f32 %0, %1;" : "=f"(result) : "f"(value));
  return result;
}
MLSYS_INLINE float sqrt_approx(float value) {
  float result;
  asm("sqrt.approx.f32 %0, %1;" : "=f"(result) : "f"(value));
  return result;
}

/// 2 to the power of value, within 2 ulp; results below 2^-126 are zero.
MLSYS_INLINE float exp2_approx(float value) {
  float result;
  asm("ex2.approx.ftz.f32 %0, %1;" : "=f"(result) : "f"(value));
  return result;
}

/// a * b, rounded, also where a sum follows.
MLSYS_INLINE float multiply_rounded(float a, float b) { return __fmul_rn(a, b); }

MLSYS_INLINE void copy_bytes(void *destination, const void *source, u32 bytes) { memcpy(destination, source, bytes); }
/// The host executor reports a misaligned access; the GPU faults by itself.
MLSYS_INLINE void check_alignment(const void *, u32, const char *) {}

//===----------------------------------------------------------------------===//
// Ids
//===----------------------------------------------------------------------===//

MLSYS_INLINE int block_x() { return blockIdx.x; }
MLSYS_INLINE int block_y() { return blockIdx.y; }
MLSYS_INLINE int block_z() { return blockIdx.z; }
MLSYS_INLINE int thread_x() { return threadIdx.x; }
MLSYS_INLINE int block_dim_x() { return blockDim.x; }
MLSYS_INLINE int grid_dim_x() { return gridDim.x; }
MLSYS_INLINE int grid_dim_y() { return gridDim.y; }
MLSYS_INLINE int grid_dim_z() { return gridDim.z; }

//===----------------------------------------------------------------------===//
// Shared memory and order
//===----------------------------------------------------------------------===//

extern __shared__ __align__(1024) unsigned char mlsys_shared[];

/// The launch's dynamic shared memory, from byte `offset` on.
template <class T> MLSYS_INLINE T *shared_memory(u32 offset = 0) { return (T *)(mlsys_shared + offset); }
/// The address that cp_async16 and ldsm4 take.
MLSYS_INLINE u32 shared_address(const void *p) { return (u32)__cvta_generic_to_shared(p); }
/// 512 bytes of shared memory that belong to this library's reductions.
MLSYS_INLINE void *reduce_scratch() {
  static __shared__ __align__(16) unsigned char scratch[512];
  return scratch;
}

MLSYS_INLINE void bar_sync() { __syncthreads(); }
MLSYS_INLINE void warp_sync() { __syncwarp(); }

/// Waits for the kernels ahead of this one in the stream, when it was launched
/// before their end.
MLSYS_INLINE void pdl_wait() {
#if __CUDA_ARCH__ >= 900
  asm volatile("griddepcontrol.wait;" ::: "memory");
#endif
}
/// Lets the next kernel in the stream start its blocks.
MLSYS_INLINE void pdl_launch() {
#if __CUDA_ARCH__ >= 900
  asm volatile("griddepcontrol.launch_dependents;" ::: "memory");
#endif
}

//===----------------------------------------------------------------------===//
// Warps
//===----------------------------------------------------------------------===//

/// The value of lane `lane ^ mask`. All 32 lanes take part.
template <class T> MLSYS_INLINE T shfl_xor(T value, int mask) {
  constexpr int words = (sizeof(T) + 3) / 4;
  u32 raw[words] = {};
  memcpy(raw, &value, sizeof(T));
#pragma unroll
  for (int i = 0; i < words; ++i)
    raw[i] = __shfl_xor_sync(0xffffffffu, raw[i], mask);
  memcpy(&value, raw, sizeof(T));
  return value;
}
/// The value of lane `lane`. All 32 lanes take part.
template <class T> MLSYS_INLINE T shfl(T value, int lane) {
  constexpr int words = (sizeof(T) + 3) / 4;
  u32 raw[words] = {};
  memcpy(raw, &value, sizeof(T));
#pragma unroll
  for (int i = 0; i < words; ++i)
    raw[i] = __shfl_sync(0xffffffffu, raw[i], lane);
  memcpy(&value, raw, sizeof(T));
  return value;
}
/// Folds the values of a warp: log2(32) steps of xor exchange.
template <class Op, class T> MLSYS_INLINE T warp_fold(T value) {
#pragma unroll
  for (int mask = 16; mask > 0; mask >>= 1)
    value = Op::apply(value, shfl_xor(value, mask));
  return value;
}

//===----------------------------------------------------------------------===//
// Memory that is read once
//===----------------------------------------------------------------------===//

/// 16 bytes that no kernel of the program writes and nobody reads again soon: past the L1 cache. Stays
/// where it stands among other such loads and waits.
MLSYS_INLINE bytes16 load_stream(const void *p) {
  bytes16 result;
  asm volatile("ld.global.nc.L1::no_allocate.L2::256B.v4.u32 {%0, %1, %2, %3}, [%4];"
               : "=r"(result.x), "=r"(result.y), "=r"(result.z), "=r"(result.w)
               : "l"(p));
  return result;
}
/// Starts to bring `bytes` (a multiple of 16, p aligned to 16) to the L2 cache, where a GPU can.
MLSYS_INLINE void prefetch_l2(const void *p, int bytes) {
#if __CUDA_ARCH__ >= 900
  asm volatile("cp.async.bulk.prefetch.L2.global [%0], %1;" ::"l"(p), "r"(bytes) : "memory");
#endif
}

//===----------------------------------------------------------------------===//
// Asynchronous copies
//===----------------------------------------------------------------------===//

/// Copies `bytes` (0 to 16) to the shared address `destination` and fills up to 16
/// with zero. Both addresses are aligned to 16.
MLSYS_INLINE void cp_async16(u32 destination, const void *source, int bytes = 16) {
  asm volatile("cp.async.cg.shared.global.L2::128B [%0], [%1], 16, %2;" ::"r"(destination), "l"(source), "r"(bytes)
               : "memory");
}
/// Ends a group of copies.
MLSYS_INLINE void cp_commit() { asm volatile("cp.async.commit_group;" ::: "memory"); }
/// Waits until at most `pending` of this thread's groups are under way.
template <int pending> MLSYS_INLINE void cp_wait() { asm volatile("cp.async.wait_group %0;" ::"n"(pending) : "memory"); }

//===----------------------------------------------------------------------===//
// Matrix fragments
//===----------------------------------------------------------------------===//

/// Four 8x8 matrices of 16-bit elements; lane i gives the address of row i % 8 of
/// matrix i / 8.
MLSYS_INLINE void ldsm4(u32 *fragment, u32 address) {
  asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0, %1, %2, %3}, [%4];"
               : "=r"(fragment[0]), "=r"(fragment[1]), "=r"(fragment[2]), "=r"(fragment[3])
               : "r"(address)
               : "memory");
}
/// The same with each matrix transposed.
MLSYS_INLINE void ldsm4_trans(u32 *fragment, u32 address) {
  asm volatile("ldmatrix.sync.aligned.m8n8.x4.trans.shared.b16 {%0, %1, %2, %3}, [%4];"
               : "=r"(fragment[0]), "=r"(fragment[1]), "=r"(fragment[2]), "=r"(fragment[3])
               : "r"(address)
               : "memory");
}

/// The transpose of an 8x8 matrix of 16-bit elements: lane i has elements 2 * (i % 4) and the next
/// of row i / 4, before and afterwards.
MLSYS_INLINE u32 transpose_matrix(u32 fragment) {
  u32 result;
  asm volatile("movmatrix.sync.aligned.m8n8.trans.b16 %0, %1;" : "=r"(result) : "r"(fragment));
  return result;
}

/// c[16x8] += a[16x16] * b[16x8], accumulated in f32.
MLSYS_INLINE void mma_bf16(float *c, const u32 *a, const u32 *b) {
  asm volatile("mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 {%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, "
               "{%0, %1, %2, %3};"
               : "+f"(c[0]), "+f"(c[1]), "+f"(c[2]), "+f"(c[3])
               : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]));
}
MLSYS_INLINE void mma_f16(float *c, const u32 *a, const u32 *b) {
  asm volatile("mma.sync.aligned.m16n8k16.row.col.f32.f16.f16.f32 {%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, "
               "{%0, %1, %2, %3};"
               : "+f"(c[0]), "+f"(c[1]), "+f"(c[2]), "+f"(c[3])
               : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]));
}
/// c[16x8] += a[16x32] * b[32x8] of signed bytes; sums wrap around.
MLSYS_INLINE void mma_s8(i32 *c, const u32 *a, const u32 *b) {
  asm volatile("mma.sync.aligned.m16n8k32.row.col.s32.s8.s8.s32 {%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, "
               "{%0, %1, %2, %3};"
               : "+r"(c[0]), "+r"(c[1]), "+r"(c[2]), "+r"(c[3])
               : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]));
}
/// c[16x8] += a[16x32] * b[32x8] of unsigned and signed bytes; sums wrap around.
MLSYS_INLINE void mma_u8(i32 *c, const u32 *a, const u32 *b) {
  asm volatile("mma.sync.aligned.m16n8k32.row.col.s32.u8.s8.s32 {%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, "
               "{%0, %1, %2, %3};"
               : "+r"(c[0]), "+r"(c[1]), "+r"(c[2]), "+r"(c[3])
               : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]));
}
