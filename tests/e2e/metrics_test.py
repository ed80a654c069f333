#!/usr/bin/python3
"""The metrics of a running gateway, read by a real Prometheus.

Run all scenarios, or those named as arguments. Needs root.
"""
import json
import os
import re
import subprocess
import sys
from contextlib import contextmanager
from http.client import HTTPConnection
from pathlib import Path
from urllib.parse import quote

import yaml

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from blast_test import blast, import_fleet  # noqa: E402
from client import Client  # noqa: E402
from control import Control  # noqa: E402
from edge import Edge  # noqa: E402
from gateway_test import check, equal, gateway, main, store  # noqa: E402
from lab import ROOT, SLOW, run, wait_for  # noqa: E402

ALERTS = ROOT / "docs/monitoring/alerts.yml"
DASHBOARD = ROOT / "docs/monitoring/dashboard.json"
PORT = 9090
# Where scripts/setup puts them.
os.environ["PATH"] += os.pathsep + str(Path(os.environ.get("WICKET_CACHE") or Path.home() / ".cache/wicket") /
                                       "tools/usr/bin")


def scrape_of(face):
    """What a scrape through an edge needs."""
    token = face.home / "scrape.token"
    token.write_text(face.tokens["metrics"])
    return {"job_name": "wicket", "scheme": "https", "scrape_interval": "1s",
            "authorization": {"credentials_file": str(token)}, "tls_config": {"ca_file": str(face.certificate)},
            "static_configs": [{"targets": [f"{face.address}:8443"]}]}


class Prometheus:
    def __init__(self, lab):
        self.lab = lab

    def ask(self, path):
        with self.lab.gateway.inside():
            connection = HTTPConnection("127.0.0.1", PORT, timeout=10 * SLOW)
            connection.connect()
        connection.request("GET", "/api/v1/" + path)
        answer = json.loads(connection.getresponse().read())
        connection.close()
        return answer

    def query(self, expression):
        answer = self.ask("query?query=" + quote(expression))
        equal(answer["status"], "success", f"{expression}: {answer.get('error')}")
        return answer["data"]["result"]

    def value(self, expression):
        result = self.query(expression)
        return float(result[0]["value"][1]) if result else None


@contextmanager
def prometheus(lab, scrape):
    folder = lab.dir / "prometheus"
    folder.mkdir()
    configuration = {"global": {"evaluation_interval": "1s"}, "scrape_configs": [scrape],
                     "rule_files": [str(ALERTS)]}
    (folder / "prometheus.yml").write_text(yaml.safe_dump(configuration))
    run("promtool", "check", "config", folder / "prometheus.yml")
    with open(folder / "log", "wb") as log:
        process = lab.gateway.start(
            "prometheus", f"--config.file={folder / 'prometheus.yml'}", f"--storage.tsdb.path={folder / 'data'}",
            f"--web.listen-address=127.0.0.1:{PORT}", stdout=log, stderr=log)
    try:
        server = Prometheus(lab)

        def answers():
            try:
                return server.value('up{job="wicket"}') == 1
            except (OSError, ValueError):  # it has not begun, or is not ready
                return False
        check(wait_for(answers, 30), (folder / "log").read_text()[-2000:])
        yield server
    finally:
        process.terminate()
        process.wait(15 * SLOW)


def test_metrics_are_well_formed_and_agree_with_the_status():
    with gateway() as (lab, device, daemon):
        client = Client(lab, device.key.public)
        store(lab, device, client)
        daemon.start()
        control = Control(daemon, device)
        check(client.connect() is not None, "no session")
        check(wait_for(lambda: daemon.counts()["confirmed"] == 1, 10), "not confirmed")
        answer = control.call("GET", "/metrics")
        equal((answer.status, answer.type), (200, "text/plain; version=0.0.4; charset=utf-8"), "answer")
        checked = subprocess.run(["promtool", "check", "metrics"], input=answer.text, text=True,
                                 capture_output=True)
        equal((checked.returncode, checked.stdout + checked.stderr), (0, ""), "promtool check metrics")
        samples = dict(line.rsplit(" ", 1) for line in answer.text.splitlines() if not line.startswith("#"))
        status = daemon.status()
        counts, of = status["devices"][0]["counts"], f'{{device="{device.name}"}}'
        for name in counts:
            equal(int(samples[f"wicket_device_{name}_total{of}"]), counts[name], name)
        for family, group in ("wicket_initiations_total", "verdicts"), ("wicket_xdp_packets_total", "steering"):
            equal({verdict for verdict in status[group]},
                  set(re.findall(family + r'{verdict="(\w+)"}', answer.text)), family)
        queues = status["nics"][0]["per_queue"]
        equal([int(samples[f'wicket_queue_initiations_total{{nic="in",queue="{index}"}}']) for index in range(len(queues))],
              [queue["initiations"] for queue in queues], "initiations by queue")
        equal(sum(queue["initiations"] for queue in queues), sum(status["verdicts"].values()) - status["verdicts"]["cookie_lost"],
              "of all queues")
        for histogram in "given_back", "confirmed", "dump":
            count = int(samples[f"wicket_device_{histogram}_seconds_count{of}"])
            check(count >= 1, histogram)
            equal(int(samples[f'wicket_device_{histogram}_seconds_bucket{{device="{device.name}",le="+Inf"}}']), count,
                  histogram)
        check(0 < float(samples[f"wicket_device_confirmed_seconds_sum{of}"]) < 5 * SLOW, samples)
        equal({thread["name"] for thread in status["threads"]},
              set(re.findall(r'wicket_thread_silent_seconds{thread="([^"]+)"}', answer.text)), "threads")
        check(client.key.public64 not in answer.text, "a peer's key is a label")


