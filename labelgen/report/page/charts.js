// The plots, as wide as their place; colours are those of the styles, so that dark and light agree.
"use strict";
{
  const data = JSON.parse(document.getElementById("plots").textContent);
  const colour = (name) => `var(--${name})`;
  const BRANCHES = ["static", "reference", "illumination", "truth", "pieces"];
  const CLASSES = { full: "full trust", part: "in part", guess: "a guess", none: "no label" };
  const percent = (share) => 100 * share;
  const signed = (v) => `${v < 0 ? "−" : "+"}${Math.abs(v).toFixed(2)}`;
  const count = (width, each = 90) => Math.max(3, Math.min(8, Math.floor((width - 120) / each)));
  const few = (n) => n.toLocaleString("en");

  function element(name, properties = {}, ...children) {
    const made = Object.assign(document.createElement(name), properties);
    made.append(...children);
    return made;
  }

  function keys(entries) {
    return element("div", { className: "keys" }, ...entries.map(([text, name]) => {
      const span = element("span", { textContent: text });
      span.style.setProperty("--key", colour(name));
      return span;
    }));
  }

  const plot = (width, label, options) => {
    const made = Plot.plot({ width, ariaLabel: label, marginLeft: 90, marginRight: 24, marginBottom: 42, insetTop: 2,
      style: { fontSize: "12px", background: "transparent" }, ...options });
    made.setAttribute("role", "img");
    return made;
  };

  // One row of ticks for each of several measures, and their median: no bins, nothing hidden.
  const opacity = (n) => Math.max(0.08, Math.min(0.75, 12 / n ** 0.6));
  function ticks(rows, x, y, fill, digits) {
    const n = new Set(rows.map((row) => row.name)).size;
    return [
      Plot.tickX(rows, { x, y, stroke: fill, strokeOpacity: opacity(n), strokeWidth: 2, insetTop: 5, insetBottom: 5 }),
      Plot.tickX(rows, Plot.groupY({ x: "median" }, { x, y, stroke: "currentColor", strokeWidth: 2 })),
      Plot.text(d3.rollups(rows, (group) => d3.median(group, x), y), { y: (d) => d[0], text: (d) => digits(d[1]),
        frameAnchor: "right", dx: 44, textAnchor: "end", fill: "currentColor" }),
      Plot.tip(rows, Plot.pointer({ x, y, title: (d) => `${d.name}: ${digits(x(d))}` })),
    ];
  }

  const KINDS = [["trusted", "static"], ["static", "static"], ["moving", "reference"], ["clipped", "illumination"], ["dark", "pieces"]];

  const NAMED = { "gamma2.2": (v) => v ** 2.2, linear: (v) => v, srgb: (v) => (v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4) };

  const PLOTS = {
    branches: (width) => [plot(width, "Samples by branch", {
      height: 34 * data.branches.length + 58, marginRight: 64,
      x: { label: "samples", grid: true, ticks: 4, tickFormat: (n) => (n < 1000 ? n : `${n / 1000}k`) }, y: { label: null, domain: data.branches.map((d) => d.name) },
      marks: [
        Plot.barX(data.branches, { x: "samples", y: "name", fill: (d) => colour(d.name), insetTop: 3, insetBottom: 3, rx: 2 }),
        Plot.text(data.branches, { x: "samples", y: "name", text: (d) => few(d.samples), dx: 6, textAnchor: "start", fill: "currentColor" }),
        Plot.ruleX([0]),
      ],
    })],

    trust: (width) => {
      const rows = data.trust.flatMap((row) => Object.keys(CLASSES).map((kind) => ({ name: row.name, kind, share: percent(row[kind]) })));
      return [keys(Object.entries(CLASSES).map(([kind, text]) => [text, kind])), plot(width, "Trust of pixels by branch", {
        height: 34 * data.trust.length + 58,
        x: { label: "share of pixels (%)", domain: [0, 100], ticks: 5 }, y: { label: null, domain: data.trust.map((d) => d.name) },
        color: { domain: Object.keys(CLASSES), range: Object.keys(CLASSES).map(colour) },
        marks: [Plot.barX(rows, { x: "share", y: "name", fill: "kind", insetTop: 3, insetBottom: 3, order: Object.keys(CLASSES),
          title: (d) => `${d.name}: ${d.share.toFixed(1)} % ${CLASSES[d.kind]}`, tip: true })],
      })];
    },

    radiance: (width) => {
      const rows = data.radiance.map((d) => ({ ...d, from: d.stops, to: d.stops + data.bin, kind: d.trusted ? "trusted" : "not trusted" }));
      return [keys([["trusted", "static"], ["not trusted", "none"]]), plot(width, "Histogram of radiance", {
        height: 240, marginLeft: 44,
        x: { label: "stops from the clip of the shortest frame", domain: [data.radiance[0].stops, 0], ticks: 8 },
        y: { label: "share of pixels (%)", grid: true, ticks: 5 },
        color: { domain: ["trusted", "not trusted"], range: [colour("static"), colour("none")] },
        marks: [Plot.rectY(rows, { x1: "from", x2: "to", y: (d) => percent(d.share), fill: "kind", order: ["trusted", "not trusted"], insetLeft: 0.5, insetRight: 0.5 }), Plot.ruleY([0])],
      })];
    },

    coverage: (width) => {
      const rows = data.brackets.flatMap((b) => KINDS.filter(([kind]) => b[kind] !== null).map(([kind, fill]) => ({ name: b.name, kind, share: percent(b[kind]), fill: colour(fill) })));
      return rows.length ? [plot(width, "Shares of the frame by bracket", {
        height: 232, marginRight: 56, x: { label: "share of the frame (%)", domain: [0, 100], grid: true, ticks: 5 },
        y: { label: null, domain: KINDS.map(([kind]) => kind).filter((k) => rows.some((r) => r.kind === k)) },
        marks: ticks(rows, (d) => d.share, (d) => d.kind, (d) => d.fill, (v) => `${v.toFixed(1)} %`),
      })] : [];
    },

    exposures: (width) => exposures(width, "ev", "exposure (EV, relative to the shortest frame)", "Exposures by frame", {}),
    corrections: (width) => {
      const reach = Math.max(0.1, ...data.exposures.map((d) => Math.abs(d.off)));
      return exposures(width, "off", "pixels − stated (EV)", "Corrections by frame", { domain: [-reach, reach] });
    },

    motion: (width) => {
      const rows = data.brackets.filter((b) => b.moving !== null && b.shift !== null);
      return rows.length ? [plot(width, "Motion by bracket", {
        height: 272, marginLeft: 44,
        x: { label: "mean shift of the frame aligned farthest (px)", type: "sqrt", grid: true, domain: [0, Math.max(2, ...rows.map((b) => b.shift)) * 1.05], ticks: 6 },
        y: { label: "moving share of the frame (%)", domain: [0, 100], grid: true, ticks: 5 },
        marks: [Plot.dot(rows, { x: "shift", y: (d) => percent(d.moving), r: 4, fill: colour("reference"), fillOpacity: Math.max(0.25, Math.min(0.85, 20 / rows.length ** 0.6)),
          title: (d) => `${d.name}\n${d.shift.toFixed(1)} px, ${percent(d.moving).toFixed(0)} % moving`, tip: true })],
      })] : [];
    },

    sizes: (width) => {
      const rows = data.brackets.flatMap((b) => Object.entries(b.sizes).map(([kind, px]) => ({ name: b.name, kind, px })));
      return rows.length ? [plot(width, "Sizes of moving things by bracket", {
        height: 200, marginRight: 64, x: { label: "size (px)", type: "log", grid: true, tickFormat: "~s", ...padded(rows.map((d) => d.px)) },
        y: { label: null, domain: ["median", "largest"] },
        marks: ticks(rows, (d) => d.px, (d) => d.kind, () => colour("reference"), (v) => `${v.toFixed(0)} px`),
      })] : [];
    },

    noise: (width) => data.noise.length ? [plot(width, "Noise of the cameras", {
      height: 272, marginLeft: 52,
      x: { label: "full well (electrons)", type: "log", grid: true, tickFormat: "~s", ...padded(data.noise.map((d) => d.well)) },
      y: { label: "read noise (electrons)", type: "log", grid: true, tickFormat: "~g", ...padded(data.noise.map((d) => d.read)) },
      r: { range: [4, 11], domain: [1, Math.max(2, ...data.noise.map((d) => d.brackets))] },
      marks: [Plot.dot(data.noise, { x: (d) => Math.max(d.well, 1), y: (d) => Math.max(d.read, 0.05), r: "brackets", fill: colour("truth"), fillOpacity: 0.7,
        title: (d) => `${d.camera}\n${few(Math.round(d.well))} e⁻, read ${d.read.toFixed(1)} e⁻\n${d.brackets} brackets`, tip: true })],
    })] : [],

    responses: (width) => {
      const columns = Math.max(1, Math.floor((width + 24) / 264));
      const each = (width - 24 * (columns - 1)) / columns;
      const made = data.responses.map((response) => {
        const names = ["red", "green", "blue"];
        const stops = (code) => 2.2 * Math.log2(Math.max(code, 1e-6));
        const lines = response.curves.map((curve, c) => curve.map((code, k) => ({ code: Math.min(255, 4 * k), stops: stops(code), c: names[c] })));
        const named = NAMED[response.name.split(" ")[0]];
        const whole = named && Array.from({ length: 256 }, (_, k) => ({ code: k, stops: Math.log2(Math.max(named(k / 255), 1e-6)) }));
        const gamma = Array.from({ length: 64 }, (_, k) => ({ code: 4 * k + 3, stops: stops((4 * k + 3) / 255) }));
        const fit = response.misfit === null ? "" : `, off by ${response.misfit.toFixed(2)} codes`;
        const line = { x: "code", y: "stops", clip: true, strokeWidth: 2 };
        return element("div", {}, element("h4", { textContent: response.camera }),
          element("p", { textContent: `${response.name}, ${response.brackets} bracket${response.brackets === 1 ? "" : "s"}${fit}` }),
          plot(each, `Response of ${response.camera}`, {
            height: 204, marginLeft: 36, marginRight: 12,
            x: { label: "code of the camera (8 bit)", domain: [0, 255], ticks: [0, 64, 128, 192, 255] },
            y: { label: "stops below clip", domain: [-12, 0], grid: true, ticks: 5 },
            marks: [
              Plot.line(gamma, { ...line, stroke: "currentColor", strokeOpacity: 0.55, strokeDasharray: "3 4", strokeWidth: 1.5 }),
              ...(whole ? [Plot.line(whole, { ...line, stroke: "currentColor", strokeOpacity: 0.7 })] : []),
              ...lines.map((points, c) => Plot.line(points, { ...line, stroke: colour(names[c]) })),
            ],
          }));
      });
      return [element("div", { className: "multiples" }, ...made)];
    },

    times: (width) => {
      const rows = ["survey", "make", "join"].map((stage) => ({ stage, seconds: data.times.stages[stage] }));
      return [plot(width, "Seconds by stage", {
        height: 160, marginRight: 72, x: { label: "seconds", grid: true, ticks: 6 }, y: { label: null, domain: rows.map((d) => d.stage) },
        marks: [
          Plot.barX(rows, { x: "seconds", y: "stage", fill: colour("static"), insetTop: 3, insetBottom: 3, rx: 2 }),
          Plot.text(rows, { x: "seconds", y: "stage", text: (d) => `${d.seconds.toFixed(1)} s`, dx: 6, textAnchor: "start", fill: "currentColor" }),
          Plot.ruleX([0]),
        ],
      })];
    },
  };

  function exposures(width, x, label, title, options) {
    const frames = Math.max(...data.exposures.map((d) => d.frame), 0) + 1;
    const name = (frame) => `frame ${frame + 1}${frame === data.reference ? " (r)" : ""}`;
    return data.exposures.length ? [plot(width, title, {
      height: 42 * frames + 64, marginRight: 56, x: { label, grid: true, ticks: count(width), nice: true, ...options },
      y: { label: null, domain: Array.from({ length: frames }, (_, k) => name(k)) },
      marks: ticks(data.exposures, (d) => d[x], (d) => name(d.frame), (d) => colour(d.frame === data.reference ? "reference" : "static"), signed),
    })] : [];
  }

  function padded(values) {
    const safe = values.map((value) => Math.max(value, 0.05));
    const domain = [d3.min(safe) / 2, d3.max(safe) * 2];
    const decades = d3.range(-2, 8).flatMap((k) => [1, 2, 5].map((n) => n * 10 ** k));
    const inside = decades.filter((v) => v >= domain[0] && v <= domain[1]);
    return { domain, ticks: inside.length > 6 ? inside.filter((v) => /^[\d.]*1/.test(String(v)) || v < 1) : inside };
  }

  function drawAll() {
    for (const place of document.querySelectorAll("[data-plot]")) {
      const width = Math.floor(place.clientWidth);
      if (!width || place.dataset.width === String(width)) continue;
      place.dataset.width = width;
      const made = PLOTS[place.dataset.plot](width);
      place.replaceChildren(...(made.length ? made : [element("p", { className: "small", textContent: "The dataset notes nothing of this." })]));
    }
  }

  drawAll();
  new ResizeObserver(() => requestAnimationFrame(drawAll)).observe(document.body);
}
