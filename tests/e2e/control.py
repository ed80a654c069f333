"""A client of the control interface: http.client over a Unix socket."""
import http.client
import json
import socket
import threading
from contextlib import suppress
from datetime import datetime
from urllib.parse import quote


class UnixConnection(http.client.HTTPConnection):
    def __init__(self, path, timeout=10):
        super().__init__("localhost", timeout=timeout)
        self.path = str(path)

    def connect(self):
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(self.timeout)
        self.sock.connect(self.path)


class Answer:
    def __init__(self, response):
        self.status = response.status
        self.headers = {name.lower(): value for name, value in response.getheaders()}
        self.type = self.headers.get("content-type", "")
        self.text = response.read().decode()

    @property
    def json(self):
        return json.loads(self.text)

    @property
    def lines(self):
        return [json.loads(line) for line in self.text.splitlines()]

    @property
    def error(self):
        return self.json["error"]


class Control:
    """One connection, kept alive. `seen` collects (method, path, answer) of every call."""

    def __init__(self, daemon, device=None, connection=None):
        self.connection = connection or UnixConnection(daemon.control)
        self.device = device.name if device else None
        self.seen = []

    def call(self, method, path, body=None, headers=None):
        data = body if body is None or isinstance(body, (str, bytes)) else json.dumps(body)
        self.connection.request(method, path, data, headers or {})
        answer = Answer(self.connection.getresponse())
        self.seen.append((method, path, answer))
        return answer

    def peers(self, key=None, rest=""):
        path = f"/v1/devices/{self.device}/peers"
        if key is None:
            return path + rest
        return f"{path}/{quote(key if isinstance(key, str) else key.public64, safe='')}{rest}"

    def put(self, key, **fields):
        return self.call("PUT", self.peers(key), fields)

    def get(self, key):
        return self.call("GET", self.peers(key))

    def delete(self, key):
        return self.call("DELETE", self.peers(key))

    def list(self, **query):
        """Returns the peers of all pages."""
        found = []
        while True:
            text = "&".join(f"{name}={quote(str(value), safe='')}" for name, value in query.items())
            answer = self.call("GET", self.peers(rest="?" + text if text else ""))
            if answer.status != 200:
                return answer
            found += answer.json["peers"]
            if "next_cursor" not in answer.json:
                return found
            query["cursor"] = answer.json["next_cursor"]

    def close(self):
        self.connection.close()


class Watch:
    """All events from its construction on."""

    def __init__(self, daemon):
        self.connection = UnixConnection(daemon.control, timeout=None)
        self.connection.request("GET", "/v1/events")
        self.sock = self.connection.sock
        self.response = self.connection.getresponse()
        first = self.response.readline()
        if first != b": watching\n":
            raise RuntimeError(f"no stream of events: {first}")
        self.events = []
        self.thread = threading.Thread(target=self._read)
        self.thread.start()

    def _read(self):
        with suppress(OSError, http.client.HTTPException, ValueError):
            for line in self.response:
                if line.startswith(b"data: "):
                    self.events.append(json.loads(line[6:]))

    def times(self, kind):
        """Returns the times of such events, in seconds since 1970."""
        return [datetime.fromisoformat(event["at"].replace("Z", "+00:00")).timestamp()
                for event in list(self.events) if event["event"] == kind]

    def close(self):
        self.sock.shutdown(socket.SHUT_RDWR)
        self.thread.join()
        self.connection.close()
