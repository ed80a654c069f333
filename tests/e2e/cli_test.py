#!/usr/bin/python3
"""The command line by itself: no rights, no network.

Run all scenarios, or those named as arguments.
"""
import json
import os
import re
import socket
import struct
import subprocess
import sys
import tempfile
from pathlib import Path
from random import Random

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from gateway_test import check, equal, main  # noqa: E402
from lab import TOOLS  # noqa: E402
from noise import Handshake, Key, StaticOnlyForgery  # noqa: E402

DATA = Path(__file__).resolve().parents[1] / "data"


def wicket(*arguments, text=None):
    return subprocess.run([TOOLS / "wicket", *map(str, arguments)], input=text, capture_output=True,
                          text=True, timeout=60)


def store_of(directory, *peers):
    path = Path(directory) / "store"
    result = wicket("import", "--offline", "--store", path, "--device", "wg0", "-",
                    text="".join(json.dumps(peer) + "\n" for peer in peers))
    equal(result.returncode, 0, result.stderr)
    return path


def exported(store, *arguments):
    result = wicket("export", "--offline", "--store", store, *arguments)
    equal(result.returncode, 0, result.stderr)
    return result.stdout


def captured():
    """The first handshake of tests/data/handshakes.txt."""
    fields = {}
    for line in (DATA / "handshakes.txt").read_text().splitlines():
        name, separator, value = line.partition(" = ")
        if separator and name not in fields:
            fields[name] = value
    return fields


def explain(*arguments):
    result = wicket("explain", "--json", *arguments)
    equal(result.returncode, 0, result.stderr)
    return json.loads(result.stdout)["packets"]


def test_import_and_export_round_trip():
    with tempfile.TemporaryDirectory() as directory:
        peer = {"public_key": Key().public64, "device": "wg3",
                "allowed_ips": ["10.0.0.1/32", "fd00::/64"], "preshared_key": Key().private64,
                "persistent_keepalive": 25, "created_at": "2024-01-01T00:00:00Z",
                "expires_at": "2040-01-01T00:00:00Z", "pinned": True, "labels": {"site": "a"}}
        store = store_of(directory, peer, {"public_key": Key().public64})
        lines = [json.loads(line) for line in exported(store).splitlines()]
        check(peer in lines, lines)
        again = Path(directory) / "again"
        equal(wicket("import", "--offline", "--store", again, "-", text=exported(store)).returncode, 0, "import")
        equal(exported(again), exported(store), "a second export")
        conf = exported(store, "--format", "conf", "--device", "wg3")
        result = wicket("import", "--offline", "--store", Path(directory) / "conf", "--device", "wg3", "-", text=conf)
        check("imported 1 peers" in result.stdout, result.stdout + result.stderr)
        output = Path(directory) / "out"
        output.touch(0o644)
        equal(wicket("export", "--offline", "--store", store, "-o", output).returncode, 0, "export to a file")
        equal(output.stat().st_mode & 0o777, 0o600, "mode of a file with preshared keys")


def test_a_bad_line_is_named_and_nothing_is_written():
    with tempfile.TemporaryDirectory() as directory:
        store = store_of(directory, {"public_key": Key().public64, "allowed_ips": ["10.0.0.1"]})
        before = exported(store)
        good = [json.dumps({"public_key": Key().public64}) for _ in range(3)]
        taken = json.dumps({"public_key": Key().public64, "allowed_ips": ["10.0.0.1/32"]})
        for bad, expected in (("{", "line 3: not JSON"),
                              ('{"public_key":"short"}', 'line 3: public_key: found "short"'),
                              (taken, "line 3: 10.0.0.1/32 on wg0 belongs to peer")):
            text = "\n".join(good[:2] + [bad] + good[2:]) + "\n"
            result = wicket("import", "--offline", "--store", store, "--device", "wg0", "-", text=text)
            equal(result.returncode, 1, "exit status")
            check(expected in result.stderr and "nothing was imported" in result.stderr, result.stderr)
            equal(exported(store), before, "the store")
        equal(wicket("import", "--offline", "--store", store, "/nonexistent").returncode, 2, "no such file")
        equal(wicket("import", "--offline", "--store", store, directory).returncode, 2, "a folder")
        check("--device" in wicket("import", "--offline", "--store", store, "-", text=good[0]).stderr, "no device")
        equal(wicket("export", "--offline", "--store", Path(directory) / "none").returncode, 1, "no store")
        equal(wicket("nonsense").returncode, 2, "unknown command")
        equal(wicket().returncode, 2, "no command")


