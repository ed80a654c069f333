"""Importing peers, storing them, and starting with many."""
import json
import shutil
import subprocess
import time
from contextlib import contextmanager
from types import SimpleNamespace

import lifecycle
import stats
from measure import size_name
from rig import BIN, BLAST, Key, Side, run

PORT = 51999  # of devices without clients
GO_PEERS_MAX = 60_000  # wireguard-go takes 65 536
COMPARED = ("wg addconf", "wg setconf")  # by a measure; the others are only lines in a plot
ONCE_S = {True: 5, False: 1}  # slower ways are not repeated: these, and the others
LIMIT_S = {"smoke": 10, "quick": 10, "full": 60}  # a rival's slower sizes are skipped


def creates(bench):
    """wicket_provision: the store against SQLite, against itself when small, and by size."""
    peers, lookups = bench.pick(smoke=(10_000, 1000), quick=(100_000, 10_000),
                                full=(10_000_000, 1_000_000))
    rounds, seconds = bench.pick(smoke=(1, 0.1), quick=(2, 0.3), full=(5, 1))
    file = bench.temporary / "provision.json"
    bench.progress(f"{peers} peers, {rounds} rounds")
    result = subprocess.run([BIN / "wicket_provision", "--peers", str(peers), "--rounds",
                             str(rounds), "--seconds", str(seconds), "--lookups", str(lookups),
                             "--json", file, *([] if bench.mode == "full" else ["--brief"])],
                            stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True,
                            env=bench.environment)
    if result.returncode != 0:
        raise RuntimeError(result.stderr.strip() or "wicket_provision failed")
    found = json.loads(file.read_text())
    sizes, creates = ({int(count): figures for count, figures in found.pop(name).items()}
                      for name in ("lookups_us", "creates_ms"))
    stored = dict.fromkeys(("create_p50", "delete_p99", "open_and_find", "create_over_socket",
                            "store_bytes_after_creates"), peers) | {"lookup_vs_sqlite": lookups}
    for name, row in found.items():
        bench.results.add(name, row["samples"], row.get("against_samples"), n=row["n"],
                          note=f"{stored[name]} stored" if name in stored else "")
    for at, label in ((0, "look-up, Wicket's store"), (1, "look-up, SQLite")):
        bench.results.add_line("cost_by_peers", label, [[count, figures[at]] for count, figures in
                                                        sorted(sizes.items()) if len(figures) > at])
    for at, name, label in ((0, "create_p50", "durable create over the socket, p50"),
                            (1, f"create_p99_{size_name(peers)}", "the same, p99")):
        between = [[count, 1e3 * figures[at]] for count, figures in sorted(creates.items())]
        bench.results.add_line("cost_by_peers", label, [[1000, 1e3 * found[name]["against"]], *between,
                                                        [peers, 1e3 * found[name]["value"]]])


def seconds_of(step):
    begin = time.perf_counter()
    step()
    return time.perf_counter() - begin


@contextmanager
def empty_device(side):
    device = side.wireguard(side.gateway, port=PORT)
    try:
        yield device
    finally:
        device.close()
        side.devices.remove(device)


def wg_set(side, conf, keys):
    with empty_device(side) as device:
        return seconds_of(lambda: [device.set("peer", key, "allowed-ips", f"fd00:2::{n:x}/128")
                                   for n, key in enumerate(keys)])


def addconf(side, conf, keys):
    with empty_device(side) as device:
        return seconds_of(lambda: device.ns.run("wg", "addconf", device.name, conf))


def whole(device, conf, more=""):
    """Returns: the file with the device's own settings added."""
    path = conf.with_suffix(".whole")
    path.write_text(f"[Interface]\nPrivateKey = {device.key.private64}\nListenPort = {PORT}\n"
                    f"{conf.read_text()}\n{more}")
    return path


def syncconf_one_more(side, conf, keys):
    """Adds one peer to the file, and applies the file."""
    with empty_device(side) as device:
        device.ns.run("wg", "addconf", device.name, conf)
        path = whole(device, conf, f"[Peer]\nPublicKey = {Key().public64}\n")
        return seconds_of(lambda: device.ns.run("wg", "syncconf", device.name, path))


def restart(side, conf, keys):
    """Times from the start of the device's process until it has all peers."""
    begin = time.perf_counter()
    with empty_device(side) as device:
        started = time.perf_counter() - begin
        path = whole(device, conf)
        return started + seconds_of(lambda: device.ns.run("wg", "setconf", device.name, path))


WAYS = {"wg set, a call each": wg_set, "wg addconf": addconf,
        "wg syncconf, one more peer": syncconf_one_more, "wg setconf": restart}


def import_seconds(side, ndjson, store):
    took = seconds_of(lambda: run(BIN / "wicket", "import", "--offline", "--store", store,
                                  "--device", side.device.name, ndjson))
    shutil.rmtree(store)
    return took


def expected_s(times, way, count):
    """The time of the last size, scaled by the number of peers."""
    tried = [size for one, size in times if one == way]
    return stats.median(times[way, max(tried)]) * count / max(tried) if tried else 0


