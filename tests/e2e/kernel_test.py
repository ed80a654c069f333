#!/usr/bin/python3
"""The tests inside the VM: the core scenarios with the kernel's WireGuard on both sides, and those
that need modules or BPF program types which a host may lack.

    scripts/vm 6.12 tests/e2e/kernel_test.py [SCENARIO...]
"""
import ctypes
import fcntl
import json
import mmap
import os
import socket
import struct
import subprocess
import sys
import threading
import time

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import flood_test  # noqa: E402
import gateway_test  # noqa: E402
from blast_test import BLAST, blast, import_fleet  # noqa: E402
from gateway_test import check, equal, gateway, main, store  # noqa: E402
from client import Client  # noqa: E402
from control import Control  # noqa: E402
from doctor_test import Doctor  # noqa: E402
from trouble_test import start_with_two_sessions  # noqa: E402
from lab import BIN, GATEWAY4, PORT, SLOW, run, wait_for  # noqa: E402

# What may differ by kernel: its answer, both directions of the packet path, the device's reports.
CORE = [
    "test_first_packet_connects_over_ipv4_and_ipv6",
    "test_clients_answer_a_cookie",
    "test_several_queues_share_the_work",
    "test_a_thousand_clients_at_once",
    "test_raw_socket_reinjection",
    "test_generic_xdp_falls_back_to_the_raw_socket",
    "test_role_inversion",
    "test_nic_removed_and_back",
    "test_device_removed_and_back",
]
# The others take long on emulated kernels, so each kernel runs half of them.
REST = {
    "6.1": [
        "test_preshared_key",
        "test_unknown_key_meets_silence",
        "test_replay_before_and_after_eviction",
        "test_roaming_client",
        "test_device_key_and_port_changed_while_running",
        "test_installed_peers_rekey_without_the_daemon",
        "test_what_changed_in_the_store_while_nobody_looked_reaches_the_device",
        "test_a_nic_that_is_away_makes_nothing_wait_for_rtnl",
    ],
    "6.12": [
        "test_a_source_has_a_quarter_of_the_free_places",
        "test_a_forged_static_key_installs_nothing",
        "test_a_peer_removed_by_somebody_else_comes_back",
        "test_restarts_under_load",
        "test_ten_thousand_leave_while_others_come",
        "test_sessions_outlive_a_held_rtnl",
        "test_doctor_finds_threaded_napi",
    ],
}


def test_vlan_frames():
    with gateway() as (lab, device, daemon):
        lab.gateway.ip("link", "add", "link", "in", "name", "v9", "type", "vlan", "id", "9")
        daemon.start()
        check("in: VLANs are on it" in daemon.log_text, "no warning of offload")
        Doctor(lab, daemon).await_findings({"nic in: VLAN offload": "WARN"})
        equal(daemon.stop(), 0, "exit status")
        warnings = daemon.log_text.count("VLANs are on it")
        # Without offload the tag is in the frame, where XDP sees it.
        for ns, nic, address in ((lab.gateway, "in", "198.51.100.1"),
                                 (lab.client, "out", "198.51.100.2")):
            ns.run("ethtool", "-K", nic, "txvlan", "off", "rxvlan", "off")
            ns.ip("link", "add", "link", nic, "name", "v10", "type", "vlan", "id", "10")
            ns.ip("address", "add", f"{address}/24", "dev", "v10")
            ns.ip("link", "set", "v10", "up")
        client = lab.client_device(device.key.public64, endpoint=f"198.51.100.1:{PORT}")
        lab.import_peers([{"public_key": client.key.public64, "allowed_ips": ["10.1.0.1"]}],
                         device.name)
        daemon.start()
        equal(daemon.log_text.count("VLANs are on it"), warnings, "warnings")
        check(lab.ping(seconds=1), "a client behind a VLAN did not connect at once")
        equal(daemon.counts()["reinjected"], 1, "reinjected")
        # The generator makes tagged frames itself; its answers come tagged.
        daemon.stop()
        import_fleet(lab, device, 20)
        daemon.start()
        target = ("--target", f"198.51.100.1:{PORT}", "--public-key", device.key.public64, "--via", "xdp",
                  "--vlan", "10", "--clients", "20", "--count", "20", "--rate", "20", "--json", "-",
                  "--i-own-this-target")
        result = lab.client.run(BLAST, *target, "--interface", "out", check=False)
        check(result.stdout, result.stderr)
        report = json.loads(result.stdout)
        equal((report["sent"], report["answered"]), (20, 20), report)
        twice = lab.client.run(BLAST, *target, check=False)
        check("tags by itself" in twice.stderr, twice.stderr)


