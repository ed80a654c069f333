#!/usr/bin/python3
"""Floods, with real clients beside them: whoever is stored connects, and nothing grows.

Run all scenarios, or those named as arguments. Needs root.
"""
import ctypes
import json
import os
import socket
import struct
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from pathlib import Path

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from blast_test import BLAST, blast, command, import_fleet  # noqa: E402
from client import Client, connect_all  # noqa: E402
from control import Watch  # noqa: E402
from gateway_test import check, equal, gateway, main, squat, store  # noqa: E402
from lab import CLIENT4, CLIENT6, GATEWAY4, GATEWAY6, PORT, SLOW, run, wait_for  # noqa: E402
from noise import Key  # noqa: E402

CLIENTS, REAL = 16, 100  # made here, and of wireguard-go
RETRY_S = 16  # within 15 s a flow's next initiation is a retry, which is judged like a stranger's
TWO_TRIES_S = 9  # WireGuard tries every 5 s, and a little later at random
FLOOD_PORTS = ("--ports", "20000-60000")
SPOOFED4, SPOOFED6 = "172.16.0.0/12", "2001:db8:70::/44"  # a million addresses, and of /64s


def rss_kib(pid):
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmRSS"):
            return int(line.split()[1])
    return 0


def bytes_of(ns, nic):
    """(received, sent)"""
    stats = json.loads(ns.ip("-j", "-s", "link", "show", nic).stdout)[0]["stats64"]
    return stats["rx"]["bytes"], stats["tx"]["bytes"]


class Answers:
    """Counts what goes to spoofed sources and is no cookie reply, by a filter in the kernel."""

    REJECT, ACCEPT = 15, 16
    FILTER = [  # [linux/filter.h]: load, and, jump if equal (to, else to), return; of the IP packet
        (0x30, 0, 0, 0), (0x54, 0, 0, 0xf0), (0x15, 3, 8, 0x40),
        (0x20, 0, 0, 16), (0x54, 0, 0, 0xfff00000), (0x15, 6, REJECT, 0xac100000),  # SPOOFED4
        (0x30, 0, 0, 28), (0x05, 0, 0, 14),
        (0x20, 0, 0, 24), (0x15, 10, REJECT, 0x20010db8),  # SPOOFED6
        (0x28, 0, 0, 28), (0x54, 0, 0, 0xfff0), (0x15, 13, REJECT, 0x0070),
        (0x30, 0, 0, 48), (0x15, REJECT, ACCEPT, 3),
        (0x06, 0, 0, 0), (0x06, 0, 0, 0xffff)]

    def __init__(self, ns, nic):
        program = b""
        for at, (code, to, other, value) in enumerate(self.FILTER):
            if code == 0x15:
                to, other = to - at - 1, other - at - 1
            elif code == 0x05:
                value -= at + 1
            program += struct.pack("HBBI", code, to, other, value)
        buffer = ctypes.create_string_buffer(program)
        self.socket = ns.socket(socket.AF_PACKET, socket.SOCK_DGRAM, 0)
        self.socket.setsockopt(socket.SOL_SOCKET, 26, struct.pack(  # SO_ATTACH_FILTER
            "HL", len(self.FILTER), ctypes.addressof(buffer)))
        self.socket.bind((nic, 0x0003))  # ETH_P_ALL: what leaves, too
        probe = ns.socket(socket.AF_INET)
        probe.sendto(b"it sees this", ("172.31.255.255", 9))
        equal(wait_for(self.count, 2), 1, "of one packet to a spoofed source")

    def count(self):
        """Since the last call."""
        return struct.unpack("II", self.socket.getsockopt(263, 6, 8))[0]  # PACKET_STATISTICS


class Attack:
    """wicket-blast in the client's namespace, until it is ended.

    `timeout`: what is answered later, it reports as unexpected.
    """

    def __init__(self, lab, device, *arguments, rate=40_000, address=GATEWAY4, timeout=0.1):
        self.file = lab.dir / "attack.json"
        self.process = lab.client.start(
            *command(device, "--via", "xdp", *FLOOD_PORTS, "--rate", rate, "--duration", "60",
                     "--no-confirm", "--timeout", timeout, "--json", self.file, *arguments,
                     address=address),
            stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)

    def end(self):
        """Returns the report."""
        self.process.terminate()
        errors = self.process.communicate(timeout=30 * SLOW)[1]
        check(self.file.exists() and self.file.read_text(), errors)
        return json.loads(self.file.read_text())


