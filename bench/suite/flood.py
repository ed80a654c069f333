"""Floods of initiations that deserve nothing: what each costs, and what clients notice.

Wicket and wireguard-go (with all clients installed) are flooded in turns by the same packets
at the same rates, with 10 legitimate newcomers a second among them.

What a packet costs is processor time: of the processes that work on it (the device's, and the
gateway's), plus what the whole machine spends in soft interrupts, less what it spends there
while the same flood meets a program that drops everything (the price of the veth and of the
generator's sending). The kernel books soft interrupts by its tick, so that part is sampled.
Packets that wireguard-go's sockets or Wicket's rings had no room for are not counted as disposed
of; those that wireguard-go's own queue dropped are, which is in its favour. To dispose of a packet is also to answer it with a cookie.
"""
import re
from contextlib import ExitStack

import stats
from rig import BIN, BLAST, GATEWAY4, Side, attach_bare, cpu_seconds, run, softirq_seconds

LEGITIMATE = 10  # a second: one address may try 20 times under load
KINDS = {
    # kind: (measure of cost, measure of success, rates of smoke, quick, full)
    "bad-mac1": ("forged_drop_per_core", "forged_flood_success",
                 (20_000,), (50_000, 300_000), (20_000, 100_000, 300_000)),
    "unknown": ("unknown_key_per_core", "unknown_flood_success",
                (1000,), (4000, 60_000), (1000, 4000, 20_000, 60_000)),
}


def options(kind, rate, seconds, seed):
    packets = int((rate + LEGITIMATE) * seconds)
    return ["--clients", int(LEGITIMATE * seconds * 2) + 40, "--seed", seed, "--mix",
            f"{kind}={rate},cookie={LEGITIMATE}", "--rate", rate + LEGITIMATE, "--prepare", packets,
            "--count", packets, "--duration", seconds, "--timeout", min(seconds, 3), "--via", "xdp"]


def unjudged(side):
    """Packets so far that found no room in the device's sockets, or in Wicket's rings."""
    text = side.gateway.run("nstat", "-asz").stdout
    lost = sum(int(found) for found in re.findall(r"^Udp6?RcvbufErrors\s+(\d+)", text, re.M))
    for daemon in side.daemons:
        lost += sum(nic["ring_full"] + nic["ring_dropped"] for nic in daemon.fresh_status()["nics"])
    return lost


def flood(side, kind, rate, seconds, seed):
    """Returns: (processor seconds of processes, of soft interrupts, packets disposed of,
    the generator's figures)."""
    before = unjudged(side), cpu_seconds(side.target_pids), softirq_seconds()
    figures = side.blast(*options(kind, rate, seconds, seed))
    processes, interrupts = cpu_seconds(side.target_pids), softirq_seconds()
    return (processes - before[1], interrupts - before[2],
            figures["sent"] - (unjudged(side) - before[0]), figures)


class Tally:
    """What one side did at one rate, round by round."""

    def __init__(self):
        self.micros, self.success, self.p99, self.sent = [], [], [], []
        self.attempts = self.cookies = 0

    def add(self, processes, interrupts, packets, figures):
        new = figures["kinds"].get("cookie", {"sent": 0, "answered": 0})
        self.micros.append((processes + max(interrupts, 0)) / max(packets, 1) * 1e6)
        self.sent.append(figures["rate"])
        self.attempts += new["sent"]
        self.cookies += figures["cookies"]
        if new["sent"]:
            self.success.append(new["answered"] / new["sent"])
        if figures["latency_ms"]["count"]:
            self.p99.append(figures["latency_ms"]["p99"])


def floods(bench):
    rounds, seconds = bench.pick(smoke=(1, 1), quick=(1, 2), full=(5, 2))
    for kind, (cost, success, *rates) in KINDS.items():
        rates = dict(zip(("smoke", "quick", "full"), rates))[bench.mode]
        tallies = measure(bench, kind, rates, rounds, seconds)
        report(bench, kind, cost, success, rates, tallies)


