"""A resident peer: a process that does one command a line and is stopped in between."""
import json
import os
import statistics
import sys
import time
import traceback

START = time.perf_counter()


class NoSuchModel(Exception):
    """The peer has no form of this work."""


def repeated(call, least_seconds=0.8, least_runs=3):
    """The median of runs after one that warms up."""
    call()
    samples, start = [], time.perf_counter()
    while len(samples) < least_runs or time.perf_counter() - start < least_seconds:
        before = time.perf_counter()
        call()
        samples.append(time.perf_counter() - before)
        if time.perf_counter() - start > 2:
            break
    return statistics.median(samples)


def random_ids(shape, limit, seed=0):
    import numpy

    return numpy.random.default_rng(seed).integers(0, limit, shape, dtype=numpy.int64)


def reference_path(folder, key, name):
    return os.path.join(folder, f"{key}.{name}.npy")


def serve(peer):
    """`peer` has prepare(work) -> note or None, and measure(work) -> seconds. Standard output is the
    line of answers; what libraries print goes to standard error."""
    answers = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(2, 1)
    for line in sys.stdin:
        command = json.loads(line)
        try:
            if command["do"] == "prepare":
                note = peer.prepare(command["work"])
                answer = {"note": note or "", "since_start": time.perf_counter() - START}
            elif command["do"] == "reference":
                answer = {"files": peer.reference(command["work"], command["folder"])}
            else:
                answer = {"seconds": peer.measure(command["work"])}
        except NoSuchModel:
            answer = {"error": "no such model"}
        except Exception as error:
            traceback.print_exc()
            answer = {"error": f"{type(error).__name__}: {error}".splitlines()[0][:200]}
        answers.write(json.dumps(answer) + "\n")


def difference(result, reference):
    """The mean difference, relative to the mean magnitude."""
    import numpy

    reference = reference.astype(numpy.float32)
    return float(numpy.abs(result.astype(numpy.float32) - reference).mean()
                 / numpy.abs(reference).mean())


def check(result, reference, dtype):
    """Throws when a result is not the reference's; says how near it is."""
    found = difference(result, reference)
    if not found < {"f32": 1e-4, "bf16": 0.05}[dtype]:
        raise ValueError(f"wrong results: they differ by {found:.2g} of their magnitude")
    return f"differs by {found:.1g}"
