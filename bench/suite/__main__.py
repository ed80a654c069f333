"""scripts/bench: measures Wicket beside what a user would choose instead.

Everything runs in network namespaces of its own, and is bounded. Figures from a machine under
other load are noise: look at load_at_start in the results.
"""
import argparse
import importlib
import os
import signal
import sys
import time
import traceback
from pathlib import Path

import bench as bench_module
import compare
import machine
import measure
import report
from rig import BIN

ROOT = Path(__file__).resolve().parents[2]
CALLER = Path(os.environ.get("WICKET_CALLER", "."))
MODULES = ("micro", "handshake", "flood", "provision", "operate", "data_plane", "kernel")
ROOTLESS = {"micro", "creates"}
SLOW = {"kernel", "evictions", "saturation", "newcomers_in_flood", "watchers"}  # only in a full run, or by name


def benches():
    """{name: (function, what it measures, its measures)}, in the order of the run."""
    found = {}
    for module in MODULES:
        found.update(importlib.import_module(module).BENCHES)
    return found


def options_of(arguments):
    parser = argparse.ArgumentParser(
        prog="scripts/bench", description="Measures Wicket beside what a user would pick instead.",
        epilog="Without options: everything, half an hour. Writes results.json, report.md and "
               "plots/*.svg into the folder of --out. Ctrl-C keeps what was measured. Only the "
               "benches marked with * run without root.")
    what = parser.add_mutually_exclusive_group()
    what.add_argument("--list", action="store_true", help="list the benches and their measures")
    what.add_argument("--compare", nargs=2, metavar=("A.json", "B.json"),
                      help="say what changed from A to B beyond noise")
    what.add_argument("--report", metavar="FILE.json", help="only write these results' report")
    parser.add_argument("--only", nargs="+", metavar="NAME", help="these benches or measures")
    size = parser.add_mutually_exclusive_group()
    size.add_argument("--quick", action="store_true", help="three minutes: less of everything")
    size.add_argument("--smoke", action="store_true",
                      help="a minute: whether it works; the figures mean nothing")
    parser.add_argument("--json", metavar="FILE", help="the results go there too")
    parser.add_argument("--out", metavar="DIR", default="build/bench",
                        help="folder of results and report (%(default)s)")
    parser.add_argument("--results", action="store_true",
                        help="write the report as docs/results.md, with its plots")
    parser.add_argument("--ratios", action="store_true",
                        help="with --compare: compare ratios to the rivals, for two machines")
    return parser, parser.parse_args(arguments)


def chosen(names, known):
    """Benches by their names, or by the names of their measures."""
    if not names:
        return list(known)
    found = []
    for name in names:
        hits = [bench for bench, (_, _, measures) in known.items()
                if name == bench or name in measures]
        if not hits:
            raise ValueError(f"{name}: no such bench or measure (--list shows them)")
        found += [hit for hit in hits if hit not in found]
    return [name for name in known if name in found]


def show_list(known):
    for name, (_, about, measures) in known.items():
        print(f"{name}{'*' if name in ROOTLESS else ''}{'+' if name in SLOW else ''}: {about}")
        for one in measures:
            there = measure.MEASURES[one]
            rival = f" | against {there.rival}" if there.rival else ""
            print(f"  {one:32} {there.title} [{there.unit}]{rival}")
    print("* runs without root\n+ not with --quick or --smoke, unless by name")


def run(names, known, mode, results):
    """Runs the benches until the end or an interrupt. Returns: the exit status."""
    status = 0
    for name in names:
        one = bench_module.Bench(name, mode, results)
        if name not in ROOTLESS and os.geteuid() != 0:
            one.problem("needs root: sudo scripts/bench")
            continue
        before = set(results.data["measures"])
        try:
            known[name][0](one)
        except KeyboardInterrupt:
            one.problem("interrupted")
            return 130
        except Exception as error:  # noqa: BLE001: the other benches are still worth measuring
            one.problem(str(error).strip().split("\n")[0] or type(error).__name__)
            if os.environ.get("WICKET_BENCH_TRACE"):
                traceback.print_exc()
            status = 1
        finally:
            one.close()
        for key, row in results.data["measures"].items():
            if key not in before:
                print(line(key, row), flush=True)
        results.data["machine"].setdefault("benches", []).append(name)
        print(f"# {name}: {time.monotonic() - one.began:.0f} s", flush=True)
    return status


def line(name, row):
    text = f"{name:32}{row['value']:12.5g} {row['unit']:7} "
    if row["ratio"] is not None:
        text += f"against {row['against']:12.5g}  ratio {row['ratio']:7.3f}"
    return f"{text}  n = {row['n']}"


def outputs_of(parser, options, out):
    """Returns: the files for the results, checked to be writable before half an hour is spent."""
    files = [out / "results.json"] + ([CALLER / options.json] if options.json else [])
    try:
        out.mkdir(parents=True, exist_ok=True)
        for path in files:
            path.open("a").close()
    except OSError as error:
        parser.error(str(error))
    return files


def measured(names, known, mode, files):
    """Returns: (the results, exit status)."""
    def interrupt(*_):
        raise KeyboardInterrupt
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, interrupt)
    results = measure.Results(machine.describe(mode, BIN))
    began = time.monotonic()
    status = run(names, known, mode, results)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # keeps what was measured
    results.data["machine"]["seconds"] = round(time.monotonic() - began, 1)
    for path in files:
        results.write(path)
    if not results.data["measures"]:
        sys.exit("scripts/bench: nothing was measured")
    return results.data, status


def main(arguments):
    parser, options = options_of(arguments)
    known = benches()
    if options.list:
        show_list(known)
        return 0
    mode = "smoke" if options.smoke else "quick" if options.quick else "full"
    out = ROOT / options.out if options.out == parser.get_default("out") else CALLER / options.out
    status = 0
    try:
        if options.compare:
            print(compare.table(*(measure.read(CALLER / path) for path in options.compare),
                                ratios=options.ratios))
            return 0
        if options.report:
            data = measure.read(CALLER / options.report)
        else:
            names = chosen(options.only, known)
            if os.environ.get("WICKET_ONLY_PARSE"):
                return 0
            if mode != "full" and not options.only:
                names = [name for name in names if name not in SLOW]
            data, status = measured(names, known, mode, outputs_of(parser, options, out))
        command = "scripts/bench --results"
        if data["machine"]["mode"] != "full":
            command = f"scripts/bench --{data['machine']['mode']}"
        path = report.write(data, ROOT / "docs", command, "results.md") if options.results else \
            report.write(data, out, command)
    except ValueError as error:
        parser.error(str(error))
    except RuntimeError as error:
        sys.exit(f"scripts/bench: {error}")
    print(f"\n{path}")
    return status


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
