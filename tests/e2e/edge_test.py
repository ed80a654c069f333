#!/usr/bin/python3
"""wicket-edge before a daemon: TLS, tokens and roles, limits, reloads, and what it does when either end fails.

Run all scenarios, or those named as arguments. Needs root.
"""
import glob
import json
import os
import re
import signal
import socket
import ssl
import sys
from contextlib import contextmanager, suppress
from http.client import HTTPException
from pathlib import Path

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from edge import CHDIR, NOBODY, Edge, make_system_call  # noqa: E402
from gateway_test import check, equal, gateway, main  # noqa: E402
from lab import BIN, CLIENT4, SLOW, TOOLS, Key, run, wait_for  # noqa: E402


@contextmanager
def edge(started=True):
    with gateway() as (lab, device, daemon), Edge(lab, daemon) as face:
        if started:
            daemon.start()
            face.start()
        yield lab, device, daemon, face


# --- who may do what -------------------------------------------------------------

def test_each_token_may_do_what_its_role_says():
    with edge() as (lab, device, daemon, face):
        key = Key()

        def status(token, method, path, body=None):
            return face.control(token, device).call(method, path, body).status
        peer = face.control(None, device).peers(key)
        equal([status(token, "GET", "/metrics") for token in ("metrics", "read", "write")], [200] * 3, "metrics")
        equal([status(token, "GET", "/v1/status") for token in ("metrics", "read", "write")], [403, 200, 200], "read")
        equal([status(token, "PUT", peer, "{}") for token in ("metrics", "read", "write")], [403, 403, 201], "write")
        secret = peer + "?secrets=true"
        equal([status(token, "GET", secret) for token in ("metrics", "read", "write")], [403, 403, 200], "secrets")
        answer = face.control(None, device).call("GET", "/v1/status")
        equal((answer.status, answer.headers["www-authenticate"]), (401, "Bearer"), "no token")
        equal(status("0123456789abcdef", "GET", "/v1/status"), 401, "a wrong token")
        # A sender cannot name its role itself.
        forged = face.control("read", device).call("PUT", peer, "{}", {"Wicket-Role": "write"})
        equal(forged.status, 403, "a role that the sender names")
        # An answer comes through as it is.
        answer = face.control("read", device).call("DELETE", "/v1/status")
        equal((answer.status, answer.headers["allow"]), (405, "GET"), "a method that is not taken")
        equal(face.control("write", device).call("PUT", peer, {"allowed_ips": ["x"]}).error["field"], "allowed_ips",
              "the field of an error")


def test_a_client_certificate_takes_the_place_of_a_token():
    with edge(started=False) as (lab, device, daemon, face):
        ca, ca_key = face.home / "ca.pem", face.home / "ca.key"
        run("openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-keyout",
            ca_key, "-out", ca, "-days", "2", "-subj", "/CN=test ca")
        pairs = {}
        for name in ("operator", "prometheus", "stranger"):
            request, key, certificate = (face.home / f"{name}.{kind}" for kind in ("csr", "key", "pem"))
            run("openssl", "req", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-keyout", key,
                "-out", request, "-subj", f"/CN={name}")
            run("openssl", "x509", "-req", "-in", request, "-CA", ca, "-CAkey", ca_key, "-CAcreateserial", "-out",
                certificate, "-days", "2")
            pairs[name] = (certificate, key)
        run("openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-keyout",
            face.home / "self.key", "-out", face.home / "self.pem", "-days", "2", "-subj", "/CN=operator")
        face.text += f'client_ca = "{ca}"\n[[client]]\nname = "operator"\nrole = "write"\n' \
                     '[[client]]\nname = "prometheus"\nrole = "metrics"\n'
        daemon.start()
        face.start()
        peer = face.control(None, device).peers(Key())

        def status(name, method, path, body=None):
            return face.control(None, device, certificate=pairs[name]).call(method, path, body).status
        equal([status("operator", "PUT", peer, "{}"), status("prometheus", "GET", "/metrics"),
               status("prometheus", "GET", "/v1/status"), status("stranger", "GET", "/metrics")],
              [201, 200, 403, 401], "certificates")
        equal(face.control("read").call("GET", "/v1/status").status, 200, "a token without a certificate")
        try:  # TLS 1.3: the client learns of it with its first read
            answer = face.control(None, certificate=(face.home / "self.pem", face.home / "self.key")).call(
                "GET", "/v1/status")
            check(False, f"a name that nobody signed: {answer.status}")
        except (OSError, HTTPException):
            pass


