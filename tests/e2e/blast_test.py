#!/usr/bin/python3
"""wicket-blast against Wicket, and against a WireGuard device without it.

Run all scenarios, or those named as arguments. Needs root.
"""
import calendar
import json
import os
import re
import signal
import socket
import struct
import subprocess
import sys
import tempfile
import time
from contextlib import closing, suppress
from pathlib import Path

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from gateway_test import check, equal, gateway, main  # noqa: E402
from noise import Key  # noqa: E402
from lab import CLIENT4, CLIENT6, GATEWAY4, GATEWAY6, PORT, ROOT, SLOW, TOOLS, run, wait_for  # noqa: E402

BLAST = TOOLS / "wicket-blast"


def command(device, *arguments, address=GATEWAY4):
    host = f"[{address}]" if ":" in address else address
    return [BLAST, "--target", f"{host}:{device.port}", "--public-key", device.key.public64,
            *arguments]


def blast(lab, device, *arguments, nice=0, **kwargs):
    result = lab.client.run("nice", "-n", nice, *command(device, *arguments, "--json", "-", **kwargs),
                            check=False)
    check(result.stdout, result.stderr)
    return json.loads(result.stdout)


def import_fleet(lab, device, clients, seed="wicket"):
    fleet = run(BLAST, "--export", "ndjson", "--clients", clients, "--seed", seed).stdout
    run(TOOLS / "wicket", "import", "--offline", "--store", lab.store, "--device", device.name, "-",
        input=fleet)


KINDS = ("new", "cookie", "rekey", "unknown", "forged", "bad-mac1", "junk", "response", "repeat", "old",
         "data")


def check_every_kind(lab, device, address, seed):
    """Every kind at once, and what the one who sends them sees. Returns: how many left of each.

    wireguard-go takes no two initiations of a peer within 20 ms, and at first few have a session.
    """
    report = blast(lab, device, "--clients", "400", "--seed", seed, "--mix", ",".join(KINDS), "--rate",
                   "33", "--duration", "6", address=address)
    # The repeated packet is answered once, and a stamp of yesterday never.
    equal((report["sent"], report["unverified"], report["lost"], report["unexpected"]),
          (198, 0, 0, 1), report)
    equal((set(report["kinds"]), set(report["mix"])), (set(KINDS), set(KINDS)), "kinds")
    for name, kind in report["kinds"].items():
        equal(kind["answered"], kind["sent"] if name in ("new", "cookie", "rekey") else 0, name)
        check(kind["sent"] > 5, report)
    return {name: kind["sent"] for name, kind in report["kinds"].items()}


def check_sessions(device, clients, data):
    """Each client completed its handshake, and what was said in sessions arrived."""
    rows = device.peers().values()
    equal(sum(row[1] > 0 for row in rows), clients, "sessions")
    received = sum(row[2] for row in rows)
    check(received >= (148 + 32) * clients + 32 * data, f"{received} bytes of {clients} clients")


def test_every_kind_gets_what_it_deserves():
    for address in GATEWAY4, GATEWAY6:
        with gateway(device_extra="probation_max = 5000") as (lab, device, daemon):
            import_fleet(lab, device, 400)
            daemon.start()
            sent = check_every_kind(lab, device, address, "wicket")
            status = daemon.fresh_status()
            counts = {**status["verdicts"], **status["steering"]}
            for count, expected in (("unknown_peer", sent["unknown"]), ("not_proven", sent["forged"]),
                                    ("drop_mac1", sent["bad-mac1"]),
                                    ("pass_answer", sent["response"]),
                                    ("drop_repeat", sent["repeat"] - 1)):
                equal(counts[count], expected, f"{count}: {counts}")
            check_sessions(device, sent["new"] + sent["cookie"], sent["data"])


def test_every_kind_gets_what_it_deserves_without_wicket():
    for address in GATEWAY4, GATEWAY6:
        with gateway() as (lab, device, daemon):
            conf = run(BLAST, "--export", "conf", "--clients", "400", "--seed", "another").stdout
            device.ns.run("wg", "addconf", device.name, "/dev/stdin", input=conf)
            sent = check_every_kind(lab, device, address, "another")
            check_sessions(device, sent["new"] + sent["cookie"], sent["data"])


