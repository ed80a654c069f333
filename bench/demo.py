#!/usr/bin/python3
"""The demonstration: shows what happens to one client, then measures a hundred.

Topology as in tests/e2e/lab.py, with two WireGuard devices at the gateway: one
served by wicketd (port 51820), one plain (port 51821) to compare with.
"""
import argparse
import base64
import json
import os
import re
import select
import signal
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests" / "e2e"))
from lab import BIN, GATEWAY4, PORT, Lab, wait_for  # noqa: E402
from noise import Key  # noqa: E402

ECHO_PORT = 7
EVICT_AFTER_S = 180
COLOUR = sys.stdout.isatty()


def paint(text, code):
    return f"\033[{code}m{text}\033[0m" if COLOUR else text


def headline(text):
    print("\n" + paint(text, "1;36"), flush=True)


def tell(text):
    print(f"  {paint(time.strftime('%H:%M:%S'), '2')}  {text}", flush=True)


def progress(text):
    if COLOUR:
        print(f"\r\033[K  {text}", end="", flush=True)


def clear_progress():
    if COLOUR:
        print("\r\033[K", end="", flush=True)


class Story:
    """Follows the daemon's log and retells what it says about one peer."""

    LINES = (
        (r"peer (\S+) proven from (\S+), installed, given back \((\S+)\) after (\S+ ms)",
         "packet seen from {1}; key {0} proven; peer installed; packet given back to the kernel "
         "({2}), {3} after it was seen"),
        (r"peer (\S+) session confirmed", "peer {0}: first data packet, session confirmed"),
        (r"peer (\S+) evicted \((.*)\)", "peer {0} evicted again: {1}"),
    )

    def __init__(self, daemon, public64):
        self.daemon, self.name, self.offset = daemon, public64[:8], 0
        self.evicted = False

    def tell(self):
        with open(self.daemon.log, encoding="utf-8", errors="replace") as log:
            log.seek(self.offset)
            text = log.read()
            self.offset = log.tell()
        for line in text.splitlines():
            for pattern, words in self.LINES:
                match = re.search(pattern, line)
                if match and self.name in line:
                    clear_progress()
                    tell(words.format(*match.groups()))
                    self.evicted |= "evicted" in words


def write_peers(path, count, named):
    """Writes an NDJSON file of `count` peers, the named ones among them."""
    with open(path, "w", encoding="ascii") as file:
        for peer in named:
            file.write(json.dumps(peer) + "\n")
        block = 10_000
        written = len(named)
        while written < count:
            n = min(block, count - written)
            random = os.urandom(32 * n)
            lines = []
            for i in range(n):
                key = base64.b64encode(random[32 * i:32 * i + 32]).decode()
                index = written + i
                lines.append(f'{{"public_key":"{key}","allowed_ips":'
                             f'["fd00:1::{index >> 16:x}:{index & 0xffff:x}/128"]}}\n')
            file.write("".join(lines))
            written += n
            progress(f"writing a file of {count} peers: {100 * written // count} %")
    clear_progress()


def serve_echo(lab, stop):
    """Echoes every datagram at the gateway's tunnel addresses."""
    echo = lab.gateway.socket()
    echo.bind(("0.0.0.0", ECHO_PORT))
    echo.settimeout(0.2)

    def loop():
        while not stop.is_set():
            try:
                data, sender = echo.recvfrom(2048)
                echo.sendto(data, sender)
            except TimeoutError:
                continue
    thread = threading.Thread(target=loop, daemon=True)
    thread.start()
    return thread


def tunnel_socket(lab, device, address):
    """Returns a UDP socket that sends through one tunnel."""
    sock = lab.client.socket()
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_BINDTODEVICE, device.name.encode() + b"\0")
    sock.bind((address, 0))
    return sock


def answer_time(sock, seconds, target="10.0.0.1"):
    """Returns the seconds from the first packet to its echo: the session is usable then."""
    while select.select([sock], [], [], 0)[0]:
        sock.recv(2048)
    start = time.perf_counter()
    sock.sendto(b"are you there", (target, ECHO_PORT))
    if not select.select([sock], [], [], seconds)[0]:
        return None
    sock.recv(2048)
    return time.perf_counter() - start


def measure(lab, gateway_key, keys):
    """Times each client twice, one after the other: not installed, then installed."""
    device = lab.client_device(gateway_key, "10.2.0.0", key=Key())
    for i in range(len(keys)):
        lab.client.ip("address", "add", f"10.2.{i >> 8}.{i & 255}/32", "dev", device.name,
                      check=False)
    jit, installed = [], []
    for i, key in enumerate(keys):
        sock = tunnel_socket(lab, device, f"10.2.{i >> 8}.{i & 255}")
        for times in (jit, installed):
            device.configure(Key())  # forgets the session
            device.configure(key, 20000 + i)  # a port of its own, as for every client
            time.sleep(0.05)  # the gateway takes no two initiations of a peer within 20 ms
            took = answer_time(sock, 12)
            if took is None:
                raise RuntimeError(f"client {i} did not connect")
            times.append(took)
        sock.close()
        progress(f"client {i + 1} of {len(keys)}")
    clear_progress()
    device.close()
    return jit, installed


