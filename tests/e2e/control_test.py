#!/usr/bin/python3
"""The control interface of a running gateway.

Run all scenarios, or those named as arguments. Needs root.
"""
import fcntl
import json
import os
import re
import socket
import subprocess
import sys
import threading
import time
from base64 import b64encode
from http.client import HTTPConnection

import jsonschema
import yaml

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from client import Client  # noqa: E402
from control import Control, Watch  # noqa: E402
from gateway_test import SCALE, check, equal, gateway, main  # noqa: E402
from lab import BIN, GATEWAY4, PORT, ROOT, SLOW, TOOLS, run, wait_for  # noqa: E402
from noise import Key, tai64n  # noqa: E402

POOL = '[[pool]]\nname = "clients"\ndevice = "{device}"\n' \
       'cidrs = ["10.64.0.0/16", "fd00:64::/64"]\n'


def with_pool(daemon, device, text=POOL):
    daemon.text += text.format(device=device.name)
    return daemon.start()


# --- the document ---------------------------------------------------------------

class Document:
    """docs/openapi.yaml, held against answers."""

    def __init__(self):
        self.text = yaml.safe_load((ROOT / "docs/openapi.yaml").read_text())
        self.given = set()

    def resolve(self, node):
        while "$ref" in node:
            target = self.text
            for part in node["$ref"].removeprefix("#/").split("/"):
                target = target[part]
            node = target
        return node

    def hold(self, method, path, answer):
        path = path.split("?")[0]
        for template, operations in self.text["paths"].items():
            pattern = re.sub(r"\{[a-z]+\}", "[^/]+", template)
            if not re.fullmatch(pattern, path) or method.lower() not in operations:
                continue
            responses = operations[method.lower()]["responses"]
            check(str(answer.status) in responses, f"{method} {template}: {answer.status} is not "
                                                   f"documented: {answer.text}")
            self.given.add((template, method.lower(), str(answer.status)))
            content = self.resolve(responses[str(answer.status)]).get("content", {})
            if not content:
                return equal(answer.text, "", "an answer without content")
            kind = answer.type.split(";")[0]
            check(kind in content, f"{method} {template}: {kind}")
            schema = {**content[kind]["schema"], "components": self.text["components"]}
            values = answer.lines if kind.endswith("ndjson") else [
                answer.text if kind == "text/plain" else answer.json]
            for value in values:
                jsonschema.validate(value, schema)
            return None
        raise AssertionError(f"{method} {path} is not documented")

    def missing(self):
        every = {(template, method, status)
                 for template, operations in self.text["paths"].items()
                 for method, operation in operations.items() for status in operation["responses"]}
        return every - self.given


# Given in scenarios of their own: streams, roles, full disks.
ELSEWHERE = {("get", "401"), ("get", "403"), ("put", "403"), ("put", "503"), ("put", "507"),
             ("post", "503"), ("delete", "503")}


def test_every_documented_answer_is_given_and_is_as_documented():
    with gateway() as (lab, device, daemon):
        with_pool(daemon, device)
        control = Control(daemon, device)
        key, other = Key(), Key()
        control.call("GET", "/v1/status")
        control.put(key, allowed_ips=["10.1.0.1"], labels={"team": "a"}, ttl=1000, pinned=True,
                    preshared_key=other.private64, persistent_keepalive=25)
        control.put(key, allocate="clients", allowed_ips=["10.1.0.2/31"])
        control.put(other, allowed_ips=["10.1.0.2/31"])
        control.put("nonsense")
        control.put(key, allowed_ips=["10.1.0.300"])
        control.call("PUT", control.peers(key), "x" * (1 << 20 | 1))
        control = Control(daemon, device)  # the connection above is closed after that
        calls = control.seen
        for path in "history", "history?from=1", "history?from=x", "findings":
            control.call("GET", f"/v1/{path}")
        control.call("PUT", f"/v1/devices/none/peers/{key.public64.replace('/', '%2F')}", {})
        control.put(key, allowed_ips=["10.1.0.1"], labels={"team": "a"}, pinned=True)
        control.get(key)
        control.get(other)
        control.get("AAAA")
        for who in key, other, "A":
            control.call("GET", control.peers(who, "/why"))
        control.list(label="team=a")
        control.list(limit=0)
        control.call("GET", "/v1/devices/none/peers")
        for address in "10.1.0.1", "10.9.9.9", "10.1":
            control.call("GET", f"/v1/devices/{device.name}/addresses/{address}")
        for who in key, other, "A":
            control.call("POST", control.peers(who, "/reset-replay"))
        control.call("POST", f"/v1/devices/{device.name}/import",
                     json.dumps({"public_key": other.public64}) + "\nbroken\n")
        control.call("GET", f"/v1/devices/{device.name}/export")
        for who in key, key, "A":
            control.delete(who)
        control.call("POST", "/v1/reload")
        daemon.config.write_text(daemon.text + "nonsense = 1\n")
        control.call("POST", "/v1/reload")
        check(len(calls) > 15, "calls")

        document = Document()
        first = Control(daemon, device)
        first.put(key, allowed_ips=["10.1.0.1"])
        first.put(key, allocate="clients", allowed_ips=["10.1.0.2/31"])
        first.put(other, allowed_ips=["10.1.0.2/31"])
        first.put("nonsense")
        first.call("GET", "/v1/status")
        first.call("GET", "/metrics")
        big = Control(daemon, device)
        big.call("PUT", big.peers(key), "x" * (1 << 20 | 1))
        for method, path, answer in first.seen + big.seen + calls:
            document.hold(method, path, answer)
        left = {(template, method, status) for template, method, status in document.missing()
                if (method, status) not in ELSEWHERE and template != "/v1/events"}
        equal(left, set(), "documented and never given")


