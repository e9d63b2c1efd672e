"""Where things are."""
import os

BENCH = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
ROOT = os.path.dirname(BENCH)
BUILD = os.path.join(ROOT, "build")
MODELS = os.path.join(BUILD, "bench-models")
VENV = os.path.join(BUILD, "bench-venv")
SOURCES = os.path.join(BUILD, "bench-sources")
LLAMA_BENCH = os.path.join(SOURCES, "llama.cpp", "build", "bin", "llama-bench")
TOOLS = os.path.join(BUILD, "release", "bin")


def tool(name):
    return os.path.join(TOOLS, name)


def model_path(*parts):
    return os.path.join(MODELS, *parts)
