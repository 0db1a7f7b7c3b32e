// Transfers as points; the chosen one's embedding beside its base's.
if (report.outcomes) {
  const { transfers, bases, losses } = report.outcomes;
  const plot = at("outcomes-plot"), picture = at("outcomes-embedding");
  let chosen = Math.max(transfers.findIndex((one) => one.states || one.images), 0);

  const heights = losses.map((loss, k) => ["final " + (report.labels[loss] || loss), (one) => one.losses[k], true]);
  if (transfers.some((one) => one.score !== null)) heights.push(["score", (one) => one.score, false]);

  const small = { ...config, modeBarButtons: [["toImage"]] };

  const condition = () => at("outcomes-condition").value;
  const shown = () => transfers.map((one, k) => [one, k]).filter(([one]) => condition() === "" || one.condition === condition());

  function scatter() {
    const [, value] = heights[Number(at("outcomes-height").value) || 0];
    const kinds = Object.keys(colours.kinds).filter((kind) => shown().some(([one]) => one.kind === kind));
    const found = kinds.map((kind) => {
      const own = shown().filter(([one]) => one.kind === kind && one.distance !== null && value(one) !== null);
      return {
        type: "scatter", mode: "markers", name: plain(kind) + " (" + own.length + ")", x: own.map(([one]) => one.distance), y: own.map(([one]) => value(one)),
        customdata: own.map(([, k]) => k), text: own.map(([one]) => plain(one.name)), hovertemplate: "%{text}<br>distance %{x:.3g}, %{y:.3g}<extra>" + plain(kind) + "</extra>",
        marker: {
          size: 11, color: colours.kinds[kind].colour, symbol: colours.kinds[kind].symbol,
          line: { width: own.map(([one]) => one.success ? 2 : 0.8), color: own.map(([one]) => one.success ? "#000" : "#555") },
        },
      };
    });
    const one = transfers[chosen];
    found.push({
      type: "scatter", mode: "markers", x: [one.distance], y: [value(one)], hoverinfo: "skip", showlegend: false,
      marker: { size: 22, symbol: "circle-open", color: "#000", line: { width: 2, color: "#000" } },
    });
    return found;
  }

  function drawPoints() {
    const [label, value, loss] = heights[Number(at("outcomes-height").value) || 0];
    const own = shown().map(([one]) => one);
    const missing = own.filter((one) => one.distance === null || value(one) === null).length;
    return Plotly.react(plot, scatter(), {
      font, margin: { l: 66, r: 12, t: 34, b: 90 }, hovermode: "closest", legend: below, clickmode: "event",
      xaxis: { ...axisOf(own.map((one) => one.distance), 10), title: { text: "distance to the base's embedding" } },
      yaxis: { ...axisOf(loss ? own.map(value) : [], 10), title: { text: plain(label) } },
      annotations: missing ? [{ text: missing + " without a number here: choose by name", x: 1, y: 1, xref: "paper", yref: "paper", xanchor: "right", yanchor: "top", showarrow: false, font: { size: 11, color: "#57606a" } }] : [],
    }, config);
  }

  function badge(text, good) {
    const found = document.createElement("span");
    found.className = good ? "badge good" : "badge";
    found.textContent = text;
    return found;
  }

  function drawStates(one) {
    const base = one.base_states === null ? null : bases[one.base_states];
    const range = frame([one.states.embedding, one.states.prediction, base ? [base.embedding, base.prediction] : []]);
    const traces = embeddingTraces(one.states, { xaxis: "x", yaxis: "y" });
    if (base) traces.push(...embeddingTraces(base, { xaxis: "x2", yaxis: "y2" }).map((trace) => ({ ...trace, showlegend: false })));
    const axis = (domain, anchor) => ({ ...grid, range, domain, anchor, constrain: "domain" });
    const heading = (text, x) => ({ text, x, y: 1, xref: "paper", yref: "paper", yanchor: "bottom", xanchor: "left", showarrow: false });
    const layout = {
      font, margin: { l: 36, r: 8, t: 34, b: 62 }, hovermode: "closest", legend: { ...below, font: { size: 11 } },
      xaxis: axis(base ? [0, 0.47] : [0, 1], "y"), yaxis: { ...grid, range, scaleanchor: "x", constrain: "domain" },
      annotations: base ? [heading("<b>this transfer</b>", 0), heading("<b>its base model</b>", 0.53)] : [heading("<b>this transfer</b>", 0)],
    };
    if (base) Object.assign(layout, { xaxis2: axis([0.53, 1], "y2"), yaxis2: { ...grid, range, anchor: "x2", scaleanchor: "x2", showticklabels: false, constrain: "domain" } });
    return Plotly.react(picture, traces, layout, small);
  }

  // Channels side by side, the base's above the transfer's; row 0 of a picture is its upper one.
  function drawImages(one) {
    const gap = (row) => [...row, null];
    const rows = [];
    one.images.forEach((state, k) => {
      if (k) rows.push([]);
      for (let r = 0; r < state[0].length; r += 1) rows.push(state.flatMap((channel) => gap(channel[r])));
    });
    const reach = frame([one.images])[1];
    const names = one.images.length > 1 ? "base model above, this transfer below" : "this transfer";
    return Plotly.react(picture, [{ type: "heatmap", z: rows, zmin: -reach, zmax: reach, colorscale: "RdBu", reversescale: true, hovertemplate: "%{z:.3f}<extra></extra>" }], {
      font, margin: { l: 8, r: 8, t: 26, b: 10 }, title: { text: "states of the first maze: " + names, font: { size: 13 } },
      xaxis: { visible: false, constrain: "domain" }, yaxis: { visible: false, autorange: "reversed", scaleanchor: "x", constrain: "domain" },
    }, small);
  }

  function drawChosen() {
    const one = transfers[chosen];
    at("outcomes-name").textContent = one.name;
    at("outcomes-words").replaceChildren(badge(one.kind, false), badge(one.success ? "success" : "no success", one.success), one.words);
    at("outcomes-note").textContent = one.note || "";
    at("outcomes-transfer").value = String(chosen);
    picture.style.display = one.note ? "none" : "";
    if (one.note) return Promise.resolve();
    return one.images ? drawImages(one) : drawStates(one);
  }

  function choosing(k) {
    chosen = k;
    return Promise.all([drawPoints(), drawChosen()]);
  }

  function narrowed() {
    const own = shown();
    fill(at("outcomes-transfer"), own.map(([one, k]) => [k, one.name]));
    return choosing(own.some(([, k]) => k === chosen) ? chosen : own[0][1]);
  }

  const conditions = [...new Set(transfers.map((one) => one.condition))];
  choose(at("outcomes-condition"), conditions.length > 1 ? [["", "all transfers"], ...conditions.map((one) => [one, one])] : [["", "all transfers"]], narrowed);
  choose(at("outcomes-height"), heights.map(([label], k) => [k, label]), drawPoints);
  at("outcomes-transfer").addEventListener("change", (event) => choosing(Number(event.target.value)));
  drawings.push(narrowed().then(() => plot.on("plotly_click", (event) => {
    const k = event.points.map((point) => point.customdata).find((value) => value !== undefined);
    if (k !== undefined) choosing(k);
  })));
}