def test_a_peer_that_uses_up_its_quota_leaves_and_stays_out():
    with gateway() as (lab, device, daemon):
        client, other = Client(lab, device.key.public), Client(lab, device.key.public)
        daemon.start()
        control = Control(daemon, device)
        equal(control.put(client.key, quota_bytes=2000, quota_seconds=86400).status, 201, "the peer")
        equal(control.put(other.key, quota_bytes=2_000_000).status, 201, "another")
        watch = Watch(daemon)
        for one in client, other:
            check(one.connect() is not None, "no session")
        used = lambda: control.get(client.key).json["session"]["quota_used_bytes"]  # noqa: E731
        check(wait_for(lambda: client.key.public64 in device.peers() and used() == 0, 10), "no period begins")

        def over():
            client.connect(seconds=0.2)
            return client.key.public64 not in device.peers()
        check(wait_for(over, 30), f"it stays, with {used()} bytes")
        check(used() >= 2000, used())
        equal(client.connect(seconds=1), None, "answered beyond its quota")
        check(other.key.public64 in device.peers() and other.connect() is not None, "the other one left, too")
        check(daemon.counts()["over_quota"] >= 1, daemon.counts())
        check(wait_for(lambda: "over_quota" in [event["event"] for event in watch.events], 5), watch.events)
        watch.close()
        why = lab.gateway.run(TOOLS / "wicket", "peer", "why", "--socket", daemon.control, client.key.public64).stdout
        check("of the 2000 bytes of its period" in why and "was refused: over_quota" in why, why)
        # It stays out over a restart, and is let in with a larger one.
        daemon.stop()
        daemon.start()
        equal(client.connect(seconds=1), None, "answered after a restart")
        control = Control(daemon, device)
        equal(control.put(client.key, quota_bytes=1_000_000, quota_seconds=86400).status, 200, "more")
        check(wait_for(lambda: client.connect(seconds=1) is not None, 10), "refused in spite of a larger quota")
        equal(control.put(client.key, quota_bytes=-1).error["field"], "quota_bytes", "a bad quota")
        equal(control.put(client.key, quota_bytes=1, quota_seconds=5).error["field"], "quota_seconds", "a bad period")


def test_errors_name_the_field():
    with gateway() as (lab, device, daemon):
        with_pool(daemon, device)
        control = Control(daemon, device)
        for fields, field in (({"allowed_ips": "10.0.0.1"}, "allowed_ips"),
                              ({"preshared_key": "secret"}, "preshared_key"),
                              ({"ttl": 0}, "ttl"), ({"ttl": 5, "expires_at": "2040-01-01T00:00:00Z"}, "ttl"),
                              ({"allocate": "nope"}, "allocate"), ({"device": "wg9"}, "device"),
                              ({"surprise": 1}, "surprise"),
                              ({"public_key": Key().public64}, "public_key")):
            answer = control.put(Key(), **fields)
            equal((answer.status, answer.error["code"], answer.error.get("field")),
                  (400, "invalid_argument", field), f"{fields}")
            check("secret" not in answer.text, "a secret in an error")
        answer = control.call("GET", control.peers(rest="?colour=red"))
        equal((answer.status, answer.error["field"]), (400, "colour"), "an unknown parameter")
        answer = control.call("PATCH", control.peers(Key()))
        equal((answer.status, answer.headers["allow"]), (405, "PUT, GET, DELETE"), "PATCH")
        equal(control.call("GET", "/v2/status").status, 404, "another version")


# --- peers ----------------------------------------------------------------------

def test_a_created_peer_connects_and_a_deleted_one_is_gone():
    with gateway() as (lab, device, daemon):
        with_pool(daemon, device)
        control, watching = Control(daemon, device), Control(daemon, device)
        events = Events(watching)
        client = Client(lab, device.key.public)
        created = control.put(client.key, allocate="clients", labels={"team": "a"})
        equal(created.status, 201, created.text)
        equal(created.json["allowed_ips"], ["10.64.0.2/32", "fd00:64::2/128"], "addresses")
        again = control.put(client.key, allocate="clients")
        equal((again.status, again.json["allowed_ips"]), (200, created.json["allowed_ips"]), "again")
        check(client.connect() is not None, "the created peer does not connect")
        wait_for(lambda: control.get(client.key).json["state"] == "established", 5)
        peer = control.get(client.key).json
        equal(peer["state"], "established", "state")
        equal((peer["session"]["handshakes"], peer["session"]["installs"]), (1, 1), "session")
        equal([p["public_key"] for p in control.list(installed="true")], [client.key.public64],
              "installed")
        equal(control.call("GET", f"/v1/devices/{device.name}/addresses/10.64.0.2")
              .json["public_key"], client.key.public64, "by address")

        # Updated in the device at once, and the session goes on.
        control.put(client.key, allowed_ips=["10.77.0.1/32"])
        check("10.77.0.1/32" in device.ns.run("wg", "show", device.name, "allowed-ips").stdout,
              "the device was not updated")
        equal(control.get(client.key).json["state"], "established", "after the update")

        equal(control.delete(client.key).status, 204, "delete")
        equal(device.peers(), {}, "in the device after the answer")
        equal(control.get(client.key).status, 404, "after the delete")
        equal(client.connect(seconds=1), None, "a deleted peer was answered")
        kinds = [event["event"] for event in events.until("refused")]
        for kind in "created", "updated", "seen", "installed", "confirmed", "evicted", "deleted":
            check(kind in kinds, f"no {kind} in {kinds}")
        # Its addresses are free again, for the next.
        events.close()