def test_many_peers_go_through_it_in_both_directions():
    with edge() as (lab, device, daemon, face):
        lines = [json.dumps({"public_key": Key().public64, "labels": {"n": str(i)}}) for i in range(3000)]
        imported = face.control("write", device, timeout=60).call(
            "POST", f"/v1/devices/{device.name}/import", "\n".join([*lines, "nonsense"]))
        equal((imported.status, imported.lines[-1]), (200, {"imported": 3000, "refused": 1}), "the import")
        exported = face.control("write", device, timeout=60).call("GET", f"/v1/devices/{device.name}/export")
        equal({peer["public_key"] for peer in exported.lines}, {json.loads(line)["public_key"] for line in lines},
              "the export")
        equal(len(face.control("read", device).list(limit=500)), 3000, "the pages of a list")


def test_the_command_line_reaches_it_by_a_name():
    with edge() as (lab, device, daemon, face):
        home = lab.dir / "config"
        (home / "wicket").mkdir(parents=True)
        text = "".join(f'[[remote]]\nname = "{role}"\nurl = "https://{face.address}:8443"\n'
                       f'token_file = "{role}.token"\nca = "{face.certificate}"\n' for role in ("read", "write"))
        (home / "wicket/remotes.toml").write_text(text + '[[remote]]\nname = "untrusted"\n'
                                                  f'url = "https://{face.address}:8443"\n')
        for role in ("read", "write"):
            (home / f"wicket/{role}.token").write_text(face.tokens[role] + "\n")
        key = Key().public64

        def wicket(*words, **kwargs):
            return lab.client.run("env", f"XDG_CONFIG_HOME={home}", TOOLS / "wicket", *words, check=False, **kwargs)
        added = wicket("peer", "add", key, "--allowed-ips", "10.9.0.1/32", "--remote", "write")
        equal(added.returncode, 0, added.stderr)
        check(key in wicket("peer", "list", "--json", "--remote", "read").stdout, "the peer is not listed")
        result = wicket("status", "--json", "--remote", "read")
        equal(json.loads(result.stdout)["devices"][0]["name"], device.name, "the device")
        for words, say in ((("peer", "rm", key, "--remote", "read"), "may read, not write"),
                           (("peer", "list", "--remote", "nowhere"), "there are: read, write, untrusted"),
                           (("peer", "list", "--remote", "untrusted"), "self-signed certificate")):
            result = wicket(*words)
            check(result.returncode != 0 and say in result.stderr, f"{words}: {result.stderr}")
        equal(wicket("peer", "rm", key, "--remote", "write").returncode, 0, "removed")
        daemon.stop()
        result = wicket("peer", "list", "--remote", "read")
        check("wicketd does not answer" in result.stderr, result.stderr)
        face.stop()
        result = wicket("peer", "list", "--remote", "read")
        check("connect(" in result.stderr and "Connection refused" in result.stderr, result.stderr)
        (home / "wicket/remotes.toml").write_text('[[remote]]\nname = "x"\nurl = "http://x"\n')
        result = wicket("peer", "list", "--remote", "x")
        check("remotes.toml:1: remote.url: found http://x; accepted: https://HOST:PORT" in result.stderr, result.stderr)


# --- limits ----------------------------------------------------------------------

