#!/usr/bin/python3
"""The gateway from end to end: real WireGuard on both sides, real packets between.

Run all scenarios, or those named as arguments. Needs root.
"""
import glob
import json
import os
import re
import resource
import signal
import socket
import struct
import subprocess
import sys
import time
import traceback
from base64 import b64encode
from contextlib import contextmanager
from pathlib import Path

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from client import Client, connect_all  # noqa: E402
from control import Watch  # noqa: E402
from edge import CHDIR, make_system_call  # noqa: E402
from lab import BIN, CLIENT4, GATEWAY4, GATEWAY6, PORT, ROOT, SLOW, TOOLS, Lab, run, wait_for  # noqa: E402
from noise import Handshake, Key, StaticOnlyForgery, tai64n  # noqa: E402

SCALE = float(os.environ.get("WICKET_SCALE", "1"))  # of how many clients come at once


@contextmanager
def gateway(queues=2, **daemon_options):
    """A laboratory with one device and a daemon that serves it, not started."""
    with Lab(queues=queues) as lab:
        device = lab.gateway_device()
        yield lab, device, lab.daemon(device, **daemon_options)


def store(lab, device, *clients):
    lab.import_peers([client.stored for client in clients], device.name)


def check(condition, what):
    if not condition:
        raise AssertionError(what)


def equal(actual, expected, what=""):
    check(actual == expected, f"{what}: {actual!r}, expected {expected!r}")


# --- the main job ------------------------------------------------------------

def test_first_packet_connects_over_ipv4_and_ipv6():
    with gateway() as (lab, device, daemon):
        first = lab.client_device(device.key.public64, "10.1.0.1")
        second = lab.client_device(device.key.public64, "10.1.0.2",
                                   endpoint=f"[{GATEWAY6}]:{PORT}")
        lab.import_peers([{"public_key": c.key.public64, "allowed_ips": [ip]}
                          for c, ip in ((first, "10.1.0.1"), (second, "10.1.0.2"))], device.name)
        daemon.start()
        check(not device.peers(), "a stored peer is in the device before it came")
        # No retry: WireGuard's own comes after 5 s.
        check(lab.ping(source="10.1.0.1", seconds=3), "IPv4 client did not connect at once")
        lab.client.ip("route", "replace", "10.0.0.1/32", "dev", second.name, "src", "10.1.0.2")
        check(lab.ping(source="10.1.0.2", seconds=3), "IPv6 client did not connect at once")
        equal(set(device.peers()), {first.key.public64, second.key.public64}, "installed")
        counts = daemon.counts()
        equal((counts["installs"], counts["reinjected"]), (2, 2), "installs, reinjected")
        wait_for(lambda: daemon.counts()["confirmed"] == 2, 5)
        equal(daemon.counts()["confirmed"], 2, "confirmed")
        # Who packets wait for comes first; who answers operators does not.
        nice = {(task / "comm").read_text().strip():
                int((task / "stat").read_text().rsplit(")", 1)[1].split()[16])
                for task in Path(f"/proc/{daemon.process.pid}/task").iterdir()}
        equal({nice[name] for name in ("in/0", "in/1", f"install/{device.name}"[:15])}, {-10}, nice)
        equal([nice[name] for name in ("control", "committer", "wicketd")], [5, 0, 0], nice)


def test_preshared_key():
    with gateway() as (lab, device, daemon):
        psk = Key()
        client = lab.client_device(device.key.public64, psk=psk.private64)
        lab.import_peers([{"public_key": client.key.public64, "allowed_ips": ["10.1.0.1"],
                           "preshared_key": psk.private64}], device.name)
        daemon.start()
        check(lab.ping(seconds=3), "no session with a preshared key")
        check(psk.private64 not in daemon.log_text, "the preshared key is in the log")


def test_vlan_frames_are_proven():
    """Hosts without the 8021q module steer tagged frames too; vlan_test.py goes all the way."""
    with gateway() as (lab, device, daemon):
        client = Client(lab, device.key.public)
        store(lab, device, client)
        lab.gateway.run("ethtool", "-K", "in", "rxvlan", "off")
        daemon.start()
        mac = lab.gateway.mac("in")
        payload = Handshake(client.key, device.key.public).message
        udp = struct.pack(">HHHH", 4000, PORT, 8 + len(payload), 0) + payload
        header = struct.pack(">BBHHHBBH4s4s", 0x45, 0, 20 + len(udp), 0, 0, 64, 17, 0,
                             socket.inet_aton(CLIENT4), socket.inet_aton(GATEWAY4))
        frame = mac + bytes(6) + struct.pack(">HHHH", 0x88A8, 20, 0x8100, 10) + b"\x08\0"
        raw = lab.client.socket(socket.AF_PACKET, socket.SOCK_RAW, 0)
        raw.bind(("out", 0))
        raw.send(frame + header + udp)
        check(wait_for(lambda: device.peers(), 3), "a frame with two tags was not proven")


def test_several_queues_share_the_work():
    with gateway(queues=4) as (lab, device, daemon):
        clients = [Client(lab, device.key.public) for _ in range(64)]
        store(lab, device, *clients)
        daemon.start()
        equal(daemon.status()["nics"][0]["queues"], 4, "queues")
        for client in clients:
            check(client.connect() is not None, "a client did not connect at once")
        stats = lab.gateway.run("ethtool", "-S", "in").stdout
        used = [n for n in range(4)
                if int(re.search(rf"rx_queue_{n}_xdp_packets: (\d+)", stats)[1]) > 0]
        check(len(used) >= 2, f"only queues {used} saw packets:\n{stats}")


def test_a_thousand_clients_at_once():
    with gateway() as (lab, device, daemon):
        count = int(1000 * SCALE)
        clients = [Client(lab, device.key.public) for _ in range(count)]
        store(lab, device, *clients)
        daemon.text = daemon.text.replace('"debug"', '"info"')
        daemon.start()
        needed = connect_all(clients)
        equal(len(needed), count, "connected")
        late = sum(tries > 1 for tries in needed.values())
        print(f"  {late} of {count} needed a second try")
        equal(len(device.peers()), count, "installed")


def test_a_client_whose_first_data_packet_was_lost_is_still_expected():
    """He believes in his session and sends the next one after 25 s, as keepalives are."""
    with gateway() as (lab, device, daemon):
        client = Client(lab, device.key.public)
        store(lab, device, client)
        daemon.start()
        client.send_initiation()
        response = client.receive(2)
        time.sleep(25)
        client.finish(response)
        check(wait_for(lambda: daemon.counts()["confirmed"] == 1, 5), "his session is gone")


