"""TCP through the tunnel: with our XDP program on the NIC, with an empty one, and with none.

On a veth the kernel copies every packet for any native program, so "none" shows a loss that a NIC
with native XDP does not have. The empty program is the fair rival.
"""
import json
import subprocess
from contextlib import ExitStack

from rig import SLOW, Side, attach_bare, wait_for


def throughput(side, seconds, source="10.1.0.1"):
    """Returns: the Mbit/s that the gateway receives from the client at `source`."""
    server = side.gateway.start("iperf3", "-s", "-1", "-B", "10.0.0.1", stdout=subprocess.DEVNULL,
                                stderr=subprocess.DEVNULL)
    try:
        if not wait_for(lambda: "10.0.0.1:5201" in side.gateway.run("ss", "-ltn").stdout, 5):
            raise RuntimeError("iperf3 does not listen")
        result = side.client.run("iperf3", "-c", "10.0.0.1", "-B", source, "-t", seconds, "-J",
                                 check=False, timeout=30 + seconds * SLOW)
        figures = json.loads(result.stdout)
        if "error" in figures:
            raise RuntimeError(f"iperf3: {figures['error']}")
        return figures["end"]["sum_received"]["bits_per_second"] / 1e6
    finally:
        server.terminate()
        server.wait()


def data_plane(bench):
    rounds, seconds = bench.pick(smoke=(1, 1), quick=(2, 2), full=(5, 3))
    with ExitStack() as stack:
        sides = [stack.enter_context(Side(name)) for name in ("ours", "bare", "none")]
        found = {side.name: [] for side in sides}
        for side in sides:
            client = side.client_device(side.device.key.public64)
            if side.name == "ours":
                side.import_peers([{"public_key": client.key.public64,
                                    "allowed_ips": ["10.1.0.1/32"]}], side.device.name)
                side.start_wicket()
            else:
                side.device.add_peer(client.key.public64, "10.1.0.1/32")
            if side.name == "bare":
                attach_bare(side, "pass")
            if not side.ping(seconds=10):
                raise RuntimeError(f"{side.name}: no session")
        for number in range(rounds):
            for side in sides[number % 3:] + sides[:number % 3]:
                bench.progress(f"round {number + 1} of {rounds}, program: {side.name}")
                found[side.name].append(throughput(side, seconds))
    note = "wireguard-go at both ends; both, iperf3 and the network on the same cores"
    bench.results.add("data_plane", found["ours"], found["bare"], note=note)
    bench.results.add("data_plane_vs_none", found["ours"], found["none"],
                      note="a veth copies every packet for any native program")


BENCHES = {
    "data_plane": (data_plane, "TCP through the tunnel, by the program on the NIC",
                   ("data_plane", "data_plane_vs_none")),
}
