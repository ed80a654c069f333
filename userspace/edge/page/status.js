// --- tables and tiles -----------------------------------------------------------

function meter(used, most, what) {
  const share = most > 0 ? Math.min(1, used / most) : 0;
  const bar = make("span");
  bar.style.width = 100 * share + "%";
  return make("span", {
    class: "meter" + (share >= 1 ? " bad" : share > 0.9 ? " warn" : ""), role: "img",
    "aria-label": Math.round(100 * share) + " percent of " + what,
  }, bar);
}

const number = (text, ...more) => make("td", {class: "number"}, text, ...more);
const away = (mode, one) => mode === "away" && one.away_reason ? "away: " + one.away_reason : mode;
const cell = (text, kind = "") => make("td", {class: kind}, text);

function fill(table, headings, rows, empty) {
  const head = make("tr", {}, ...headings.map((text) =>
    make("th", {scope: "col", class: text.startsWith("#") ? "number" : ""}, text.replace("#", ""))));
  const body = rows.length ? rows.map((cells) => make("tr", {}, ...cells))
                           : [make("tr", {}, make("td", {colspan: headings.length}, empty))];
  table.replaceChildren(make("thead", {}, head), make("tbody", {}, ...body));
}

function pairs(list, entries) {
  list.replaceChildren(...entries.map(([name, value, note]) =>
    make("div", {}, make("dt", {}, name), make("dd", {}, value, note ? make("small", {}, note) : null))));
}

const sum = (items, of) => items.reduce((total, item) => total + of(item), 0);
const lastOf = (name) => (series.figures[name] || []).at(-1) || 0;

const share = (part, whole) => (whole ? Math.round(100 * part / whole) + " %" : "–");

// Of a NIC, or of one of its queues.
const burden = (one) => [
  number(count(one.ring_full + one.ring_dropped)), number(fraction(one.wait_p99_ms)),
  cell(one.under_load ? "under load: cookies" : "normal", one.under_load ? "warn" : ""),
];

function showStatus(status) {
  const {devices, nics, defence} = status;
  by("summary").textContent = "wicketd " + status.version + ", up " + span(status.written - status.started) +
      ", device " + devices.map((device) => device.name).join(", ");
  const refused = sum(Object.values(defence.refused_per_s), (rate) => rate);
  pairs(by("tiles"), [
    ["Stored peers", count(status.stored_peers)],
    ["In the kernel", count(sum(devices, (one) => one.installed)),
      "of at most " + count(sum(devices, (one) => one.installed_max))],
    ["New sessions", fraction(lastOf("new_per_s")), "a second"],
    ["99th percentile", fraction(Math.max(0, ...devices.map((one) => one.install_p99_ms))), "ms from NIC to kernel"],
    ["Refused", count(refused), "a second, of about " + count(defence.sources) + " sources"],
    ["Proven", count(defence.proven_per_s), "a second"],
    ...status.pools.slice(0, POOLS_SHOWN).map((pool) => ["Addresses of " + pool.name, count(pool.used),
      "of " + (pool.size < 1e9 ? count(pool.size) : "2^" + Math.round(Math.log2(pool.size))) + " in " + pool.cidr +
      " given out"]),
  ]);
  fill(by("devices"), ["Device", "Backend", "#Port", "#Installed", "#No session yet", "#Foreign", "#Median ms",
    "#99th ms", "Answers"], devices.map((one) => [
    cell(one.name), cell(away(one.backend, one), one.backend === "away" ? "bad" : ""), number(one.port || ""),
    number(count(one.installed) + " of " + count(one.installed_max),
      meter(one.installed, one.installed_max, "installed_max")),
    number(count(one.installed_unconfirmed) + " of " + count(one.probation_max),
      meter(one.installed_unconfirmed, one.probation_max, "probation_max")),
    number(count(one.foreign)),
    number(one.install_count ? fraction(one.install_p50_ms) : "–"),
    number(one.install_count ? fraction(one.install_p99_ms) : "–"),
    one.silent_s > 2 ? cell("not for " + fraction(one.silent_s) + " s", "bad") : cell("yes"),
  ]), "none");
  fill(by("nics"), ["Interface", "XDP", "Zero copy", "#Queues", "Given back", "#Frames dropped: ring full",
    "#Wait 99th ms", "Load"], nics.map((one) => [
    cell(one.name), cell(away(one.xdp_mode, one) + (one.shared ? ", shared" : ""), one.xdp_mode === "away" ? "bad" : ""),
    cell(one.zero_copy ? "yes" : "no"), number(count(one.queues)), cell(one.reinject), ...burden(one),
  ]), "none");
  fill(by("queues"), ["Queue", "#Initiations", "#Share", "#Frames dropped: ring full", "#Wait 99th ms", "Load"],
    nics.flatMap((nic) => (nic.per_queue || []).map((queue, index) => [
      cell(nic.name + "/" + index), number(count(queue.initiations)),
      number(share(queue.initiations, sum(nic.per_queue, (one) => one.initiations))), ...burden(queue),
    ])), "none");
  const slowest = status.threads.reduce((a, b) => (a.silent_s >= b.silent_s ? a : b), {name: "", silent_s: 0});
  pairs(by("store"), [
    ["Path", status.store_path], ["Size", bytes(status.store_bytes) + (status.store_bytes_max ? " of " + bytes(status.store_bytes_max) : "")],
    ["Sessions not saved yet", count(status.unsaved_sessions)],
    ["Writes", status.store_refuses_writes ? "refused by the disk: sessions wait in memory" : "work"],
    ["Clock steps", count(status.clock_steps)],
    ["Slowest thread", slowest.name ? slowest.name + ", " + fraction(slowest.silent_s) + " s ago" : "–"],
  ]);
  by("store").lastChild.className = slowest.silent_s > 2 ? "bad" : "";
  latest = status;
  showState();
}

let latest = null, findings = [];
function showState() {
  const worst = (grade) => findings.filter((one) => one.grade === grade).length;
  const [kind, text] = latest.defence.attack ? ["bad", "under attack since " + clock(latest.defence.attack_since)]
    : worst("FAIL") ? ["bad", worst("FAIL") + " failed checks"]
    : worst("WARN") ? ["warn", worst("WARN") + " warnings"] : ["good", "healthy"];
  setState(kind, text);
}

function setState(kind, text) {
  const state = by("state");
  if (state.textContent === text) return;  // a screen reader reads it out
  state.className = "badge " + kind;
  state.textContent = text;
}

function showFindings(all) {
  findings = all;
  const item = (one) => make("li", {class: {OK: "good", WARN: "warn", FAIL: "bad"}[one.grade]},
    make("strong", {}, one.grade + " "), one.check + ": ", make("span", {}, one.what),
    one.why ? make("p", {}, one.why) : null,
    one.mend || one.fix ? make("pre", {}, one.fix ? one.fix.join(" ") : one.mend) : null);
  const bad = all.filter((one) => one.grade !== "OK").sort((a, b) => (a.grade < b.grade ? -1 : 1));
  const good = all.filter((one) => one.grade === "OK");
  by("findings").replaceChildren(...bad.map(item));
  by("good").querySelector("summary").textContent = good.length + " checks passed";
  by("good").querySelector("ul").replaceChildren(...good.map(item));
  if (latest) showState();
}
