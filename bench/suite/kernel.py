"""The kernel's WireGuard, in an emulated machine: only ratios, since times mean nothing there."""
import json
import os
import subprocess

from machine import ROOT
from rig import BIN

KERNEL = "6.12"


def kernel(bench):
    clients, most, rounds, stored, timeout = bench.pick(
        smoke=(2, 1000, 1, 10_000, 300), quick=(4, 2500, 2, 50_000, 300),
        full=(8, 100_000, 5, 100_000, 900))
    guest = subprocess.Popen(
        [ROOT / "scripts" / "vm", "--timeout", str(timeout), KERNEL, "bench/suite/in_vm.py",
         *map(str, (clients, most, rounds, stored))],
        cwd=ROOT, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
        text=True, env={**os.environ, "WICKET_BIN": str(BIN), "WICKET_SLOW": "4"})
    found, last = {}, ""
    try:
        for line in guest.stdout:
            last = line.strip() or last
            if last.startswith("{"):
                found = json.loads(last)
                if found.get("done"):
                    break
            else:
                bench.progress(last[:60])
    finally:
        guest.terminate()  # the machine ends with its script
        guest.wait()
    if not found.get("done"):
        bench.problem(f"scripts/vm {KERNEL}: {last[:200]}")
    if found:
        report(bench, found)


def report(bench, found):
    crossed = sum(x > 4900 for x in found["published"])
    bench.results.add("kernel_handshake_p50", found["new"], found["installed"],
                      note="emulated: only the ratio is meaningful")
    bench.results.add("kernel_vs_published_p50", found["new"], found["published"],
                      note=f"emulated; {crossed} of {len(found['published'])} clients of the "
                           "published design waited for a retry")
    stored, installed = found["memory"]
    bench.results.add("kernel_bytes_per_stored_peer", [stored], [installed],
                      note="unreclaimable slabs, stacks and per-CPU memory; while the daemon runs, "
                           "per peer stored in addition")
    if "working_set" not in found:
        return
    (few, small), (many, large) = sorted((int(n), figures)
                                         for n, figures in found["working_set"].items())
    note = f"emulated; {few} installed against {many}, which have no sessions"
    bench.results.add("kernel_working_set", small[0], large[0], note=note)
    bench.results.add("kernel_working_set_handshake", small[1], large[1], note=note)


BENCHES = {
    "kernel": (kernel, "the kernel's WireGuard, in an emulated machine (not with --quick)",
               ("kernel_handshake_p50", "kernel_vs_published_p50", "kernel_bytes_per_stored_peer",
                "kernel_working_set", "kernel_working_set_handshake")),
}