class Crowd:
    """wireguard-go clients behind four routers, half of them by IPv6, each a stored customer."""

    def __init__(self, lab, device, count):
        self.device = device
        self.keys = [Key() for _ in range(count)]
        self.members = lab.client_crowd(count)
        self.asked = 0  # came with their second try
        lab.import_peers([{"public_key": key.public64, "allowed_ips": [f"10.1.{i >> 8}.{i & 255}/32"]}
                          for i, key in enumerate(self.keys)], device.name)

    def come(self, port=10_000):
        """Returns: how many customers had a session within two tries each.

        A port of its own for each: who comes by another's is taken for that one.
        """
        began = {}
        for i, key in sorted(enumerate(self.keys), key=lambda pair: pair[0] % 25):  # routers in turns
            self.members[i].become(key, port + i, self.device.key.public,
                                   f"[{GATEWAY6}]:{PORT}" if i >= len(self.keys) / 2 else f"{GATEWAY4}:{PORT}")
            began[self.members[i]] = time.monotonic()
            time.sleep(0.03)  # under load, 20 a second come in from an address
        connected = 0
        while began:
            for member, since in list(began.items()):
                took = time.monotonic() - since
                late = took > TWO_TRIES_S
                if member.has_session() or late:
                    connected += not late
                    self.asked += 4 < took and not late
                    del began[member]
            time.sleep(0.2)
        return connected


@contextmanager
def victims(clients=CLIENTS, real=REAL, portable=True, queues=1, **options):
    """A gateway with stored clients, one of them with a session already.

    One queue, so that nobody comes by one that is not under load.
    """
    # One at a time: then a flood that this machine can make is more than a shard can prove.
    settings = 'x25519 = "portable"\n' if portable else ""
    with gateway(log_level="info", settings=settings, queues=queues, **options) \
            as (lab, device, daemon):
        lab.gateway.ip("route", "add", SPOOFED4, "via", CLIENT4)
        lab.gateway.ip("route", "add", "198.19.0.0/16", "via", CLIENT4)
        # Clients have addresses of their own: under load each source gets 20 tries a second.
        lab.client.run("ip", "-batch", "-", input="".join(
            f"address add 198.19.0.{i + 1}/32 dev out\n" for i in range(clients)))
        lab.gateway.ip("-6", "route", "add", SPOOFED6, "via", CLIENT6)
        # Clients listen below the ports of the flood, whose program must leave them their answers.
        made = [Client(lab, device.key.public, source=(f"198.19.0.{i + 1}", 1024)) for i in range(clients)]
        crowd = Crowd(lab, device, real)
        crowd.settled = [made[0]] + [Client(lab, device.key.public, source=(CLIENT4, 1025 + i))
                                     for i in range(4)]
        store(lab, device, *made, *crowd.settled[1:])
        daemon.start()
        for client in crowd.settled:
            check(client.connect() is not None, "no session before the flood")
        yield lab, device, daemon, made, crowd


def map_bytes(lab):
    """What the program's maps take, of the kernel's memory, by name."""
    pins = sorted((lab.bpffs / "wicket").glob("v*/steer_*"))
    return {pin.name: json.loads(run("bpftool", "-j", "map", "show", "pinned", pin).stdout)["bytes_memlock"]
            for pin in pins}


