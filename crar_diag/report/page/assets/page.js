// What the sections share: the data, the looks of plots, small helpers. Sections add themselves.
const report = JSON.parse(document.getElementById("report-data").textContent);
const colours = report.colours;
const at = (id) => document.getElementById(id);
const narrow = () => window.matchMedia("(max-width: 820px)").matches;
const drawings = [];
const config = {
  responsive: true, displaylogo: false, scrollZoom: false, plotlyServerURL: "",
  modeBarButtons: [["zoom2d", "pan2d", "resetScale2d", "toImage"]],
};
const below = { orientation: "h", yref: "container", y: 0, yanchor: "bottom" };
const font = { family: 'system-ui, -apple-system, "Segoe UI", Roboto, Arial, sans-serif', size: 13, color: "#1b1f24" };
const grid = { gridcolor: "#eaeef2", zerolinecolor: "#d8dee4", linecolor: "#afb8c1", ticks: "outside", tickcolor: "#afb8c1" };

// Plotly reads a few tags (<b>, <a href>) in labels and hover texts: what comes from files is text.
const plain = (text) => String(text).replace(/&/g, "&amp;").replace(/</g, "&lt;").replace(/>/g, "&gt;");
const short = (value) => value === null ? "unknown" : Number(value.toPrecision(3)).toString();

function fill(select, entries) {
  select.replaceChildren(...entries.map(([value, text]) => new Option(text, value)));
}

// Hide a choice that is none.
function choose(select, entries, changed) {
  fill(select, entries);
  select.parentElement.hidden = entries.length < 2;
  select.parentElement.style.display = entries.length < 2 ? "none" : "";
  select.addEventListener("change", changed);
}

// The states of an embedding as crosses by room, and where each action leads as grey lines.
function embeddingTraces(states, axes) {
  const found = [];
  const names = states.actions || [];
  names.forEach((action, a) => {
    const x = [], y = [];
    states.embedding.forEach((from, s) => {
      const to = states.prediction[s][a];
      x.push(from[0], to[0], null);
      y.push(from[1], to[1], null);
    });
    found.push({
      type: "scatter", mode: "lines", x, y, hoverinfo: "skip", name: plain(action), ...axes,
      legendgroup: "action" + a, line: { color: colours.actions[a % colours.actions.length], width: 1 },
    });
  });
  const sides = states.side ? colours.sides : [{ name: "states", colour: colours.sides[0].colour, symbol: "x-thin" }];
  sides.forEach((side, k) => {
    const own = states.embedding.map((point, s) => [point, s]).filter(([, s]) => !states.side || states.side[s] === k);
    found.push({
      type: "scatter", mode: "markers", name: side.name, ...axes, legendgroup: "side" + k,
      x: own.map(([point]) => point[0]), y: own.map(([point]) => point[1]), customdata: own.map(([, s]) => s),
      hovertemplate: "state %{customdata}: (%{x:.3f}, %{y:.3f})<extra>" + side.name + "</extra>",
      marker: { symbol: side.symbol, size: 9, color: side.colour, line: { color: side.colour, width: 2 } },
    });
  });
  return found;
}

// An axis for values: logarithmic where they are positive and span enough, with ticks at 1, 2, 5.
function axisOf(values, ratio) {
  const own = values.filter((value) => value !== null);
  const low = Math.min(...own), high = Math.max(...own);
  const found = { ...grid, exponentformat: "e", zeroline: false, type: "linear" };
  if (!own.length || low <= 0 || high <= ratio * low) return found;
  const decades = Math.log10(high / low), ticks = [];
  for (let k = Math.floor(Math.log10(low)) - 1; k <= Math.ceil(Math.log10(high)) + 1; k += 1) {
    for (const one of decades < 2.5 ? [1, 2, 5] : [1]) ticks.push(Number((one + "e" + k)));
  }
  return { ...found, type: "log", tickmode: "array", tickvals: ticks, ticktext: ticks.map(short) };
}

// The smallest square frame around points, with some room.
function frame(lists) {
  let reach = 0;
  for (const list of lists) for (const value of list.flat(Infinity)) {
    if (value !== null && Math.abs(value) > reach) reach = Math.abs(value);
  }
  return [-1.06 * (reach || 1), 1.06 * (reach || 1)];
}
