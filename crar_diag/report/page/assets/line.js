// A line between two agents: its losses, and the embedding at the place of the slider.
if (report.lines.length) {
  const losses = at("line-losses"), picture = at("line-embedding"), slider = at("line-slider");
  let timer = null;

  const line = () => report.lines[Number(at("line-choice").value) || 0];
  const place = () => line().alpha[Number(slider.value)];
  const chosen = () => at("line-loss").value;
  const dashes = { frozen: "solid", unfrozen: "dash", both: "solid" };

  function curves() {
    const own = line(), every = chosen() === "";
    return own.curves.filter((curve) => every || curve.loss === chosen()).map((curve) => {
      const label = report.labels[curve.loss] || curve.loss;
      const colour = every ? colours.losses[curve.loss] || "#57606a" : colours.dynamics[curve.dynamics];
      const found = {
        type: "scatter", mode: "lines+markers", x: own.alpha, y: curve.values, line: { color: colour, dash: dashes[curve.dynamics], width: 2 },
        marker: { size: 4, color: colour }, name: plain(every ? label : curve.dynamics === "both" ? "frozen and unfrozen" : curve.dynamics), showlegend: !every || curve.dynamics !== "unfrozen" || !own.curves.some((one) => one.dynamics === "frozen"),
        hovertemplate: "%{x:.3f}: %{y:.4g}<extra>" + plain(label + ", " + curve.dynamics) + "</extra>",
      };
      if (curve.error && !every) found.error_y = { type: "data", array: curve.error, thickness: 1, width: 2, color: colour };
      return found;
    });
  }

  function marks() {
    const vertical = (x, style) => ({ type: "line", x0: x, x1: x, y0: 0, y1: 1, yref: "paper", line: style, layer: "below" });
    return [vertical(0, { color: "#afb8c1", width: 1 }), vertical(1, { color: "#afb8c1", width: 1 }), vertical(place(), { color: "#1b1f24", width: 2 })];
  }

  function drawLosses() {
    const shown = curves(), label = chosen() === "" ? "loss (dashed: unfrozen)" : report.labels[chosen()] || chosen();
    const name = (x, text) => ({ x, y: 1, yref: "paper", yanchor: "bottom", text, showarrow: false });
    return Plotly.react(losses, shown, {
      font, margin: { l: 62, r: 12, t: 34, b: chosen() === "" ? 124 : 84 }, shapes: marks(), annotations: [name(0, "<b>A</b>"), name(1, "<b>B</b>")], hovermode: "closest",
      xaxis: { ...grid, title: { text: "position on the line" }, zeroline: false }, legend: { ...below, font: { size: chosen() === "" ? 10 : 13 } },
      yaxis: { ...axisOf(shown.flatMap((curve) => curve.y), 30), title: { text: plain(label) } },
    }, config);
  }

  function states() {
    const own = line(), k = Number(slider.value);
    return { embedding: own.embedding[k], prediction: own.prediction ? own.prediction[k] : null, side: own.side, actions: own.actions };
  }

  function drawEmbedding() {
    const own = line();
    picture.style.display = own.embedding ? "" : "none";
    if (!own.embedding) return Promise.resolve();
    const range = frame([own.embedding, own.prediction || []]);
    return Plotly.react(picture, embeddingTraces(states(), {}), {
      font, margin: { l: 50, r: 12, t: 34, b: 84 }, hovermode: "closest", legend: below,
      annotations: [{ text: "<b>embedding here</b>", x: 0, y: 1, xref: "paper", yref: "paper", yanchor: "bottom", xanchor: "left", showarrow: false }],
      xaxis: { ...grid, range, constrain: "domain" },
      yaxis: { ...grid, range, scaleanchor: "x", constrain: "domain" },
    }, config);
  }

  // What the slider moves: the mark among the losses, the embedding, the numbers.
  function move() {
    const own = line(), k = Number(slider.value);
    const loss = chosen() || own.losses[0];
    const numbers = own.curves.filter((curve) => curve.loss === loss).map((curve) => (curve.dynamics === "both" ? "" : curve.dynamics + " ") + short(curve.values[k]));
    at("line-position").textContent = "at " + place().toFixed(3) + " · " + (report.labels[loss] || loss) + ": " + numbers.join(", ");
    Plotly.relayout(losses, { shapes: marks() });
    if (own.embedding) {
      const traces = embeddingTraces(states(), {});
      Plotly.restyle(picture, { x: traces.map((one) => one.x), y: traces.map((one) => one.y) });
    }
  }

  function stop() {
    clearInterval(timer);
    timer = null;
    at("line-play").textContent = "Play";
  }

  function play() {
    if (timer !== null) return stop();
    if (Number(slider.value) >= Number(slider.max)) slider.value = "0";
    at("line-play").textContent = "Stop";
    timer = setInterval(() => {
      if (Number(slider.value) >= Number(slider.max)) return stop();
      slider.value = String(Number(slider.value) + 1);
      move();
    }, 160);
  }

  function draw() {
    const own = line();
    stop();
    at("line-about").textContent = own.about.join(" · ");
    at("line-note").textContent = own.note;
    const wanted = chosen();
    fill(at("line-loss"), [...own.losses.map((loss) => [loss, report.labels[loss] || loss]), ["", "all losses"]]);
    if (own.losses.includes(wanted)) at("line-loss").value = wanted;
    slider.max = String(own.alpha.length - 1);
    slider.value = String(Math.max(own.alpha.indexOf(0), 0));  // A
    return Promise.all([drawLosses(), drawEmbedding()]).then(move);
  }

  choose(at("line-choice"), report.lines.map((one, k) => [k, one.name]), draw);
  at("line-loss").addEventListener("change", () => drawLosses().then(move));
  at("line-play").addEventListener("click", play);
  slider.addEventListener("input", () => { stop(); move(); });
  drawings.push(draw().then(() => losses.on("plotly_click", (event) => {
    stop();
    slider.value = String(event.points[0].pointIndex);
    move();
  })));
}