def test_explain_the_captured_handshake():
    fields = captured()
    with tempfile.TemporaryDirectory() as directory:
        key = Path(directory) / "key"
        key.write_text(fields["responder_private"] + "\n")
        packet, = explain("--hex", fields["initiation"], "--private-key-file", key)
        equal({name: packet[name] for name in
               ("type", "mac1_valid", "static_public_key", "timestamp", "proven", "verdict")},
              {"type": "initiation", "mac1_valid": True,
               "static_public_key": fields["initiator_public"], "timestamp": fields["timestamp"],
               "proven": True, "verdict": "proven"}, "the captured initiation")
        packet, = explain("--hex", fields["response"], "--private-key-file", key)
        equal((packet["type"], packet["proven"]), ("response", False), "the captured response")
        store = store_of(directory, {"public_key": fields["initiator_public"]})
        packet, = explain("--hex", fields["initiation"], "--private-key-file", key, "--store", store)
        equal((packet["stored"], packet["timestamp_newer"]), (True, True), "stored, newer")
        packet, = explain("--hex", fields["initiation"], "--private-key-file", key, "--store", store,
                          "--device", "wg9")
        equal((packet["stored"], packet["verdict"]), (False, "unknown_peer"), "another device")
        other = Path(directory) / "other"
        other.write_text(Key().private64)
        packet, = explain("--hex", fields["initiation"], "--private-key-file", other)
        equal((packet["mac1_valid"], packet["static_public_key"], packet["verdict"]),
              (False, None, "bad_mac1"), "another key")
        text = wicket("explain", "--hex", fields["initiation"], "--private-key-file", key).stdout
        check(f"claims to be {fields['initiator_public']}" in text and "proven" in text, text)


def test_explain_a_capture():
    gateway, client = Key(), Key()

    def ipv4(payload, port=51820):
        udp = struct.pack(">HHHH", 4000, port, 8 + len(payload), 0) + payload
        return struct.pack(">BBHHHBBH4s4s", 0x45, 0, 20 + len(udp), 0, 0, 64, 17, 0,
                           socket.inet_aton("192.0.2.9"), socket.inet_aton("192.0.2.1")) + udp

    good = Handshake(client, gateway.public).message
    forged = StaticOnlyForgery(client.public, gateway.public).message
    packets = [ipv4(good), ipv4(forged), ipv4(good[:-1]), ipv4(b"\4\0\0\0" + bytes(28)),
               ipv4(b"hello"), b"\x45" + bytes(30)]
    expected = [("initiation", "proven"), ("initiation", "not_proven"),
                ("invalid", "not_an_initiation"), ("data", "not_an_initiation"),
                ("other", "not_an_initiation"), ("other", "not_an_initiation")]
    ethernet = bytes(12) + b"\x08\0"
    with tempfile.TemporaryDirectory() as directory:
        key = Path(directory) / "key"
        key.write_text(gateway.private64)
        for link, prefix in ((1, ethernet), (1, bytes(12) + b"\x81\0\0\5\x08\0"), (101, b""),
                             (113, bytes(14) + b"\x08\0"), (0, b"\2\0\0\0")):
            capture = Path(directory) / "capture"
            with open(capture, "wb") as file:
                file.write(struct.pack("<IHHiIII", 0xA1B2C3D4, 2, 4, 0, 0, 65535, link))
                for packet in packets:
                    frame = prefix + packet
                    file.write(struct.pack("<IIII", 0, 0, len(frame), len(frame)) + frame)
            result = explain("--pcap", capture, "--private-key-file", key)
            equal([(one["type"], one["verdict"]) for one in result], expected, f"link type {link}")
            equal(result[1]["static_public_key"], client.public64, "the forged claim")
        # Unusable input, each with exit status 2 and a reason.
        capture.write_bytes(b"not a capture")
        for arguments in (("--pcap", capture), ("--pcap", "/nonexistent"), ("--hex", "xyz"),
                          ("--hex", "123"), ("--hex", ""), ()):
            result = wicket("explain", *arguments, "--private-key-file", key)
            equal(result.returncode, 2, f"{arguments}: {result.stderr}")
            check(result.stderr or result.stdout, "no reason")
        bad = Path(directory) / "bad"
        bad.write_text("secretsecret")
        result = wicket("explain", "--hex", "00", "--private-key-file", bad)
        equal(result.returncode, 2, "a bad key")
        check("secretsecret" not in result.stderr, "the key file's content is shown")