def measure(bench, kind, rates, rounds, seconds):
    """Returns {(side's name, rate): Tally}."""
    tallies, floors = {}, {}
    with ExitStack() as stack:
        wicket, alone, nobody = (stack.enter_context(Side(name))
                                 for name in ("wicket", "alone", "nobody"))
        seeds = [(rate, number, f"{kind}{rate}/{number}") for number in range(rounds)
                 for rate in rates]
        for rate, _, seed in seeds:
            fleet = ("--clients", int(LEGITIMATE * seconds * 2) + 40, "--seed", seed)
            alone.gateway.run("wg", "addconf", alone.device.name, "/dev/stdin",
                              input=run(BLAST, "--export", "conf", *fleet).stdout)
            run(BIN / "wicket", "import", "--offline", "--store", wicket.store, "--device",
                wicket.device.name, "-", input=run(BLAST, "--export", "ndjson", *fleet).stdout)
        wicket.start_wicket(device_extra="probation_max = 60000")
        # What drops everything answers no neighbour either.
        for side in (wicket, alone, nobody):
            side.client.ip("neigh", "replace", GATEWAY4, "lladdr", side.gateway.mac("in").hex(":"),
                           "dev", "out", "nud", "permanent")
        attach_bare(nobody, "drop")
        for rate, number, seed in seeds:
            bench.progress(f"{kind}, {rate} a second, round {number + 1} of {rounds}")
            if number == 0:
                floors[rate] = flood(nobody, kind, rate, seconds, seed)[1]
            for side in (wicket, alone) if number % 2 else (alone, wicket):
                processes, interrupts, packets, figures = flood(side, kind, rate, seconds, seed)
                tallies.setdefault((side.name, rate), Tally()).add(
                    processes, interrupts - floors[rate], packets, figures)
    return tallies


def report(bench, kind, cost, success, rates, tallies):
    kept = [rate for rate in rates
            if all(min(tallies[side, rate].sent) > 0.95 * rate for side in ("wicket", "alone"))]
    if not kept:
        kept = [min(rates)]
        bench.problem(f"{kind}: the generator did not keep {kept[0]} packets a second, but "
                      f"{min(tallies['wicket', kept[0]].sent):.0f} and "
                      f"{min(tallies['alone', kept[0]].sent):.0f}")
    top = kept[-1]
    ours, theirs = tallies["wicket", top], tallies["alone", top]
    share = {side: f"{100 * stats.median(tallies[side, top].success or [0]):.0f} %"
             for side in ("wicket", "alone")}
    note = (f"{top} a second, with what soft interrupts take; meanwhile {share['wicket']} of "
            f"legitimate first attempts were answered, {share['alone']} by wireguard-go")
    first = (f"{top} packets a second; an attempt is an initiation, and one more where a cookie is "
             f"asked for ({ours.cookies} times, {theirs.cookies} by wireguard-go)")
    bench.results.add(cost, [1e6 / x for x in ours.micros], [1e6 / x for x in theirs.micros],
                      note=note)
    if ours.success:
        bench.results.add(success, ours.success, theirs.success, n=ours.attempts, note=first)
    series = success.removesuffix("_success")
    for side, label in (("wicket", "Wicket, not installed"),
                        ("alone", "wireguard-go alone, installed")):
        of = {rate: tallies[side, rate] for rate in kept}
        bench.results.add_line(success, label, [[rate, 100 * stats.median(tally.success)]
                                                for rate, tally in of.items() if tally.success])
        bench.results.add_line(f"{series}_p99", label, [[rate, stats.median(tally.p99)]
                                                        for rate, tally in of.items() if tally.p99])
        bench.results.add_line(f"{series}_cost", label, [[rate, stats.median(tally.micros)]
                                                         for rate, tally in of.items()])


BENCHES = {
    "flood": (floods, "initiations that deserve nothing, with legitimate ones among them",
              ("forged_drop_per_core", "forged_flood_success", "unknown_key_per_core",
               "unknown_flood_success")),
}
