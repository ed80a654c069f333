"use strict";
// The page of a gateway. It asks wicketd, through the server it came from, once a second:
//   /v1/status    tables and tiles        /v1/history   what is new for the charts
//   /v1/findings  every ten seconds       /v1/events    one request that never ends
// All text is put in as text, so nothing that a peer, a label or a device is called can be markup.

const POLL_MS = 1000, RETRY_MS = 2000, FINDINGS_MS = 10000, PATIENCE_MS = 10000;
const STREAM_SILENT_MS = 40000, DRAW_MS = 250;  // wicketd says something every 15 s
const SAMPLES_MAX = 900, TICK_MS = 180000, EVENTS_KEPT = 500, EVENTS_SHOWN = 200, PEERS_SHOWN = 20, EXPLAINED = 5;
const by = (id) => document.getElementById(id);

function make(tag, options = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(options)) {
    if (name === "class") element.className = value;
    else element.setAttribute(name, value);
  }
  element.append(...children.filter((child) => child !== null));
  return element;
}

// --- figures as text ------------------------------------------------------------

const whole = new Intl.NumberFormat("en", {maximumFractionDigits: 0});
const count = (value) => whole.format(value);
const fraction = (value) => value === 0 ? "0" : value >= 100 ? count(value) : value >= 10 ? value.toFixed(1) : value.toFixed(2);
const clock = (ms) => new Date(ms).toLocaleTimeString([], {hour12: false});
function bytes(value) {
  let unit = 0;
  for (; value >= 1024 && unit < 4; value /= 1024) ++unit;
  return (unit === 0 ? count(value) : value.toFixed(2)) + " " + ["B", "KiB", "MiB", "GiB", "TiB"][unit];
}
function span(ms) {
  const seconds = Math.max(0, Math.floor(ms / 1000)), days = Math.floor(seconds / 86400);
  const two = (value) => String(value).padStart(2, "0");
  return (days ? days + " d " : "") +
      two(Math.floor(seconds / 3600) % 24) + ":" + two(Math.floor(seconds / 60) % 60) + ":" + two(seconds % 60);
}

// --- asking ---------------------------------------------------------------------

class Refused extends Error {
  constructor(status, message) {
    super(message);
    this.status = status;
  }
}

let token = "", tokenGiven = () => {};
function takeToken(fresh) {
  token = fresh;
  try {
    sessionStorage.setItem("token", token);
  } catch {}  // where a page may keep nothing, it is asked for again after a reload
  tokenGiven();
}
// Of the URL that `wicket web` prints; also of one that is pasted into this tab.
function takeHash() {
  const given = new URLSearchParams(location.hash.slice(1)).get("token");
  if (!given) return;
  history.replaceState(null, "", location.pathname);  // out of the address bar and its history
  takeToken(given);
}
try {
  token = sessionStorage.getItem("token") || "";
} catch {}
takeHash();
addEventListener("hashchange", takeHash);

async function ask(path, signal = AbortSignal.timeout(PATIENCE_MS)) {
  const headers = token ? {Authorization: "Bearer " + token} : {};
  let answer;
  try {
    answer = await fetch(path, {headers, cache: "no-store", signal});
  } catch {
    throw new Refused(0, "the server of this page does not answer");
  }
  if (answer.ok) return answer;
  let message = "HTTP status " + answer.status;
  try {
    message = (await answer.json()).error.message;
  } catch {}
  throw new Refused(answer.status, message);
}
async function read(path) {
  const answer = await ask(path);
  try {
    return await answer.json();
  } catch {
    throw new Refused(0, "the answer broke off");
  }
}

// --- charts ---------------------------------------------------------------------

const colour = (index) => getComputedStyle(document.documentElement).getPropertyValue("--s" + index % 8).trim();
const ink = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();
const series = {at: [], figures: {}, refused: {}};
let next = 0;
const charts = {};

// At whole minutes.
function afterBuildTicks(axis) {
  axis.ticks = [];
  for (let at = Math.ceil(axis.min / TICK_MS) * TICK_MS; at <= axis.max; at += TICK_MS) axis.ticks.push({value: at});
}

