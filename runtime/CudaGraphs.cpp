//===- CudaGraphs.cpp - Lists of launches as CUDA graphs ------------------===//
//
// Part of mlsys, under the Apache License v2.0. See LICENSE.
//
//===----------------------------------------------------------------------===//
//
// A launch from the host costs some microseconds, a node of a graph one. A list is captured before its first
// run, or while the device does other work (prepare), and replayed from then on. A capture takes the
// host about as long as launching the list, and making and sending the graph some milliseconds more at
// most. All memory that graphs refer to is the executor's, which is there before.
//
//===----------------------------------------------------------------------===//

#include "runtime/CudaDevice.h"

#include "runtime/Error.h"

using namespace mlsys;
using namespace mlsys::rt;

/// From this driver on a capture keeps the edges of early launches.
static constexpr int earlyEdgesVersion = 12030;

namespace {
struct GraphRecording : LaunchRecording {
  explicit GraphRecording(const CudaDriver &driver, cuda::Context context) : driver(driver), context(context) {}
  ~GraphRecording() override {
    // A graph that still runs ends first.
    if (graph && driver.ctxSetCurrent(context) == 0)
      driver.graphExecDestroy(graph);
  }

  const CudaDriver &driver;
  cuda::Context context;
  /// Null until it is captured.
  cuda::GraphExec graph = nullptr;
};
} // namespace

void CudaDevice::replay(std::span<const LaunchArgs> launches, std::unique_ptr<LaunchRecording> &recording) {
  makeCurrent();
  prepare(launches, recording);
  if (!recording) {
    for (const LaunchArgs &args : launches)
      launch(args, true);
    // Their kernels are loaded now.
    if (useGraphs)
      recording = std::make_unique<GraphRecording>(driver, context);
    return;
  }
  driver.check(driver.graphLaunch(static_cast<GraphRecording &>(*recording).graph, stream),
               "launching a graph of kernels");
}

void CudaDevice::prepare(std::span<const LaunchArgs> launches, std::unique_ptr<LaunchRecording> &recording) {
  // A kernel that is loaded while a stream captures may end the capture.
  if (!useGraphs || (!recording && !driver.functionLoad))
    return;
  makeCurrent();
  if (!recording)
    recording = std::make_unique<GraphRecording>(driver, context);
  auto &graph = static_cast<GraphRecording &>(*recording).graph;
  if (graph)
    return;
  for (const LaunchArgs &args : launches)
    readyFor(args);
  graph = capture(launches, driver.version >= earlyEdgesVersion);
  driver.check(driver.graphUpload(graph, stream), "sending a graph of kernels");
}

/// The launches as a graph. When the driver refuses early launches in it, without them.
cuda::GraphExec CudaDevice::capture(std::span<const LaunchArgs> launches, bool early) {
  std::string problem;
  if (cuda::GraphExec graph = tryCapture(launches, early, problem))
    return graph;
  if (early)
    if (cuda::GraphExec graph = tryCapture(launches, false, problem))
      return graph;
  throw Error("{}; MLSYS_CUDA_GRAPHS=0 does without graphs", problem);
}

/// Null, and a `problem`, when it fails.
cuda::GraphExec CudaDevice::tryCapture(std::span<const LaunchArgs> launches, bool early, std::string &problem) {
  problem.clear();
  driver.check(driver.streamBeginCapture(stream, cuda::captureThreadLocal), "cuStreamBeginCapture");
  try {
    for (const LaunchArgs &args : launches)
      launch(args, early);
  } catch (const Error &error) {
    problem = error.what();
  }
  // The capture ends in any case.
  cuda::Graph graph = nullptr;
  int status = driver.streamEndCapture(stream, &graph);
  cuda::GraphExec executable = nullptr;
  try {
    if (problem.empty()) {
      driver.check(status, "capturing a graph of kernels");
      driver.check(driver.graphInstantiate(&executable, graph, 0), "making a graph of kernels");
    }
  } catch (const Error &error) {
    problem = error.what();
    executable = nullptr;
  }
  if (graph)
    driver.graphDestroy(graph);
  return executable;
}