def test_a_thousand_wireguard_go_clients_at_once():
    with gateway() as (lab, device, daemon):
        count = int(1000 * SCALE)
        crowd = lab.client_crowd(count)
        lab.import_peers([{"public_key": client.key.public64, "allowed_ips": []}
                          for client in crowd], device.name)
        daemon.text = daemon.text.replace('"debug"', '"info"')
        daemon.start()
        for client in crowd:  # a peer with a keepalive makes the device initiate
            client.set_uapi(f"public_key={device.key.public.hex()}",
                            f"endpoint={GATEWAY4}:{PORT}", "persistent_keepalive_interval=25")

        def in_session():
            return sum(handshake > 0 for _, handshake, _, _ in device.peers().values())
        # Whose keepalive was lost among so many sends the next one 25 s later.
        wait_for(lambda: in_session() == count, 45, every=0.5)
        equal(in_session(), count, "in session")
        counts = daemon.counts()
        equal(counts["installs"] - counts["healed"], count, "installs, but for repeated tries")


def test_several_devices():
    with gateway() as (lab, device, daemon):
        other = lab.wireguard(lab.gateway, port=PORT + 1)
        daemon = lab.daemon(device, other)
        clients = [Client(lab, device.key.public), Client(lab, other.key.public, port=PORT + 1)]
        store(lab, device, clients[0])
        store(lab, other, clients[1])
        stray = Client(lab, other.key.public, key=clients[0].key, port=PORT + 1)
        daemon.start()
        for client in clients:
            check(client.connect() is not None, "a device is not served")
        equal(len(device.peers()), 1, "peers of the first")
        equal(stray.connect(seconds=1), None, "a peer of another device was answered")


# --- the modes ---------------------------------------------------------------

def answers_in_mode(expected_mode, **options):
    with gateway(**options) as (lab, device, daemon):
        client = lab.client_device(device.key.public64)
        lab.import_peers([{"public_key": client.key.public64, "allowed_ips": ["10.1.0.1"]}],
                         device.name)
        daemon.start()
        nic = daemon.status()["nics"][0]
        equal(nic["reinject"], expected_mode, "mode")
        check(f"reinject {expected_mode}" in daemon.log_text, "the mode is not in the log")
        return lab.ping(seconds=3 if expected_mode != "wait" else 8), nic


def test_raw_socket_reinjection():
    check(answers_in_mode("raw", reinject="raw")[0], "no session")


def test_generic_xdp_falls_back_to_the_raw_socket():
    connected, nic = answers_in_mode("raw", xdp="generic")
    equal(nic["xdp_mode"], "generic", "XDP mode")
    check("generic" in nic["reinject_reason"], nic["reinject_reason"])
    check(connected, "no session")


def test_role_inversion():
    check(answers_in_mode("invert", reinject="invert")[0], "no session")


def test_waiting_for_the_clients_retry():
    check(answers_in_mode("wait", reinject="wait")[0], "no session after the retry")


# --- those who may not in ----------------------------------------------------

def test_unknown_key_meets_silence():
    with gateway() as (lab, device, daemon):
        client = Client(lab, device.key.public)
        daemon.start()
        equal(client.connect(seconds=1), None, "answered")
        equal(daemon.fresh_status()["verdicts"]["unknown_peer"], 1, "unknown_peer")
        check(not device.peers(), "installed")
        check(client.key.public64[:8] not in daemon.log_text, "the log names an unknown key")


def test_a_forged_static_key_installs_nothing():
    """T4: whoever knows two public keys can claim to be a stored peer."""
    with gateway() as (lab, device, daemon):
        victim = Client(lab, device.key.public)
        store(lab, device, victim)
        daemon.start()
        forger = Client(lab, device.key.public)
        for _ in range(5):
            forger.send(StaticOnlyForgery(victim.key.public, device.key.public).message)
        equal(forger.receive(1), None, "answered")
        equal(daemon.fresh_status()["verdicts"]["not_proven"], 5, "not_proven")
        check(not device.peers(), "installed")
        check(victim.key.public64[:8] not in daemon.log_text, "the log names the victim")
        check(victim.connect() is not None, "the victim cannot connect any more")


def test_every_refused_packet_leaves_the_device_alone():
    with gateway() as (lab, device, daemon):
        client = Client(lab, device.key.public)
        store(lab, device, client)
        daemon.start()
        good = bytearray(Handshake(client.key, device.key.public).message)
        sender = Handshake(client.key, device.key.public)
        for byte in range(4, 132):
            bad = bytearray(good)
            bad[byte] ^= 0x40
            if 8 <= byte < 116:  # behind mac1 lies the rest of the path
                bad[116:132] = sender.mac1(bytes(bad[:116]))
            client.send(bytes(bad))
        equal(client.receive(1), None, "answered")
        status = daemon.fresh_status()
        verdicts = status["verdicts"]
        equal((status["steering"]["drop_mac1"], verdicts["bad_static"], verdicts["not_proven"]),
              (20, 80, 28), "bad mac1, bad static, not proven")
        check(not device.peers(), "installed")


def test_replay_before_and_after_eviction():
    """T5: the kernel forgets a peer's timestamps with the peer; we do not."""
    with gateway() as (lab, device, daemon):
        client = Client(lab, device.key.public)
        store(lab, device, client)
        daemon.start()
        captured = client.send_initiation()
        check(client.receive(2), "not answered")  # and never confirmed
        attacker = Client(lab, device.key.public)
        attacker.send(captured)
        equal(attacker.receive(1), None, "a replay was answered")
        check(wait_for(lambda: not device.peers(), 45, every=0.5), "not evicted after 30 s")
        equal(daemon.counts()["evicted_unconfirmed"], 1, "evicted")
        attacker.send(captured)
        equal(attacker.receive(1), None, "a replay was answered after the eviction")
        equal(daemon.fresh_status()["steering"]["drop_repeat"], 2, "exact repeats")
        daemon.stop()
        daemon.detach()  # the program forgets what it has seen; the store does not
        daemon.start()
        attacker.send(captured)
        equal(attacker.receive(1), None, "a replay was answered after a restart")
        check(not device.peers(), "a replay installed the peer")
        equal(daemon.fresh_status()["verdicts"]["replay"], 1, "replay")
        check(client.connect() is not None, "the client itself cannot come back")


def test_a_dead_session_leaves_and_its_rekey_cannot_be_replayed():
    """The rekey went past us to the kernel; after the eviction it is refused all the same."""
    with gateway() as (lab, device, daemon):
        client, pinned = Client(lab, device.key.public), Client(lab, device.key.public)
        lab.import_peers([client.stored, {**pinned.stored, "pinned": True}], device.name)
        daemon.start()
        check(client.connect() is not None and pinned.connect() is not None, "no session")
        check(wait_for(lambda: daemon.counts()["confirmed"] == 2, 5), "not confirmed")
        rekey = client.send_initiation()
        client.finish(client.receive(2))
        last = time.monotonic()
        equal(daemon.fresh_status()["steering"]["pass_flow"], 1, "rekeys that passed")
        received = wait_for(lambda: device.peers()[client.key.public64][2], 3)
        check(received > 0, "nothing received")
        time.sleep(175)
        check(client.key.public64 in device.peers(), "a live session was evicted")
        check(wait_for(lambda: client.key.public64 not in device.peers(), 15, every=0.5), "not evicted")
        check(time.monotonic() - last > 180, "evicted before its session was dead")
        equal(daemon.counts()["evicted_idle"], 1, "evicted_idle")
        check(pinned.key.public64 in device.peers(), "a pinned peer was evicted")
        daemon.stop()
        daemon.detach()  # the program forgets that it has seen it
        daemon.start()
        attacker = Client(lab, device.key.public)
        attacker.send(rekey)
        equal(attacker.receive(1), None, "a replayed rekey was answered")
        equal(daemon.fresh_status()["verdicts"]["replay"] + daemon.counts()["replays"], 1, "replays")
        check(client.connect() is not None, "the client cannot come back")
        check(device.peers()[client.key.public64][2] < received, "counters of a new installation")


