"""Sets the peers up: a virtual environment, and llama.cpp built for this machine."""
import glob
import os
import shutil
import subprocess
import sys
import tarfile

from .places import LLAMA_BENCH, SOURCES, VENV

PACKAGES = ["numpy", "torch", "transformers", "optimum-intel", "nncf", "openvino", "onnx",
            "onnxruntime", "gguf", "safetensors", "openvino-genai"]

# Freed memory is used again and lies on large pages, for every peer: without that most of the time of
# large tensors goes into page faults.
ALLOCATOR = {"GLIBC_TUNABLES": "glibc.malloc.hugetlb=1:glibc.malloc.mmap_threshold=4294967296:"
                               "glibc.malloc.trim_threshold=8589934592"}


def make_venv():
    """Returns the environment's python."""
    python = os.path.join(VENV, "bin", "python")
    marker = os.path.join(VENV, "installed")
    wanted = " ".join(PACKAGES)
    if os.path.exists(marker) and open(marker).read() == wanted:
        return python
    if not os.path.exists(python):
        subprocess.run([sys.executable, "-m", "venv", VENV], check=True)
    for package in PACKAGES:
        # One after the other: a package that cannot be had leaves out a peer, not all.
        done = subprocess.run([python, "-m", "pip", "install", "-q", "--disable-pip-version-check",
                               package])
        if done.returncode:
            print(f"no {package}: its peers will be missing", file=sys.stderr)
    with open(marker, "w") as file:
        file.write(wanted)
    return python


def build_llama_cpp(python, archive=None):
    """Builds llama-bench out of llama-cpp-python's source package. Returns why not, or nothing."""
    if os.path.exists(LLAMA_BENCH):
        return ""
    os.makedirs(SOURCES, exist_ok=True)
    if not archive:
        found = glob.glob(os.path.join(SOURCES, "llama_cpp_python-*.tar.gz"))
        if not found:
            subprocess.run([python, "-m", "pip", "download", "-q", "--disable-pip-version-check",
                            "--no-deps", "--no-binary", "llama-cpp-python", "-d", SOURCES,
                            "llama-cpp-python"])
            found = glob.glob(os.path.join(SOURCES, "llama_cpp_python-*.tar.gz"))
        if not found:
            return "llama-cpp-python cannot be downloaded"
        archive = found[0]
    target = os.path.join(SOURCES, "llama.cpp")
    shutil.rmtree(target, ignore_errors=True)
    with tarfile.open(archive) as tar:
        tar.extractall(SOURCES, filter="data")
    shutil.move(glob.glob(os.path.join(SOURCES, "llama_cpp_python-*", "vendor", "llama.cpp"))[0],
                target)
    mend_amx(target)
    generator = ["-G", "Ninja"] if shutil.which("ninja") else []
    for command in (
            ["cmake", "-S", target, "-B", os.path.join(target, "build"), *generator,
             "-DCMAKE_BUILD_TYPE=Release", "-DGGML_NATIVE=ON", "-DBUILD_SHARED_LIBS=OFF",
             "-DLLAMA_CURL=OFF", "-DLLAMA_BUILD_TESTS=OFF", "-DLLAMA_BUILD_EXAMPLES=OFF",
             "-DLLAMA_BUILD_SERVER=OFF"],
            ["cmake", "--build", os.path.join(target, "build"), "--target", "llama-bench", "-j",
             str(os.cpu_count() or 1)]):
        if subprocess.run(command, stdout=sys.stderr).returncode:
            return "llama.cpp does not build"
    return "" if os.path.exists(LLAMA_BENCH) else "llama.cpp has no llama-bench"


def mend_amx(folder):
    """gcc 12 drops the stores into the tile configuration before it is loaded."""
    path = os.path.join(folder, "ggml", "src", "ggml-cpu", "amx", "mmq.cpp")
    if not os.path.exists(path):
        return
    with open(path) as file:
        text = file.read()
    load, barrier = "_tile_loadconfig(&tc);", '__asm__ volatile("" ::"r"(&tc) : "memory"); '
    if barrier not in text:
        with open(path, "w") as file:
            file.write(text.replace(load, barrier + load))
