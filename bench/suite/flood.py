"""Floods of worthless initiations: what each costs, and what clients notice of it.

Wicket and wireguard-go (with all clients installed) are flooded in turn with the same packets at
the same rates, with 10 legitimate new clients a second in between. Packets that the XDP program
drops are also sent to a thread behind a ring that only checks mac1: the same check without XDP.

The cost of a packet is CPU time: that of the processes that work on it (the device's and the
gateway's), plus the soft interrupts of the whole machine, minus the soft interrupts while the same
flood meets a program that drops everything (the price of the veth and of the generator's sends).
The kernel accounts soft interrupts by its tick, so that part is sampled. Packets lost because
wireguard-go's sockets or Wicket's rings were full do not count as disposed of; packets that
wireguard-go's own queue dropped do, which is in its favour. Answering a packet with a cookie also
disposes of it. The cost of recognizing an unknown key shows at rates at which a side asks for no
cookies.
"""
import os
import re
import time
from contextlib import ExitStack, contextmanager
from pathlib import Path

import micro
import stats
from rig import BIN, BLAST, GATEWAY4, TICKS, Side, attach_bare, cpu_seconds, run, softirq_seconds

LEGITIMATE = 10  # a second: under load, one address may try 20 times a second
CROWD = 100  # a second, so that a share of answers is meaningful; from
HOUSES = 10  # addresses
# Sustained: the first of these rates that a shard bears.
RATES = (70_000, 60_000, 55_000, 50_000, 45_000, 40_000, 30_000, 20_000, 10_000, 5_000)
# Saturation: more at once than a shard can prove, but fewer than make it ask for cookies.
BURST, BURST_RATE = 1_000, 200_000
PREPARED, NO_RATE = 300_000, 10_000_000  # as fast as they can be sent
# No limit of Wicket's, only that of the CPU.
UNBOUNDED = "probation_max = 60000\nhandshakes_per_second = 1000000"
BOUNDED = "probation_max = 60000\nhandshakes_per_second = 2000"
KINDS = {
    # kind: (measure of cost, measure of success, rates of smoke, quick, full)
    "bad-mac1": ("forged_drop_per_core", "forged_flood_success",
                 (20_000,), (50_000, 300_000), (50_000, 150_000, 300_000)),
    "repeat": ("repeat_drop_per_core", "repeat_flood_success",
               (1000,), (), (100_000, 300_000)),
    "unknown": ("unknown_key_per_core", "unknown_flood_success",
                (1000,), (4000, 100_000), (4000, 10_000, 100_000, 250_000)),
}
# Cookies a second and queue. Above it some initiations get none, and their clients retry.
COOKIES_MAX = 100_000

# The measures that compare with a thread behind a ring, which only checks mac1.
IN_RING = {"bad-mac1": "forged_drop_vs_ring", "repeat": "repeat_drop_vs_ring"}


def fleet_of(seed, seconds, legitimate):
    return "--clients", int(legitimate * seconds * 2) + 40, "--seed", seed


def options(kind, rate, seconds, seed, legitimate):
    packets = int((rate + legitimate) * seconds)
    return [*fleet_of(seed, seconds, legitimate), "--mix", f"{kind}={rate},cookie={legitimate}",
            "--rate", rate + legitimate, "--prepare", packets, "--count", packets, "--duration",
            seconds, "--timeout", 1, "--via", "xdp"]


def resolve(*sides):
    """Resolves neighbours beforehand: a program that drops everything answers no ARP either."""
    for side in sides:
        side.client.ip("neigh", "replace", GATEWAY4, "lladdr", side.gateway.mac("in").hex(":"),
                       "dev", "out", "nud", "permanent")