def test_a_clock_far_ahead_and_back():
    with gateway() as (lab, device, daemon):
        client = Client(lab, device.key.public)
        store(lab, device, client)
        daemon.start()
        ahead = tai64n(time.time() + 10 * 365 * 86400)
        check(client.connect(stamp=ahead) is not None, "a fast clock is refused")
        equal(daemon.counts()["future_stamps"], 1, "future_stamps")
        other = Client(lab, device.key.public, key=client.key)
        equal(other.connect(seconds=1, stamp=ahead), None, "the same stamp again was answered")
        # A still faster clock is believed at once.
        ahead = tai64n(time.time() + 11 * 365 * 86400)
        check(other.connect(stamp=ahead) is not None, "a later stamp is refused")


def later(seconds):
    """A command before a command: it runs in a time namespace whose time since the boot is later."""
    code = "import ctypes, os, sys\n" \
           "libc = ctypes.CDLL(None)\n" \
           "assert libc.unshare(0x80) == 0, 'unshare(CLONE_NEWTIME)'\n" \
           "open('/proc/self/timens_offsets', 'w').write(f'boottime {sys.argv[1]} 0')\n" \
           "own = os.open('/proc/self/ns/time_for_children', os.O_RDONLY)\n" \
           "assert libc.setns(own, 0x80) == 0, 'setns(time)'\n" \
           "os.execvp(sys.argv[2], sys.argv[2:])\n"
    return ["/usr/bin/python3", "-c", code, str(seconds)]


def test_a_clock_set_back_is_believed_after_ten_minutes():
    with gateway() as (lab, device, daemon):
        client = Client(lab, device.key.public)
        store(lab, device, client)
        daemon.start()
        ahead = client.send_initiation(tai64n(time.time() + 10 * 365 * 86400))
        check(client.receive(2), "a fast clock is refused")  # and never confirmed
        check(wait_for(lambda: not device.peers(), 45, every=0.5), "not evicted after 30 s")
        equal(client.connect(seconds=1), None, "the true time is believed too early")
        preload, = glob.glob("/usr/lib/*/faketime/libfaketime.so.1")
        wall = ["env", f"LD_PRELOAD={preload}", "FAKETIME=+11m", "FAKETIME_DONT_FAKE_MONOTONIC=1",
                "FAKETIME_NO_CACHE=1"]
        # First the daemon's wall clock alone is stepped by eleven minutes, then they have passed.
        for passed in (False, True):
            daemon.stop()
            daemon.wrapper = [*(later(660) if passed else []), *wall]
            daemon.start()
            attacker = Client(lab, device.key.public)
            attacker.send(ahead)
            equal(attacker.receive(1), None, "the packet from the future is good again")
            answer = client.connect(stamp=tai64n(time.time() + 661 + passed), seconds=5 if passed else 1)
            equal(answer is not None, passed, "the true time is believed, and ten minutes have passed")


# --- peers that move, keys that change ---------------------------------------

def test_roaming_client():
    with gateway() as (lab, device, daemon):
        client = lab.client_device(device.key.public64)
        lab.import_peers([{"public_key": client.key.public64, "allowed_ips": ["10.1.0.1"]}],
                         device.name)
        daemon.start()
        check(lab.ping(seconds=3), "no session")
        client.set("listen-port", "40404")
        check(lab.ping(seconds=3), "no data after roaming")  # data packets alone move the endpoint
        endpoint = wait_for(lambda: ":40404" in device.peers()[client.key.public64][0], 3)
        check(endpoint, "the device did not follow")
        # A new handshake from yet another port and address is answered at once.
        time.sleep(0.05)  # see Client._last
        lab.client.ip("address", "add", "192.0.2.77/16", "dev", "out")
        again = Client(lab, device.key.public, key=client.key, source=("192.0.2.77", 40405))
        check(again.connect(stamp=tai64n(time.time() + 60)) is not None, "roaming handshake lost")
        equal(daemon.counts()["roamed"], 1, "roamed")
        check("192.0.2.77:40405" in device.peers()[client.key.public64][0], "endpoint")


def test_device_key_and_port_changed_while_running():
    with gateway() as (lab, device, daemon):
        client = Client(lab, device.key.public)
        store(lab, device, client)
        daemon.start()
        check(client.connect() is not None, "no session")
        device.configure(Key(), PORT)
        moved = Client(lab, device.key.public)
        store(lab, device, moved)
        check(wait_for(lambda: moved.connect(seconds=1) is not None, 15),
              "the new key is not served")
        device.set("listen-port", str(PORT + 7))
        elsewhere = Client(lab, device.key.public, port=PORT + 7)
        store(lab, device, elsewhere)
        check(wait_for(lambda: elsewhere.connect(seconds=1) is not None, 10),
              "the new port is not served")


def test_a_device_whose_key_cannot_be_read_is_not_served():
    """With the old key all that is made for the new one would die as forged."""
    with gateway() as (lab, device, daemon):
        client = Client(lab, device.key.public)
        store(lab, device, client)
        daemon.start()
        check(client.connect() is not None, "no session")
        told = lambda: daemon.status()["devices"][0]  # noqa: E731
        device.set("private-key", "/dev/null")
        check(wait_for(lambda: told()["backend"] == "away" and "private key" in told()["away_reason"], 15), told())
        device.configure(Key(), PORT)
        moved = Client(lab, device.key.public)
        store(lab, device, moved)
        check(wait_for(lambda: moved.connect(seconds=1) is not None, 20), "the new key is not served")


def test_a_new_key_of_a_large_device_is_served_at_once():
    """What is made for it dies as forged, and so we look, before the dump that takes its time."""
    with gateway(log_level="info") as (lab, device, daemon):
        device.add_peers([b64encode(os.urandom(32)).decode() for _ in range(10_000)])
        daemon.start()
        check(wait_for(lambda: daemon.status()["devices"][0]["foreign"] == 10_000, 20), "no dump")
        for _ in range(3):
            device.configure(Key(), PORT)
            client = Client(lab, device.key.public)
            client.send_initiation()
            check(wait_for(lambda: device.key.public64 in daemon.log_text, 2),
                  "it waits for the next dump")
            store(lab, device, client)
            check(client.connect() is not None, "no session")


