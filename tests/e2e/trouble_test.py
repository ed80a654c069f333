#!/usr/bin/python3
"""A gateway in trouble: clocks that step, threads that hang, disks that fail, crowds that read.

Run all scenarios, or those named as arguments. Needs root.
"""
import json
import os
import re
import signal
import socket
import sys
import threading
import time
from base64 import b64encode
from contextlib import contextmanager, suppress
from pathlib import Path
from types import SimpleNamespace

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from blast_test import blast, import_fleet  # noqa: E402
from client import Client  # noqa: E402
from control import Control, UnixConnection, Watch  # noqa: E402
from doctor_test import Doctor  # noqa: E402
from gateway_test import check, equal, gateway, main, store  # noqa: E402
from lab import BIN, PORT, SLOW, TOOLS, Clock, Lab, StoppedThread, run, wait_for  # noqa: E402
from noise import Key  # noqa: E402


def random_key():
    return b64encode(os.urandom(32)).decode()


def keep_expired(daemon, seconds):
    daemon.text = daemon.text.replace("[store]\n", f"[store]\nkeep_expired = {seconds}\n")


def age_s(daemon):
    """Of the status, at least: a pause of this process does not count."""
    now = time.time()
    return now - json.loads(daemon.status_file.read_text())["written"] / 1000


# --- clocks --------------------------------------------------------------------

def test_a_clock_that_is_two_days_ahead_for_a_moment_deletes_no_peer():
    keep_s = 15
    with gateway(log_level="info") as (lab, device, daemon):
        keep_expired(daemon, keep_s)
        clock = Clock(lab)
        daemon.wrapper = clock.wrapper
        in_session = [lab.client_device(device.key.public64, f"10.1.0.{n}") for n in range(1, 6)]
        late = Client(lab, device.key.public)
        peers = [{"public_key": client.key.public64, "allowed_ips": [f"10.1.0.{n}"]}
                 for n, client in enumerate(in_session, 1)] + [late.stored]
        peers += [{"public_key": random_key()} for _ in range(1000 - len(peers))]
        daemon.start()
        control = Control(daemon, device)
        answer = control.call("POST", f"/v1/devices/{device.name}/import", "".join(
            json.dumps({**peer, "ttl": 86400}) + "\n" for peer in peers))
        equal(answer.lines[-1], {"imported": 1000, "refused": 0}, "import")

        def pings():
            answered = 0
            for n, client in enumerate(in_session, 1):
                lab.client.ip("route", "replace", "10.0.0.1/32", "dev", client.name, "src", f"10.1.0.{n}")
                answered += lab.ping(source=f"10.1.0.{n}", seconds=3)
            return answered
        equal(pings(), 5, "in session before")
        check(wait_for(lambda: daemon.counts()["confirmed"] == 5, 10), "not confirmed")
        # What a start gives to expired peers is over, so that the step itself must give it.
        time.sleep(keep_s + 1)
        watch = Watch(daemon)
        try:
            clock.set(2 * 86400)
            stepped = time.monotonic()
            check(wait_for(lambda: daemon.status()["clock_steps"] == 1, 5), "the step is not noticed")
            check(wait_for(lambda: late.connect(seconds=0.2) is None and
                           daemon.status()["verdicts"]["expired"] > 0, 5), "no peer was expired meanwhile")
            time.sleep(max(0, stepped + 3 - time.monotonic()))
            clock.set(0)
            check(wait_for(lambda: daemon.status()["clock_steps"] == 2, 5), "the way back is not noticed")
            check(time.monotonic() - stepped < keep_s, "this machine is too slow to tell")
            check(wait_for(lambda: len(watch.times("clock_step")) == 2, 5), watch.events)
        finally:
            watch.close()
        equal(daemon.log_text.count("the wall clock stepped by"), 2, "told in the log")
        Doctor(lab, daemon).await_findings({"clock steps": "WARN"})
        time.sleep(keep_s + 2)  # what would be deleted late is deleted
        equal(len(control.list(limit=1000)), 1000, "stored")
        equal(daemon.counts()["evicted_revoked"], 0, "evicted")
        check({client.key.public64 for client in in_session} <= set(device.peers()), "left the device")
        equal(pings(), 5, "in session afterwards")
        check(late.connect() is not None, "a newcomer stays out")


