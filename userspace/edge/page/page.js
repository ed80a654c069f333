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