def test_a_peer_removed_by_somebody_else_comes_back():
    with gateway() as (lab, device, daemon):
        client = Client(lab, device.key.public)
        store(lab, device, client)
        daemon.start()
        check(client.connect() is not None, "no session")
        check(wait_for(lambda: daemon.counts()["confirmed"] == 1, 10), "the flow is not known")
        device.remove_peer(client.key.public64)
        equal(client.connect(seconds=1), None, "the known flow passes, to nobody")
        check(client.connect() is not None, "the retry did not heal it")


def test_who_waited_until_he_tries_again_is_not_answered_twice():
    """A client forgets a handshake with its next try, so what waited for so long is in others' way."""
    with gateway() as (lab, device, daemon):
        clients = [Client(lab, device.key.public) for _ in range(4)]
        store(lab, device, *clients)
        daemon.start()
        device.process.send_signal(signal.SIGSTOP)
        try:
            clients[0].send_initiation()  # its batch, or a dump, waits for the device
            time.sleep(1.2)
            for client in clients[1:]:
                client.send_initiation()
            time.sleep(4)
        finally:
            device.process.send_signal(signal.SIGCONT)
        check(wait_for(lambda: daemon.counts()["requests"] == 4, 5), daemon.counts())
        counts = daemon.counts()
        equal((counts["too_late"] + counts["installs"], counts["too_late"] >= 3), (4, True), counts)
        for client in clients[1:]:
            check(client.connect() is not None, "no session at the next try")


# --- a daemon that dies, hangs, restarts -------------------------------------

def test_installed_peers_rekey_without_the_daemon():
    """T8, X21, X22: kill -9 and SIGSTOP cost installed peers nothing."""
    with gateway() as (lab, device, daemon):
        real = lab.client_device(device.key.public64)
        clients = [Client(lab, device.key.public) for _ in range(10)]
        lab.import_peers([{"public_key": real.key.public64, "allowed_ips": ["10.1.0.1"]}] +
                         [client.stored for client in clients], device.name)
        daemon.start()
        check(lab.ping(seconds=3), "no session")
        for client in clients:
            check(client.connect() is not None, "no session")
        daemon.process.send_signal(signal.SIGSTOP)
        time.sleep(0.8 * SLOW)
        for client in clients:
            check(client.connect() is not None, "a rekey was lost while the daemon hung")
        check(lab.ping(count=3), "data was lost while the daemon hung")
        daemon.process.send_signal(signal.SIGCONT)
        daemon.kill()
        for client in clients:
            check(client.connect() is not None, "a rekey was lost after kill -9")
        check(lab.ping(count=3), "data was lost after kill -9")
        daemon.start()
        check("taken over" in daemon.log_text, "the program was not taken over")
        check(wait_for(lambda: daemon.counts()["adopted"] == 11, 5), daemon.counts())
        for client in clients:
            check(client.connect() is not None, "a rekey was lost after the restart")
        newcomer = Client(lab, device.key.public)
        store(lab, device, newcomer)
        check(newcomer.connect() is not None, "a newcomer is not served after the restart")


def test_restarts_under_load():
    with gateway() as (lab, device, daemon):
        steady = lab.client_device(device.key.public64)
        count = max(90, int(300 * SCALE))
        clients = [Client(lab, device.key.public) for _ in range(count)]
        lab.import_peers([{"public_key": steady.key.public64, "allowed_ips": ["10.1.0.1"]}] +
                         [client.stored for client in clients], device.name)
        daemon.start()
        check(lab.ping(seconds=3), "no session")
        ping = lab.client.start("ping", "-n", "-i", "0.05", "10.0.0.1", stdout=subprocess.PIPE,
                                text=True)
        late = 0
        for i, client in enumerate(clients):
            if i % 60 == 30:
                daemon.kill() if i % 120 == 30 else daemon.stop()
                daemon.start()
            if client.connect(seconds=1) is None:
                late += 1
                check(client.connect() is not None, "not connected at the second try")
        ping.send_signal(signal.SIGINT)
        report = ping.communicate()[0]
        # The answer to the last one may still have been on its way.
        answered = [int(number) for number in re.findall(r"icmp_seq=(\d+) ttl", report)]
        sent = int(re.search(r"(\d+) packets transmitted", report)[1])
        equal(sorted(answered), list(range(1, max(answered) + 1)), "answered")
        check(max(answered) >= sent - 1, report[-300:])
        print(f"  {late} of {count} needed a second try over the restarts")


def test_second_daemon_is_refused():
    with gateway() as (lab, device, daemon):
        daemon.start()
        second = lab.daemon(device)
        second.log = lab.dir / "second.log"
        second.config = lab.dir / "second.toml"
        status, log = second.start(expect_failure=True)
        equal(status, 1, "exit status")
        # Each thing that one daemon alone can have, and what the second is told to change.
        for key, path in (("status_file", daemon.status_file), ("store.path", lab.store),
                          ("pin_dir", lab.bpffs / "wicket")):
            check(key in log and f"process {daemon.process.pid}" in log, log)
            second.text = second.text.replace(f'"{path}"', f'"{path}-2"')
            status, log = second.start(expect_failure=True)
            equal(status, 1, "exit status")
        check("control.socket" in log and f"process {daemon.process.pid}" in log, log)
        second.text = second.text.replace(f'"{daemon.control}"', f'"{daemon.control}-2"')
        second.start()  # and waits for the NIC, which the first serves
        wait_for(lambda: f'pin_dir {lab.bpffs / "wicket"}' in second.log_text, 5)
        check(f"process {daemon.process.pid}" in second.log_text, second.log_text)
        check(daemon.status_file.exists(), "the status file is gone")
        client = Client(lab, device.key.public)
        store(lab, device, client)
        check(client.connect() is not None, "the first daemon suffered")


def test_sigterm_leaves_peers_and_program_and_detach_removes_it():
    with gateway() as (lab, device, daemon):
        client = Client(lab, device.key.public)
        store(lab, device, client)
        daemon.start()
        check(client.connect() is not None, "no session")
        refused = daemon.detach()
        equal(refused.returncode, 1, "--detach beside a running daemon")
        check("stop it first" in refused.stderr, refused.stderr)
        equal(daemon.stop(), 0, "exit status")
        check("prog/xdp" in lab.gateway.ip("link", "show", "in").stdout, "the program is gone")
        check(list((lab.bpffs / "wicket").glob("v*/steer_flows")), "pins are gone")
        check(client.connect() is not None, "a rekey was lost without a daemon")
        result = daemon.detach()
        equal(result.returncode, 0, result.stderr)
        check("prog/xdp" not in lab.gateway.ip("link", "show", "in").stdout, "still attached")
        check(not (lab.bpffs / "wicket").exists(), "pins left behind")