# --- threads -------------------------------------------------------------------

def start_with_two_sessions(lab, device, daemon, count):
    """Starts the daemon. Returns: a WireGuard client and `count` hand-made ones; it and the first are in session."""
    clients = [Client(lab, device.key.public) for _ in range(count)]
    real = lab.client_device(device.key.public64)
    lab.import_peers([{"public_key": real.key.public64, "allowed_ips": ["10.1.0.1"]}] +
                     [client.stored for client in clients], device.name)
    daemon.start()
    check(lab.ping(seconds=3), "no session")
    check(clients[0].connect() is not None, "no session")
    check(wait_for(lambda: daemon.counts()["confirmed"] == 2, 30), "not confirmed")
    return real, clients


def test_a_hung_installer_passes_its_device_to_the_kernel():
    with gateway() as (lab, device, daemon):
        real, clients = start_with_two_sessions(lab, device, daemon, 3)
        ages, ended = [], threading.Event()

        def watch_status():
            while not ended.wait(0.05):
                with suppress(ValueError, OSError):
                    ages.append(age_s(daemon))
        watching = threading.Thread(target=watch_status)
        with StoppedThread(daemon.process.pid, f"install/{device.name}"):
            stopped = time.monotonic()
            watching.start()
            try:
                check(wait_for(lambda: "the device does not answer" in daemon.log_text, 10),
                      "the hang is not noticed")
                print(f"  noticed after {time.monotonic() - stopped:.1f} s")
                passed = time.monotonic()
                # Its flow is not known, so the gateway would have to judge it.
                roamed = Client(lab, device.key.public, key=clients[0].key)
                check(wait_for(lambda: roamed.connect(seconds=1) is not None, 5),
                      "the rekey of a peer that roamed is lost")
                print(f"  a peer that roamed had its answer {time.monotonic() - passed:.2f} s later")
                check(lab.ping(count=3), "data is lost")
                real.set("listen-port", "40404")
                check(lab.ping(seconds=3), "data is lost after roaming")
                equal(clients[1].connect(seconds=1), None, "a newcomer, which the kernel does not know")
                time.sleep(max(0, stopped + 70 - time.monotonic()))
                again = Client(lab, device.key.public, key=clients[0].key)
                check(again.connect(seconds=1) is not None, "a rekey after a minute is lost")
                check(lab.ping(seconds=3), "a session was lost after a minute")
                check(daemon.fresh_status()["devices"][0]["silent_s"] > 8, "how long it is silent")
                check(daemon.process.poll() is None, "the daemon has ended")
            finally:
                ended.set()
                watching.join()
        check(wait_for(lambda: "the device answers again" in daemon.log_text, 10), "it stays away")
        print(f"  the oldest of {len(ages)} statuses: {max(ages):.1f} s")
        check(max(ages) < 2 * SLOW, f"a status was {max(ages):.1f} s old")
        for client in clients[1:]:
            check(wait_for(lambda c=client: c.connect(seconds=1) is not None, 5),
                  "a newcomer stays out afterwards")
        check(device.peers()[clients[0].key.public64][1] > 0, "a peer in session was removed")
        check(lab.ping(), "a session was lost")


@contextmanager
def mute_device(lab):
    """An interface whose socket takes requests and answers none, as that of a hung wireguard-go."""
    name = f"w{os.getpid() % 1000000}xm"
    lab.gateway.ip("tuntap", "add", name, "mode", "tun")
    path = Path(f"/var/run/wireguard/{name}.sock")
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(path))
        listener.listen(64)
        try:
            yield SimpleNamespace(name=name)
        finally:
            path.unlink()


