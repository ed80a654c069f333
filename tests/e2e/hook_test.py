#!/usr/bin/python3
"""wicket-hook between a daemon and a receiver over TLS: signatures, order, retries, and its queue.

Run all scenarios, or those named as arguments. Needs root.
"""
import base64
import hashlib
import hmac
import json
import os
import signal
import ssl
import sys
import threading
import time
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from control import Control  # noqa: E402
from edge import NOBODY  # noqa: E402
from gateway_test import check, equal, gateway, main  # noqa: E402
from lab import BIN, SLOW, Key, run, wait_for  # noqa: E402


class Receiver:
    """A server on loopback that believes nothing, and keeps what it took."""

    def __init__(self, lab):
        self.home = lab.dir / "receiver"
        self.home.mkdir()
        self.certificate, key = self.home / "cert.pem", self.home / "key.pem"
        run("openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-keyout", key,
            "-out", self.certificate, "-days", "2", "-subj", "/CN=receiver", "-addext", "subjectAltName=DNS:localhost")
        self.secret = run(BIN / "wicket-hook", "--new-secret").stdout.strip()
        self.status = 204  # what it answers; None: nothing
        self.attempts, self.taken, self.problems = [], [], []
        self.released = threading.Event()
        receiver = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self):
                receiver.receive(self)

            def log_message(self, *_):
                pass
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(self.certificate, key)
        with lab.gateway.inside():
            self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True
        self.server.socket = context.wrap_socket(self.server.socket, server_side=True, do_handshake_on_connect=False)
        self.url = f"https://localhost:{self.server.server_address[1]}/wicket"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def receive(self, request):
        body = request.rfile.read(int(request.headers["content-length"]))
        id, stamp = request.headers["webhook-id"], request.headers["webhook-timestamp"]
        key = base64.b64decode(self.secret.removeprefix("whsec_"))
        digest = hmac.new(key, f"{id}.{stamp}.".encode() + body, hashlib.sha256).digest()
        if request.headers["webhook-signature"] != "v1," + base64.b64encode(digest).decode():
            self.problems.append("a wrong signature")
        if abs(int(stamp) - time.time()) > 60 or request.headers["content-type"] != "application/json":
            self.problems.append(f"the headers: {request.headers}")
        self.attempts.append((id, body))
        status = self.status
        if status is None:
            self.released.wait(60 * SLOW)
            return
        request.send_response(status)
        request.send_header("Content-Length", "0")
        request.end_headers()
        if 200 <= status < 300:
            self.taken += json.loads(body)["events"]

    def kinds(self):
        return [event["event"] for event in self.taken]

    def close(self):
        self.released.set()
        self.server.shutdown()
        self.server.server_close()


class Hook:
    def __init__(self, lab, daemon, receiver, extra="", queue=None):
        self.lab = lab
        self.home = lab.dir / "hook"
        self.home.mkdir()
        self.queue = queue or self.home / "queue"
        secret = self.home / "a.secret"
        secret.write_text(receiver.secret + "\n")
        secret.chmod(0o600)
        self.config = self.home / "hooks.toml"
        self.config.write_text(f'socket = "{daemon.control}"\nqueue = "{self.queue}"\n[[hook]]\nname = "a"\n'
                               f'url = "{receiver.url}"\nsecret_file = "a.secret"\nca = "{receiver.certificate}"\n{extra}')
        self.log = self.home / "log"
        self.wrapper = []
        run("chown", "-R", f"{NOBODY}:{NOBODY}", self.home, *([queue] if queue else []))
        for path in (lab.dir, receiver.home):
            path.chmod(0o755)
        self.process = None

    def start(self):
        before = self.log_text.count("ready;")
        with open(self.log, "ab") as log:
            self.process = self.lab.gateway.start(
                *self.wrapper, "setpriv", f"--reuid={NOBODY}", f"--regid={NOBODY}", "--clear-groups",
                "--inh-caps=-all", "--bounding-set=-all", "--no-new-privs", BIN / "wicket-hook", "--config", self.config,
                stdout=log, stderr=log)
        check(wait_for(lambda: self.log_text.count("ready;") > before or self.process.poll() is not None, 10) and
              self.process.poll() is None, f"wicket-hook did not start: {self.log_text}")

    @property
    def log_text(self):
        return self.log.read_text() if self.log.exists() else ""

    def stop(self, how=signal.SIGTERM):
        if self.process:
            self.process.send_signal(how)
            status = self.process.wait(15 * SLOW)
            self.process = None
            return status
        return None


