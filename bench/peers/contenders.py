"""Who is measured: mlsys, llama.cpp, and peers in Python. All are processes that keep their weights
and memory, and are stopped between their turns."""
import json
import os
import signal
import subprocess
import time

from .environment import ALLOCATOR
from .places import BENCH, LLAMA_BENCH, MODELS, model_path, tool


class Missing(Exception):
    """A contender that cannot do a work, and why."""


def run(command, **more):
    done = subprocess.run(command, text=True, capture_output=True, **more)
    if done.returncode:
        lines = (done.stderr or done.stdout).strip().splitlines()
        raise Missing(lines[-1][:200] if lines else f"exit code {done.returncode}")
    return done.stdout


class Machine:
    """What the machine can do, with a turn in each round as everybody else has."""

    def __init__(self, threads, log):
        self.threads, self.log = threads, log

    def begin(self, work, rounds):
        self.turns = Turns([tool("mlsys-bench-machine"), "-t", str(self.threads), "-r", "3", "--rounds",
                            str(rounds)], self.log)

    def measure(self, work):
        return self.turns.next()

    def end(self):
        self.turns.stop()


class Mlsys:
    """A program of every work."""

    name = "mlsys"

    def __init__(self, threads, minilm, log):
        self.threads, self.minilm, self.log = threads, minilm, log

    def program(self, work):
        """The model and the file it is compiled to."""
        if work.kind in ("decode", "prefill"):
            return model_path(work.model), model_path(f"{work.model}.mlsys")
        if work.kind == "encode":
            return self.minilm, model_path(f"minilm-{work.dtype}.mlsys")
        name = f"{work.model}-{work.dtype}"
        return os.path.join(BENCH, "programs", name + ".mlir"), model_path(name + ".mlsys")

    def prepare(self, work):
        model, program = self.program(work)
        # Always anew: the compiler may be another.
        command = [tool("mlsys"), "compile", model, "--target", "cpu", "-o", program]
        if work.kind in ("decode", "prefill", "encode"):
            command += ["--dtype", work.dtype]
        start = time.perf_counter()
        run(command)
        return f"compiled in {time.perf_counter() - start:.2f} s"

    def begin(self, work, rounds):
        command = [tool("mlsys-run"), "bench", self.program(work)[1], "--device", "cpu", "-t",
                   str(self.threads), "-o", "jsonl", "--rounds", str(rounds)]
        shape = work.shape
        if work.kind == "decode":
            command += ["-p", "0", "-n", str(shape["tokens"]), "-d", str(shape["depth"]), "-r", "1",
                        "-c", "2048"]
        elif work.kind == "prefill":
            command += ["-p", str(shape["tokens"]), "-n", "0", "-r", "1", "-c", "2048"]
        elif work.kind == "encode":
            command += ["-p", str(shape["tokens"]), "-b", str(shape["batch"]), "-r",
                        "3" if shape["batch"] > 1 else "60"]
        else:
            symbol = "N" if work.kind == "pointwise" else "M"
            command += ["--symbol", f"{symbol}={shape[symbol]}", "-r", "30"]
        self.turns = Turns(command, self.log)

    def measure(self, work):
        return self.turns.next()["median_ns"] * 1e-9

    def end(self):
        self.turns.stop()

    def outputs(self, work, inputs, folder):
        """Runs a program on .npy files; a folder with the results."""
        command = [tool("mlsys-run"), "run", self.program(work)[1], "--device", "cpu",
                   "--output-dir", folder, "--function",
                   "forward" if work.kind == "encode" else work.model]
        for name, path in inputs.items():
            command += ["--input", f"{name}={path}"]
        run(command)

    def stop(self):
        pass


class LlamaCpp:
    """llama-bench, with a test for each turn: it keeps the model, and fills its cache anew."""

    name = "llama.cpp"

    def __init__(self, threads, problem, log):
        self.threads, self.problem, self.log = threads, problem, log

    def prepare(self, work):
        if self.problem:
            raise Missing(self.problem)
        if work.kind not in ("decode", "prefill"):
            raise Missing("no such model")

    def begin(self, work, rounds):
        shape = work.shape
        tests = ",".join([str(shape["tokens"])] * rounds)
        command = [LLAMA_BENCH, "-m", model_path(work.model + ".gguf"), "-t", str(self.threads),
                   "-r", "1", "-o", "jsonl", "-lm", "none"]
        if work.kind == "decode":
            command += ["-p", "0", "-n", tests, "-d", str(shape["depth"])]
        else:
            command += ["-p", tests, "-n", "0", "-b", "512", "-ub", "512"]
        self.turns = Turns(command, self.log, ALLOCATOR)

    def measure(self, work):
        return work.amount / self.turns.next()["avg_ts"]

    def end(self):
        self.turns.stop()

    def stop(self):
        pass


