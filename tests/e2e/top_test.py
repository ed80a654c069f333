#!/usr/bin/python3
"""wicket top on a terminal, and wicket bugreport.

Run all scenarios, or those named as arguments. Needs root.
"""
import fcntl
import os
import pty
import re
import select
import signal
import struct
import subprocess
import sys
import tarfile
import termios
import time

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from blast_test import blast, import_fleet  # noqa: E402
from client import Client  # noqa: E402
from gateway_test import check, equal, gateway, main  # noqa: E402
from lab import SLOW, TOOLS, wait_for  # noqa: E402
from noise import Key  # noqa: E402

WICKET = TOOLS / "wicket"


class Terminal:
    """A program on a terminal of its own."""

    def __init__(self, *command, rows=24, columns=80):
        self.pid, self.fd = pty.fork()
        if self.pid == 0:
            os.environ.update(TERM="xterm-256color", LANG="C.UTF-8", LC_ALL="C.UTF-8")
            time.sleep(0.2)  # the size comes first
            os.execv(str(command[0]), [str(word) for word in command])
        self.resize(rows, columns)
        self.settings = termios.tcgetattr(self.fd)
        self.text = ""

    def resize(self, rows, columns):
        fcntl.ioctl(self.fd, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))

    def shows(self, pattern, seconds=10):
        """Whether something is drawn that matches, since the last key."""
        def read():
            while select.select([self.fd], [], [], 0.05)[0]:
                try:
                    piece = os.read(self.fd, 65536)
                except OSError:  # its other end is closed
                    return True
                # Without the moves of the cursor and the colours.
                self.text += re.sub(r"\x1b\[[0-9;?]*[A-Za-z]|\x1b\(B", " ", piece.decode(errors="replace"))
                if not piece:
                    return True
            return re.search(pattern, self.text)
        wait_for(read, seconds, every=0)
        return re.search(pattern, self.text)

    def press(self, keys):
        self.text = ""
        os.write(self.fd, keys.encode())

    def end(self):
        """Returns the exit status, once the terminal is as it was."""
        status = []

        def ended():
            self.shows("$nothing", 0)
            pid, code = os.waitpid(self.pid, os.WNOHANG)
            if pid:
                status.append(os.waitstatus_to_exitcode(code))
            return bool(status)
        check(wait_for(ended, 10), "it does not end")
        after = termios.tcgetattr(self.fd)
        equal(after[:4], self.settings[:4], "the terminal's settings")
        os.close(self.fd)
        return status[0]


def test_top_shows_the_gateway_live():
    count = 40
    with gateway(log_level="info") as (lab, device, daemon):
        import_fleet(lab, device, count)
        daemon.start()
        top = Terminal(WICKET, "top", "--socket", daemon.control)
        check(top.shows(rf"{count} peers stored") and "newcomers a second" in top.text, top.text)
        check(device.name in top.text and "q quit" in top.text, top.text)
        blast(lab, device, "--clients", count, "--count", count, "--rate", 20)
        check(top.shows(rf"{count} installed"), top.text)
        top.press("2")
        check(top.shows(rf"{count} of {count} installed peers"), top.text)
        key = next(iter(device.peers()))
        top.press("/" + key[:8] + "\r")
        check(top.shows(re.escape(f'{key[7]}", by')), top.text)  # what was drawn before is not drawn again
        top.press("s")
        check(top.shows("received"), top.text)
        top.press("p")
        check(top.shows("PAUSED"), top.text)
        top.press("p")
        top.resize(40, 130)
        os.kill(top.pid, signal.SIGWINCH)
        top.press("4")
        check(top.shows("LAST PROGRESS") and f"install/{device.name}" in top.text, top.text)
        daemon.stop()
        check(top.shows("does not run|refused|No such file|closed"), top.text)
        daemon.start()
        top.press("1")
        check(top.shows("newcomers a second") and wait_for(lambda: top.shows("peers stored", 0), 10), top.text)
        top.press("q")
        equal(top.end(), 0, "exit status")


