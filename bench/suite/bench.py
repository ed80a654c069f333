"""What a bench is given: how much to do, where its figures go, and how to report progress."""
import os
import sys
import time
from pathlib import Path
from tempfile import TemporaryDirectory

MODES = ("smoke", "quick", "full")


class Bench:
    def __init__(self, name, mode, results, *, terminal=None):
        self.name, self.mode, self.results = name, mode, results
        self.terminal = sys.stderr.isatty() if terminal is None else terminal
        self.began = time.monotonic()
        self._folder = TemporaryDirectory(prefix="wicket-bench-", dir="/var/tmp")
        self.temporary = Path(self._folder.name)  # removed with this bench
        self.environment = {**os.environ, "TMPDIR": self._folder.name}

    def pick(self, smoke, quick, full):
        return {"smoke": smoke, "quick": quick, "full": full}[self.mode]

    def progress(self, text):
        """Shows a line that the next one replaces; nothing when output is not a terminal."""
        if self.terminal:
            spent = int(time.monotonic() - self.began)
            print(f"\r\033[K{self.name:12} {spent:4} s  {text}", end="", file=sys.stderr,
                  flush=True)

    def clear(self):
        if self.terminal:
            print("\r\033[K", end="", file=sys.stderr, flush=True)

    def close(self):
        self.clear()
        self._folder.cleanup()

    def problem(self, text):
        """Reports something that could not be measured, and why; kept with the results."""
        self.clear()
        print(f"{self.name}: {text}", file=sys.stderr, flush=True)
        self.results.data["machine"].setdefault("problems", []).append(f"{self.name}: {text}")