def test_an_address_that_guesses_tokens_has_to_wait():
    with edge(started=False) as (lab, device, daemon, face):
        face.text += "failures_per_minute = 3\n"
        daemon.start()
        face.start()
        for _ in range(3):
            answer = face.control("0123456789abcdef").call("GET", "/v1/status")
            equal((answer.status, answer.headers["connection"]), (401, "close"), "a wrong token")
        check(wait_for(lambda: f"{CLIENT4}: too many wrong tokens" in face.log_text, 5), face.log_text)
        answer = face.control("read").call("GET", "/v1/status")
        equal((answer.status, answer.error["code"]), (429, "too_many_requests"), "the right token, after three wrong ones")
        equal(answer.headers["retry-after"], "60", "when to come again")
        with face.lab.gateway.inside():  # of another address
            other = ssl.create_default_context(cafile=face.certificate).wrap_socket(
                socket.create_connection((face.address, 8443), timeout=5 * SLOW), server_hostname=face.address)
        other.sendall(f"GET /v1/status HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {face.tokens['read']}\r\n\r\n"
                      .encode())
        answer = other.recv(4096)
        check(b"200 OK" in answer, f"another address has to wait too: {answer}")
        check(wait_for(lambda: works(face), 60, every=2), "it has to wait for more than its minute")


def test_an_address_has_its_connections_and_leaves_the_rest_to_others():
    with edge(started=False) as (lab, device, daemon, face):
        face.text += "connections_per_address = 4\n"
        daemon.start()
        face.start()
        idle = [face.tcp() for _ in range(4)]  # they say nothing
        try:
            fifth = face.tcp()
            fifth.settimeout(5 * SLOW)
            equal(fifth.recv(1), b"", "a fifth connection is closed")
            equal(face.log_text.count("error"), 0, "errors in the log")
            # A handshake that does not come is not waited for: 10 s.
            check(wait_for(lambda: works(face), 30), "the address stays out")
        finally:
            for connection in idle:
                connection.close()


def works(face):
    with suppress(OSError, HTTPException):
        return face.control("read").call("GET", "/v1/status").status == 200
    return False


def test_what_is_no_tls_is_refused():
    with edge() as (lab, device, daemon, face):
        for bytes_sent in (b"GET /v1/status HTTP/1.1\r\nHost: x\r\n\r\n", os.urandom(4096), b"\x16\x03\x01"):
            plain = face.tcp(timeout=15)
            plain.sendall(bytes_sent)
            plain.shutdown(socket.SHUT_WR)
            answer = b""
            with suppress(ConnectionError):
                while more := plain.recv(4096):
                    answer += more
            check(b"HTTP/1.1 2" not in answer, answer)
        old = ssl.create_default_context(cafile=face.certificate)
        old.maximum_version = ssl.TLSVersion.TLSv1_2
        with suppress(ssl.SSLError, ConnectionError):
            old.wrap_socket(face.tcp(), server_hostname=face.address)
            check(False, "TLS 1.2 is taken")
        check(works(face), "it has stopped")


# --- reloads ---------------------------------------------------------------------

def test_a_reload_loses_no_connection_and_takes_rights_away():
    with edge() as (lab, device, daemon, face):
        watcher = face.connection(timeout=30)
        watcher.request("GET", "/v1/events", headers={"Authorization": f"Bearer {face.tokens['read']}"})
        stream = watcher.getresponse()
        equal(stream.readline(), b": watching\n", "the stream")
        kept = face.control("metrics")
        equal(kept.call("GET", "/metrics").status, 200, "before the reload")
        serial = face.connection().sock.getpeercert()["serialNumber"]
        before = face.certificate.read_bytes()
        face.renew()
        face.token_file.write_text(face.make_token("second", "read") + "\n" + face.make_token("write", "write") + "\n")
        run("chown", f"{NOBODY}:{NOBODY}", face.certificate, face.key, face.token_file)
        check(face.reload(), face.log_text)
        after = face.certificate.read_text()
        check(face.connection().sock.getpeercert()["serialNumber"] != serial, "the old certificate is shown")
        equal(kept.call("GET", "/metrics").status, 401, "a token that was taken away, on a connection that is open")
        equal(face.control("second").call("GET", "/v1/status").status, 200, "a new token")
        face.control("write", device).put(Key())
        check(any(b"created" in stream.readline() for _ in range(8)), "the stream was lost")
        # What is bad stays out, and is told; what is good is taken all the same.
        face.certificate.write_text("no certificate\n")
        face.token_file.write_text(face.make_token("third", "read") + "\n")
        check(face.reload(), "nothing is told")
        check("what could not be loaded stays as it was: tls_certificate: " in face.log_text, face.log_text)
        equal([face.control(name, trust=after).call("GET", "/v1/status").status for name in ("second", "third")],
              [401, 200], "tokens beside a bad certificate")
        face.certificate.write_bytes(before)
        run("openssl", "genrsa", "-out", face.key)
        run("chown", f"{NOBODY}:{NOBODY}", face.key)
        check(face.reload() and "is not the key of" in face.log_text, face.log_text)
        run("openssl", "genpkey", "-algorithm", "ed25519", "-aes256", "-pass", "pass:secret", "-out", face.key)
        run("chown", f"{NOBODY}:{NOBODY}", face.key)
        check(face.reload() and face.process.poll() is None, "a key with a passphrase ends it")
        watcher.close()


