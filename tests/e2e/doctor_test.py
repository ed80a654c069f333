#!/usr/bin/python3
"""wicket doctor on a gateway on which one thing after the other is broken.

Run all scenarios, or those named as arguments. Needs root.
"""
import ctypes
import glob
import json
import os
import shlex
import signal
import socket
import struct
import subprocess
import sys

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from blast_test import blast, command, import_fleet  # noqa: E402
from client import Client  # noqa: E402
from gateway_test import check, equal, gateway, main, store  # noqa: E402
from lab import BIN, PORT, TOOLS, StoppedThread, run, wait_for  # noqa: E402


class Doctor:
    def __init__(self, lab, daemon):
        self.lab, self.daemon = lab, daemon

    def run(self, *arguments):
        return self.lab.gateway.run(TOOLS / "wicket", "doctor", "--config", self.daemon.config, *arguments,
                                    check=False)

    def findings(self, *arguments):
        """Returns {check: grade} of what is not well."""
        return self.bad(self.run("--json", *arguments))

    def findings_after(self, script, *wrapper):
        """The same as seen in a mount namespace in which `script` has changed something. Outside the network's."""
        command = shlex.join(map(str, (*wrapper, TOOLS / "wicket", "doctor", "--config", self.daemon.config, "--json")))
        return self.bad(run("unshare", "--mount", "sh", "-ec", f"{script}\nexec {command}", check=False))

    def await_findings(self, expected, seconds=15):
        check(wait_for(lambda: expected.items() <= self.findings().items(), seconds), f"{expected}: {self.findings()}")

    @staticmethod
    def bad(result):
        text = result.stdout if hasattr(result, "stdout") else result.text
        return {finding["check"]: finding["grade"] for finding in json.loads(text)["findings"] if finding["grade"] != "OK"}


def try_bind(port):
    try:
        port.bind(("0.0.0.0", PORT))
        return True
    except OSError:
        return False


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
        broken(ip("link", "set", "in", "mtu", "4000"), ip("link", "set", "in", "mtu", "1500"), {f"{nic}: MTU": "WARN"})
        broken(lambda: lab.gateway.run("ethtool", "-K", "in", "rx", "off"), lambda: doctor.run("--fix", "--yes"),
               {f"{nic}: checksums": "WARN"})
        broken(ip("address", "flush", "dev", device.name), ip("address", "add", "10.0.0.1/8", "dev", device.name),
               {f"{wireguard}: routes": "WARN"})
        lab.gateway.ip("link", "set", device.name, "down")
        with lab.gateway.inside():
            other = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        broken(lambda: wait_for(lambda: try_bind(other), 10), lambda: (other.close(), lab.gateway.ip("link", "set", device.name, "up")),
               {f"{wireguard}: interface": "FAIL", f"{wireguard}: port": "FAIL"})
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
        daemon.start()
        doctor.await_findings({"nic in: served": "FAIL"})
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
        (home / "key.pem").chmod(0o644)
        equal(doctor.findings("--edge-config", config).get("wicket-edge: key's mode"), "WARN", "a key for all to read")
        hooks = home / "hooks.toml"
        hooks.write_text("nonsense = 1\n")
        path = {**os.environ, "PATH": f"{BIN}:{os.environ['PATH']}"}
        told = lab.gateway.run(TOOLS / "wicket", "doctor", "--config", daemon.config, "--hook-config", hooks, "--json",
                               check=False, env=path)
        equal(doctor.bad(told).get("wicket-hook: configuration"), "FAIL", told.stdout)
        (home / "key.pem").unlink()
        check("key.pem" in json.loads(doctor.run("--json", "--edge-config", config).stdout)["findings"][-1]["what"], "no key")
        check("wicket-edge" not in doctor.run("--edge-config", home / "none").stdout, "an edge that is not set up")


