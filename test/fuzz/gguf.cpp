//===- gguf.cpp - Fuzzes the reading of GGUF files ------------------------===//
//
// Part of mlsys, under the Apache License v2.0. See LICENSE.
//
//===----------------------------------------------------------------------===//
//
// The header, the vocabulary and its tokenizer, and the tensors' elements.
//
//===----------------------------------------------------------------------===//
#include "Fuzz.h"

#include "runtime/Dequantize.h"
#include "runtime/Gguf.h"
#include "runtime/GgufVocabulary.h"
#include "runtime/MappedFile.h"
#include "runtime/Tokenizer.h"

#include <algorithm>
#include <vector>

using namespace mlsys;

static void convertTensor(const rt::MappedFile &file, const rt::StoredTensor &tensor) {
  if (!rt::isFloatDType(tensor.dtype) || tensor.bytes == 0)
    return;
  int64_t elements = rt::dtypeBlockElements(tensor.dtype);
  int64_t blocks = static_cast<int64_t>(tensor.bytes) / rt::dtypeBlockBytes(tensor.dtype);
  // The first and the last blocks; all blocks of a type are read alike.
  int64_t count = std::min<int64_t>(blocks, 16);
  std::vector<float> values(static_cast<size_t>(count * elements));
  const std::byte *begin = file.data() + tensor.offset;
  rt::convertToF32(tensor.dtype, begin, values.data(), count * elements);
  begin += (blocks - count) * rt::dtypeBlockBytes(tensor.dtype);
  rt::convertToF32(tensor.dtype, begin, values.data(), count * elements);
}

extern "C" int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  fuzz::expectErrorsOnly([&] {
    fuzz::MemoryFile file(fuzz::textOf(data, size));
    rt::Gguf gguf = rt::readGguf(file.path());
    rt::MappedFile mapped(file.path());
    for (const rt::StoredTensor &tensor : gguf.tensors)
      convertTensor(mapped, tensor);
    rt::TextMaterial text = rt::readGgufText(gguf);
    if (text.tokenizerJson.empty())
      return;
    rt::Tokenizer tokenizer = rt::Tokenizer::fromJson(text.tokenizerJson, text.tokenizerConfigJson);
    tokenizer.decode(tokenizer.encode("It's 12  \u00e9\u4f60\n\n<s>"), true);
  });
  return 0;
}