def test_bad_files_are_told_of():
    with edge(started=False) as (lab, device, daemon, face):
        def failure(say):
            status, log = face.start(expect_failure=True)
            equal(status, 1, "exit status")
            check(say in log, f"{say!r} is not in {log!r}")
            face.log.unlink()
        face.token_file.chmod(0o644)
        failure("others can read it")
        face.token_file.chmod(0o640)
        whole = face.token_file.read_text()
        face.token_file.write_text("name root 00\n")
        failure(f'{face.token_file}:1: found the role "root"')
        face.token_file.write_text(whole)
        text = face.text
        face.text += "listn = 1\n"
        failure("listn: found an unknown key")
        face.text = text.replace("8443", "84430")
        failure("accepted: ADDRESS:PORT")
        face.text = text.replace(face.address, "203.0.113.7")
        failure("is it an address of this machine?")
        face.text = text
        preload, = glob.glob("/usr/lib/*/faketime/libfaketime.so.1")
        run("env", f"LD_PRELOAD={preload}", "FAKETIME=@2020-01-01 00:00:00", "openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes",
            "-keyout", face.key, "-out", face.certificate, "-days", "2", "-subj", "/CN=wicket")
        failure("it expired at 2020-01-03")
        face.certificate.unlink()
        failure(f"tls_certificate: {face.certificate}")
        face.renew()
        run("openssl", "genrsa", "-out", face.key)
        failure("is not the key of")
        result = run(BIN / "wicket-edge", "--config", face.config, check=False)
        check(result.returncode == 1 and "does not run as root" in result.stderr, result.stderr)


def test_sockets_and_credentials_of_the_service_manager():
    with edge(started=False) as (lab, device, daemon, face):
        credentials = face.home / "credentials"
        credentials.mkdir()
        for path in (face.certificate, face.key, face.token_file):
            path.rename(credentials / path.name)
            run("chown", f"{NOBODY}:{NOBODY}", credentials / path.name)
        face.certificate, face.key, face.token_file = (credentials / path.name for path in (
            face.certificate, face.key, face.token_file))
        face.text = f'socket = "{daemon.control}"\ntls_certificate = "cert.pem"\ntls_key = "key.pem"\n' \
                    'tokens = "tokens"\nconnections_per_address = 2\n'
        # Both IP versions at one socket, as ListenStream= does.
        face.wrapper = ["systemd-socket-activate", "--listen=8443", f"--setenv=CREDENTIALS_DIRECTORY={credentials}"]
        daemon.start()
        face.start(ready="Listening on")  # it is started by the first connection
        check(wait_for(lambda: works(face), 15), face.log_text)
        idle = [face.tcp() for _ in range(2)]
        check(wait_for(lambda: not works(face), 5), "an address has more than its connections")
        with face.lab.gateway.inside():  # another IPv4 address
            other = ssl.create_default_context(cafile=face.certificate).wrap_socket(
                socket.create_connection((face.address, 8443), timeout=5 * SLOW), server_hostname=face.address)
        other.close()
        for connection in idle:
            connection.close()


# --- when an end fails -----------------------------------------------------------