@contextmanager
def hook(**options):
    with gateway() as (lab, device, daemon):
        daemon.text = daemon.text.replace("[control]\n", '[control]\ngroup = "nogroup"\n', 1)
        receiver = Receiver(lab)
        made = Hook(lab, daemon, receiver, **options)
        try:
            daemon.start()
            made.start()
            yield lab, device, daemon, receiver, made
            equal(receiver.problems, [], "what the receiver found")
        finally:
            made.stop(signal.SIGKILL)
            receiver.close()


def test_events_arrive_signed_and_in_order():
    with hook(extra='kinds = ["created", "deleted"]\n') as (lab, device, daemon, receiver, made):
        check(wait_for(lambda: receiver.kinds() == ["watching"], 10), receiver.taken)
        control = Control(daemon, device)
        keys = [Key() for _ in range(250)]
        for key in keys:
            control.put(key)
        control.put(keys[0], labels={"a": "b"})  # an update, which was not asked for
        control.delete(keys[0])
        check(wait_for(lambda: len(receiver.taken) == 252, 20), f"{len(receiver.taken)} events; {made.log_text}")
        equal([event["public_key"] for event in receiver.taken[1:251]], [key.public64 for key in keys], "the order")
        equal((receiver.kinds()[-1], receiver.taken[-1]["device"]), ("deleted", device.name), "the last")
        check(all(len(json.loads(body)["events"]) <= 100 for _, body in receiver.attempts), "the size of a batch")
        equal(made.stop(), 0, made.log_text)


def test_what_a_receiver_does_not_take_is_sent_again_and_holds_nothing_up():
    with hook() as (lab, device, daemon, receiver, made):
        check(wait_for(lambda: receiver.kinds() == ["watching"], 10), receiver.taken)
        receiver.status = 500
        control = Control(daemon, device)
        keys = [Key() for _ in range(5)]
        control.put(keys[0])
        check(wait_for(lambda: len(receiver.attempts) >= 3, 20), "no second attempt")
        for key in keys[1:]:
            equal(control.put(key).status, 201, "wicketd while a receiver fails")
        # The process ends and comes back; the queue is on disk.
        data = made.queue / "a" / "data.mdb"
        check(wait_for(lambda: keys[-1].public64.encode() in data.read_bytes(), 10), "not in the queue")
        made.stop(signal.SIGKILL)
        made.start()
        receiver.status = None  # hangs
        attempts = len(receiver.attempts)
        check(wait_for(lambda: len(receiver.attempts) > attempts, 10), "no attempt after the restart")
        equal(control.put(Key()).status, 201, "wicketd while a receiver hangs")
        receiver.status = 200
        receiver.released.set()
        check(wait_for(lambda: receiver.kinds().count("created") == 6, 40), f"{receiver.taken}; {made.log_text}")
        equal([event["public_key"] for event in receiver.taken if event["event"] == "created"][:5],
              [key.public64 for key in keys], "the order")
        # An attempt repeats the one before, so the id names the events.
        bodies = {}
        for id, body in receiver.attempts:
            equal(bodies.setdefault(id, body), body, f"the body of {id}")
        # wicketd goes, and comes back.
        watching = receiver.kinds().count("watching")
        daemon.stop()
        check(wait_for(lambda: "no events from wicketd" in made.log_text, 10), made.log_text)
        daemon.start()
        check(wait_for(lambda: receiver.kinds().count("watching") == watching + 1, 20), "the new connection is not told")


def test_what_finds_no_room_is_counted_and_told():
    with hook(extra="queue_max = 100\n") as (lab, device, daemon, receiver, made):
        check(wait_for(lambda: receiver.kinds() == ["watching"], 10), receiver.taken)
        receiver.status = 503
        control = Control(daemon, device)
        for _ in range(160):
            equal(control.put(Key()).status, 201, "wicketd")
        check(wait_for(lambda: "events are missed" in made.log_text, 10), made.log_text)
        receiver.status = 200
        check(wait_for(lambda: len(receiver.taken) > 90, 60), "not delivered")
        told = 0

        def all_told():
            control.put(Key())  # an event brings the count with it
            nonlocal told
            told = sum(event["missed"] for event in receiver.taken if event["event"] == "lagged")
            return told > 0
        check(wait_for(all_told, 20, every=0.5), "nothing tells that events are missing")
        created = receiver.kinds().count("created")
        check(160 <= created + told <= 260, f"{created} taken, {told} missed")


