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
