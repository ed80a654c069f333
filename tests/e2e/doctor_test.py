#!/usr/bin/python3
"""wicket doctor on a gateway on which one thing after the other is broken.

Run all scenarios, or those named as arguments. Needs root.
"""
import glob
import json
import os
import signal
import sys

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from gateway_test import check, equal, gateway, main  # noqa: E402
from lab import BIN, TOOLS, run, wait_for  # noqa: E402


class Doctor:
    def __init__(self, lab, daemon):
        self.lab, self.daemon = lab, daemon

    def run(self, *arguments):
        return self.lab.gateway.run(TOOLS / "wicket", "doctor", "--config", self.daemon.config, *arguments,
                                    check=False)

    def findings(self):
        """Returns {check: grade} of what is not well."""
        return {finding["check"]: finding["grade"] for finding in json.loads(self.run("--json").stdout)["findings"]
                if finding["grade"] != "OK"}


# Of the machine that the tests run on.
MACHINES = {"WireGuard", "clock", "kernel", "BTF", "bpffs", "store"}


def test_each_thing_that_is_broken_is_found():
    with gateway() as (lab, device, daemon):
        daemon.start()
        daemon.fresh_status()
        doctor = Doctor(lab, daemon)
        nic, wireguard = "nic in", f"device {device.name}"
        lab.gateway.run("sysctl", "-qw", "net.ipv4.conf.all.rp_filter=0", "net.ipv4.conf.in.rp_filter=0")

        def found():
            return {check: grade for check, grade in doctor.findings().items() if check not in MACHINES}
        equal(found(), {}, "on a gateway that is well")

        def broken(how, mend, expected):
            how()
            check(wait_for(lambda: expected.items() <= found().items(), 10), f"{expected}: {found()}")
            mend()
            check(wait_for(lambda: found() == {}, 10), f"mended {expected}: {found()}")

        def ip(*arguments):
            return lambda: lab.gateway.ip(*arguments)
        broken(lambda: lab.gateway.run("sysctl", "-qw", "net.ipv4.conf.in.rp_filter=1"),
               lambda: doctor.run("--fix", "--yes"), {f"{nic}: rp_filter": "WARN"})
        equal(lab.gateway.run("sysctl", "-n", "net.ipv4.conf.in.rp_filter").stdout, "2\n", "what --fix has set")
        broken(ip("link", "set", device.name, "mtu", "1480"), ip("link", "set", device.name, "mtu", "1420"),
               {f"{wireguard}: MTU": "WARN"})
        broken(lambda: daemon.config.chmod(0o666), lambda: daemon.config.chmod(0o644),
               {"configuration's mode": "FAIL"})
        data = lab.store / "data.mdb"
        broken(lambda: data.chmod(0o644), lambda: data.chmod(0o600), {"store's mode": "FAIL"})
        hidden = daemon.control.with_suffix(".away")
        broken(lambda: daemon.control.rename(hidden), lambda: hidden.rename(daemon.control), {"control socket": "FAIL"})
        swapped = daemon.text.replace('name = "in"', 'name = "X"').replace(
            f'name = "{device.name}"', 'name = "in"').replace('name = "X"', f'name = "{device.name}"')
        broken(lambda: daemon.config.write_text(swapped), lambda: daemon.config.write_text(daemon.text),
               {f"nic {device.name}: interface": "FAIL", "device in: interface": "FAIL"})
        broken(lambda: daemon.config.write_text(daemon.text + "nonsense = 1\n"),
               lambda: daemon.config.write_text(daemon.text), {"configuration": "FAIL"})
        broken(lambda: daemon.process.send_signal(signal.SIGSTOP), lambda: daemon.process.send_signal(signal.SIGCONT),
               {"wicketd": "FAIL"})
        lab.gateway.ip("link", "set", "in", "down")
        equal(found().get(f"{nic}: interface"), "FAIL", "a NIC that is down")
        lab.gateway.ip("link", "set", "in", "up")
        device.close()
        lab.devices.remove(device)
        check(wait_for(lambda: found().get(f"{wireguard}: interface") == "FAIL" and
                       found().get(f"{wireguard}: served") == "FAIL", 10), found())