def survive(lab, daemon, made, crowd, attack, tries=2, padded=False, asked=False, answers_max=0):
    """The flood runs; everybody connects within two tries. Returns the status meanwhile.

    `asked`: clients are asked for a cookie. `answers_max`: to spoofed sources, of the device.
    """
    began = lab.gateway, "in"
    tap = Answers(*began)
    before = bytes_of(*began)
    check(wait_for(lambda: bytes_of(*began)[0] > before[0] + 500_000, 60), "no attack")
    time.sleep(1)  # what is made once is made
    warm, maps = rss_kib(daemon.process.pid), map_bytes(lab)
    # Who was there before has his rekeys answered, now and later, by the device that never lost him.
    rekeyed = [len(connect_all(crowd.settled, tries=tries))]
    again = time.monotonic() + RETRY_S
    with ThreadPoolExecutor(1) as beside:
        coming = beside.submit(crowd.come)
        needed = connect_all(made[1:], tries=tries)
        came = coming.result()
    time.sleep(max(0, again - time.monotonic()))
    rekeyed.append(len(connect_all(crowd.settled, tries=tries)))
    status = daemon.fresh_status()
    grown = rss_kib(daemon.process.pid) - warm
    received, sent = (after - b for after, b in zip(bytes_of(*began), before))
    report = attack.end()
    answers = tap.count()
    print(f"{report['rate']:.0f}/s, {came} of {len(crowd.keys)} real clients, {crowd.asked} by their second try, {len(needed)} of {len(made) - 1} connected, "
          f"{sum(n == 1 for n in needed.values())} at once; {grown} KiB grown; "
          f"{received} bytes in, {sent} out; {status['defence']}")
    if os.environ.get("WICKET_KEEP_LOG"):
        print(json.dumps(status, indent=1), report, "cookies:", sum(c.cookie is not None for c in made))
    equal(rekeyed, [len(crowd.settled)] * 2, "rekeys of installed peers")
    # The device counts from a peer's install: an initiation and a keepalive each time.
    peers = crowd.device.peers()
    heard = [peers[client.key.public64][2] for client in crowd.settled]
    check(min(heard) >= 3 * (148 + 32), f"{heard} bytes of who was there before: displaced")
    equal(len(needed), len(made) - 1, "connected")
    check(came >= 0.99 * len(crowd.keys), f"{came} of {len(crowd.keys)} real clients connected")
    check(not asked or crowd.asked >= 10, f"{crowd.asked} were asked for a cookie")
    check(answers_max is None or answers <= answers_max, f"{answers} answers to spoofed sources")
    # What a ring or the program sends is seen where it arrives.
    others = report["unexpected"] - report["unexpected_cookies"]
    check(answers_max is None or others <= 1 + answers_max, f"{others} answers that are no cookies")
    check(grown < 8 * 1024, f"{grown} KiB more")
    check(len(maps) >= 10 and maps == map_bytes(lab), f"{maps} bytes of maps, then {map_bytes(lab)}")
    # Replies of the program are as long as what they answer, and what came is counted without
    # its Ethernet headers.
    check(sent <= received * (1.1 if padded else 1), f"{received} bytes came, {sent} left")
    return status, report


def rate_of(status, name):
    return status["defence"]["refused_per_s"].get(name, 0)


def test_forged_mac1_and_junk_die_in_the_program():
    with victims() as (lab, device, daemon, made, crowd):
        status, _ = survive(lab, daemon, made, crowd,
                            Attack(lab, device, "--mix", "bad-mac1", "--from", SPOOFED4,
                                   "--attack-sources", "1000", rate=50_000))
        check(rate_of(status, "drop_mac1") > 10_000, status["defence"])
        check(status["defence"]["attack"] and 800 < status["defence"]["sources"] < 1200, status["defence"])
        equal(status["verdicts"]["bad_mac1"], 0, "reached a shard")
        check("attack: " in daemon.log_text, "the log is silent")
    with victims() as (lab, device, daemon, made, crowd):
        status, report = survive(lab, daemon, made, crowd,
                                 Attack(lab, device, "--mix", "junk", rate=5_000))
        # Junk is no initiation: it passes, and WireGuard drops it, at its own price.
        check(status["steering"]["pass_other"] > 0.5 * report["sent"], status["steering"])


def test_responses_that_nobody_asked_for_die_in_the_program():
    """WireGuard reads them in the queue of its initiations: all of them, and it would be under load."""
    with victims() as (lab, device, daemon, made, crowd):
        began = time.monotonic()
        status, report = survive(lab, daemon, made, crowd,
                                 Attack(lab, device, "--mix", "response", "--from", SPOOFED4,
                                        "--attack-sources", "1000000", rate=50_000))
        steering = status["steering"]
        check(rate_of(status, "drop_answer") > 10_000, status["defence"])
        check(steering["pass_answer"] < 5_000 * (time.monotonic() - began) + 36, steering)
        check(crowd.asked <= 2, f"{crowd.asked} were asked for a cookie, or lost a packet")