# Its socket() knows no AF_XDP: a filter of system calls, as a kernel without CONFIG_XDP_SOCKETS answers.
WITHOUT_XDP_SOCKETS = """
import ctypes, os, struct, sys
step = lambda code, true, false, k: struct.pack("=HBBI", code, true, false, k)
program = (step(0x20, 0, 0, 0) + step(0x15, 0, 3, 41) +       # the call; socket?
           step(0x20, 0, 0, 16) + step(0x15, 0, 1, 44) +      # its first argument; AF_XDP?
           step(0x06, 0, 0, 0x00050000 | 97) + step(0x06, 0, 0, 0x7fff0000))  # EAFNOSUPPORT; allowed
code = ctypes.create_string_buffer(program)
filter = struct.pack("=HxxxxxxQ", len(program) // 8, ctypes.addressof(code))
libc = ctypes.CDLL(None, use_errno=True)
if libc.prctl(38, 1, 0, 0, 0) or libc.prctl(22, 2, ctypes.create_string_buffer(filter), 0, 0):
    sys.exit("prctl")
os.execv(sys.argv[1], sys.argv[1:])
"""


def test_what_the_machine_lacks_is_found():
    with gateway() as (lab, device, daemon):
        daemon.start()
        daemon.fresh_status()
        doctor = Doctor(lab, daemon)

        def lacks(check_name, grade, script, *wrapper):
            check(check_name not in doctor.findings() or check_name in MACHINES, f"{check_name} before it was broken")
            equal(doctor.findings_after(script, *wrapper).get(check_name), grade, check_name)
        lacks("kernel", "WARN", "", "setarch", "--uname-2.6")
        lacks("BTF", "WARN", "mount -t tmpfs none /sys/kernel/btf")
        lacks("bpffs", "WARN", "mount -t tmpfs none /sys/fs/bpf")
        switch = lab.dir / "jit"
        switch.write_text("0\n")
        lacks("BPF JIT", "WARN", f"mount --bind {switch} /proc/sys/net/core/bpf_jit_enable")
        lacks("XDP sockets", "FAIL", "", sys.executable, "-c", WITHOUT_XDP_SOCKETS)
        hidden = "for folder in /sys/module /lib/modules; do [ ! -d $folder ] || mount -t tmpfs none $folder; done"
        equal(doctor.findings_after(hidden)["WireGuard"], "FAIL", "no WireGuard, and the device is not seen")
        lacks("store", "FAIL", f"mount --bind {lab.store} {lab.store}; mount -o remount,bind,ro {lab.store}")
        lacks("store", "WARN", f"mount -t tmpfs -o size=16m none {lab.store}; head -c 15500000 /dev/zero > {lab.store}/x")
        # adjtimex(2), which changes nothing with modes = 0.
        clock = ctypes.create_string_buffer(256)
        state = ctypes.CDLL(None).adjtimex(clock)
        unsynchronised = state == 5 or bool(struct.unpack_from("=i", clock, 40)[0] & 0x40)  # TIME_ERROR, STA_UNSYNC
        equal(doctor.findings().get("clock"), "WARN" if unsynchronised else None, "the clock")


def test_what_the_process_lacks_is_found():
    with gateway() as (lab, device, daemon):
        daemon.start()
        doctor = Doctor(lab, daemon)
        other = lab.gateway.start("prlimit", "--memlock=65536:65536", "setpriv", "--reuid=65534", "--clear-groups",
                                  "--bounding-set=-all", "--inh-caps=-all", "sleep", "60")
        try:
            check(wait_for(lambda: os.readlink(f"/proc/{other.pid}/exe").endswith("sleep"), 10), "it is not there")
            status = lab.dir / "other.json"
            status.write_text(json.dumps({**daemon.fresh_status(), "pid": other.pid}))
            found = doctor.findings("--status-file", status)
            equal({name: found.get(f"wicketd: {name}") for name in ("capabilities", "memlock", "system calls")},
                  {"capabilities": "FAIL", "memlock": "WARN", "system calls": "WARN"}, found)
        finally:
            other.kill()
            other.wait()