def test_maps_of_an_older_version_go_when_nothing_uses_them():
    with gateway() as (lab, device, daemon):
        pins = lab.bpffs / "wicket"
        for version in ("v1", "v2"):
            (pins / version).mkdir(parents=True)
            run("bpftool", "map", "create", pins / version / "steer_served", "type", "hash", "key", "2",
                "value", "4", "entries", "4", "name", "steer_served")
        daemon.start()
        kept = [path.name for path in pins.iterdir()]
        equal(len(kept), 1, kept)
        check(list((pins / kept[0]).glob("steer_flows")), "the maps in use")


def test_maps_of_an_older_version_stay_while_an_interface_uses_them():
    with gateway(nics=("in", "spare")) as (lab, device, daemon):
        lab.gateway.ip("link", "add", "spare", "type", "veth", "peer", "name", "other")
        daemon.start()
        equal(daemon.stop(), 0, "exit status")
        pins = lab.bpffs / "wicket"
        newest, = pins.iterdir()
        older = newest.rename(pins / f"v{int(newest.name[1:]) - 1}")
        daemon.text = daemon.text.replace('[[nic]]\nname = "spare"\nxdp = "auto"\ncookies = "ring"\n', "")
        check("spare" not in daemon.text, daemon.text)
        for used in True, False:
            daemon.start()
            equal(older.exists(), used, "pins of an older version")
            check(list(newest.glob("steer_flows")), "the maps in use")
            equal(daemon.stop(), 0, "exit status")
            lab.gateway.ip("link", "delete", "spare", check=False)


def test_sighup_reloads_and_keeps_the_old_when_the_new_is_bad():
    with gateway() as (lab, device, daemon):
        daemon.start()
        daemon.config.write_text(daemon.text.replace('"debug"', '"loud"'))
        daemon.process.send_signal(signal.SIGHUP)
        check(wait_for(lambda: "the old configuration stays" in daemon.log_text, 3), daemon.log_text)
        daemon.config.write_text(daemon.text.replace('reinject = "auto"', 'reinject = "raw"')
                                 .replace('"debug"', '"info"'))
        daemon.process.send_signal(signal.SIGHUP)
        check(wait_for(lambda: "reloaded" in daemon.log_text, 3), daemon.log_text)
        equal(daemon.fresh_status()["nics"][0]["reinject"], "raw", "mode")
        client = Client(lab, device.key.public)
        store(lab, device, client)
        check(client.connect() is not None, "no session after the reload")


def test_a_mode_the_nic_cannot_do_leaves_the_old_one():
    with gateway(xdp="generic") as (lab, device, daemon):
        clients = [Client(lab, device.key.public) for _ in range(2)]
        store(lab, device, *clients)
        daemon.start()
        daemon.config.write_text(daemon.text.replace('reinject = "auto"', 'reinject = "live"'))
        daemon.process.send_signal(signal.SIGHUP)
        check(wait_for(lambda: "the mode stays auto" in daemon.log_text, 3), daemon.log_text)
        nic = daemon.fresh_status()["nics"][0]
        equal((nic["xdp_mode"], nic["reinject"]), ("generic", "raw"), "the NIC")
        check(clients[0].connect() is not None, "no session after the refused reload")


# --- NICs and devices that come and go ---------------------------------------

def test_nic_removed_and_back():
    """X25"""
    with gateway() as (lab, device, daemon):
        clients = [Client(lab, device.key.public) for _ in range(2)]
        store(lab, device, *clients)
        daemon.start()
        check(clients[0].connect() is not None, "no session")
        lab.gateway.ip("link", "del", "in")
        check(wait_for(lambda: daemon.fresh_status()["nics"][0]["xdp_mode"] == "away", 5), "not away")
        lab.connect()
        check(wait_for(lambda: daemon.fresh_status()["nics"][0]["xdp_mode"] == "native", 5), "not back")
        again = Client(lab, device.key.public, key=clients[1].key)
        check(again.connect() is not None, "the NIC that came back is not served")


def test_device_removed_and_back():
    with gateway() as (lab, device, daemon):
        clients = [Client(lab, device.key.public) for _ in range(2)]
        store(lab, device, *clients)
        daemon.start()
        check(clients[0].connect() is not None, "no session")
        device.close()
        check(wait_for(lambda: daemon.fresh_status()["devices"][0]["backend"] == "away", 5), "not away")
        equal(clients[1].connect(seconds=1), None, "answered by nobody")
        device.create()
        device.configure(device.key, PORT)
        check(wait_for(lambda: daemon.fresh_status()["devices"][0]["backend"] != "away", 5), "not back")
        for client in clients:
            check(wait_for(lambda c=client: c.connect(seconds=1) is not None, 10),
                  "the device that came back is not served")


def test_started_before_its_device_and_nic():
    with gateway() as (lab, device, daemon):
        client = Client(lab, device.key.public)
        store(lab, device, client)
        device.close()
        lab.gateway.ip("link", "del", "in")
        daemon.start()
        lab.connect()
        device.create()
        device.configure(device.key, PORT)
        again = Client(lab, device.key.public, key=client.key)
        check(wait_for(lambda: again.connect(seconds=1) is not None, 15), "never served")


def test_adopts_known_peers_and_leaves_strangers_alone():
    with gateway() as (lab, device, daemon):
        known = lab.client_device(device.key.public64)
        stranger = Client(lab, device.key.public)
        device.add_peer(known.key.public64, "10.1.0.1/32")
        device.add_peer(stranger.key.public64, "10.9.0.1/32")
        check(stranger.connect() is not None, "no stranger's session before the daemon")
        check(lab.ping(seconds=3), "no session before the daemon")
        lab.import_peers([{"public_key": known.key.public64, "allowed_ips": ["10.1.0.1"]}],
                         device.name)
        daemon.start()
        check(wait_for(lambda: daemon.counts()["adopted"] == 1, 5), "not adopted")
        status = daemon.fresh_status()["devices"][0]
        equal((status["installed"], status["foreign"]), (1, 1), "installed, foreign")
        time.sleep(32)  # longer than an unconfirmed peer of ours would live
        check(stranger.key.public64 in device.peers(), "a stranger was removed")
        check(stranger.connect() is not None, "a stranger's rekey was lost")
        moved = Client(lab, device.key.public, key=stranger.key)
        check(moved.connect() is not None, "a stranger's handshake from another port was lost")
        check(lab.ping(), "the adopted session was lost")


