#!/usr/bin/python3
"""Makes one self-contained page of its parts, with a policy that lets exactly these scripts run.

    make_page.py PAGE.html STYLE.css CHART.js OUTPUT SCRIPT.js...

The scripts are one, in this order. OUTPUT.gz is the same, compressed.
"""
import base64
import gzip
import hashlib
import sys
from pathlib import Path


def allow(text):
    digest = hashlib.sha256(text.encode()).digest()
    return f"'sha256-{base64.b64encode(digest).decode()}'"


page, style, chart = (Path(name).read_text() for name in sys.argv[1:4])
output = sys.argv[4]
script = "\n".join(Path(name).read_text() for name in sys.argv[5:])
# What ends a script early, or is a link to another file, has no place in a page.
chart = "\n".join(line for line in chart.splitlines() if not line.startswith("//# sourceMappingURL"))
if "</script" in script.lower() + chart.lower():
    sys.exit("a script has </script in it")
policy = (f"default-src 'none'; script-src {allow(script)} {allow(chart)}; style-src {allow(style)}; img-src data:; "
          "connect-src 'self'; base-uri 'none'; form-action 'none'")
for name, text in (("@POLICY@", policy), ("@STYLE@", style), ("@CHART@", chart), ("@SCRIPT@", script)):
    if page.count(name) != 1:
        sys.exit(f"{sys.argv[1]}: {name} occurs {page.count(name)} times")
    before, after = page.split(name)
    page = before + text + after
Path(output).write_text(page)
Path(output + ".gz").write_bytes(gzip.compress(page.encode(), 9, mtime=0))
