"""A laboratory of network namespaces, WireGuard devices and a gateway.

                 client namespace                     gateway namespace
      wireguard-go  c0 ... -- veth "out" ========== veth "in" -- wicketd (XDP, AF_XDP)
      or noise.py             192.0.2.2               192.0.2.1     |
                              2001:db8::2             2001:db8::1   WireGuard device, port 51820

Everything is made under names that contain this process's id, and removed again, even after a
failure; processes are ended by their ids. `wicketd` enters its namespace by setns only, so it sees
the mounts of this process, bpffs among them.
"""
import ctypes
import glob
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from contextlib import contextmanager
from pathlib import Path

from noise import Key

ROOT = Path(__file__).resolve().parents[2]
BIN = Path(os.environ.get("WICKET_BIN", ROOT / "build" / "release" / "bin"))
TOOLS = Path(os.environ.get("WICKET_TOOLS", BIN))  # where wicket and wicket-blast are
PORT = 51820
GATEWAY4, CLIENT4 = "192.0.2.1", "192.0.2.2"
GATEWAY6, CLIENT6 = "2001:db8::1", "2001:db8::2"
CLONE_NEWNET = 0x40000000
SLOW = float(os.environ.get("WICKET_SLOW", "1"))  # multiplies every wait, for emulated machines

_libc = ctypes.CDLL(None, use_errno=True)


def run(*command, check=True, **kwargs):
    result = subprocess.run([str(part) for part in command], capture_output=True, text=True, **kwargs)
    if check and result.returncode != 0:
        raise RuntimeError(f"{' '.join(map(str, command))}: {result.returncode}\n"
                           f"{result.stdout}{result.stderr}")
    return result


def kernel_has_wireguard():
    name = f"probe{os.getpid()}"
    made = run("ip", "link", "add", name, "type", "wireguard", check=False).returncode == 0
    if made:
        run("ip", "link", "del", name)
    return made


def wait_for(what, seconds, every=0.05):
    """Returns what() as soon as it is true, or its last value after `seconds`."""
    deadline = time.monotonic() + seconds * SLOW
    while True:
        value = what()
        if value or time.monotonic() > deadline:
            return value
        time.sleep(every)


class Namespace:
    def __init__(self, name):
        self.name = name

    def create(self):
        run("ip", "netns", "add", self.name)
        self.ip("link", "set", "lo", "up")

    def ip(self, *command, check=True):
        return run("ip", "-n", self.name, *command, check=check)

    def _enter(self):
        with open(f"/run/netns/{self.name}") as handle:
            if _libc.setns(handle.fileno(), CLONE_NEWNET) != 0:
                raise OSError(ctypes.get_errno(), "setns")

    def run(self, *command, check=True, **kwargs):
        return run("nsenter", f"--net=/run/netns/{self.name}", *command, check=check, **kwargs)

    def start(self, *command, **kwargs):
        return subprocess.Popen(["nsenter", f"--net=/run/netns/{self.name}", *map(str, command)],
                                **kwargs)

    @contextmanager
    def inside(self):
        """Runs the current thread inside the namespace."""
        with open("/proc/thread-self/ns/net") as home:
            self._enter()
            try:
                yield
            finally:
                if _libc.setns(home.fileno(), CLONE_NEWNET) != 0:
                    raise OSError(ctypes.get_errno(), "setns")

    def socket(self, family=socket.AF_INET, kind=socket.SOCK_DGRAM, protocol=0):
        with self.inside():
            return socket.socket(family, kind, protocol)

    def mac(self, nic):
        link = json.loads(self.ip("-j", "link", "show", nic).stdout)[0]
        return bytes.fromhex(link["address"].replace(":", ""))

    def delete(self):
        run("ip", "netns", "del", self.name, check=False)