function makeChart(id, stacked, lines) {
  const grid = {color: ink("--line")}, ticks = {color: ink("--faint"), maxRotation: 0};
  charts[id] = new Chart(by(id), {
    type: "line",
    data: {datasets: lines.map(([label, name], index) => ({label, name, index}))},
    options: {
      animation: false, parsing: false, normalized: true, responsive: true, maintainAspectRatio: false,
      interaction: {mode: "index", intersect: false},
      elements: {point: {radius: 0}, line: {borderWidth: 1.5}},
      scales: {
        x: {type: "linear", grid, ticks: {...ticks, callback: (ms) => clock(ms).slice(0, 5)}, afterBuildTicks},
        y: {stacked, beginAtZero: true, suggestedMax: 1, grid, ticks: {...ticks, maxTicksLimit: 5}},
      },
      plugins: {
        legend: {labels: {color: ink("--ink"), boxWidth: 12}},
        tooltip: {callbacks: {title: (items) => clock(items[0].parsed.x)}},
      },
    },
  });
}

function makeCharts() {
  for (const chart of Object.values(charts)) chart.destroy();
  makeChart("rates", false, [["new", "new_per_s"], ["confirmed", "confirmed_per_s"], ["left", "evicted_per_s"]]);
  makeChart("latency", false, [["median", "p50_ms"], ["99th percentile", "p99_ms"]]);
  makeChart("refused", true, []);
  makeChart("installed", false, [["installed", "installed"], ["without a session yet", "unconfirmed"]]);
  draw();
}

function draw() {
  const reasons = Object.keys(series.refused).sort();
  charts.refused.data.datasets = reasons.map((name, index) => ({label: name, name, index, fill: true}));
  for (const [id, chart] of Object.entries(charts)) {
    const from = id === "refused" ? series.refused : series.figures;
    for (const line of chart.data.datasets) {
      const values = from[line.name] || [];
      line.data = series.at.map((at, i) => ({x: at, y: values[i] || 0}));
      line.borderColor = colour(line.index);
      line.backgroundColor = id === "refused" ? colour(line.index) + "55" : colour(line.index);
    }
    const last = series.at.at(-1) || Date.now();
    Object.assign(chart.options.scales.x, {min: last - SAMPLES_MAX * 1000, max: last});
    chart.update("none");
    const told = chart.data.datasets.map((line) => line.label + " " + fraction(line.data.at(-1)?.y || 0));
    by(id).setAttribute("aria-description", "now: " + (told.join(", ") || "nothing"));
  }
}

function append(list, more, length) {
  // A reason that is new was zero before, and one that is over is zero now.
  while (list.length < length) list.push(0);
  list.push(...more);
  return list;
}

function forgetHistory() {
  next = 0;
  Object.assign(series, {at: [], figures: {}, refused: {}});
}

