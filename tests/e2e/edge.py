"""A wicket-edge before a daemon, as a user who is not root, and clients of it over TLS."""
import ctypes
import http.client
import os
import signal
import socket
import ssl
import subprocess

from control import Control
from lab import BIN, GATEWAY4, SLOW, run, wait_for

NOBODY = 65534
CHDIR = 80  # system call number of x86-64
PORT = 8443


class Edge:
    """Belongs to a daemon; the daemon starts after it was made."""

    def __init__(self, lab, daemon, address=GATEWAY4):
        self.lab, self.daemon, self.address = lab, daemon, address
        self.home = lab.dir / "edge"
        self.home.mkdir()
        self.certificate, self.key = self.home / "cert.pem", self.home / "key.pem"
        self.renew()
        self.tokens = {}
        lines = [self.make_token(role, role) for role in ("metrics", "read", "write")]
        self.token_file = self.home / "tokens"
        self.token_file.write_text("\n".join(lines) + "\n")
        self.config = self.home / "edge.toml"
        self.text = f'listen = ["{address}:{PORT}"]\nsocket = "{daemon.control}"\n' \
                    f'tls_certificate = "{self.certificate}"\ntls_key = "{self.key}"\ntokens = "{self.token_file}"\n'
        self.log = self.home / "log"
        self.process = None
        self.wrapper = []
        # The edge runs with this group, whose members may connect to the control socket.
        daemon.text += '[control]\n' if "[control]" not in daemon.text else ""
        daemon.text = daemon.text.replace("[control]\n", '[control]\ngroup = "nogroup"\n', 1)
        for path in (lab.dir, self.home):
            path.chmod(0o755)

    def renew(self, days="2"):
        run("openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-keyout",
            self.key, "-out", self.certificate, "-days", days, "-subj", "/CN=wicket", "-addext",
            f"subjectAltName=IP:{self.address}")

    def make_token(self, name, role):
        made = run(BIN / "wicket-edge", "--new-token", name, role)
        self.tokens[name] = made.stdout.strip()
        return made.stderr.splitlines()[-1]

    def start(self, expect_failure=False, ready=" ready"):
        self.config.write_text(self.text)
        for path in (self.certificate, self.key, self.token_file):
            if path.exists():
                run("chown", f"{NOBODY}:{NOBODY}", path)
        if self.token_file.exists() and not expect_failure:
            self.token_file.chmod(0o640)
        with open(self.log, "ab") as log:
            offset = log.tell()
            self.process = self.lab.gateway.start(
                "setpriv", f"--reuid={NOBODY}", f"--regid={NOBODY}", "--clear-groups", "--inh-caps=-all",
                "--bounding-set=-all", "--no-new-privs", *self.wrapper, BIN / "wicket-edge", "--config", self.config,
                stdout=log, stderr=log)
        if expect_failure:
            status = self.process.wait(10 * SLOW)
            self.process = None
            return status, self.log_text
        if not wait_for(lambda: ready in self.log_text[offset:] or self.process.poll() is not None, 10) or \
                self.process.poll() is not None:
            raise RuntimeError(f"wicket-edge did not start: {self.log_text}")
        return None

    @property
    def log_text(self):
        return self.log.read_text() if self.log.exists() else ""

    def reload(self):
        count = self.log_text.count("reload")
        self.process.send_signal(signal.SIGHUP)
        return wait_for(lambda: self.log_text.count("reload") > count, 10)

    def stop(self):
        if self.process and self.process.poll() is None:
            self.process.terminate()
            self.process.wait(10 * SLOW)
        status = self.process.returncode if self.process else None
        self.process = None
        return status

    def __enter__(self):
        return self

    def __exit__(self, *exception):
        try:
            self.stop()
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
            if exception[0] is None:
                raise

    def connection(self, timeout=10, certificate=None, trust=None):
        context = ssl.create_default_context(cadata=trust or self.certificate.read_text())
        if certificate:
            context.load_cert_chain(*certificate)
        with self.lab.client.inside() if self.address == GATEWAY4 else self.lab.gateway.inside():
            connection = http.client.HTTPSConnection(self.address, PORT, context=context, timeout=timeout * SLOW)
            connection.connect()
        return connection

    def control(self, token=None, device=None, **options):
        """Returns: a Control whose calls carry the token of that name."""
        control = Control(self.daemon, device, self.connection(**options))
        if token:
            plain = control.call
            control.call = lambda method, path, body=None, headers=None: plain(
                method, path, body, {"Authorization": f"Bearer {self.tokens.get(token, token)}", **(headers or {})})
        return control

    def tcp(self, timeout=5):
        with self.lab.client.inside():
            plain = socket.create_connection((self.address, PORT), timeout=timeout * SLOW)
        return plain


class _Registers(ctypes.Structure):  # user_regs_struct of x86-64
    _fields_ = [(name, ctypes.c_ulonglong) for name in (
        "r15 r14 r13 r12 rbp rbx r11 r10 r9 r8 rax rcx rdx rsi rdi orig_rax rip cs eflags rsp ss fs_base gs_base ds es "
        "fs gs").split()]


def make_system_call(pid, number):
    """Lets a process that waits in a system call make another one in its stead."""
    attach, detach, getregs, setregs = 16, 17, 12, 13
    libc = ctypes.CDLL(None, use_errno=True)
    libc.ptrace.argtypes = [ctypes.c_long, ctypes.c_long, ctypes.c_void_p, ctypes.c_void_p]

    def ptrace(request, data=None):
        if libc.ptrace(request, pid, None, data) != 0:
            raise OSError(ctypes.get_errno(), f"ptrace({request})")
    ptrace(attach)
    os.waitpid(pid, 0)
    registers = _Registers()
    ptrace(getregs, ctypes.byref(registers))
    registers.rip -= 2  # its own syscall instruction
    registers.rax, registers.orig_rax, registers.rdi = number, ctypes.c_ulonglong(-1).value, 0
    ptrace(setregs, ctypes.byref(registers))
    ptrace(detach)
