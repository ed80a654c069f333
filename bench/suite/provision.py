"""Bringing peers in, keeping them, and starting with many."""
import json
import subprocess
import time
from types import SimpleNamespace

import lifecycle
import stats
from measure import size_name
from rig import BIN, BLAST, Key, Side, run

LIMIT_S = {"smoke": 10, "quick": 10, "full": 60}  # what would take a rival longer is not tried


def creates(bench):
    """wicket_provision: the store against SQLite, against itself when small, and by size."""
    peers, lookups = bench.pick(smoke=(10_000, 1000), quick=(1_000_000, 10_000),
                                full=(10_000_000, 1_000_000))
    rounds, seconds = bench.pick(smoke=(1, 0.1), quick=(2, 0.3), full=(5, 1))
    file = bench.temporary / "provision.json"
    bench.progress(f"{peers} peers, {rounds} rounds")
    result = subprocess.run([BIN / "wicket_provision", "--peers", str(peers), "--rounds",
                             str(rounds), "--seconds", str(seconds), "--lookups", str(lookups),
                             "--json", file], stdout=subprocess.DEVNULL, stderr=subprocess.PIPE,
                            text=True)
    if result.returncode != 0:
        raise RuntimeError(result.stderr.strip() or "wicket_provision failed")
    found = json.loads(file.read_text())
    sizes = {int(count): figures for count, figures in found.pop("lookups_us").items()}
    for name, row in found.items():
        note = f"{peers} stored" if name in ("create_p50", "delete_p99", "open_and_find",
                                             "create_over_socket", "store_bytes_after_creates") else \
            f"{lookups} stored" if name == "lookup_vs_sqlite" else ""
        bench.results.add(name, row["samples"], row.get("against_samples"), n=row["n"], note=note)
    for at, label in ((0, "look-up, Wicket's store"), (1, "look-up, SQLite")):
        bench.results.add_line("cost_by_peers", label, [[count, figures[at]] for count, figures in
                                                        sorted(sizes.items()) if len(figures) > at])
    for name, label in (("create_p50", "durable create over the socket, p50"),
                        (f"create_p99_{size_name(peers)}", "the same, p99")):
        bench.results.add_line("cost_by_peers", label, [[1000, 1e3 * found[name]["against"]],
                                                        [peers, 1e3 * found[name]["value"]]])


def seconds_of(step):
    begin = time.perf_counter()
    step()
    return time.perf_counter() - begin


class Rivals:
    """wg's ways to bring peers into a device, each time into a new one."""

    def __init__(self, side):
        self.side = side

    def device(self):
        return self.side.wireguard(self.side.gateway, port=51999)

    def close(self, device):
        device.close()
        self.side.devices.remove(device)

    def wg_set(self, conf, keys):
        device = self.device()
        took = seconds_of(lambda: [device.set("peer", key, "allowed-ips", f"fd00:2::{n:x}/128")
                                   for n, key in enumerate(keys)])
        self.close(device)
        return took

    def addconf(self, conf, keys):
        device = self.device()
        took = seconds_of(lambda: device.ns.run("wg", "addconf", device.name, conf))
        self.close(device)
        return took

    def syncconf_one_more(self, conf, keys):
        """One peer added to the file, and the file applied."""
        device = self.device()
        device.ns.run("wg", "addconf", device.name, conf)
        more = conf.with_suffix(".more")
        more.write_text(f"[Interface]\nPrivateKey = {device.key.private64}\nListenPort = 51999\n"
                        f"{conf.read_text()}\n[Peer]\nPublicKey = {Key().public64}\n")
        took = seconds_of(lambda: device.ns.run("wg", "syncconf", device.name, more))
        self.close(device)
        return took

    def restart(self, conf, keys):
        """From the device's process to all peers in it."""
        whole = conf.with_suffix(".whole")
        key = Key()
        whole.write_text(f"[Interface]\nPrivateKey = {key.private64}\nListenPort = 51999\n"
                         + conf.read_text())
        made = []

        def start():
            made.append(self.side.wireguard(self.side.gateway, port=51999))
            made[0].ns.run("wg", "setconf", made[0].name, whole)
        took = seconds_of(start)
        self.close(made[0])
        return took


def bulk(bench):
    sizes, own = bench.pick(smoke=((1000,), (1000,)), quick=((1000, 10_000), (1000, 10_000, 100_000)),
                            full=((1000, 10_000, 100_000), (1000, 10_000, 100_000, 1_000_000)))
    rounds = bench.pick(smoke=1, quick=1, full=3)
    ways = {"wg set, a call each": Rivals.wg_set, "wg addconf": Rivals.addconf,
            "wg syncconf, one more among so many": Rivals.syncconf_one_more}
    times = {}  # (way, count) -> seconds
    with Side("bulk") as side:
        rivals = Rivals(side)
        for count in own:
            conf, ndjson = side.dir / f"{count}.conf", side.dir / f"{count}.ndjson"
            with open(ndjson, "w", encoding="ascii") as out:
                subprocess.run([BIN / "wicket_provision", "--ndjson", str(count)], stdout=out,
                               check=True)
            keys = []
            if count in sizes:
                conf.write_text(run(BLAST, "--export", "conf", "--clients", count).stdout)
                keys = [line.split()[-1] for line in conf.read_text().splitlines()
                        if line.startswith("PublicKey")]
            for number in range(rounds):
                bench.progress(f"{count} peers, round {number + 1} of {rounds}: wicket import")
                store = side.dir / f"store{count}.{number}"
                times.setdefault(("wicket import", count), []).append(seconds_of(
                    lambda: run(BIN / "wicket", "import", "--offline", "--store", store, "--device",
                                side.device.name, ndjson)))
                run("rm", "-r", store)
                for way, step in {**ways, "wg setconf": Rivals.restart}.items():
                    expected = 10 * stats.median(times.get((way, count // 10), [0]))
                    if not keys or expected > LIMIT_S[bench.mode] or (way in ways and number and expected > 5):
                        continue
                    bench.progress(f"{count} peers, round {number + 1} of {rounds}: {way}")
                    times.setdefault((way, count), []).append(step(rivals, conf, keys))
            ndjson.unlink()

    def points(way):
        return [[count, stats.median(times[way, count])] for count in own if (way, count) in times]
    for way in ways:
        bench.results.add_line("provision_by_peers", way, points(way))
    bench.results.add_line("start_by_peers", "wireguard-go and wg setconf", points("wg setconf"))
    most = max(count for way, count in times if way == "wg addconf")
    largest = max(own)
    bench.results.add("import_per_s", [largest / took for took in times["wicket import", largest]],
                      [most / took for took in times["wg addconf", most]],
                      note=f"{largest} peers into an empty store, against {most} into an empty "
                           "device; a stored peer can connect, and is in no device yet")
    compare_starts(bench, points("wicket import"), {count: times[way, count] for way, count in times
                           if way == "wg setconf"})


def compare_starts(bench, imports, setconf):
    """Wicket's start with as many stored as `wg setconf` managed, and with more."""
    rounds = bench.pick(smoke=1, quick=3, full=5)
    most = max(setconf)
    largest = bench.pick(smoke=10_000, quick=1_000_000, full=10_000_000)
    sizes = sorted({1000, most, largest} | {size for size in (10_000, 100_000, 1_000_000)
                                            if size < largest and bench.mode == "full"})
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
