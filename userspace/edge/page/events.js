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
