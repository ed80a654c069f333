#!/usr/bin/python3
"""The part of scripts/bench inside the emulated machine, with the kernel's WireGuard at both ends.

    scripts/vm 6.12 bench/suite/in_vm.py CLIENTS PEERS ROUNDS STORED

Prints its results as a line of JSON, again and again; the last one has "done". Its host then turns
the machine off, since removing devices with many peers would take minutes. Only ratios of its
times mean anything.
"""
import gc
import json
import os
import subprocess
import sys
import time
from base64 import b64encode
from contextlib import ExitStack, closing
from pathlib import Path

from data_plane import throughput
from handshake import KNOWN_FLOW_S, address, clients_of
from rig import BIN, Caller, Side

FEW = 500
CHUNK = 2500
INSTALL_S = 120  # the limit of installing peers


def say(text):
    print(text, flush=True)


def handshakes(count):
    """Returns {side: [ms]}: first all clients that are not installed, then the same installed. One
    more client comes first, for one-time costs."""
    count += 1
    crowd = clients_of(0, count)
    found = {"new": [], "published": [], "installed": []}
    with ExitStack() as stack:
        wicket, published = (stack.enter_context(Side(name)) for name in ("wicket", "published"))
        peers = [(key.public64, address(number) + "/32") for number, key in crowd]
        wicket.import_peers([{"public_key": key, "allowed_ips": [ip]} for key, ip in peers],
                            wicket.device.name)
        published.write_database(peers)
        wicket.start_wicket()
        published.start_published()
        callers = {side: stack.enter_context(closing(Caller(side, count)))
                   for side in (wicket, published)}
        for number, key in crowd:
            for name, side in (("new", wicket), ("published", published)):
                found[name].append(callers[side].session_ms(number, key))
                say(f"client {number + 1} of {count}: {name}, {found[name][-1]:.0f} ms")
        time.sleep(KNOWN_FLOW_S)
        for number, key in crowd:
            found["installed"].append(callers[wicket].session_ms(number, key))
    return {name: times[1:] for name, times in found.items()}


def strangers(first, count):
    """Peers that never connect: any 32 bytes are a public key."""
    return "".join(f"[Peer]\nPublicKey = {b64encode(os.urandom(32)).decode()}\n"
                   f"AllowedIPs = 172.{16 + (i >> 16)}.{i >> 8 & 255}.{i & 255}/32\n"
                   for i in range(first, first + count))


def working_set(most, rounds, tell):
    """Tells {installed: ([Mbit/s], [ms of a handshake])}, for few and for many, each round."""
    with ExitStack() as stack:
        found, sides = {}, []
        for wanted in (FEW, most):
            side = stack.enter_context(Side(f"{wanted}"))
            begin, installed = time.monotonic(), 0
            while installed < wanted and time.monotonic() < begin + INSTALL_S:
                n = min(CHUNK, wanted - installed)
                side.gateway.run("wg", "addconf", side.device.name, "/dev/stdin",
                                 input=strangers(installed, n))
                installed += n
                say(f"{installed} of {wanted} peers installed")
            crowd = clients_of(0, 4 * rounds)
            for number, key in crowd:
                side.device.add_peer(key.public64, address(number) + "/32")
            found[installed] = ([], [])
            sides.append((side, installed, stack.enter_context(closing(Caller(side, len(crowd)))),
                          crowd))
        for number in range(rounds):
            for side, installed, caller, crowd in sides:
                for client, key in crowd[4 * number:4 * number + 4]:
                    found[installed][1].append(caller.session_ms(client, key))
                found[installed][0].append(throughput(side, 3, address(client)))
                say(f"{installed} installed: {found[installed][0][-1]:.0f} Mbit/s")
            tell(found, number + 1 == rounds)


def kernel_bytes():
    """Returns: bytes that the kernel holds and cannot give back: without page cache and process
    memory."""
    gc.collect()
    time.sleep(2)  # RCU frees memory late
    fields = dict(line.split(":") for line in Path("/proc/meminfo").read_text().splitlines())
    return 1024 * sum(int(fields[name].split()[0])
                      for name in ("SUnreclaim", "Percpu", "KernelStack"))


def memory(stored):
    """Returns: the kernel's bytes for each of `stored` more stored peers, and for each of CHUNK
    more installed."""
    with Side("memory") as side:
        held = []
        for count in (FEW, FEW + stored):
            path = side.dir / "peers.ndjson"
            with open(path, "w", encoding="ascii") as out:
                subprocess.run([BIN / "wicket_provision", "--ndjson", str(count)], stdout=out,
                               check=True)
            side.import_file(path)
            path.unlink()
            daemon = side.start_wicket()
            held.append(kernel_bytes())
            say(f"{count} peers stored")
            daemon.stop()
        before = kernel_bytes()
        side.gateway.run("wg", "addconf", side.device.name, "/dev/stdin", input=strangers(0, CHUNK))
        return (held[1] - held[0]) / stored, (kernel_bytes() - before) / CHUNK


def main(clients, most, rounds, stored):
    found = {**handshakes(clients), "memory": memory(stored)}
    say(json.dumps(found))
    working_set(most, rounds,
                lambda sets, done: say(json.dumps({**found, "working_set": sets, "done": done})))


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
