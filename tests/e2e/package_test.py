#!/usr/bin/python3
"""The Debian packages under a systemd of their own: installed, run, upgraded, removed, purged.

    scripts/vm 6.12 tests/e2e/package_test.py PACKAGES

PACKAGES is the folder that scripts/package fills. Changes the machine that it runs on, so it refuses to
run where that would stay.
"""
import json
import os
import re
import shutil
import ssl
import subprocess
import sys
import time
from http.client import HTTPSConnection
from pathlib import Path

OUTPUT = Path("/var/tmp/wicket-test.out")
END = re.compile(r"^(ok     |FAILED )", re.M)
KEY = "/etc/wireguard/wg0.key"
CLIENTS = 500
UNIT = """[Unit]
Description=The test of Wicket's packages
After=basic.target
[Service]
Type=oneshot
Environment=PATH={path}
ExecStart={python} {program} --inside {packages}
ExecStopPost=sh -c '[ "$SERVICE_RESULT" = success ] || echo FAILED $SERVICE_RESULT'
StandardOutput=append:{output}
StandardError=append:{output}
"""


def run(*command, check=True, timeout=100, **kwargs):
    # virtiofsd on the host keeps a descriptor open for each inode in the guest's cache, and runs out of them.
    if command[0] in ("dpkg", "systemctl", "wicket"):
        for _ in range(2):  # what the overlay holds, then what was below it
            Path("/proc/sys/vm/drop_caches").write_text("3\n")
    result = subprocess.run([str(word) for word in command], capture_output=True, text=True, timeout=timeout, **kwargs)
    if check and result.returncode != 0:
        raise RuntimeError(f"{' '.join(map(str, command))}: {result.returncode}\n{result.stdout}{result.stderr}")
    return result


def dpkg(*words):
    run("dpkg", *words, timeout=300)  # its scripts are slow in an emulated machine beside others


def wait_for(what, seconds):
    deadline = time.monotonic() + seconds
    while not (value := what()) and time.monotonic() < deadline:
        time.sleep(0.2)
    return value


def check(condition, what):
    if not condition:
        raise AssertionError(what)


# --- outside: a systemd as the first process of a PID namespace ----------------------------------------

def boot(packages):
    check(run("findmnt", "-no", "FSTYPE", "/").stdout.strip() == "overlay", "not in the VM: nothing is done")
    # A booting systemd empties /tmp, where all this may lie.
    home = Path("/opt/wicket-test")
    shutil.copytree(packages, home, ignore=shutil.ignore_patterns("*dbgsym*"))
    program = shutil.copy(__file__, home)
    unit = Path("/etc/systemd/system/wicket-test.service")
    unit.write_text(UNIT.format(path=os.environ["PATH"], python=sys.executable, program=program, packages=home,
                                output=OUTPUT))
    Path("/etc/machine-id").write_text("0" * 31 + "1\n")
    script = "mount -t proc proc /proc; mount -t tmpfs -o mode=755 run /run; " \
             "umount -R /sys/fs/cgroup 2>/dev/null; mount -t cgroup2 cgroup /sys/fs/cgroup; " \
             "mountpoint -q /sys/fs/bpf || mount -t bpf bpf /sys/fs/bpf; " \
             "exec /lib/systemd/systemd --system --unit=wicket-test.service --log-target=console --log-level=warning --show-status=no"
    machine = subprocess.Popen(["unshare", "--kill-child", "--fork", "--pid", "--mount", "--uts", "--ipc", "--cgroup",
                                "sh", "-c", f"mount --make-rprivate /; {script}"],
                               env={"PATH": os.environ["PATH"], "container": "wicket-test"})
    text = ""

    def ended():
        nonlocal text
        text = OUTPUT.read_text() if OUTPUT.exists() else ""
        return END.search(text) or machine.poll() is not None
    wait_for(ended, 900)
    time.sleep(1)  # the journal of a failure comes after it
    ended()
    print(text or "FAILED the machine did not come so far", flush=True)
    machine.kill()
    machine.wait()
    return 0 if re.search(r"^ok     ", text, re.M) else 1


# --- inside ----------------------------------------------------------------------------------------------

def unit_property(name, unit="wicketd"):
    return run("systemctl", "show", "-P", name, unit).stdout.strip()


