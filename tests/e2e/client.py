"""A client built on noise.py: one UDP socket, handshakes by hand."""
import select
import socket
import time

from lab import GATEWAY4, PORT, SLOW
from noise import Handshake, Key, data_packet


class Client:
    """Sends from its own socket in the client's namespace."""

    def __init__(self, lab, gateway_public, key=None, psk=bytes(32), source=None, target=GATEWAY4,
                 port=PORT):
        self.lab, self.gateway_public, self.psk = lab, gateway_public, psk
        self.key = key or Key()
        self.target = (target, port)
        family = socket.AF_INET6 if ":" in target else socket.AF_INET
        self.socket = lab.client.socket(family)
        self.socket.setblocking(False)
        if source:
            self.socket.bind(source)
        self.handshake = None
        self.cookie = None

    @property
    def stored(self):
        """The line that imports this client's peer."""
        return {"public_key": self.key.public64, "allowed_ips": []}

    # When each key last initiated. Devices accept at most one initiation of a peer in 20 ms, and
    # stamps have a resolution of 17 ms.
    _last = {}

    def send_initiation(self, stamp=None):
        since = time.monotonic() - self._last.get(self.key.public, 0)
        time.sleep(max(0.0, 0.05 - since))
        self._last[self.key.public] = time.monotonic()
        self.handshake = Handshake(self.key, self.gateway_public, self.psk, stamp)
        if self.cookie:
            self.handshake.use_cookie(self.cookie)
        self.send(self.handshake.message)
        return self.handshake.message

    def send(self, message):
        self.socket.sendto(message, self.target)

    def receive(self, seconds):
        """Returns the next datagram, or None after `seconds`."""
        poll = select.poll()  # select() cannot take descriptors over 1023
        poll.register(self.socket, select.POLLIN)
        return self.socket.recv(2048) if poll.poll(seconds * SLOW * 1000) else None

    def finish(self, response):
        """Verifies the response and confirms the session with a keepalive."""
        send_key, _, receiver = self.handshake.open_response(response)
        self.send(data_packet(send_key, receiver))

    def connect(self, seconds=2, stamp=None):
        """Tries once. Returns the seconds until the response, or None."""
        start = time.monotonic()
        self.send_initiation(stamp)
        response = self.receive(seconds)
        if response is not None and response[0] == 3:  # a cookie: the next try has mac2
            self.cookie = self.handshake.answer_cookie(response)
            self.send_initiation()
            response = self.receive(seconds)
        if response is None or response[0] == 3:
            return None
        self.finish(response)
        return time.monotonic() - start

    def close(self):
        self.socket.close()


def connect_all(clients, tries=3, retry_after=5.0):
    """All clients initiate at once, and retry like WireGuard. Returns the tries each needed."""
    needed = {}
    by_fd = {client.socket.fileno(): client for client in clients}
    waiting = dict(by_fd)
    poll = select.epoll()
    for fd in by_fd:
        poll.register(fd, select.EPOLLIN)
    for attempt in range(1, tries + 1):
        for client in list(waiting.values()):
            client.send_initiation()
        deadline = time.monotonic() + retry_after * SLOW
        while waiting and time.monotonic() < deadline:
            for fd, _ in poll.poll(0.1):
                client = by_fd[fd]
                answer = client.socket.recv(2048)
                try:
                    if answer[0] == 3:
                        client.cookie = client.handshake.answer_cookie(answer)  # for the next try
                        continue
                    client.finish(answer)
                except ValueError:  # an answer to an earlier try
                    continue
                if waiting.pop(fd, None):
                    needed[client] = attempt
        if not waiting:
            break
    poll.close()
    return needed
