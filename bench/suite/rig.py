"""Rivals side by side: each has its own namespaces, veth and WireGuard device.

    lab of "wicket"     client --- veth --- wicketd, device with no peers
    lab of "published"  client --- veth --- wicket_published, device with no peers
    lab of "alone"      client --- veth --- device with all peers

So no rival's program sees, or is slowed down by, another's packets. Rivals are idle when it is not
their turn.
"""
import json
import os
import select
import socket
import sqlite3
import struct
import subprocess
import sys
import threading
import time
from contextlib import ExitStack
from pathlib import Path

sys.path[1:1] = [str(Path(__file__).resolve().parents[1]),
                 str(Path(__file__).resolve().parents[2] / "tests" / "e2e")]
from demo import ECHO_PORT, tunnel_socket, write_peers  # noqa: E402,F401
from lab import BIN, GATEWAY4, PORT, SLOW, Lab, run, wait_for  # noqa: E402,F401
from noise import Key, from64  # noqa: E402,F401

BLAST = BIN / "wicket-blast"
BARE = BIN.parent / "bench" / "bare.bpf.o"
TICKS = os.sysconf("SC_CLK_TCK")
FAREWELL = b"bye"
PATIENCE_S = 20  # after which a client counts as one without a session


class Side(Lab):
    """The lab of one rival. Device names are the host's: each side numbers its own."""

    made = 0

    def __init__(self, name, **kwargs):
        Side.made += 1
        super().__init__(prefix=f"wkb{Side.made}x", **kwargs)
        self.name = name
        self.device_count = 100 * Side.made
        self.device = self.target = None
        self.runs = 0
        self.processes = ExitStack()

    def __enter__(self):
        super().__enter__()
        try:
            self.device = self.gateway_device()
            return self
        except BaseException:
            self.close()
            raise

    def close(self):
        self.processes.close()
        super().close()

    @property
    def target_pids(self):
        """The processes that work on a packet: the device's, and the gateway's."""
        pids = [self.device.process.pid] if self.device.process else []
        return pids + ([self.target.pid] if self.target else [])

    def start_wicket(self, **kwargs):
        daemon = self.daemon(self.device, log_level="info", **kwargs)
        daemon.start()
        self.target = daemon.process
        return daemon

    def start_published(self):
        """Requires: write_database()."""
        self.target = self.gateway.start(BIN / "wicket_published", "--device", self.device.name,
                                         "--nic", "in", "--peers", self.database,
                                         stdout=subprocess.PIPE, text=True)
        self.processes.callback(self._stop_published)
        if self.target.stdout.readline() != "ready\n":
            raise RuntimeError("wicket_published did not start")

    def start_ring_check(self):
        self.target = self.gateway.start(BIN / "wicket_ring_check", "--nic", "in", "--programs",
                                         BARE, stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                                         text=True)
        if self.target.stdout.readline() != "ready\n":
            raise RuntimeError("wicket_ring_check did not start")
        self.processes.callback(self._stop_ring_check)

    def ring_check_counts(self):
        """Returns: (initiations refused, lost because the ring was full) so far."""
        self.target.stdin.write("\n")
        self.target.stdin.flush()
        return tuple(map(int, self.target.stdout.readline().split()))

    def _stop_ring_check(self):
        self.target.stdin.close()
        if self.target.wait(10) != 0:
            raise RuntimeError(f"wicket_ring_check ended with status {self.target.returncode}")

    def _stop_published(self):
        self.target.terminate()
        counts = self.target.communicate(timeout=10)[0]
        if self.target.returncode != 0:
            raise RuntimeError(f"wicket_published ended with status {self.target.returncode}")
        self.published_counts = counts

    @property
    def database(self):
        return self.dir / "peers.db"

    def write_database(self, peers):
        """`peers`: (public key as base64, allowed ips separated by commas)."""
        database = sqlite3.connect(self.database)
        database.execute("PRAGMA journal_mode=WAL")
        database.execute("CREATE TABLE IF NOT EXISTS peers(key BLOB PRIMARY KEY, allowed_ips TEXT,"
                         " psk BLOB, keepalive INTEGER) WITHOUT ROWID")
        database.executemany("INSERT OR REPLACE INTO peers VALUES(?,?,NULL,0)",
                             ((from64(key), ips) for key, ips in peers))
        database.commit()
        database.close()

    def import_file(self, path):
        run(BIN / "wicket", "import", "--offline", "--store", self.store, "--device",
            self.device.name, path)

    def blast(self, *arguments, addresses=1, first=False, timeout=120):
        """Runs the generator from the client's namespace. Returns its figures.

        Each run has its own source addresses. Otherwise another client would reuse a port within
        seconds; Wicket would take it for the client that it knows there, and only the retry would
        correct that. `first`: with priority over all other processes.
        """
        scheduling = ("chrt", "--fifo", "1") if first else ()
        result = self.client.run(*scheduling, *self._blast(*arguments, addresses=addresses),
                                 check=False, timeout=timeout)
        if not result.stdout.startswith("{"):
            raise RuntimeError(f"wicket-blast: {result.stderr.strip()}")
        return json.loads(result.stdout)

    def thread_napi(self, threaded):
        """Whether a dedicated thread receives for the gateway's NIC."""
        run("ip", "netns", "exec", self.gateway.name, "sh", "-c",
            f"echo {int(threaded)} > /sys/class/net/in/threaded")

    def start_blast(self, *arguments):
        return self.client.start(*self._blast(*arguments), stdout=subprocess.DEVNULL,
                                 stderr=subprocess.DEVNULL)

    def _blast(self, *arguments, addresses=1):
        sources = []
        for _ in range(addresses):
            self.runs += 1
            sources.append(f"192.0.{100 + self.runs // 250}.{1 + self.runs % 250}")
            self.client.ip("address", "add", f"{sources[-1]}/16", "dev", "out")
        return [BLAST, "--from", ",".join(sources), "--target", f"{GATEWAY4}:{PORT}", "--public-key",
                self.device.key.public64, "--json", "-", *map(str, arguments)]