def network():
    """A client behind a veth, and the kernel's WireGuard at both ends."""
    run("ip", "netns", "add", "client")
    run("ip", "link", "add", "eth0", "type", "veth", "peer", "name", "out", "netns", "client")
    run("ip", "address", "add", "192.0.2.1/24", "dev", "eth0")
    run("ip", "link", "set", "eth0", "up")
    run("ip", "-n", "client", "address", "add", "192.0.2.2/24", "dev", "out")
    run("ip", "-n", "client", "link", "set", "out", "up")
    os.makedirs("/etc/wireguard", exist_ok=True)
    Path(KEY).write_text(run("wg", "genkey").stdout)
    run("ip", "link", "add", "wg0", "type", "wireguard")
    run("wg", "set", "wg0", "private-key", KEY, "listen-port", "51820")
    run("ip", "address", "add", "10.0.0.1/8", "dev", "wg0")
    run("ip", "link", "set", "wg0", "up")
    public = run("wg", "show", "wg0", "public-key").stdout.strip()
    clients = []
    for number in (1, 2):
        key = Path(f"/run/client{number}.key")
        key.write_text(run("wg", "genkey").stdout)
        name = f"c{number}"
        run("ip", "-n", "client", "link", "add", name, "type", "wireguard")
        run("ip", "netns", "exec", "client", "wg", "set", name, "private-key", key, "peer", public, "endpoint",
            "192.0.2.1:51820", "allowed-ips", "10.0.0.1/32")
        run("ip", "-n", "client", "address", "add", f"10.1.0.{number}/32", "dev", name)
        run("ip", "-n", "client", "link", "set", name, "up")
        clients.append(run("wg", "pubkey", input=key.read_text()).stdout.strip())
    return clients


def ping(number, count=1, seconds=8):
    run("ip", "-n", "client", "route", "replace", "10.0.0.1/32", "dev", f"c{number}", "src", f"10.1.0.{number}")
    return run("ip", "netns", "exec", "client", "ping", "-n", "-q", "-c", count, "-i", "0.2", "-W", seconds, "-I",
               f"10.1.0.{number}", "10.0.0.1", check=False).returncode == 0