def test_the_rate_is_kept():
    """Within 2 %, at rates that these machines hold: both what the report says of itself and what
    arrives in the time between the first and the last packet."""
    with gateway() as (lab, device, daemon):
        daemon.start()
        counter = ("ip", "-n", lab.gateway.name, "-s", "-j", "link", "show", "in")
        for via, rate in (("udp", 200), ("udp", 5000), ("xdp", 5000), ("xdp", 50000)):
            for _ in range(3):  # what the generator itself disowns is made again
                before = json.loads(run(*counter).stdout)[0]["stats64"]["rx"]["packets"]
                report = blast(lab, device, "--via", via, "--mix", "bad-mac1", "--rate", rate,
                               "--duration", "2", "--prepare", 2 * rate, "--timeout", "0.1")
                came = json.loads(run(*counter).stdout)[0]["stats64"]["rx"]["packets"] - before
                if not report["generator_limit"]:
                    break
            for kept in report["rate"], came / report["seconds"]:
                check(abs(kept / rate - 1) < 0.02, f"{via}: {kept} a second, wanted {rate}: {report}")


def test_who_answers_cookies_may_have_sessions_too():
    with gateway() as (lab, device, daemon):
        conf = run(BLAST, "--export", "conf", "--clients", "300").stdout
        device.ns.run("wg", "addconf", device.name, "/dev/stdin", input=conf)
        for other in "data", "rekey":
            report = blast(lab, device, "--clients", "300", "--mix", f"cookie=1,{other}=3", "--rate",
                           "40", "--duration", "4")
            equal(set(report["kinds"]), {"cookie", other}, report)
            sent = {name: kind["sent"] for name, kind in report["kinds"].items()}
            equal(sum(sent.values()), 160, sent)
            check(sent[other] > 1.5 * sent["cookie"], sent)