def unjudged(side):
    """Returns: packets lost so far because the device's sockets or Wicket's rings were full."""
    text = side.gateway.run("nstat", "-asz").stdout
    lost = sum(int(found) for found in re.findall(r"^Udp6?RcvbufErrors\s+(\d+)", text, re.M))
    if side.name == "ring":
        lost += side.ring_check_counts()[1]
    for daemon in side.daemons:
        lost += sum(nic["ring_full"] + nic["ring_dropped"] for nic in daemon.fresh_status()["nics"])
    return lost


def flood(side, kind, rate, seconds, seed):
    """Returns: (CPU seconds of processes, of soft interrupts, the generator's figures)."""
    before = cpu_seconds(side.target_pids), softirq_seconds()
    figures = side.blast(*options(kind, rate, seconds, seed, LEGITIMATE))
    return (cpu_seconds(side.target_pids) - before[0], softirq_seconds() - before[1], figures)


class Tally:
    """The figures of one side at one rate, round by round."""

    def __init__(self):
        self.micros, self.success, self.p99, self.sent, self.asked = [], [], [], [], []
        self.busy = []  # the share of a CPU that its processes took
        self.spent = self.packets = 0

    @property
    def per_second(self):
        """Packets of all rounds over the time of all rounds: a tick is little of that."""
        return self.packets / max(self.spent, 1 / TICKS)

    def add(self, processes, interrupts, packets, figures):
        new = figures["kinds"].get("cookie", {"sent": 0, "answered": 0})
        self.spent += processes + interrupts
        self.packets += packets
        self.busy.append(processes * figures["rate"] / figures["sent"])
        # At least one tick, the resolution of the kernel's accounting.
        self.micros.append(max(processes + interrupts, 1 / TICKS) / max(packets, 1) * 1e6)
        self.sent.append(figures["rate"])
        # Cookies, and other answers to senders that were not waiting for one.
        self.asked.append(figures["unexpected"] / figures["sent"])
        if new["sent"]:
            self.success.append(new["answered"] / new["sent"])
        if figures["latency_ms"]["count"]:
            self.p99.append(figures["latency_ms"]["p99"])


def floods(bench):
    rounds, seconds = bench.pick(smoke=(1, 1), quick=(1, 2), full=(5, 1))
    for kind, (cost, success, *rates) in KINDS.items():
        rates = dict(zip(("smoke", "quick", "full"), rates))[bench.mode]
        if not rates:
            continue
        tallies, crowds = measure(bench, kind, rates, rounds, seconds)
        report(bench, kind, cost, rates, tallies)
        report_success(bench, success, crowds)