def test_a_device_that_never_answers_holds_up_nothing_else():
    with Lab() as lab, mute_device(lab) as mute:
        device = lab.gateway_device()
        daemon = lab.daemon(device, mute)
        count = 12
        clients = [Client(lab, device.key.public) for _ in range(count)]
        store(lab, device, *clients)
        began, oldest = time.monotonic(), 0.0
        daemon.start()
        print(f"  ready after {time.monotonic() - began:.1f} s")
        for client in clients:  # past the time-out of a request, 10 s
            check(client.connect() is not None, "a newcomer to the other device is kept out")
            oldest = max(oldest, age_s(daemon))
            time.sleep(1)
        check(oldest < 2 * SLOW, f"a status was {oldest:.1f} s old")
        check(wait_for(lambda: f"{mute.name}: waiting for the device: " in daemon.log_text, 15), daemon.log_text)
        status = daemon.fresh_status()
        equal([(of["name"], of["backend"] == "away") for of in status["devices"]],
              [(device.name, False), (mute.name, True)], "devices")
        control = Control(daemon, device)
        equal(control.put(Key()).status, 201, "a new peer of the device that answers")
        asked = time.monotonic()
        equal(run(TOOLS / "wicket", "reload", "--socket", daemon.control).returncode, 0, "reload")
        check(time.monotonic() - asked < 5 * SLOW, "a reload waits for the device")


class ServiceManager:
    """What a daemon tells through NOTIFY_SOCKET, and when."""

    def __init__(self, lab):
        self.path = lab.dir / "notify.sock"
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.socket.bind(str(self.path))
        self.said = []  # (seconds of the steady clock, lines)
        self.thread = threading.Thread(target=self._read)
        self.thread.start()

    def _read(self):
        while message := self.socket.recv(4096).decode():
            self.said.append((time.monotonic(), message.splitlines()))

    def times(self, line, since=0.0):
        return [at for at, lines in list(self.said) if line in lines and at >= since]

    def values(self, name):
        return [line.split("=", 1)[1] for _, lines in list(self.said) for line in lines
                if line.startswith(name + "=")]

    def close(self):
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as end:
            end.sendto(b"", str(self.path))
        self.thread.join()
        self.socket.close()


@contextmanager
def managed():
    """A gateway that a service manager has started."""
    with gateway() as (lab, device, daemon):
        manager = ServiceManager(lab)
        daemon.wrapper = ["env", f"NOTIFY_SOCKET={manager.path}"]
        try:
            daemon.start()
            yield lab, device, daemon, manager
        finally:
            daemon.stop()
            manager.close()


def test_the_service_manager_is_told():
    with managed() as (lab, device, daemon, manager):
        check(wait_for(lambda: manager.times("READY=1"), 5), manager.said)
        check(wait_for(lambda: f"{device.name} (0 installed)" in str(manager.values("STATUS")), 5),
              manager.values("STATUS"))
        client = Client(lab, device.key.public)
        store(lab, device, client)
        check(client.connect() is not None, "no session")
        check(wait_for(lambda: f"{device.name} (1 installed)" in str(manager.values("STATUS")), 5),
              manager.values("STATUS"))
        began = time.monotonic()
        check(wait_for(lambda: len(manager.times("WATCHDOG=1", began)) >= 10, 10),
              "the watchdog is fed less than once a second")
        before = time.monotonic()
        daemon.process.send_signal(signal.SIGHUP)
        check(wait_for(lambda: manager.times("READY=1", before), 5), "not ready after the reload")
        reloading = next((at, lines) for at, lines in manager.said if "RELOADING=1" in lines)
        check(reloading[0] <= manager.times("READY=1", before)[0], "ready before it reloads")
        stamp = next((line for line in reloading[1] if line.startswith("MONOTONIC_USEC=")), "")
        check(before <= int(stamp.partition("=")[2] or 0) / 1e6 <= reloading[0], reloading)
        equal(daemon.stop(), 0, "exit status")
        check(wait_for(lambda: manager.times("STOPPING=1"), 5), "it does not say that it stops")