function takeHistory(fresh) {
  next = fresh.next;
  if (fresh.at.length === 0) return;
  const before = series.at.length;
  series.at.push(...fresh.at);
  for (const [known, more] of [[series.figures, fresh.figures], [series.refused, fresh.refused_per_s]]) {
    for (const name of new Set([...Object.keys(known), ...Object.keys(more)])) {
      known[name] = append(known[name] || [], more[name] || fresh.at.map(() => 0), before);
      known[name].splice(0, known[name].length - SAMPLES_MAX);
    }
  }
  series.at.splice(0, series.at.length - SAMPLES_MAX);
  for (const [name, values] of Object.entries(series.refused)) {
    if (values.every((value) => value === 0)) delete series.refused[name];
  }
  draw();
}

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
    cell(one.zero_copy ? "yes" : "no"), number(count(one.queues)), cell(one.reinject),
    number(count(one.ring_full + one.ring_dropped)), number(fraction(one.wait_p99_ms)),
    cell(one.under_load ? "under load: cookies" : "normal", one.under_load ? "warn" : ""),
  ]), "none");
  const slowest = status.threads.reduce((a, b) => (a.silent_s >= b.silent_s ? a : b), {name: "", silent_s: 0});
  pairs(by("store"), [
    ["Path", status.store_path], ["Size", bytes(status.store_bytes)],
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

// --- one peer -------------------------------------------------------------------

const path = (device, rest) => "/v1/devices/" + encodeURIComponent(device) + rest;

function showPeer(peer, reasons) {
  const session = peer.session || {};
  const entries = [
    ["Device", peer.device], ["State", peer.state], ["Allowed IPs", peer.allowed_ips.join(", ") || "none"],
    ["Labels", Object.entries(peer.labels || {}).map((label) => label.join("=")).join(", ") || "none"],
    ["Last handshake", session.last_handshake_at || "never"], ["Endpoint", session.endpoint || "none"],
    ["Received, sent", bytes(session.received_bytes || 0) + ", " + bytes(session.sent_bytes || 0)],
    ["Installs, handshakes", count(session.installs || 0) + ", " + count(session.handshakes || 0)],
  ];
  if (peer.quota_bytes) {
    entries.push(["Quota", bytes(session.quota_used_bytes || 0) + " of " + bytes(peer.quota_bytes) + " in " +
      span(1000 * peer.quota_seconds)]);
  }
  if (peer.expires_at) entries.push(["Expires", peer.expires_at]);
  const list = make("dl", {class: "pairs"});
  list.append(...entries.flatMap(([name, value]) => [make("dt", {}, name), make("dd", {}, value)]));
  return make("article", {class: "peer"}, make("strong", {class: "key"}, peer.public_key), list,
    make("ul", {}, ...reasons.map((reason) => make("li", {}, reason))));
}

// The peers that `wanted` means, of one device.
async function findPeers(device, wanted) {
  try {
    if (/^[A-Za-z0-9+/_-]{43}=?$/.test(wanted)) {
      return [await read(path(device, "/peers/" + encodeURIComponent(wanted)))];
    }
    if (wanted.includes("=")) {
      return (await read(path(device, "/peers?limit=" + PEERS_SHOWN + "&label=" + encodeURIComponent(wanted)))).peers;
    }
    if (wanted.includes("/")) {
      return (await read(path(device, "/peers?limit=" + PEERS_SHOWN + "&prefix=" + encodeURIComponent(wanted)))).peers;
    }
    return [await read(path(device, "/addresses/" + encodeURIComponent(wanted)))];
  } catch (error) {
    if (error.status === 404) return [];
    throw error;
  }
}

async function lookUp(wanted) {
  const found = [], shown = [];
  for (const device of latest.devices.map((one) => one.name)) {
    for (const peer of await findPeers(device, wanted)) found.push([device, peer]);
  }
  for (const [device, peer] of found.slice(0, PEERS_SHOWN)) {
    let reasons = [];  // of a few: each asks the device
    if (found.length <= EXPLAINED) {
      const why = await read(path(device, "/peers/" + encodeURIComponent(peer.public_key) + "/why"));
      reasons = why.reasons;
    }
    shown.push(showPeer(peer, reasons));
  }
  if (found.length >= PEERS_SHOWN) {
    shown.push(make("p", {}, "The first " + PEERS_SHOWN + "; there may be more: wicket peer ls."));
  }
  return shown.length ? shown : [make("p", {}, "No stored peer has this: its initiations are refused in silence.")];
}

let lookUps = 0;
by("look-up").addEventListener("submit", async (event) => {
  event.preventDefault();
  const number = ++lookUps;
  by("found").replaceChildren(make("p", {}, "looking …"));
  let shown;
  try {
    shown = await lookUp(by("wanted").value.trim());
  } catch (error) {
    shown = [make("p", {class: "bad"}, error.message)];
  }
  if (number === lookUps) by("found").replaceChildren(...shown);  // not one that was overtaken
});

// --- events ---------------------------------------------------------------------

const events = [];
let paused = false, following = false;

function showEvents() {
  const kind = by("kind").value, text = by("text").value.toLowerCase();
  const about = (one) => [one.public_key, one.source, one.device, one.reason].join(" ").toLowerCase();
  const shown = events.filter((one) => (!kind || one.event === kind) && about(one).includes(text));
  const detail = (one) => one.reason || Object.entries(one.figures || {})
    .map(([name, value]) => name + " " + fraction(value)).join(", ");
  fill(by("events"), ["Time", "Event", "Device", "Peer", "Source", "Reason or figures"],
    shown.slice(0, EVENTS_SHOWN).map((one) => [
      cell(clock(Date.parse(one.at))), cell(one.event), cell(one.device || ""),
      cell(one.public_key || "", "key"), cell(one.source || ""), cell(detail(one)),
    ]), events.length ? "none of the last " + events.length + " fits the filters" : following ? "none yet" : "not watching yet");
}

let drawn = 0;
function showEventsSoon() {
  drawn ||= setTimeout(() => {
    drawn = 0;
    showEvents();
  }, DRAW_MS);
}

function takeEvent(name, data) {
  const own = {lagged: data.missed + " events were missed: they came faster than they were read",
    watching: "again; what happened since the line below may be missing"}[name];
  const event = own ? {event: name, at: new Date().toISOString(), reason: own} : data;
  events.unshift(event);
  events.length = Math.min(events.length, EVENTS_KEPT);
  if (![...by("kind").options].some((option) => option.value === event.event)) {
    by("kind").append(make("option", {value: event.event}, event.event));
  }
}

// Server-sent events by fetch: EventSource cannot send a token.
async function follow() {
  stream = new AbortController();
  let silence = 0;
  const heard = () => {
    clearTimeout(silence);
    silence = setTimeout(() => stream.abort(), STREAM_SILENT_MS);
  };
  try {
    heard();
    const reader = (await ask("/v1/events", stream.signal)).body.pipeThrough(new TextDecoderStream()).getReader();
    let rest = "";
    if (events.length) takeEvent("watching", {});
    following = true;
    showEvents();
    for (;;) {
      const {value, done} = await reader.read();
      if (done) return;
      heard();
      const messages = (rest + value).split("\n\n");
      rest = messages.pop();
      for (const message of messages) {
        const fields = Object.fromEntries(message.split("\n").map((line) => line.split(/: (.*)/s)));
        if (fields.data) takeEvent(fields.event, JSON.parse(fields.data));
      }
      if (!paused) showEventsSoon();
    }
  } finally {
    clearTimeout(silence);
  }
}

by("kind").addEventListener("change", showEvents);
by("text").addEventListener("input", showEvents);
by("filters").addEventListener("submit", (event) => event.preventDefault());
by("pause").addEventListener("click", () => {
  paused = !paused;
  by("pause").setAttribute("aria-pressed", paused);
  by("pause").textContent = paused ? "Go on" : "Pause";
  if (!paused) showEvents();
});

// --- as long as the page is open ------------------------------------------------

const pause = (ms) => new Promise((resolve) => setTimeout(resolve, ms));

function showTrouble(error) {
  const refused = error.status === 401 || error.status === 403;
  by("sign-in").hidden = !refused;
  by("main").hidden = refused || latest === null;
  const told = refused ? (token || error.status === 403 ? error.message : "A token is needed.")
    : (error instanceof Refused ? error.message : "this page failed: " + error.message) + ". Trying again every " + RETRY_MS / 1000 + " s; figures below are the last ones.";
  if (by("banner").hidden || by("banner").textContent !== told) by("banner").textContent = told;
  by("banner").hidden = false;
  setState("bad", refused ? "not signed in" : "no answer");
  if (!refused && latest === null) by("summary").textContent = "no answer yet";
  if (refused && document.activeElement === document.body) by("token").focus();
}

async function poll() {
  for (;;) {
    if (document.hidden) {
      await pause(POLL_MS);
      continue;
    }
    try {
      const status = await read("/v1/status");
      if (latest && latest.started !== status.started) forgetHistory();  // another process
      takeHistory(await read("/v1/history?from=" + next));
      by("main").hidden = false;
      by("sign-in").hidden = by("banner").hidden = true;
      showStatus(status);
      if (!listening) listen();
      await pause(POLL_MS);
    } catch (error) {
      showTrouble(error);
      if (error.status === 401 || error.status === 403) await signedIn();
      else await pause(RETRY_MS);
    }
  }
}

async function look() {
  for (;;) {
    if (latest && !document.hidden) {
      try {
        showFindings((await read("/v1/findings")).findings);
      } catch {}  // poll() says what is wrong
    }
    await pause(latest ? FINDINGS_MS : POLL_MS);
  }
}

// While somebody looks: an open stream is one of the few connections that a browser makes.
let listening = false, stream = null;
async function listen() {
  listening = true;
  while (!document.hidden) {
    try {
      await follow();
    } catch (error) {
      if (error.status === 401 || error.status === 403) break;  // each try counts as a guess
    }
    following = false;
    await pause(RETRY_MS);
  }
  listening = following = false;  // poll() begins again
}
document.addEventListener("visibilitychange", () => document.hidden && stream?.abort());

const signedIn = () => new Promise((resolve) => (tokenGiven = resolve));
by("sign-in").addEventListener("submit", (event) => {
  event.preventDefault();
  takeToken(by("token").value.trim());
  by("token").value = "";
});

matchMedia("(prefers-color-scheme: dark)").addEventListener("change", makeCharts);
makeCharts();
showEvents();
poll();
look();
