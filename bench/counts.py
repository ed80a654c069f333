#!/usr/bin/python3
"""Counts the instructions of hot functions by callgrind: a gate that no other load can disturb.

    bench/counts.py [--record] [--build FOLDER]

Fails when a function takes a tenth more instructions than bench/counts.json says, and reports
those that take a tenth less. --record writes the counts there. Counts belong to one compiler;
with another one the check is skipped (exit status 77).
"""
import argparse
import json
import os
import re
import subprocess
import sys
import tempfile
from pathlib import Path

FILE = Path(__file__).with_name("counts.json")
TIMES = 1000  # the same as in count.cc
TOLERANCE = 1.10


def compiler(build):
    cache = (build / "CMakeCache.txt").read_text()
    program = re.search(r"^CMAKE_CXX_COMPILER:\w+=(.*)$", cache, re.M)[1]
    first = subprocess.run([program, "--version"], capture_output=True, text=True).stdout
    version = subprocess.run([program, "-dumpversion"], capture_output=True, text=True).stdout
    return f"{'clang' if 'clang' in first else 'gcc'} {version.strip().split('.')[0]}"


def count(build):
    """Returns {function: instructions a call}."""
    with tempfile.TemporaryDirectory() as folder:
        result = subprocess.run(
            ["valgrind", "--tool=callgrind", "--instr-atstart=no",
             f"--callgrind-out-file={folder}/out", build / "bin" / "wicket_count"],
            capture_output=True, text=True, env={**os.environ, "TMPDIR": folder})
        if result.returncode != 0:
            sys.exit(f"wicket_count under valgrind: {result.returncode}\n{result.stderr[-2000:]}")
        found = {}
        for path in Path(folder).glob("out*"):
            text = path.read_text()
            name = re.search(r"^desc: Trigger: Client Request: (\w+)$", text, re.M)
            if name:
                total = re.search(r"^(?:summary|totals): (\d+)$", text, re.M)
                found[name[1]] = round(int(total[1]) / TIMES)
    return found


def judge(recorded, found):
    """Returns (lines to show, whether all counts hold)."""
    lines, holds = [], True
    for name in sorted(recorded | found):
        old, new = recorded.get(name), found.get(name)
        if old is None or new is None:
            lines.append(f"{name:20} {'not recorded' if old is None else 'not counted'}")
            holds = False
            continue
        word = ""
        if new > TOLERANCE * old:
            word, holds = "MORE", False
        elif TOLERANCE * new < old:
            word = "less: record it (bench/counts.py --record)"
        lines.append(f"{name:20} {new:8} recorded {old:8}  {new / old:5.2f}  {word}".rstrip())
    return lines, holds


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("--record", action="store_true", help="write the counts down")
    parser.add_argument("--build", type=Path, help="build folder (%(default)s)",
                        default=Path(__file__).resolve().parents[1] / "build" / "release")
    options = parser.parse_args()
    used = compiler(options.build)
    recorded = json.loads(FILE.read_text()) if FILE.exists() else {"compiler": used, "counts": {}}
    if not options.record and recorded["compiler"] != used:
        print(f"skipped: the counts are {recorded['compiler']}'s, this is {used}")
        return 77
    found = count(options.build)
    if options.record:
        FILE.write_text(json.dumps({"compiler": used, "counts": found}, indent=1, sort_keys=True)
                        + "\n")
    lines, holds = judge(found if options.record else recorded["counts"], found)
    print("\n".join(lines))
    return 0 if holds else 1


if __name__ == "__main__":
    sys.exit(main())
