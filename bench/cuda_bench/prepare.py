"""Makes the folder that travels to a machine with a GPU: compiled files, mlsys-run and its libraries, these scripts."""
import json
import os
import re
import shutil
import subprocess
import sys

from . import works

BENCH = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
ROOT = os.path.dirname(BENCH)
TOOLS = os.path.join(ROOT, "build", "release", "bin")
# What every machine has in its own version.
SYSTEM = ("linux-vdso", "libc.so", "libm.so", "ld-linux", "libdl.so", "libpthread.so", "librt.so")
LIMIT = 64 << 20


def mlsys(*arguments):
    done = subprocess.run([os.path.join(TOOLS, "mlsys"), *arguments], stderr=subprocess.PIPE, text=True)
    if done.returncode:
        sys.exit(f"mlsys {' '.join(arguments)}\n{done.stderr}")


def copy_tools(folder):
    os.makedirs(os.path.join(folder, "lib"), exist_ok=True)
    run = os.path.join(TOOLS, "mlsys-run")
    shutil.copy2(run, folder)
    subprocess.run(["strip", os.path.join(folder, "mlsys-run")], check=False)
    listed = subprocess.run(["ldd", run], check=True, capture_output=True, text=True).stdout
    for name, path in re.findall(r"(\S+) => (\S+)", listed):
        if not name.startswith(SYSTEM):
            shutil.copy2(os.path.realpath(path), os.path.join(folder, "lib", name))
    shutil.copy2(os.path.join(BENCH, "gpu"), folder)
    parts = os.path.join(folder, "cuda_bench")
    shutil.rmtree(parts, ignore_errors=True)
    shutil.copytree(os.path.join(BENCH, "cuda_bench"), parts, ignore=shutil.ignore_patterns("__pycache__"))


def write_config(name, changes, folder):
    """A model folder with nothing but a changed config.json."""
    with open(os.path.join(ROOT, "test", "data", "configs", name, "config.json")) as file:
        config = json.load(file)
    config.update({key: value for key, value in changes.items() if key in config})
    os.makedirs(folder, exist_ok=True)
    with open(os.path.join(folder, "config.json"), "w") as file:
        json.dump(config, file)
    return config


def prepare(folder, tiny, archs):
    sizes = works.Sizes(tiny)
    os.makedirs(folder, exist_ok=True)
    copy_tools(folder)
    sources = os.path.join(folder, "sources")
    os.makedirs(sources, exist_ok=True)
    gpu = ["cuda"] if tiny else [f"cuda:{arch}" for arch in archs]
    both = ",".join(["cpu:x86-64-v3", *gpu])
    for name, (_, text) in works.programs(sizes).items():
        source = os.path.join(sources, name + ".mlir")
        with open(source, "w") as file:
            file.write(text)
        mlsys("compile", source, "--target", both, "-o", os.path.join(folder, name + ".mlsys"))
    shapes = {}
    for name, changes in works.CHECKED.items():
        for dtype in ("f32", "bf16"):
            model = os.path.join(sources, "check-" + name)
            write_config(name, works.TINY if tiny else changes, model)
            mlsys("compile", model, "--random-weights", "--dtype", dtype, "--target", both, "--decode-buckets", "1,2,4",
                  "-o", os.path.join(folder, f"check-{name}-{dtype}.mlsys"))
    for name in works.MODELS:
        model = os.path.join(sources, name)
        shapes[name] = write_config(name, works.TINY if tiny else {}, model)
        mlsys("compile", model, "--random-weights", "--dtype", "bf16", "--target", ",".join(gpu), "--decode-buckets",
              ",".join(str(b) for b in sizes.batches), "-o", os.path.join(folder, f"model-{name}.mlsys"))
    shutil.rmtree(sources)
    commit = subprocess.run(["git", "-C", ROOT, "rev-parse", "HEAD"], capture_output=True, text=True).stdout.strip()
    with open(os.path.join(folder, "prepared.json"), "w") as file:
        json.dump({"tiny": tiny, "archs": archs, "commit": commit, "shapes": shapes}, file, indent=1)
    size = sum(os.path.getsize(os.path.join(base, name)) for base, _, names in os.walk(folder) for name in names)
    print(f"{folder}: {size / 2**20:.1f} MiB")
    if size > LIMIT:
        sys.exit(f"more than {LIMIT >> 20} MiB; name fewer --archs")
    print(f"On the machine with the GPU:  python3 {os.path.basename(folder)}/gpu --run {os.path.basename(folder)}\n"
          f"and with compute-sanitizer:   python3 {os.path.basename(folder)}/gpu --sanitize {os.path.basename(folder)}")