def test_status_without_a_daemon():
    with tempfile.TemporaryDirectory() as directory:
        missing = Path(directory) / "status.json"
        result = wicket("status", "--status-file", missing, "--pin-dir", directory)
        equal(result.returncode, 1, "exit status")
        check("does not run" in result.stderr, result.stderr)
        missing.write_text("{}")
        result = wicket("status", "--status-file", missing)
        equal(result.returncode, 1, "exit status")
        check("not a status file" in result.stderr, result.stderr)


def test_reload_without_a_daemon():
    with tempfile.TemporaryDirectory() as directory:
        path = Path(directory) / "control.sock"
        result = wicket("reload", "--socket", path)
        equal((result.returncode, result.stdout), (1, ""), "without a socket")
        check(str(path) in result.stderr and "No such file" in result.stderr, result.stderr)
        with socket.socket(socket.AF_UNIX) as dead:  # as a daemon leaves it that was killed
            dead.bind(str(path))
        result = wicket("reload", "--socket", path)
        equal((result.returncode, result.stdout), (1, ""), "nobody listens")
        check(str(path) in result.stderr and "refused" in result.stderr, result.stderr)


# --- peers, without a daemon ----------------------------------------------------

def test_peer_commands_work_offline_and_say_so():
    with tempfile.TemporaryDirectory() as directory:
        key, other, psk = Key().public64, Key().public64, Key().private64
        store = store_of(directory, {"public_key": other, "allowed_ips": ["10.0.0.9"],
                                     "preshared_key": psk})
        where = "--store", store, "--socket", f"{directory}/none.sock"
        added = wicket("peer", "add", key, *where, "--device", "wg0", "--allowed-ips",
                       "10.0.0.1, fd00::1", "--label", "team=a", "--ttl", "1000", "--json")
        equal(added.returncode, 0, added.stderr)
        check(f"offline" in added.stderr, "it does not say that it works offline")
        equal(json.loads(added.stdout)["labels"], {"team": "a"}, "labels")
        shown = wicket("peer", "show", key, *where)
        for text in f"peer: {key}", "allowed ips: 10.0.0.1/32, fd00::1/128", "state: stored":
            check(text in shown.stdout, f"{text} is not in\n{shown.stdout}")
        listed = wicket("peer", "ls", *where, "--label", "team=a", "--json")
        equal([json.loads(line)["public_key"] for line in listed.stdout.splitlines()], [key], "ls")
        dump = wicket("peer", "ls", *where, "--dump").stdout
        check(f"wg0\t{other}\t{psk}\t(none)\t10.0.0.9/32\t0\t0\t0\toff\n" in dump, dump)
        check(psk not in wicket("peer", "show", other, *where).stdout, "show prints a secret")
        why = wicket("peer", "why", key, *where)
        check("no proven initiation of it is known" in why.stdout, why.stdout)
        check("`wg show` tells" in why.stdout, "it claims to know what is in the device")
        equal(wicket("peer", "why", Key().public64, *where, "--device", "wg0").returncode, 1, "why")
        taken = wicket("peer", "add", Key().public64, *where, "--device", "wg0", "--allowed-ips",
                       "10.0.0.1")
        equal(taken.returncode, 1, "a taken address")
        again = wicket("peer", "add", key, *where, "--allowed-ips", "10.0.0.2")
        check(again.returncode == 1 and "--replace" in again.stderr, f"a stored peer: {again.stderr}")
        check("team = a" in wicket("peer", "show", key, *where).stdout, "a stored peer was replaced")
        again = wicket("peer", "add", key, *where, "--allowed-ips", "10.0.0.2", "--replace", "--expires-at",
                       "2001-01-01T00:00:00Z")
        check(again.returncode == 0 and "expired already" in again.stderr, again.stderr)
        check("10.0.0.2/32\n" in wicket("peer", "show", key, *where).stdout, "what replaced it")
        check("belongs to peer" in taken.stderr, taken.stderr)
        equal(wicket("peer", "add", "AAAA", *where).returncode, 2, "no key")
        removed = wicket("peer", "rm", key, *where)
        equal((removed.returncode, "leaves when wicketd starts" in removed.stdout), (0, True), "rm")
        equal(wicket("peer", "show", key, *where).returncode, 2, "shown after rm, without a device")
        equal(wicket("peer", "rm", key, *where, "--device", "wg0").returncode, 1, "rm again")