def test_another_program_shares_the_hook():
    """X17a: through libxdp's dispatcher, before us and after us."""
    with gateway() as (lab, device, daemon):
        clients = [Client(lab, device.key.public) for _ in range(3)]
        store(lab, device, *clients)
        environment = {**os.environ, "LIBXDP_BPFFS": str(lab.bpffs)}
        other = BIN.parent / "xdp" / "reinject.bpf.o"
        lab.gateway.run("xdp-loader", "load", "-m", "native", "in", other, env=environment)
        daemon.start()
        check(daemon.status()["nics"][0]["shared"], "not beside the other program")
        check(clients[0].connect() is not None, "no session")
        daemon.stop()
        daemon.start()
        check("taken over" in daemon.log_text, "not taken over")
        check(clients[1].connect() is not None, "no session after the restart")
        listed = lab.gateway.run("xdp-loader", "status", "in", env=environment).stdout
        equal((listed.count(" steer "), listed.count(" reinject ")), (1, 1), listed)
        daemon.stop()
        equal(daemon.detach().returncode, 0, "detach")
        listed = lab.gateway.run("xdp-loader", "status", "in", env=environment).stdout
        check(" reinject " in listed and " steer " not in listed, listed)


class KernelCookies:
    """Counts the cookies that the kernel's WireGuard asks for, which it does only under load."""

    EVENTS = "/sys/kernel/tracing"

    def __init__(self):
        if not os.path.exists(self.EVENTS + "/kprobe_events"):
            run("mount", "-t", "tracefs", "tracefs", self.EVENTS)
        with open(self.EVENTS + "/kprobe_events", "w") as file:
            file.write("p:wicket_cookies wireguard:wg_packet_send_handshake_cookie")
        with open(self.EVENTS + "/events/kprobes/wicket_cookies/enable", "w") as file:
            file.write("1")

    def count(self):
        with open(self.EVENTS + "/kprobe_profile") as file:
            return int(file.read().split()[1])


def test_the_kernel_is_never_driven_under_load():
    """Packets are given back no faster than the kernel answers: it asks nobody for a cookie."""
    customers = 1500
    with gateway(log_level="info") as (lab, device, daemon):
        import_fleet(lab, device, customers)
        daemon.start()
        check("served as fast as it answers" in daemon.log_text, daemon.log_text)
        cookies = KernelCookies()
        report = blast(lab, device, "--clients", customers, "--prepare", customers, "--rate", 3000,
                       "--count", customers, "--duration", 60, "--retries", 9, "--mix", "cookie")
        counts = daemon.counts()
        print(f"  {report['answered']} of {report['sent']} answered, held back for {counts['held_back']} ms")
        check(report["answered"] >= 0.9 * customers, report)
        check(counts["reinjected"] >= report["answered"], counts)
        equal(counts["by_time"], 0, "given back at a guessed rate")
        equal(cookies.count(), 0, "cookies of the kernel")


def test_a_kernel_that_does_not_tell_is_paced_by_time():
    """Without BTF of WireGuard, its handshake backlog is unknown."""
    with gateway() as (lab, device, daemon):
        client = Client(lab, device.key.public)
        store(lab, device, client)
        daemon.wrapper = ["unshare", "-m", "sh", "-c", 'mount -t tmpfs none /sys/kernel/btf && exec "$@"', "sh"]
        daemon.start()
        check("served as fast as this machine should answer" in daemon.log_text, daemon.log_text)
        check(client.connect() is not None, "no session")


class HeldRtnl:
    """Holds the kernel's lock of all network settings, as a driver does that waits for its firmware.

    A question about an interface is answered under it, into memory whose second page is missing:
    the page comes when this ends [userfaultfd(2)].
    """

    SYS_USERFAULTFD, UFFDIO_API, UFFDIO_REGISTER, MISSING = 323, 0xC018AA3F, 0xC020AA00, 1
    SIOCETHTOOL, GCHANNELS = 0x8946, 0x3C  # [linux/sockios.h, linux/ethtool.h]

    def __enter__(self):
        run("ip", "link", "add", "held0", "type", "veth", "peer", "name", "held1")
        libc = ctypes.CDLL(None, use_errno=True)
        page = mmap.PAGESIZE
        self.memory = mmap.mmap(-1, 2 * page)
        self.memory[page - 4:page] = struct.pack("=I", self.GCHANNELS)
        address = ctypes.addressof(ctypes.c_char.from_buffer(self.memory))
        self.faults = libc.syscall(self.SYS_USERFAULTFD, os.O_CLOEXEC)
        check(self.faults >= 0, f"userfaultfd: errno {ctypes.get_errno()}")
        fcntl.ioctl(self.faults, self.UFFDIO_API, struct.pack("=QQQ", 0xAA, 0, 0))
        fcntl.ioctl(self.faults, self.UFFDIO_REGISTER,
                    struct.pack("=QQQQ", address + page, page, self.MISSING, 0))
        request = ctypes.create_string_buffer(struct.pack("=16sQ16x", b"held0", address + page - 4))
        asked = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        libc.ioctl.argtypes = [ctypes.c_int, ctypes.c_ulong, ctypes.c_void_p]
        self.thread = threading.Thread(
            target=lambda: (libc.ioctl(asked.fileno(), self.SIOCETHTOOL, request), asked.close()))
        self.thread.start()
        time.sleep(0.5)
        check(self.thread.is_alive(), "the question was answered")
        return self

    def __exit__(self, *exception):
        os.close(self.faults)
        self.thread.join()
        run("ip", "link", "del", "held0")