class Echo:
    """Echoes every datagram at a side's tunnel addresses, except a farewell."""

    def __init__(self, side):
        self.farewell = threading.Event()
        self.socket = side.gateway.socket()
        self.socket.bind(("0.0.0.0", ECHO_PORT))
        self.socket.settimeout(0.2)
        self.stopping = False
        self.thread = threading.Thread(target=self._loop, daemon=True)
        self.thread.start()

    def _loop(self):
        while not self.stopping:
            try:
                data, sender = self.socket.recvfrom(2048)
                if data == FAREWELL:
                    self.farewell.set()
                else:
                    self.socket.sendto(data, sender)
            except TimeoutError:
                continue

    def close(self):
        self.stopping = True
        self.thread.join()
        self.socket.close()


class Wire:
    """Captures the packets of a side's client, both ways."""

    OUT = 4  # PACKET_OUTGOING
    ALL = 3  # ETH_P_ALL

    def __init__(self, side):
        self.socket = side.client.socket(socket.AF_PACKET, socket.SOCK_DGRAM, socket.htons(self.ALL))
        self.socket.bind(("out", self.ALL))
        self.socket.setblocking(False)

    def _messages(self):
        """(leaves the client, type, bytes) of each WireGuard message over IPv4 since the last."""
        while True:
            try:
                packet, (_, _, way, _, _) = self.socket.recvfrom(2048)
            except BlockingIOError:
                return
            udp = packet[4 * (packet[0] & 15):]
            if packet[0] >> 4 == 4 and packet[9] == 17 and PORT in struct.unpack_from("!HH", udp):
                yield way == self.OUT, udp[8], len(udp) - 8

    def forget(self):
        for _ in self._messages():
            pass

    def round_trips(self):
        """From the client's first message until its first data, more than a keepalive, reaches the
        gateway: each change of direction is half a round trip, and so is the last way. None when
        no data left."""
        turns, way = 0, None
        for leaves, kind, size in self._messages():
            if way is None and not leaves:
                continue
            turns += way is not None and leaves != way
            way = leaves
            if leaves and kind == 4 and size > 32:
                return (turns + 1) / 2
        return None

    def close(self):
        self.socket.close()


class Caller:
    """A side's wireguard-go client, which plays one client after the other."""

    def __init__(self, side, clients):
        self.side = side
        self.echo, self.wire = Echo(side), Wire(side)
        self.round_trips = []  # of each client with a session
        self.device = side.client_device(side.device.key.public64, "10.2.0.0", key=Key())
        for i in range(clients):
            side.client.ip("address", "add", f"10.2.{i >> 8}.{i & 255}/32", "dev",
                           self.device.name, check=False)

    def session_ms(self, number, key):
        """From client `number`'s first packet into the tunnel to its echo; PATIENCE_S when there
        was none.

        The client says goodbye, so that the gateway sends the last packet to it: a device that
        hears nothing after it sent something initiates by itself 15 s later, and would save the
        client its own handshake when it comes back.
        """
        sock = tunnel_socket(self.side, self.device, f"10.2.{number >> 8}.{number & 255}")
        try:
            self.become(Key(), 20000 + number)  # forgets the session
            self.become(key, 20000 + number)    # a port of its own, as for every client
            time.sleep(0.05)  # devices take no two initiations of a peer within 20 ms
            self.wire.forget()
            begin = time.perf_counter()
            sock.sendto(b"are you there", ("10.0.0.1", ECHO_PORT))
            if not select.select([sock], [], [], PATIENCE_S * SLOW)[0]:
                return PATIENCE_S * 1e3
            sock.recv(2048)
            took = (time.perf_counter() - begin) * 1e3
            self.round_trips.append(self.wire.round_trips())
            self.echo.farewell.clear()
            sock.sendto(FAREWELL, ("10.0.0.1", ECHO_PORT))
            self.echo.farewell.wait(1)
            return took
        finally:
            sock.close()

    def become(self, key, port):
        if self.device.kernel:
            self.device.configure(key, port)
        else:
            self.device.set_uapi(f"private_key={key.private.hex()}", f"listen_port={port}")

    def close(self):
        self.echo.close()
        self.wire.close()


def attach_bare(side, program):
    """Attaches an empty program: "pass" or "drop"."""
    side.gateway.ip("link", "set", "dev", "in", "xdpdrv", "obj", BARE, "sec", f"xdp_{program}")


def cpu_seconds(pids):
    """CPU time of processes, in all their threads, by the scheduler's clock."""
    return sum(time.clock_gettime(~pid << 3 | 2) for pid in pids)  # CPUCLOCK_SCHED of each


def softirq_seconds():
    """CPU time of the whole machine in soft interrupts, by the kernel's tick."""
    fields = Path("/proc/stat").read_text().splitlines()[0].split()
    return int(fields[7]) / TICKS
