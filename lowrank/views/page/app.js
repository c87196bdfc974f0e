"use strict";
// The page: a rank, a view, and everything that follows from the two.

(async () => {
  const $$ = (id) => document.getElementById(id);
  const data = JSON.parse($$("data").textContent);
  const frame = 24; // milliseconds of summing between two pictures

  // -- words and numbers -------------------------------------------------------------

  const locale = "en-US";
  const whole = (x) => Math.round(x).toLocaleString(locale);
  const level = (x) =>
    x !== 0 && (x < 1e-3 || x >= 1e7)
      ? x.toExponential(2)
      : x.toLocaleString(locale, { maximumSignificantDigits: x >= 1e5 ? 6 : 5 });
  const percent = (share) => {
    const digits = share > 0.9999 && share < 1 ? 4 : 2;
    const rounded = Math.min(share, share < 1 ? 1 - 10 ** (-digits - 2) : 1);
    return `${(100 * rounded).toFixed(digits)} %`;
  };
  const say = (id, text) => {
    if ($$(id).textContent !== text) $$(id).textContent = text;
  };
  const bytesOf = (base64) => Uint8Array.from(atob(base64), (c) => c.charCodeAt(0));

  // -- bounds, from the spectra ------------------------------------------------------

  const N = Math.min(data.m, data.n);
  const channels = data.spectra.length;
  // tail2[k]: sum over all channels of sigma_i^2, i > k, summed from the small end.
  const tail2 = new Float64Array(N + 1);
  const next = new Float64Array(N + 1);
  for (let k = N - 1; k >= 0; k--) {
    tail2[k] = tail2[k + 1] + data.spectra.reduce((sum, s) => sum + s[k] * s[k], 0);
    next[k] = Math.max(...data.spectra.map((s) => s[k]));
  }
  const norm2 = tail2[0];
  const tail = tail2.map(Math.sqrt);
  const kept = (k) => (norm2 > 0 ? 1 - tail2[k] / norm2 : 1);
  const negligible = 1e-6 * Math.sqrt(norm2);
  const breakEven = (m, n) => (m * n) / (m + n + 1);

  // -- what is embedded --------------------------------------------------------------

  const lrkBytes = bytesOf(data.lrk);
  let file, original, decoded;
  try {
    file = Lrk.parse(lrkBytes);
    original = await Png.decode(bytesOf(data.png));
    decoded = data.file ? await Png.decode(bytesOf(data.file)) : null;
  } catch (error) {
    $$("trouble").textContent = `The picture cannot be shown: ${error.message}.`;
    $$("trouble").hidden = false;
    throw error;
  }
  const { width, height } = file;
  const planesOf = (png) =>
    data.step === null
      ? png.planes.slice(0, channels)
      : png.planes.map((p) => Float64Array.from(p, (x) => data.black + data.step * x));
  const A = planesOf(original);
  const sums = new PartialSums(file);
  const painter = new Painter(file.mode, data.black, data.white);

  const canvas = (id) => {
    const element = $$(id);
    Object.assign(element, { width, height });
    element.classList.toggle("small", Math.max(width, height) < 200);
    return element.getContext("2d", { willReadFrequently: true });
  };
  const blank = () => new ImageData(width, height);
  const [picture, under] = [canvas("picture"), canvas("under")];
  const [originalImage, sumImage, shown] = [blank(), blank(), blank()];
  painter.picture(A, originalImage.data);
  const decodedImage = decoded && blank();
  if (decoded) painter.picture(planesOf(decoded), decodedImage.data);
  under.putImageData(originalImage, 0, 0);
  // Picture and slider together fit a projector's 720 lines.
  const room = `(100vh - 17.5rem) * ${width / height}`;
  $$("frame").style.maxWidth = `min(100%, max(${room}, 20rem))`;

  // -- the stage ---------------------------------------------------------------------

  const state = { k: data.start, view: "sum", gain: "auto", rmse: 0, playing: 0 };

  function gain() {
    if (state.gain !== "auto") return Number(state.gain);
    const wish = 40 / Math.max(state.rmse * painter.scale, 0.4);
    return 2 ** Math.min(Math.max(Math.round(Math.log2(wish)), 0), 6);
  }

  function term(k) {
    return file.matrices.map(({ s, u, v }) =>
      k <= s.length ? { s: s[k - 1], u: u[k - 1], v: v[k - 1] } : { s: 0, u: new Float64Array(height), v: new Float64Array(width) },
    );
  }

  function paint() {
    let image = sumImage;
    if (state.view === "original") image = originalImage;
    else if (state.view === "file") image = decodedImage;
    else if (state.view === "layer") {
      painter.layer(term(state.k), width, height, shown.data);
      image = shown;
    } else {
      painter.picture(sums.planes, sumImage.data);
      if (state.view === "difference") {
        Painter.difference(originalImage.data, sumImage.data, gain(), shown.data);
        image = shown;
      }
    }
    picture.putImageData(image, 0, 0);
    const name = {
      original: "The original",
      sum: `The sum of the first ${layers(state.k)}`,
      difference: `Original minus rank ${state.k}, amplified × ${gain()}, around mid-grey`,
      layer: `Layer ${state.k} alone, its contrast stretched; mid-grey is zero`,
      file: data.file_caption,
    }[state.view];
    const swipe = $$("swipe").checked ? " (right of the divider; the original is left of it)" : "";
    say("caption", `${name}${swipe}.`);
    $$("picture").setAttribute("aria-label", `${data.name}: ${name}`);
  }

  const layers = (k) => (k === 1 ? "layer" : `${k} layers`) + (channels > 1 ? " of each channel" : "");

  // -- measuring ---------------------------------------------------------------------

  function measure(k) {
    let [exact, rounded, spectral] = [0, 0, 0];
    A.forEach((a, c) => {
      const squares = Norms.squares(a, sums.planes[c], file.mode.peak);
      exact += squares.exact;
      rounded += squares.rounded;
      const ahead = file.matrices[c].v[k];
      const start = ahead && file.matrices[c].s[k] > 0 ? ahead : Norms.anyVector(width);
      const rounds = ahead ? 4 : 12;
      spectral = Math.max(spectral, Norms.spectral(a, sums.planes[c], height, width, start, rounds));
    });
    const mse = rounded / (width * height * channels);
    return {
      frobenius: Math.sqrt(exact),
      spectral,
      rmse: Math.sqrt(mse),
      psnr: mse > 0 ? 10 * Math.log10(data.peak ** 2 / mse) : Infinity,
    };
  }

  const ratio = (measured, bound) =>
    bound > negligible ? `${(measured / bound).toFixed(5)} × the bound` : "the bound is zero: rounding is left";

  function tell(k, found) {
    say("psnr", found.psnr === Infinity ? "exact" : `${found.psnr.toFixed(2)} dB`);
    for (const [name, bound] of [["spectral", next[k]], ["frobenius", tail[k]]]) {
      say(name, level(found[name]));
      say(`${name}-bound`, level(bound));
      say(`${name}-ratio`, ratio(found[name], bound));
    }
    say("say-spectral", `At k = ${k}: measured ${level(found.spectral)}, bound ${level(next[k])}.`);
    const rival = data.rival[k];
    const worse = tail[k] > negligible ? `, ${(rival / tail[k]).toFixed(2)} × the bound` : "";
    say(
      "say-frobenius",
      `At k = ${k}: measured ${level(found.frobenius)}, bound ${level(tail[k])}; the rival ${level(rival)}${worse}.`,
    );
    charts.spectral.mark(k, [{ value: found.spectral, style: "" }]);
    charts.frobenius.mark(k, [{ value: found.frobenius, style: "" }]);
    clearTimeout(state.speaking);
    state.speaking = setTimeout(() => {
      say("spoken", `Rank ${k}: ${percent(kept(k))} of the energy, Frobenius error ${level(found.frobenius)}, bound ${level(tail[k])}.`);
    }, 600);
  }

  // -- the rank ----------------------------------------------------------------------

  // What is known at once, before anything is summed.
  function announce() {
    const { k } = state;
    $$("rank").value = k;
    $$("rank").setAttribute("aria-valuetext", `rank ${k} of ${N}, ${percent(kept(k))} of the energy`);
    $$("rank").style.setProperty("--share", `${data.most > 1 ? (100 * (k - 1)) / (data.most - 1) : 100}%`);
    if (document.activeElement !== $$("rank-number")) $$("rank-number").value = k;
    say("headline", String(k));
    say("headline-terms", String(k));
    for (const element of document.querySelectorAll(".views .k")) element.textContent = k;
    for (const button of document.querySelectorAll("[data-k]")) {
      const current = Number(button.dataset.k) === k;
      button.setAttribute("aria-current", String(current));
      if (current && button.parentElement === $$("steps")) {
        $$("steps").scrollLeft = button.offsetLeft - $$("steps").offsetLeft - 40;
      }
    }
    say("energy", percent(kept(k)));
    const [stored, all] = [channels * k * (data.m + data.n + 1), channels * data.m * data.n];
    say("stored", whole(stored));
    say("stored-of", `of ${whole(all)}: ${percent(stored / all).replace(/\.(\d)\d /, ".$1 ")}`);
    $$("stored-bar").style.width = `${Math.min((100 * stored) / all, 100)}%`;
    $$("stored-bar").classList.toggle("over", stored > all);
    const [low, high] = [k, Math.min(k + 1, N)].map((i) => Math.max(...data.spectra.map((s) => s[i - 1])));
    say(
      "say-spectrum",
      k < N ? `Kept to σ${sub(k)} = ${level(low)}; the first left out is σ${sub(k + 1)} = ${level(high)}.` : "All are kept.",
    );
    say("say-energy", `The first ${layers(k)} ${k === 1 ? "holds" : "hold"} ${percent(kept(k))} of ‖A‖². Half of it needs ${needed(0.5)}, 99 % needs ${needed(0.99)}, 99.9 % needs ${needed(0.999)}.`);
    charts.spectrum.mark(k, data.spectra.map((s) => ({ value: s[k - 1], style: "" })));
    charts.energy.mark(k, [{ value: kept(k), style: "" }]);
    if (!state.ownStorage) {
      $$("calc-k").value = k;
      calculate();
    }
  }

  const sub = (k) => String(k).replace(/\d/g, (d) => "₀₁₂₃₄₅₆₇₈₉"[d]);
  const needed = (share) => {
    for (let k = 0; k <= N; k++) if (kept(k) >= share) return k;
    return N;
  };

  function setRank(wish) {
    const k = Math.min(Math.max(Math.round(wish) || 1, 1), data.most);
    if (k === state.k && state.begun) return;
    state.begun = true;
    state.k = k;
    $$("stage").setAttribute("aria-busy", "true");
    announce();
    if (!state.frame) state.frame = requestAnimationFrame(work);
  }

  // One frame: some terms, then the picture; where the rank is reached, the measurement.
  function work() {
    state.frame = 0;
    const there = sums.advance(state.k, frame);
    if (!there) {
      paint();
      state.frame = requestAnimationFrame(work);
      return;
    }
    const found = measure(state.k);
    state.rmse = found.rmse;
    paint();
    tell(state.k, found);
    $$("stage").setAttribute("aria-busy", "false");
    $$("stage").dataset.rank = state.k;
    if (state.playing) play();
  }

  function play() {
    if (state.k >= data.most) return stop();
    state.playing = setTimeout(() => setRank(state.k + 1), state.k < 10 ? 450 : 110);
  }

  function stop() {
    clearTimeout(state.playing);
    state.playing = 0;
    $$("play").setAttribute("aria-pressed", "false");
    $$("play").textContent = "Add layers";
  }

  function choose(k) {
    stop();
    setRank(k);
  }

  // -- plots -------------------------------------------------------------------------

  const names = data.channels;
  const powerOfTen = (x) => (x >= 1 && x < 1e6 ? whole(x) : x < 1 && x >= 1e-3 ? String(Number(x.toPrecision(1))) : x.toExponential(0));
  const largest = Math.max(next[0], 1e-9);
  const lowest = (values, floor) => {
    const positive = Array.from(values).filter((x) => x > largest * floor);
    return positive.length ? Math.min(...positive) : largest * floor;
  };
  const logChart = (id, title, axis, series, top, bottom) =>
    new Chart($$(id), { title, axis, xMax: N, log: true, top: top * 1.25, bottom: bottom * 0.8, series, format: powerOfTen, onPick: choose });
  const charts = {
    spectrum: logChart(
      "chart-spectrum", "Singular values on a logarithmic scale, with the rank marked", "index i",
      data.spectra.map((values, c) => ({ values, start: 1, style: names[c] })),
      largest, lowest(data.spectra.flat(), 1e-7),
    ),
    energy: new Chart($$("chart-energy"), {
      title: "Share of the energy in the first k layers", axis: "rank k", xMax: N, log: false, top: 1, bottom: 0,
      series: [{ values: Array.from({ length: N + 1 }, (_, k) => kept(k)), start: 0, style: "bound" }],
      format: (x) => `${100 * x} %`, onPick: choose,
    }),
    spectral: logChart(
      "chart-spectral", "Spectral error and its bound for each rank", "rank k",
      [{ values: next.subarray(0, N), start: 0, style: "bound" }], largest, lowest(next, 1e-7),
    ),
    frobenius: logChart(
      "chart-frobenius", "Frobenius error, its bound, and a rival's error for each rank", "rank k",
      [{ values: data.rival.slice(0, N), start: 0, style: "rival" }, { values: tail.subarray(0, N), start: 0, style: "bound" }],
      Math.max(tail[0], 1e-9), lowest(tail, 1e-7),
    ),
  };
  if (names.length > 1) {
    for (const name of names) {
      const line = document.createElement("span");
      line.className = `line ${name}`;
      $$("key-spectrum").append(line, name);
    }
  }

  // -- layers ------------------------------------------------------------------------

  function thumbnail(i) {
    const small = document.createElement("canvas");
    const scale = Math.min(240 / Math.max(width, height), 1);
    small.width = Math.max(Math.round(width * scale), 1);
    small.height = Math.max(Math.round(height * scale), 1);
    const image = new ImageData(small.width, small.height);
    painter.layer(term(i), small.width, small.height, image.data);
    small.getContext("2d").putImageData(image, 0, 0);
    const button = document.createElement("button");
    button.type = "button";
    button.dataset.k = i;
    const title = document.createElement("b");
    title.textContent = `Layer ${i}`;
    const facts = document.createElement("small");
    const sigma = Math.hypot(...file.matrices.map(({ s }) => s[i - 1] ?? 0));
    facts.textContent = `σ = ${level(sigma)}, ${percent(kept(i) - kept(i - 1))}`;
    button.append(small, title, facts);
    button.addEventListener("click", () => {
      setView("layer");
      choose(i);
      $$("stage").scrollIntoView({ block: "nearest" });
    });
    const item = document.createElement("li");
    item.append(button);
    return item;
  }
  for (let i = 1; i <= Math.min(12, data.most); i++) $$("layers").append(thumbnail(i));

  // -- storage -----------------------------------------------------------------------

  function calculate() {
    const [m, n, k] = ["m", "n", "k"].map((x) => Math.floor(Number($$(`calc-${x}`).value)));
    if (!(m >= 1 && n >= 1 && k >= 1)) return say("calc-said", "Give whole numbers from 1 on.");
    const [ours, theirs, even] = [k * (m + n + 1), m * n, breakEven(m, n)];
    const most = Math.max(ours, theirs);
    $$("calc-bar").style.width = `${(100 * ours) / most}%`;
    $$("calc-bar").classList.toggle("over", ours > theirs);
    $$("calc-whole").style.width = `${(100 * theirs) / most}%`;
    const compared =
      ours < theirs
        ? `${(theirs / ours).toFixed(2)} times fewer than`
        : ours > theirs ? `${(ours / theirs).toFixed(2)} times as many as` : "as many as";
    say(
      "calc-said",
      `${whole(ours)} numbers, ${compared} the ${whole(theirs)} of the matrix. Layers pay below the break-even rank mn/(m+n+1) = ${even.toFixed(1)}.` +
        (k > Math.min(m, n) ? ` No ${m} × ${n} matrix has a rank above ${Math.min(m, n)}.` : ""),
    );
  }
  $$("calc-m").value = data.m;
  $$("calc-n").value = data.n;
  $$("calculator").addEventListener("input", () => {
    state.ownStorage = true;
    calculate();
  });
  $$("calculator").addEventListener("submit", (event) => event.preventDefault());

  // -- controls ----------------------------------------------------------------------

  function setView(view) {
    state.view = view;
    document.querySelector(`input[name=view][value=${view}]`).checked = true;
    $$("gain-label").hidden = view !== "difference";
    if (state.begun) paint();
  }

  function setSwipe() {
    const on = $$("swipe").checked;
    for (const id of ["under", "divider", "handle"]) $$(id).hidden = !on;
    slide();
    paint();
  }

  function slide() {
    const share = Number($$("handle").value);
    $$("under").style.clipPath = `inset(0 ${100 - share}% 0 0)`;
    $$("divider").style.left = `${share}%`;
    $$("handle").setAttribute("aria-valuetext", `original on the left ${Math.round(share)} %`);
  }

  const steps = [1, 2, 5, 10, 20, 50, 100].filter((k) => k < data.most).concat(data.most);
  for (const k of steps) {
    const button = document.createElement("button");
    button.type = "button";
    button.dataset.k = k;
    button.textContent = k;
    button.setAttribute("aria-label", `Rank ${k}`);
    $$("steps").append(button);
  }
  document.addEventListener("click", (event) => {
    const button = event.target.closest("#steps [data-k], .report [data-k]");
    if (button) choose(Number(button.dataset.k));
  });
  $$("rank").addEventListener("input", () => choose(Number($$("rank").value)));
  $$("rank-number").addEventListener("input", () => {
    if ($$("rank-number").value) choose(Number($$("rank-number").value));
  });
  $$("rank-number").addEventListener("change", () => ($$("rank-number").value = state.k));
  $$("views").addEventListener("change", (event) => setView(event.target.value));
  $$("gain").addEventListener("change", () => {
    state.gain = $$("gain").value;
    paint();
  });
  $$("swipe").addEventListener("change", setSwipe);
  $$("handle").addEventListener("input", slide);
  $$("play").addEventListener("click", () => {
    if (state.playing) return stop();
    $$("play").setAttribute("aria-pressed", "true");
    $$("play").textContent = "Stop";
    if (state.view === "original" || state.view === "file") setView("sum");
    if (state.k >= data.most) setRank(1);
    state.playing = setTimeout(() => setRank(state.k + 1), 200);
  });
  $$("save").hidden = false;
  $$("save").addEventListener("click", () => {
    const link = document.createElement("a");
    link.href = URL.createObjectURL(new Blob([lrkBytes], { type: "application/octet-stream" }));
    link.download = data.lrk_name;
    link.click();
    setTimeout(() => URL.revokeObjectURL(link.href), 10000);
  });

  setView("sum");
  setRank(data.start);
})();
