"use strict";
// The page: a rank, a view, and the controls that change the two.

// Show a picture; what is listened to ends with the signal. Returns what others may do with it.
function openPage(data, stage, signal) {
  const frame = 24; // milliseconds of summing between two pictures
  const bounds = new Bounds(data.spectra);
  const readout = new Readout(data, bounds, stage, makeCharts(data, bounds, choose));
  const calculator = new Calculator(data.m, data.n);
  const state = { k: 0, frame: 0, playing: 0, chosen: false };
  const view = new View(stage, () => paint(state.k), signal);
  signal.addEventListener("abort", () => {
    cancelAnimationFrame(state.frame);
    clearTimeout(readout.speaking);
    stop();
  });

  function paint(k) {
    if (!k) return;
    stage.paint(k);
    view.vectors(k);
    tellAddress();
  }

  function tellAddress() {
    if (!state.chosen) return;
    const channel = stage.channel < 0 ? null : data.channels[stage.channel];
    State.write({ k: state.k, view: stage.view, channel });
  }

  // -- the rank ----------------------------------------------------------------------

  function setRank(wish) {
    const k = Math.min(Math.max(Math.round(wish) || 1, 1), data.most);
    if (k === state.k) return;
    state.k = k;
    byId("stage").setAttribute("aria-busy", "true");
    readout.announce(k);
    calculator.follow(k);
    if (!state.frame) state.frame = requestAnimationFrame(work);
  }

  // One frame: some terms, then the picture; where the rank is reached, the measurement.
  function work() {
    state.frame = 0;
    const { k } = state;
    if (!stage.sums.advance(k, frame)) {
      paint(k);
      state.frame = requestAnimationFrame(work);
      return;
    }
    const found = stage.measure(k);
    paint(k);
    readout.tell(k, found);
    byId("stage").setAttribute("aria-busy", "false");
    byId("stage").dataset.rank = k;
    if (state.playing) play();
  }

  function play() {
    if (state.k >= data.most) stop();
    else state.playing = setTimeout(() => setRank(state.k + 1), state.k < 10 ? 450 : 110);
  }

  function stop() {
    clearTimeout(state.playing);
    state.playing = 0;
    byId("play").setAttribute("aria-pressed", "false");
    byId("play").textContent = "Add layers";
  }

  function choose(k) {
    state.chosen = true;
    stop();
    if (stage.view === "file") setView("sum");
    setRank(k);
  }

  // -- the view ----------------------------------------------------------------------

  function setView(view) {
    stage.view = view;
    document.querySelector(`input[name=view][value=${view}]`).checked = true;
    byId("gain-label").hidden = view !== "difference";
    readout.figures();
    paint(state.k);
  }

  // What the address asks for; false where it asks for nothing.
  function follow() {
    const wish = State.read();
    const views = [...document.querySelectorAll("input[name=view]")].map((x) => x.value);
    if (views.includes(wish.view)) setView(wish.view);
    else if (wish.k !== null) setView("sum");
    if (wish.channel !== null) view.choose(data.channels.indexOf(wish.channel));
    if (wish.k !== null) setRank(wish.k);
    return wish.k !== null;
  }

  // -- buttons that are made here ----------------------------------------------------

  function layerButton(i) {
    const title = document.createElement("b");
    title.textContent = `Layer ${i}`;
    const facts = document.createElement("small");
    const sigma = Math.hypot(...stage.file.matrices.map(({ s }) => s[i - 1] ?? 0));
    const seen = readout.copied ?? bounds;
    const energy = Words.percent(seen.kept(i) - seen.kept(i - 1));
    facts.textContent = `σ = ${Words.level(sigma)}, ${energy}`;
    const button = document.createElement("button");
    Object.assign(button, { type: "button" }).dataset.k = i;
    button.append(stage.thumbnail(i), title, facts);
    button.addEventListener("click", () => {
      setView("layer");
      choose(i);
      byId("stage").scrollIntoView({ block: "nearest" });
    });
    const item = document.createElement("li");
    item.append(button);
    return item;
  }

  function stepButton(k) {
    const button = document.createElement("button");
    Object.assign(button, { type: "button", textContent: k }).dataset.k = k;
    button.setAttribute("aria-label", `Rank ${k}`);
    return button;
  }

  for (let i = 1; i <= Math.min(12, data.most); i++) byId("layers").append(layerButton(i));
  const steps = [1, 2, 5, 10, 20, 50, 100].filter((k) => k < data.most);
  byId("steps").append(...[...steps, data.most].map(stepButton));

  // -- controls ----------------------------------------------------------------------

  document.addEventListener("click", (event) => {
    const button = event.target.closest("#steps [data-k], .report [data-k]");
    if (button) choose(Number(button.dataset.k));
  }, { signal });
  addEventListener("hashchange", follow, { signal });
  // Arrow keys without focus.
  document.addEventListener("keydown", (event) => {
    const steps = { ArrowLeft: -1, ArrowRight: 1 }[event.key];
    const free = event.target === document.body || event.target === document.documentElement;
    if (!steps || !free || event.ctrlKey || event.altKey || event.metaKey) return;
    event.preventDefault();
    choose(state.k + steps * (event.shiftKey ? 10 : 1));
  }, { signal });

  // The track is logarithmic: rank k lies at log k / log most.
  const pick = (event) => {
    const box = byId("track").getBoundingClientRect();
    const edge = byId("track").querySelector(".thumb").offsetWidth / 2;
    const share = (event.clientX - box.left - edge) / (box.width - 2 * edge);
    choose(data.most ** Math.min(Math.max(share, 0), 1));
  };
  byId("track").addEventListener("pointerdown", (event) => {
    byId("track").setPointerCapture(event.pointerId);
    byId("rank").focus();
    pick(event);
  });
  byId("track").addEventListener("pointermove", (event) => {
    if (byId("track").hasPointerCapture(event.pointerId)) pick(event);
  });
  byId("rank").addEventListener("input", () => choose(Number(byId("rank").value)));
  byId("rank-number").addEventListener("input", () => {
    if (byId("rank-number").value) choose(Number(byId("rank-number").value));
  });
  byId("rank-number").addEventListener("change", () => {
    byId("rank-number").value = state.k;
  });
  byId("views").addEventListener("change", (event) => {
    state.chosen = true;
    setView(event.target.value);
  });
  byId("gain").addEventListener("change", () => {
    stage.amplified = byId("gain").value;
    paint(state.k);
  });
  byId("channel").addEventListener("change", () => {
    state.chosen = true;
    tellAddress();
  });
  byId("play").addEventListener("click", () => {
    if (state.playing) {
      stop();
      return;
    }
    byId("play").setAttribute("aria-pressed", "true");
    byId("play").textContent = "Stop";
    if (stage.view === "original" || stage.view === "file") setView("sum");
    if (state.k >= data.most) setRank(1);
    state.playing = setTimeout(() => setRank(state.k + 1), 200);
  });
  setView(data.of_file === null ? "sum" : "file");
  if (!follow()) setRank(data.start);
  return { choose, setView, state, view: () => stage.view };
}