class Events:
    """Reads a server-sent event stream in a thread."""

    def __init__(self, control):
        self.document = Document()
        self.events = []
        control.connection.timeout = 60
        control.connection.request("GET", "/v1/events")
        self.response = control.connection.getresponse()
        equal(self.response.getheader("content-type"), "text/event-stream", "type")
        self.response.readline()  # ": watching"
        self.thread = threading.Thread(target=self._read, daemon=True)
        self.thread.start()
        self.control = control

    def _read(self):
        try:
            for line in self.response:
                if line.startswith(b"data: "):
                    self.events.append(json.loads(line[6:]))
        except (OSError, ValueError):
            pass

    def until(self, kind):
        wait_for(lambda: any(event.get("event") == kind for event in self.events), 5)
        schema = {"$ref": "#/components/schemas/Event",
                  "components": self.document.text["components"]}
        for event in self.events:
            jsonschema.validate(event, schema)
        return self.events

    def close(self):
        self.control.connection.sock.shutdown(socket.SHUT_RDWR)
        self.thread.join(5)


def test_a_delete_that_races_a_handshake_wins():
    with gateway(log_level="info") as (lab, device, daemon):
        daemon.start()
        control = Control(daemon, device)
        rounds, crowd = int(10_000 * SCALE), 50
        clients = [Client(lab, device.key.public) for _ in range(crowd)]
        done = 0
        while done < rounds:
            keys = [Key() for _ in clients]
            for client, key in zip(clients, keys):
                client.key = key
            body = "".join(json.dumps({"public_key": key.public64}) + "\n" for key in keys)
            answer = control.call("POST", f"/v1/devices/{device.name}/import", body)
            equal(answer.lines[-1], {"imported": crowd, "refused": 0}, "import")
            # The deletions run while the handshakes are on their way.
            sender = threading.Thread(
                target=lambda: [client.send_initiation() for client in clients])
            sender.start()
            for key in keys:
                equal(control.delete(key).status, 204, "delete")
            sender.join()
            done += crowd
        time.sleep(0.5)
        equal(device.peers(), {}, f"in the device after {done} rounds")
        counts = daemon.counts()
        check(counts["installs"] > rounds / 100, f"hardly a handshake raced: {counts}")
        check(counts["installs"] < rounds, f"no delete won: {counts}")