def test_what_a_monitoring_system_sees():
    with gateway() as (lab, device, daemon):
        daemon.start()
        daemon.fresh_status()
        doctor = Doctor(lab, daemon)
        result = doctor.run("--nagios")
        check(result.returncode in (0, 1) and result.stdout.count("\n") == 1, result.stdout)
        check(" | failed=0 warnings=" in result.stdout, result.stdout)
        known = [word for name, grade in doctor.findings().items() if grade == "WARN" for word in ("--accept", name)]
        result = doctor.run("--nagios", *known)
        check(known and result.returncode == 0 and result.stdout.startswith("WICKET OK - "), result.stdout)
        daemon.stop()
        result = doctor.run("--nagios")
        equal(result.returncode, 2, result.stdout)
        check(result.stdout.startswith("WICKET CRITICAL - ") and "wicketd: does not run" in result.stdout, result.stdout)
        equal(doctor.run().returncode, 1, "exit status")
        data = lab.store / "data.mdb"
        whole = data.read_bytes()
        data.write_bytes(whole[:5000])
        equal(doctor.findings().get("store's content"), "FAIL", "a store that is cut off")
        data.write_bytes(whole)
        check("store's content" not in doctor.findings(), doctor.findings())
        equal(daemon.detach().returncode, 0, "detach")
        lab.gateway.ip("link", "set", "dev", "in", "xdpdrv", "obj", BIN.parent / "bench" / "bare.bpf.o", "sec", "xdp_drop")
        check(doctor.findings().get("nic in: XDP hook") == "FAIL", doctor.findings())
        text = doctor.run().stdout
        check("[FAIL] nic in: XDP hook" in text and "\n       -> " in text and "\x1b" not in text, text)


def test_it_needs_no_rights():
    with gateway() as (lab, device, daemon):
        daemon.start()
        # Not a folder of root's alone.
        run("chmod", "755", lab.dir)
        result = lab.gateway.run("setpriv", "--reuid=65534", "--clear-groups", "--inh-caps=-all", TOOLS / "wicket",
                                 "doctor", "--config", daemon.config, "--json", check=False)
        grades = {finding["check"]: finding["grade"] for finding in json.loads(result.stdout)["findings"]}
        equal(grades["rights"], "WARN", result.stdout)
        equal(grades["nic in: interface"], "OK", result.stdout)


def test_the_certificate_of_the_edge_is_looked_at():
    with gateway() as (lab, device, daemon):
        daemon.start()
        doctor = Doctor(lab, daemon)
        home = lab.dir / "edge"
        home.mkdir()
        (home / "tokens").touch(0o600)
        config = home / "edge.toml"
        config.write_text('listen = ["127.0.0.1:1"]\ntls_certificate = "cert.pem"\ntls_key = "key.pem"\ntokens = "tokens"\n')

        def found(days):
            """Of a certificate that many days from its end: the grade, and what is said."""
            preload, = glob.glob("/usr/lib/*/faketime/libfaketime.so.1")
            run("env", f"LD_PRELOAD={preload}", f"FAKETIME={days - 100:+d}d", "openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt",
                "ec_paramgen_curve:P-256", "-nodes", "-keyout", home / "key.pem", "-out", home / "cert.pem", "-days",
                "100", "-subj", "/CN=x")
            all = json.loads(doctor.run("--json", "--edge-config", config).stdout)["findings"]
            return next((one["grade"], one["what"]) for one in all if one["check"] == "wicket-edge: certificate")
        equal([found(days)[0] for days in (50, 10, -1)], ["OK", "WARN", "FAIL"], "by the days that are left")
        check("expired" in found(-1)[1], found(-1))
        (home / "key.pem").unlink()
        check("key.pem" in json.loads(doctor.run("--json", "--edge-config", config).stdout)["findings"][-1]["what"], "no key")
        check("wicket-edge" not in doctor.run("--edge-config", home / "none").stdout, "an edge that is not set up")


if __name__ == "__main__":
    scenarios = {name: function for name, function in globals().items()
                 if name.startswith("test_") and function.__module__ == __name__}
    sys.exit(main(sys.argv[1:], scenarios))
