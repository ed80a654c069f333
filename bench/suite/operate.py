"""What newcomers notice of those who watch the gateway.

New clients come at the same rate with and without watchers, in turns. Their generator has priority
over all other processes: on machines of few cores its own delay would be most of the figure.
Watchers would not be on the gateway's machine either, so they take only what nobody else wants
(SCHED_IDLE); what the gateway does for them counts.
"""
import subprocess
import sys
from contextlib import contextmanager

from flood import fleet_of, resolve
from rig import BIN, BLAST, Side, run, wait_for

UNBOUNDED = "probation_max = 60000"
# A watcher: asks for a page PER_SECOND times a second, or as fast as it can (0), on one connection.
WATCHER = """
import os, socket, sys, threading, time
path, target, per_second, count = sys.argv[1], sys.argv[2], float(sys.argv[3]), int(sys.argv[4])
pages = [0]
def watch(first):
    os.sched_setscheduler(0, os.SCHED_IDLE, os.sched_param(0))
    s = socket.socket(socket.AF_UNIX); s.connect(path); f = s.makefile("rb")
    due = time.monotonic() + first
    while True:
        if per_second:
            time.sleep(max(0, due - time.monotonic())); due += 1 / per_second
        s.sendall(f"GET {target} HTTP/1.1\\r\\nHost: x\\r\\n\\r\\n".encode())
        length = 0
        if b" 200 " not in f.readline():
            os._exit(1)
        while (line := f.readline()) != b"\\r\\n":
            if line.lower().startswith(b"content-length:"):
                length = int(line.split(b":")[1])
        f.read(length); pages[0] += 1
for n in range(count):
    threading.Thread(target=watch, args=(n / count,), daemon=True).start()
sys.stdin.read()
print(pages[0])
"""


@contextmanager
def watched(daemon, target, per_second, count, pages):
    """Counts the pages that were read meanwhile."""
    process = subprocess.Popen([sys.executable, "-c", WATCHER, daemon.control, target, str(per_second), str(count)],
                               stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    try:
        yield
    finally:
        pages.append(int(process.communicate()[0] or 0))
        if process.returncode != 0:
            raise RuntimeError(f"a watcher of {target} ended with {process.returncode}")


def await_dump(daemon):
    """A dump of a user-space device holds newcomers up for a tenth of a second and more, watched or not, and
    comes every five seconds. Whether one falls into a round would decide its p99; so each begins after one."""
    if not wait_for(lambda: 0 <= daemon.fresh_status()["devices"][0]["dumped_s_ago"] < 1, 30):
        raise RuntimeError("the device is not dumped")


def watchers(bench):
    rate, rounds, seconds = bench.pick(smoke=(50, 1, 1), quick=(300, 2, 2), full=(1000, 7, 3))
    stored = bench.pick(smoke=500, quick=20_000, full=20_000)
    kinds = {"scrape": ("/metrics", 1, 64), "readers": (None, 0, 64)}
    states = ("none", *kinds)
    p99, lost, pages = {state: [] for state in states}, 0, {state: [] for state in kinds}
    with Side("wicket") as side:
        fleets = {(state, number): fleet_of(f"{state}{number}", seconds, rate)
                  for state in states for number in range(rounds)}
        for fleet in [*fleets.values(), ("--clients", stored, "--seed", "stored")]:
            run(BIN / "wicket", "import", "--offline", "--store", side.store, "--device", side.device.name, "-",
                input=run(BLAST, "--export", "ndjson", *fleet).stdout)
        daemon = side.start_wicket(device_extra=UNBOUNDED)
        resolve(side)
        page = f"/v1/devices/{side.device.name}/peers?installed=false&limit=1000"
        for number in range(rounds):
            for state in states[number % 3:] + states[:number % 3]:
                bench.progress(f"newcomers, watchers: {state}, round {number + 1} of {rounds}")

                def come():
                    await_dump(daemon)
                    return side.blast(*fleets[state, number], "--rate", rate, "--duration", seconds, "--timeout", 2,
                                      "--sources", 4096, first=True)
                if state == "none":
                    figures = come()
                else:
                    target, per_second, count = kinds[state]
                    with watched(daemon, target or page, per_second, count, pages[state]):
                        figures = come()
                lost += figures["lost"]
                p99[state].append(figures["latency_ms"]["p99"])
    note = f"{rate} newcomers a second, {lost} without an answer; the median of the rounds"
    bench.results.add("scrape_vs_none_p99", p99["scrape"], p99["none"],
                      note=f"64 scrapes of /metrics a second; {note}")
    bench.results.add("readers_vs_none_p99", p99["readers"], p99["none"],
                      note=f"64 clients that read pages of 1 000 peers in a loop, {sum(pages['readers'])} pages; {note}")


def pinning(bench):
    rate, rounds, seconds = bench.pick(smoke=(50, 1, 1), quick=(300, 3, 2), full=(1000, 9, 3))
    p99, lost = {True: [], False: []}, 0
    with Side("wicket") as side:
        fleets = {(pinned, number): fleet_of(f"{pinned}{number}", seconds, rate)
                  for pinned in p99 for number in range(rounds)}
        for fleet in fleets.values():
            run(BIN / "wicket", "import", "--offline", "--store", side.store, "--device", side.device.name, "-",
                input=run(BLAST, "--export", "ndjson", *fleet).stdout)
        daemon = side.start_wicket(device_extra=UNBOUNDED)
        resolve(side)
        text = daemon.text
        for number in range(rounds):
            for pinned in sorted(p99, reverse=number % 2 == 0):
                bench.progress(f"newcomers, shards {'pinned' if pinned else 'free'}: round {number + 1} of {rounds}")
                daemon.stop()
                daemon.text = f"pin_threads = {str(pinned).lower()}\n{text}"
                daemon.start()
                side.target = daemon.process
                figures = side.blast(*fleets[pinned, number], "--rate", rate, "--duration", seconds, "--timeout", 2,
                                     "--sources", 4096, first=True)
                lost += figures["lost"]
                p99[pinned].append(figures["latency_ms"]["p99"])
    bench.results.add("pinned_vs_free_p99", p99[True], p99[False],
                      note=f"{rate} newcomers a second, {lost} without an answer; the median of the rounds")


BENCHES = {
    "pinning": (pinning, "newcomers with shards pinned to CPUs, and free", ("pinned_vs_free_p99",)),
    "watchers": (watchers, "what newcomers wait for while 64 watch the gateway",
                 ("scrape_vs_none_p99", "readers_vs_none_p99")),
}