def test_the_busiest_peers_have_series_where_that_is_wanted():
    with gateway() as (lab, device, daemon):
        clients = [Client(lab, device.key.public) for _ in range(4)]
        lab.import_peers([{"public_key": client.key.public64, "allowed_ips": [f"10.1.0.{i + 1}/32"],
                           "labels": {"friendly_name": f"client {i}"}} for i, client in enumerate(clients)], device.name)
        daemon.text += "[metrics]\npeers = 2\n"
        daemon.start()
        for client in clients:
            check(client.connect() is not None, "no session")
        for _ in range(4):
            check(wait_for(lambda: clients[2].connect() is not None, 5), "no further session")
        control = Control(daemon, device)

        def series():
            text = control.call("GET", "/metrics").text
            found = dict(re.findall(r'wireguard_received_bytes_total\{interface="[^"]+",public_key="([^"]+)",[^}]*\} (\d+)', text))
            capped = re.search(r"wicket_device_peers_capped\{[^}]*\} (\d+)", text)
            return text, {key: int(value) for key, value in found.items()}, capped and int(capped[1])
        busiest = clients[2].key.public64
        check(wait_for(lambda: series()[1].get(busiest, 0) >= 5 * (148 + 32) and series()[2] == 2, 15), series()[1:])
        text, found, _ = series()
        equal((len(found), max(found, key=found.get)), (2, busiest), "the busiest")
        check(f'public_key="{busiest}",allowed_ips="10.1.0.3/32",friendly_name="client 2"' in text, text[-2000:])
        check(re.search(r'wireguard_latest_handshake_seconds\{[^}]*friendly_name="client 2"\} 1\d{9}(\.\d+)?\n', text), re.findall("wireguard_la.*", text))
        checked = subprocess.run(["promtool", "check", "metrics"], input=text, text=True, capture_output=True)
        equal((checked.returncode, checked.stdout + checked.stderr), (0, ""), "promtool check metrics")


def test_a_prometheus_evaluates_every_rule_and_every_panel():
    alerts = [rule["alert"] for group in yaml.safe_load(ALERTS.read_text())["groups"] for rule in group["rules"]]
    told = re.findall(r"^### (Wicket\w+)$", (ROOT / "docs/operations.md").read_text(), re.M)
    equal(sorted(alerts), sorted(told), "alerts, and the sections of docs/operations.md")
    panels = [panel for panel in json.loads(DASHBOARD.read_text())["panels"] if panel["type"] != "row"]
    with gateway() as (lab, device, daemon), Edge(lab, daemon, address="127.0.0.1") as face:
        import_fleet(lab, device, 50)
        daemon.start()
        face.renew("20")
        face.start()
        equal(face.control("guessed").call("GET", "/metrics").status, 401, "a token that is none")
        with prometheus(lab, scrape_of(face)) as server:
            for turn in range(2):  # a rate needs two scrapes with something between them
                blast(lab, device, "--mix", "new,unknown,bad-mac1", "--clients", 50, "--count", 300, "--rate", 150,
                      "--ports", f"{20000 + 5000 * turn}-{24999 + 5000 * turn}")
            installs = daemon.counts()["installs"]
            check(wait_for(lambda: server.value("sum(wicket_device_installs_total)") == installs, 10),
                  f"{server.value('sum(wicket_device_installs_total)')} of {installs}")
            empty = []
            for panel in panels:
                for target in panel["targets"]:
                    if not server.query(target["expr"].replace("$instance", ".*")):
                        empty.append(f"{panel['title']}: {target['expr']}")
            equal(empty, [], "panels without data")
            groups = server.ask("rules")["data"]["groups"]
            rules = [rule for group in groups for rule in group["rules"]]
            equal([(rule["name"], rule["health"], rule.get("lastError")) for rule in rules],
                  [(name, "ok", None) for name in alerts], "rules")

            def state(name):
                return next(rule["state"] for group in server.ask("rules")["data"]["groups"]
                            for rule in group["rules"] if rule["name"] == name)
            equal([rule["name"] for rule in rules if rule["state"] != "inactive" and
                   rule["name"] not in ("WicketUnderAttack", "WicketHandshakesSlow")], [], "alerts on a healthy gateway")
            equal(server.value("wicket_edge_wrong_tokens_total"), 1, "wrong tokens")
            text = face.control("metrics").call("GET", "/metrics").text
            checked = subprocess.run(["promtool", "check", "metrics"], input=text, text=True, capture_output=True)
            equal((checked.returncode, checked.stdout + checked.stderr), (0, ""), "promtool check metrics, of both")
            face.renew("2")
            run("chown", "65534:65534", face.certificate, face.key)
            check(face.reload(), face.log_text)
            check(wait_for(lambda: state("WicketCertificateExpires") in ("pending", "firing"), 15), "no alert for a certificate")
            device.close()
            lab.devices.remove(device)
            check(wait_for(lambda: state("WicketDeviceAway") in ("pending", "firing"), 15), "no alert for a lost device")
            daemon.stop()
            check(wait_for(lambda: state("WicketDown") in ("pending", "firing"), 15), "no alert for a stopped gateway")


if __name__ == "__main__":
    scenarios = {name: function for name, function in globals().items()
                 if name.startswith("test_") and function.__module__ == __name__}
    sys.exit(main(sys.argv[1:], scenarios))