class RetryRun(threading.Thread):
    """Plain WireGuard, the peer added just after the client's first packet."""

    def __init__(self, lab, plain, keys, lanes=20):
        super().__init__(daemon=True)
        self.lab, self.plain, self.keys = lab, plain, keys
        self.lanes = min(lanes, len(keys))
        self.times, self.error, self.stopped = [], None, False

    def run(self):
        try:
            devices = []
            for lane in range(self.lanes):
                device = self.lab.client_device(self.plain.key.public64, f"10.3.0.{lane + 1}",
                                                endpoint=f"{GATEWAY4}:{PORT + 1}")
                devices.append(device)
            for begin in range(0, len(self.keys), self.lanes):
                if self.stopped:
                    return
                self.round(devices, self.keys[begin:begin + self.lanes])
            for device in devices:
                device.close()
        except Exception as error:  # noqa: BLE001: the main thread reports it
            self.error = error

    def round(self, devices, keys):
        started, waiting = {}, {}
        for lane, (device, key) in enumerate(zip(devices, keys)):
            device.configure(key)
            sock = tunnel_socket(self.lab, device, f"10.3.0.{lane + 1}")
            waiting[sock] = key
            started[sock] = time.perf_counter()
            sock.sendto(b"are you there", ("10.99.0.1", ECHO_PORT))
            self.plain.add_peer(key.public64, f"10.3.0.{lane + 1}/32")
        deadline = time.perf_counter() + 30
        while waiting and time.perf_counter() < deadline and not self.stopped:
            for sock in select.select(list(waiting), [], [], 1)[0]:
                sock.recv(2048)
                self.times.append(time.perf_counter() - started[sock])
                self.plain.remove_peer(waiting.pop(sock).public64)
                sock.close()
        if waiting and not self.stopped:
            raise RuntimeError("plain WireGuard did not connect within 30 s")


