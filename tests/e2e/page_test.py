#!/usr/bin/python3
"""The page of wicket-edge and of `wicket web`, in a real browser, before a real gateway.

Run all scenarios, or those named as arguments. Needs root. WICKET_SHOTS names a folder for pictures.
"""
import os
import re
import signal
import subprocess
import sys
from contextlib import contextmanager
from http.client import HTTPConnection
from pathlib import Path

from selenium import webdriver
from selenium.webdriver.chrome.service import Service
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys
from selenium.webdriver.support.ui import Select

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from client import Client, connect_all  # noqa: E402
from control import Control  # noqa: E402
from edge import NOBODY, Edge  # noqa: E402
from flood_test import SPOOFED4, Attack  # noqa: E402
from gateway_test import check, equal, gateway, main  # noqa: E402
from lab import CLIENT4, SLOW, TOOLS, Key, run, wait_for  # noqa: E402

# The contrast of all text that is seen, against the first background behind it that is not
# transparent; [WCAG 2.1, 1.4.3]. Returns what has less than 4.5.
CONTRAST = """
const light = (text) => {
  const [r, g, b] = text.match(/[0-9.]+/g).map(Number).map((c) => {
    c /= 255;
    return c <= 0.03928 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4;
  });
  return 0.2126 * r + 0.7152 * g + 0.0722 * b;
};
const behind = (element) => {
  for (; element; element = element.parentElement) {
    const colour = getComputedStyle(element).backgroundColor;
    if (colour !== "rgba(0, 0, 0, 0)") return colour;
  }
  return "rgb(255, 255, 255)";
};
const poor = [];
for (const element of document.querySelectorAll("body *")) {
  const own = [...element.childNodes].some((node) => node.nodeType === 3 && node.data.trim());
  if (!own || !element.checkVisibility() || element.tagName === "SCRIPT") continue;
  const [a, b] = [light(getComputedStyle(element).color), light(behind(element))].sort((x, y) => y - x);
  const ratio = (a + 0.05) / (b + 0.05);
  if (ratio < 4.5) poor.push(element.tagName + " " + element.className + " " + ratio.toFixed(2));
}
return poor;
"""


class Browser:
    """Chromium in a namespace. Every call is made in that namespace."""

    def __init__(self, ns, home):
        self.ns = ns
        options = webdriver.ChromeOptions()
        for word in ("--headless=new", "--no-sandbox", "--disable-dev-shm-usage", "--ignore-certificate-errors",
                     "--disable-background-networking", "--window-size=1280,1000", f"--user-data-dir={home}/browser"):
            options.add_argument(word)
        options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
        with ns.inside():
            self.driver = webdriver.Chrome(service=Service("/usr/bin/chromedriver"), options=options)

    def close(self):
        with self.ns.inside():
            self.driver.quit()

    def open(self, url):
        self.driver.get(url)

    def find(self, id):
        return self.driver.find_element(By.ID, id)

    def text(self, id):
        """As it is in the document, whether or not it can be seen."""
        return self.driver.execute_script("return document.getElementById(arguments[0]).textContent", id)

    def seen(self, id):
        return self.find(id).is_displayed()

    def shows(self, id, pattern, seconds=20):
        """Waits until the text of an element that can be seen matches."""
        found = wait_for(lambda: self.seen(id) and re.search(pattern, self.text(id)), seconds)
        check(found, f"#{id} does not show {pattern}: {self.text(id)[:400]!r}")
        return found

    def tile(self, name):
        return re.search(re.escape(name) + r"\s*([\d.,]+)", self.find("tiles").text).group(1)

    def media(self, scheme):
        self.driver.execute_cdp_cmd("Emulation.setEmulatedMedia",
                                    {"features": [{"name": "prefers-color-scheme", "value": scheme}]})

    def picture(self, name):
        if folder := os.environ.get("WICKET_SHOTS"):
            height = self.driver.execute_script("return document.documentElement.scrollHeight")
            size = self.driver.get_window_size()
            self.driver.set_window_size(size["width"], height + 140)
            self.driver.save_screenshot(str(Path(folder) / name))
            self.driver.set_window_size(size["width"], size["height"])

    def complaints(self):
        """What the console says, but of answers that a scenario asked for."""
        return [entry["message"] for entry in self.driver.get_log("browser")
                if "Failed to load resource" not in entry["message"]]


@contextmanager
def browser(ns, home):
    made = Browser(ns, home)
    try:
        with ns.inside():
            yield made
    finally:
        made.close()