def test_what_changed_in_the_store_while_nobody_looked_reaches_the_device():
    with gateway() as (lab, device, daemon):
        clients = [lab.client_device(device.key.public64, f"10.1.0.{n}") for n in (1, 2)]
        for n, client in enumerate(clients, 1):
            device.add_peer(client.key.public64, f"10.1.0.{n}/32", keepalive=25)
            lab.client.ip("route", "replace", "10.0.0.1/32", "dev", client.name, "src", f"10.1.0.{n}")
            check(lab.ping(source=f"10.1.0.{n}", seconds=3), "no session before the daemon")
        psk, before = Key().private64, device.peers()
        lab.import_peers([{"public_key": clients[0].key.public64, "allowed_ips": ["10.1.0.1"],
                           "persistent_keepalive": 25},
                          {"public_key": clients[1].key.public64, "preshared_key": psk,
                           "allowed_ips": ["10.1.0.2", "fd00::2"], "persistent_keepalive": 21}],
                         device.name)
        daemon.start()
        check(wait_for(lambda: daemon.counts()["corrected"] == 1, 5), "not corrected")
        lines = [line.split("\t") for line in device.ns.run("wg", "show", device.name, "dump")
                 .stdout.splitlines()[1:]]
        rows = {row[0]: (row[1], set(row[3].split(",")), row[7]) for row in lines}
        equal(rows, {clients[0].key.public64: ("(none)", {"10.1.0.1/32"}, "25"),
                     clients[1].key.public64: (psk, {"10.1.0.2/32", "fd00::2/128"}, "21")}, "settings")
        check(lab.ping(source="10.1.0.2"), "the session was lost")
        equal({key: row[1] for key, row in device.peers().items()},
              {key: row[1] for key, row in before.items()}, "handshakes")


def test_an_installed_peer_that_expires_is_removed():
    with gateway() as (lab, device, daemon):
        client = Client(lab, device.key.public)
        store(lab, device, client)
        daemon.start()
        check(client.connect() is not None, "no session")
        lab.import_peers([{**client.stored, "expires_at": "2020-01-01T00:00:00Z"}], device.name)
        # What it sends comes to us from the next dump on, and is refused.
        check(wait_for(lambda: client.connect(seconds=1) is None, 8), "an expired peer is answered")
        check(client.key.public64 in device.peers(), "a clock that is wrong for a moment took it")
        check(wait_for(lambda: not device.peers(), 45, every=0.5), "an expired peer stays")
        check(daemon.fresh_status()["verdicts"]["expired"] >= 1, "refused for another reason")


def test_a_program_removed_by_somebody_else_comes_back():
    with gateway() as (lab, device, daemon):
        client = Client(lab, device.key.public)
        store(lab, device, client)
        daemon.start()
        lab.gateway.ip("link", "set", "in", "xdp", "off")
        check(wait_for(lambda: "removed or replaced the XDP program" in daemon.log_text, 3), "unnoticed")
        check(wait_for(lambda: client.connect(seconds=1) is not None, 5), "not attached again")


def test_a_long_import_stops_no_install():
    """Another process keeps the store's one writing transaction open."""
    with gateway() as (lab, device, daemon):
        clients = [Client(lab, device.key.public) for _ in range(20)]
        store(lab, device, *clients)
        daemon.start()
        check(clients[0].connect() is not None, "no session")
        pending = subprocess.Popen([TOOLS / "wicket", "import", "--offline", "--store", lab.store, "--device",
                                    device.name, "-"], stdin=subprocess.PIPE,
                                   stdout=subprocess.DEVNULL, text=True)
        late = Client(lab, device.key.public)
        pending.stdin.write(json.dumps(late.stored) + "\n")
        pending.stdin.flush()
        time.sleep(1.5 * SLOW)  # sessions are due to be saved meanwhile
        for client in clients[1:]:
            check(client.connect(seconds=1) is not None, "an install waited for the import")
        pending.stdin.close()
        equal(pending.wait(10 * SLOW), 0, "the import")
        check(late.connect() is not None, "the imported peer is not served at once")


def test_stopping_does_not_wait_for_another_writer_for_ever():
    with gateway() as (lab, device, daemon):
        client = Client(lab, device.key.public)
        store(lab, device, client)
        daemon.start()
        pending = subprocess.Popen([TOOLS / "wicket", "import", "--offline", "--store", lab.store, "--device",
                                    device.name, "-"], stdin=subprocess.PIPE,
                                   stdout=subprocess.DEVNULL, text=True)
        pending.stdin.write(json.dumps(Client(lab, device.key.public).stored) + "\n")
        pending.stdin.flush()
        wait_for(lambda: (lab.store / "writer.lock").read_text().strip() == str(pending.pid), 3)
        check(client.connect() is not None, "no session")
        equal(daemon.stop(), 0, "exit status")
        check(f"another writer, process {pending.pid}, is at work" in daemon.log_text,
              daemon.log_text)
        pending.stdin.close()
        equal(pending.wait(10 * SLOW), 0, "the import")


def test_ten_thousand_leave_while_others_come():
    with gateway(device_extra="installed_max = 60000\nprobation_max = 60000", log_level="info") \
            as (lab, device, daemon):
        crowd = [b64encode(os.urandom(32)).decode() for _ in range(10_000)]
        clients = [Client(lab, device.key.public) for _ in range(int(1000 * SCALE))]
        lab.import_peers([{"public_key": key} for key in crowd]
                         + [client.stored for client in clients], device.name)
        device.add_peers(crowd)
        daemon.start()
        watch = Watch(daemon)
        try:
            check(wait_for(lambda: daemon.counts()["adopted"] == len(crowd), 30), "not adopted")
            wait_for(lambda: watch.times("evicted"), 45, every=0.01)
            spans = []
            for client in clients:
                begin = time.time()
                check(client.connect(seconds=2) is not None, "an install was held up")
                spans.append((begin, time.time()))
                if daemon.status()["devices"][0]["counts"]["evicted_unconfirmed"] >= len(crowd):
                    break
            check(wait_for(lambda: daemon.counts()["evicted_unconfirmed"] >= len(crowd), 60),
                  "not all have left")
            last = max(watch.times("evicted"))
            waits = sorted(end - begin for begin, end in spans if end <= last)
            check(len(waits) >= 5, f"{len(waits)} came while the others left")
        finally:
            watch.close()
        print(f"{len(waits)} came meanwhile, the slowest in {waits[-1] * 1e3:.0f} ms, "
              f"half within {waits[len(waits) // 2] * 1e3:.0f} ms")


# --- room in the device --------------------------------------------------------

def test_an_attacker_with_many_keys_of_its_own_displaces_nobody():
    """T6"""
    with gateway(device_extra="installed_max = 1000\nprobation_max = 400", log_level="info") \
            as (lab, device, daemon):
        good = [Client(lab, device.key.public) for _ in range(100)]
        many = [Client(lab, device.key.public) for _ in range(10_000)]
        store(lab, device, *good, *many)
        daemon.start()
        for client in good:
            check(client.connect() is not None, "no session")
        wait_for(lambda: daemon.counts()["confirmed"] == len(good), 5)
        # Some complete their sessions and stay, the others never do.
        for number, client in enumerate(many):
            client.send_initiation()
            if number % 20 == 0 and (response := client.receive(0.02)) and response[0] == 2:
                client.finish(response)
        installed = device.peers()
        missing = [client for client in good if client.key.public64 not in installed]
        equal(missing, [], "displaced")
        check(len(installed) <= 1000, f"{len(installed)} installed of 1000 at most")
        check(daemon.counts()["installs"] > 250, daemon.counts())
        check(daemon.fresh_status()["verdicts"]["cookie"] > 0, "probation was never crowded")
        # Probation ends: there is room for a newcomer again.
        late = Client(lab, device.key.public)
        store(lab, device, late)
        check(wait_for(lambda: late.connect(seconds=1) is not None, 40, every=1),
              "no room after probation was over")


