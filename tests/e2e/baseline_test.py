#!/usr/bin/python3
"""The published design in bench/baseline: it must work, or a comparison with it is not fair.

Run all scenarios, or those named as arguments. Needs root.
"""
import os
import sys

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
sys.path.insert(1, os.path.join(os.path.dirname(os.path.abspath(__file__)), "../../bench/suite"))
from contextlib import closing  # noqa: E402

from client import Client  # noqa: E402
from gateway_test import check, equal, main  # noqa: E402
from handshake import address, clients_of  # noqa: E402
from rig import Caller, Side  # noqa: E402


def test_the_published_design_connects_real_clients():
    with Side("published") as side:
        crowd = clients_of(0, 8)
        stranger = Client(side, side.device.key.public)
        side.write_database((key.public64, address(number)) for number, key in crowd)
        side.start_published()
        equal(side.device.peers(), {}, "peers before anybody came")
        with closing(Caller(side, len(crowd))) as caller:
            took = [caller.session_ms(number, key) for number, key in crowd]
        # Where the handshakes of both ends cross, a client waits for its retry, which may cross.
        check(sum(ms < 20_000 for ms in took) >= len(took) - 2, f"they did not connect: {took}")
        check(sum(ms < 1000 for ms in took) >= 3, f"the device did not initiate: {took}")
        equal(set(side.device.peers()), {key.public64 for _, key in crowd}, "installed")
        stranger.send_initiation()
        check(stranger.receive(1) is None, "a stranger was answered")
        side.processes.close()
        check(", 8 installed, 0 failed" in side.published_counts, side.published_counts)
        check(" 0 unknown" not in side.published_counts, side.published_counts)


if __name__ == "__main__":
    scenarios = {name: function for name, function in globals().items() if name.startswith("test_")}
    sys.exit(main(sys.argv[1:], scenarios))