@contextmanager
def web(lab, daemon, *options):
    """`wicket web`. Yields its URL, with the token."""
    lab.dir.chmod(0o755)  # of root it makes nobody
    process = lab.gateway.start(TOOLS / "wicket", "web", "--socket", daemon.control, *options,
                                stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    try:
        yield process.stdout.readline().strip()
        process.send_signal(signal.SIGINT)
        equal(process.wait(10 * SLOW), 0, "wicket web ends")
    finally:
        process.kill()
        process.communicate()


def test_the_page_shows_sessions_a_flood_and_what_a_client_did():
    with gateway(queues=1, settings='x25519 = "portable"\n') as (lab, device, daemon), Edge(lab, daemon) as face:
        markup = "<img src=x onerror=document.title='run'>"
        clients = [Client(lab, device.key.public, source=(CLIENT4, 3000 + i)) for i in range(20)]
        stranger, absent = Key(), Key()
        lab.gateway.ip("route", "add", SPOOFED4, "via", CLIENT4)
        lab.import_peers([{"public_key": client.key.public64, "allowed_ips": [f"10.1.0.{i + 1}/32"],
                           "labels": {"team": markup if i == 0 else "b"}} for i, client in enumerate(clients)] +
                         [{"public_key": absent.public64, "allowed_ips": ["10.2.0.1/32"]}], device.name)
        daemon.text += f'[[pool]]\nname = "users"\ndevice = "{device.name}"\ncidrs = ["10.64.0.0/24", "fd00::/64"]\n'
        daemon.start()
        check(Control(daemon, device).put(Key(), allocate="users").status == 201, "no address")
        face.start()
        with browser(lab.client, lab.dir) as page:
            page.open(f"https://{face.address}:8443/")
            page.shows("banner", "A token is needed")
            check(not page.seen("main"), "figures without a token")
            page.find("token").send_keys("wrong", Keys.ENTER)
            page.shows("banner", "token|certificate")
            page.find("token").send_keys(face.tokens["metrics"], Keys.ENTER)
            page.shows("banner", "metrics, and no more")
            page.find("token").send_keys(face.tokens["read"], Keys.ENTER)
            page.shows("summary", "wicketd .* device " + device.name)
            check(not page.seen("banner") and not page.seen("sign-in"), "signed in")
            equal(page.tile("Stored peers"), "22", "stored")
            equal(page.tile("Addresses of users"), "1", "given out")
            page.shows("findings-of", "Findings")
            page.shows("good", "checks passed")
            page.shows("events", "none yet")
            # It is live: clients come, and are seen without a reload.
            equal(len(connect_all(clients, tries=4)), len(clients), "connected")
            check(wait_for(lambda: page.tile("In the kernel") == "20", 10), "the clients are not seen")
            page.shows("events", "confirmed.*" + re.escape(clients[7].key.public64))
            # Look-up by key, address and label, with the reasons.
            for wanted, pattern in ((clients[3].key.public64, "installed and has a session"),
                                    ("10.1.0.4", re.escape(clients[3].key.public64)),
                                    ("10.1.0.0/29", re.escape(clients[5].key.public64)),
                                    ("10.1.0.8/29", "established"), ("team=b", "team=b"), (absent.public64, "no proven initiation of it is known"),
                                    (stranger.public64, "No stored peer"), ("10.1.0.1", re.escape(markup))):
                page.find("wanted").clear()
                page.find("wanted").send_keys(wanted, Keys.ENTER)
                page.shows("found", pattern)
            equal((page.driver.title, page.driver.find_elements(By.CSS_SELECTOR, "#found img")), ("Wicket", []),
                  "a label is text")
            # Events by kind and by text.
            page.find("text").send_keys(clients[2].key.public64)
            check(wait_for(lambda: clients[2].key.public64 in page.text("events")
                           and clients[4].key.public64 not in page.text("events"), 5), "the filter by text")
            Select(page.find("kind")).select_by_value("installed")
            check(wait_for(lambda: "confirmed" not in page.text("events"), 5), f"the filter by kind: {page.text('events')}")
            Select(page.find("kind")).select_by_value("")
            page.find("text").clear()
            # A flood, as it would show.
            attack = Attack(lab, device, "--mix", "bad-mac1", "--from", SPOOFED4, "--attack-sources", "1000",
                            rate=20_000)
            try:
                page.shows("state", "under attack")
                page.shows("events", "attack")
                check(wait_for(lambda: float(page.tile("Refused").replace(",", "")) > 10_000, 10), "few refused")
                told = "return document.getElementById('refused').getAttribute('aria-description')"
                check(wait_for(lambda: re.search(r"drop_mac1 [\d,]{6,}", page.driver.execute_script(told)), 10),
                      "the chart of what is refused")
                page.picture("page-light.png")
                page.media("dark")
                page.picture("page-dark.png")
            finally:
                attack.end()
            drawn = """const c = document.getElementById('rates'), d = c.getContext('2d').getImageData(0, 0, c.width, c.height).data;
                       return d.filter((v, i) => i % 4 === 3 && v > 0).length"""
            check(page.driver.execute_script(drawn) > 1000, "an empty chart")
            # All that was asked for came from where the page came from.
            loaded = page.driver.execute_script("return performance.getEntriesByType('resource').map((e) => e.name)")
            check(loaded and all(name.startswith(f"https://{face.address}:8443/v1/") for name in loaded), set(loaded))
            equal(page.complaints(), [], "the console")


def test_the_page_can_be_read_and_used_by_anybody():
    """By keyboard, on a phone, in the dark."""
    with gateway() as (lab, device, daemon):
        daemon.text += "owned = true\n"
        daemon.start()
        with web(lab, daemon) as url, browser(lab.gateway, lab.dir) as page:
            page.open(url)
            page.shows("summary", "wicketd")
            page.shows("good", "checks passed")
            for scheme in "light", "dark":
                page.media(scheme)
                equal(page.driver.execute_script(CONTRAST), [], f"text that is hard to read, {scheme}")
            page.driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride",
                                        {"width": 360, "height": 740, "deviceScaleFactor": 2, "mobile": True})
            # The charts follow with the next frame.
            widest = lambda: page.driver.execute_script("return document.documentElement.scrollWidth")
            check(wait_for(lambda: widest() <= 360, 10), f"{widest()} wide on a phone of 360")
            page.picture("page-phone.png")
            # From the top, by Tab alone, to all that can be used.
            page.driver.execute_script("document.activeElement.blur(); scrollTo(0, 0)")
            reached = []
            for _ in range(30):
                page.driver.switch_to.active_element.send_keys(Keys.TAB)
                reached.append(page.driver.execute_script("return document.activeElement.id || document.activeElement.tagName"))
            check({"wanted", "kind", "text", "pause", "SUMMARY", "A"} <= set(reached), reached)
            unnamed = page.driver.execute_script("""
                return [...document.querySelectorAll('input:not([hidden]), select, button, canvas, [role=region]')].filter((e) =>
                  !(e.labels && e.labels.length) && !e.textContent.trim() && !e.getAttribute('aria-labelledby'))
                  .map((e) => e.id)""")
            equal(unnamed, [], "without a name")
            equal(page.complaints(), [], "the console")