class Turns:
    """A program that prints a line of JSON for each of its measurements. It is stopped between turns:
    what it does before the stop is the run of the next measurement that is not counted."""

    def __init__(self, command, log, environment={}):
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=log, text=True,
                                        env={**os.environ, **environment})
        self.process.send_signal(signal.SIGSTOP)

    def next(self):
        self.process.send_signal(signal.SIGCONT)
        line = self.process.stdout.readline()
        if not line:
            raise Missing(f"{self.process.args[0]} ends with {self.process.wait()}; see the log")
        self.process.send_signal(signal.SIGSTOP)
        return json.loads(line)

    def stop(self):
        self.process.kill()
        self.process.wait()
        self.process.stdout.close()


class Resident:
    """A process that waits for commands; stopped between its turns, so that its threads do not
    spin beside others."""

    def __init__(self, name, python, arguments, threads, log):
        self.name, self.log = name, log
        command = [python, os.path.join(BENCH, "peers", arguments[0]), *arguments[1:]]
        environment = {**os.environ, **ALLOCATOR, "OMP_NUM_THREADS": str(threads),
                       "CUDA_VISIBLE_DEVICES": "", "TOKENIZERS_PARALLELISM": "false",
                       "PYTHONPATH": BENCH}
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                                        stderr=log, text=True, env=environment,
                                        start_new_session=True)

    def ask(self, command):
        """Goes on, answers, and is stopped again."""
        if self.process.poll() is not None:
            raise Missing("the process has ended; see its log")
        group = os.getpgid(self.process.pid)
        os.killpg(group, signal.SIGCONT)
        try:
            self.process.stdin.write(json.dumps(command) + "\n")
            self.process.stdin.flush()
            line = self.process.stdout.readline()
        except BrokenPipeError:
            line = ""
        if not line:
            raise Missing("the process has ended; see its log")
        os.killpg(group, signal.SIGSTOP)
        answer = json.loads(line)
        if "error" in answer:
            raise Missing(answer["error"])
        return answer

    def prepare(self, work):
        answer = self.ask({"do": "prepare", "work": work.to_json()})
        return ", ".join(filter(None, [answer["note"],
                                       f"ready {answer['since_start']:.1f} s after its start"]))

    def begin(self, work, rounds):
        pass

    def end(self):
        pass

    def measure(self, work):
        return self.ask({"do": "measure", "work": work.to_json()})["seconds"]

    def reference(self, work, folder):
        return self.ask({"do": "reference", "work": work.to_json(), "folder": folder})["files"]

    def stop(self):
        if self.process.poll() is None:
            group = os.getpgid(self.process.pid)
            os.killpg(group, signal.SIGKILL)
            self.process.wait()


PEERS = ("eager", "torch.compile", "openvino", "openvino-genai", "onnxruntime", "llama.cpp")
GROUPS_OF = {"onnxruntime": ("minilm",), "openvino": ("llama", "smollm2", "minilm"),
             "openvino-genai": ("llama", "smollm2"), "llama.cpp": ("llama", "smollm2")}


def make_peer(name, python, threads, minilm, references, llama_problem, log):
    if name == "llama.cpp":
        return LlamaCpp(threads, llama_problem, log)
    arguments = {
        "eager": ["torch_worker.py", "eager", str(threads), MODELS, minilm],
        "torch.compile": ["torch_worker.py", "compile", str(threads), MODELS, minilm],
        "openvino": ["openvino_worker.py", str(threads), MODELS, references],
        "openvino-genai": ["openvino_genai_worker.py", str(threads), MODELS],
        "onnxruntime": ["onnxruntime_worker.py", str(threads), MODELS, references],
    }[name]
    return Resident(name, python, arguments, threads, log)
