#!/usr/bin/python3
"""The published design in bench/baseline: it must work for a comparison with it to be fair.

Run all scenarios, or those named as arguments. Needs root.
"""
import os
import sys

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
sys.path.insert(1, os.path.join(os.path.dirname(os.path.abspath(__file__)), "../../bench/suite"))
from gateway_test import check, equal, main  # noqa: E402
from client import Client  # noqa: E402
from rig import Side  # noqa: E402


def test_the_published_design_connects_real_clients():
    with Side("published") as side:
        clients = [side.client_device(side.device.key.public64, f"10.1.0.{n}") for n in (1, 2)]
        stranger = Client(side, side.device.key.public)
        side.write_database((client.key.public64, f"10.1.0.{n + 1}/32")
                            for n, client in enumerate(clients))
        side.start_published()
        equal(side.device.peers(), {}, "peers before anybody came")
        for n, client in enumerate(clients):
            side.client.ip("route", "replace", "10.0.0.1/32", "dev", client.name, "src",
                           f"10.1.0.{n + 1}")
            # Its first packet, or the retry when both ends' handshakes cross.
            check(side.ping(source=f"10.1.0.{n + 1}", seconds=12), f"client {n} did not connect")
            check(client.key.public64 in side.device.peers(), f"client {n} is not installed")
        stranger.send_initiation()
        check(stranger.receive(1) is None, "a stranger was answered")
        equal(len(side.device.peers()), 2, "installed")
        side.processes.close()
        counts = side.published_counts
        check(", 1 unknown, 2 installed, 0 failed" in counts, counts)


if __name__ == "__main__":
    scenarios = {name: function for name, function in globals().items() if name.startswith("test_")}
    sys.exit(main(sys.argv[1:], scenarios))
