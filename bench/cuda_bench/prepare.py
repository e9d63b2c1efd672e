"""Makes the folder that travels to a machine with a GPU: compiled files, mlsys-run and its libraries, these scripts."""
import json
import os
import re
import shutil
import subprocess
import sys
import time

from . import works

BENCH = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
ROOT = os.path.dirname(BENCH)
# What every machine has in its own version; and what only an old one lacks.
SYSTEM = ("linux-vdso", "libc.so", "libm.so", "ld-linux", "libdl.so", "libpthread.so", "librt.so")
CXX = ("libstdc++.so", "libgcc_s.so")
LIMIT = 64 << 20


def size_text(size):
    return f"{size / 2**20:.1f} MiB"


def copy_tools(folder, tools):
    """mlsys-run with what it needs beyond the C library. Libraries of the same name there might be other versions."""
    for name in ("lib", "lib-cxx", "cuda_bench"):
        shutil.rmtree(os.path.join(folder, name), ignore_errors=True)
    for name in ("lib", "lib-cxx"):
        os.makedirs(os.path.join(folder, name))
    run = os.path.join(tools, "mlsys-run")
    shutil.copy2(run, folder)
    subprocess.run(["strip", os.path.join(folder, "mlsys-run")], check=False)
    listed = subprocess.run(["ldd", run], check=True, capture_output=True, text=True).stdout
    if "not found" in listed:
        sys.exit(f"{run} does not run here:\n{listed}")
    for name, path in re.findall(r"(\S+) => (/\S+)", listed):
        if not name.startswith(SYSTEM):
            shutil.copy2(os.path.realpath(path), os.path.join(folder, "lib-cxx" if name.startswith(CXX) else "lib", name))
    shutil.copy2(os.path.join(BENCH, "gpu"), folder)
    shutil.copytree(os.path.join(BENCH, "cuda_bench"), os.path.join(folder, "cuda_bench"),
                    ignore=shutil.ignore_patterns("__pycache__"))


def write_config(name, changes, folder):
    """A model folder with nothing but a changed config.json."""
    with open(os.path.join(ROOT, "test", "data", "configs", name, "config.json")) as file:
        config = json.load(file)
    config.update({key: value for key, value in changes.items() if key in config})
    os.makedirs(folder, exist_ok=True)
    with open(os.path.join(folder, "config.json"), "w") as file:
        json.dump(config, file)
    return config


