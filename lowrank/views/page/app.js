"use strict";
// The page: a rank, a view, and the controls that change the two.

(async () => {
  const data = JSON.parse(byId("data").textContent);
  const frame = 24; // milliseconds of summing between two pictures
  let stage;
  try {
    stage = await Stage.open(data);
  } catch (error) {
    byId("trouble").textContent = `The picture cannot be shown: ${error.message}.`;
    byId("trouble").hidden = false;
    throw error;
  }
  const bounds = new Bounds(data.spectra);
  const readout = new Readout(data, bounds, stage, makeCharts(data, bounds, choose));
  const calculator = new Calculator(data.m, data.n);
  const state = { k: 0, frame: 0, playing: 0 };

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
      stage.paint(k);
      state.frame = requestAnimationFrame(work);
      return;
    }
    const found = stage.measure(k);
    stage.paint(k);
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
    if (state.k > 0) stage.paint(state.k);
  }

  function setSwipe() {
    const on = byId("swipe").checked;
    for (const id of ["under", "divider", "handle"]) byId(id).hidden = !on;
    slide();
    stage.paint(state.k);
  }

  function slide() {
    const share = Number(byId("handle").value);
    byId("under").style.clipPath = `inset(0 ${100 - share}% 0 0)`;
    byId("divider").style.left = `${share}%`;
    byId("handle").setAttribute("aria-valuetext", `original on the left ${Math.round(share)} %`);
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
  });
  byId("rank").addEventListener("input", () => choose(Number(byId("rank").value)));
  byId("rank-number").addEventListener("input", () => {
    if (byId("rank-number").value) choose(Number(byId("rank-number").value));
  });
  byId("rank-number").addEventListener("change", () => {
    byId("rank-number").value = state.k;
  });
  byId("views").addEventListener("change", (event) => setView(event.target.value));
  byId("gain").addEventListener("change", () => {
    stage.amplified = byId("gain").value;
    stage.paint(state.k);
  });
  byId("swipe").addEventListener("change", setSwipe);
  byId("handle").addEventListener("input", slide);
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
  byId("save").hidden = false;
  byId("save").addEventListener("click", () => {
    const link = document.createElement("a");
    const blob = new Blob([Stage.bytes(data.lrk)], { type: "application/octet-stream" });
    link.href = URL.createObjectURL(blob);
    link.download = data.lrk_name;
    link.click();
    setTimeout(() => URL.revokeObjectURL(link.href), 10000);
  });

  setView(data.of_file === null ? "sum" : "file");
  setRank(data.start);
})();
