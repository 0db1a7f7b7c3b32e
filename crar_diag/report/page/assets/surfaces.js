// Loss surfaces in space: frozen beside unfrozen, or above it on a phone.
if (report.surfaces.length) {
  const plot = at("surfaces-plot");
  const planes = report.surfaces;
  const scenes = ["scene", "scene2"];
  let camera = { eye: { x: 1.1, y: -1.3, z: 0.92 }, center: { x: 0, y: 0, z: -0.14 } };
  let quiet = false;

  const plane = () => planes[Number(at("surfaces-plane").value) || 0];
  const layer = () => plane().layers[Number(at("surfaces-loss").value) || 0];

  // Heights are logarithmic where the colours are.
  function height(value, scale) {
    if (value === null) return null;
    return scale.logarithmic ? Math.log10(Math.max(value, scale.low)) : value;
  }

  // The height of a surface above a place, between its grid points.
  function above(surface, x, y, scale) {
    const cell = (grid, value) => {
      let k = grid.findIndex((edge, i) => i + 1 < grid.length && value >= edge && value <= grid[i + 1]);
      return k < 0 ? null : [k, (value - grid[k]) / (grid[k + 1] - grid[k])];
    };
    const i = cell(surface.x, x), j = cell(surface.y, y);
    if (!i || !j) return null;
    const z = (a, b) => height(surface.z[i[0] + a][j[0] + b], scale);
    const along = (b) => (1 - i[1]) * z(0, b) + i[1] * z(1, b);
    return (1 - j[1]) * along(0) + j[1] * along(1);
  }

  function traces(own, shown) {
    const scale = shown.scale, found = [];
    const ends = [height(scale.low, scale), height(scale.high, scale)];
    shown.surfaces.forEach((surface, k) => {
      const z = surface.y.map((_, j) => surface.x.map((_, i) => height(surface.z[i][j], scale)));
      const text = surface.y.map((_, j) => surface.x.map((_, i) => surface.z[i][j] === null ? "no value" : short(surface.z[i][j])));
      found.push({
        type: "surface", scene: scenes[k], name: surface.name, x: surface.x, y: surface.y, z, text, coloraxis: "coloraxis",
        hovertemplate: "x %{x:.3f}<br>y %{y:.3f}<br>%{text}<extra>" + plain(surface.title) + "</extra>",
        contours: { z: { show: true, usecolormap: false, color: "rgba(255,255,255,0.55)", width: 1, start: ends[0], end: ends[1], size: (ends[1] - ends[0]) / 12 || 1 } },
        lighting: { ambient: 0.85, diffuse: 0.35, specular: 0.04, roughness: 0.9 },
      });
      if (own.trajectory) {
        const t = own.trajectory;
        const z2 = t.x.map((x, s) => shown.trajectory ? height(shown.trajectory[s], scale) : above(surface, x, t.y[s], scale));
        found.push({
          type: "scatter3d", mode: "lines+markers", scene: scenes[k], showlegend: false, x: t.x, y: t.y, z: z2, text: t.updates.map(String),
          line: { color: "#D55E00", width: 4 }, marker: { size: 3, color: "#D55E00" },
          hovertemplate: "after %{text} updates<extra>trajectory</extra>",
        });
      }
    });
    return found;
  }

  function layout(own, shown) {
    const scale = shown.scale, two = shown.surfaces.length === 2, stacked = two && narrow();
    const ends = [height(scale.low, scale), height(scale.high, scale)];
    const room = 0.04 * (ends[1] - ends[0]) || 0.5;
    const ticks = { tickvals: scale.ticks.map((tick) => height(tick, scale)), ticktext: scale.ticks.map(short) };
    const axis = { gridcolor: "#d8dee4", backgroundcolor: "#fbfcfd", showbackground: true, zeroline: false, nticks: 6 };
    const names = { x: wrapped(own.axes.x), y: wrapped(own.axes.y) };
    const found = {
      font, margin: { l: 0, r: 0, t: 34, b: 0 }, paper_bgcolor: "#fff", showlegend: false, uirevision: "turned", annotations: [],
      coloraxis: {
        colorscale: "Viridis", cmin: ends[0], cmax: ends[1],
        colorbar: stacked
          ? { orientation: "h", y: -0.02, yanchor: "top", thickness: 12, len: 0.9, title: { text: plain(shown.label), side: "top" }, ...ticks }
          : { thickness: 14, len: 0.8, x: 1.0, title: { text: plain(shown.label), side: "right" }, ...ticks },
      },
    };
    if (stacked) found.margin.b = 60;
    shown.surfaces.forEach((surface, k) => {
      const x = !two || stacked ? [0, stacked ? 1 : 0.94] : k ? [0.48, 0.94] : [0, 0.46];
      const y = stacked ? (k ? [0, 0.46] : [0.52, 0.98]) : [0, 1];
      found[scenes[k]] = {
        domain: { x, y }, camera, aspectmode: "manual", aspectratio: { x: 1, y: 1, z: 0.62 }, dragmode: "orbit",
        xaxis: { ...axis, title: { text: names.x, font: { size: 12 } } }, yaxis: { ...axis, title: { text: names.y, font: { size: 12 } } },
        zaxis: { ...axis, title: { text: "" }, range: [ends[0] - room, ends[1] + room], ...ticks },
        annotations: names3d(own, surface, scale),
      };
      found.annotations.push({
        text: "<b>" + plain(surface.title) + "</b>", xref: "paper", yref: "paper", showarrow: false,
        x: (x[0] + x[1]) / 2, y: y[1], xanchor: "center", yanchor: "bottom",
      });
    });
    return found;
  }

  // The agents' names point at the surface; no hill hides them.
  function names3d(own, surface, scale) {
    return own.points.map((point) => [point, above(surface, point.x, point.y, scale)]).filter(([, z]) => z !== null).map(([point, z]) => {
      const off = point.distance > 1e-3 * (surface.x[surface.x.length - 1] - surface.x[0]) ? " (" + short(point.distance) + " off the plane)" : "";
      return {
        x: point.x, y: point.y, z, text: "<b>" + plain(point.name) + "</b>" + off, ax: 0, ay: -46, arrowhead: 6, arrowsize: 1, arrowwidth: 1.5, arrowcolor: "#1b1f24",
        bgcolor: "rgba(255,255,255,0.85)", borderpad: 2, font: { size: 14 },
      };
    });
  }

  // A long label stands in lines, or it would reach across the scene.
  function wrapped(label) {
    const lines = [""];
    for (const word of label.split(" ")) {
      if (lines[lines.length - 1].length + word.length > 26) lines.push("");
      lines[lines.length - 1] += (lines[lines.length - 1] ? " " : "") + word;
    }
    return lines.map(plain).join("<br>");
  }

  function draw() {
    const own = plane(), shown = layer();
    at("surfaces-about").textContent = own.about.join(" · ");
    const notes = [];
    if (!shown) {
      at("surfaces-note").textContent = "No loss of this plane is finite anywhere.";
      Plotly.purge(plot);
      return Promise.resolve();
    }
    if (shown.scale.logarithmic) notes.push("Heights and colours are logarithmic.");
    if (shown.scale.cut) notes.push("Values below " + short(shown.scale.low) + " have its height and colour.");
    if (own.trajectory) notes.push("The orange line is the training trajectory, at the models' own losses.");
    at("surfaces-note").textContent = notes.join(" ");
    return Plotly.react(plot, traces(own, shown), layout(own, shown), { ...config, scrollZoom: true, modeBarButtons: [["orbitRotation", "zoom3d", "pan3d", "resetCameraDefault3d", "toImage"]] });
  }

  function losses() {
    const wanted = layer() ? layer().key : "";
    fill(at("surfaces-loss"), plane().layers.map((one, k) => [k, one.label]));
    const same = plane().layers.findIndex((one) => one.key === wanted);
    at("surfaces-loss").value = String(Math.max(same, 0));
  }

  choose(at("surfaces-plane"), planes.map((one, k) => [k, one.name]), () => { losses(); draw(); });
  losses();
  at("surfaces-loss").addEventListener("change", draw);
  window.matchMedia("(max-width: 820px)").addEventListener("change", draw);
  drawings.push(draw().then(() => {
    plot.on("plotly_relayout", (changed) => {
      if (quiet) return;
      const moved = scenes.find((scene) => changed[scene + ".camera"]);
      if (!moved) return;
      camera = changed[moved + ".camera"];
      const other = scenes.find((scene) => scene !== moved);
      if (!at("surfaces-together").checked || !layer() || layer().surfaces.length < 2) return;
      quiet = true;
      Plotly.relayout(plot, { [other + ".camera"]: camera }).finally(() => { quiet = false; });
    });
  }));
}