def measure(bench, kind, rates, rounds, seconds):
    """Returns {(side's name, rate): Tally}, and {side's name: the figures of a crowd}."""
    tallies, crowds = {}, {}
    # The top rate with a cookie for everybody, where cookies are what lets clients in.
    crowded = max(rate for rate in rates if kind != "unknown" or rate <= COOKIES_MAX)
    crowd_s = bench.pick(smoke=1, quick=1, full=4)
    with ExitStack() as stack:
        wicket, alone, nobody = (stack.enter_context(Side(name))
                                 for name in ("wicket", "alone", "nobody"))
        gateways = {wicket: {"device_extra": UNBOUNDED}}
        if kind == "unknown":
            bounded = stack.enter_context(Side("bounded"))
            gateways[bounded] = {"device_extra": BOUNDED, "cookies": "xdp"}
            bounded.client.run("ethtool", "-K", "out", "gro", "on")  # a veth needs it for XDP_TX
        checks_in_ring = kind in IN_RING and bench.mode != "quick"
        if checks_in_ring:
            ring = stack.enter_context(Side("ring", queues=1))
        seeds = [(rate, number, f"{kind}{rate}/{number}") for number in range(rounds)
                 for rate in rates]
        for fleet in [fleet_of(seed, seconds, LEGITIMATE) for _, _, seed in seeds] + \
                [fleet_of("crowd", crowd_s, CROWD)]:
            alone.gateway.run("wg", "addconf", alone.device.name, "/dev/stdin",
                              input=run(BLAST, "--export", "conf", *fleet).stdout)
            for side in gateways:
                run(BIN / "wicket", "import", "--offline", "--store", side.store, "--device",
                    side.device.name, "-", input=run(BLAST, "--export", "ndjson", *fleet).stdout)
        for side, settings in gateways.items():
            side.start_wicket(**settings)
        sides = [*gateways, alone]
        if checks_in_ring:
            ring.start_ring_check()
            sides.append(ring)
        resolve(*sides, nobody)
        attach_bare(nobody, "drop")
        lost_so_far = {side: unjudged(side) for side in sides}
        for rate, number, seed in seeds:
            bench.progress(f"{kind}, {rate} a second, round {number + 1} of {rounds}")
            _, floor, _ = flood(nobody, kind, rate, seconds, seed)
            for side in sides if number % 2 else reversed(sides):
                if side.name == "ring" and rate != max(rates):
                    continue
                processes, interrupts, figures = flood(side, kind, rate, seconds, seed)
                so_far = unjudged(side)
                lost, lost_so_far[side] = so_far - lost_so_far[side], so_far
                tallies.setdefault((side.name, rate), Tally()).add(
                    processes, interrupts - floor, figures["sent"] - figures["no_room"] - lost,
                    figures)
        for side in (wicket if kind != "unknown" else bounded, alone):  # with and without cookies
            bench.progress(f"{kind}, {crowded} a second, and {CROWD} newcomers")
            figures = side.blast(*options(kind, crowded, crowd_s, "crowd", CROWD), addresses=HOUSES)
            crowds[side.name] = {**figures, "wanted": crowded}
    return tallies, crowds


def report(bench, kind, cost, rates, tallies):
    kept = [rate for rate in rates
            if all(min(tallies[side, rate].sent) > 0.95 * rate
                   for side in ("wicket", "alone", "bounded") if (side, rate) in tallies)]
    if not kept:
        kept = [min(rates)]
        bench.problem(f"{kind}: the generator did not keep {kept[0]} packets a second, but "
                      f"{min(tallies['wicket', kept[0]].sent):.0f} and "
                      f"{min(tallies['alone', kept[0]].sent):.0f}")
    # The top rate with a cookie for everybody, where cookies are what lets clients in.
    top = max(rate for rate in kept if kind != "unknown" or rate <= COOKIES_MAX)
    ours, theirs = tallies["wicket", top], tallies["alone", top]
    note = f"{top} a second, all rounds together, soft interrupts included"

    def compare(name, one, other):
        bench.results.add(name, [1e6 / x for x in one.micros], [1e6 / x for x in other.micros],
                          value=one.per_second, rival=other.per_second, note=note)
    if kind == "unknown":
        report_judged(bench, cost, kept, tallies)
        compare("unknown_disposed_per_core", tallies["bounded", top], theirs)
        report_budget(bench, *({rate: tallies[side, rate].busy for rate in kept}
                               for side in ("bounded", "wicket")))
    else:
        compare(cost, ours, theirs)
    if ("ring", top) in tallies:
        compare(IN_RING[kind], ours, tallies["ring", top])
    success = KINDS[kind][1]
    series = success.removesuffix("_success")
    for side, label in (("wicket", "Wicket, not installed"),
                        ("bounded", "Wicket, budget of 2 000/s"),
                        ("alone", "wireguard-go alone, installed")):
        if (side, top) not in tallies:
            continue
        of = {rate: tallies[side, rate] for rate in kept}
        bench.results.add_line(f"{series}_cost", label, [[rate, stats.median(tally.micros)]
                                                         for rate, tally in of.items()])
        bench.results.add_line(success, label, [[rate, 100 * stats.median(tally.success)]
                                                for rate, tally in of.items() if tally.success])
        bench.results.add_line(f"{series}_p99", label, [[rate, stats.median(tally.p99)]
                                                        for rate, tally in of.items() if tally.p99])


