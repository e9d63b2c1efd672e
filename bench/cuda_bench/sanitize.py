"""Every checked program under compute-sanitizer."""
import concurrent.futures
import os
import shutil
import subprocess
import threading

from . import works

PLACES = ("/usr/local/cuda/bin", "/usr/local/cuda/compute-sanitizer", "/opt/cuda/bin", "/opt/cuda/extras/compute-sanitizer")
ERRORS = 99


def find():
    """The program, or nothing. CUDA_HOME and CUDA_PATH name a toolkit."""
    folders = [os.path.join(os.environ[name], part) for name in ("CUDA_HOME", "CUDA_PATH") if name in os.environ
               for part in ("bin", "compute-sanitizer")]
    return shutil.which("compute-sanitizer") or next(
        (path for path in (os.path.join(folder, "compute-sanitizer") for folder in [*folders, *PLACES])
         if os.access(path, os.X_OK)), None)


def commands(runner, sizes):
    """(what, the arguments of mlsys-run), the smallest first."""
    result = []
    for name in works.programs(sizes):
        symbol = "N" if name in works.POINTWISE else "M"
        if name.startswith("gemm") and name != "gemm_{}x{}".format(*sizes.gemms[0]):
            continue # the same kernels with other numbers
        flags = [] if name.startswith("gemv") else ["--symbol", f"{symbol}=37"]
        # One call of the function: `run` wants inputs, `bench` calls it again and again.
        result.append((name, ["bench", runner.file(name), "-r", "1", *flags]))
    prompt = ",".join(map(str, range(1, 8 if sizes.tiny else 71)))
    for model in works.CHECKED:
        for dtype in works.DTYPES:
            name = f"check-{model}-{dtype}"
            result.append((f"generate {name}", ["generate", runner.file(name), "--prompt-ids", prompt, "-n", "4", "--ids",
                                                "--ignore-eos", "-c", "128", "--temp", "0.8", "--top-k", "40", "--top-p", "0.9",
                                                "--seed", "1"]))
    return result


def sanitize(runner, sizes, tools, results, clock, report):
    """Returns whether all that ran is clean. Where there is no compute-sanitizer, nothing is run, and a line says so."""
    program = find()
    if not program:
        report("compute-sanitizer is not on PATH nor in a CUDA folder: skipped")
        results.data["not_done"].append("compute-sanitizer: not installed")
        results.store()
        return True
    lock = threading.Lock()
    bad = []

    def one(tool, what, arguments):
        name = f"{tool} {what}"
        if clock.over(15):
            with lock:
                results.data["not_done"].append(name)
            return
        command = [program, "--tool", tool, "--error-exitcode", str(ERRORS), "--print-limit", "5", *runner.command(*arguments)]
        try:
            done = subprocess.run(command, capture_output=True, text=True, env=runner.environment,
                                  timeout=max(15, clock.left() - 5))
            output = (done.stdout + done.stderr)[-2500:]
            # Racecheck ends with 0 for warnings, and the program may fail without an error of a kernel.
            verdict = "clean" if done.returncode == 0 and "ERROR SUMMARY: 0 errors" in done.stdout + done.stderr or (
                done.returncode == 0 and "RACECHECK SUMMARY: 0 hazards" in done.stdout + done.stderr) else "errors"
        except subprocess.TimeoutExpired:
            output, verdict = "", "not done in time"
        entry = {"what": name, "result": verdict}
        if verdict == "errors":
            entry["output"] = output
        with lock:
            if verdict == "errors":
                bad.append(name)
            if verdict == "not done in time":
                results.data["not_done"].append(name)
            else:
                results.data["sanitizer"].append(entry)
            results.store()
            report(f"  {verdict}  {name}" + (f"\n{output}" if verdict == "errors" else ""))

    jobs = [(tool, *command) for tool in tools for command in commands(runner, sizes)]
    with concurrent.futures.ThreadPoolExecutor(max(1, min(3, (os.cpu_count() or 1) // 4))) as pool:
        for future in [pool.submit(one, *job) for job in jobs]:
            future.result()
    report(f"compute-sanitizer: {len(results.data['sanitizer'])} runs, {len(bad)} with errors, "
           f"{len(results.data['not_done'])} not done")
    return not bad