def test_without_a_daemon_it_says_so_and_recovers():
    with edge() as (lab, device, daemon, face):
        control = face.control("read")
        equal(control.call("GET", "/v1/status").status, 200, "at first")
        daemon.stop()
        answer = control.call("GET", "/v1/status")
        equal((answer.status, answer.headers["retry-after"]), (503, "1"), "without a daemon")
        check("wicketd does not answer" in answer.error["message"], answer.text)
        daemon.start()
        equal(control.call("GET", "/v1/status").status, 200, "with a daemon again, on the same connection")
        # A daemon that dies in the middle of a stream ends it.
        watcher = face.connection(timeout=30)
        watcher.request("GET", "/v1/events", headers={"Authorization": f"Bearer {face.tokens['read']}"})
        stream = watcher.getresponse()
        stream.readline()
        daemon.kill()
        try:
            stream.read()
        except (HTTPException, ConnectionError):
            whole = False
        else:
            whole = True
        check(not whole, "the stream ends as if it were whole")
        watcher.close()


def test_the_daemon_does_not_notice_an_edge_that_dies():
    with edge() as (lab, device, daemon, face):
        watchers = []
        for _ in range(4):
            connection = face.connection(timeout=30)
            connection.request("GET", "/v1/events", headers={"Authorization": f"Bearer {face.tokens['read']}"})
            connection.getresponse().readline()
            watchers.append(connection)
        threads = Path(f"/proc/{daemon.process.pid}/task")
        busy = len(list(threads.iterdir()))
        face.process.kill()
        face.process.wait()
        check(wait_for(lambda: len(list(threads.iterdir())) <= busy - 4, 10), "its connections stay")
        check(daemon.fresh_status()["devices"][0]["name"] == device.name, "no status")
        check(not re.search(r"\b(error|warning)\b.*control", daemon.log_text), daemon.log_text)
        face.start()
        check(works(face), "it does not come back")


def test_clients_that_leave_or_do_not_read_hold_nothing_up():
    with edge() as (lab, device, daemon, face):
        lab.import_peers([{"public_key": Key().public64, "labels": {"text": "x" * 200}} for _ in range(20_000)],
                         device.name)
        threads = Path(f"/proc/{face.process.pid}/task")
        idle = len(list(threads.iterdir()))
        for _ in range(3):  # asks for much, and reads nothing
            connection = face.connection(timeout=30)
            connection.request("GET", f"/v1/devices/{device.name}/export",
                               headers={"Authorization": f"Bearer {face.tokens['write']}"})
        leaving = face.connection()
        leaving.request("GET", "/v1/events", headers={"Authorization": f"Bearer {face.tokens['read']}"})
        leaving.getresponse().readline()
        leaving.close()
        check(works(face), "readers that do not read hold others up")
        check(wait_for(lambda: len(list(threads.iterdir())) <= idle + 1, 40), "their threads stay")
        check(works(face), "it has stopped")


# --- rights ----------------------------------------------------------------------

def test_it_has_no_right_and_a_forbidden_call_ends_it():
    with edge() as (lab, device, daemon, face):
        check(works(face), "it does not work")
        for task in Path(f"/proc/{face.process.pid}/task").iterdir():
            text = (task / "status").read_text()
            for line, wanted in (("CapEff", "0+"), ("CapPrm", "0+"), ("CapBnd", "0+"), ("NoNewPrivs", "1"),
                                 ("Seccomp", "2"), ("Uid", rf"{NOBODY}\s.*")):
                check(re.search(rf"^{line}:\s+{wanted}$", text, re.M), f"{task.name}: {line} is not {wanted}: {text}")
        make_system_call(face.process.pid, CHDIR)
        equal(face.process.wait(10 * SLOW), -signal.SIGSYS, "exit status")


def test_an_old_file_is_told_where_its_table_went():
    with gateway() as (lab, device, daemon):
        daemon.text += '[control.tcp]\nlisten = "127.0.0.1:8443"\n'
        daemon.start()
        check(re.search(r"control\.tcp is not served any more: wicket-edge .*/etc/wicket-edge/edge\.toml", daemon.log_text), daemon.log_text)
        result = run(BIN / "wicketd", "--check", "--config", daemon.config)
        check(re.search(r"^note: \S+:\d+: control\.tcp is not served", result.stdout, re.M), result.stdout)
        check(not lab.gateway.run("ss", "-ltnH").stdout.strip(), "something listens on TCP")


if __name__ == "__main__":
    scenarios = {name: function for name, function in globals().items()
                 if name.startswith("test_") and function.__module__ == __name__}
    sys.exit(main(sys.argv[1:], scenarios))