def test_the_device_calls_its_own_peers_in_a_flood_of_responses():
    """Their responses come from flows that are known, and are told from the flood's by that."""
    with gateway(log_level="info", queues=1) as (lab, device, daemon):
        daemon.start()
        sites = [lab.wireguard(lab.client, port=7000 + i) for i in range(10)]
        for i, site in enumerate(sites):
            site.add_peer(device.key.public64, "10.0.0.0/8")
            device.add_peer(site.key.public64, f"10.1.0.{i}/32", endpoint=f"{CLIENT4}:{site.port}")
        check(wait_for(lambda: daemon.status()["devices"][0]["foreign"] == len(sites), 10), "no dump")
        attack = Attack(lab, device, "--mix", "response", "--from", SPOOFED4, "--attack-sources",
                        "1000000", rate=100_000)
        check(wait_for(lambda: daemon.status()["steering"]["drop_answer"] > 50_000, 20), "no flood")
        for i in range(len(sites)):
            lab.gateway.start("ping", "-n", "-c", "1", "-W", "1", f"10.1.0.{i}",
                              stdout=subprocess.DEVNULL).wait()
        called = sum(row[1] > 0 for row in device.peers().values())
        attack.end()
        # Of what is not known some 5 % would pass.
        check(called >= len(sites) - 2, f"{called} answered the device's first initiation")


def test_one_packet_repeated_costs_one_handshake():
    with victims() as (lab, device, daemon, made, crowd):
        before = daemon.fresh_status()["verdicts"]
        status, _ = survive(lab, daemon, made, crowd,
                            Attack(lab, device, "--mix", "repeat", "--seed", "nobody", rate=50_000))
        check(rate_of(status, "drop_repeat") > 10_000, status["defence"])
        check(status["verdicts"]["unknown_peer"] - before["unknown_peer"] <= 3, status["verdicts"])


def test_unknown_keys_from_one_source():
    with victims() as (lab, device, daemon, made, crowd):
        watch = Watch(daemon)
        status, _ = survive(lab, daemon, made, crowd,
                            Attack(lab, device, "--mix", "unknown", "--from", CLIENT4, "--attack-sources", "1"),
                            asked=True)
        watch.close()
        told = [event["figures"] for event in watch.events if event["event"] == "attack"]
        check(len(told) >= 2, f"told {len(told)} times")  # every 10 s
        # The flood's one, and clients that come in the same second.
        check(told[-1]["steer_cookie"] > 10_000 and 1 <= told[-1]["sources"] <= 50 and
              0 < told[-1]["install_p99_ms"] < 1000, told)
        check(status["verdicts"]["cookie"] > 100, f"no cookies: {status['verdicts']}")


def test_unknown_keys_from_a_million_spoofed_sources():
    for address, spoofed in ((GATEWAY4, SPOOFED4), (GATEWAY6, SPOOFED6)):
        with victims() as (lab, device, daemon, made, crowd):
            status, _ = survive(lab, daemon, made, crowd,
                                Attack(lab, device, "--mix", "unknown", "--from", spoofed,
                                       "--attack-sources", "1000000", address=address), asked=True)
            check(status["verdicts"]["cookie"] > 100, f"no cookies: {status['verdicts']}")
            # Of a million at random nearly each packet of a second's has another source.
            refused = sum(status["defence"]["refused_per_s"].values())
            check(status["defence"]["sources"] > 0.5 * refused > 5000, status["defence"])


def test_cookies_by_the_program_itself():
    for address, spoofed in ((GATEWAY4, SPOOFED4), (GATEWAY6, SPOOFED6)):
        with victims(cookies="xdp") as (lab, device, daemon, made, crowd):
            # A veth sends what XDP_TX hands it only if its peer polls: for XDP, or for GRO.
            lab.client.run("ethtool", "-K", "out", "gro", "on")
            check("cookies by XDP_TX" in daemon.log_text, "not asked for")
            six = Client(lab, device.key.public, source=(CLIENT6, 1024), target=GATEWAY6)
            store(lab, device, six)
            status, report = survive(lab, daemon, made + [six], crowd,
                                     Attack(lab, device, "--mix", "unknown", "--from", spoofed,
                                            "--attack-sources", "1000000", address=address), padded=True,
                                     asked=True)
            check(status["steering"]["tx_cookie"] > 5000, status["steering"])
            check(report["unexpected"] > report["sent"] / 2, f"few of them were sent: {report}")
            # Only what was in a ring when the load was seen is answered from there.
            check(status["verdicts"]["cookie"] < status["steering"]["tx_cookie"] / 10, status)
            check(status["nics"][0]["load_raised"] <= 4, "the load comes and goes")
            check(any(client.cookie for client in made) and status["defence"]["under_load"],
                  "nobody was asked")


