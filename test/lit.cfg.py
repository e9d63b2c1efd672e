import os
import lit.formats

config.name = "mlsys"
config.test_format = lit.formats.ShTest(execute_external=False)
config.suffixes = [".mlir", ".test"]
config.excludes = ["Inputs", "data", "unit"]
config.test_source_root = os.path.dirname(__file__)
config.environment["PATH"] = os.pathsep.join(
    [config.mlsys_tools_dir, config.llvm_tools_dir, config.environment["PATH"]]
)
config.substitutions.append(("%data", os.path.join(config.test_source_root, "data")))
config.substitutions.append(("%fake-cuda", config.fake_cuda))
config.substitutions.append(("%fake-old-cuda", config.fake_old_cuda))
# A test compiles what it tests.
config.environment["MLSYS_PROGRAM_CACHE"] = "0"
