# Writes a C++ file that holds each of FILES as text:
#   mlsys::rt::deviceLibraryFiles() -> list of {name, text}.
# Long text is split because compilers limit one literal to 64 KiB.
set(body "#include \"runtime/DeviceLibrary.h\"\nnamespace mlsys::rt {\nconst std::vector<DeviceLibraryFile> &deviceLibraryFiles() {\n  static const std::vector<DeviceLibraryFile> files = {\n")
foreach(file ${FILES})
  get_filename_component(name ${file} NAME)
  file(READ ${file} text)
  string(LENGTH "${text}" length)
  string(APPEND body "      {\"mlsys/${name}\", std::string()")
  set(position 0)
  while(position LESS length)
    string(SUBSTRING "${text}" ${position} 12000 piece)
    string(APPEND body "\n + R\"MLSYS(${piece})MLSYS\"")
    math(EXPR position "${position} + 12000")
  endwhile()
  string(APPEND body "},\n")
endforeach()
string(APPEND body "  };\n  return files;\n}\n} // namespace mlsys::rt\n")
file(WRITE ${OUT} "${body}")
