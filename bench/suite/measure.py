"""The measures, and the results of a run.

Every measure is a figure and, where there is a rival, the same figure of what a user would choose
instead, taken in the same run and in turn with it. The names are stable: other programs and later
versions read them.
"""
import json
from dataclasses import dataclass
from pathlib import Path

import stats

SCHEMA = Path(__file__).resolve().parents[1] / "schema.json"


@dataclass(frozen=True)
class Measure:
    title: str
    unit: str
    better: str  # "lower" or "higher"
    rival: str   # what `against` is
    aim: str = ""  # "ratio <= 1.5": of the value or the ratio


LOWER, HIGHER = "lower", "higher"
INSTALLED = "the same client, installed beforehand"
PUBLISHED = "the published design"
ALL_INSTALLED = "wireguard-go alone, all peers installed"
RING = "mac1 checked, and nothing else, in a thread behind AF_XDP"
FLOODED = "wireguard-go under the same flood"
SINGLY = "libsodium, one at a time"
EMPTY = "an empty program, harness included"
SMALL = "1 000 stored"
SQLITE = "SQLite (WAL, FULL), a transaction each"

MEASURES = {
    "handshake_p50": Measure(
        "first packet to usable session, peer not installed, p50",
        "ms", LOWER, INSTALLED, "ratio <= 1.5"),
    "handshake_p99": Measure(
        "first packet to usable session, peer not installed, p99",
        "ms", LOWER, INSTALLED, "ratio <= 2"),
    "handshake_vs_published_p50": Measure(
        "first packet to usable session, p50", "ms", LOWER, PUBLISHED, "ratio < 1"),
    "handshake_vs_published_p99": Measure(
        "first packet to usable session, p99", "ms", LOWER, PUBLISHED, "ratio < 1"),
    "handshake_vs_all_installed_p50": Measure(
        "first packet to usable session, p50", "ms", LOWER, ALL_INSTALLED),
    "handshake_vs_all_installed_p99": Measure(
        "first packet to usable session, p99", "ms", LOWER, ALL_INSTALLED),
    "handshake_vs_portable_p50": Measure(
        "first packet to usable session, p50", "ms", LOWER, "the same with x25519 = \"portable\"",
        "ratio <= 1.05"),
    "round_trips_to_data": Measure(
        "round trips until the client's first data is at the gateway", "round trips", LOWER, PUBLISHED,
        "value <= 1.5"),
    "newcomers_per_s": Measure(
        "handshakes a second at p99 < 100 ms and a loss < 0.1 %", "1/s", HIGHER, ALL_INSTALLED),
    "proofs_per_core": Measure(
        "initiations proven a second and core", "1/s", HIGHER, SINGLY, "ratio >= 5"),
    "unknown_proofs_per_core": Measure(
        "unknown keys detected a second and core, in the shard", "1/s", HIGHER, SINGLY),
    "lone_proofs_per_core": Measure(
        "initiations proven that arrive alone, a second and core", "1/s", HIGHER, SINGLY,
        "ratio >= 0.95"),
    "calm_mix_per_core": Measure(
        "initiations judged, one in twenty of an unknown key", "1/s", HIGHER, SINGLY),
    "attack_mix_per_core": Measure(
        "initiations judged, nineteen in twenty forged or unknown", "1/s", HIGHER, SINGLY),
    "proofs_at_saturation": Measure(
        "proofs a second of the shard's own processor time, end to end", "1/s", HIGHER,
        "its pipeline alone, beside an equally busy generator", "ratio >= 0.8"),
    "proofs_sustained": Measure(
        "proofs a second that one shard sustains, end to end, on two processors that share a core",
        "1/s", HIGHER, "its pipeline alone, beside an equally busy generator"),
    "generator_per_core": Measure(
        "packets a second that a thread of the generator sends", "1/s", HIGHER,
        "proofs of the pipeline alone", "ratio >= 10"),
    "x25519_ifma8": Measure(
        "X25519 a second and core, 8 lanes of AVX-512 IFMA",
        "1/s", HIGHER, "libsodium", "ratio >= 6"),
    "x25519_avx2x4": Measure(
        "X25519 a second and core, 4 lanes of AVX2", "1/s", HIGHER, "libsodium", "ratio >= 2"),
    "forged_drop_per_core": Measure(
        "bad-mac1 initiations disposed of, a second and core",
        "1/s", HIGHER, FLOODED, "ratio >= 5"),
    "forged_drop_vs_ring": Measure(
        "bad-mac1 initiations disposed of, a second and core", "1/s", HIGHER, RING, "ratio >= 2"),
    "repeat_drop_vs_ring": Measure(
        "exact repeats disposed of, a second and core", "1/s", HIGHER, RING, "ratio >= 2"),
    "unknown_key_per_core": Measure(
        "unknown keys detected, a second and core", "1/s", HIGHER,
        "wireguard-go, while it is not under load", "ratio >= 25"),
    "unknown_disposed_per_core": Measure(
        "unknown keys' initiations disposed of, a second and core: a budget of 2 000 handshakes a "
        "second, and cookies by XDP_TX", "1/s", HIGHER, FLOODED, "ratio >= 7"),
    "unknown_budget_cpu": Measure(
        "processor time of the gateway and its device, budget of 2 000 handshakes a second, highest rate "
        "of unknown keys", "share", LOWER, "the lowest rate, which exceeds the budget too",
        "ratio <= 1.5"),
    "repeat_drop_per_core": Measure(
        "exact repeats disposed of, a second and core", "1/s", HIGHER, FLOODED, "ratio >= 5"),
    "repeat_flood_success": Measure(
        "legitimate first attempts answered, flood of one packet repeated",
        "share", HIGHER, FLOODED, "value >= 0.99"),
    "scrape_vs_none_p99": Measure(
        "first packet to answer while 64 scrapes a second read the metrics, p99", "ms", LOWER,
        "without", "ratio <= 1.15"),
    "pinned_vs_free_p99": Measure(
        "first packet to answer with shards pinned to CPUs, p99", "ms", LOWER,
        "with pin_threads = false"),
    "readers_vs_none_p99": Measure(
        "first packet to answer while 64 clients read pages in a loop, p99", "ms", LOWER,
        "without", "ratio <= 2"),
    "forged_flood_latency": Measure(
        "first packet to answer during a flood of bad mac1, p99", "ms", LOWER,
        "the same without a flood", "ratio <= 3"),
    "forged_flood_success": Measure(
        "legitimate first attempts answered, flood of bad mac1",
        "share", HIGHER, FLOODED, "value >= 0.99"),
    "unknown_flood_success": Measure(
        "legitimate first attempts answered, flood of unknown keys",
        "share", HIGHER, FLOODED, "value >= 0.99"),
    "status_cost_ns": Measure(
        "added to a shard's packet by the histograms of status and metrics", "ns", LOWER,
        "the counter of its verdict alone", "value <= 25"),
    "xdp_pass_ns": Measure(
        "added to a data packet by the XDP program", "ns", LOWER, EMPTY, "value <= 10"),
    "xdp_bad_mac1_ns": Measure(
        "a bad mac1 dropped by the XDP program", "ns", LOWER, EMPTY, "value <= 600"),
    "xdp_mac2_ns": Measure(
        "a mac2 checked by the XDP program", "ns", LOWER, EMPTY, "value <= 2500"),
    "xdp_mac2_older_ns": Measure(
        "a mac2 of the previous secret checked by the XDP program", "ns", LOWER,
        EMPTY),
    "xdp_mac2_wrong_ns": Measure(
        "an invalid mac2 refused by the XDP program, and a cookie requested", "ns", LOWER, EMPTY),
    "create_p99_1e7": Measure(
        "durable create over the socket, p99, 10 000 000 stored",
        "ms", LOWER, SMALL, "ratio <= 1.5"),
    "create_p99_1e6": Measure(
        "durable create over the socket, p99, 1 000 000 stored", "ms", LOWER, SMALL),
    "create_p99_1e5": Measure(
        "durable create over the socket, p99, 100 000 stored", "ms", LOWER, SMALL),
    "create_p99_1e4": Measure(
        "durable create over the socket, p99, 10 000 stored", "ms", LOWER, SMALL),
    "create_p50": Measure("durable create over the socket, p50", "ms", LOWER, SMALL),
    "delete_p99": Measure("durable delete over the socket, p99", "ms", LOWER, SMALL),
    "open_and_find": Measure("opening the store and finding a peer", "ms", LOWER, SMALL),
    "create_over_socket": Measure(
        "durable creates a second over the socket, 64 clients", "1/s", HIGHER, ""),
    "group_commit": Measure(
        "durable creates a second, 64 writers", "1/s", HIGHER, "a transaction each"),
    "group_commit_500k": Measure(
        "durable creates a second, 64 writers, 500 000 stored",
        "1/s", HIGHER, "a transaction each"),
    "create_vs_sqlite": Measure("durable creates a second, 64 writers", "1/s", HIGHER, SQLITE),
    "create_vs_sqlite_500k": Measure(
        "durable creates a second, 64 writers, 500 000 stored", "1/s", HIGHER, SQLITE),
    "lookup_vs_sqlite": Measure(
        "look-up of a stored peer", "us", LOWER, "SQLite (mapped, prepared statement)"),
    "start_1e7": Measure(
        "start, from exec to serving, 10 000 000 stored", "ms", LOWER, SMALL, "ratio <= 1.2"),
    "start_1e6": Measure("start, from exec to serving, 1 000 000 stored", "ms", LOWER, SMALL),
    "start_1e5": Measure("start, from exec to serving, 100 000 stored", "ms", LOWER, SMALL),
    "start_1e4": Measure("start, from exec to serving, 10 000 stored", "ms", LOWER, SMALL),
    "start_to_session": Measure("start, from exec to a client's session", "ms", LOWER, SMALL),
    "restart_vs_setconf": Measure(
        "start with the largest number of peers that wg setconf handled",
        "s", LOWER, "wg setconf into wireguard-go"),
    "import_per_s": Measure(
        "peers a second by wicket import", "1/s", HIGHER, "wg addconf into wireguard-go"),
    "store_bytes_per_peer": Measure(
        "bytes in the file per stored peer, after an import", "B", LOWER, "", "value <= 300"),
    "store_bytes_after_creates": Measure(
        "bytes in the file per stored peer, after many small creates", "B", LOWER, ""),
    "install_p50_with_evictions": Measure(
        "first packet to answer while 10 000 peers leave, p50", "ms", LOWER, "before they leave"),
    "install_p99_with_evictions": Measure(
        "first packet to answer while 10 000 peers leave, p99", "ms", LOWER, "before they leave"),
    "data_plane": Measure(
        "TCP through the tunnel, Wicket's XDP program on the NIC",
        "Mbit/s", HIGHER, "a bare XDP_PASS program"),
    "data_plane_vs_none": Measure(
        "TCP through the tunnel, Wicket's XDP program on the NIC", "Mbit/s", HIGHER, "no program"),
    "kernel_handshake_p50": Measure(
        "first packet to answer, kernel's WireGuard, emulated, p50", "ms", LOWER, INSTALLED),
    "kernel_vs_published_p50": Measure(
        "first packet to answer, kernel's WireGuard, emulated, p50", "ms", LOWER, PUBLISHED),
    "kernel_bytes_per_stored_peer": Measure(
        "kernel memory of a peer that is stored and not installed", "B", LOWER,
        "one that is installed"),
    "kernel_working_set": Measure(
        "data through the kernel's tunnel, 500 installed, emulated",
        "Mbit/s", HIGHER, "the largest number installed"),
    "kernel_working_set_handshake": Measure(
        "first packet to answer, 500 installed, emulated, p50",
        "ms", LOWER, "the largest number installed"),
}

