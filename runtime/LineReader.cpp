//===- LineReader.cpp - Lines of a terminal or pipe -------------*- C++ -*-===//
//
// Part of mlsys, under the Apache License v2.0. See LICENSE.
//
//===----------------------------------------------------------------------===//
#include "runtime/LineReader.h"

#include "runtime/Error.h"

#include <cerrno>
#include <cstring>

#include <poll.h>
#include <unistd.h>

using namespace mlsys::rt;

LineReader::Status LineReader::read(std::string &line) {
  while (true) {
    size_t end = buffer.find('\n');
    if (end != std::string::npos || (ended && !buffer.empty())) {
      line = buffer.substr(0, end);
      buffer.erase(0, end == std::string::npos ? end : end + 1);
      if (line.ends_with('\r'))
        line.pop_back();
      return Status::Line;
    }
    if (ended)
      return Status::End;
    pollfd waiting[2] = {{descriptor, POLLIN, 0},
                         {interrupts ? interrupts->descriptor() : -1, POLLIN, 0}};
    if (poll(waiting, 2, -1) < 0) {
      if (errno == EINTR)
        continue;
      throw Error("cannot wait for input: {}", std::strerror(errno));
    }
    if (waiting[1].revents != 0)
      return Status::Interrupted;
    char bytes[4096];
    ssize_t count = ::read(descriptor, bytes, sizeof(bytes));
    if (count < 0 && errno != EINTR && errno != EAGAIN)
      throw Error("cannot read the input: {}", std::strerror(errno));
    if (count > 0)
      buffer.append(bytes, size_t(count));
    ended = count == 0;
  }
}