def test_allocation_by_many_at_once_collides_never():
    with gateway() as (lab, device, daemon):
        with_pool(daemon, device)
        addresses, problems = [], []

        def allocate():
            control = Control(daemon, device)
            for _ in range(20):
                answer = control.put(Key(), allocate="clients")
                (addresses.extend(answer.json["allowed_ips"]) if answer.status == 201
                 else problems.append(answer.text))
            control.close()
        threads = [threading.Thread(target=allocate) for _ in range(64)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        equal(problems, [], "problems")
        equal(len(addresses), 64 * 20 * 2, "addresses")
        equal(len(set(addresses)), len(addresses), "distinct addresses")


def test_an_exhausted_pool_says_so_and_recovers():
    with gateway() as (lab, device, daemon):
        with_pool(daemon, device, '[[pool]]\nname = "tiny"\ndevice = "{device}"\n'
                                  'cidrs = ["10.64.0.0/29"]\n')
        control = Control(daemon, device)
        keys = [Key() for _ in range(6)]
        answers = [control.put(key, allocate="tiny") for key in keys]
        equal([answer.status for answer in answers], [201] * 5 + [507], "statuses")
        equal(answers[5].error["message"], "every address of the pool is in use", "message")
        equal(control.get(keys[5]).status, 404, "the refused peer was stored")
        control.delete(keys[2])
        equal(control.put(keys[5], allocate="tiny").json["allowed_ips"],
              answers[2].json["allowed_ips"], "the address that came back")


def test_a_delete_outlives_a_crash_before_the_device_was_told():
    """Deleted by another process while the daemon is down: the next start takes it out."""
    with gateway() as (lab, device, daemon):
        daemon.start()
        control = Control(daemon, device)
        clients = [Client(lab, device.key.public) for _ in range(3)]
        for client in clients:
            control.put(client.key)
            check(client.connect() is not None, "no session")
        stranger = Key()
        device.add_peer(stranger.public64, "10.9.9.9/32")
        daemon.kill()
        run(TOOLS / "wicket", "peer", "rm", clients[0].key.public64, "--store", lab.store, "--socket",
            "/nonexistent")
        daemon.start()
        # At once, before the peer was adopted, or just after.
        equal(Control(daemon, device).delete(clients[1].key).status, 204, "delete")
        check(wait_for(lambda: set(device.peers()) == {clients[2].key.public64, stranger.public64}, 5),
              f"left in the device: {device.peers()}")
        equal(daemon.counts()["evicted_revoked"], 2, "evicted_revoked")


def test_reset_replay_of_an_installed_peer_reaches_the_device_too():
    with gateway() as (lab, device, daemon):
        daemon.start()
        control = Control(daemon, device)
        client = Client(lab, device.key.public)
        control.put(client.key)
        check(client.connect(stamp=tai64n(time.time())) is not None, "no session")
        again = Client(lab, device.key.public, key=client.key)  # from another port, to the shard
        equal(again.connect(seconds=1, stamp=tai64n(time.time() - 3600)), None, "an old stamp")
        control.call("POST", control.peers(client.key, "/reset-replay"))
        check(again.connect(stamp=tai64n(time.time() - 3500)) is not None, "refused after the reset")


def test_lists_filter_and_page():
    with gateway() as (lab, device, daemon):
        daemon.start()
        control = Control(daemon, device)
        body = "".join(json.dumps({
            "public_key": Key().public64, "allowed_ips": [f"10.3.{n // 100}.{n % 100}"],
            "labels": {"team": f"t{n % 3}"}}) + "\n" for n in range(300))
        control.call("POST", f"/v1/devices/{device.name}/import", body)
        equal(len(control.list(limit=7)), 300, "all, in pages of 7")
        equal(len(control.list(label="team=t1", limit=9)), 100, "by label")
        equal(len(control.list(prefix="10.3.1.0/24")), 100, "by prefix")
        equal(len(control.list(prefix="10.3.1.0/24", label="team=t1")),
              sum(n // 100 == 1 and n % 3 == 1 for n in range(300)), "by both")
        equal(len(control.list(installed="false")), 300, "not installed")
        equal(len(control.list(installed="true")), 0, "installed")
        equal(len(control.list(expired="false", limit=50)), 300, "not expired")
        equal(control.list(cursor="!!").error["field"], "cursor", "a broken cursor")
        export = control.call("GET", f"/v1/devices/{device.name}/export?label=team%3Dt2")
        equal(len(export.lines), 100, "exported")


def test_import_reports_every_refused_line():
    with gateway() as (lab, device, daemon):
        with_pool(daemon, device)
        control = Control(daemon, device)
        lines = [json.dumps({"public_key": Key().public64, "allocate": "clients"})
                 for _ in range(3000)]
        lines[10] = "{"
        lines[2000] = json.dumps({"public_key": Key().public64, "allowed_ips": ["x"]})
        lines[2500] = json.dumps({"public_key": Key().public64, "allowed_ips": ["10.64.0.2"]})
        lines[2600] = "y" * (3 << 20)
        answer = control.call("POST", f"/v1/devices/{device.name}/import", "\n".join(lines))
        equal(answer.status, 200, answer.text[:200])
        equal(answer.lines[-1], {"imported": 2996, "refused": 4}, "sum")
        equal([line["line"] for line in answer.lines[:-1]], [11, 2001, 2501, 2601], "lines")
        equal(answer.lines[1]["error"]["field"], "allowed_ips", "field")
        equal(answer.lines[2]["error"]["code"], "already_exists", "taken")


def test_expired_peers_are_collected():
    with gateway() as (lab, device, daemon):
        daemon.text = daemon.text.replace(f'path = "{lab.store}"',
                                          f'path = "{lab.store}"\nkeep_expired = 3')
        daemon.start()
        control = Control(daemon, device)
        client = Client(lab, device.key.public)
        equal(control.put(client.key).status, 201, "created")
        check(client.connect() is not None, "no session")
        equal(control.put(client.key, ttl=1).status, 200, "its time is up soon")
        lines = "".join(json.dumps({"public_key": b64encode(os.urandom(32)).decode(), "ttl": 1}) + "\n"
                        for _ in range(600))  # more than a slice
        answer = control.call("POST", f"/v1/devices/{device.name}/import", lines)
        equal(answer.lines[-1], {"imported": 600, "refused": 0}, "import")
        check(wait_for(lambda: control.list() == [], 60), "expired peers stay")
        check(wait_for(lambda: device.peers() == {}, 60), "the expired peer stays in the device")


def test_reset_replay_lets_a_clock_that_was_set_back_in():
    with gateway() as (lab, device, daemon):
        daemon.start()
        control = Control(daemon, device)
        client = Client(lab, device.key.public)
        control.put(client.key)
        check(client.connect() is not None, "no session")
        device.remove_peer(client.key.public64)
        check(wait_for(lambda: control.get(client.key).json["state"] == "stored", 5),
              "the removal is not noticed")
        equal(client.connect(seconds=1, stamp=tai64n(time.time() - 3600)), None, "an old stamp was taken")
        equal(control.call("POST", control.peers(client.key, "/reset-replay")).status, 204, "reset")
        check(client.connect(stamp=tai64n(time.time() - 3500)) is not None, "refused after the reset")


def test_the_command_line_goes_through_the_daemon():
    with gateway() as (lab, device, daemon):
        with_pool(daemon, device)
        client = Client(lab, device.key.public)
        key = client.key.public64

        def wicket(*arguments):
            return run(TOOLS / "wicket", *arguments, "--socket", daemon.control, "--store", "/nonexistent")
        watching = subprocess.Popen([TOOLS / "wicket", "events", "-f", "--json", "--socket",
                                     daemon.control], stdout=subprocess.PIPE, text=True)
        wait_for(lambda: "control/conn" in run("ps", "-L", "-o", "comm", "-p",
                                               daemon.process.pid).stdout, 5)
        time.sleep(0.2)
        check("10.64.0.2/32" in wicket("peer", "add", key, "--allocate", "clients").stdout, "add")
        check(client.connect() is not None, "no session")
        wait_for(lambda: "established" in wicket("peer", "show", key).stdout, 5)
        shown = wicket("peer", "show", key).stdout
        for text in ("latest handshake: ", "endpoint: 192.0.2.2:", "handshakes: 1 in 1 installations"):
            check(text in shown, shown)
        check("has a session" in wicket("peer", "why", key).stdout, "why")
        listed = [line.split("\t") for line in
                  wicket("peer", "ls", "--installed", "--dump").stdout.splitlines()]
        real = [line.split("\t") for line in
                device.ns.run("wg", "show", "all", "dump").stdout.splitlines()]
        equal(listed, [row for row in real if key in row], "as wg show all dump")
        conf = wicket("conf", key, "--endpoint", "gw.example")
        check(f"PublicKey = {device.key.public64}" in conf.stdout and
              "Endpoint = gw.example:51820" in conf.stdout, conf.stdout)
        check("deleted" in wicket("peer", "rm", key).stdout, "rm")
        equal(device.peers(), {}, "in the device")
        time.sleep(0.7)
        watching.kill()  # a signal that scenarios before have not made us ignore
        kinds = [json.loads(line)["event"] for line in watching.stdout]
        watching.wait()
        equal([kind for kind in kinds if kind in ("created", "installed", "deleted")],
              ["created", "installed", "deleted"], "events")


def test_reload_tells_what_came_of_it():
    with gateway() as (lab, device, daemon):
        daemon.start()

        def reload(text):
            daemon.config.write_text(text)
            result = run(TOOLS / "wicket", "reload", "--socket", daemon.control, check=False)
            return result.returncode, result.stdout, result.stderr
        equal(reload(daemon.text), (0, "reloaded\n", ""), "the same file")
        new = daemon.text.replace("[store]", "[store]\nkeep_expired = 7") + "installed_max = 1\n" + \
            POOL.format(device=device.name)
        equal(reload(new), (0, "reloaded; to take these changes, restart wicketd: store.keep_expired pool\n", ""),
              "a good file")
        bad = new.replace("installed_max = 1", "installed_max = 50").replace('"debug"', '"loud"') + "speed = 1\n"
        status, output, errors = reload(bad)
        equal((status, output), (1, ""), "a bad file")
        for found in "found 'loud'", "speed: found an unknown key":
            check(re.search(rf"{re.escape(str(daemon.config))}:\d+: .*{found}", errors), errors)
        # What was good is in force, and nothing of what was not.
        clients = [Client(lab, device.key.public) for _ in range(2)]
        for client in clients:
            equal(Control(daemon, device).put(client.key).status, 201, "created")
        check(clients[0].connect() is not None, "no session")
        equal(clients[1].connect(seconds=1), None, "installed_max of the good file is not in force")
        equal(daemon.counts()["full"], 1, "full")


def test_import_and_export_go_through_the_daemon():
    with gateway() as (lab, device, daemon):
        other = lab.wireguard(lab.gateway, port=PORT + 1)
        daemon = lab.daemon(device, other)
        daemon.start()
        at = ("--socket", daemon.control, "--store", "/nonexistent")
        peers = [{"public_key": b64encode(os.urandom(32)).decode(),
                  "allowed_ips": [f"10.{n >> 8}.{n & 255}.1"],
                  "device": (device, other)[n % 2].name,
                  "preshared_key": b64encode(os.urandom(32)).decode()}
                 for n in range(9000)]
        peers[5000]["allowed_ips"] = peers[0]["allowed_ips"]  # taken
        lines = [json.dumps(peer) for peer in peers]
        lines[7000] = "{"
        result = run(TOOLS / "wicket", "import", *at, "-", input="\n".join(lines), check=False)
        equal(result.returncode, 1, result.stderr)
        for text in ("8998 peers were imported", "2 lines were refused", "line 5001: ", "line 7001: "):
            check(text in result.stderr, result.stderr)
        exported = run(TOOLS / "wicket", "export", *at).stdout.splitlines()
        del peers[7000], peers[5000]
        equal({(row["public_key"], row["device"], row["preshared_key"])
               for row in map(json.loads, exported)},
              {(row["public_key"], row["device"], row["preshared_key"]) for row in peers}, "exported")
        conf = run(TOOLS / "wicket", "export", *at, "--device", other.name, "--format", "conf").stdout
        equal(conf.count("[Peer]"), 4500, "sections")
        again = run(TOOLS / "wicket", "import", *at, "--json", "-", input="\n".join(exported))
        equal({**json.loads(again.stdout), "seconds": 0},
              {"imported": 8998, "refused": 0, "seconds": 0}, "what was exported is taken back")


def test_status_waits_until_everything_is_there():
    with gateway() as (lab, device, daemon):
        def status(*arguments):
            return run(TOOLS / "wicket", "status", "--status-file", daemon.status_file, *arguments,
                       check=False)
        equal(status("--wait", "0").returncode, 1, "before the start")
        waiting = subprocess.Popen([TOOLS / "wicket", "status", "--status-file", daemon.status_file,
                                    "--wait"], stdout=subprocess.PIPE, text=True)
        time.sleep(0.3)
        equal(waiting.poll(), None, "it did not wait")
        daemon.start()
        check("listening port" in waiting.communicate(timeout=10 * SLOW)[0], "no device")
        equal(waiting.returncode, 0, "exit status")
        lab.gateway.ip("link", "del", "in")
        check(wait_for(lambda: status().stdout.count("away"), 5), "the NIC's absence is unnoticed")
        away = status("--wait", "1")
        check(away.returncode == 1 and "NIC in is away" in away.stderr, away.stderr)


def test_a_live_device_moves_over_and_no_client_notices():
    """What docs/guide.md tells to do."""
    with gateway() as (lab, device, daemon):
        psk = Key().private64
        clients = [lab.client_device(device.key.public64, f"10.1.0.{n}", psk=psk if n == 2 else None)
                   for n in (1, 2)]
        for n, client in enumerate(clients, 1):
            device.add_peer(client.key.public64, f"10.1.0.{n}/32", psk=psk if n == 2 else None)
            lab.client.ip("route", "replace", "10.0.0.1/32", "dev", client.name, "src", f"10.1.0.{n}")
            check(lab.ping(source=f"10.1.0.{n}"), "no session before")
        before = device.peers()
        moved = ("import", "--offline", "--store", lab.store, "--from-device")
        lab.gateway.run(TOOLS / "wicket", *moved, device.name)
        failed = lab.gateway.run(TOOLS / "wicket", *moved, "nosuch", check=False)
        check(failed.returncode == 1 and "nothing was imported" in failed.stderr, failed.stderr)
        daemon.start()
        check(wait_for(lambda: daemon.counts()["adopted"] == 2, 5), "not adopted")
        equal({key: row[1] for key, row in device.peers().items()},
              {key: row[1] for key, row in before.items()}, "handshakes after the adoption")
        check(lab.ping(source="10.1.0.2"), "the session did not survive")
        # And from the store alone, preshared key included.
        device.remove_peer(clients[1].key.public64)
        check(wait_for(lambda: daemon.counts()["missing"] == 1, 5), "the removal is not noticed")
        clients[1].remove_peer(device.key.public64)  # so that it begins anew at once
        clients[1].add_peer(device.key.public64, "10.0.0.0/8", f"{GATEWAY4}:{PORT}", psk)
        lab.client.ip("route", "replace", "10.0.0.1/32", "dev", clients[1].name, "src", "10.1.0.2")
        # Within 5 s of its last handshake an initiation could be one that the kernel has seen.
        check(lab.ping(source="10.1.0.2", seconds=10), "not put back from the store")


# --- who may, and how much --------------------------------------------------------

def raw(daemon, text, wait=3, half_close=False):
    """What comes back for these bytes until the server closes, or says no more."""
    with socket.socket(socket.AF_UNIX) as plain:
        plain.connect(str(daemon.control))
        plain.settimeout(wait * SLOW)
        plain.sendall(text)
        if half_close:
            plain.shutdown(socket.SHUT_WR)
        answer = b""
        try:
            while piece := plain.recv(65536):
                answer += piece
        except TimeoutError:
            pass
        return answer


def test_malformed_requests_are_answered():
    with gateway() as (lab, device, daemon):
        daemon.start()
        for text, status in ((b"nonsense\r\n\r\n", 400), (b"GET /%zz HTTP/1.1\r\n\r\n", 400),
                             (b"GET / HTTP/9.9\r\n\r\n", 400),
                             (b"GET / HTTP/1.1\r\nContent-Length: x\r\n\r\n", 400),
                             (b"GET / HTTP/1.1\r\n" + b"A: b\r\n" * 4000 + b"\r\n", 431)):
            answer = raw(daemon, text, half_close=True)
            check(answer.startswith(b"HTTP/1.1 %d" % status), f"{text[:40]}: {answer[:200]}")
            json.loads(answer.split(b"\r\n\r\n", 1)[1])["error"]["message"]
        head = raw(daemon, b"HEAD /v1/status HTTP/1.1\r\n\r\n", wait=1)
        check(head.startswith(b"HTTP/1.1 405") and head.endswith(b"\r\n\r\n"), f"{head}")
        old = raw(daemon, b"GET /v1/status HTTP/1.0\r\n\r\n", wait=1)
        check(old.startswith(b"HTTP/1.1 400"), f"{old}")
        odd = raw(daemon, b"GET /v1/devices/%FF/peers HTTP/1.1\r\n\r\n", wait=1)
        json.loads(odd.split(b"\r\n\r\n", 1)[1].decode("utf-8"))
        # Two at once on one connection are answered in order.
        twice = raw(daemon, b"GET /v1/status HTTP/1.1\r\n\r\nGET /v1/x HTTP/1.1\r\n\r\n", wait=1)
        equal(re.findall(rb"HTTP/1.1 (\d+)", twice), [b"200", b"404"], "pipelined")


def test_slow_and_many_clients_do_not_stop_others():
    with gateway() as (lab, device, daemon):
        daemon.start()
        slow = []
        for _ in range(300):  # more than there may be
            plain = socket.socket(socket.AF_UNIX)
            plain.connect(str(daemon.control))
            plain.sendall(b"GET /v1/status HTTP/1.1\r\n")
            slow.append(plain)
        refused = slow[-1].recv(1000)
        check(refused.startswith(b"HTTP/1.1 503") and b"too many" in refused, f"{refused}")
        body = refused.split(b"\r\n\r\n", 1)
        equal(int(re.search(rb"Content-Length: (\d+)", body[0])[1]), len(body[1]), "length")
        # The slow ones are told, and dropped, after ten seconds.
        slow[0].settimeout(20 * SLOW)
        answer = slow[0].recv(1000)
        check(answer.startswith(b"HTTP/1.1 408"), f"{answer}")
        check(wait_for(lambda: Control(daemon, device).call("GET", "/v1/status").status == 200, 10),
              "no room again")
        for plain in slow:
            plain.close()


def test_socket_permissions_and_roles():
    with gateway() as (lab, device, daemon):
        daemon.text = daemon.text.replace(
            f'socket = "{daemon.control}"',
            f'socket = "{daemon.control}"\ngroup = "daemon"\nwrite_group = "adm"')
        daemon.start()
        lab.dir.chmod(0o755)
        mode = daemon.control.stat()
        equal((oct(mode.st_mode & 0o777), mode.st_gid), ("0o660", 1), "mode and group")

        def call(method, *groups):
            """curl's view of it, as nobody with these groups: the HTTP status, or 0."""
            code = "import http.client,socket,sys\n" \
                   "s=socket.socket(socket.AF_UNIX)\n" \
                   f"s.connect({str(daemon.control)!r})\n" \
                   "c=http.client.HTTPConnection('x')\nc.sock=s\n" \
                   f"c.request({method!r}, {Control(daemon, device).peers(Key())!r}, '{{}}')\n" \
                   "print(c.getresponse().status)"
            result = run("setpriv", "--reuid=65534", "--regid=65534",
                         f"--groups={','.join(groups)}" if groups else "--clear-groups",
                         "/usr/bin/python3", "-c", code, check=False)
            return int(result.stdout or 0)
        equal(call("GET"), 0, "a stranger may connect")
        equal(call("GET", "1"), 404, "a member of the group may not read")
        equal(call("PUT", "1"), 403, "a member of the group may write")
        equal(call("PUT", "1", "4"), 201, "a member of both may not write")


# --- events ---------------------------------------------------------------------

def test_events_by_the_command_line():
    with gateway() as (lab, device, daemon):
        daemon.start()
        control = Control(daemon, device)
        wanted = Key()

        def events(*arguments):
            return subprocess.Popen([TOOLS / "wicket", "events", "--socket", daemon.control, *arguments],
                                    stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        watchers = [events("--json", "--device", device.name, "--kind", "created,deleted", "--peer", wanted.public64),
                    events("--kind", "deleted")]
        try:
            # A watcher sees what happens from its beginning on, whenever that is.
            first = []
            threading.Thread(target=lambda: first.append(watchers[0].stdout.readline()), daemon=True).start()

            def come_and_go():
                for key in Key(), wanted:
                    control.put(key)
                    control.delete(key)
                return first
            check(wait_for(come_and_go, 10), "nothing is told")
            event = json.loads(first[0])
            equal((event["device"], event["public_key"]), (device.name, wanted.public64), event)
            check(event["event"] in ("created", "deleted"), event)
            second = []
            threading.Thread(target=lambda: second.append(watchers[1].stdout.readline()), daemon=True).start()
            check(wait_for(lambda: come_and_go() and second, 10), "nothing is told")
            check(re.match(rf"\S+  deleted    {device.name} ", second[0]), second)
        finally:
            for watcher in watchers:
                watcher.kill()
                watcher.communicate()
        for arguments, problem in ((("--kind", "nonsense"), 'kind: found "nonsense"; accepted: seen, '),
                                   (("--source", "1.2"), 'source: found "1.2"; accepted: an address'),
                                   (("--device", "wg9"), 'no device "wg9"')):
            watcher = events(*arguments)
            _, errors = watcher.communicate(timeout=10 * SLOW)
            equal(watcher.returncode, 2, arguments)
            check(problem in errors, errors)


# --- a store in trouble -------------------------------------------------------------

def test_a_full_disk_loses_nothing_and_recovers():
    with gateway() as (lab, device, daemon):
        lab.store.mkdir()
        run("mount", "-t", "tmpfs", "-o", "size=2m", "tmpfs", lab.store)
        try:
            daemon.start()
            control = Control(daemon, device)
            stored, full = [], None
            client = Client(lab, device.key.public)
            equal(control.put(client.key).status, 201, "the first")
            for _ in range(200):
                keys = [b64encode(os.urandom(32)).decode() for _ in range(100)]
                body = "".join(json.dumps({"public_key": key}) + "\n" for key in keys)
                full = control.call("POST", f"/v1/devices/{device.name}/import", body)
                if full.status != 200:
                    break
                stored += keys
            equal((full.status, full.json.get("error", {}).get("code")), (507, "full"), full.text)
            refused = control.put(Key(), labels={"a": "b" * 200})
            check(refused.status in (201, 507), refused.text)
            check(client.connect() is not None, "an install needs the disk")
            lost = set(stored) - {peer["public_key"] for peer in control.list(limit=1000)}
            equal(lost, set(), "acknowledged and lost")
            run("mount", "-o", "remount,size=12m", lab.store)
            equal(control.put(Key()).status, 201, "after there is room again")
        finally:
            daemon.stop()
            run("umount", "-l", lab.store, check=False)


def test_a_full_map_says_which_setting_to_raise():
    with gateway() as (lab, device, daemon):
        daemon.text = daemon.text.replace(f'path = "{lab.store}"',
                                          f'path = "{lab.store}"\nbytes_max = 1048576')
        daemon.start()
        control = Control(daemon, device)
        body = "".join(json.dumps({"public_key": b64encode(os.urandom(32)).decode()}) + "\n"
                       for _ in range(10_000))
        answer = control.call("POST", f"/v1/devices/{device.name}/import", body)
        equal((answer.status, answer.error["code"]), (507, "full"), answer.text)
        check("raise store.bytes_max" in answer.error["message"], answer.text)
        check(len(control.list(limit=1000)) >= 512, "what was acknowledged before is gone")


def test_a_full_map_still_takes_deletions_and_recovers():
    with gateway() as (lab, device, daemon):
        daemon.text = daemon.text.replace(f'path = "{lab.store}"',
                                          f'path = "{lab.store}"\nbytes_max = 4194304\n'
                                          'keep_expired = 5')
        daemon.start()
        control = Control(daemon, device)
        client = Client(lab, device.key.public)
        early, late = Client(lab, device.key.public), Client(lab, device.key.public)
        for who in early, late:
            control.put(who.key)
        equal(control.put(client.key, allowed_ips=["10.200.0.1"]).status, 201, "the first")
        early.send_initiation()  # and no more: it leaves after 30 s
        check(early.receive(2), "no answer")
        time.sleep(2 * SLOW)  # sessions are saved once a second
        expiring = "".join(json.dumps({"public_key": b64encode(os.urandom(32)).decode(), "ttl": 30}) + "\n"
                           for _ in range(2000))
        control.call("POST", f"/v1/devices/{device.name}/import", expiring)
        stored, full, batch = [client.key.public64], None, 500
        while batch:
            keys = [b64encode(os.urandom(32)).decode() for _ in range(batch)]
            body = "".join(json.dumps({"public_key": key, "labels": {"a": "b" * 100}}) + "\n"
                           for key in keys)
            full = control.call("POST", f"/v1/devices/{device.name}/import", body)
            if full.status == 200 and full.lines[-1]["refused"] == 0:
                stored += keys
            else:
                batch //= 2  # to the last free page
        listed = {peer["public_key"] for peer in control.list(limit=1000)}
        equal(set(stored) - listed, set(), "acknowledged and lost")
        refused = control.put(Key())
        equal((refused.status, refused.error["code"]), (507, "full"), refused.text)
        check(client.connect() is not None, "an install needs room")
        check(control.put(client.key, allowed_ips=["10.200.0.2"]).status == 200, "an update")
        late.send_initiation()
        check(late.receive(2), "an install needs room")
        check(wait_for(lambda: early.key.public64 not in device.peers(), 45, every=0.5),
              "nobody leaves while the file is full")
        wait_for(lambda: "no room for the first sessions" in daemon.log_text, 5)
        check(daemon.fresh_status()["unsaved_sessions"] > 0, "its timestamp is nowhere")
        check(wait_for(lambda: len(control.list(limit=1000)) < len(stored) + 1000, 30, every=1),
              "expired peers stay")
        for n, key in enumerate(stored):  # as many as it takes, one by one, of those that do not expire
            equal(control.delete(key).status, 204, "a deletion in a full file")
            if n % 100 == 99 and control.put(Key()).status == 201:
                return
        check(False, "all were deleted, and there is no room")


def test_a_disk_with_errors_loses_nothing_and_recovers():
    with gateway() as (lab, device, daemon):
        switch = lab.dir / "fail"
        daemon.wrapper = ["env", f"LD_PRELOAD={BIN / 'fail_writes.so'}", f"WICKET_FAIL_WRITES={switch}"]
        daemon.start()
        client, stored = Client(lab, device.key.public), []
        for kind in "data", "sync", "meta":
            control = Control(daemon, device)
            for _ in range(5):
                stored.append(Key().public64)
                equal(control.put(stored[-1]).status, 201, "on a sound disk")
            equal(control.put(client.key).status, 201 if kind == "data" else 200, "the client")
            switch.write_text(kind)
            failed = control.put(Key())
            check(failed.status in (500, 503) and failed.error["message"], failed.text)
            if kind != "meta":
                check(client.connect() is not None, "an install needs the disk")
            switch.unlink()

            def works():
                try:
                    return Control(daemon, device).put(Key()).status == 201
                except OSError:  # the socket is away for a moment
                    return False
            check(wait_for(works, 10), f"{kind}: no recovery")
            listed = {peer["public_key"] for peer in Control(daemon, device).list(limit=1000)}
            equal(set(stored) - listed, set(), f"{kind}: acknowledged and lost")
        check(wait_for(lambda: "ready again" in daemon.log_text, 5), daemon.log_text)
        check(client.connect() is not None, "no session afterwards")
        equal(daemon.stop(), 0, "exit status")


def test_another_writer_makes_calls_wait_and_then_say_so():
    with gateway() as (lab, device, daemon):
        daemon.start()
        control = Control(daemon, device)
        with open(lab.store / "writer.lock", "a+") as turn:
            fcntl.flock(turn, fcntl.LOCK_EX)
            answer = control.put(Key())
            equal((answer.status, answer.error["code"]), (503, "unavailable"), answer.text)
            check("another writer" in answer.error["message"], answer.text)
        equal(control.put(Key()).status, 201, "afterwards")


if __name__ == "__main__":
    scenarios = {name: function for name, function in globals().items() if name.startswith("test_")}
    sys.exit(main(sys.argv[1:], scenarios))