def report_success(bench, name, crowds):
    """Reports the success of a crowd of new clients in the flood."""
    theirs = crowds.pop("alone")
    ours, = crowds.values()

    def share(figures):
        return figures["kinds"]["cookie"]["answered"] / figures["kinds"]["cookie"]["sent"]
    late = sum(bool(figures["generator_limit"]) for figures in (ours, theirs))
    bench.results.add(
        name, [share(ours)], [share(theirs)], n=ours["kinds"]["cookie"]["sent"],
        note=f"{ours['wanted']} packets a second, and {CROWD} newcomers of {HOUSES} addresses; an attempt "
             "is an initiation, and a second one if a cookie is requested "
             f"({ours['cookies']} times, {theirs['cookies']} by wireguard-go)"
             + (f"; packets left late on {late} of 2 sides" if late else ""))


def report_budget(bench, busy, by_ring):
    """Reports the share of a CPU that the gateway and the device take, by rate of the flood."""
    most, least = max(busy), min(busy)
    if most == least:
        bench.problem(f"unknown_budget_cpu: the generator kept no other rate than {most} a second")
    shares = ", ".join(f"{stats.median(share):.2f} at {rate}" for rate, share in by_ring.items())
    bench.results.add("unknown_budget_cpu", busy[most], busy[least],
                      note=f"{most} a second, and {least}, cookies by XDP_TX; without soft interrupts, in "
                           "which the program itself runs. Cookies by the ring and no limit but the "
                           f"processor: {shares}")


def report_judged(bench, name, rates, tallies):
    """Reports each side at the rate at which it judges packets cheapest, over the rounds in which
    it asked nobody for a cookie."""
    best = {}
    for side in ("wicket", "alone"):
        judged = []
        for rate in rates:
            tally = tallies[side, rate]
            micros = [took for took, asked in zip(tally.micros, tally.asked) if asked < 0.01]
            if micros:
                judged.append((stats.median(micros), rate, micros))
        if not judged:
            return bench.problem(f"{name}: {side} asked for cookies at every rate")
        best[side] = min(judged)[1:]
    bench.results.add(name, *([1e6 / x for x in best[side][1]] for side in ("wicket", "alone")),
                      note=f"soft interrupts included; at {best['wicket'][0]} and "
                           f"{best['alone'][0]} a second, without a request for a cookie")


def idle_seconds(cpu):
    for line in Path("/proc/stat").read_text().splitlines():
        if line.startswith(f"cpu{cpu} "):
            return sum(map(int, line.split()[4:6])) / TICKS
    raise RuntimeError(f"/proc/stat: no cpu{cpu}")


@contextmanager
def flooded_by(side, cpu):
    """Keeps one CPU busy: it makes and sends as many forged packets as it can, and drops them in
    its soft interrupts."""
    flood = side.start_blast("--clients", 1, "--mix", "bad-mac1", "--rate", NO_RATE, "--duration", 30,
                             "--count", 30 * NO_RATE, "--via", "xdp", "--cpus", cpu,
                             "--ports", "1024-2047")
    try:
        time.sleep(1)
        yield
        if flood.poll() is not None:
            raise RuntimeError("the flood ended too early")
    finally:
        flood.terminate()
        flood.wait()


@contextmanager
def counted(daemon, cpu, idle, dropped):
    """Appends the idle share of `cpu` meanwhile, and the forged packets dropped a second."""
    def now():
        return (daemon.fresh_status()["steering"]["drop_mac1"], idle_seconds(cpu),
                time.monotonic())
    before = now()
    yield
    drops, idled, took = (after - first for after, first in zip(now(), before))
    idle.append(idled / took)
    dropped.append(drops / took)