PEERS = "number of peers"
# name: title, x, y, axes that are logarithmic (hdr: 1 / (1 - percentile))
SERIES = {
    "handshake_latency": ("From a client's first packet to its usable session", "percentile",
                          "milliseconds", "hdr"),
    "throughput_latency": ("Handshakes a second against what they take",
                           "handshakes offered a second", "milliseconds", "y"),
    "forged_flood_success": ("Legitimate attempts during a flood of bad mac1",
                             "attack packets a second", "first attempts answered, %", ""),
    "forged_flood_p99": ("What newcomers wait for during a flood of bad mac1",
                         "attack packets a second", "p99 of those answered, ms", "y"),
    "forged_flood_cost": ("Processor time of an initiation with a bad mac1",
                          "attack packets a second", "microseconds a packet", "y"),
    "repeat_flood_success": ("Legitimate attempts during a flood of one packet repeated",
                             "attack packets a second", "first attempts answered, %", ""),
    "repeat_flood_p99": ("What newcomers wait for during a flood of one packet repeated",
                         "attack packets a second", "p99 of those answered, ms", "y"),
    "repeat_flood_cost": ("Processor time of a packet repeated", "attack packets a second",
                          "microseconds a packet", "y"),
    "unknown_flood_success": ("Legitimate attempts during a flood of unknown keys",
                              "attack packets a second", "first attempts answered, %", ""),
    "unknown_flood_p99": ("What newcomers wait for during a flood of unknown keys",
                          "attack packets a second", "p99 of those answered, ms", "y"),
    "unknown_flood_cost": ("Processor time of an initiation of an unknown key",
                           "attack packets a second", "microseconds a packet", "y"),
    "cost_by_peers": ("One operation, by the number of stored peers", PEERS, "microseconds", "xy"),
    "provision_by_peers": ("Time to provision N peers", PEERS, "seconds", "xy"),
    "start_by_peers": ("Start, until all peers are served", PEERS, "seconds", "xy"),
}