SQUATTERS4 = "192.0.3.1"


def squat(lab, device, daemon, count):
    """So many clients come and do not finish, from an address of their own."""
    lab.client.ip("address", "replace", f"{SQUATTERS4}/16", "dev", "out")
    squatters = [Client(lab, device.key.public, source=(SQUATTERS4, 0)) for _ in range(count)]
    store(lab, device, *squatters)
    daemon.start()
    for squatter in squatters:
        squatter.send_initiation()
    check(wait_for(lambda: daemon.counts()["installs"] == count, 10), "they did not come")


def test_clients_answer_a_cookie():
    """While half of the probation is taken, nobody is installed without one."""
    with gateway(device_extra="probation_max = 8") as (lab, device, daemon):
        clients = [lab.client_device(device.key.public64, "10.1.0.1"),
                   lab.client_device(device.key.public64, "10.1.0.2", endpoint=f"[{GATEWAY6}]:{PORT}")]
        lab.import_peers([{"public_key": client.key.public64, "allowed_ips": [f"10.1.0.{i + 1}"]}
                          for i, client in enumerate(clients)], device.name)
        squat(lab, device, daemon, 4)
        # The answer to a cookie is the client's next try, 5 s later.
        pings = [lab.client.start("ping", "-n", "-c", "1", "-W", str(int(12 * SLOW)), "-I", client.name,
                                  "10.0.0.1", stdout=subprocess.DEVNULL) for client in clients]
        equal([ping.wait(30 * SLOW) for ping in pings], [0, 0], "pings over IPv4 and IPv6")
        verdicts = daemon.fresh_status()["verdicts"]
        check(verdicts["cookie"] >= 2, f"who was asked? {verdicts}")
        equal(verdicts["proven"], 4 + 2, "proven")
        equal(daemon.counts()["probation_cookie"], 0, "refused without being asked")


def test_a_source_has_a_quarter_of_the_free_places():
    with gateway(device_extra="probation_max = 8") as (lab, device, daemon):
        # From where the squatters are, and from another address, both beyond the first half.
        for address in SQUATTERS4, "192.0.3.2":
            lab.client.ip("address", "add", f"{address}/16", "dev", "out")
        late = Client(lab, device.key.public, source=(SQUATTERS4, 0))
        greedy = [Client(lab, device.key.public, source=("192.0.3.2", 0)) for _ in range(2)]
        store(lab, device, late, *greedy)
        squat(lab, device, daemon, 4)
        check(late.connect() is not None, "the address of others who never proved it is held against him")
        check(late.cookie, "he was not asked for a cookie")
        answers = []
        for client in greedy:  # they answer the cookie, and do not finish
            client.send_initiation()
            client.cookie = client.handshake.answer_cookie(client.receive(2))
            client.send_initiation()
            answers.append(client.receive(1) is not None)
        equal(answers, [True, False], "of one address, the first and the second")
        equal(daemon.counts()["probation_source"], 1, "probation_source")


def test_cookies_are_asked_for_while_there_are_open_places_left():
    """Who is on his way without one when the last is taken would get no answer at all."""
    with gateway(device_extra="probation_max = 64") as (lab, device, daemon):
        late = Client(lab, device.key.public)
        store(lab, device, late)
        squat(lab, device, daemon, 30)
        check(late.connect() is not None and late.cookie, "he was not asked for a cookie")
        equal(daemon.counts()["probation_cookie"], 0, "refused without a word")


def test_pinned_peers_stay_and_an_owned_device_has_no_others():
    with gateway(device_extra="owned = true") as (lab, device, daemon):
        pinned, loose, stranger = (Client(lab, device.key.public) for _ in range(3))
        lab.import_peers([{**pinned.stored, "pinned": True}, loose.stored], device.name)
        device.add_peer(stranger.key.public64, "10.9.9.9/32")
        daemon.start()
        check(wait_for(lambda: stranger.key.public64 not in device.peers(), 6), "it is not removed")
        for client in pinned, loose:  # neither finishes its session
            client.send_initiation()
        check(wait_for(lambda: len(device.peers()) == 2, 3), "not installed")
        check(wait_for(lambda: set(device.peers()) == {pinned.key.public64}, 45), "who is left")


# --- wrong surroundings ------------------------------------------------------

def test_another_program_on_the_hook_is_left_alone():
    """X17"""
    with gateway() as (lab, device, daemon):
        other = BIN.parent / "xdp" / "reinject.bpf.o"
        lab.gateway.ip("link", "set", "in", "xdpdrv", "obj", other, "sec", "xdp")
        client = Client(lab, device.key.public)
        store(lab, device, client)
        daemon.start()
        log = daemon.log_text
        check('"reinject"' in log and "ip link set in xdp off" in log, log)
        check("prog/xdp" in lab.gateway.ip("link", "show", "in").stdout, "it was removed")
        equal(daemon.fresh_status()["nics"][0]["xdp_mode"], "away", "the NIC")
        # The other program leaves the hook, after some tries.
        time.sleep(5)
        lab.gateway.ip("link", "set", "in", "xdpdrv", "off")
        check(wait_for(lambda: daemon.status()["nics"][0]["xdp_mode"] != "away", 10), daemon.log_text)
        check(client.connect() is not None, "no session once the hook is free")


def test_check_reports_every_problem_and_touches_nothing():
    """X33"""
    with gateway() as (lab, device, daemon):
        daemon.config.write_text('log_level = "loud"\n[[nic]]\nname = "in"\nspeed = 1\n'
                                 '[[device]]\nname = "x"\nevict_after = 1\n')
        result = lab.gateway.run(BIN / "wicketd", "--check", "--config", daemon.config, check=False)
        equal(result.returncode, 1, "exit status")
        for line in (1, 4, 7):
            check(f"wicket.toml:{line}: " in result.stderr, result.stderr)
        daemon.config.write_text(daemon.text)
        result = lab.gateway.run(BIN / "wicketd", "--check", "--config", daemon.config)
        check(": ok" in result.stdout, result.stdout)
        check("prog/xdp" not in lab.gateway.ip("link", "show", "in").stdout, "attached by --check")
        check(not lab.store.exists(), "a store was made by --check")
        check("note: nic in: " not in result.stdout and "note: wicketd" not in result.stdout, result.stdout)
        daemon.config.write_text(daemon.text.replace('"in"', '"nowhere"'))
        result = lab.gateway.run(BIN / "wicketd", "--check", "--config", daemon.config)
        check("note: nic nowhere: interface: not on this machine" in result.stdout, result.stdout)
        daemon.config.write_text(f'pin_dir = "{lab.dir}/pins"\n' + "\n".join(
            line for line in daemon.text.splitlines() if not line.startswith("pin_dir")))
        result = lab.gateway.run(BIN / "wicketd", "--check", "--config", daemon.config, check=False)
        equal(result.returncode, 1, "pins in an ordinary folder")
        check("is not in a BPF file system" in result.stderr, result.stderr)
        equal(run(BIN / "wicketd", check=False).returncode, 2, "no --config")
        equal(run(BIN / "wicketd", "--nonsense", check=False).returncode, 2, "unknown flag")