def newcomers_in_flood(bench):
    """The wait of new clients while one CPU is kept busy by forged packets, which are made, sent
    and dropped there. New clients come from a generator of their own, through the same veth; it
    resends what the veth had no room for. This generator has priority over all other processes:
    if it waited for the flood's generator, its own delay would be most of the figure."""
    rounds, seconds = bench.pick(smoke=(1, 1), quick=(1, 2), full=(5, 3))
    cpu = min(os.sched_getaffinity(0))
    p99 = {"calm": [], "flood": []}
    idle, dropped, lost = [], [], dict.fromkeys(p99, 0)
    with Side("wicket") as side:
        fleets = {(state, number): fleet_of(f"{state}{number}", seconds, CROWD)
                  for state in p99 for number in range(rounds)}
        for fleet in fleets.values():
            run(BIN / "wicket", "import", "--offline", "--store", side.store, "--device",
                side.device.name, "-", input=run(BLAST, "--export", "ndjson", *fleet).stdout)
        daemon = side.start_wicket(device_extra=UNBOUNDED)
        resolve(side)
        for number in range(rounds):
            for state in ("calm", "flood") if number % 2 else ("flood", "calm"):
                bench.progress(f"newcomers, {state}, round {number + 1} of {rounds}")
                with ExitStack() as stack:
                    if state == "flood":
                        stack.enter_context(flooded_by(side, cpu))
                        stack.enter_context(counted(daemon, cpu, idle, dropped))
                    figures = side.blast(*fleets[state, number], "--mix", "cookie", "--rate", CROWD,
                                         "--duration", seconds, "--timeout", 1, addresses=HOUSES,
                                         first=True)
                lost[state] += figures["lost"]
                p99[state].append(figures["latency_ms"]["p99"])
    bench.results.add("forged_flood_latency", p99["flood"], p99["calm"],
                      note=f"{stats.median(dropped):.0f} packets a second dropped, by a processor "
                           f"that was idle {100 * stats.median(idle):.0f} % of the time; of "
                           f"{CROWD * seconds} newcomers a round, from a generator that never waits for "
                           "a processor (SCHED_FIFO); the median of the rounds; no "
                           "answer within a second: "
                           f"{lost['flood']}, and {lost['calm']} without a flood")


def shard_seconds(daemon):
    """Returns: the CPU time of the shards' threads."""
    total = 0
    for task in Path(f"/proc/{daemon.process.pid}/task").iterdir():
        if (task / "comm").read_text().startswith("in/"):
            total += int((task / "schedstat").read_text().split()[0])
    return total / 1e9


def pipeline_alone(bench, nobody, rate):
    """Returns: proofs a second of the pipeline alone, beside a generator as busy as the one that
    saturates a shard: CPUs that share a core slow each other down."""
    case = f"BM_PipelineBatchProven/{micro.BEST}/64"
    environment = {**bench.environment, "WICKET_BENCH_STORED": "1"}
    generator = nobody.start_blast("--clients", 1, "--mix", "junk=1", "--rate", rate, "--duration",
                                   60, "--count", 60 * rate, "--via", "xdp")
    try:
        time.sleep(1)
        found, _ = micro.run([case], 0.3, 1, environment)
        if generator.poll() is not None:
            raise RuntimeError("the generator ended before the pipeline was measured")
    finally:
        generator.terminate()
        generator.wait()
    return 1e9 / found[case][0]


def generator_alone(nobody):
    """Returns: packets a second that one thread of the generator sends, prepared, as frames. The
    veth receives in a thread of its own; otherwise the sender would do that too, packet by
    packet."""
    nobody.thread_napi(True)
    try:
        return nobody.blast("--clients", 1, "--mix", "unknown=1", "--rate", NO_RATE, "--prepare",
                            PREPARED, "--count", PREPARED, "--via", "xdp")["rate"]
    finally:
        nobody.thread_napi(False)