def test_a_watchdog_is_not_fed_while_a_thread_hangs():
    with managed() as (lab, device, daemon, manager):
        check(wait_for(lambda: manager.times("WATCHDOG=1"), 5), "never fed")
        with StoppedThread(daemon.process.pid, f"install/{device.name}"):
            stopped = time.monotonic()
            hangs = f"install/{device.name} makes no progress; the watchdog is not fed"
            check(wait_for(lambda: hangs in daemon.log_text, 25), "the hang is not noticed")
            noticed = time.monotonic()
            check(noticed - stopped > 10, "a pause of a few seconds ends the process")
            daemon.fresh_status()  # the thread that feeds it runs
            daemon.fresh_status()
            equal(manager.times("WATCHDOG=1", noticed + 0.5), [], "fed")
        check(wait_for(lambda: manager.times("WATCHDOG=1", noticed + 0.5), 5), "not fed afterwards")
        equal(daemon.log_text.count(hangs), 1, "told")


# --- disks ---------------------------------------------------------------------

@contextmanager
def failing_disk(lab, daemon):
    """Yields two functions: one that makes every write to the store fail, and one that ends it."""
    switch = lab.dir / "fail"
    daemon.wrapper = ["env", f"LD_PRELOAD={BIN / 'fail_writes.so'}", f"WICKET_FAIL_WRITES={switch}"]
    yield lambda: switch.write_text("data"), switch.unlink


@contextmanager
def small_disk(lab, daemon):
    """The same with a file system of the store's own, which is filled up."""
    lab.store.mkdir()
    run("mount", "-t", "tmpfs", "-o", "size=4m", "small", lab.store)
    filler = lab.store / "filler"

    def fill():
        with suppress(OSError), open(filler, "wb", buffering=0) as file:
            while file.write(bytes(4096)) > 0:
                pass
        # The store's own free pages are no room that lasts.
        control = Control(daemon, SimpleNamespace(name=daemon.devices[0]))
        check(wait_for(lambda: control.put(Key(), labels={"padding": "x" * 200}).status == 507, 60, every=0),
              "the disk has room")
    try:
        yield fill, filler.unlink
    finally:
        daemon.stop()
        run("umount", lab.store)


def test_peers_leave_and_come_while_every_write_fails():
    come_and_die(failing_disk)


def test_peers_leave_and_come_while_the_disk_is_full():
    come_and_die(small_disk)


def come_and_die(disk):
    """Sixty clients come to a device with room for fifty, while nothing can be saved."""
    room, count = 50, 60
    with gateway(device_extra=f"installed_max = {room}") as (lab, device, daemon), \
            disk(lab, daemon) as (fail, mend):
        clients = [Client(lab, device.key.public) for _ in range(count)]
        store(lab, device, *clients)
        daemon.start()
        fail()
        check(Control(daemon, device).put(Key()).status in (500, 503, 507), "it can be written")
        waiting, began = list(clients), time.monotonic()

        def all_came():
            for client in list(waiting):
                client.send_initiation()
                answer = client.receive(0.2)
                if answer is not None and answer[0] == 3:  # a shard that got no time is under load
                    client.cookie = client.handshake.answer_cookie(answer)
                elif answer is not None:  # and no more is sent: no session comes about
                    waiting.remove(client)
            return not waiting
        all_came()
        check(len(waiting) >= count - room, "there was room for all")
        check(daemon.counts()["full"] > 0, daemon.counts())
        check(wait_for(all_came, 80, every=1), f"{len(waiting)} clients are kept out: {daemon.counts()}")
        print(f"  the last came after {time.monotonic() - began:.0f} s")
        status = daemon.fresh_status()
        check(status["unsaved_sessions"] >= room, f"{status['unsaved_sessions']} unsaved sessions")
        check(status["devices"][0]["counts"]["evicted_unconfirmed"] >= count - room, status)
        check("they are kept in memory" in daemon.log_text, "the log is silent")
        Doctor(lab, daemon).await_findings({"store's writes": "FAIL"})
        mend()
        # A client comes, and what was kept is saved with its session.
        late = Client(lab, device.key.public, key=clients[0].key)
        wait_for(lambda: late.connect(seconds=1) is not None, 45, every=1)
        check(wait_for(lambda: daemon.fresh_status()["unsaved_sessions"] == 0, 15), "never saved")


