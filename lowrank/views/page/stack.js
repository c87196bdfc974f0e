"use strict";
// The page of a stack: a rank, a frame, a pixel, and what follows from the three.

function openStack(data, frames) {
  const { n, N, width, height } = frames;
  // Pixels are those of the stack; where its frames are shown reduced, one of these stands for several.
  const [rows, columns] = data.size;
  const state = { k: data.start, frame: 0, row: rows >> 1, column: columns >> 1 };
  const reduced = rows !== height || columns !== width;
  const place = (at, from, to) => Math.min(Math.max(Math.floor(((at + 0.5) * to) / from), 0), to - 1);
  const seen = () => [place(state.row, rows, height), place(state.column, columns, width)];
  const norm2 = data.spectrum.reduce((sum, s) => sum + s * s, 0);

  const named = (i) =>
    `${data.numbers[i]}${data.names.length && data.names[i] ? `, ${data.names[i]}` : ""}`;

  // Lines over all frames, in one SVG: each {values, style}.
  function plot(id, lines, title) {
    // As wide as its place on a phone, so that what is written in it is not drawn smaller.
    const wide = Math.min(byId(id).clientWidth || 640, 640);
    const high = 190, left = 62, upper = 10, floor = high - 24;
    const all = lines.flatMap(({ values }) => Array.from(values));
    const low = Math.min(...all), top = Math.max(...all);
    const make = (name, attributes, text) => {
      const element = document.createElementNS("http://www.w3.org/2000/svg", name);
      for (const [key, value] of Object.entries(attributes)) element.setAttribute(key, value);
      if (text !== undefined) element.textContent = text;
      return element;
    };
    const X = (i) => left + (i / Math.max(N - 1, 1)) * (wide - left - 10);
    const Y = (v) => floor - ((v - low) / (top - low || 1)) * (floor - upper);
    const svg = make("svg", { viewBox: `0 0 ${wide} ${high}`, role: "img", "aria-label": title });
    for (const value of [low, top]) {
      svg.append(make("line", { class: "grid", x1: left, x2: wide - 10, y1: Y(value), y2: Y(value) }));
      svg.append(make("text", { class: "end", x: left - 6, y: Y(value) + 4 }, Words.level(value)));
    }
    for (const { values, style } of lines) {
      const points = Array.from(values, (v, i) => `${X(i).toFixed(1)},${Y(v).toFixed(1)}`).join(" ");
      svg.append(make("polyline", { class: `series ${style}`, points }));
    }
    const x = X(state.frame);
    svg.append(make("line", { class: "marker", x1: x, x2: x, y1: upper, y2: floor }));
    svg.append(make("text", { class: "axis", x: left, y: high - 6 }, data.numbers[0]));
    const last = `frame ${data.numbers[N - 1]}`;
    svg.append(make("text", { class: "end axis", x: wide - 10, y: high - 6 }, last));
    svg.addEventListener("click", (event) => {
      const box = svg.getBoundingClientRect();
      const share = ((event.clientX - box.left) / box.width) * wide;
      setFrame(Math.round(((share - left) / (wide - left - 10)) * (N - 1)));
    });
    byId(id).replaceChildren(svg);
  }

  function paintFrame() {
    const at = state.frame * n;
    const A = frames.A.subarray(at, at + n), B = frames.B.subarray(at, at + n);
    frames.paint(byId("original"), A, data.black, data.white);
    frames.paint(byId("sum"), B, data.black, data.white);
    const residual = Float32Array.from(A, (a, p) => a - B[p]);
    const most = residual.reduce((found, x) => Math.max(found, Math.abs(x)), 0) || 1;
    frames.paint(byId("residual"), residual, -most, most);
    Words.say("residual-said", `Residual, ±${Words.level(most)}`);
    Words.say("frame-said", named(state.frame));
    byId("frame").setAttribute("aria-valuetext", `frame ${named(state.frame)}`);
    const [y, x] = seen();
    for (const pin of document.querySelectorAll(".pin")) {
      pin.style.left = `${(100 * (x + 0.5)) / width}%`;
      pin.style.top = `${(100 * (y + 0.5)) / height}%`;
    }
  }

  function paintPlots() {
    const [y, x] = seen();
    const { row, column } = state;
    const original = frames.trace(frames.A, y, x), sum = frames.trace(frames.B, y, x);
    plot("trace", [{ values: original, style: "rival" }, { values: sum, style: "bound" }],
      `Trace of pixel ${row}, ${column}`);
    const averaged = reduced ? ", averaged with those around it" : "";
    const channel = data.channels.length > 1 ? `, ${data.channels[0]}` : "";
    Words.say("trace-said", `Pixel ${row}, ${column} (row, column)${averaged}${channel}: ` +
      `the dashed line is the original, the solid one rank ${state.k}.`);
    plot("errors", [{ values: frames.errors(), style: "bound" }], "Error of each frame");
  }

  function measure() {
    const squares = frames.errors().reduce((sum, e) => sum + e * e * n, 0);
    const tail2 = data.spectrum.slice(state.k).reduce((sum, s) => sum + s * s, 0);
    Words.say("error", Words.level(Math.sqrt(squares)));
    Words.say("bound", Words.level(Math.sqrt(tail2)));
    const kept = Words.percent(norm2 ? 1 - tail2 / norm2 : 1);
    Words.say("energy", kept);
    byId("rank").setAttribute("aria-valuetext", `rank ${state.k}, ${kept} of the energy`);
    Words.say("headline", String(state.k));
    for (const element of document.querySelectorAll(".k")) element.textContent = state.k;
    Words.say("terms", state.k === 1 ? "1 eigenimage" : `${state.k} eigenimages`);
    byId("stage").dataset.rank = state.k;
    byId("stage").dataset.error = Math.sqrt(squares);
  }

  function setRank(wish) {
    state.k = Math.min(Math.max(Math.round(wish) || 1, 1), frames.s.length);
    byId("rank").value = state.k;
    frames.setRank(state.k);
    measure();
    paintFrame();
    paintPlots();
    for (const item of byId("eigenimages").children) {
      item.classList.toggle("used", Number(item.dataset.k) <= state.k);
    }
    byId("stage").setAttribute("aria-busy", "false");
  }

  function setFrame(wish) {
    state.frame = Math.min(Math.max(wish, 0), N - 1);
    byId("frame").value = state.frame;
    paintFrame();
    paintPlots();
  }

  function setPixel(row, column) {
    Object.assign(state, { row, column });
    byId("row").value = row;
    byId("column").value = column;
    paintFrame();
    paintPlots();
  }

  function eigenimage(j) {
    const item = document.createElement("li");
    item.dataset.k = j + 1;
    const picture = document.createElement("canvas");
    picture.setAttribute("role", "img");
    picture.setAttribute("aria-label", "Eigenimage");
    const most = frames.v[j].reduce((found, x) => Math.max(found, Math.abs(x)), 0) || 1;
    frames.paint(picture, frames.v[j], -most, most);
    const curve = document.createElement("canvas");
    Object.assign(curve, { width: 160, height: 40 });
    curve.setAttribute("aria-hidden", "true");
    const context = curve.getContext("2d");
    context.strokeStyle = getComputedStyle(document.documentElement).getPropertyValue("--accent");
    const low = Math.min(...frames.u[j]), high = Math.max(...frames.u[j]);
    frames.u[j].forEach((u, i) => {
      const x = (i / Math.max(N - 1, 1)) * 158 + 1, y = 38 - ((u - low) / (high - low || 1)) * 36;
      if (i) context.lineTo(x, y);
      else context.moveTo(x, y);
    });
    context.stroke();
    const title = document.createElement("b");
    title.textContent = `${j + 1}`;
    const facts = document.createElement("small");
    facts.textContent = `σ = ${Words.level(frames.s[j])}`;
    const button = document.createElement("button");
    Object.assign(button, { type: "button" });
    button.append(picture, curve, title, facts);
    button.addEventListener("click", () => setRank(j + 1));
    item.append(button);
    return item;
  }

  byId("original").closest(".trio").style.setProperty("--shape", width / height);
  byId("eigenimages").append(...Array.from(frames.s, (_, j) => eigenimage(j)));
  byId("rank").addEventListener("input", (event) => setRank(Number(event.target.value)));
  byId("frame").addEventListener("input", (event) => setFrame(Number(event.target.value)));
  for (const canvas of document.querySelectorAll(".trio canvas")) {
    canvas.addEventListener("click", (event) => {
      const box = canvas.getBoundingClientRect();
      const inside = (share, length) => Math.min(Math.max(Math.floor(share * length), 0), length - 1);
      const x = inside((event.clientX - box.left) / box.width, width);
      const y = inside((event.clientY - box.top) / box.height, height);
      setPixel(place(y, height, rows), place(x, width, columns));
    });
  }
  byId("row").max = rows - 1;
  byId("column").max = columns - 1;
  byId("pixel").addEventListener("submit", (event) => event.preventDefault());
  byId("pixel").addEventListener("change", () => {
    const number = (id, most) => Math.min(Math.max(Math.floor(Number(byId(id).value)) || 0, 0), most);
    setPixel(number("row", rows - 1), number("column", columns - 1));
  });
  setRank(data.start);
  setPixel(state.row, state.column);
  return { setRank, setFrame };
}