def test_sessions_outlive_a_held_rtnl():
    """Every call to a device waits, and so does every question about an interface."""
    held_s = 70
    with gateway() as (lab, device, daemon):
        _, clients = start_with_two_sessions(lab, device, daemon, 2)

        def roams(what):
            roamed = Client(lab, device.key.public, key=clients[0].key)
            check(wait_for(lambda: roamed.connect(seconds=1) is not None, 5), what)
            check(lab.ping(seconds=3), "data is lost")
        oldest = 0.0
        with HeldRtnl():
            began = time.monotonic()
            check(wait_for(lambda: "the device does not answer" in daemon.log_text, 10), "the hang is not noticed")
            roams("the rekey of a peer that roamed is lost")
            control = Control(daemon, device)
            check(wait_for(lambda: Doctor.bad(control.call("GET", "/v1/findings")).get("look") == "FAIL", 20, every=1),
                  "nobody is told that questions about interfaces are not answered")
            while time.monotonic() < began + held_s:
                oldest = max(oldest, time.time() - json.loads(daemon.status_file.read_text())["written"] / 1000)
                time.sleep(0.2)
            roams("a rekey after a minute is lost")
            check(daemon.process.poll() is None, "the daemon has ended")
        print(f"  the oldest status: {oldest:.1f} s")
        check(oldest < 2 * SLOW, f"a status was {oldest:.1f} s old")
        check(wait_for(lambda: "the device answers again" in daemon.log_text, 20), "it stays away")
        check(wait_for(lambda: clients[1].connect(seconds=1) is not None, 10), "a newcomer stays out afterwards")
        check(lab.ping(seconds=3), "a session was lost")


def test_doctor_finds_threaded_napi():
    with gateway() as (lab, device, daemon):
        run("ip", "link", "add", "wgd0", "type", "wireguard")  # in the network namespace whose /sys is mounted
        try:
            run("wg", "set", "wgd0", "peer", device.key.public64)  # NAPI belongs to peers
            with open("/sys/class/net/wgd0/threaded", "w") as file:
                file.write("1")
            daemon.config.write_text(daemon.text.replace(f'name = "{device.name}"', 'name = "wgd0"'))
            equal(Doctor(lab, daemon).findings_after("").get("device wgd0: threaded NAPI"), "WARN", "threads for each peer")
        finally:
            run("ip", "link", "del", "wgd0")


def test_a_nic_that_is_away_makes_nothing_wait_for_rtnl():
    """It is tried again and again, and each try needs the lock."""
    with gateway() as (lab, device, daemon):
        lab.gateway.ip("link", "set", "dev", "in", "xdpdrv", "obj", BIN.parent / "bench" / "bare.bpf.o", "sec", "xdp_drop")
        daemon.start()
        check(wait_for(lambda: daemon.status()["nics"][0]["away_reason"], 10), "no reason")
        oldest = 0.0
        with HeldRtnl():
            began = time.monotonic()
            while time.monotonic() < began + 20:
                oldest = max(oldest, time.time() - json.loads(daemon.status_file.read_text())["written"] / 1000)
                time.sleep(0.2)
        print(f"  the oldest status: {oldest:.1f} s")
        check(oldest < 2 * SLOW, f"a status was {oldest:.1f} s old")
        lab.gateway.ip("link", "set", "dev", "in", "xdpdrv", "off")
        check(wait_for(lambda: daemon.status()["nics"][0]["xdp_mode"] == "native", 15), "never served")


def binaries():
    """The C++ suites that drive the kernel's own interfaces."""
    failed = 0
    for name in ("steer_test", "steering_test", "wgdev_device_test", "backlog_test"):
        result = subprocess.run([BIN / name, "--gtest_brief=0"], capture_output=True, text=True,
                                env={**os.environ, "WICKET_PACKETS": "100000"})
        for line in result.stdout.splitlines():
            if line.startswith("[       OK ]"):
                print("ok     " + line[13:])
            if line.startswith("[  FAILED  ]") and "(" in line:
                print("FAILED " + line[13:])
                failed += 1
        if result.returncode != 0:
            print(result.stdout[-3000:] + result.stderr[-1000:])
            failed += not failed
    return failed > 0


if __name__ == "__main__":
    kernel = run("uname", "-r").stdout.strip()
    print("kernel " + kernel, flush=True)
    everywhere = {name: vars(gateway_test)[name] for name in CORE}
    for scenario in (test_vlan_frames, test_the_kernel_is_never_driven_under_load,
                     test_a_kernel_that_does_not_tell_is_paced_by_time,
                     flood_test.test_gateway_and_device_ask_for_a_cookie_each,
                     test_another_program_shares_the_hook):
        everywhere[scenario.__name__] = scenario
    rest = {name: {**vars(gateway_test), **globals()}[name] for names in REST.values() for name in names}
    names, bad = sys.argv[1:], False
    if not names:
        bad = binaries()
        names = list(everywhere) + REST.get(".".join(kernel.split(".")[:2]), list(rest))
    sys.exit(main(names, everywhere | rest) or bad)