class WireGuard:
    """A WireGuard device: the kernel's, or wireguard-go's."""

    def __init__(self, ns, name, key, port=0, kernel=False):
        self.ns, self.name, self.key, self.kernel = ns, name, key, kernel
        self.port = port
        self.process = None

    @property
    def uapi_path(self):
        return f"/var/run/wireguard/{self.name}.sock"

    def listens(self):
        """True when wireguard-go accepts commands; its socket is bound before it listens."""
        with socket.socket(socket.AF_UNIX) as uapi:
            return uapi.connect_ex(self.uapi_path) == 0

    def launch(self, uid=0):
        """Starts to make the device."""
        if self.kernel:
            self.ns.ip("link", "add", self.name, "type", "wireguard")
        else:
            rights = "+net_admin,+dac_override"
            self.process = self.ns.start(
                "setpriv", f"--reuid={uid}", f"--inh-caps={rights}", f"--ambient-caps={rights}",
                "wireguard-go", "-f", self.name, stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                env={**os.environ, "WG_PROCESS_FOREGROUND": "1", "LOG_LEVEL": "silent"})

    def create(self):
        self.launch()
        if not self.kernel and not wait_for(self.listens, 5, every=0.002):
            raise RuntimeError(f"wireguard-go {self.name} did not start")

    def configure(self, key, port=0):
        self.key, self.port = key, port
        arguments = ["private-key", "/dev/stdin"]
        if port:
            arguments += ["listen-port", str(port)]
        self.set(*arguments, input=key.private64 + "\n")
        self.ns.ip("link", "set", self.name, "up")

    def set_uapi(self, *lines):
        """One `set` operation of wireguard-go, without starting a process for it."""
        with socket.socket(socket.AF_UNIX) as uapi:
            uapi.connect(self.uapi_path)
            uapi.sendall("\n".join(("set=1", *lines, "", "")).encode())
            answer = uapi.recv(100)
        if answer != b"errno=0\n\n":
            raise RuntimeError(f"{self.name}: {answer}")

    def become(self, key, port, gateway_public, endpoint=f"{GATEWAY4}:{PORT}"):
        """Turns wireguard-go into another client, which initiates at once to send its keepalive."""
        self.key, self.port = key, port
        self.set_uapi(f"private_key={key.private.hex()}", f"listen_port={port}",
                      "replace_peers=true", f"public_key={gateway_public.hex()}",
                      f"endpoint={endpoint}", "allowed_ip=10.0.0.0/8",
                      "persistent_keepalive_interval=600")

    def has_session(self):
        """Whether wireguard-go completed a handshake with any peer."""
        with socket.socket(socket.AF_UNIX) as uapi:
            uapi.connect(self.uapi_path)
            uapi.sendall(b"get=1\n\n")
            answer = b""
            while not answer.endswith(b"\n\n"):
                answer += uapi.recv(4096)
        return any(line.startswith(b"last_handshake_time_sec=") and not line.endswith(b"=0")
                   for line in answer.split(b"\n"))

    def set(self, *arguments, **kwargs):
        return self.ns.run("wg", "set", self.name, *arguments, **kwargs)

    def add_peer(self, public64, allowed_ips, endpoint=None, psk=None, keepalive=None):
        arguments = ["peer", public64]
        if psk:
            arguments += ["preshared-key", "/dev/stdin"]
        if endpoint:
            arguments += ["endpoint", endpoint]
        if keepalive:
            arguments += ["persistent-keepalive", str(keepalive)]
        self.set(*arguments, "allowed-ips", allowed_ips, input=(psk or "") + "\n")

    def add_peers(self, keys):
        """Adds many peers at once, with nothing but their keys."""
        self.ns.run("wg", "addconf", self.name, "/dev/stdin",
                    input="".join(f"[Peer]\nPublicKey = {key}\n" for key in keys))

    def remove_peer(self, public64):
        self.set("peer", public64, "remove")

    def peers(self):
        """Returns {public key: (endpoint, last handshake, received, sent)}."""
        lines = self.ns.run("wg", "show", self.name, "dump").stdout.splitlines()[1:]
        rows = (line.split("\t") for line in lines)
        return {row[0]: (row[2], int(row[4]), int(row[5]), int(row[6])) for row in rows}

    def cpu_seconds(self):
        """The CPU time that wireguard-go has used so far."""
        fields = Path(f"/proc/{self.process.pid}/stat").read_text().rsplit(")", 1)[1].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def close(self):
        if self.process:
            self.process.terminate()
            try:
                self.process.wait(5 * SLOW)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()
            self.process = None
        else:
            self.ns.ip("link", "del", self.name, check=False)


class Clock:
    """The wall clock of one process, a daemon's `wrapper`; its steady clock stays as it is."""

    def __init__(self, lab):
        self.file = lab.dir / "clock"
        self.set(0)
        preload, = glob.glob("/usr/lib/*/faketime/libfaketime.so.1")
        self.wrapper = ["env", f"LD_PRELOAD={preload}", f"FAKETIME_TIMESTAMP_FILE={self.file}",
                        "FAKETIME_DONT_FAKE_MONOTONIC=1", "FAKETIME_NO_CACHE=1"]

    def set(self, ahead_s):
        """Steps it to that many seconds ahead of ours."""
        new = self.file.with_suffix(".new")  # no reader sees half a file
        new.write_text(f"{ahead_s:+d}\n")
        new.rename(self.file)


