#!/usr/bin/python3
"""How a gateway's age and size affect it: its start, and installs while peers leave.

    bench/lifecycle.py [--peers N] [--rounds R] [--json FILE] [start] [evictions]

start       from the daemon's exec to a client's session, N peers stored against 1 000
            (scripts/bench has more sizes in between)
evictions   time from a client's first packet to its answer while 10 000 peers leave the
            device, against the same device shortly before

Each round runs both sides in turn; medians over rounds. Needs root.
"""
import argparse
import json
import os
import statistics
import subprocess
import sys
import time
from base64 import b64encode
from pathlib import Path

sys.path[:0] = [str(Path(__file__).resolve().parents[1] / "tests" / "e2e"),
                str(Path(__file__).resolve().parent / "suite")]
from client import Client  # noqa: E402
from control import Watch  # noqa: E402
from lab import BIN, Lab, wait_for  # noqa: E402
from stats import quantile  # noqa: E402

CROWD = 10_000
CLIENTS = 100


def show_progress(text):
    if sys.stderr.isatty():
        print(f"\r\033[K{text}", end="", file=sys.stderr, flush=True)


progress = show_progress  # scripts/bench has its own line


def connect_ms(client):
    begin = time.perf_counter()
    if client.connect(seconds=5) is None:
        raise RuntimeError("no session")
    return (time.perf_counter() - begin) * 1e3


def fill(lab, count):
    """Imports `count` peers without known keys. Returns: the seconds it took."""
    file = lab.dir / "peers.ndjson"
    with open(file, "w") as out:
        subprocess.run([BIN / "wicket_provision", "--ndjson", str(count)], stdout=out, check=True)
    begin = time.perf_counter()
    subprocess.run([BIN / "wicket", "import", "--offline", "--store", lab.store, "--device", "none",
                    file], check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    took = time.perf_counter() - begin
    file.unlink()
    return took


def start_ms(lab, device, client):
    """Returns: (until it serves, until a client has its session), both from the exec."""
    daemon = lab.daemon(device, log_level="info")
    begin = time.perf_counter()
    daemon.start()
    ready = (time.perf_counter() - begin) * 1e3
    connect_ms(client)
    session = (time.perf_counter() - begin) * 1e3
    daemon.stop()
    device.remove_peer(client.key.public64)
    return ready, session


def starts(sizes, rounds):
    """Starts with `sizes` peers stored, in turn.

    Returns {size: (seconds of its import, [ms until it serves], [ms until a session],
    bytes of its file)}.
    """
    with Lab() as lab:
        device = lab.gateway_device()
        found, stores = {}, {}
        for count in sizes:
            progress(f"storing {count} peers")
            lab.store = stores[count] = lab.dir / f"store{count}"
            found[count] = (fill(lab, count), [], [],
                            (lab.store / "data.mdb").stat().st_size)
        for number in range(-1, rounds):  # the first start of each reads the file from disk
            for count, (_, ready, session, _) in found.items():
                progress(f"start {max(number, 0) + 1} of {rounds}, {count} peers")
                lab.store = stores[count]
                client = Client(lab, device.key.public)
                lab.import_peers([client.stored], device.name)
                times = start_ms(lab, device, client)
                if number >= 0:
                    ready.append(times[0])
                    session.append(times[1])
        return found


def measure_start(options):
    found = starts((options.peers, 1000), options.rounds)
    large, small = found[options.peers], found[1000]
    zeros = len(str(options.peers)) - 1
    name = f"1e{zeros}" if options.peers == 10 ** zeros else options.peers
    return {f"start_{name}": result("ms", large[1], small[1]),
            "start_to_session": result("ms", large[2], small[2])}


def evictions_round():
    """Returns the connection times before, and while, a crowd leaves."""
    with Lab() as lab:
        device = lab.gateway_device()
        daemon = lab.daemon(device, device_extra="installed_max = 60000\nprobation_max = 60000",
                            log_level="info")
        crowd = [b64encode(os.urandom(32)).decode() for _ in range(CROWD)]
        clients = [Client(lab, device.key.public) for _ in range(2 * CLIENTS)]
        lab.import_peers([{"public_key": key} for key in crowd]
                         + [client.stored for client in clients], device.name)
        device.add_peers(crowd)
        daemon.start()

        watch = Watch(daemon)

        def count(name):
            return daemon.status()["devices"][0]["counts"][name]
        try:
            wait_for(lambda: count("adopted") == CROWD, 20, every=0.2)
            before = [connect_ms(client) for client in clients[:CLIENTS]]
            if watch.times("evicted"):
                raise RuntimeError("too slow: peers left before they should")
            if not wait_for(lambda: watch.times("evicted"), 45, every=0.01):
                raise RuntimeError("the crowd did not leave")
            during = [connect_ms(client) for client in clients[CLIENTS:]]
            end = time.time()
            if not wait_for(lambda: max(watch.times("evicted")) > end, 20):
                raise RuntimeError("too fast: the crowd had left before all clients had come")
            return before, during
        finally:
            watch.close()


def measure_evictions(options):
    before, during = [], []
    for number in range(options.rounds):
        progress(f"evictions {number + 1} of {options.rounds}")
        sides = evictions_round()
        before.append(sides[0])
        during.append(sides[1])
    found = {}
    for name, q in (("install_p50_with_evictions", 0.5), ("install_p99_with_evictions", 0.99)):
        found[name] = result("ms", [quantile(times, q) for times in during],
                             [quantile(times, q) for times in before], sum(map(len, during)))
    return found


def result(unit, samples, against, n=None):
    value, rival = statistics.median(samples), statistics.median(against)
    return {"value": round(value, 3), "unit": unit, "against": round(rival, 3),
            "ratio": round(value / rival, 3), "n": n or len(samples), "samples": samples,
            "against_samples": against}


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("measures", nargs="*", choices=["start", "evictions", []])
    parser.add_argument("--peers", type=int, default=1_000_000)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    found = {}
    for name, measure in (("start", measure_start), ("evictions", measure_evictions)):
        if not options.measures or name in options.measures:
            found.update(measure(options))
            progress("")
    for name, row in found.items():
        print(f"{name:28} {row['value']:10.2f} {row['unit']:3} against {row['against']:10.2f}   "
              f"ratio {row['ratio']:.2f}   (n = {row['n']})")
    if options.json:
        options.json.write_text(json.dumps(found, indent=1) + "\n")


if __name__ == "__main__":
    main()
