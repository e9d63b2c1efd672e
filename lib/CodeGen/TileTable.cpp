//===- TileTable.cpp - Tile sizes that were measured ----------------------===//
//
// Part of mlsys, under the Apache License v2.0. See LICENSE.
//
//===----------------------------------------------------------------------===//

#include "mlsys/CodeGen/TileTable.h"

#include "llvm/Support/FileSystem.h"
#include "llvm/Support/FileUtilities.h"
#include "llvm/Support/JSON.h"
#include "llvm/Support/MemoryBuffer.h"
#include "llvm/Support/Path.h"
#include "llvm/Support/raw_ostream.h"

using namespace mlsys;

const std::string *TileTable::find(llvm::StringRef shape) const {
  auto found = tiles.find(std::string_view(shape));
  return found == tiles.end() ? nullptr : &found->second;
}

llvm::Expected<TileTable> TileTable::read(llvm::StringRef path) {
  auto buffer = llvm::MemoryBuffer::getFile(path);
  if (!buffer)
    return llvm::createStringError("cannot read '" + path + "': " + buffer.getError().message());
  auto fail = [&](const llvm::Twine &what) {
    return llvm::createStringError("'" + path + "' is no table of tiles: " + what);
  };
  llvm::Expected<llvm::json::Value> value = llvm::json::parse((*buffer)->getBuffer());
  if (!value)
    return fail(llvm::toString(value.takeError()));
  const llvm::json::Object *object = value->getAsObject();
  if (!object)
    return fail("expected an object");
  TileTable table;
  std::optional<llvm::StringRef> isa = object->getString("isa");
  std::optional<int64_t> threads = object->getInteger("threads");
  const llvm::json::Object *tiles = object->getObject("tiles");
  if (!isa || !threads || !tiles)
    return fail("expected \"isa\", \"threads\" and \"tiles\"");
  table.isa = isa->str();
  table.threads = *threads;
  for (const auto &[shape, choice] : *tiles) {
    std::optional<llvm::StringRef> text = choice.getAsString();
    if (!text)
      return fail("the tiles of '" + shape.str() + "' are no text");
    table.tiles[shape.str()] = text->str();
  }
  return table;
}

llvm::Error TileTable::write(llvm::StringRef path) const {
  llvm::json::Object entries;
  for (const auto &[shape, choice] : tiles)
    entries[shape] = choice;
  llvm::json::Object object{{"isa", isa}, {"threads", threads}, {"tiles", std::move(entries)}};
  llvm::StringRef folder = llvm::sys::path::parent_path(path);
  if (!folder.empty())
    if (std::error_code error = llvm::sys::fs::create_directories(folder))
      return llvm::createStringError("cannot make the folder '" + folder + "': " + error.message());
  llvm::Error error = llvm::writeToOutput(path, [&](llvm::raw_ostream &stream) {
    stream << llvm::formatv("{0:2}", llvm::json::Value(std::move(object))) << "\n";
    return llvm::Error::success();
  });
  if (error)
    return llvm::createStringError("cannot write '" + path + "': " +
                                   llvm::toString(std::move(error)));
  return llvm::Error::success();
}