def figures(times):
    ordered = sorted(1000 * t for t in times)
    return {"p50": round(ordered[len(ordered) // 2], 3),
            "p99": round(ordered[min(len(ordered) - 1, int(len(ordered) * 0.99))], 3),
            "n": len(ordered)}


def table(result):
    rows = (("not installed: Wicket puts it in", result["jit_ms"]),
            ("the same clients, installed beforehand", result["installed_ms"]),
            ("plain WireGuard, added after the first packet", result["retry_ms"]))
    print(f"\n  {'time from first packet to usable session':<48}{'p50':>12}{'p99':>12}{'n':>7}")
    print("  " + "-" * 79)
    for name, one in rows:
        print(f"  {name:<48}{one['p50']:>9.2f} ms{one['p99']:>9.2f} ms{one['n']:>7}")
    print("  " + "-" * 79)
    print(f"  {'not installed / installed beforehand':<48}{result['ratio_p50']:>10.2f} x"
          f"{result['ratio_p99']:>10.2f} x")


def demonstrate(options, lab):
    headline("1. A gateway, and a client in another network namespace")
    gateway = lab.gateway_device()
    kind = "the kernel's WireGuard" if gateway.kernel else "wireguard-go"
    tell(f"{kind} listens on {GATEWAY4}:{PORT} behind a veth with {lab.queues} queues; no peers yet")
    plain = lab.wireguard(lab.gateway, port=PORT + 1)
    lab.gateway.ip("address", "add", "10.99.0.1/32", "dev", plain.name)
    lab.gateway.ip("route", "add", "10.3.0.0/16", "dev", plain.name)
    client = lab.client_device(gateway.key.public64, kernel=False)

    headline(f"2. {options.peers} peers into the store")
    keys = [Key() for _ in range(options.clients)]
    named = [{"public_key": client.key.public64, "allowed_ips": ["10.1.0.1/32"]}]
    named += [{"public_key": key.public64, "allowed_ips": [f"10.2.{i >> 8}.{i & 255}/32"]}
              for i, key in enumerate(keys)]
    file = lab.dir / "peers.ndjson"
    write_peers(file, max(options.peers, len(named)), named)
    started = time.perf_counter()
    imported = subprocess.run([BIN / "wicket", "import", "--offline", "--store", lab.store, "--device",
                               gateway.name, "--json", file], stdout=subprocess.PIPE, text=True)
    if imported.returncode != 0:
        raise RuntimeError("wicket import failed")
    import_s = time.perf_counter() - started
    count = json.loads(imported.stdout)["imported"]
    store_bytes = (lab.store / "data.mdb").stat().st_size
    file.unlink()
    tell(f"imported {count} peers in {import_s:.1f} s ({count / import_s:.0f}/s), "
         f"{store_bytes / count:.0f} bytes of file each, none of kernel")

    headline("3. wicketd starts")
    daemon = lab.daemon(gateway, device_extra=f"evict_after = {EVICT_AFTER_S}")
    started = time.perf_counter()
    daemon.start()
    tell(f"serving {time.perf_counter() - started:.2f} s after its start")
    for line in daemon.log_text.splitlines():
        if " info " in line and "ready" not in line:
            tell(line.split(" info ", 1)[1])

    headline("4. One client, stored but not installed, pings through the tunnel")
    tell(f"peers in the device: {len(gateway.peers())}")
    story = Story(daemon, client.key.public64)
    ping = lab.client.run("ping", "-n", "-c", "1", "-W", "10", "10.0.0.1").stdout
    confirmed_at = time.monotonic()
    story.tell()
    tell("the client's ping came back after " + re.search(r"time=(\S+ ms)", ping)[1])
    wait_for(lambda: daemon.counts()["confirmed"] >= 1, 5)
    story.tell()
    tell(f"peers in the device: {len(gateway.peers())}")
    client.close()
    tell("the client goes away; its session is dead by protocol after 180 s")

    headline(f"5. {options.clients} real clients, one after the other, twice each")
    stop = threading.Event()
    echo = serve_echo(lab, stop)
    jit, installed = measure(lab, gateway.key.public64, keys)
    tell("meanwhile plain WireGuard on another port, where the peer is added after the first packet")
    retry = RetryRun(lab, plain, [Key() for _ in range(options.clients)])
    retry.start()
    try:
        while retry.is_alive():
            retry.join(0.5)
            progress(f"plain WireGuard: {len(retry.times)} of {options.clients} connected")
            story.tell()
    finally:
        retry.stopped = True
        retry.join()
    clear_progress()
    if retry.error:
        raise retry.error
    stop.set()
    echo.join()

    if not options.quick:
        headline("6. The device shrinks again")
        while not story.evicted and time.monotonic() < confirmed_at + EVICT_AFTER_S + 30:
            left = confirmed_at + EVICT_AFTER_S - time.monotonic()
            progress(f"{len(gateway.peers())} peers in the device; waiting {max(left, 0):.0f} s")
            story.tell()
            time.sleep(0.5)
        clear_progress()
        if not story.evicted:
            raise RuntimeError("the client's peer was not evicted")

    result = {"jit_ms": figures(jit), "installed_ms": figures(installed),
              "retry_ms": figures(retry.times)}
    result["ratio_p50"] = round(result["jit_ms"]["p50"] / result["installed_ms"]["p50"], 3)
    result["ratio_p99"] = round(result["jit_ms"]["p99"] / result["installed_ms"]["p99"], 3)
    result["import"] = {"peers": count, "seconds": round(import_s, 2),
                        "file_bytes_per_peer": round(store_bytes / count, 1)}
    result["backend"] = "netlink" if gateway.kernel else "uapi"
    headline("Result")
    table(result)
    return result


def main():
    parser = argparse.ArgumentParser(prog="scripts/demo", description="Shows Wicket at work.")
    parser.add_argument("--json", metavar="FILE", help="write the figures there too")
    parser.add_argument("--peers", type=int, default=1_000_000, help="peers to store (%(default)s)")
    parser.add_argument("--clients", type=int, default=100, help="clients to measure (%(default)s)")
    parser.add_argument("--quick", action="store_true",
                        help="do not wait 180 s for the client's session to die")
    options = parser.parse_args()
    if not 1 <= options.clients <= 1000 or not 1 <= options.peers <= 100_000_000:
        parser.error("--clients takes 1 to 1000, --peers 1 to 100000000")
    if os.environ.get("WICKET_ONLY_PARSE"):
        return None
    if os.geteuid() != 0:
        sys.exit("scripts/demo: network namespaces and XDP need root")

    def interrupt(*_):
        raise KeyboardInterrupt
    for name in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(name, interrupt)
    output = None
    if options.json:
        try:
            output = open(Path(os.environ.get("WICKET_CALLER", ".")) / options.json, "w",
                          encoding="utf-8")
        except OSError as error:
            parser.error(f"--json: {error}")
    try:
        with Lab(prefix="wkd") as lab:
            result = demonstrate(options, lab)
    except KeyboardInterrupt:
        clear_progress()
        sys.exit("scripts/demo: interrupted; everything it made is removed")
    except (RuntimeError, OSError) as error:
        clear_progress()
        sys.exit(f"scripts/demo: {error}\n(everything it made is removed)")
    if output:
        output.write(json.dumps(result, indent=2) + "\n")
        output.close()


if __name__ == "__main__":
    main()