def times_by_size(bench, side):
    """Returns {(way, peers): [seconds, one a round]}."""
    sizes, own = bench.pick(smoke=((1000,), (1000,)),
                            quick=((1000, 10_000), (1000, 10_000, 100_000)),
                            full=((1000, 10_000, GO_PEERS_MAX),
                                  (1000, 10_000, GO_PEERS_MAX, 1_000_000)))
    rounds = bench.pick(smoke=1, quick=1, full=5)
    times = {}
    for count in own:
        conf, ndjson = side.dir / f"{count}.conf", side.dir / f"{count}.ndjson"
        with open(ndjson, "w", encoding="ascii") as out:
            subprocess.run([BIN / "wicket_provision", "--ndjson", str(count)], stdout=out,
                           check=True)
        ways = {}
        if count in sizes:
            conf.write_text(run(BLAST, "--export", "conf", "--clients", count).stdout)
            keys = [line.split()[-1] for line in conf.read_text().splitlines()
                    if line.startswith("PublicKey")]
            ways = {way: step for way, step in WAYS.items()
                    if expected_s(times, way, count) < LIMIT_S[bench.mode]}
        for number in range(rounds):
            bench.progress(f"{count} peers, round {number + 1} of {rounds}: wicket import")
            times.setdefault(("wicket import", count), []).append(
                import_seconds(side, ndjson, side.dir / f"store{count}"))
            for way, step in ways.items():
                so_far = times.setdefault((way, count), [])
                if not so_far or so_far[0] < ONCE_S[way in COMPARED]:
                    bench.progress(f"{count} peers, round {number + 1} of {rounds}: {way}")
                    so_far.append(step(side, conf, keys))
        ndjson.unlink()
    return times


def bulk(bench):
    with Side("bulk") as side:
        times = times_by_size(bench, side)

    def points(way):
        return [[count, stats.median(took)] for (one, count), took in sorted(times.items())
                if one == way]
    for way in WAYS:
        if way != "wg setconf":
            bench.results.add_line("provision_by_peers", way, points(way))
    bench.results.add_line("start_by_peers", "wireguard-go and wg setconf", points("wg setconf"))
    most, largest = points("wg addconf")[-1][0], points("wicket import")[-1][0]
    bench.results.add("import_per_s", [largest / took for took in times["wicket import", largest]],
                      [most / took for took in times["wg addconf", most]],
                      note=f"{largest} peers into an empty store, against {most} into an empty "
                           "device; a stored peer can connect without being in a device")
    compare_starts(bench, points("wicket import"),
                   {count: took for (way, count), took in times.items() if way == "wg setconf"})


def compare_starts(bench, imports, setconf):
    """Wicket's start with as many peers stored as `wg setconf` managed, and with more."""
    rounds = bench.pick(smoke=1, quick=3, full=5)
    most = max(setconf)
    largest = bench.pick(smoke=10_000, quick=100_000, full=10_000_000)
    sizes = {1000, most, largest}
    if bench.mode == "full":
        sizes |= {10_000, 100_000, 1_000_000}
    sizes = sorted(sizes)
    lifecycle.progress = bench.progress
    found = lifecycle.starts(sizes, rounds)
    seconds = dict(imports) | {count: found[count][0] for count in sizes if count > most}
    bench.results.add_line("provision_by_peers", "wicket import", sorted(seconds.items()))
    bench.results.add_line("start_by_peers", "Wicket", [
        [count, stats.median(found[count][1]) / 1e3] for count in sizes])
    bench.results.add("store_bytes_per_peer", [found[largest][3] / largest],
                      note=f"{largest} stored, one IPv6 address each")
    bench.results.add("restart_vs_setconf", [ms / 1e3 for ms in found[most][1]], setconf[most],
                      note=f"{most} peers")
    bench.results.add(f"start_{size_name(largest)}", found[largest][1], found[1000][1])
    bench.results.add("start_to_session", found[largest][2], found[1000][2],
                      note=f"{largest} stored")


def evictions(bench):
    lifecycle.progress = bench.progress
    found = lifecycle.measure_evictions(SimpleNamespace(
        rounds=bench.pick(smoke=1, quick=1, full=5)))
    for name, row in found.items():
        bench.results.add(name, row["samples"], row["against_samples"], n=row["n"])


BENCHES = {
    "creates": (creates, "durable creates and look-ups, by wicket_provision",
                ("group_commit", "group_commit_500k", "create_vs_sqlite", "create_vs_sqlite_500k",
                 "lookup_vs_sqlite", "create_p99_1e7", "create_p50", "delete_p99",
                 "create_over_socket", "open_and_find", "store_bytes_after_creates")),
    "bulk": (bulk, "imports and restarts, against wg set, addconf, syncconf and setconf",
             ("import_per_s", "store_bytes_per_peer", "restart_vs_setconf", "start_1e7",
              "start_to_session")),
    "evictions": (evictions, "newcomers while ten thousand peers leave",
                  ("install_p50_with_evictions", "install_p99_with_evictions")),
}