def network_face(packages):
    """wicket-edge, installed, set up as its document says, and asked."""
    deb, = Path(packages).glob("wicket-edge_*.deb")
    dpkg("--no-triggers", "-i", deb)
    home = Path("/etc/wicket-edge")
    (home / "edge.toml").write_text(Path("/usr/share/doc/wicket-edge/examples/edge.toml").read_text())
    run("openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-keyout",
        home / "key.pem", "-out", home / "cert.pem", "-days", "2", "-subj", "/CN=wicket", "-addext",
        "subjectAltName=IP:127.0.0.1")
    made = run("wicket-edge", "--new-token", "test", "read")
    (home / "tokens").write_text(made.stderr.splitlines()[-1] + "\n")
    for name in ("key.pem", "cert.pem", "tokens"):
        shutil.chown(home / name, "root", "wicket-edge")
        (home / name).chmod(0o640)
    run("wicket-edge", "--check", "--config", home / "edge.toml")
    run("systemctl", "start", "wicket-edge")
    connection = HTTPSConnection("127.0.0.1", 8443, timeout=30,
                                 context=ssl.create_default_context(cafile=home / "cert.pem"))

    def status(token):
        connection.request("GET", "/v1/status", headers={"Authorization": f"Bearer {token}"})
        answer = connection.getresponse()
        return answer.status, answer.read()
    code, text = status(made.stdout.strip())
    check(code == 200 and json.loads(text)["devices"][0]["name"] == "wg0", (code, text))
    # Before a wrong token, which ends the connection.
    connection.request("GET", "/v1/findings", headers={"Authorization": f"Bearer {made.stdout.strip()}"})
    findings = json.loads(connection.getresponse().read())["findings"]
    check(len(findings) > 8 and not [one for one in findings if one["grade"] == "FAIL"], findings)
    check(status("nonsense")[0] == 401, "a wrong token is taken")
    pid = unit_property("MainPID", "wicket-edge")
    rights = Path(f"/proc/{pid}/status").read_text()
    check(re.search(r"^CapEff:\s+0+$", rights, re.M) and re.search(r"^Seccomp_filters:\s+[2-9]", rights, re.M), rights)
    # Webhooks, to a receiver that is not there.
    hooks = Path("/etc/wicket-hook")
    (hooks / "hooks.toml").write_text(Path("/usr/share/doc/wicket-edge/examples/hooks.toml").read_text())
    (hooks / "billing.secret").write_text(run("wicket-hook", "--new-secret").stdout)
    shutil.chown(hooks / "billing.secret", "root", "wicket-hook")
    (hooks / "billing.secret").chmod(0o640)
    run("systemctl", "start", "wicket-hook")
    check(wait_for(lambda: "billing: watching" in run("journalctl", "-u", "wicket-hook", "-o", "cat").stdout, 30),
          run("journalctl", "-u", "wicket-hook", "-o", "cat").stdout)
    check(unit_property("ActiveState", "wicket-hook") == "active", "wicket-hook does not run")
    run("systemctl", "stop", "wicket-hook")
    run("systemctl", "reload", "wicket-edge")
    check(status(made.stdout.strip())[0] == 200, "the connection is lost by a reload")
    # An upgrade starts it again, and so does the manager when it dies; wicketd does not notice either.
    daemon = unit_property("MainPID")
    dpkg("--no-triggers", "-i", deb)
    check(unit_property("MainPID", "wicket-edge") not in ("0", pid), "the old edge runs on after an upgrade")
    pid = unit_property("MainPID", "wicket-edge")
    os.kill(int(pid), 9)
    check(wait_for(lambda: unit_property("MainPID", "wicket-edge") not in ("0", pid), 30), "a killed edge stays away")

    def served():
        connection.close()
        try:
            return status(made.stdout.strip())[0] == 200
        except OSError:
            return False
    check(wait_for(served, 30), "the edge that was started again does not serve")
    check(unit_property("MainPID") == daemon, "wicketd was started again with the edge")
    run("systemctl", "stop", "wicket-edge")
    dpkg("-P", "wicket-edge")
    check(not home.exists() and not hooks.exists(), "left after a purge")
    print("asked over the network, by a user without rights", flush=True)


def sessions():
    """The last handshake of each peer in the device."""
    lines = run("wg", "show", "wg0", "latest-handshakes").stdout.splitlines()
    return dict(line.split("\t") for line in lines)


def crowd():
    """500 clients in session, by the load generator. Returns: their keys."""
    fleet = run("wicket-blast", "--export", "ndjson", "--clients", CLIENTS, "--seed", "upgrade").stdout
    run("wicket", "import", "--device", "wg0", "-", input=fleet)
    keys = {json.loads(line)["public_key"] for line in fleet.splitlines()}
    public = run("wg", "show", "wg0", "public-key").stdout.strip()
    run("ip", "netns", "exec", "client", "wicket-blast", "--target", "192.0.2.1:51820", "--public-key", public,
        "--clients", CLIENTS, "--seed", "upgrade", "--mix", "new", "--rate", "20", "--count", CLIENTS, "--duration", "60", "--json", "-")

    def connected():
        known = sessions()
        return all(known.get(key, "0") != "0" for key in keys)
    check(wait_for(connected, 60), f"{sum(v != '0' for v in sessions().values())} of {CLIENTS} clients are in session")
    return keys