def test_client_configuration_and_qr_code():
    with tempfile.TemporaryDirectory() as directory:
        key, psk, device = Key(), Key().private64, Key().public64
        store = store_of(directory, {"public_key": key.public64, "allowed_ips": ["10.0.0.9"],
                                     "preshared_key": psk})
        private = Path(directory) / "key"
        private.write_text(key.private64 + "\n")
        command = ["conf", key.public64, "--store", store, "--socket", "/nonexistent",
                   "--endpoint", "gw.example:51820", "--device-public-key", device,
                   "--private-key-file", private]
        conf = wicket(*command)
        equal(conf.returncode, 0, conf.stderr)
        equal(conf.stdout, f"[Interface]\nPrivateKey = {key.private64}\nAddress = 10.0.0.9/32\n\n"
                           f"[Peer]\nPublicKey = {device}\nPresharedKey = {psk}\n"
                           "AllowedIPs = 0.0.0.0/0\nEndpoint = gw.example:51820\n", "conf")
        chosen = wicket(*command, "--allowed-ips", "10.0.0.0/8,fd00::/8", "--persistent-keepalive", "25").stdout
        check("AllowedIPs = 10.0.0.0/8, fd00::/8\n" in chosen and "PersistentKeepalive = 25\n" in chosen, chosen)
        for wrong in (["--allowed-ips", "10.0.0.0/33"], ["--persistent-keepalive", "65536"], ["--dns", "a\nb"],
                      ["--endpoint", "gw:99999"], ["--endpoint", "g w"], ["--endpoint", "300.1.1.1:5"]):
            refused = wicket(*command, *wrong)
            check(refused.returncode == 2 and wrong[0] in refused.stderr, f"{wrong}: {refused.stderr}")
        lost = wicket(*command[:-1], Path(directory) / "key2").stderr
        check("key2): No such file" in lost, lost)
        equal(wicket(*command[:-2], "--qr").returncode, 2, "a picture of a configuration without its key")
        picture = wicket(*command, "--qr")
        equal(picture.returncode, 0, picture.stderr)
        widths = {len(line) for line in picture.stdout.splitlines()}
        check(len(widths) == 1, f"the QR code is not a rectangle: {widths}")


def test_a_plan_tells_what_breaks_first():
    asked = ("plan", "--peers", "5e6", "--active", "50000", "--newcomers", "2000", "--cores", "4")
    text = wicket(*asked)
    check(text.returncode == 0 and "1.42 GB" in text.stdout and "First limit reached: installed_max" in text.stdout,
          text.stdout + text.stderr)
    plan = json.loads(wicket(*asked, "--json").stdout)
    equal(next(need["value"] for need in plan["needs"] if need["what"] == "store"), 1.42e9, "bytes of the store")
    shares = [limit["used"] / limit["most"] for limit in plan["limits"]]
    equal(shares, sorted(shares, reverse=True), "the fullest first")
    refused = wicket("plan", "--peers", "10", "--active", "11", "--newcomers", "1")
    check(refused.returncode == 2 and "--active" in refused.stderr, refused.stderr)


def test_what_would_do_harm_unseen_is_refused():
    with tempfile.TemporaryDirectory() as directory:
        key, other = Key(), Key()
        elsewhere = wicket("import", "--remote", "nosuch", "--store", f"{directory}/here", "--device", "wg0", "-",
                           text=json.dumps({"public_key": key.public64}) + "\n")
        check(elsewhere.returncode != 0 and "nosuch" in elsewhere.stderr, elsewhere.stderr)
        check(not os.path.exists(f"{directory}/here"), "peers for a gateway elsewhere are in a store of this machine")
        store = store_of(directory, {"public_key": key.public64, "allowed_ips": ["10.0.0.1"]})
        moved = wicket("import", "--offline", "--store", store, "--device", "wg9", "-",
                       text=json.dumps({"public_key": key.public64}) + "\n")
        equal(moved.returncode, 1, "a peer was moved to another device")
        check("is stored for device wg0" in moved.stderr, moved.stderr)
        at = ("--store", store, "--socket", "/nonexistent")
        equal(wicket("peer", "add", other.public64, *at, "--device", "wg0", "--ttl", "0").returncode,
              2, "ttl 0")
        label = wicket("peer", "add", other.public64, *at, "--device", "wg0", "--label", "x")
        check(label.returncode == 2 and "NAME=VALUE" in label.stderr, label.stderr)
        why = wicket("peer", "why", key.public64, *at, "--device", "wg9").stdout
        check("stored for device wg0" in why, why)
        conf = ("conf", key.public64, *at, "--device-public-key", other.public64, "--endpoint")
        equal(wicket(*conf, "gw").returncode, 2, "no port")
        check("Endpoint = [2001:db8::1]:7" in wicket(*conf, "[2001:db8::1]:7").stdout, "IPv6")
        wrong = Path(directory) / "wrong"
        wrong.write_text(other.private64 + "\n")
        conf = wicket(*conf, "gw:1", "--private-key-file", wrong)
        check(conf.returncode == 2 and "another peer's" in conf.stderr, conf.stderr)