def saturation(bench):
    """Proofs of one saturated shard, by its own CPU time, against its pipeline alone.

    It proves day-old initiations of known clients: the whole handshake and the look-up are done,
    and then the stamp is no newer than the last one. So no device is involved. They come in bursts,
    since a shard that has more than it can prove for longer asks for cookies. The rate that a shard
    sustains without asking is a figure of its own, and so is the generator's, which must be above
    all proofs.
    """
    bursts, rounds, clients, rates, seconds = bench.pick(
        smoke=(3, 1, 50, (500,), 1), quick=(10, 2, 1000, RATES, 2), full=(15, 5, 4000, RATES, 2))
    found, alone, sent_alone = [], [], []
    with Side("wicket", queues=1) as side, Side("nobody", queues=1) as nobody:
        fleet = ("--clients", clients)
        run(BIN / "wicket", "import", "--offline", "--store", side.store, "--device",
            side.device.name, "-", input=run(BLAST, "--export", "ndjson", *fleet).stdout)
        daemon = side.start_wicket(device_extra=UNBOUNDED)
        resolve(side, nobody)
        attach_bare(nobody, "drop")
        bench.progress(f"{clients} clients come once")
        side.blast(*fleet, "--count", clients, "--rate", 500, "--duration", 60, "--retries", 3)
        time.sleep(2)  # until their sessions are stored
        for number in range(bursts):
            bench.progress(f"burst {number + 1} of {bursts}")
            proven, busy, sent, _ = proofs_of(side, daemon, fleet, BURST_RATE, BURST, number)
            if proven == sent:
                found.append(proven / busy)
            else:
                time.sleep(1.5)  # it asked for cookies: something else held the shard up
            if number % (bursts // rounds) == 0:
                alone.append(pipeline_alone(bench, nobody, RATES[0]))
                sent_alone.append(generator_alone(nobody))
        for rate in rates:
            bench.progress(f"{rate} a second for {seconds} s")
            proven, _, sent, took = proofs_of(side, daemon, fleet, rate, rate * seconds, rate)
            if proven >= 0.99 * sent and took < 1.05 * seconds:
                bench.results.add("proofs_sustained", [proven / took], [stats.median(alone)],
                                  note=f"for {seconds} s, before a cookie is requested")
                break
            time.sleep(2)
    bench.results.add("generator_per_core", sent_alone, alone,
                      note=f"{PREPARED} initiations made beforehand, one thread, AF_XDP in copy "
                           "mode, into a veth whose own thread drops them")
    if len(found) < bursts / 2:
        return bench.problem(f"proofs_at_saturation: {bursts - len(found)} of {bursts} bursts of "
                             f"{BURST} were too many")
    bench.results.add("proofs_at_saturation", found, alone,
                      note=f"bursts of {BURST} on one queue, {len(found)} of {bursts} without "
                           f"a request for a cookie; {clients} stored peers")


def proofs_of(side, daemon, fleet, rate, count, seed):
    """Returns: (proofs, the shard's CPU seconds, packets sent, seconds of sending)."""
    before, busy = daemon.fresh_status()["verdicts"], shard_seconds(daemon)
    figures = side.blast(*fleet, "--known", "--mix", "old", "--rate", rate, "--duration", 10,
                         "--prepare", count, "--count", count, "--random-seed", seed,
                         "--timeout", 0.2, "--via", "xdp")
    after, busy = daemon.fresh_status()["verdicts"], shard_seconds(daemon) - busy
    return after["replay"] - before["replay"], busy, figures["sent"], figures["seconds"]


BENCHES = {
    "flood": (floods, "initiations that deserve nothing, with legitimate ones among them",
              ("forged_drop_per_core", "forged_flood_success",
               "forged_drop_vs_ring", "repeat_drop_per_core", "repeat_drop_vs_ring",
               "repeat_flood_success", "unknown_key_per_core", "unknown_disposed_per_core",
               "unknown_budget_cpu",
               "unknown_flood_success")),
    "newcomers_in_flood": (newcomers_in_flood, "what newcomers wait for while a core is flooded",
                           ("forged_flood_latency",)),
    "saturation": (saturation, "a shard kept busy with proofs",
                   ("proofs_at_saturation", "proofs_sustained", "generator_per_core")),
}
