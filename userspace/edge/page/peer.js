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