def test_a_backup_moved_over_the_store_is_served():
    with gateway(log_level="info") as (lab, device, daemon):
        both, restored, dropped = (Client(lab, device.key.public) for _ in range(3))
        store(lab, device, both)
        backup = lab.dir / "backup"
        run(TOOLS / "wicket", "db", "backup", "--store", lab.store, backup)
        lab.import_peers([restored.stored], device.name, store=backup)
        store(lab, device, dropped)
        daemon.start()
        check(both.connect() is not None and dropped.connect() is not None, "no session")
        equal(restored.connect(seconds=0.5), None, "a peer that is not stored yet")
        check(wait_for(lambda: daemon.counts()["confirmed"] == 2, 10), "not confirmed")
        began = time.monotonic()
        (backup / "data.mdb").rename(lab.store / "data.mdb")
        check(wait_for(lambda: restored.connect(seconds=0.5) is not None, 5), "it is not served")
        print(f"  served after {time.monotonic() - began:.1f} s")
        for words in "data.mdb: was replaced", "ready again":
            check(wait_for(lambda w=words: w in daemon.log_text, 5), daemon.log_text)
        control = Control(daemon, device)
        equal(control.put(Key()).status, 201, "a write")
        equal({peer["public_key"] for peer in control.list()} & {both.key.public64, restored.key.public64,
                                                                 dropped.key.public64},
              {both.key.public64, restored.key.public64}, "stored")
        check(both.connect() is not None, "a peer of both lost its session")
        check(wait_for(lambda: daemon.counts()["adopted"] >= 1, 5), daemon.counts())


def anonymous_kib(pid):
    return int(re.search(r"RssAnon:\s+(\d+)", open(f"/proc/{pid}/status").read())[1])


def test_the_gateway_goes_on_while_many_peers_expire_at_once():
    """They expired before the start, and are deleted from a second after it. Some are in the device."""
    count, part, in_device = 200_000, 20_000, 2_000
    with gateway(log_level="info") as (lab, device, daemon):
        keep_expired(daemon, 1)
        client = Client(lab, device.key.public)
        keys = [random_key() for _ in range(count)]
        lab.import_peers([{"public_key": key, "expires_at": "2024-01-01T00:00:00Z"} for key in keys] +
                         [client.stored], device.name)
        device.add_peers(keys[:in_device])
        daemon.start()
        anonymous, oldest, left = anonymous_kib(daemon.process.pid), 0.0, count + 1

        def fewer_than(wanted):
            nonlocal oldest, left
            oldest = max(oldest, age_s(daemon))
            left = daemon.status()["stored_peers"]
            return left < wanted
        began = time.monotonic()
        check(wait_for(lambda: fewer_than(count - 2 * part), 60), f"{left} are left")
        check(client.connect() is not None, "no session meanwhile")
        check(wait_for(lambda: fewer_than(count - 3 * part), 60), f"{left} are left")
        grown = anonymous_kib(daemon.process.pid) - anonymous
        print(f"  {(count - left) / (time.monotonic() - began):.0f} deleted a second; the oldest status: "
              f"{oldest:.1f} s; {grown} KiB grown")
        check(oldest < 2 * SLOW, f"a status was {oldest:.1f} s old")
        check(grown < 32 * 1024, f"{grown} KiB more")
        asked = time.monotonic()
        daemon.process.send_signal(signal.SIGTERM)
        equal(daemon.process.wait(15 * SLOW), 0, "exit status")
        took = time.monotonic() - asked
        print(f"  it ended within {took:.2f} s")
        check(took < 2 * SLOW, f"{took:.1f} s to its end")
        daemon.start()  # and goes on with what is left
        check(wait_for(lambda: fewer_than(2), 120), f"{left} are left")
        check(wait_for(lambda: set(device.peers()) == {client.key.public64}, 30), "some stay in the device")
        check(oldest < 2 * SLOW, f"a status was {oldest:.1f} s old")


# --- packets -------------------------------------------------------------------