# Wins by less than this are draws.
DRAW = 0.05


def size_name(count):
    """1e7 for 10 000 000: what measures and series call a number of peers."""
    digits = len(str(count)) - 1
    return f"1e{digits}" if count == 10 ** digits else str(count)


def outcome(name, row):
    """Returns: win, draw or loss against the rival; None without one, and where the rival is only
    the floor (an empty program)."""
    if row["ratio"] is None or MEASURES[name].rival == EMPTY:
        return None
    better = row["ratio"] if MEASURES[name].better == HIGHER else 1 / max(row["ratio"], 1e-9)
    return "win" if better > 1 + DRAW else "loss" if better < 1 - DRAW else "draw"


def aim_met(name, row):
    """True, False, or None when there is no aim."""
    if not MEASURES[name].aim:
        return None
    field, sign, bound = MEASURES[name].aim.split()
    figure, bound = row[field], float(bound)
    if figure is None:
        return None
    return {"<=": figure <= bound, "<": figure < bound, ">=": figure >= bound}[sign]


class Results:
    """The findings of a run: measures, their samples, and series for plots."""

    def __init__(self, machine):
        self.data = {"measures": {}, "machine": machine, "series": {}, "samples": {}}

    def add(self, name, samples, against=None, *, value=None, rival=None, n=None, note=""):
        """`samples` and `against` are one figure a round, ours and the rival's. The value is their
        median unless it is given (a quantile of all rounds together)."""
        samples = [float(x) for x in samples]
        against = [float(x) for x in against or []]
        value = stats.median(samples) if value is None else float(value)
        if rival is None and against:
            rival = stats.median(against)
        self.data["measures"][name] = {
            "value": value, "unit": MEASURES[name].unit, "against": rival,
            "ratio": value / rival if rival else None, "n": n or len(samples),
            "spread": stats.spread(samples), "note": note}
        self.data["samples"][name] = {"value": samples, "against": against}

    def add_line(self, name, label, points):
        """Adds a line to a series: [[x, y], ...]; an empty one is left out."""
        title, x, y, log = SERIES[name]
        if points:
            series = self.data["series"].setdefault(
                name, {"title": title, "x": x, "y": y, "log": log, "lines": []})
            series["lines"].append({"label": label, "points": [list(map(float, pair))
                                                               for pair in points]})

    def add_table(self, name, figures):
        """Adds figures that are reported but are no measures: {what: number}."""
        self.data.setdefault("tables", {})[name] = figures

    def write(self, path):
        problem = schema_problem(self.data)
        if problem:
            raise RuntimeError(f"the results do not fit {SCHEMA.name}: {problem}")
        Path(path).write_text(json.dumps(self.data, indent=1) + "\n", encoding="utf-8")


def schema_problem(data):
    """Returns: what is wrong with results, or None."""
    import jsonschema
    validator = jsonschema.Draft7Validator(json.loads(SCHEMA.read_text()))
    for error in validator.iter_errors(data):
        where = "/".join(map(str, error.absolute_path))
        return f"{where}: {error.message}" if where else error.message
    return None


def read(path):
    """Errors: ValueError says what is wrong with the file."""
    try:
        data = json.loads(Path(path).read_text(encoding="utf-8"))
    except OSError as error:
        raise ValueError(f"{path}: {error.strerror}") from error
    except ValueError as error:
        raise ValueError(f"{path}: not JSON: {error}") from error
    problem = schema_problem(data)
    if problem:
        raise ValueError(f"{path}: not the results of a bench: {problem}")
    return data