def tree_bytes():
    """What of the working tree travels beside the folder: files that git tracks or does not ignore, and shared/."""
    listed = subprocess.run(["git", "-C", ROOT, "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
                            capture_output=True, text=True).stdout.split("\0")
    shared = [os.path.join(base, name) for base, _, names in os.walk(os.path.join(ROOT, "shared")) for name in names]
    paths = {os.path.join(ROOT, name) for name in listed if name} | set(shared)
    return sum(os.lstat(path).st_size for path in paths if os.path.lexists(path))


class Compiler:
    """mlsys compile into the folder. What is newer than the compiler and was made the same way stays, so that a prepare that
    was interrupted goes on."""

    def __init__(self, folder, tools):
        self.folder, self.program = folder, os.path.join(tools, "mlsys")
        self.made = set()

    def __call__(self, name, source, *flags):
        output, recipe = (os.path.join(self.folder, name + end) for end in (".mlsys", ".recipe"))
        config = os.path.join(source, "config.json") if os.path.isdir(source) else source
        with open(config) as file:
            wanted = json.dumps([flags, file.read()])
        self.made.add(name + ".mlsys")
        if os.path.exists(output) and os.path.exists(recipe) and os.path.getmtime(output) > os.path.getmtime(self.program):
            with open(recipe) as file:
                if file.read() == wanted:
                    return
        begin = time.monotonic()
        done = subprocess.run([self.program, "compile", source, *flags, "-o", output], stderr=subprocess.PIPE, text=True)
        if done.returncode:
            sys.exit(f"mlsys compile {source} {' '.join(flags)}\n{done.stderr}")
        with open(recipe, "w") as file:
            file.write(wanted)
        print(f"  {name}: {size_text(os.path.getsize(output))}, {time.monotonic() - begin:.0f} s", flush=True)

    def finish(self):
        """Removes what an earlier prepare has left."""
        for name in os.listdir(self.folder):
            if name.endswith(".recipe") or (name.endswith(".mlsys") and name not in self.made):
                os.remove(os.path.join(self.folder, name))


def prepare(folder, tiny, archs, tools):
    for name in ("mlsys", "mlsys-run"):
        if not os.access(os.path.join(tools, name), os.X_OK):
            sys.exit(f"{os.path.join(tools, name)} is not there: cmake --preset release && ninja -C build/release mlsys mlsys-run")
    sizes = works.Sizes(tiny)
    os.makedirs(folder, exist_ok=True)
    copy_tools(folder, tools)
    compile_into = Compiler(folder, tools)
    sources = os.path.join(folder, "sources")
    os.makedirs(sources, exist_ok=True)
    gpu = [f"cuda:{arch}" for arch in archs]
    both = ",".join(["cpu:x86-64-v3", *gpu])
    for name, text in works.programs(sizes).items():
        source = os.path.join(sources, name + ".mlir")
        with open(source, "w") as file:
            file.write(text)
        compile_into(name, source, "--target", both)
    shapes = {}
    for name in works.MODELS:
        model = os.path.join(sources, name)
        shapes[name] = write_config(name, works.TINY if tiny else {}, model)
        compile_into(f"model-{name}", model, "--random-weights", "--dtype", "bf16", "--target", ",".join(gpu), "--decode-buckets",
                     ",".join(str(b) for b in sizes.batches), "--prefill-chunk", str(works.CHUNK))
    for name, changes in works.CHECKED.items():
        model = os.path.join(sources, "check-" + name)
        write_config(name, works.TINY if tiny else changes, model)
        for dtype in works.DTYPES:
            compile_into(f"check-{name}-{dtype}", model, "--random-weights", "--dtype", dtype, "--target", both,
                         "--decode-buckets", "1")
        if works.TEXT.endswith(name):
            compile_into(works.TEXT, model, "--random-weights", "--dtype", "bf16", "--target", "cuda", "--decode-buckets", "1")
    shutil.rmtree(sources)
    compile_into.finish()
    commit = subprocess.run(["git", "-C", ROOT, "rev-parse", "HEAD"], capture_output=True, text=True).stdout.strip()
    with open(os.path.join(folder, "prepared.json"), "w") as file:
        json.dump({"tiny": tiny, "archs": archs, "commit": commit, "shapes": shapes}, file, indent=1)
    return report_size(folder)


def report_size(folder):
    sizes = {os.path.relpath(os.path.join(base, name), folder): os.path.getsize(os.path.join(base, name))
             for base, _, names in os.walk(folder) for name in names}
    mine, tree = sum(sizes.values()), tree_bytes()
    inside = os.path.abspath(folder).startswith(ROOT + os.sep)
    print(f"{folder}: {size_text(mine)}; the largest: "
          + ", ".join(f"{name} {size_text(sizes[name])}" for name in sorted(sizes, key=sizes.get)[:-4:-1]))
    print(f"With the working tree ({size_text(tree)}), which travels, too: {size_text(mine + tree)} of {size_text(LIMIT)}")
    if mine + tree > LIMIT:
        print("That is too much: name fewer --archs, or remove what git does not track", file=sys.stderr)
        return 1
    name = os.path.relpath(folder, ROOT) if inside else os.path.basename(os.path.abspath(folder))
    print(f"On the machine with the GPU, each less than 10 minutes:\n"
          f"  python3 {name}/gpu --run {name} --output $OUT/times.json\n"
          f"  python3 {name}/gpu --run {name} --only peers --output $OUT/peers.json\n"
          f"  python3 {name}/gpu --sanitize {name} --output $OUT/sanitizer.json\n"
          f"Here: bench/gpu --merge times.json peers.json sanitizer.json")
    return 0
