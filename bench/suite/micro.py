"""Single functions: Google Benchmark cases of wicket_bench, round by round.

A line in CASES makes a measure of a new case. Benchmarks have the names that they register, without
what Google Benchmark appends for iterations and manual time.
"""
import json
import re
import subprocess
from pathlib import Path

from measure import MEASURES
from rig import BIN
import stats

# measure: (ours, the rival's, how). `rate`: operations a second; `added`: nanoseconds above the
# rival, which is the floor of the harness.
FLAGS = Path("/proc/cpuinfo").read_text(encoding="ascii").split()
BEST = 2 if "avx512ifma" in FLAGS else 1 if "avx2" in FLAGS else 0  # back end of X25519
CASES = {
    "proofs_per_core": (f"BM_PipelineBatchProven/{BEST}/64", "BM_PipelineBatchProven/0/64", "rate"),
    "unknown_proofs_per_core": (f"BM_PipelineBatchUnknown/{BEST}/64", "BM_PipelineBatchUnknown/0/64",
                                "rate"),
    "lone_proofs_per_core": (f"BM_PipelineBatchProven/{BEST}/1", "BM_PipelineBatchProven/0/1", "rate"),
    "calm_mix_per_core": (f"BM_PipelineBatchCalm/{BEST}/64", "BM_PipelineBatchCalm/0/64", "rate"),
    "attack_mix_per_core": (f"BM_PipelineBatchAttack/{BEST}/64", "BM_PipelineBatchAttack/0/64", "rate"),
    "x25519_ifma8": ("BM_X25519Batch/2/8", "BM_X25519Batch/0/8", "rate"),
    "x25519_avx2x4": ("BM_X25519Batch/1/8", "BM_X25519Batch/0/8", "rate"),
    "status_cost_ns": ("BM_CountForStatus", "BM_CountVerdict", "added"),
    "xdp_pass_ns": ("BM_SteerPassData", "BM_SteerNothing", "added"),
    "xdp_bad_mac1_ns": ("Steer/bad_mac1", "BM_SteerNothing", "added"),
    "xdp_mac2_ns": ("Steer/mac2", "BM_SteerNothing", "added"),
    "xdp_mac2_older_ns": ("Steer/mac2_older", "BM_SteerNothing", "added"),
    "xdp_mac2_wrong_ns": ("Steer/mac2_wrong", "BM_SteerNothing", "added"),
}
NOTES = {
    "proofs_per_core": "a shard's whole work on a ring batch of 64, among {stored} stored peers, "
                       "against the same with libsodium one at a time",
    "status_cost_ns": "three histograms, for a packet that is alone in its burst; a burst of 64 pays it once",
    "xdp_pass_ns": "BPF_PROG_TEST_RUN; a veth pays far more for having any native program",
}


def known():
    """Returns: {name in CASES: name to run} of the benchmarks of this build."""
    listed = subprocess.run([BIN / "wicket_bench", "--benchmark_list_tests=true"],
                            capture_output=True, text=True, check=True).stdout
    return {plain(name): name for name in listed.split("\n") if name}


def plain(name):
    return re.sub(r"/(iterations:\d+|manual_time|real_time|repeats:\d+|process_time)", "", name)


# These take minutes, or make a store of a million peers first: run only for a measure.
LONG = ("BM_X25519Iterated", "BM_PipelineBatch")


def run(names, seconds, rounds, environment):
    """Runs interleaved rounds of each. Returns {name: [nanoseconds an operation]} and
    {"allocs", "cycles": {name: number an operation}}."""
    pattern = "^(" + "|".join(re.escape(name) for name in names) + ")$"
    result = subprocess.run([BIN / "wicket_bench", f"--benchmark_filter={pattern}",
                             f"--benchmark_min_time={seconds}", "--benchmark_format=json",
                             f"--benchmark_repetitions={rounds}",
                             "--benchmark_enable_random_interleaving=true"],
                            capture_output=True, text=True, env=environment)
    if result.returncode != 0:
        raise RuntimeError(f"wicket_bench: {result.stderr.strip()[-500:]}")
    found, counts = {}, {"allocs": {}, "cycles": {}}
    for row in json.loads(result.stdout)["benchmarks"]:
        if row.get("error_occurred") or row["run_type"] != "iteration":
            continue
        scale = {"ns": 1, "us": 1e3, "ms": 1e6, "s": 1e9}[row["time_unit"]]
        took = row["real_time" if "manual_time" in row["name"] else "cpu_time"] * scale
        operations = 1
        if row.get("items_per_second"):
            operations = max(round(row["items_per_second"] * took / 1e9), 1)
            took = 1e9 / row["items_per_second"]
        found.setdefault(plain(row["name"]), []).append(took)
        for count, of in counts.items():
            if count in row:
                of.setdefault(plain(row["name"]), []).append(row[count] / operations)
    return found, {count: {name: round(stats.median(of), 2) for name, of in by.items()}
                   for count, by in counts.items()}


def micro(bench):
    rounds, seconds = bench.pick(smoke=(1, 0.01), quick=(2, 0.05), full=(5, 0.1))
    here = known()
    cases = {name: case for name, case in CASES.items() if case[0] in here and case[1] in here}
    wanted = {here[word] for case in cases.values() for word in case[:2]} | \
             {name for key, name in here.items()
              if not key.endswith("/1000000") and not key.startswith(LONG)}
    stored = bench.pick(smoke=10_000, quick=100_000, full=1_000_000)
    bench.environment["WICKET_BENCH_STORED"] = str(stored)
    samples, counts = {}, {"allocs": {}, "cycles": {}}
    for group in (sorted(name for name in wanted if not name.startswith(LONG)),
                  sorted(name for name in wanted if name.startswith(LONG))):
        bench.progress(f"{len(group)} functions, {rounds} rounds")
        if group:
            found, counted = run(group, seconds, rounds, bench.environment)
            samples.update(found)
            for count, of in counted.items():
                counts[count].update(of)
    for name, (ours, rival, how) in cases.items():
        if ours not in samples or rival not in samples:
            bench.problem(f"{name}: {ours} needs root, or another CPU")
            continue
        note = NOTES.get(name, "").format(stored=stored)
        if how == "rate":
            bench.results.add(name, [1e9 / x for x in samples[ours]],
                              [1e9 / x for x in samples[rival]], note=note)
        else:
            bench.results.add(name, [x - floor for x, floor in zip(samples[ours], samples[rival])],
                              samples[rival], note=note)
    bench.results.add_table("micro", {name: stats.median(took)
                                      for name, took in sorted(samples.items())})
    bench.results.add_table("allocations", counts["allocs"])
    bench.results.add_table("cycles", counts["cycles"])


BENCHES = {
    "micro": (micro, "functions by themselves, one core; the XDP program's part needs root",
              tuple(CASES)),
}
assert set(CASES) <= set(MEASURES)
