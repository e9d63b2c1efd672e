"""The file of results: what was measured, written after every work, and put together from several runs."""
import json
import os
import statistics
import time


class Clock:
    """How much of a run's time is left."""

    def __init__(self, seconds):
        self.end = time.monotonic() + seconds

    def left(self):
        return self.end - time.monotonic()

    def over(self, needed=5):
        return self.left() < needed


def summary(seconds):
    return {"median": statistics.median(seconds), "min": min(seconds), "max": max(seconds), "samples": len(seconds)}


class Results:
    """`data` is what the file holds: facts, checks, limits, rows by work, what is missing."""

    def __init__(self, path, facts):
        self.path = path
        self.data = {**facts, "checks": [], "limits": {"copies": {}, "products": {}}, "peers": {}, "rows": [], "sanitizer": [],
                     "failed": {}, "not_done": []}

    def row(self, work, group, moved=0, computed=0, **facts):
        """The row of a work; made at first use."""
        for row in self.data["rows"]:
            if row["work"] == work:
                row.update(facts)
                return row
        row = {"work": work, "group": group, "bytes": moved, "flops": computed, "seconds": {}, "missing": {}, **facts}
        self.data["rows"].append(row)
        return row

    def add(self, row, contender, seconds):
        """`seconds`: the samples, or the reason why there are none."""
        if isinstance(seconds, str):
            row["missing"][contender] = seconds[:500]
        else:
            row["seconds"][contender] = summary(seconds)
            row["missing"].pop(contender, None)
        self.store()

    def limit(self, kind, contender, value):
        """`kind`: copies (GB/s) or products (TFLOP/s)."""
        self.data["limits"][kind][contender] = value
        self.store()

    def finish(self):
        """What follows from the samples."""
        limits = self.data["limits"]
        for kind, name in (("copies", "copy_gb_per_s"), ("products", "bf16_tflop_per_s")):
            if limits[kind]:
                limits[name] = max(limits[kind].values())
        for row in self.data["rows"]:
            mine = row["seconds"].get("mlsys")
            if not mine:
                continue
            taken = mine["median"]
            if row["bytes"] and "copy_gb_per_s" in limits:
                row["of_bandwidth"] = row["bytes"] / taken / 1e9 / limits["copy_gb_per_s"]
            if row["flops"] and "bf16_tflop_per_s" in limits:
                row["of_peak"] = row["flops"] / taken / 1e12 / limits["bf16_tflop_per_s"]
            others = {name: value["median"] / taken for name, value in row["seconds"].items() if name != "mlsys"}
            if others:
                row["times_faster_than"] = others

    def store(self):
        self.finish()
        partial = self.path + ".partial"
        with open(partial, "w") as file:
            json.dump(self.data, file, indent=1)
            file.write("\n")
        os.replace(partial, self.path)


def line(row):
    """A row as text."""
    times = ", ".join(f"{name} {value['median'] * 1e3:.3f} ms" for name, value in row["seconds"].items())
    parts = "".join(f", {row[key]:.2f} {key}" for key in ("of_bandwidth", "of_peak") if key in row)
    faster = "".join(f", {value:.2f} x {name}" for name, value in row.get("times_faster_than", {}).items())
    missing = "".join(f", no {name}: {(why.splitlines() or ['?'])[-1][:80]}" for name, why in row["missing"].items())
    return f"{row['work']}: {times}{parts}{faster}{missing}"


def merge(paths, output):
    """One file of the parts of a session on one GPU, a later one before an earlier one where both have a figure."""
    parts = []
    for path in paths:
        with open(path) as file:
            parts.append(json.load(file))
    for part in parts[1:]:
        for key in ("commit", "device"):
            if part[key] != parts[0][key]:
                raise SystemExit(f"{paths[0]} and {paths[parts.index(part)]} differ in {key}: {parts[0][key]}, {part[key]}")
        if part["gpu"].get("name") != parts[0]["gpu"].get("name"):
            raise SystemExit(f"{paths[0]} and {paths[parts.index(part)]} are of different GPUs")
    merged = Results(output, {key: parts[0][key] for key in ("gpu", "device", "commit", "tiny", "begun")})
    for part in parts:
        for kind in ("copies", "products"):
            merged.data["limits"][kind].update(part["limits"][kind])
        for key in ("peers", "failed"):
            merged.data[key].update(part[key])
        for key, name in (("checks", "what"), ("sanitizer", "what")):
            known = {entry[name]: entry for entry in merged.data[key]}
            known.update({entry[name]: entry for entry in part[key]})
            merged.data[key] = list(known.values())
        for row in part["rows"]:
            into = merged.row(row["work"], row["group"], row["bytes"], row["flops"])
            into.update({key: value for key, value in row.items() if key not in ("seconds", "missing")})
            into["seconds"].update(row["seconds"])
            into["missing"].update(row["missing"])
    for row in merged.data["rows"]:
        for name in row["seconds"]:
            row["missing"].pop(name, None)
    done = {row["work"] for row in merged.data["rows"] if "mlsys" in row["seconds"]}
    merged.data["not_done"] = sorted({work for part in parts for work in part["not_done"]} - done)
    merged.store()
    return merged
