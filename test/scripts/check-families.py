#!/usr/bin/env python3
"""Checks model families beyond what the tests hold: makes folders with other seeds and larger
shapes in a temporary folder and runs the end-to-end tests of FamiliesTest.cpp on them, which
take the folder's place from MLSYS_MODEL_FOLDERS.

Needs torch and transformers, and a build of mlsys-end-to-end-tests.
Usage: check-families.py [--build build/release] [--seed N] [--rounds N] [--small]
                         [--only NAME,...] [--device NAME] [--keep FOLDER]
"""
import argparse
import os
import pathlib
import random
import subprocess
import sys
import tempfile

SCRIPTS = pathlib.Path(__file__).resolve().parent
ROOT = SCRIPTS.parent.parent


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("--build", type=pathlib.Path, default=ROOT / "build" / "release")
    parser.add_argument("--seed", type=int, help="of the first round; any, when it is left out")
    parser.add_argument("--rounds", type=int, default=1)
    parser.add_argument("--small", action="store_true", help="the shapes of test/data")
    parser.add_argument("--only", default="", help="names of families, with commas between")
    parser.add_argument("--device", default="", help="reference, cpu or host-cuda alone")
    parser.add_argument("--keep", type=pathlib.Path, help="where the folders are left")
    arguments = parser.parse_args()
    binary = arguments.build / "test" / "mlsys-end-to-end-tests"
    if not binary.exists():
        sys.exit(f"{binary} is not there: build mlsys-end-to-end-tests, or name a build with --build")
    seed = random.randrange(1000, 1000000) if arguments.seed is None else arguments.seed
    failed = []
    for number in range(seed, seed + 1000 * arguments.rounds, 1000):
        print(f"seed {number}", flush=True)
        with tempfile.TemporaryDirectory() as temporary:
            folder = arguments.keep / str(number) if arguments.keep else pathlib.Path(temporary)
            make(folder, number, arguments)
            if not run(binary, folder, arguments.device):
                failed.append(number)
    if failed:
        sys.exit(f"failed with the seeds {failed}")


def make(folder, seed, arguments):
    command = [sys.executable, SCRIPTS / "make-model-cases.py", folder, "--seed", str(seed)]
    if not arguments.small:
        command.append("--large")
    if arguments.only:
        command += ["--only", arguments.only]
    subprocess.run(command, check=True)


def run(binary, folder, device):
    device = device.replace("-", "_")
    suites = ["DecoderPlain", "DecoderSteps", "DecoderBf16", "Classifier", "Encoder"]
    filters = ":".join(f"EndToEnd/{suite}.*{device}" for suite in suites)
    environment = {**os.environ, "MLSYS_MODEL_FOLDERS": str(folder.resolve())}
    result = subprocess.run([binary, f"--gtest_filter={filters}", "--gtest_brief=1"],
                            env=environment)
    return result.returncode == 0


if __name__ == "__main__":
    main()