def scenario(packages):
    deb, = Path(packages).glob("wicket_*.deb")
    before, = Path(packages).glob("before/wicket_*.deb")
    tools, = Path(packages).glob("wicket-tools_*.deb")
    dpkg("--no-triggers", "-i", before, tools)
    check(run("getent", "passwd", "wicket").stdout, "no user")
    check(unit_property("UnitFileState") == "enabled", unit_property("UnitFileState"))
    print("installed", flush=True)
    clients = network()
    example = Path("/usr/share/doc/wicket/examples/wicket.toml").read_text()
    config = 'log_level = "debug"\n' + example
    Path("/etc/wicket.toml").write_text(config)
    run("wicketd", "--check", "--config", "/etc/wicket.toml")
    run("systemctl", "start", "wicketd")
    run("wicket", "status", "--wait", "60")
    check(re.match(r"serves wg0 \(0 installed\) on eth0", unit_property("StatusText")), unit_property("StatusText"))
    for number, key in enumerate(clients, 1):
        run("wicket", "peer", "add", key, "--allowed-ips", f"10.1.0.{number}/32")
    check(ping(1), "the first client does not connect")
    pid = int(unit_property("MainPID"))
    owner = int(re.search(r"^Uid:\s+(\d+)", Path(f"/proc/{pid}/status").read_text(), re.M)[1])
    check(owner == int(run("id", "-u", "wicket").stdout), f"it runs as {owner}")
    print("served, by a user of its own", flush=True)
    doctor = run("wicket", "doctor", check=False)
    check("[FAIL]" not in doctor.stdout, doctor.stdout)
    run("systemctl", "reload", "wicketd")
    Path("/etc/wicket.toml").open("a").write("nonsense = 1\n")
    check(run("systemctl", "reload", "wicketd", check=False).returncode != 0, "a bad file is taken")
    Path("/etc/wicket.toml").write_text(config)
    check(wait_for(lambda: unit_property("ActiveState") == "active", 30), unit_property("ActiveState"))
    print("reloaded, and told of a bad file", flush=True)
    # Entries of the journal about a device and a peer.
    told = run("journalctl", "-o", "cat", "WICKET_DEVICE=wg0").stdout
    check("wg0: " in told, f"the journal has nothing of wg0: {told}")
    told = run("journalctl", "-o", "cat", f"WICKET_PEER={clients[0]}").stdout
    check("proven from" in told, f"the journal has nothing of the first client: {told}")
    # During an upgrade sessions go on, and newcomers are served after it.
    keys = crowd()
    known = {key: at for key, at in sessions().items() if key in keys}
    dpkg("--no-triggers", "-i", deb)
    check(int(unit_property("MainPID")) not in (0, pid), "the old daemon runs on")
    after = sessions()
    check({key: after.get(key) for key in keys} == known, "sessions were lost by the upgrade")
    print(f"upgraded with {len(known)} clients in session", flush=True)
    check(ping(1, count=3), "a session was lost by the upgrade")
    run("wicket", "status", "--wait", "60")
    check(ping(2), "a newcomer stays out after the upgrade")
    print("upgraded", flush=True)
    network_face(packages)
    pid = int(unit_property("MainPID"))
    os.kill(pid, 9)
    check(wait_for(lambda: int(unit_property("MainPID")) not in (0, pid), 30), "it is not started again")
    run("wicket", "status", "--wait", "60")
    check(ping(1), "a session was lost by a crash")
    print("started again after a crash", flush=True)
    dpkg("-r", "wicket")
    check("prog/xdp" not in run("ip", "link", "show", "eth0").stdout, "the XDP program is left")
    check(ping(1), "a session was lost by the removal")
    check(Path("/var/lib/wicket/data.mdb").exists(), "a removal has deleted the store")
    dpkg("--no-triggers", "-i", deb)
    check(unit_property("UnitFileState") == "enabled", "not enabled when it is installed again")
    run("systemctl", "start", "wicketd")
    run("wicket", "status", "--wait", "60")
    check(ping(1), "a session was lost by installing it again")
    print("removed, and installed again", flush=True)
    dpkg("-r", "wicket")
    dpkg("-P", "wicket", "wicket-tools")
    left = [path for path in ("/var/lib/wicket", "/etc/wicket.toml", "/usr/sbin/wicketd",
                              "/lib/systemd/system/wicketd.service") if os.path.exists(path)]
    check(not left, f"left after a purge: {left}")
    print("removed and purged")


def inside(packages):
    try:
        scenario(packages)
        print("ok     test_the_packages_under_systemd", flush=True)
    except BaseException as error:  # noqa: BLE001: told outside
        print(f"FAILED test_the_packages_under_systemd\n{error}\n", flush=True)
        print(run("journalctl", "--no-pager", "_TRANSPORT=syslog", "+", "_TRANSPORT=journal", "+", "_TRANSPORT=stdout", "-n", "40", check=False).stdout, flush=True)
        return 1
    return 0


if __name__ == "__main__":
    if sys.argv[1:2] == ["--inside"]:
        sys.exit(inside(sys.argv[2]))
    sys.exit(boot(os.path.realpath(sys.argv[1])))
