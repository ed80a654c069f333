#!/usr/bin/python3
"""wicket-blast against Wicket, and against a WireGuard device without it.

Run all scenarios, or those named as arguments. Needs root.
"""
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from gateway_test import check, equal, gateway, main  # noqa: E402
from noise import Key  # noqa: E402
from lab import BIN, GATEWAY4, GATEWAY6, PORT, ROOT, SLOW, run, wait_for  # noqa: E402

BLAST = BIN / "wicket-blast"


def command(device, *arguments, address=GATEWAY4):
    host = f"[{address}]" if ":" in address else address
    return [BLAST, "--target", f"{host}:{device.port}", "--public-key", device.key.public64,
            *arguments]


def blast(lab, device, *arguments, **kwargs):
    result = lab.client.run(*command(device, *arguments, "--json", "-", **kwargs), check=False)
    check(result.stdout, result.stderr)
    return json.loads(result.stdout)


def import_fleet(lab, device, clients, seed="wicket"):
    fleet = run(BLAST, "--export", "ndjson", "--clients", clients, "--seed", seed).stdout
    run(BIN / "wicket", "import", "--offline", "--store", lab.store, "--device", device.name, "-",
        input=fleet)


def test_every_kind_gets_what_it_deserves():
    with gateway(device_extra="probation_max = 5000") as (lab, device, daemon):
        for seed in GATEWAY4, GATEWAY6:
            import_fleet(lab, device, 400, seed)
        daemon.start()
        for address in GATEWAY4, GATEWAY6:
            kinds = "new,unknown,forged,bad-mac1,junk,repeat"
            report = blast(lab, device, "--clients", "400", "--seed", address, "--mix", kinds,
                           "--rate", "200", "--duration", "3", address=address)
            equal((report["sent"], report["unverified"], report["lost"]), (600, 0, 0), report)
            sent = {name: kind["sent"] for name, kind in report["kinds"].items()}
            equal(set(sent), set(kinds.split(",")), "kinds")
            for name, kind in report["kinds"].items():
                equal(kind["answered"], kind["sent"] if name == "new" else 0, name)
            verdicts = daemon.fresh_status()["verdicts"]
            for name, verdict in (("unknown", "unknown_peer"), ("bad-mac1", "bad_mac1"),
                                  ("forged", "not_proven")):
                check(verdicts[verdict] >= sent[name], f"{name}: {verdicts}")


def test_sessions_are_real_to_a_device_without_wicket():
    with gateway() as (lab, device, daemon):
        conf = run(BLAST, "--export", "conf", "--clients", "50", "--seed", "another").stdout
        device.ns.run("wg", "addconf", device.name, "/dev/stdin", input=conf)
        report = blast(lab, device, "--clients", "50", "--seed", "another", "--mix",
                       "rekey=4,old=1,data=5", "--rate", "100", "--duration", "4")
        equal(report["kinds"]["new"], {"sent": 50, "answered": 50}, "first handshakes")
        rekey = report["kinds"]["rekey"]
        check(rekey["answered"] > 0.9 * rekey["sent"], rekey)  # 20 ms apart, or refused
        equal(report["kinds"]["old"]["answered"], 0, "an old timestamp was answered")
        rows = device.peers()
        equal(sum(row[1] > 0 for row in rows.values()), 50, "confirmed sessions")
        check(sum(row[2] for row in rows.values()) > 148 * 50 + 32 * report["kinds"]["data"]["sent"],
              "data packets did not arrive")


def test_the_rate_is_kept_and_a_slow_target_shows():
    with gateway() as (lab, device, daemon):
        conf = run(BLAST, "--export", "conf", "--clients", "900").stdout
        device.ns.run("wg", "addconf", device.name, "/dev/stdin", input=conf)
        report = blast(lab, device, "--clients", "900", "--rate", "200", "--duration", "2")
        check(abs(report["rate"] - 200) < 4, f"{report['rate']} packets a second")
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
        new = report["kinds"]["new"]
        equal(new["answered"], new["sent"], "real handshakes among them")
        equal(daemon.fresh_status()["verdicts"]["bad_mac1"], report["kinds"]["bad-mac1"]["sent"],
              "those that arrived")


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


def test_captured_packets_decode_and_decrypt():
    key = Key()
    with tempfile.TemporaryDirectory() as directory:
        keys, capture = Path(directory) / "keys", Path(directory) / "load.pcap"
        keys.write_text(f"LOCAL_STATIC_PRIVATE_KEY = {key.private64}\n")
        for target in "203.0.113.1:51820", "[2001:db8::1]:51820":
            made = run(BLAST, "--target", target, "--public-key", key.public64, "--clients", "50",
                       "--rate", "100", "--duration", "1", "--mix", "new=1,unknown=1,bad-mac1=1",
                       "--pcap", capture, "--seed", target)
            check(made.stdout.startswith("100 packets"), made.stdout)
            fields = "frame.time_relative", "wg.timestamp.value", "wg.static", "udp.checksum.status", \
                "wg.receiver_pubkey", "ip.checksum.status"
            rows = [row.split("\t") for row in run(
                "tshark", "-r", capture, "-o", f"wg.keylog_file:{keys}", "-o", "udp.check_checksum:TRUE",
                "-o", "ip.check_checksum:TRUE", "-d", "udp.port==51820,wg", "-T", "fields",
                *(part for field in fields for part in ("-e", field))).stdout.splitlines()]
            fleet = [json.loads(line)["public_key"] for line in
                     run(BLAST, "--export", "ndjson", "--clients", "50", "--seed", target)
                     .stdout.splitlines()]
            equal({row[3] for row in rows}, {"1"}, "UDP checksums")
            check({row[5] for row in rows} <= {"1", ""}, "IP checksums")
            opened = [row for row in rows if row[2]]
            stored = [row for row in opened if row[2] in fleet]
            check(len(rows) == 100 and len(stored) > 20, f"{len(stored)} of {len(rows)}")
            check(all(row[1] for row in opened), "timestamps that do not decrypt")
            equal([row[2] for row in stored], fleet[:len(stored)], "clients in their order")
            check(len(rows) - len(opened) > 0.1 * len(rows), "bad mac1s decrypted too")
            for number, row in enumerate(rows):
                check(abs(float(row[0]) - number / 100) < 1e-6, f"packet {number} at {row[0]} s")


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
