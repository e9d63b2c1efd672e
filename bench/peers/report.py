"""Medians, ratios, the table and the file of results."""
import json
import os
import statistics

from .places import BENCH


def summary(values):
    return {"median": statistics.median(values), "min": min(values), "max": max(values)}


def bound(work):
    """What bounds a work, as a key of the machine's limits, and the amount that its limit is a rate of."""
    if work.kind == "decode":
        return "read", work.bytes / 1e9
    if work.kind == "pointwise":
        return "copy", work.bytes / 1e9
    return work.dtype, work.flops / 1e12


def row_of(work, samples, notes, missing, limits):
    """`samples`: contender -> seconds of each round, in step with each other and with `limits`."""
    row = {"work": work.key, "group": work.group, "unit": work.unit, "dtype": work.dtype,
           "shape": work.shape, "bytes": work.bytes, "flops": work.flops, "notes": notes,
           "missing": missing, "values": {}, "ratios": {}, "seconds": samples,
           "machine": {name: summary([each[name] for each in limits]) for name in limits[0]}}
    for name, seconds in samples.items():
        row["values"][name] = summary([work.value(value) for value in seconds])
    mine = samples.get("mlsys")
    for name, seconds in samples.items():
        if mine and name != "mlsys":
            row["ratios"][name] = summary([b / a for a, b in zip(mine, seconds)])
    if row["ratios"]:
        # The peer that mlsys is least ahead of.
        row["best_peer"] = min(row["ratios"], key=lambda name: row["ratios"][name]["median"])
    if mine:
        name, amount = bound(work)
        row["fraction"] = statistics.median([amount / seconds / limit[name]
                                             for seconds, limit in zip(mine, limits)])
        row["fraction_of"] = name if name in ("read", "copy") else "peak"
    return row


def number(value):
    return f"{value:.3g}" if value < 1000 else f"{value:.0f}"


def print_table(rows):
    header = ["work", "mlsys", "best peer", "ratio", "of machine", "others"]
    table = [header]
    for row in rows:
        values, ratios = row["values"], row["ratios"]
        best = row.get("best_peer")
        ratio = ratios.get(best)
        mine = number(values["mlsys"]["median"]) if "mlsys" in values else "-"
        others = [f"{name} {number(values[name]['median'])}" for name in values
                  if name not in ("mlsys", best)]
        others += [f"{name}: {why}" for name, why in row["missing"].items()
                   if why != "no such model"]
        table.append([
            f"{row['work']} ({row['unit']})", mine,
            f"{best} {number(values[best]['median'])}" if best else "-",
            f"{ratio['median']:.2f} ({ratio['min']:.2f} to {ratio['max']:.2f})" if ratio else "-",
            f"{row['fraction']:.2f} of {row['fraction_of']}" if row.get("fraction") else "-",
            ", ".join(others)])
    print_markdown(table)


def print_markdown(table):
    print("| " + " | ".join(table[0]) + " |")
    print("|" + " --- |" * len(table[0]))
    for line in table[1:]:
        print("| " + " | ".join(line) + " |")


def print_start(start):
    print()
    print_markdown([["start", "mlsys", "peers"]] + [
        [row["what"], row["value"], row.get("peers", "")] for row in start])


def store(name, facts, threads, rows, start):
    """Into bench/results/NAME.json; what this run did not measure stays as it is."""
    path = os.path.join(BENCH, "results", name + ".json")
    old = {}
    if os.path.exists(path):
        with open(path) as file:
            old = json.load(file)
    for row in rows:
        row["commit"] = facts["commit"]
    done = {row["work"] for row in rows}
    kept = [row for row in old.get("rows", []) if row["work"] not in done]
    result = {"machine": facts, "threads": threads, "start": start or old.get("start", []),
              "rows": kept + rows}
    os.makedirs(os.path.dirname(path), exist_ok=True)
    with open(path, "w") as file:
        json.dump(result, file, indent=1)
        file.write("\n")
    return path