def test_a_spoofed_source_hears_one_response_and_no_more():
    """Also of a peer with a keepalive, for which a device would initiate again and again."""
    victim4 = "192.0.2.99"
    with gateway() as (lab, device, daemon):
        lab.client.ip("address", "add", f"{victim4}/16", "dev", "out")
        customer = Client(lab, device.key.public, source=(victim4, 4000))  # the address is the victim's
        genuine = Client(lab, device.key.public)
        lab.import_peers([{**client.stored, "persistent_keepalive": 25} for client in (customer, genuine)],
                         device.name)
        daemon.start()
        check(genuine.connect() is not None, "no session")
        headers, cost = 20 + 8, 0
        for _ in range(5):  # under load the victim hears a cookie
            cost += len(customer.send_initiation()) + headers
            if wait_for(lambda: customer.key.public64 in device.peers(), 3):
                break
        check(customer.key.public64 in device.peers(), "not installed")
        check(wait_for(lambda: customer.key.public64 not in device.peers(), 60, every=0.5), "it stays")
        heard = []
        while (packet := customer.receive(0.1)) is not None:
            heard.append(packet)
        equal([packet[0] for packet in heard if packet[0] != 3], [2], "messages to the victim, by kind")
        total = sum(len(packet) + headers for packet in heard)
        check(total <= cost, f"{total} bytes for {cost}")
        rows = [line.split("\t") for line in device.ns.run("wg", "show", device.name, "dump")
                .stdout.splitlines()[1:]]
        equal([(row[0], row[7]) for row in rows], [(genuine.key.public64, "25")],
              "the keepalive of a peer in session")


def test_a_crash_right_after_a_first_session_makes_no_replay_good():
    with gateway() as (lab, device, daemon):
        def told(key):
            return run(TOOLS / "wicket", "peer", "why", key.public64, "--store", lab.store, "--socket",
                       "/nonexistent", check=False).stdout
        for _ in range(5):
            client = Client(lab, device.key.public)
            store(lab, device, client)
            daemon.start()
            check(client.connect() is not None, "no session")
            daemon.kill()
            captured = client.handshake.message
            if "no proven initiation of it is known" in told(client.key):
                break
        else:
            raise AssertionError(f"each session was saved before the crash: {told(client.key)}")
        daemon.detach()  # the program forgets what it has seen
        daemon.start()
        check(wait_for(lambda: client.key.public64 in device.peers() and daemon.counts()["adopted"] >= 1, 5),
              "not adopted")
        device.remove_peer(client.key.public64)
        check(wait_for(lambda: daemon.counts()["missing"] == 1, 10), "the removal is not noticed")
        attacker = Client(lab, device.key.public)
        attacker.send(captured)
        equal(attacker.receive(1), None, "a replay was answered")
        check(client.key.public64 not in device.peers(), "a replay installed the peer")
        equal(daemon.fresh_status()["verdicts"]["replay"] + daemon.counts()["replays"], 1, "replays")
        check(wait_for(lambda: client.connect(seconds=1) is not None, 15, every=1),
              "the client itself stays out")


# --- neighbours ----------------------------------------------------------------

def test_two_gateways_serve_an_interface_one_after_the_other():
    with gateway() as (lab, device, daemon):
        other = lab.wireguard(lab.gateway, port=PORT + 1)
        second = lab.daemon(other, name="second")
        clients = [Client(lab, device.key.public) for _ in range(3)]
        others = [Client(lab, other.key.public, port=PORT + 1) for _ in range(3)]
        store(lab, device, *clients)
        lab.import_peers([client.stored for client in others], other.name, store=second.store)
        daemon.start()
        second.start()
        check(wait_for(lambda: f"pin_dir {daemon.pin_dir} (process {daemon.process.pid})" in
                       second.log_text, 5), second.log_text)
        equal(second.fresh_status()["nics"][0]["xdp_mode"], "away", "the interface of the second")
        check(clients[0].connect() is not None, "the first does not serve beside the second")
        equal(others[0].connect(seconds=0.5), None, "the second serves beside the first")
        check("somebody" not in daemon.log_text, daemon.log_text)
        equal(daemon.stop(), 0, "exit status")
        check(wait_for(lambda: second.status()["nics"][0]["xdp_mode"] == "native", 15), second.log_text)
        again = Client(lab, other.key.public, key=others[1].key, port=PORT + 1)
        check(again.connect() is not None, "the second does not serve")
        # The first comes back, and waits in its turn; its device's sessions go on.
        daemon.start()
        check(wait_for(lambda: f"pin_dir {second.pin_dir} (process {second.process.pid})" in
                       daemon.log_text, 5), daemon.log_text)
        check(clients[0].connect() is not None, "a rekey is lost beside another gateway's program")
        second.kill()
        equal(second.detach().returncode, 0, "--detach of the second")
        check(wait_for(lambda: daemon.status()["nics"][0]["xdp_mode"] == "native", 15), daemon.log_text)
        check(clients[1].connect() is not None, "the first does not serve")