def test_a_full_disk_under_the_queue_loses_only_what_it_tells():
    with gateway() as (lab, device, daemon):
        disk = lab.dir / "disk"
        disk.mkdir()
        run("mount", "-t", "tmpfs", "-o", "size=300k", "tmpfs", disk)
        receiver = None
        try:
            daemon.text = daemon.text.replace("[control]\n", '[control]\ngroup = "nogroup"\n', 1)
            receiver = Receiver(lab)
            made = Hook(lab, daemon, receiver, queue=disk)
            daemon.start()
            made.start()
            check(wait_for(lambda: receiver.kinds() == ["watching"], 10), receiver.taken)
            receiver.status = 503
            control = Control(daemon, device)
            (disk / "filler").write_bytes(b"x" * 150_000)
            made_keys = 0
            while "events are missed" not in made.log_text and made_keys < 3000:
                control.put(Key())
                made_keys += 1
            check("events are missed" in made.log_text, "the disk was never full")
            check(made.process.poll() is None, "it ended")
            # What waits is delivered from a disk that is full still, and nothing of it twice.
            receiver.status = 200
            check(wait_for(lambda: len(receiver.taken) >= 100, 60), f"{len(receiver.taken)}; {made.log_text}")
            (disk / "filler").unlink()

            def told():
                control.put(Key())
                return any(event["event"] == "lagged" for event in receiver.taken)
            check(wait_for(told, 60, every=0.5), f"{len(receiver.taken)} taken; {made.log_text}")
            known = [event["public_key"] for event in receiver.taken if event["event"] == "created"]
            equal(len(known), len(set(known)), "delivered once")
            made.stop()
        finally:
            if receiver:
                made.stop(signal.SIGKILL)
                receiver.close()
            run("umount", "-l", disk)


def test_a_name_that_nobody_knows_ends_nothing():
    """The C library then asks the modules of nsswitch.conf, which it loads for that."""
    with gateway() as (lab, device, daemon):
        daemon.text = daemon.text.replace("[control]\n", '[control]\ngroup = "nogroup"\n', 1)
        receiver = Receiver(lab)
        made = Hook(lab, daemon, receiver)
        made.config.write_text(made.config.read_text().replace("localhost", "no-such-host.invalid"))
        switch = lab.dir / "nsswitch.conf"
        switch.write_text("hosts: files nis compat dns\n")
        made.wrapper = ["unshare", "--mount", "sh", "-c", f'mount --bind {switch} /etc/nsswitch.conf && exec "$@"', "sh"]
        try:
            daemon.start()
            made.start()
            check(wait_for(lambda: "did not take 1 events" in made.log_text, 30), made.log_text)
            check(made.process.poll() is None, f"ended by {made.process.poll()}: {made.log_text}")
            equal(made.stop(), 0, made.log_text)
        finally:
            made.stop(signal.SIGKILL)
            receiver.close()


def test_bad_files_of_hooks_are_named():
    with gateway() as (lab, device, daemon):
        receiver = Receiver(lab)
        made = Hook(lab, daemon, receiver)
        try:
            def checked():
                result = run(BIN / "wicket-hook", "--check", "--config", made.config, check=False)
                return result.returncode, result.stdout + result.stderr
            equal(checked()[0], 0, checked())
            secret = made.home / "a.secret"
            secret.chmod(0o644)
            check("chmod 0640" in checked()[1], checked())
            secret.chmod(0o600)
            secret.write_text("whsec_short")
            check("not a secret" in checked()[1] and "short" not in checked()[1], checked())
            secret.unlink()
            check(str(secret) in checked()[1], checked())
            made.config.write_text("nonsense = 1\n")
            equal(checked()[0], 1, "the exit status")
            check("nonsense" in checked()[1] and "[[hook]]" in checked()[1], checked())
            as_root = run(BIN / "wicket-hook", "--config", made.config, check=False)
            check(as_root.returncode == 1 and "does not run as root" in as_root.stderr, as_root)
        finally:
            receiver.close()


if __name__ == "__main__":
    scenarios = {name: function for name, function in globals().items()
                 if name.startswith("test_") and function.__module__ == __name__}
    sys.exit(main(sys.argv[1:], scenarios))
