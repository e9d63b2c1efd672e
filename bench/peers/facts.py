"""What the machine is, and what it can do."""
import glob
import json
import os
import platform
import re
import subprocess
from importlib import metadata

from .environment import PACKAGES
from .places import ROOT, tool


def read(path):
    try:
        with open(path) as file:
            return file.read().strip()
    except OSError:
        return ""


def processor_name():
    found = re.search(r"model name\s*:\s*(.*)", read("/proc/cpuinfo"))
    return found.group(1).strip() if found else platform.machine()


def file_name():
    """Two machines of one name may differ in their instructions."""
    text = f"{processor_name()} {instruction_set()}"
    return "cpu-" + re.sub(r"[^a-z0-9]+", "-", text.lower()).strip("-")


def caches():
    result = {}
    for folder in sorted(glob.glob("/sys/devices/system/cpu/cpu0/cache/index*")):
        result[f"L{read(folder + '/level')} {read(folder + '/type').lower()}"] = read(folder + "/size")
    return result


def facts():
    info = read("/proc/cpuinfo")
    field = lambda name: (re.search(rf"^{name}\s*:\s*(.*)$", info, re.M) or [None, ""])[1]
    memory = re.search(r"MemTotal:\s*(\d+)", read("/proc/meminfo"))
    commit = subprocess.run(["git", "-C", ROOT, "rev-parse", "HEAD"], capture_output=True, text=True)
    return {"processor": processor_name(), "family": field("cpu family"), "model": field("model"),
            "stepping": field("stepping"), "flags": field("flags").split(),
            "cores": os.cpu_count(), "caches": caches(),
            "memory_bytes": int(memory[1]) * 1024 if memory else 0,
            "kernel": platform.release(), "hypervisor": "hypervisor" in field("flags").split(),
            "large_pages": read("/sys/kernel/mm/transparent_hugepage/enabled"),
            "large_page_defrag": read("/sys/kernel/mm/transparent_hugepage/defrag"),
            "libc": " ".join(platform.libc_ver()), "python": platform.python_version(),
            "versions": versions(), "commit": commit.stdout.strip()}


def versions():
    result = {}
    for package in PACKAGES:
        try:
            result[package] = metadata.version(package)
        except metadata.PackageNotFoundError:
            pass
    return result


def instruction_set():
    """As mlsys names it."""
    done = subprocess.run([tool("mlsys-bench-machine"), "-t", "1", "-r", "1", "-m", "2"], check=True,
                          capture_output=True, text=True)
    return json.loads(done.stdout)["isa"]


def limits(sample):
    """Of a measurement of the machine: read, copy (the better kind), and peaks by type."""
    median = lambda name: sample.get(name, {"median": 0})["median"]
    f32 = median("f32_fma")
    return {"read": median("read"), "copy": max(median("copy"), median("copy_non_temporal")),
            "f32": f32, "bf16": max(median("amx_bf16"), median("bf16_dot"), f32),
            "i8": max(median("amx_i8"), median("i8_dot"), median("i8_pairs"))}
