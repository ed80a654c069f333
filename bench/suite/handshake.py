"""The wait of a client: from its first packet to a usable session.

Five sides in turn, client by client, all with real wireguard-go at both ends:

    wicket, not installed        wicket, the same client installed
    the published design         wireguard-go alone, all peers installed
    wicket, not installed, handshakes proven one at a time by libsodium

An installed client comes at least 15 s after its first handshake: an earlier initiation looks
like one that got no answer, and Wicket would install the peer again.
"""
import random
import time
from contextlib import ExitStack, closing

import stats
from rig import BIN, BLAST, PATIENCE_S, Caller, Key, Side, run, write_peers

KNOWN_FLOW_S = 15.5
RETRY_MS = 4900  # just below a client's own retry, after 5 s


def clients_of(first, count):
    return [(first + i, Key()) for i in range(count)]


def address(number):
    return f"10.2.{number >> 8}.{number & 255}"


def read_peers(path):
    """Reads a file by write_peers. Returns: (key, address) of each peer."""
    with open(path, encoding="ascii") as file:
        for line in file:
            words = line.split('"')
            yield words[3], words[7]


def handshakes(bench):
    rounds, clients = bench.pick(smoke=(1, 4), quick=(1, 15), full=(5, 25))
    stored, alone_installed = bench.pick(smoke=(1000, 100), quick=(100_000, 1000),
                                         full=(1_000_000, 10_000))
    everyone = [clients_of(number * clients, clients) for number in range(rounds)]
    names = [{"public_key": key.public64, "allowed_ips": [address(number) + "/32"]}
             for crowd in everyone for number, key in crowd]
    with ExitStack() as stack:
        wicket, published, alone, portable = (
            stack.enter_context(Side(name)) for name in ("wicket", "published", "alone", "portable"))
        bench.progress(f"storing {stored} peers, three times")
        file = wicket.dir / "peers.ndjson"
        write_peers(file, stored, names)
        wicket.import_file(file)
        portable.import_file(file)
        published.write_database(read_peers(file))
        bench.progress(f"installing {alone_installed} peers in wireguard-go")
        install_all(alone, names, alone_installed)
        wicket.start_wicket()
        portable.start_wicket(settings='x25519 = "portable"\n')
        published.start_published()
        callers = {side: stack.enter_context(closing(Caller(side, rounds * clients)))
                   for side in (wicket, published, alone, portable)}

        trips = {wicket: [], published: []}
        found = {name: [[] for _ in everyone]
                 for name in ("new", "installed", "published", "alone", "portable")}
        for turn in range(rounds + 1):
            came = time.monotonic()
            for i in range(clients):
                bench.progress(f"round {turn} of {rounds}, client {i + 1} of {clients}")
                visits = []
                if turn < rounds:
                    visits += [("new", turn, wicket), ("published", turn, published),
                               ("alone", turn, alone), ("portable", turn, portable)]
                if turn > 0:
                    visits.append(("installed", turn - 1, wicket))
                random.shuffle(visits)
                for name, crowd, side in visits:
                    number, key = everyone[crowd][i]
                    found[name][crowd].append(callers[side].session_ms(number, key))
                    if name in ("new", "published"):
                        trips[side] += callers[side].round_trips[-1:]
            if turn < rounds and bench.mode != "smoke":
                time.sleep(max(0.0, came + KNOWN_FLOW_S - time.monotonic()))
    report(bench, found)
    bench.results.add("round_trips_to_data", trips[wicket], trips[published],
                      note="alternations of direction on the wire, including the last one-way trip; "
                           "not installed")


def install_all(side, names, count):
    """Installs the clients' peers, and others up to `count`."""
    config = "".join(f"[Peer]\nPublicKey = {peer['public_key']}\nAllowedIPs = "
                     f"{peer['allowed_ips'][0]}\n" for peer in names)
    more = max(count - len(names), 0)
    config += run(BLAST, "--export", "conf", "--clients", more).stdout if more else ""
    side.gateway.run("wg", "addconf", side.device.name, "/dev/stdin", input=config)