class StoppedThread:
    """Stops one thread of a process, and lets it go again. The others run on."""

    SEIZE, INTERRUPT, DETACH, WALL = 0x4206, 0x4207, 17, 0x40000000  # [linux/ptrace.h, linux/wait.h]

    def __init__(self, pid, name):
        self.id, = (int(task.name) for task in Path(f"/proc/{pid}/task").iterdir()
                    if (task / "comm").read_text().strip() == name[:15])

    def _ptrace(self, request):
        _libc.ptrace.argtypes = [ctypes.c_long, ctypes.c_long, ctypes.c_void_p, ctypes.c_void_p]
        if _libc.ptrace(request, self.id, None, None) != 0:
            raise OSError(ctypes.get_errno(), f"ptrace({request:#x}, {self.id})")

    def __enter__(self):
        self._ptrace(self.SEIZE)
        self._ptrace(self.INTERRUPT)
        os.waitpid(self.id, self.WALL)
        return self

    def __exit__(self, *exception):
        self._ptrace(self.DETACH)


class Wicketd:
    """The daemon in a namespace, with its own store, pins and status file.

    `name`: of one that runs beside the first and shares nothing with it.
    """

    def __init__(self, lab, devices, nics=("in",), reinject="auto", xdp="auto",
                 cookies="ring", settings="", device_extra="", log_level="debug", name=""):
        self.lab, self.devices = lab, devices
        folder = lab.dir / name
        folder.mkdir(exist_ok=True)
        self.log = folder / "wicketd.log"
        self.config = folder / "wicket.toml"
        self.status_file = folder / "status.json"
        self.control = folder / "control.sock"
        self.store = folder / "store" if name else lab.store
        self.pin_dir = lab.bpffs / (name or "wicket")
        self.process = None
        self.wrapper = []
        self.text = f'pin_dir = "{self.pin_dir}"\nstatus_file = "{self.status_file}"\n' \
                    f'log_level = "{log_level}"\nreinject = "{reinject}"\n{settings}' \
                    f'[store]\npath = "{self.store}"\n' \
                    f'[control]\nsocket = "{self.control}"\n'
        for nic in nics:
            self.text += f'[[nic]]\nname = "{nic}"\nxdp = "{xdp}"\ncookies = "{cookies}"\n'
        for device in devices:
            self.text += f'[[device]]\nname = "{device}"\n{device_extra}\n'

    def start(self, expect_failure=False):
        self.config.write_text(self.text)
        log = open(self.log, "ab")
        offset = log.tell()
        self.process = self.lab.gateway.start(
            *self.wrapper, BIN / "wicketd", "--config", self.config, stdout=log, stderr=log,
            env={**os.environ, "LIBXDP_BPFFS": str(self.lab.bpffs)})
        log.close()

        def settled():
            return self.process.poll() is not None or b" ready\n" in self._log_since(offset)
        wait_for(settled, 20, every=0.002)
        if expect_failure:
            return self.process.wait(5 * SLOW), self._log_since(offset).decode()
        if self.process.poll() is not None or not settled():
            raise RuntimeError("wicketd did not start:\n" + self._log_since(offset).decode())
        return self

    def _log_since(self, offset):
        with open(self.log, "rb") as log:
            log.seek(offset)
            return log.read()

    @property
    def log_text(self):
        return self.log.read_text(errors="replace")

    def stop(self):
        if self.process and self.process.poll() is None:
            self.process.send_signal(signal.SIGCONT)
            self.process.terminate()
            try:
                self.process.wait(15 * SLOW)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()
                raise RuntimeError("wicketd did not stop on SIGTERM")
        status = self.process.returncode if self.process else None
        self.process = None
        return status

    def kill(self):
        self.process.kill()
        self.process.wait()
        self.process = None

    def detach(self):
        return self.lab.gateway.run(BIN / "wicketd", "--detach", "--config", self.config,
                                    env={**os.environ, "LIBXDP_BPFFS": str(self.lab.bpffs)},
                                    check=False)

    def status(self):
        result = self.lab.gateway.run(TOOLS / "wicket", "status", "--json", "--status-file",
                                      self.status_file, check=False)
        return json.loads(result.stdout)

    def fresh_status(self):
        """Returns a status written after this call."""
        now = time.time() * 1000
        wait_for(lambda: self.status()["written"] > now, 5)
        return self.status()

    def counts(self, device=0):
        return self.fresh_status()["devices"][device]["counts"]