def test_a_slow_target_shows():
    with gateway() as (lab, device, daemon):
        conf = run(BLAST, "--export", "conf", "--clients", "900").stdout
        device.ns.run("wg", "addconf", device.name, "/dev/stdin", input=conf)
        report = blast(lab, device, "--clients", "900", "--rate", "200", "--duration", "2")
        quick = report["latency_ms"]["p50"]
        # The target does not answer for half a second of two. Who measures only from the
        # sending of each packet to its answer, one at a time, would see one slow answer.
        running = lab.client.start(*command(device, "--clients", "900", "--rate", "200", "--duration",
                                            "2", "--seed", "wicket", "--mix", "new", "--json",
                                            lab.dir / "slow.json"),
                                   stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        time.sleep(0.5)
        os.kill(device.process.pid, signal.SIGSTOP)
        time.sleep(0.5)
        os.kill(device.process.pid, signal.SIGCONT)
        running.wait(20 * SLOW)
        slow = json.loads((lab.dir / "slow.json").read_text())
        check(slow["latency_ms"]["p90"] > 100 > quick, f"{quick} ms, then {slow['latency_ms']}")
        check(slow["latency_ms"]["max"] > 400, slow["latency_ms"])
        equal(slow["answered"], slow["sent"], "answered in the end")


def test_prepared_packets_leave_in_time():
    with gateway() as (lab, device, daemon):
        import_fleet(lab, device, 100)
        daemon.start()
        report = blast(lab, device, "--clients", "100", "--mix", "bad-mac1=99,new=1", "--prepare",
                       "8000", "--rate", "20000", "--duration", "2", "--sources", "200")
        equal(report["sent"], 8000, "sent")
        check(report["seconds"] < 0.8, f"{report['seconds']} s for what was to take 0.4")
        new = report["kinds"]["new"]
        equal(new["answered"], new["sent"], "real handshakes among them")
        equal(daemon.fresh_status()["steering"]["drop_mac1"], report["kinds"]["bad-mac1"]["sent"],
              "those that arrived")


def test_answers_are_taken_while_packets_leave_late():
    """From somebody who gives everything back, to a generator that is never in time."""
    with gateway() as (lab, device, daemon):
        with closing(lab.gateway.socket()) as echo:
            echo.bind((GATEWAY4, 7))
            echo.settimeout(2)
            echo.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 8192)  # nothing waits in it
            sending = lab.client.start(BLAST, "--target", f"{GATEWAY4}:7", "--public-key",
                                       device.key.public64, "--via", "xdp", "--sources", "1", "--mix",
                                       "junk=1", "--rate", "10000000", "--count", "1000000",
                                       "--prepare", "1000000", "--json", "-",
                                       stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
            try:
                while True:
                    echo.sendto(*echo.recvfrom(2048))
            except TimeoutError:
                pass
            output, errors = sending.communicate(timeout=20 * SLOW)
        check(output, errors)
        report = json.loads(output)
        check(report["generator_limit"], "the generator was in time")
        # What waits where the generator does not look is a ring full, at most two.
        check(report["unexpected"] > 20000, f"{report['unexpected']} answers were taken")


def napi_threads():
    """Of interfaces named `in`, whatever namespace they are in."""
    found = set()
    for comm in Path("/proc").glob("[0-9]*/comm"):
        with suppress(OSError):
            if comm.read_text().startswith("napi/in-"):
                found.add(int(comm.parent.name))
    return found


def test_what_the_interface_had_no_room_for_is_told():
    """A veth's ring has 256 entries, and here a thread of its own empties it, when others let it."""
    with gateway() as (lab, device, daemon):
        def received():
            return sum(map(int, re.findall(r"xdp_packets: (\d+)",
                                           lab.gateway.run("ethtool", "-S", "in").stdout)))
        daemon.start()
        others = napi_threads()
        run("ip", "netns", "exec", lab.gateway.name, "sh", "-c",
            "echo 1 > /sys/class/net/in/threaded")
        threads = wait_for(lambda: napi_threads() - others, 5)
        check(threads, "no thread empties the ring")
        for thread in threads:
            os.setpriority(os.PRIO_PROCESS, thread, 19)
        before = received()
        report = blast(lab, device, "--via", "xdp", "--mix", "bad-mac1=1", "--rate", "10000000",
                       "--count", "100000", "--prepare", "100000", "--duration", 60, "--cpus",
                       min(os.sched_getaffinity(0)))
        left = report["sent"] - report["no_room"]
        check(report["no_room"] > 0, "there was room for all")
        # What is in the generator's own ring when it ends counts as sent.
        check(wait_for(lambda: abs(received() - before - left) < 2048 + 256, 20),
              f"{received() - before} came of {left}")
        print(f"  {received() - before} came of {left}, of {report['sent']}")


def test_scenario_files_ctrl_c_and_percentiles():
    with gateway() as (lab, device, daemon):
        import_fleet(lab, device, 1000)
        daemon.start()
        scenario = lab.dir / "load.toml"
        scenario.write_text('clients = 1000\nrate = 50\nduration = 60\nmix = "new=3,junk=1"\n')
        hdr, figures = lab.dir / "out.hdr", lab.dir / "out.json"
        running = lab.client.start(*command(device, "--scenario", scenario, "--hdr", hdr, "--json",
                                            figures), stdout=subprocess.PIPE, text=True)
        time.sleep(1.5)
        running.send_signal(signal.SIGINT)
        table = running.communicate(timeout=10 * SLOW)[0]
        equal(running.returncode, 0, "exit status")
        check("new" in table and "junk" in table and "p99" in table, table)
        report = json.loads(figures.read_text())
        check(30 < report["sent"] < 150, report)
        rows = [line.split() for line in hdr.read_text().splitlines()[2:] if line[0] != "#"]
        values = [float(row[0]) for row in rows]
        check(values == sorted(values) and len(values) > 10, hdr.read_text())
        # The file and the table tell of the same latencies.
        median = min(rows, key=lambda row: abs(float(row[1]) - 0.5))
        check(abs(float(median[0]) - report["latency_ms"]["p50"]) < 0.3 * report["latency_ms"]["p50"],
              f"{median} and {report['latency_ms']}")


def test_a_bad_scenario_is_told_by_file_and_line():
    with tempfile.TemporaryDirectory(prefix="wicket-") as folder:
        for text, said in (('rate = 5\nrat = 6\n', ':2: found "rat"'),
                           ("rate = 5\nmix = \n", ":2: "),
                           ("clients = 5\nfrom = [[]]\n", ":2: from: accepted"),
                           ("[load]\nrate = 5\n", ':1: found "load"'),
                           ('rate = "much"\n', "much not in range")):
            scenario = Path(folder) / "bad.toml"
            scenario.write_text(text)
            result = run(BLAST, "--scenario", scenario, "--export", "conf", check=False)
            equal(result.returncode, 2, text)
            check(said in result.stderr and str(scenario) in result.stderr, result.stderr)
        result = run(BLAST, "--one", "--two", check=False)
        check("--one --two" in result.stderr, result.stderr)


def test_what_was_asked_for_leaves_and_who_was_the_limit_is_told():
    with gateway() as (lab, device, daemon):
        conf = run(BLAST, "--export", "conf", "--clients", "50").stdout
        device.ns.run("wg", "addconf", device.name, "/dev/stdin", input=conf)

        def limit(*arguments, interrupt_after=None):
            figures = lab.dir / "limit.json"
            running = lab.client.start(*command(device, *arguments, "--json", figures),
                                       stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
            if interrupt_after:
                time.sleep(interrupt_after)
                running.send_signal(signal.SIGINT)
            running.wait(20 * SLOW)
            return json.loads(figures.read_text())["generator_limit"]

        # Threads take turns, and no more leave than was asked for.
        report = blast(lab, device, "--clients", "50", "--count", "10", "--threads", "4", "--rate",
                       "100")
        equal(report["sent"], 10, "packets of four threads")
        # A window of one is sent, answered, and opened again.
        report = blast(lab, device, "--clients", "50", "--in-flight", "1", "--duration", "1")
        check(report["answered"] > 20 and report["lost"] == 0, report)
        # What is retried is no part of the rate.
        report = blast(lab, device, "--seed", "nobody", "--rate", "50", "--duration", "1",
                       "--retries", "2", "--retry-after", "0.3")
        check(45 < report["rate"] < 55 and report["retried"] > 50, report)
        # A silent target and a packet every second: the end comes when it should.
        for _ in range(3):
            began = time.monotonic()
            limit("--seed", "nobody", "--rate", "1", "--duration", "1.5", "--timeout", "0.3")
            check(time.monotonic() - began < 4 * SLOW, "it does not end")
        # A ramp is held against what it should have sent until it was stopped.
        equal(limit("--mix", "junk", "--ramp", "50:1000", "--duration", "20",
                    interrupt_after=2), "", "a ramp that was stopped")
        # In a closed loop who waits is not the limit, and who never does is.
        check("busy" in limit("--mix", "junk", "--in-flight", "1", "--duration", "0.5"),
              "nobody was waited for")
        os.kill(device.process.pid, signal.SIGSTOP)
        try:
            equal(limit("--in-flight", "1", "--duration", "1", "--timeout", "0.2"), "",
                  "the target was waited for")
        finally:
            os.kill(device.process.pid, signal.SIGCONT)


def test_every_shipped_scenario_runs_and_is_documented():
    with gateway(device_extra="probation_max = 5000", log_level="info") as (lab, device, daemon):
        files = sorted((ROOT / "bench/scenarios").glob("*.toml"))
        listed = (ROOT / "docs/load.md").read_text()
        for file in files:
            check(f"`{file.name}`" in listed, f"{file.name} is not documented")
            import_fleet(lab, device, 2000, file.stem)
        daemon.start()
        for file in files:
            report = blast(lab, device, "--scenario", file, "--seed", file.stem, "--duration", "1",
                           "--prepare", "0" if file.stem in ("steady", "morning") else "20000")
            new = report["kinds"]["new"]
            check(new["answered"] >= 0.9 * new["sent"], f"{file.name}: {report}")
            equal(report["unverified"], 0, file.name)


def test_frames_by_af_xdp_come_from_anywhere():
    with gateway(device_extra="probation_max = 5000") as (lab, device, daemon):
        for route in (("route", "add", "198.18.0.0/16", "via", CLIENT4),
                      ("-6", "route", "add", "2001:db8:77::/48", "via", CLIENT6)):
            lab.gateway.ip(*route)
        cases = ((GATEWAY4, ()), (GATEWAY6, ()), (GATEWAY4, ("--from", "198.18.0.0/16", "--threads", "2")),
                 (GATEWAY6, ("--from", "2001:db8:77::/64", "--attack-sources", "1000000")))
        for number in range(len(cases)):
            import_fleet(lab, device, 300, f"fleet{number}")
        daemon.start()
        for number, (address, extra) in enumerate(cases):
            report = blast(lab, device, "--via", "xdp", "--seed", f"fleet{number}", "--clients", "300",
                           "--mix", "new=1,bad-mac1=3", "--rate", "400", "--duration", "2", "--cpus",
                           "0,1", *extra, address=address)
            new = report["kinds"]["new"]
            equal((report["sent"], new["answered"], report["unverified"], report["send_errors"]),
                  (800, new["sent"], 0, 0), report)
        links = json.loads(lab.client.ip("-j", "link", "show", "out").stdout)
        check("xdp" not in links[0], "the generator's program stayed")
        # What is in the device came from the addresses asked for.
        endpoints = [row[0] for row in device.peers().values()]
        check(sum(text.startswith("198.18.") for text in endpoints) > 100, endpoints[:5])
        check(sum(text.startswith("[2001:db8:77:") for text in endpoints) > 100, endpoints[:5])
        spoofed = lab.client.run(*command(device, "--from", "198.18.0.0/24", "--count", "1"), check=False)
        check(spoofed.returncode == 1 and "--via xdp" in spoofed.stderr, spoofed.stderr)
        few = lab.client.run(*command(device, "--via", "xdp", "--from", "198.18.0.1", "--ports",
                                      "1000-1009", "--count", "1"), check=False)
        check("hold 10" in few.stderr, few.stderr)


def test_frames_carry_a_vlan():
    with gateway() as (lab, device, daemon):
        daemon.start()
        report = blast(lab, device, "--via", "xdp", "--vlan", "77", "--mix", "bad-mac1", "--rate", "50",
                       "--duration", "1")
        steering = daemon.fresh_status()["steering"]
        equal((report["sent"], steering["drop_mac1"]), (50, 50), steering)
        file = lab.dir / "tagged.pcap"
        run(*command(device, "--vlan", "77", "--count", "5", "--pcap", file))
        rows = run("tshark", "-r", file, "-Y", "wg", "-T", "fields", "-e", "vlan.id").stdout.split()
        equal(rows, ["77"] * 5, "in the capture")
        untagged = lab.client.run(*command(device, "--vlan", "77"), check=False)
        check(untagged.returncode == 2 and "--vlan" in untagged.stderr, untagged.stderr)


def test_pings_cross_the_tunnel():
    with gateway() as (lab, device, daemon):
        import_fleet(lab, device, 100)
        inner = json.loads(run(BLAST, "--export", "ndjson", "--clients", "1").stdout)["allowed_ips"][0]
        lab.gateway.ip("-6", "route", "add", inner.split("::")[0] + "::/64", "dev", device.name)
        daemon.start()
        for via in "udp", "xdp":
            report = blast(lab, device, "--clients", "100", "--mix", "new" if via == "udp" else "rekey",
                           "--rate", "50", "--duration", "2", "--ping", "fd00::1", "--via", via)
            equal(report["pings"], {"sent": 100, "answered": 100}, report)
            check(report["usable_ms"]["p50"] > report["latency_ms"]["p50"], report)
        report = blast(lab, device, "--clients", "20", "--mix", "rekey", "--count", "20", "--ping",
                       "fd00::2", "--timeout", "1")
        equal((report["answered"], report["pings"]["answered"]), (20, 0), "nobody has that address")


def test_clients_retry():
    """A target that does not answer for a while: whoever tries again gets through."""
    with gateway() as (lab, device, daemon):
        conf = run(BLAST, "--export", "conf", "--clients", "10").stdout
        device.ns.run("wg", "addconf", device.name, "/dev/stdin", input=conf)
        os.kill(device.process.pid, signal.SIGSTOP)
        running = lab.client.start(*command(device, "--clients", "10", "--count", "10", "--rate", "100",
                                            "--retries", "5", "--retry-after", "0.3", "--json", "-"),
                                   stdout=subprocess.PIPE, text=True)
        time.sleep(0.7)
        os.kill(device.process.pid, signal.SIGCONT)
        report = json.loads(running.communicate(timeout=20 * SLOW)[0])
        equal((report["answered"], report["lost"]), (10, 0), report)
        check(report["retried"] >= 20 and report["latency_ms"]["p50"] > 400, report)


def check_cookies_are_answered(lab, device, address, attack, begun):
    """A flood of right mac1s makes the target ask for cookies; only who answers them gets in."""
    flood = lab.client.start(*command(device, "--mix", attack, "--seed", "strangers", "--via", "xdp",
                                      "--ports", "20000-29999", "--rate", "40000", "--duration", "5",
                                      "--timeout", "0.1", address=address), stdout=subprocess.DEVNULL)
    try:
        check(wait_for(begun, 10), "no flood")
        report = blast(lab, device, "--clients", "400", "--mix", "cookie", "--rate", "15", "--duration",
                       "3", "--retries", "3", "--retry-after", "0.5", "--timeout", "2", "--seed", address,
                       address=address)
    finally:
        flood.wait(60 * SLOW)
    check(report["cookies"] > 10, f"no cookies: {report}")
    cookie = report["kinds"]["cookie"]
    check(cookie["answered"] >= 0.9 * cookie["sent"], report)
    equal(report["unverified"], 0, report)


def test_cookies_are_answered():
    with gateway(device_extra="probation_max = 5000") as (lab, device, daemon):
        for address in GATEWAY4, GATEWAY6:
            import_fleet(lab, device, 400, address)
        daemon.start()
        for address in GATEWAY4, GATEWAY6:
            check_cookies_are_answered(lab, device, address, "unknown",
                                       lambda: daemon.status()["defence"]["under_load"])


def test_cookies_are_answered_without_wicket():
    with gateway() as (lab, device, daemon):
        for address in GATEWAY4, GATEWAY6:
            conf = run(BLAST, "--export", "conf", "--clients", "400", "--seed", address).stdout
            device.ns.run("wg", "addconf", device.name, "/dev/stdin", input=conf)
            before = device.cpu_seconds()
            check_cookies_are_answered(lab, device, address, "repeat",
                                       lambda: device.cpu_seconds() > before + 0.5)


def test_the_highest_rate_is_found():
    with gateway() as (lab, device, daemon):
        conf = run(BLAST, "--export", "conf", "--clients", "200").stdout
        device.ns.run("wg", "addconf", device.name, "/dev/stdin", input=conf)
        arguments = ("--find-max", "--clients", "200", "--mix", "rekey=1,bad-mac1=1", "--duration",
                     "0.3", "--timeout", "0.3")
        found = blast(lab, device, *arguments, "--rate", "1600", "--max-p99", "200", "--max-loss", "0.5")
        borne = [trial["rate"] for trial in found["trials"] if not trial["failed"]]
        check(found["max_rate"] in borne, found)
        check(found["limit"], found)
        last = {trial["rate"]: trial["failed"] for trial in found["trials"]}  # a spoilt one is made again
        check(min(rate for rate, failed in last.items() if failed) > found["max_rate"], found)
        check(borne.count(found["max_rate"]) >= 2, "not confirmed")
        # A target that is not there bears nothing.
        none = lab.client.run(*command(device, "--find-max", "--clients", "200", "--duration", "0.3",
                                       "--timeout", "0.2", "--json", "-", "--seed", "strangers"), check=False)
        equal((none.returncode, json.loads(none.stdout)["max_rate"]), (1, 0), none.stdout)
        few = lab.client.run(*command(device, *arguments[:1], "--clients", "50", "--duration", "1"),
                             check=False)
        check(few.returncode == 1 and "all 50 clients have come" in few.stdout, few.stdout)
        few = blast(lab, device, *arguments[:1], "--clients", "200", "--rate", "40", "--duration",
                    "1", "--seed", "few", "--max-loss", "1", "--max-p99", "2000")
        check(few["trials"] and "all 200 clients have come" in few["limit"], few)
        check(not few["confirmed"] and few["max_rate"] in (40, 80), few)


def test_what_waits_is_bounded_and_ends_by_a_second_ctrl_c():
    with gateway() as (lab, device, daemon):
        silent = lab.gateway.socket(socket.AF_INET, socket.SOCK_DGRAM, 0)
        silent.bind((GATEWAY4, 5))
        figures = lab.dir / "silent.json"
        running = lab.client.start(BLAST, "--target", f"{GATEWAY4}:5", "--public-key",
                                   device.key.public64, "--clients", "70000", "--in-flight",
                                   "66000", "--prepare", "67000", "--sources", "100", "--timeout",
                                   "100", "--duration", "60", "--json", figures,
                                   stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)

        def arrived():
            link, = json.loads(lab.gateway.ip("-s", "-j", "link", "show", "in").stdout)
            return link["stats64"]["rx"]["packets"]
        check(wait_for(lambda: arrived() >= 66000, 40), f"only {arrived()} packets came")
        time.sleep(1)
        for _ in range(2):
            running.send_signal(signal.SIGINT)
            time.sleep(0.5)
        equal(running.wait(5 * SLOW), 1, "exit status: nothing was answered")
        report = json.loads(figures.read_text())
        equal((report["sent"], report["lost"]), (66000, 66000), "no more than were to be under way")
        begin = time.monotonic()
        making = lab.client.start(*command(device, "--prepare", "5000000", "--clients", "10000000"),
                                  stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        time.sleep(1)
        making.send_signal(signal.SIGINT)
        making.wait(10 * SLOW)
        check(time.monotonic() - begin < 5 * SLOW, "preparing goes on")


def test_what_cannot_be_written_or_sent_whole_is_told():
    with gateway() as (lab, device, daemon):
        for option in "--json", "--hdr":
            result = lab.client.run(*command(device, "--count", "2", "--timeout", "0.2", option,
                                             "/dev/full"), check=False)
            check(result.returncode == 1 and "/dev/full: not written" in result.stderr, result.stderr)
        large = lab.dir / "large.pcap"
        udp = struct.pack(">HHHH", 4000, PORT, 8 + 2200, 0) + bytes(2200)
        ip = struct.pack(">BBHHHBBH4s4s", 0x45, 0, 20 + len(udp), 0, 0, 64, 17, 0, bytes(4), bytes(4))
        frame = bytes(12) + b"\x08\0" + ip + udp
        large.write_bytes(struct.pack("<IHHiIII", 0xA1B2C3D4, 2, 4, 0, 0, 65535, 1)
                          + struct.pack("<IIII", 0, 0, len(frame), len(frame)) + frame)
        result = lab.client.run(*command(device, "--replay", large), check=False)
        check(result.returncode == 2 and "packet 1: 2200 bytes" in result.stderr, result.stderr)


def test_a_capture_is_replayed():
    with gateway() as (lab, device, daemon):
        import_fleet(lab, device, 200)
        daemon.start()
        for number, via in enumerate(("udp", "xdp")):
            file = lab.dir / f"{via}.pcap"
            run(*command(device, "--clients", "200", "--mix", "new=1,bad-mac1=1", "--rate", "100",
                         "--duration", "2", "--pcap", file, "--random-seed", number + 1))
            before = daemon.fresh_status()["steering"]
            report = blast(lab, device, "--replay", file, "--via", via)
            equal((report["replayed"], report["sent"]), (200, 200), report)
            check(1.9 < report["seconds"] < 2.5, "not at its own times")
            after = daemon.fresh_status()["steering"]
            forged = after["drop_mac1"] - before["drop_mac1"]
            check(60 < forged < 140, after)
            if via == "udp":
                equal(report["responses"], 200 - forged, "clients answered")
        report = blast(lab, device, "--replay", lab.dir / "udp.pcap", "--rate", "2000")
        check(report["seconds"] < 0.3, "not at the rate asked for")
        (lab.dir / "torn.pcap").write_bytes((lab.dir / "udp.pcap").read_bytes()[:1000])
        torn = lab.client.run(*command(device, "--replay", lab.dir / "torn.pcap"), check=False)
        check(torn.returncode == 2 and "torn.pcap: packet 5" in torn.stderr, torn.stderr)


def decoded(capture, keys, *fields):
    """A row of these fields of each packet that tshark finds in a capture."""
    return [row.split("\t") for row in run(
        "tshark", "-r", capture, "-o", f"wg.keylog_file:{keys}", "-o", "udp.check_checksum:TRUE",
        "-o", "ip.check_checksum:TRUE", "-d", "udp.port==51820,wg", "-T", "fields",
        *(part for field in fields for part in ("-e", field))).stdout.splitlines()]


def test_captured_packets_decode_and_decrypt():
    """What tshark, who has the target's private key, sees in each kind of packet."""
    key = Key()
    with tempfile.TemporaryDirectory() as directory:
        keys, capture = Path(directory) / "keys", Path(directory) / "load.pcap"
        keys.write_text(f"LOCAL_STATIC_PRIVATE_KEY = {key.private64}\n")
        for target in "203.0.113.1:51820", "[2001:db8::1]:51820":
            fleet = [json.loads(line)["public_key"] for line in
                     run(BLAST, "--export", "ndjson", "--clients", "20", "--seed", target)
                     .stdout.splitlines()]
            for kind in KINDS:
                if kind == "data":  # of a session, and in a capture nobody has one
                    continue
                made = run(BLAST, "--target", target, "--public-key", key.public64, "--clients", "20",
                           "--known", "--rate", "100", "--count", "20", "--mix", kind, "--pcap",
                           capture, "--seed", target)
                check(made.stdout.startswith("20 packets"), made.stdout)
                rows = decoded(capture, keys, "frame.time_relative", "udp.checksum.status",
                               "ip.checksum.status", "frame.len", "wg.receiver_pubkey", "wg.static",
                               "wg.timestamp.value", "wg.mac1", "frame.time_epoch")
                payload = 92 if kind == "response" else 148
                length = 14 + (40 if ":" in target[1:-6] else 20) + 8 + payload
                for number, row in enumerate(rows):
                    check(abs(float(row[0]) - number / 100) < 1e-6, f"packet {number} at {row[0]} s")
                equal({(row[1], row[3]) for row in rows}, {("1", str(length))}, kind)
                check({row[2] for row in rows} <= {"1", ""}, "IP checksums")
                meant, statics, stamps, mac1s = ([row[column] for row in rows]
                                                 for column in (4, 5, 6, 7))
                right_mac1 = kind not in ("bad-mac1", "junk")
                equal(set(meant), {key.public64 if right_mac1 else ""}, f"{kind}: mac1 is right")
                equal(len(set(mac1s)), 1 if kind in ("repeat", "junk") else 20, f"{kind}: mac1s")
                equal("" in mac1s, kind == "junk", kind)
                if kind in ("new", "cookie", "rekey", "old"):
                    equal(statics, fleet, "clients in their order")
                elif right_mac1 and kind != "response":
                    check(all((static in fleet) == (kind != "unknown") and static
                              for static in statics), f"{kind}: {statics}")
                else:
                    equal(set(statics), {""}, kind)
                stamped = right_mac1 and kind not in ("forged", "response")
                equal((all(stamps), any(stamps)), (stamped, stamped), f"{kind}: timestamps")
                for row in rows if kind == "old" else ():
                    stamp = calendar.timegm(time.strptime(row[6].split(".")[0], "%b %d, %Y %H:%M:%S"))
                    # tshark does not take off the 10 s by which a stamp is ahead of UTC.
                    check(abs(float(row[8]) + 10 - stamp - 86400) < 2, f"{row[6]} at {row[8]}")


def test_a_capture_that_is_interrupted_is_whole():
    key = Key()
    with tempfile.TemporaryDirectory() as directory:
        capture = Path(directory) / "load.pcap"
        writing = subprocess.Popen(
            [BLAST, "--target", "203.0.113.1:51820", "--public-key", key.public64, "--mix", "bad-mac1",
             "--rate", "1000000", "--duration", "3600", "--count", "1000000000", "--pcap", capture],
            stdout=subprocess.PIPE, text=True)
        check(wait_for(lambda: capture.exists() and capture.stat().st_size > 1_000_000, 10), "nothing")
        writing.send_signal(signal.SIGINT)
        told = writing.communicate(timeout=10 * SLOW)[0]
        equal(writing.returncode, 0, told)
        equal(capture.stat().st_size, 24 + int(told.split()[0]) * (16 + 14 + 20 + 8 + 148), told)


def test_foreign_targets_and_wrong_usage_are_refused():
    with gateway() as (lab, device, daemon):
        lab.client.ip("route", "add", "203.0.113.0/24", "via", GATEWAY4)
        key = device.key.public64

        def refused(*arguments):
            result = lab.client.run(BLAST, *arguments, check=False)
            equal(result.returncode, 2, result.stdout)
            return result.stderr
        text = refused("--target", "203.0.113.1:51820", "--public-key", key)
        check("--i-own-this-target" in text, text)
        check("--target" in refused("--target", "nowhere", "--public-key", key), "target")
        check("--public-key" in refused("--target", f"{GATEWAY4}:1", "--public-key", "x"), "key")
        text = refused("--target", f"{GATEWAY4}:1", "--public-key", key, "--mix", "new,evil")
        check("evil" in text and "bad-mac1" in text, text)
        text = refused("--target", "203.0.113.1:51820", "--public-key", key, "--interface", "out")
        check("--via xdp" in text, "an interface of ours is no leave to load others")
        for route in ((), ("--interface", "out")):
            text = refused("--target", "203.0.113.1:51820", "--public-key", key, "--via", "xdp",
                           "--count", "1", *route)
            check("--i-own-this-target" in text, text)
        text = refused("--target", f"{GATEWAY4}:1", "--public-key", key, "--via", "xdp",
                       "--interface", "none")
        check("there is no none here" in text, text)
        for mix, said in ("new=1,data=1", "session's keys"), ("old", "--known"), ("rekey", "--known"):
            for beforehand in ("--prepare", "5"), ("--pcap", "/dev/null"):
                text = refused("--target", f"{GATEWAY4}:1", "--public-key", key, "--mix", mix,
                               *beforehand)
                check(said in text, text)
        lab.client.ip("route", "add", "default", "via", GATEWAY4)
        text = refused("--target", f"{GATEWAY4}:1", "--public-key", key)
        check("--i-own-this-target" in text, "a link that leads out into the world")
        lab.client.ip("route", "del", "default")
        for option, bad in (("--prepare", "-5"), ("--count", "-1"), ("--in-flight", "600000"),
                            ("--ramp", "nan:nan"), ("--ramp", "50:100junk"), ("--ramp", "1:1e300")):
            text = refused("--target", f"{GATEWAY4}:1", "--public-key", key, option, bad)
            check(option in text, text)
        for arguments, said in ((("--cpus", "4096"), "may run on"),
                                (("--ports", "4000-4009", "--clients", "5"), "sources are wanted")):
            result = lab.client.run(*command(device, "--count", "1", *arguments), check=False)
            check(result.returncode == 1 and said in result.stderr, result.stderr)
        scenario = lab.dir / "typo.toml"
        scenario.write_text("ratte = 5\n")
        check("ratte" in refused(*command(device, "--scenario", scenario)[1:]), "a misspelt option")
        lost = lab.client.run(*command(device, "--count", "1", "--json", "/nonexistent/x"), check=False)
        check(lost.returncode == 1 and "/nonexistent/x: cannot be written" in lost.stderr, lost.stderr)
        equal(lost.stdout, "", "a run whose figures would be lost")
        # Nobody's key: no answer, and an exit status that says so.
        daemon.start()
        wrong = lab.client.run(BLAST, "--target", f"{GATEWAY4}:{PORT}", "--public-key", key, "--clients",
                               "5", "--count", "5", "--timeout", "0.3", "--seed", "strangers", check=False)
        equal(wrong.returncode, 1, wrong.stdout)
        check(wait_for(lambda: daemon.fresh_status()["verdicts"]["unknown_peer"] == 5, 3), "not there")


if __name__ == "__main__":
    scenarios = {name: function for name, function in globals().items() if name.startswith("test_")}
    sys.exit(main(sys.argv[1:], scenarios))