def test_forgeries_of_stored_keys():
    with victims() as (lab, device, daemon, made, crowd):
        import_fleet(lab, device, 1000, "fleet")
        # Each of a few is judged; of a flood those that come before it is seen.
        few = blast(lab, device, "--mix", "forged", "--seed", "fleet", "--clients", "1000", "--rate", "100",
                    "--count", "60")
        equal((few["sent"], few["unexpected"]), (60, 0), few)
        equal(daemon.fresh_status()["verdicts"]["not_proven"], 60, "judged")
        status, _ = survive(lab, daemon, made, crowd,
                            Attack(lab, device, "--mix", "forged", "--seed", "fleet", "--clients",
                                   "1000", "--from", SPOOFED4, "--attack-sources", "100000"),
                            asked=True)
        check(status["verdicts"]["not_proven"] > 60, status["verdicts"])
        genuine = {client.key.public64 for client in made + crowd.settled} | {key.public64 for key in crowd.keys}
        equal(set(device.peers()) - genuine, set(), "forgeries were installed")


def test_a_customer_with_ten_thousand_keys():
    for source in CLIENT4, SPOOFED4:  # one address, or thousands, at which he answers cookies
        with victims(device_extra="probation_max = 2000") as (lab, device, daemon, made, crowd):
            import_fleet(lab, device, 10_000, "customer")
            status, _ = survive(lab, daemon, made, crowd,
                                Attack(lab, device, "--mix", "rekey", "--seed", "customer", "--clients",
                                       "10000", "--from", source, rate=1_000,
                                       timeout=5 * SLOW),  # its own responses are expected
                                answers_max=None if source == SPOOFED4 else 0)
            check(status["verdicts"]["cookie"] > 100, status)


def test_a_customer_keeps_nobody_out_by_his_address():
    """His own valid initiations, from his address and from a victim's in turns, do not make
    the victim's flow one that is passed to the kernel, which does not know the victim."""
    with gateway(queues=1, log_level="info") as (lab, device, daemon):
        made = [Client(lab, device.key.public, source=(CLIENT4, 2000 + i)) for i in range(24)]
        attackers, victims = made[:12], made[12:]
        store(lab, device, *made)
        daemon.start()
        ended = threading.Event()

        def attack():
            while not ended.is_set():
                for attacker, victim in zip(attackers, victims):
                    attacker.send_initiation()
                    own, attacker.socket = attacker.socket, victim.socket
                    attacker.send_initiation()
                    attacker.socket = own

        thread = threading.Thread(target=attack)
        thread.start()
        try:
            time.sleep(3)
            tries = connect_all(victims, tries=2)
        finally:
            ended.set()
            thread.join()
        equal(len(tries), len(victims), "connected within two tries")
        check(not daemon.fresh_status()["defence"]["under_load"], "under load")


def test_beyond_the_budget_cookies_are_asked_for():
    """With the fastest back end, whose shard proves more than the budget allows."""
    with victims(device_extra="handshakes_per_second = 2000", portable=False) \
            as (lab, device, daemon, made, crowd):
        status, report = survive(lab, daemon, made, crowd,
                            Attack(lab, device, "--mix", "unknown", "--from", SPOOFED4,
                                   "--attack-sources", "1000000"))
        check(status["verdicts"]["cookie"] > 100, f"no cookies: {status['verdicts']}")
        spent = status["verdicts"]["unknown_peer"] + status["verdicts"]["proven"]
        check(spent < 1.2 * 2000 * report["seconds"], f"{spent} proven in {report['seconds']} s")