# --- crowds --------------------------------------------------------------------

class Readers:
    """Ask for the same page again and again, each on a connection of its own.

    They have the time that nobody else wants: elsewhere they would not be on the gateway's machine.
    """

    def __init__(self, daemon, path, count):
        self.pages = 0
        self.problems = []
        self.ended = threading.Event()
        self.threads = [threading.Thread(target=self._read, args=(daemon, path)) for _ in range(count)]
        for thread in self.threads:
            thread.start()

    def _read(self, daemon, path):
        os.sched_setscheduler(0, os.SCHED_IDLE, os.sched_param(0))
        connection = UnixConnection(daemon.control, timeout=60 * SLOW)
        while not self.ended.is_set():
            try:
                connection.request("GET", path)
                response = connection.getresponse()
                body = response.read()
            except OSError as error:
                self.problems.append(f"{error!r}")
                break
            if response.status != 200 or b"next_cursor" not in body:
                self.problems.append(f"{response.status}: {body[:100]}")
                break
            self.pages += 1
        connection.close()

    def end(self):
        self.ended.set()
        for thread in self.threads:
            thread.join()
        equal(self.problems, [], "problems of readers")


def test_readers_keep_no_newcomer_out():
    stored, count, rate = 20_000, 300, 60
    with gateway(log_level="info") as (lab, device, daemon):
        lab.import_peers([{"public_key": random_key(), "allowed_ips": [f"10.{16 + (n >> 16)}.{n >> 8 & 255}.{n & 255}"]}
                          for n in range(stored)], device.name)
        for seed in "alone", "beside":
            import_fleet(lab, device, count, seed)
        daemon.start()

        # Ports of its own: a flow that is known is another client's. The clients, too, would not be on
        # the gateway's machine, so their generator does not wait for its threads.
        def come(seed, ports):
            return blast(lab, device, "--mix", "cookie", "--seed", seed, "--clients", count, "--count", count,
                         "--rate", rate, "--duration", 60, "--timeout", 5 * SLOW, "--ports", ports, nice=-15)

        def slowest():
            return f"{daemon.fresh_status()['devices'][0]['install_p99_ms']:.1f} ms by the daemon's count"
        alone, daemons = come("alone", "20000-29999"), slowest()
        control = Control(daemon, device)
        readers = Readers(daemon, control.peers(rest="?installed=false&limit=1000"), 64)
        try:
            check(wait_for(lambda: readers.pages >= 64, 30), f"few pages are read: {readers.problems}")
            before = readers.pages
            beside = come("beside", "30000-39999")
            daemons_beside = slowest()
        finally:
            readers.end()
        # The generator's own delays are in the first figure.
        print(f"  {readers.pages - before} pages meanwhile; p99 {alone['latency_ms']['p99']:.1f} ms alone "
              f"({daemons}), {beside['latency_ms']['p99']:.1f} ms beside readers ({daemons_beside})")
        for report in alone, beside:
            equal((report["answered"], report["lost"]), (count, 0), report)
        equal(daemon.counts()["too_late"], 0, "too_late")


if __name__ == "__main__":
    scenarios = {name: function for name, function in globals().items()
                 if name.startswith("test_") and function.__module__ == __name__}
    sys.exit(main(sys.argv[1:], scenarios))