def test_a_missing_capability_is_named():
    """X27"""
    with gateway() as (lab, device, daemon):
        daemon.config.write_text(daemon.text)
        for drop, expected in (("-bpf,-sys_admin", "CAP_BPF"), ("-net_raw", "CAP_NET_RAW"),
                               ("-sys_admin", "CAP_SYS_ADMIN")):
            result = lab.gateway.run("setpriv", "--bounding-set", drop, "--inh-caps", drop,
                                     BIN / "wicketd", "--config", daemon.config, check=False,
                                     timeout=20 * SLOW)
            equal(result.returncode, 1, f"exit status without {drop}")
            check(expected in result.stderr, result.stderr)


def test_the_documented_capabilities_are_enough():
    """Those of the unit, with its limits, for a user who is not root; and only some threads keep them."""
    unit = (ROOT / "tools/systemd/wicketd.service").read_text()
    names = re.search(r"^CapabilityBoundingSet=(.*)$", unit, re.M)[1].split()
    limits = []
    for limit, name, value in ((resource.RLIMIT_MEMLOCK, "memlock", -1), (13, "nice", 30)):  # RLIMIT_NICE
        if resource.getrlimit(limit)[1] in (-1, value) or run("prlimit", f"--{name}={value}:{value}", "true",
                                                              check=False).returncode == 0:
            limits.append(f"--{name}={value}:{value}")
        else:  # without CAP_SYS_RESOURCE here; what the limit stands in for
            names.append({"memlock": "CAP_IPC_LOCK", "nice": "CAP_SYS_NICE"}[name])
    capabilities = ",".join(["-all"] + ["+" + name[4:].lower() for name in names])
    nobody = 65534
    with gateway() as (lab, device, daemon):
        client = Client(lab, device.key.public)
        store(lab, device, client)
        daemon.wrapper = ["prlimit", *limits, "setpriv", f"--reuid={nobody}",
                          "--clear-groups", "--no-new-privs", "--inh-caps", capabilities, "--ambient-caps",
                          capabilities, "--bounding-set", capabilities]
        daemon.start()

        def rights():
            found = {}
            for task in Path(f"/proc/{daemon.process.pid}/task").iterdir():
                effective = int(re.search(r"^CapEff:\s+(\w+)$", (task / "status").read_text(), re.M)[1], 16)
                found.setdefault((task / "comm").read_text().strip(), set()).add(effective != 0)
            return found

        keep = {"wicketd", "nic watch", f"install/{device.name}"[:15]}
        # A thread gives its rights up when it first runs.
        wait_for(lambda: {name for name, has in rights().items() if True in has} == keep, 10)
        equal({name for name, has in rights().items() if True in has}, keep, "threads with a capability")
        check({"in/0", "in/1", "control", "committer", "log"} <= set(rights()), rights())
        time.sleep(1.5 * SLOW)
        check(client.connect() is not None, "no session")
        check("somebody removed" not in daemon.log_text, daemon.log_text)
        check("ordinary priority" not in daemon.log_text, daemon.log_text)


def test_a_forbidden_system_call_ends_the_daemon_and_sessions_go_on():
    with gateway() as (lab, device, daemon):
        client = Client(lab, device.key.public)
        store(lab, device, client)
        daemon.start()
        check(client.connect() is not None, "no session")
        for task in Path(f"/proc/{daemon.process.pid}/task").iterdir():
            check(re.search(r"^Seccomp:\s+2$", (task / "status").read_text(), re.M), f"{task}: it may call all")
        make_system_call(daemon.process.pid, CHDIR)
        equal(daemon.process.wait(10 * SLOW), -signal.SIGSYS, "exit status")
        equal(set(device.peers()), {client.key.public64}, "installed peers")
        daemon.start()
        wait_for(lambda: daemon.counts()["adopted"] == 1, 5)
        equal(daemon.counts()["adopted"], 1, "peers adopted")


def test_a_damaged_store_is_refused():
    with gateway() as (lab, device, daemon):
        lab.import_peers([{"public_key": Key().public64} for _ in range(2000)], device.name)
        data = lab.store / "data.mdb"
        with open(data, "r+b") as file:
            file.truncate(data.stat().st_size // 2)
        status, log = daemon.start(expect_failure=True)
        equal(status, 1, "exit status")
        check("truncated" in log, log)


def test_the_private_key_stays_where_it_belongs():
    """T11: not in the log, not in the status, not in any writable memory but the locked page."""
    with gateway() as (lab, device, daemon):
        client = Client(lab, device.key.public)
        store(lab, device, client)
        daemon.start()
        check(client.connect() is not None, "no session")
        check(device.key.private64 not in daemon.log_text, "in the log")
        check(device.key.private64 not in daemon.status_file.read_text(), "in the status")
        check(device.key.private.hex() not in daemon.log_text, "in the log, hex")
        # The device sends it with every dump, so the fewest of several looks count.
        equal(min(private_key_places(daemon.process.pid, device.key) for _ in range(5)), (1, 1),
              "copies in memory, of which locked and out of core dumps")


def private_key_places(pid, key):
    """Returns how often a private key is in a process's memory, and how often in locked pages."""
    places, locked = 0, 0
    with open(f"/proc/{pid}/mem", "rb", 0) as memory, open(f"/proc/{pid}/smaps") as maps:
        regions = re.findall(r"^([0-9a-f]+)-([0-9a-f]+) (\S+).*?^VmFlags: ([^\n]*)$",
                             maps.read(), re.S | re.M)
        for begin, end, rights, flags in regions:
            if "r" not in rights or "w" not in rights or int(end, 16) - int(begin, 16) > 1 << 28:
                continue
            try:
                memory.seek(int(begin, 16))
                content = memory.read(int(end, 16) - int(begin, 16))
            except OSError:
                continue
            found = content.count(key.private) + content.count(key.private.hex().encode())
            places += found
            locked += found if " lo " in f" {flags} " and " dd " in f" {flags} " else 0
    return places, locked


def main(names, scenarios=None):
    scenarios = scenarios or {name: function for name, function in globals().items()
                              if name.startswith("test_")}
    failed = 0
    for name in names or scenarios:
        start = time.monotonic()
        try:
            scenarios[name]()
            print(f"ok     {name} ({time.monotonic() - start:.1f} s)", flush=True)
        except Exception:  # noqa: BLE001: every failure is reported
            failed += 1
            print(f"FAILED {name} ({time.monotonic() - start:.1f} s)\n{traceback.format_exc()}",
                  flush=True)
    return failed > 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
