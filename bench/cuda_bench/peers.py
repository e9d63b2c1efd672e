"""The times of PyTorch: a process that takes one work after another."""
import json
import os
import select
import statistics
import subprocess
import tempfile

from . import works
from .results import line


class Peer:
    """A process of torch_worker.py; absent when PyTorch is not there. `mode`: eager or compile."""

    def __init__(self, python, device, mode, clock):
        self.clock = clock
        self.mode, self.process, self.missing, self.facts = mode, None, "", {}
        self.python, self.device = python, device
        self.buffer = b""
        self.log = tempfile.TemporaryFile(mode="w+")
        self.begin()

    def begin(self):
        worker = os.path.join(os.path.dirname(os.path.abspath(__file__)), "torch_worker.py")
        self.buffer = b""
        try:
            self.process = subprocess.Popen([self.python, worker, self.device, self.mode], stdin=subprocess.PIPE,
                                            stdout=subprocess.PIPE, stderr=self.log)
            self.facts = self.read(120)
        except (OSError, RuntimeError) as error:
            self.stop(str(error))

    def read(self, timeout):
        """The next line that is an object; other lines are PyTorch's own."""
        timeout = max(5, min(timeout, self.clock.left()))
        while True:
            while b"\n" in self.buffer:
                text, self.buffer = self.buffer.split(b"\n", 1)
                if text.startswith(b"{"):
                    return json.loads(text)
            ready, _, _ = select.select([self.process.stdout], [], [], timeout)
            if not ready:
                raise RuntimeError(f"no answer in {timeout:.0f} s")
            more = os.read(self.process.stdout.fileno(), 1 << 16)
            if not more:
                self.log.seek(0)
                said = self.log.read().strip().splitlines()
                raise RuntimeError(f"PyTorch's process ended: {said[-1] if said else 'it said nothing'}")
            self.buffer += more

    def stop(self, reason):
        self.missing = self.missing or reason
        if self.process:
            self.process.kill()
            self.process.wait()
        self.process = None

    def measure(self, work, timeout):
        """Seconds, or the reason why there are none. A process that hangs or dies is begun again for the next work."""
        if not self.process:
            return self.missing or "PyTorch's process ended"
        try:
            self.process.stdin.write((json.dumps(work) + "\n").encode())
            self.process.stdin.flush()
            answer = self.read(timeout)
        except (OSError, RuntimeError, ValueError) as error:
            self.stop("")
            self.begin()
            return str(error)
        return answer.get("seconds") or answer.get("error", "no answer")


def measure(modes, python, device, sizes, shapes, groups, results, clock, report):
    """Every work that PyTorch has, eager first, in the order in which they matter; the limits of the machine, too."""
    order = {"decode": 0, "prefill": 1, "gemms": 2, "attention": 3, "pointwise": 4}
    wanted = sorted((work for work in works.timed(sizes, shapes) if work.peer and work.group in groups),
                    key=lambda work: order[work.group])
    for mode in modes:
        # Attention that is called alone is SDPA's kernel, compiled or not.
        mine = [work for work in wanted if not (mode == "compile" and work.group == "attention")]
        if mode == "compile":
            # What compiles fast comes first; of models each shape is compiled anew.
            mine.sort(key=lambda work: work.group in ("decode", "prefill"))
        if clock.over(30):
            results.data["not_done"] += [f"{mode}: {work.name}" for work in mine]
            continue
        peer = Peer(python, device, mode, clock)
        results.data["peers"][mode] = peer.facts if peer.process else {"missing": peer.missing}
        report(f"  {mode}: {results.data['peers'][mode]}")
        if mode == "eager" and peer.process:
            seconds = peer.measure({"kind": "copy", "bytes": sizes.copy, "repetitions": sizes.repetitions}, 60)
            if not isinstance(seconds, str):
                results.limit("copies", "torch", sizes.copy / statistics.median(seconds) / 1e9)
            peak = sizes.peak
            seconds = peer.measure({"kind": "gemm", "M": peak, "N": peak, "K": peak, "repetitions": sizes.repetitions}, 60)
            if not isinstance(seconds, str):
                results.limit("products", "torch", 2 * peak ** 3 / statistics.median(seconds) / 1e12)
        for work in mine:
            if clock.over(10):
                results.data["not_done"].append(f"{mode}: {work.name}")
                continue
            row = results.row(work.name, work.group, work.moved, work.computed)
            timeout = min(240 if mode == "compile" else 90, clock.left() - 5)
            results.add(row, mode, peer.measure({**work.peer, "repetitions": sizes.repetitions}, timeout))
            report("  " + line(row))
        peer.stop("")
    results.store()
