// RUN: mlsys-opt %s -mlsys-lower-to-kernel="target=cuda" | FileCheck %s
//
// One kernel for every decode step of up to 8 requests: the rows of the norm, 2112 bytes each, are the end of its shared
// memory, and a launch takes as much of it as it has rows.

// CHECK-DAG: #[[SHARED:.*]] = affine_map<()[s0] -> (s0 * 2112 + {{[0-9]+}})>
// CHECK-LABEL: func.func @up_to_eight
// CHECK:         kernel.launch @dot_0({{.*}}shared = #[[SHARED]], shared_bytes = {{[0-9]+}} : i64
func.func @up_to_eight(%x: tensor<?x1024xbf16, #graph.dims<[R, 1024]>>, %w: tensor<512x1024xbf16>) -> tensor<?x512xbf16, #graph.dims<[R, 512]>>
    attributes {graph.symbols = [#graph.symbol<"R", min = 1, max = 8, hint = 1>]} {
  %0 = graph.fusion "dot"(%x, %w) : (tensor<?x1024xbf16, #graph.dims<[R, 1024]>>, tensor<512x1024xbf16>) -> tensor<?x512xbf16, #graph.dims<[R, 512]>> {
  ^bb0(%a: tensor<?x1024xbf16, #graph.dims<[R, 1024]>>, %b: tensor<512x1024xbf16>):
    %1 = graph.reduce sum %a dims [1] : tensor<?x1024xbf16, #graph.dims<[R, 1024]>> -> tensor<?xbf16, #graph.dims<[R]>>
    %2 = graph.broadcast %1 dims [0] : tensor<?xbf16, #graph.dims<[R]>> -> tensor<?x1024xbf16, #graph.dims<[R, 1024]>>
    %3 = graph.div %a, %2 : tensor<?x1024xbf16, #graph.dims<[R, 1024]>>
    %4 = graph.dot %3, %b batch [] x [] contract [1] x [1] : tensor<?x1024xbf16, #graph.dims<[R, 1024]>>, tensor<512x1024xbf16> -> tensor<?x512xbf16, #graph.dims<[R, 512]>>
    graph.yield %4 : tensor<?x512xbf16, #graph.dims<[R, 512]>>
  }
  return %0 : tensor<?x512xbf16, #graph.dims<[R, 512]>>
}