class Lab:
    def __init__(self, queues=2, prefix="wkt", kernel=None):
        self.id = f"{prefix}{os.getpid()}"
        self.kernel = kernel_has_wireguard() if kernel is None else kernel
        self.queues = queues
        self.devices, self.daemons, self.namespaces = [], [], []
        self.dir = Path(tempfile.mkdtemp(prefix=f"{self.id}-"))
        self.store = self.dir / "store"
        self.bpffs = self.dir / "bpf"
        self.device_count = 0

    def __enter__(self):
        try:
            self.bpffs.mkdir()
            run("mount", "-t", "bpf", "bpf", self.bpffs)
            self.gateway = self.namespace("g")
            self.client = self.namespace("c")
            self.connect()
            return self
        except BaseException:
            self.close()
            raise

    def __exit__(self, *exception):
        if exception[0] is not None:
            try:
                self.explain()
            except Exception as error:  # noqa: BLE001: the failure is reported in any case
                sys.stderr.write(f"no more is known: {error}\n")
        self.close()

    def explain(self):
        """Prints where packets went, for a failure that may not happen again."""
        length = 8000 if os.environ.get("WICKET_KEEP_LOG") else 1500
        for daemon in self.daemons:
            if daemon.log.exists():
                sys.stderr.write(daemon.log_text[-length:])
            if daemon.process and daemon.process.poll() is None:
                status = daemon.fresh_status()
                for of in ("nics", "devices", "steering", "verdicts"):
                    sys.stderr.write(f"{of}: {json.dumps(status[of])}\n")
        for device in self.devices[:4]:
            sys.stderr.write(device.ns.run("sh", "-c", f"wg show {device.name} latest-handshakes; "
                                           f"wg show {device.name} transfer", check=False)
                             .stdout[:400])
        for ns, nic in ((self.gateway, "in"), (self.client, "out")):
            sys.stderr.write(ns.run("sh", "-c", f"ip -s link show {nic}; ip neigh | head -3; "
                                    "grep ^Udp: /proc/net/snmp; grep ^Udp6 /proc/net/snmp6",
                                    check=False).stdout[:3000])

    def namespace(self, suffix):
        ns = Namespace(f"{self.id}{suffix}")
        self.namespaces.append(ns)  # before it is made, so that a half-made one is removed too
        ns.create()
        return ns

    def connect(self):
        """Joins the namespaces by a veth with several queues."""
        queues = ["numrxqueues", str(self.queues), "numtxqueues", str(self.queues)]
        self.gateway.ip("link", "add", "in", *queues, "type", "veth", "peer", "name", "out",
                        "netns", self.client.name, *queues)
        for ns, name, v4, v6 in ((self.gateway, "in", GATEWAY4, GATEWAY6),
                                 (self.client, "out", CLIENT4, CLIENT6)):
            ns.ip("address", "add", f"{v4}/16", "dev", name)
            ns.ip("address", "add", f"{v6}/64", "dev", name, "nodad")
            ns.ip("link", "set", name, "up")
        wait_for(lambda: "state UP" in self.gateway.ip("link", "show", "in").stdout, 5)

    def _device(self, ns, key, port, kernel):
        self.device_count += 1
        name = f"w{os.getpid() % 1000000}x{self.device_count}"
        device = WireGuard(ns, name, key or Key(), port, kernel)
        self.devices.append(device)
        return device

    def wireguard(self, ns, key=None, port=0, kernel=None):
        device = self._device(ns, key, port, self.kernel if kernel is None else kernel)
        device.create()
        device.configure(device.key, port)
        return device

    def gateway_device(self, **kwargs):
        device = self.wireguard(self.gateway, port=PORT, **kwargs)
        self.gateway.ip("address", "add", "10.0.0.1/8", "dev", device.name)
        self.gateway.ip("address", "add", "fd00::1/64", "dev", device.name, "nodad")
        return device

    def client_crowd(self, count):
        """Returns `count` wireguard-go clients, up and without a peer, behind routers.

        There are only a few in a namespace, and they do not come up all at once: each listens to
        every interface change in its namespace, and ends when it cannot keep up. At most a hundred
        run as one user: each has an inotify instance, of which a user may have 128.
        """
        crowd = []
        self.client.run("sysctl", "-qw", "net.ipv4.ip_forward=1", "net.ipv6.conf.all.forwarding=1")
        self.gateway.ip("-6", "route", "add", "2001:db8:1::/48", "via", CLIENT6)
        self.gateway.ip("route", "add", "198.19.128.0/17", "via", CLIENT4)
        for number in range((count + 24) // 25):
            home = self.namespace(f"h{number}")
            self.client.ip("link", "add", f"h{number}", "type", "veth", "peer", "name", "road",
                           "netns", home.name)
            self.client.ip("address", "add", f"198.19.{128 + number}.1/24", "dev", f"h{number}")
            self.client.ip("link", "set", f"h{number}", "up")
            home.ip("address", "add", f"198.19.{128 + number}.2/24", "dev", "road")
            home.ip("link", "set", "road", "up")
            home.ip("route", "add", "default", "via", f"198.19.{128 + number}.1")
            for ns, nic, host in ((self.client, f"h{number}", 1), (home, "road", 2)):
                ns.ip("address", "add", f"2001:db8:1:{number}::{host}/64", "dev", nic, "nodad")
            home.ip("-6", "route", "add", "default", "via", f"2001:db8:1:{number}::1")
            family = [self._device(home, None, 0, kernel=False)
                      for _ in range(min(25, count - len(crowd)))]
            for device in family:
                device.launch(uid=61000 + number // 4)
            if not wait_for(lambda: all(device.listens() for device in family), 30):
                raise RuntimeError("not every wireguard-go started")
            for device in family:
                device.set_uapi(f"private_key={device.key.private.hex()}")
            for device in family:
                home.ip("link", "set", device.name, "up")
            crowd += family
        return crowd

    def client_device(self, gateway_public64, address="10.1.0.1", key=None, endpoint=None, psk=None,
                      keepalive=None, kernel=None):
        device = self.wireguard(self.client, key=key, kernel=kernel)
        self.client.ip("address", "add", f"{address}/8", "dev", device.name)
        device.add_peer(gateway_public64, "10.0.0.0/8", endpoint or f"{GATEWAY4}:{PORT}", psk,
                        keepalive)
        return device

    def daemon(self, *devices, **kwargs):
        daemon = Wicketd(self, [device.name for device in devices], **kwargs)
        self.daemons.append(daemon)
        return daemon

    def import_peers(self, lines, device, check=True, store=None):
        """Stores peers given as dictionaries."""
        text = "".join(json.dumps(line) + "\n" for line in lines)
        return run(TOOLS / "wicket", "import", "--offline", "--store", store or self.store, "--device",
                   device, "-", input=text, check=check)

    def ping(self, target="10.0.0.1", count=1, seconds=2, source=None):
        """Returns whether an answer came through the tunnel."""
        source = ["-I", source] if source else []
        return self.client.run("ping", "-n", "-q", "-c", str(count), "-i", "0.2", "-W",
                               str(int(seconds * SLOW) or 1), *source, target,
                               check=False).returncode == 0

    def close(self):
        """Removes everything, whichever part fails; then reports what a daemon did wrong."""
        handlers = {}
        for name in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            if threading.current_thread() is threading.main_thread():
                handlers[name] = signal.signal(name, signal.SIG_IGN)
        problems = []

        def attempt(step, *arguments):
            try:
                return step(*arguments)
            except Exception as error:  # noqa: BLE001: the rest must be removed too
                problems.append(f"{error}")

        for daemon in self.daemons:
            if daemon.process and daemon.process.poll() is None:
                status = attempt(daemon.stop)
                if status != 0:
                    problems.append(f"wicketd ended with status {status}")
            if daemon.log.exists() and "Sanitizer" in daemon.log_text:
                problems.append(daemon.log_text[-6000:])
        for device in list(self.devices):
            attempt(device.close)
        for ns in self.namespaces:
            attempt(ns.delete)
        attempt(lambda: run("umount", "-l", self.bpffs, check=False))
        shutil.rmtree(self.dir, ignore_errors=True)
        for name, handler in handlers.items():
            signal.signal(name, handler)
        if problems:
            raise RuntimeError("\n".join(problems))