def test_top_restores_the_terminal_when_it_is_ended():
    with gateway(log_level="info") as (lab, device, daemon):
        daemon.start()
        for number in signal.SIGTERM, signal.SIGINT, signal.SIGHUP:
            top = Terminal(WICKET, "top", "--socket", daemon.control)
            check(top.shows("peers stored"), top.text)
            os.kill(top.pid, number)
            equal(top.end(), 0, f"exit status after {number!r}")
        lines = subprocess.run([WICKET, "top", "-n", "2", "--socket", daemon.control], capture_output=True, text=True,
                               timeout=20 * SLOW)
        equal((lines.returncode, lines.stderr, lines.stdout.count("\n")), (0, "", 2), lines)
        check(re.match(r"\d\d:\d\d:\d\d stored 0 installed 0 new/s 0 ", lines.stdout), lines.stdout)
        daemon.stop()
        absent = subprocess.run([WICKET, "top", "--socket", daemon.control], capture_output=True, text=True)
        check(absent.returncode == 1 and "wicketd does not run" in absent.stderr, absent)


def test_a_bugreport_tells_much_and_no_secret():
    with gateway() as (lab, device, daemon):
        client = Client(lab, device.key.public)
        psk = Key()
        lab.import_peers([{**client.stored, "preshared_key": psk.private64}], device.name)
        planted = Key()
        daemon.text = f"# key {planted.private64}, in hex {planted.private.hex()}\n# token = hunter2hunter2\n" \
                      "# curl -H 'Authorization: Bearer sesame-open-sesame'\n" \
                      f"# 0x{planted.private.hex()} /x/{planted.private64[:-1].replace('/', '_')}/y\n" \
                      "# whsec_aHVudGVyMjwiZmllbGQ https://hooks:hunter3@example.net/x password: hunter4 secret=hunter5\n" \
                      "# password = \"two hunter7\" secret: 'more hunter8 words'\n" \
                      "# -----BEGIN PRIVATE KEY-----\n# hunter6\n# -----END PRIVATE KEY-----\n" + daemon.text
        daemon.start()
        archive = lab.dir / "report.tar.gz"
        result = lab.gateway.run(WICKET, "bugreport", "--config", daemon.config, "--output", archive, check=False)
        equal(result.returncode, 0, result.stderr)
        equal(archive.stat().st_mode & 0o777, 0o600, "mode of the archive")
        files = {}
        with tarfile.open(archive) as tar:
            for member in tar.getmembers():
                if member.isfile():
                    files[member.name.split("/", 1)[1]] = tar.extractfile(member).read()
        check({"doctor.json", "status.json", "wicket.toml", "nic-in.txt", "links.txt", "version.txt"} <= set(files), files)
        check(b'"findings"' in files["doctor.json"] and b'"devices"' in files["status.json"], files)
        check(b"driver: veth" in files["nic-in.txt"], files["nic-in.txt"])
        everything = b"\n".join(files.values())
        secrets = {"device": device.key, "client": client.key, "preshared": psk, "planted": planted}
        for name, key in secrets.items():
            for form in key.private64.encode(), key.private.hex().encode(), key.private, key.private64[:-1].encode():
                check(form not in everything, f"the {name} key is in it")
        for word in b"hunter", b"sesame", b"aHVudGVy", planted.private64[:-1].replace("/", "_").encode():
            check(word not in everything, f"{word} is in it")
        # One key is the same number in every file.
        number = re.search(rb'"public_key":"(key-\d+)"', files["status.json"])[1]
        check(number in files["wireguard.txt"], (number, files["wireguard.txt"]))
        again = lab.gateway.run(WICKET, "bugreport", "--config", daemon.config, "--output", archive, check=False)
        check(again.returncode == 1 and "exists" in again.stderr, again)


if __name__ == "__main__":
    scenarios = {name: function for name, function in globals().items()
                 if name.startswith("test_") and function.__module__ == __name__}
    sys.exit(main(sys.argv[1:], scenarios))