def test_the_secret_rotates_in_mid_flood():
    """What was handed out before still lets in."""
    with victims(clients=25, real=1, portable=False,
                 device_extra="handshakes_per_second = 1000") as (lab, device, daemon, made, crowd):
        rotation = daemon.status()["started"] / 1e3 + 120
        probe = Client(lab, device.key.public, source=("198.19.0.1", 2000))  # stored nowhere

        def cookie():
            probe.send_initiation()
            answer = probe.receive(2)
            check(answer is not None and answer[0] == 3, "not asked for a cookie")
            return probe.handshake.answer_cookie(answer)

        time.sleep(rotation - 8 - time.time())
        attack = Attack(lab, device, "--mix", "unknown", "--from", SPOOFED4, "--attack-sources",
                        "1000000", rate=4_000)
        try:
            check(wait_for(lambda: daemon.status()["defence"]["under_load"], 5), "not under load")
            before = cookie()
            equal(connect_all(made[1:], tries=1, retry_after=0.5 / SLOW), {}, "let in without a cookie")
            check(all(client.cookie for client in made[1:]), "not everybody was asked")
            check(time.time() < rotation, "too late to tell")
            time.sleep(rotation + 1.5 - time.time())
            check(cookie() != before, "the secret is the same")
            equal(len(connect_all(made[1:], tries=1)), len(made) - 1,
                  "let in by cookies of the secret before")
            equal(crowd.come(), len(crowd.keys), "real clients")
        finally:
            attack.end()


def test_gateway_and_device_ask_for_a_cookie_each():
    """Both are under load: a client answers one, then the other, and is in."""
    with gateway(device_extra="probation_max = 8") as (lab, device, daemon):
        clients = [lab.client_device(device.key.public64, f"10.1.0.{i + 1}") for i in range(2)]
        lab.import_peers([{"public_key": client.key.public64, "allowed_ips": [f"10.1.0.{i + 1}"]}
                          for i, client in enumerate(clients)], device.name)
        squat(lab, device, daemon, 4)
        replies = lab.client.socket(socket.AF_PACKET, socket.SOCK_DGRAM, socket.htons(0x0800))
        replies.bind(("out", 0x0800))
        before = 0 if device.kernel else device.cpu_seconds()
        # From inside, where no program of ours is.
        flood = lab.gateway.start(*command(device, "--seed", "strangers", "--mix", "repeat", "--rate",
                                           "20000", "--duration", 60 * SLOW, address="127.0.0.1"),
                                  stdout=subprocess.DEVNULL)
        try:
            if device.kernel:  # whose time is nobody's in particular
                time.sleep(2 * SLOW)
            else:
                check(wait_for(lambda: device.cpu_seconds() > before + 0.5, 10), "no flood")
            for client, seconds in zip(clients, (25, 15)):
                # The first is asked by both; when the second comes, only the device is under load.
                check(lab.client.run("ping", "-n", "-c", "1", "-W", str(int(seconds * SLOW)), "-I",
                                     client.name, "10.0.0.1", check=False).returncode == 0,
                      f"no session within {seconds} s")
                check(wait_for(lambda: daemon.counts()["evicted_unconfirmed"] == 4, 45), "they stay")
            check(flood.poll() is None, "the flood has ended")
        finally:
            flood.terminate()
            flood.wait(30 * SLOW)
        verdicts = daemon.fresh_status()["verdicts"]
        check(verdicts["cookie"] >= 1, f"the gateway asked nobody: {verdicts}")
        came = 0
        replies.setblocking(False)
        with suppress(BlockingIOError):
            while True:
                packet, (_, _, direction, *_) = replies.recvfrom(2048)
                came += direction == socket.PACKET_HOST and packet[28:32] == b"\3\0\0\0"
        check(came > verdicts["cookie"] + 1, f"{came} cookies, {verdicts['cookie']} of the gateway")


def test_a_stale_cookie_is_answered_with_a_fresh_one():
    with victims(clients=12, real=0) as (lab, device, daemon, made, crowd):
        attack = Attack(lab, device, "--mix", "unknown", "--from", SPOOFED4, "--attack-sources", "1000")
        try:
            check(wait_for(lambda: daemon.status()["defence"]["under_load"], 10), "not under load")
            stale = os.urandom(16)  # as of a secret that is forgotten
            for client in made[1:]:
                client.cookie = stale
                check(client.connect(seconds=5) is not None, "who has a stale cookie stays out")
            asked = [client for client in made[1:] if client.cookie != stale]
            check(asked, "nobody was asked again")
        finally:
            attack.end()


if __name__ == "__main__":
    scenarios = {name: function for name, function in globals().items()
                 if name.startswith("test_") and function.__module__ == __name__}
    sys.exit(main(sys.argv[1:], scenarios))