def test_how_a_nic_is_served_is_looked_at():
    with gateway(queues=os.cpu_count() + 1, xdp="generic") as (lab, device, daemon):
        lab.gateway.run("ethtool", "-L", "in", "rx", os.cpu_count(), "tx", os.cpu_count())
        daemon.start()
        doctor = Doctor(lab, daemon)
        doctor.await_findings({"nic in: XDP mode": "WARN"})
        check("nic in: queues" not in doctor.findings(), doctor.findings())
        daemon.process.send_signal(signal.SIGSTOP)
        lab.gateway.run("ethtool", "-L", "in", "rx", os.cpu_count() + 1, "tx", os.cpu_count() + 1)
        doctor.await_findings({"nic in: queues": "WARN", "nic in: shards": "WARN"})
        daemon.process.send_signal(signal.SIGCONT)
        check(wait_for(lambda: "nic in: shards" not in doctor.findings(), 20), "it does not take the queue")


def test_what_the_gateway_says_of_itself_is_told():
    with gateway(device_extra="installed_max = 10") as (lab, device, daemon):
        import_fleet(lab, device, 12)
        daemon.start()
        blast(lab, device, "--clients", "12", "--count", "12", "--rate", "6", "--timeout", "1")
        Doctor(lab, daemon).await_findings({f"device {device.name}: installed_max": "WARN"})
    with gateway(device_extra="probation_max = 8") as (lab, device, daemon):
        clients = [Client(lab, device.key.public) for _ in range(5)]
        store(lab, device, *clients)
        daemon.start()
        daemon.fresh_status()
        doctor = Doctor(lab, daemon)
        blast(lab, device, "--mix", "bad-mac1", "--count", "40", "--rate", "40")
        doctor.await_findings({"clients' key": "WARN"})
        for client in clients[:4]:  # answered, and not confirmed
            client.send_initiation()
        doctor.await_findings({f"device {device.name}: probation_max": "WARN"})
        blast(lab, device, "--mix", "unknown", "--count", "6000", "--rate", "2000", "--timeout", "1")
        doctor.await_findings({"attack": "WARN"})
        # What comes until their silence is noticed fills the rings.
        flood = lab.client.start(*command(device, "--mix", "unknown", "--prepare", "150000", "--rate", "50000", "--count",
                                          "150000", "--timeout", "1", "--json", "-"), stdout=subprocess.DEVNULL)
        try:
            before = sum(daemon.fresh_status()["verdicts"].values())
            check(wait_for(lambda: sum(daemon.status()["verdicts"].values()) > before + 1000, 30), "no flood")
            with StoppedThread(daemon.process.pid, "in/0"), StoppedThread(daemon.process.pid, "in/1"):
                doctor.await_findings({"threads": "FAIL"})
        finally:
            flood.kill()
            flood.wait()
        doctor.await_findings({"nic in: rings": "WARN"})
        device.process.send_signal(signal.SIGSTOP)
        clients[4].send_initiation()
        doctor.await_findings({f"device {device.name}: answers": "FAIL"}, 30)
        device.process.send_signal(signal.SIGCONT)


def test_a_store_that_is_nearly_full_is_told_of():
    with gateway() as (lab, device, daemon):
        daemon.text = daemon.text.replace("[store]\n", "[store]\nbytes_max = 8388608\n")
        daemon.start()
        fleet = run(BIN / "wicket-blast", "--export", "ndjson", "--clients", "40000").stdout
        filled = lab.gateway.run(TOOLS / "wicket", "import", "--device", device.name, "--socket", daemon.control, "-",
                                 input=fleet, check=False)
        check(filled.returncode != 0 and "has reached its limit" in filled.stderr, filled.stderr)
        Doctor(lab, daemon).await_findings({"store's size": "WARN"})


if __name__ == "__main__":
    scenarios = {name: function for name, function in globals().items()
                 if name.startswith("test_") and function.__module__ == __name__}
    sys.exit(main(sys.argv[1:], scenarios))