def test_the_page_says_that_wicketd_is_away_and_recovers():
    with gateway() as (lab, device, daemon):
        daemon.start()
        with web(lab, daemon) as url, browser(lab.gateway, lab.dir) as page:
            page.open(url)
            page.shows("summary", "wicketd")
            equal(page.driver.execute_script("return location.hash"), "", "the token stays in the address bar")
            daemon.stop()
            page.shows("banner", "wicketd does not answer: .*Trying again")
            equal(page.text("state"), "no answer", "the state")
            daemon.start()
            check(wait_for(lambda: not page.seen("banner"), 20), "it does not recover")
            device.close()
            page.shows("findings", "FAIL .*" + device.name, 60)
            page.shows("state", "failed checks")
        with web(lab, daemon) as url, browser(lab.gateway, lab.dir) as page:
            daemon.stop()  # before the page is opened
            page.open(url)
            page.shows("banner", "wicketd does not answer")
            check(not page.seen("main"), "figures of nothing")


def test_web_is_for_its_user_alone():
    with gateway() as (lab, device, daemon):
        daemon.start()
        with web(lab, daemon) as url:
            port, token = re.fullmatch(r"http://127\.0\.0\.1:(\d+)/#token=(\S+)", url).groups()
            with lab.gateway.inside():
                def ask(method, path, **headers):
                    connection = HTTPConnection("127.0.0.1", int(port), timeout=5 * SLOW)
                    connection.request(method, path, headers=headers)
                    answer = connection.getresponse()
                    answer.read()
                    return answer
                page = ask("GET", "/")
                equal((page.status, page.headers["Content-Type"]), (200, "text/html; charset=utf-8"), "the page")
                check("frame-ancestors 'none'" in page.headers["Content-Security-Policy"], page.headers)
                equal(ask("HEAD", "/").status, 200, "its headers")
                equal([ask("GET", path).status for path in ("/v1/status", "/metrics", "/none", "//x")], [401] * 4,
                      "without the token")
                bearer = {"Authorization": f"Bearer {token}"}
                equal(ask("GET", "/v1/status", **bearer).status, 200, "with it")
                changed = f"/v1/devices/{device.name}/peers/{Key().public64.replace('/', '%2F')}"
                equal([ask(method, changed, **bearer).status for method in ("PUT", "DELETE")], [403] * 2, "a change")
            listening = lab.gateway.run("ss", "-Hltn").stdout
            check(re.search(rf"127\.0\.0\.1:{port}\b", listening) and f"0.0.0.0:{port}" not in listening, listening)
        # As root before a daemon that is another user's: with no more rights than the socket asks for.
        run("chown", "4321:4322", daemon.control)
        with web(lab, daemon) as url:
            port, token = re.fullmatch(r"http://127\.0\.0\.1:(\d+)/#token=(\S+)", url).groups()
            with lab.gateway.inside():
                connection = HTTPConnection("127.0.0.1", int(port), timeout=5 * SLOW)
                connection.request("GET", "/v1/status", headers={"Authorization": f"Bearer {token}"})
                equal(connection.getresponse().status, 200, "the socket of another user's group")
        run("chown", "0:0", daemon.control)
        refused = lab.gateway.run("setpriv", f"--reuid={NOBODY}", f"--regid={NOBODY}", "--clear-groups",
                                  TOOLS / "wicket", "web", "--socket", daemon.control, check=False, timeout=10 * SLOW)
        check(refused.returncode == 1 and "Permission denied" in refused.stderr, refused)


if __name__ == "__main__":
    scenarios = {name: function for name, function in globals().items()
                 if name.startswith("test_") and function.__module__ == __name__}
    sys.exit(main(sys.argv[1:], scenarios))
