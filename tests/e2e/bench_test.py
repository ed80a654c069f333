#!/usr/bin/python3
"""The bench suite itself: whether it works, not what it measures.

Run all scenarios, or those named as arguments. Needs root.
"""
import json
import os
import re
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import jsonschema

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from gateway_test import check, equal, main  # noqa: E402
from lab import BIN, ROOT, SLOW, run, wait_for  # noqa: E402

BENCH = ROOT / "scripts" / "bench"
# The measures that must be there, or be told of as a problem, on any machine and in any run.
EXPECTED = """handshake_p50 handshake_p99 handshake_vs_published_p50 handshake_vs_published_p99
    proofs_per_core forged_drop_per_core unknown_key_per_core unknown_budget_cpu forged_flood_success xdp_pass_ns
    xdp_bad_mac1_ns xdp_mac2_ns create_p99_1e5 group_commit create_vs_sqlite start_1e5 import_per_s
    store_bytes_per_peer data_plane lookup_vs_sqlite restart_vs_setconf
    round_trips_to_data""".split()
NOT_QUICK = {
    "kernel": "kernel_handshake_p50 kernel_bytes_per_stored_peer kernel_working_set",
    "evictions": "install_p50_with_evictions install_p99_with_evictions",
    "saturation": "generator_per_core",  # whether a burst is sustained depends on the machine
    "newcomers_in_flood": "forged_flood_latency",
    "watchers": "scrape_vs_none_p99 readers_vs_none_p99",
}


def environment():
    return {**os.environ, "WICKET_BIN": str(BIN)}


def namespaces(process):
    """The network namespaces that a bench has made."""
    return [name for name in run("ip", "netns", "list").stdout.split()
            if name.startswith("wkb") and f"x{process.pid}" in name]


def test_every_bench_works_that_the_quick_report_leaves_out():
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "results.json"
        result = subprocess.run([BENCH, "--smoke", "--only", *NOT_QUICK, "--out", folder],
                                capture_output=True, text=True, env=environment())
        check(result.returncode == 0, result.stdout + result.stderr)
        expected = {name for names in NOT_QUICK.values() for name in names.split()}
        equal(expected - set(json.loads(file.read_text())["measures"]), set(),
              f"measures missing: {result.stderr}")


def test_a_report_is_made():
    with tempfile.TemporaryDirectory() as folder:
        folder = Path(folder)
        file = folder / "results.json"
        result = subprocess.run([BENCH, "--smoke", "--out", folder / "out", "--json", file],
                                capture_output=True, text=True, env=environment())
        check(result.returncode == 0, result.stdout + result.stderr)
        print(result.stdout)
        data = json.loads(file.read_text())
        jsonschema.validate(data, json.loads((ROOT / "bench/schema.json").read_text()))
        # A machine that is too busy for a measure is told of, and the rest is measured all the same.
        problems = " ".join(data["machine"].get("problems", []))
        # Some names have the number of peers, which is smaller here.
        measured = {re.sub(r"_1e\d$", "", name): name for name in data["measures"]}
        expected = [measured.get(re.sub(r"_1e\d$", "", name), name) for name in EXPECTED]
        missing = set(expected) - set(data["measures"])
        equal({name for name in missing if f" {name}: " not in problems}, set(), "measures missing")
        check(os.uname().nodename not in file.read_text(), "the host's name is in the results")
        text = (folder / "out/report.md").read_text()
        for name in expected:
            check((name if name in missing else f"`{name}`") in text, f"{name} is not in the report")
        for name in data["series"]:
            check("</svg>" in (folder / f"out/plots/{name}.svg").read_text(), f"{name}: no plot")
            check(f"plots/{name}.svg" in text, f"{name} is not shown")
        same = subprocess.run([BENCH, "--compare", file, file], capture_output=True, text=True,
                              env=environment())
        check("\n0 of " in same.stdout, same.stdout + same.stderr)


def test_a_bench_without_root_interrupted_and_wrongly_used():
    with tempfile.TemporaryDirectory() as folder:
        folder = Path(folder)
        folder.chmod(0o777)
        # Single functions, without root; then an interrupt.
        running = subprocess.Popen(
            ["setpriv", "--reuid=65534", "--clear-groups", BENCH, "--only", "micro", "handshake",
             "creates", "--out", folder / "out", "--smoke"], stdout=subprocess.PIPE,
            stderr=subprocess.PIPE, text=True, env=environment(), start_new_session=True)
        first = ""
        while "# micro" not in first:
            line = running.stdout.readline()
            check(line, "ended early: " + first)
            first += line
        check("proofs_per_core" in first and "xdp_pass_ns" not in first, first)
        time.sleep(0.5 * SLOW)
        os.killpg(running.pid, signal.SIGINT)
        _, errors = running.communicate(timeout=60 * SLOW)
        check("handshake: needs root" in errors and "creates: interrupted" in errors, errors)
        data = json.loads((folder / "out/results.json").read_text())
        check("proofs_per_core" in data["measures"], "what was measured is lost")
        check((folder / "out/report.md").exists(), "no report")
        for arguments, words in ((["--only", "nonsense"], "nonsense: no such bench"),
                                 (["--compare", "/nonexistent", "/x"], "No such file"),
                                 (["--compare", ROOT / "bench/counts.json", "/x"],
                                  "not the results of a bench"),
                                 (["--only", "micro", "--json", "/nonexistent/x"], "/nonexistent")):
            result = subprocess.run([BENCH, *arguments], capture_output=True, text=True,
                                    env=environment())
            equal(result.returncode, 2, result.stdout + result.stderr)
            check(words in result.stderr, result.stderr)


def test_an_interrupted_bench_removes_what_it_made():
    with tempfile.TemporaryDirectory() as folder:
        running = subprocess.Popen([BENCH, "--only", "handshake", "--quick", "--out", folder],
                                   stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
                                   env=environment(), start_new_session=True)
        check(wait_for(lambda: len(namespaces(running)) >= 6, 30), "nothing was made")
        time.sleep(1)
        os.killpg(running.pid, signal.SIGINT)
        _, errors = running.communicate(timeout=60 * SLOW)
        check("interrupted" in errors, errors)
    equal(namespaces(running), [], "namespaces left behind")


if __name__ == "__main__":
    scenarios = {name: function for name, function in globals().items() if name.startswith("test_")}
    sys.exit(main(sys.argv[1:], scenarios))
