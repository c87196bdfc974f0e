"use strict";
// A picture on the page: first as a coarse one, at once, then as itself, when the workers are
// done with its channels. The page is that of `lowrank report --html`, opened anew for each.

const openStackPage = openStack;
const Session = (() => {
  const COARSE = 96; // sides of the coarse picture, about
  const START = 20;
  const FIRST = 64; // terms that the first view of a picture itself has
  const BYTES = 24e6; // of terms that are kept
  const blank = byId("page").cloneNode(true);
  byId("page").hidden = true; // until there is a picture
  let current = null; // {controller, app, picture}
  let number = 0;
  const workers = [];

  function worker() {
    const count = Math.min(Math.max(navigator.hardwareConcurrency || 2, 1), 3);
    if (workers.length < count) workers.push({ worker: new Worker("worker.js"), busy: 0 });
    workers.sort((a, b) => a.busy - b.busy);
    return workers[0].busy && workers.length < count ? worker() : workers[0];
  }

  // Nothing waits behind a picture that nobody waits for: its promises stay as they are.
  function abandon() {
    for (const { worker } of workers.filter(({ busy }) => busy)) worker.terminate();
    workers.splice(0, workers.length, ...workers.filter(({ busy }) => !busy));
  }

  // A channel's spectrum and first terms; and then its energies by cosine frequency and the
  // other terms.
  function decomposed(A, m, n, leading, most, rival = true) {
    const place = worker();
    const id = ++number;
    place.busy++;
    let tellRest;
    const rest = new Promise((resolve) => (tellRest = resolve));
    const first = new Promise((resolve, reject) => {
      const listen = ({ data }) => {
        if (data.id !== id) return;
        if (!data.energies) {
          resolve(data);
          return;
        }
        place.busy--;
        place.worker.removeEventListener("message", listen);
        tellRest(data);
      };
      place.worker.addEventListener("message", listen);
      place.worker.addEventListener("error", () => reject(new Error("its decomposition failed")));
      place.worker.postMessage({ id, A, m, n, first: leading, most, rival });
    });
    return { first, rest };
  }

  // What the page reads of a picture whose channels are decomposed; energies null: not known yet.
  function dataOf(picture, found, energies) {
    const { width, height, planes, name } = picture;
    const N = Math.min(width, height);
    const [black, white] = Pictures.shades(picture);
    const peak = picture.peak ?? white - black;
    const whole = found.every(({ s, spectrum }) => s.length === spectrum.filter(Boolean).length);
    const terms = Math.min(...found.map(({ s }) => s.length));
    const rival = energies && new Float64Array(N + 1);
    for (let k = N - 1; rival && k >= 0; k--) {
      rival[k] = rival[k + 1] + energies.reduce((sum, e) => sum + e[k], 0);
    }
    const most = whole ? N : Math.max(terms - 1, 1);
    const data = {
      name, lrk_name: "", m: height, n: width, channels: Pictures.NAMES[picture.mode] ?? Pictures.NAMES[planes.length],
      start: Math.min(START, most), most, peak, copy_peak: peak, black, white, floats: false,
      spectra: found.map(({ spectrum }) => spectrum), rival: rival && rival.map(Math.sqrt),
      copy: null, copied: [], measured: [], file: null, file_caption: "", of_file: null,
    };
    const file = {
      width, height, mode: { name: picture.mode, channels: planes.length, peak: picture.peak },
      matrices: found.map(({ s, u, v }) => ({ k: s.length, s, u, v })),
    };
    return { data, file };
  }

  // Open the page; where another picture of it was open, at the same rank and view.
  function show(picture, found, energies, like) {
    const { data, file } = dataOf(picture, found, energies);
    const kept = like ? { k: like.app.state.k, view: like.app.view(), chosen: like.app.state.chosen } : null;
    const focused = document.activeElement?.id;
    current?.controller.abort();
    const page = blank.cloneNode(true);
    byId("page").replaceWith(page);
    page.hidden = false;
    for (const x of page.querySelectorAll("[max]")) {
      if (x.id.startsWith("rank")) x.max = data.most;
    }
    for (const x of page.querySelectorAll(".each")) {
      x.textContent = data.channels.length > 1 ? ` in each of ${data.channels.length} channels` : "";
    }
    byId("facts-name").textContent = picture.name;
    byId("facts").textContent = `${file.width} × ${file.height} ${picture.mode}${picture.kind ?? ""}`;
    document.title = `${picture.name}, as a sum of layers`;
    if (kept) data.start = Math.min(kept.k, data.most);
    const controller = new AbortController();
    const stage = new Stage(data, file, picture.planes, null);
    const app = openPage(data, stage, controller.signal);
    if (kept) {
      app.setView(kept.view);
      app.state.chosen = kept.chosen;
    }
    if (focused && focused !== document.activeElement?.id) byId(focused)?.focus({ preventScroll: true });
    return { controller, app, picture, data };
  }

  // Once what is on the page has been painted; a page that is not in sight never is.
  function seen() {
    return new Promise((resolve) => {
      requestAnimationFrame(() => requestAnimationFrame(resolve));
      setTimeout(resolve, 100);
    });
  }

  function say(text) {
    Words.say("progress", text);
  }

  // Show a picture; resolves when it is there as itself.
  async function open(picture) {
    const mine = (open.last = {});
    const started = performance.now();
    abandon();
    const { width, height, planes } = picture;
    say(`${picture.name}: a coarse view first …`);
    const N = Math.min(width, height);
    const room = Math.floor(BYTES / (4 * (width + height) * planes.length));
    const most = Math.min(N, Math.max(room, 48));
    let coarse = null;
    if (N > 2.5 * COARSE) {
      const scale = COARSE / N;
      const [w, h] = [Math.round(width * scale), Math.round(height * scale)];
      const small = { ...picture, width: w, height: h, planes: Pictures.shrunk(picture, w, h) };
      const parts = small.planes.map((plane) => {
        const svd = Svd.begun(plane, h, w);
        return { spectrum: svd.spectrum, ...svd.terms(FIRST) };
      });
      coarse = current = show(small, parts, null, null);
      byId("drop").dataset.first = Math.round(performance.now() - started);
      await seen();
      if (open.last !== mine) return null;
    }
    // Not before: the workers would take the cores from what is seen first.
    const jobs = planes.map((plane) => decomposed(plane, height, width, FIRST, most));
    const found = await Promise.all(jobs.map(({ first }) => first));
    if (open.last !== mine) return null;
    const like = current = show(picture, found, null, coarse);
    byId("drop").dataset.exact = Math.round(performance.now() - started);
    const rest = await Promise.all(jobs.map((job) => job.rest));
    if (open.last !== mine) return null;
    const whole = found.map(({ spectrum, s, u, v }, c) => ({
      spectrum, s: s.concat(rest[c].s), u: u.concat(rest[c].u), v: v.concat(rest[c].v),
    }));
    current = show(picture, whole, rest.map((x) => x.energies), like);
    byId("page").dataset.picture = picture.name;
    say([`All of ${picture.name} is shown.`, ...picture.notes].join(" "));
    return current;
  }

  // Show a stack: frames of {height, width, colours}, row by row in A, in place of a picture.
  async function openStack({ name, N, height, width, size, colours, A, eight, notes }) {
    const mine = (open.last = {});
    abandon();
    say(`${name}: ${N} frames …`);
    const n = height * width * colours;
    const most = Math.min(N, n, 60);
    const found = await decomposed(A, N, n, most, most, false).first;
    if (open.last !== mine) return;
    current?.controller.abort();
    current = null;
    const page = byId("stack-template").content.firstElementChild.cloneNode(true);
    byId("page").replaceWith(page);
    let [low, high] = eight ? [0, 255] : [Infinity, -Infinity];
    for (let i = 0; !eight && i < A.length; i++) [low, high] = [Math.min(low, A[i]), Math.max(high, A[i])];
    const data = {
      shape: [N, height, width, colours], size: size ?? [height, width],
      channels: Pictures.NAMES[colours], black: low, white: high, numbers: [...Array(N).keys()],
      names: [], spectrum: found.spectrum, start: Math.min(3, found.s.length), title: name,
    };
    byId("rank").max = Math.max(found.s.length, 1);
    byId("frame").max = N - 1;
    byId("facts-name").textContent = name;
    byId("facts").textContent = `${N} frames of ${width} × ${height}`;
    document.title = `${name}, a stack as a sum of eigenimages`;
    const app = openStackPage(data, new Frames(data, { matrices: [found] }, A));
    current = {
      controller: new AbortController(), app: { choose: app.setRank },
      data: { spectra: [found.spectrum] },
    };
    page.dataset.picture = name;
    say([`${name} is taken for a stack: a frame in each row of one matrix.`, ...notes].join(" "));
  }

  // What the first view takes has run once before it is wanted, while nothing else is to do:
  // until then a browser runs it ten times as slowly.
  function warm() {
    const side = COARSE, planes = [new Uint8Array(4 * side * side).map((_, i) => (i * i) % 251)];
    const [plane] = Pictures.shrunk({ width: 2 * side, height: 2 * side, planes, peak: 255 }, side, side);
    Svd.begun(plane, side, side).terms(FIRST);
  }
  for (let i = 0; i < 3; i++) (self.requestIdleCallback ?? setTimeout)(warm);

  return { open, openStack, say, now: () => current };
})();