def report(bench, found):
    def add(name, ours, theirs, q, note=""):
        both = [[x for crowd in found[side] for x in crowd] for side in (ours, theirs)]
        value, rival = (stats.quantile(times, q) for times in both)
        bench.results.add(name, [stats.quantile(crowd, q) for crowd in found[ours]],
                          [stats.quantile(crowd, q) for crowd in found[theirs]],
                          value=value, rival=rival, n=len(both[0]), note=note)
    one = "one client after the other; wireguard-go at both ends"
    never = {side: sum(x >= PATIENCE_S * 1e3 for crowd in crowds for x in crowd)
             for side, crowds in found.items()}
    for side, count in never.items():
        if count:
            bench.problem(f"{side}: {count} clients got no session within {PATIENCE_S} s; they "
                          "count as that long")
    times = [x for crowd in found["published"] for x in crowd]
    smooth = [x for x in times if x < RETRY_MS]
    crossed = one
    if len(smooth) < len(times):
        crossed = (f"{len(times) - len(smooth)} of {len(times)} waited for a retry: the device got "
                   "the client's packet too, looked its sender up after the install, and both "
                   "handshakes crossed")
        if smooth:
            crossed += f"; {stats.quantile(smooth, 0.99):.2f} ms p99 of the others"
    for suffix, q in (("p50", 0.5), ("p99", 0.99)):
        add(f"handshake_{suffix}", "new", "installed", q, one)
        add(f"handshake_vs_published_{suffix}", "new", "published", q, crossed)
        add(f"handshake_vs_all_installed_{suffix}", "new", "alone", q, one)
    add("handshake_vs_portable_p50", "new", "portable", 0.5, one)
    for label, side in (("Wicket, not installed", "new"), ("Wicket, installed", "installed"),
                        ("published design, not installed", "published"),
                        ("wireguard-go alone, installed", "alone")):
        bench.results.add_line("handshake_latency", label,
                               stats.hdr_points([x for crowd in found[side] for x in crowd]))


def throughput(bench):
    """New clients at ever higher rates: throughput against latency."""
    seconds = bench.pick(smoke=1, quick=2, full=2)
    rates = bench.pick(smoke=(50, 100), quick=(400, 800),
                       full=(400, 800, 1600, 2200))
    rounds = bench.pick(smoke=1, quick=1, full=5)
    with ExitStack() as stack:
        wicket, alone = (stack.enter_context(Side(name)) for name in ("wicket", "alone"))
        fleet = [(number, rate) for number in range(rounds) for rate in rates]
        for number, rate in fleet:
            options = ("--clients", int(1.2 * rate * seconds) + 20, "--seed", f"{number}/{rate}")
            peers = run(BLAST, "--export", "ndjson", *options).stdout
            run(BIN / "wicket", "import", "--offline", "--store", wicket.store, "--device",
                wicket.device.name, "-", input=peers)
            alone.gateway.run("wg", "addconf", alone.device.name, "/dev/stdin",
                              input=run(BLAST, "--export", "conf", *options).stdout)
        wicket.start_wicket(device_extra="probation_max = 60000")
        held = {side: [] for side in (wicket, alone)}
        runs = late = 0
        lines = {side: {} for side in (wicket, alone)}
        for number in range(rounds):
            best, tired = {wicket: 0, alone: 0}, set()
            for rate in rates:
                for side in (wicket, alone) if number % 2 else (alone, wicket):
                    if side in tired:
                        continue
                    bench.progress(f"{side.name}: {rate} newcomers a second")
                    figures = side.blast("--clients", int(1.2 * rate * seconds) + 20, "--seed",
                                         f"{number}/{rate}", "--rate", rate, "--duration", seconds,
                                         "--timeout", 2, "--sources", 4096)
                    runs, late = runs + 1, late + bool(figures["generator_limit"])
                    latency = figures["latency_ms"]
                    lines[side].setdefault(rate, []).append((latency["p50"], latency["p99"]))
                    if figures["loss"] < 0.001 and latency["p99"] < 100:
                        best[side] = rate
                    elif figures["loss"] > 0.02 or latency["p99"] > 1000:
                        tired.add(side)
            for side in held:
                held[side].append(best[side])
        names = {wicket: "Wicket, not installed", alone: "wireguard-go alone, installed"}
        for side, label in names.items():
            for at, suffix in ((0, "p50"), (1, "p99")):
                bench.results.add_line("throughput_latency", f"{label}, {suffix}",
                                       [[rate, stats.median([pair[at] for pair in pairs])]
                                        for rate, pairs in sorted(lines[side].items())])
        if all(stats.median(side) > 0 for side in held.values()):
            bench.results.add("newcomers_per_s", held[wicket], held[alone],
                              note=f"the highest sustained of {', '.join(map(str, rates))}; "
                                   "generator, both devices and gateway share the machine's "
                                   f"cores: in {late} of {runs} runs packets left late")


BENCHES = {
    "handshake": (handshakes, "what a client waits for, against all rivals",
                  ("handshake_p50", "handshake_p99", "handshake_vs_published_p50",
                   "handshake_vs_published_p99", "handshake_vs_all_installed_p50",
                   "handshake_vs_all_installed_p99", "handshake_vs_portable_p50",
                   "round_trips_to_data")),
    "throughput": (throughput, "newcomers at ever higher rates", ("newcomers_per_s",)),
}