def test_manual_and_completions_know_every_command():
    def commands(*path):
        text = wicket(*path, "--help").stdout.partition("Subcommands:")[2]
        return re.findall(r"^  ([a-z-]+) ", text, re.M)
    root = Path(__file__).resolve().parents[2]
    texts = [(root / "docs/man/wicket.1.scd").read_text()]
    texts += [path.read_text() for path in (root / "tools/completion").iterdir()]
    equal(len(texts), 4, "a manual and three completions")
    names = commands()
    check("peer" in names and len(names) > 8, f"{names}")
    for name in names + [sub for name in ("peer", "db", "config") for sub in commands(name)]:
        for text in texts:
            check(re.search(rf"\b{name}\b", text), f"{name} is not in {text[:60]!r}")
    bash = subprocess.run(["bash", "-c", f"source {root}/tools/completion/wicket.bash; "
                           "COMP_WORDS=(wicket peer re); COMP_CWORD=2; _wicket; "
                           "echo ${COMPREPLY[@]}"], capture_output=True, text=True)
    equal(bash.stdout.strip(), "reset-replay", bash.stderr)


# --- the store as a file ----------------------------------------------------------

def test_db_verify_backup_and_compact():
    with tempfile.TemporaryDirectory() as directory:
        store = store_of(directory, *({"public_key": Key().public64, "allowed_ips": [f"10.0.0.{n}"],
                                       "labels": {"n": str(n)}} for n in range(200)))
        for command in ("stats", "verify"):
            result = wicket("db", command, "--store", store, "--json")
            equal((result.returncode, json.loads(result.stdout)["peers"]), (0, 200), command)
        backup = Path(directory) / "backup"
        equal(wicket("db", "backup", "--store", store, backup).returncode, 0, "backup")
        equal((oct(backup.stat().st_mode & 0o777), oct((backup / "data.mdb").stat().st_mode & 0o777)),
              ("0o700", "0o600"), "modes")
        equal(exported(backup), exported(store), "the copy")
        equal(wicket("db", "backup", "--store", store, backup).returncode, 1, "backup over a backup")
        before = exported(store)
        equal(wicket("db", "compact", "--store", store).returncode, 0, "compact")
        equal(exported(store), before, "after compacting")


def test_flipped_bits_are_refused_with_a_message_and_never_a_crash():
    with tempfile.TemporaryDirectory() as directory:
        store = store_of(directory, *({"public_key": Key().public64, "allowed_ips": [f"10.0.{n}.1"]}
                                      for n in range(100)))
        data = store / "data.mdb"
        whole = data.read_bytes()
        random = Random(1)
        found = 0
        for _ in range(150):
            broken = bytearray(whole)
            for _ in range(random.choice((1, 8, 64))):
                broken[random.randrange(len(broken))] ^= 1 << random.randrange(8)
            data.write_bytes(broken)
            result = wicket("db", "verify", "--store", store)
            check(result.returncode in (0, 1), f"status {result.returncode}: {result.stderr}")
            check(result.returncode == 0 or result.stderr.startswith("wicket: "), result.stderr)
            found += result.returncode
        check(found > 50, f"only {found} of 150 damages were found")
        data.write_bytes(whole)
        equal(wicket("db", "verify", "--store", store).returncode, 0, "the whole file")


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:], {name: function for name, function in globals().items()
                                 if name.startswith("test_")}))
