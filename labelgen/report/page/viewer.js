// The gallery: choose a bracket, expose its label, lay its trust over it.
"use strict";
{
  const $ = (id) => document.getElementById(id);
  const read = (id) => JSON.parse($(id).textContent);
  const index = read("index");
  const reference = read("plots").reference;
  const PER_PAGE = 12;
  const PER_STOP = 68, TOP = 1023; // as in pictures.py
  const COLOURS = { none: [194, 24, 91], guess: [232, 89, 12], part: [227, 181, 5] };
  const LIT = [90, 200, 255];

  // --- pictures --------------------------------------------------------------------------------

  async function pixels(uri) {
    const image = new Image();
    image.src = uri;
    await image.decode();
    const canvas = document.createElement("canvas");
    canvas.width = image.naturalWidth;
    canvas.height = image.naturalHeight;
    const context = canvas.getContext("2d", { willReadFrequently: true });
    context.drawImage(image, 0, 0);
    return context.getImageData(0, 0, canvas.width, canvas.height);
  }

  // Codes of log radiance, 0 to 1023, three a pixel: upper 8 bits above, lower 2 bits below.
  function logCodes(picture) {
    const { width, data } = picture;
    const height = picture.height / 2;
    const codes = new Uint16Array(3 * width * height);
    const half = 4 * width * height;
    for (let i = 0, k = 0; i < half; i += 4) {
      const low = data[half + i];
      for (let c = 0; c < 3; c++) codes[k++] = (data[i + c] << 2) | ((low >> (2 * c)) & 3);
    }
    return codes;
  }

  // What each of the 1024 codes looks like: exposed and clipped, or the whole range by mu-law.
  function exposed(ev, mu) {
    const table = new Uint8ClampedArray(TOP + 1);
    for (let code = 1; code <= TOP; code++) {
      const radiance = 2 ** ((code - TOP) / PER_STOP);
      const shown = mu
        ? Math.log1p(5000 * radiance) / Math.log(5001)
        : Math.min(1, radiance * 2 ** ev) ** (1 / 2.2);
      table[code] = 255 * shown;
    }
    return table;
  }

  function tint(out, i, weight) {
    if (weight === 255) return;
    const [colour, alpha] =
      weight === 0 ? [COLOURS.none, 0.8]
      : weight < 128 ? [COLOURS.guess, 0.7]
      : [COLOURS.part, 0.65 * ((255 - weight) / 127)];
    for (let c = 0; c < 3; c++) out[i + c] += alpha * (colour[c] - out[i + c]);
  }

  // `base` gives the colour of a pixel; what no patch covers is hatched, what only augmented ones
  // cover is crossed by lines.
  function painted(width, height, trust, overlay, base) {
    const image = new ImageData(width, height);
    const out = image.data;
    for (let y = 0, p = 0; y < height; y++) {
      for (let x = 0; x < width; x++, p++) {
        const i = 4 * p, weight = trust.data[i], cover = trust.data[i + 1];
        out[i + 3] = 255;
        if (cover === 0) {
          out[i] = out[i + 1] = out[i + 2] = (x + y) % 10 < 5 ? 84 : 64;
          continue;
        }
        base(out, i, p);
        if (overlay) tint(out, i, weight);
        if (cover < 255 && (x + y) % 12 < 2) for (let c = 0; c < 3; c++) out[i + c] += 0.55 * (LIT[c] - out[i + c]);
      }
    }
    return image;
  }

  const byCodes = (codes, table) => (out, i, p) => {
    for (let c = 0; c < 3; c++) out[i + c] = table[codes[3 * p + c]];
  };
  const byPicture = (data) => (out, i) => {
    for (let c = 0; c < 3; c++) out[i + c] = data[i + c];
  };
  const byWeight = (data) => (out, i) => {
    out[i] = out[i + 1] = out[i + 2] = data[i];
  };

  // --- one bracket -----------------------------------------------------------------------------

  const canvas = $("canvas"), slider = $("exposure");
  let current = null, turn = 0;

  function element(name, properties = {}, ...children) {
    const made = Object.assign(document.createElement(name), properties);
    made.append(...children);
    return made;
  }

  const signed = (ev) => `${ev < 0 ? "−" : "+"}${Math.abs(ev).toFixed(1)} EV`;
  const view = () => document.querySelector("input[name=view]:checked")?.value ?? "label";

  async function open(number) {
    const mine = ++turn;
    const bracket = read(`bracket-${number}`);
    const [label, trust, ...frames] = await Promise.all(
      [bracket.label, bracket.trust, ...bracket.frames].map(pixels));
    const samples = await Promise.all(bracket.samples.map(async (sample) => ({
      ...sample,
      sheet: await pixels(sample.frames),
      codes: logCodes(await pixels(sample.label)),
      weights: await pixels(sample.trust),
    })));
    if (mine !== turn) return; // another one was chosen meanwhile
    current = { bracket, codes: logCodes(label), trust, frames, samples };
    $("bracket-name").replaceChildren(element("bdi", { textContent: bracket.name }));
    describe(bracket);
    offerViews(bracket);
    layOutSamples(bracket);
    slider.max = Math.max(12, Math.ceil(Math.max(...bracket.ev) + 6));
    slider.value = bracket.ev[reference] ?? bracket.ev[0];
    canvas.width = bracket.width;
    canvas.height = bracket.height;
    canvas.classList.toggle("small", bracket.width < 420); // magnified, show pixels
    draw();
    $("viewer").dataset.shown = number;
  }

  function describe(bracket) {
    $("facts").replaceChildren(...bracket.facts.map(([term, text]) =>
      element("div", {}, element("dt", { textContent: term }), element("dd", { textContent: text }))));
    $("problems").replaceChildren(...bracket.problems.map((text) => element("p", { textContent: text })));
    const { plain, all } = bracket.places;
    $("places").textContent = plain === all
      ? `${all} patches, all shown as they were taken.`
      : `${all} patches, ${plain} shown as they were taken. The other ${all - plain} are in the dataset `
        + "under synthetic light or pieces alone, and crossed by lines where they show.";
  }

  function offerViews(bracket) {
    const before = view();
    const option = (value, title, note, picture) => {
      const input = element("input", { type: "radio", name: "view", value, checked: value === before });
      return element("label", {}, input, picture, element("span", { textContent: title }),
        element("small", { textContent: note }));
    };
    const picture = (src) => element("img", { className: "pic", src, alt: "", decoding: "async" });
    const trust = element("canvas", { className: "pic", width: bracket.width, height: bracket.height });
    trust.getContext("2d").putImageData(
      painted(bracket.width, bracket.height, current.trust, false, byWeight(current.trust.data)), 0, 0);
    const options = [
      option("label", "Label", "radiance", picture(bracket.thumb)),
      ...bracket.frames.map((src, i) =>
        option(String(i), `Frame ${i + 1}`, signed(bracket.ev[i]) + (i === reference ? ", reference" : ""), picture(src))),
      option("trust", "Trust", "white is full", trust),
    ];
    $("views").replaceChildren($("views").querySelector("legend"), ...options);
    if (!document.querySelector("input[name=view]:checked")) options[0].querySelector("input").checked = true;
    $("stops").replaceChildren(...bracket.ev.slice(0, bracket.frames.length).map((ev, i) =>
      element("button", {
        type: "button", textContent: `as frame ${i + 1}`, title: `Expose the label by ${signed(ev)}`,
        onclick: () => { slider.value = ev; $("mu").checked = false; draw(); },
      })));
  }

  function draw() {
    if (!current) return;
    const { bracket, codes, trust, frames } = current;
    const { width, height } = bracket;
    const shown = view(), ev = Number(slider.value), mu = $("mu").checked;
    const base = shown === "label" ? byCodes(codes, exposed(ev, mu))
      : shown === "trust" ? byWeight(trust.data) : byPicture(frames[Number(shown)].data);
    const context = canvas.getContext("2d", { willReadFrequently: true });
    context.putImageData(painted(width, height, trust, $("overlay").checked, base), 0, 0);
    if ($("borders").checked) drawBorders(context, bracket);
    const text = mu ? "μ-law" : signed(ev);
    $("exposure-value").textContent = text;
    slider.setAttribute("aria-valuetext", text);
    slider.disabled = mu;
    const what = shown === "label" ? `label, ${text}` : shown === "trust" ? "trust" : `frame ${Number(shown) + 1}`;
    canvas.setAttribute("aria-label", `${bracket.name}: ${what}${$("overlay").checked ? ", trust laid over it" : ""}`);
    drawSamples(exposed(ev, mu));
  }

  function drawBorders(context, bracket) {
    const side = bracket.side * bracket.zoom;
    context.lineWidth = 1;
    for (const [y, x, plain] of bracket.patches) {
      context.strokeStyle = plain ? "rgb(255 255 255 / .75)" : `rgb(${LIT})`;
      context.strokeRect(Math.round(x * bracket.zoom) + 0.5, Math.round(y * bracket.zoom) + 0.5,
        Math.max(1, side - 1), Math.max(1, side - 1));
    }
  }

  function layOutSamples(bracket) {
    const frames = bracket.frames.length;
    $("samples").replaceChildren(...current.samples.map((sample) => {
      const heads = [...bracket.ev.slice(0, frames).map(signed), "label", "trust"];
      const rows = sample.variants.map(([branch, variant], k) => {
        const sheet = element("canvas", { width: (frames + 2) * sample.side, height: sample.side,
          className: sample.side <= 64 ? "small" : "" });
        sheet.setAttribute("role", "img");
        sheet.setAttribute("aria-label", `Variant ${variant}, ${branch}: ${frames} frames, label, trust`);
        sheet.dataset.row = k;
        return element("figure", {}, sheet, element("figcaption", { textContent: `variant ${variant} · ${branch}` }));
      });
      const more = sample.more ? ` (${sample.more} more in the dataset)` : "";
      return element("section", { className: "sample" },
        element("h4", { textContent: `Patch at x ${sample.x}, y ${sample.y}: all its variants${more}` }),
        element("div", { className: "columns" }, ...heads.map((text) => element("span", { textContent: text }))),
        ...rows);
    }));
    for (const [s, sample] of current.samples.entries()) {
      sample.canvases = [...$("samples").children[s].querySelectorAll("canvas")];
      const wide = frames * sample.side;
      sample.canvases.forEach((sheet, k) => {
        const context = sheet.getContext("2d", { willReadFrequently: true });
        context.putImageData(sample.sheet, 0, -k * sample.side, 0, k * sample.side, wide, sample.side);
      });
    }
  }

  function drawSamples(table) {
    const overlay = $("overlay").checked;
    for (const { side, codes, weights, canvases, variants, sheet } of current.samples) {
      const height = side * variants.length;
      const label = painted(side, height, weights, overlay, byCodes(codes, table));
      const trust = painted(side, height, weights, overlay, byWeight(weights.data));
      canvases.forEach((canvas, k) => {
        const context = canvas.getContext("2d", { willReadFrequently: true });
        for (const [at, image] of [label, trust].entries())
          context.putImageData(image, sheet.width + at * side, -k * side, 0, k * side, side, side);
      });
    }
  }

  // --- the gallery -----------------------------------------------------------------------------

  const strip = $("strip");
  let order = index.map((_, i) => i), page = 0, chosen = 0;

  // Without their folders, where that tells them apart.
  const tails = index.map(({ name }) => name.split("/").pop() || name);
  const short = new Set(tails).size === index.length ? tails : index.map(({ name }) => name);

  function sort() {
    const key = $("order").value;
    const share = (i) => index[i].shares[key] ?? (key === "trusted" ? 2 : -1);
    order = index.map((_, i) => i);
    if (key !== "name") order.sort((a, b) => (key === "trusted" ? share(a) - share(b) : share(b) - share(a)) || a - b);
  }

  function turnTo(number) {
    const pages = Math.ceil(order.length / PER_PAGE);
    page = Math.min(Math.max(number, 0), pages - 1);
    const first = page * PER_PAGE;
    strip.replaceChildren(...order.slice(first, first + PER_PAGE).map((i, k) => {
      const { name, thumb, shares } = index[i];
      const trusted = shares.trusted === undefined ? "" : `, ${(100 * shares.trusted).toFixed(0)} % trusted`;
      const button = element("button", { type: "button", title: name, onclick: () => choose(first + k) },
        element("img", { src: thumb, alt: "", decoding: "async" }),
        element("span", { textContent: short[i] }));
      button.setAttribute("role", "option");
      button.setAttribute("aria-label", name + trusted);
      return button;
    }));
    $("previous").disabled = page === 0;
    $("next").disabled = page >= pages - 1;
    $("where").textContent = `${first + 1}–${Math.min(first + PER_PAGE, order.length)} of ${order.length}`;
    mark();
  }

  function mark() {
    const inside = Math.floor(chosen / PER_PAGE) === page;
    [...strip.children].forEach((button, k) => {
      const selected = inside && k === chosen % PER_PAGE;
      button.setAttribute("aria-selected", selected);
      button.tabIndex = selected || (!inside && k === 0) ? 0 : -1;
    });
  }

  function choose(at, focus = false) {
    chosen = Math.min(Math.max(at, 0), order.length - 1);
    if (Math.floor(chosen / PER_PAGE) !== page || !strip.children.length) turnTo(Math.floor(chosen / PER_PAGE));
    else mark();
    if (focus) strip.children[chosen % PER_PAGE].focus();
    open(order[chosen]);
  }

  strip.addEventListener("keydown", (event) => {
    const columns = getComputedStyle(strip).gridTemplateColumns.split(" ").length;
    const at = page * PER_PAGE + [...strip.children].indexOf(document.activeElement);
    const to = { ArrowRight: at + 1, ArrowLeft: at - 1, ArrowDown: at + columns, ArrowUp: at - columns,
      PageDown: at + PER_PAGE, PageUp: at - PER_PAGE, Home: 0, End: order.length - 1 }[event.key];
    if (to === undefined) return;
    event.preventDefault();
    choose(to, true);
  });
  $("previous").onclick = () => turnTo(page - 1);
  $("next").onclick = () => turnTo(page + 1);
  $("order").onchange = () => { sort(); turnTo(0); choose(0); };
  for (const id of ["exposure", "overlay", "borders", "mu"]) $(id).addEventListener("input", draw);
  $("views").addEventListener("change", draw);
  for (const input of document.querySelectorAll("input[name=theme]"))
    input.addEventListener("change", () => { document.documentElement.style.colorScheme = input.value; });

  turnTo(0);
  choose(0);
}
