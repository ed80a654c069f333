"use strict";
// The page of a gateway. It asks wicketd, through the server it came from, once a second:
//   /v1/status    tables and tiles        /v1/history   what is new for the charts
//   /v1/findings  every ten seconds       /v1/events    one request that never ends
// All text is put in as text, so nothing that a peer, a label or a device is called can be markup.

const POLL_MS = 1000, RETRY_MS = 2000, FINDINGS_MS = 10000, PATIENCE_MS = 10000;
const STREAM_SILENT_MS = 40000, DRAW_MS = 250;  // wicketd says something every 15 s
const SAMPLES_MAX = 900, TICK_MS = 180000, EVENTS_KEPT = 500, EVENTS_SHOWN = 200, PEERS_SHOWN = 20, EXPLAINED = 5;
const POOLS_SHOWN = 4;
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
