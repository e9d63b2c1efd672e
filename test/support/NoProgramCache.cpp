//===- NoProgramCache.cpp - Tests compile what they test ------------------===//
//
// Part of mlsys, under the Apache License v2.0. See LICENSE.
//
//===----------------------------------------------------------------------===//

#include <cstdlib>

/// Before any test: no program comes from the cache, and none is kept in the user's.
static const int programCacheOff = setenv("MLSYS_PROGRAM_CACHE", "0", 1);
