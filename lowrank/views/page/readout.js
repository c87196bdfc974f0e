"use strict";
// What the page says of a rank: at once from the spectrum, then as measured; or of the file.

class Readout {
  // bounds: of the picture itself; so are all numbers but those that are called the copy's.
  constructor(data, bounds, stage, charts) {
    Object.assign(this, { data, bounds, stage, charts, speaking: 0 });
    this.copied = data.copy === null ? null : new Bounds(data.copied);
    this.measured = new Map(data.measured.map((x) => [x.k, x]));
    this.at = { k: data.start, found: null };
    this.ofWhom = null;
  }

  // What is known before anything is summed.
  announce(k) {
    const { data, bounds, charts } = this;
    const { N } = bounds;
    this.at = { k, found: null };
    const kept = Words.percent(bounds.kept(k));
    const slider = byId("rank");
    slider.value = k;
    slider.setAttribute("aria-valuetext", `rank ${k} of ${N}, ${kept} of the energy`);
    const share = data.most > 1 ? Math.log(k) / Math.log(data.most) : 1;
    byId("track").style.setProperty("--share", share);
    if (document.activeElement !== byId("rank-number")) byId("rank-number").value = k;
    Words.say("headline", String(k));
    Words.say("headline-terms", k === 1 ? "1 layer" : `${k} layers`);
    for (const element of document.querySelectorAll(".views .k")) element.textContent = k;
    Readout.markButtons(k);
    this.figures();
    const [low, high] = [k, Math.min(k + 1, N)].map((i) =>
      Words.level(Math.max(...data.spectra.map((s) => s[i - 1]))),
    );
    const [here, next] = [k, k + 1].map(Words.subscript);
    Words.say(
      "say-spectrum",
      k < N ? `Kept to σ${here} = ${low}; the first left out is σ${next} = ${high}.`
        : "All are kept.",
    );
    Words.say(
      "say-energy",
      `The first ${this.stage.layers(k)} ${k === 1 ? "holds" : "hold"} ${kept} of ‖A‖². ` +
        `Half of it needs ${bounds.needed(0.5)}, 99 % needs ${bounds.needed(0.99)}, ` +
        `99.9 % needs ${bounds.needed(0.999)}.`,
    );
    charts.spectrum.mark(k, data.spectra.map((s) => ({ value: s[k - 1], style: "" })));
    charts.energy.mark(k, [{ value: bounds.tail2[k] / (bounds.tail2[0] || 1), style: "" }]);
  }

  static markButtons(k) {
    for (const button of document.querySelectorAll("[data-k]")) {
      const current = Number(button.dataset.k) === k;
      button.setAttribute("aria-current", String(current));
      const row = byId("steps");
      if (current && button.parentElement === row) {
        row.scrollLeft = button.offsetLeft - row.offsetLeft - 40;
      }
    }
  }

  // found: what Stage.measure returned, of the sum that is seen.
  tell(k, found) {
    const { bounds, charts, data } = this;
    const { level } = Words;
    this.at = { k, found };
    this.figures();
    const own = this.ofPicture();
    for (const name of ["spectral", "frobenius"]) {
      const dots = this.copied === null ? [{ k, ...found }] : data.measured;
      charts[name].mark(k, dots.map((x) => ({ value: x[name], style: "", at: x.k })));
    }
    const [spectral, frobenius] = [bounds.spectral[k], bounds.frobenius[k]];
    const measured = (name) => (own ? `measured ${level(own[name])}, ` : "");
    Words.say("say-spectral", `At k = ${k}: ${measured("spectral")}bound ${level(spectral)}.`);
    const rival = data.rival && data.rival[k]; // a site does not know it from the start
    const worse = bounds.isNothing(frobenius)
      ? "" : `, ${(rival / frobenius).toFixed(2)} × the bound`;
    Words.say(
      "say-frobenius",
      `At k = ${k}: ${measured("frobenius")}bound ${level(frobenius)}` +
        `${data.rival ? `; the rival ${level(rival)}${worse}` : ""}.`,
    );
    // Said aloud when the slider has come to rest, not for every step on its way.
    clearTimeout(this.speaking);
    this.speaking = setTimeout(() => {
      const error = own ? `Frobenius error ${level(own.frobenius)}, ` : "";
      Words.say(
        "spoken",
        `Rank ${k}: ${Words.percent(bounds.kept(k))} of the energy, ` +
          `${error}bound ${level(frobenius)}.`,
      );
    }, 600);
  }

  // What was measured of the picture itself at this rank: here, or when the page was made.
  ofPicture() {
    return this.copied === null ? this.at.found : this.measured.get(this.at.k) ?? null;
  }

  // The numbers beside the picture: of the file where that is seen, else of the rank.
  figures() {
    const ofFile = this.stage.view === "file";
    const changed = this.ofWhom !== ofFile;
    this.ofWhom = ofFile;
    for (const x of document.querySelectorAll(".of-rank")) x.hidden = ofFile;
    for (const x of document.querySelectorAll(".of-file")) x.hidden = !ofFile;
    const { m, n } = this.data;
    byId("whose").hidden = !ofFile && this.copied === null;
    Words.say("whose", `Of the ${ofFile ? "file, against the picture" : "picture"} itself, ${n} × ${m}`);
    Words.say("energy-name", ofFile ? "relative error ‖A−B‖ / ‖A‖, Frobenius" : "energy kept");
    Words.say("stored-name", ofFile ? "bytes" : "numbers stored");
    if (ofFile) this.tellFile();
    else this.tellRank(changed);
  }

  tellFile() {
    const { of_file: found } = this.data;
    Words.say("energy", found.norm > 0 ? `${((100 * found.frobenius) / found.norm).toFixed(3)} %` : "0 %");
    for (const name of ["spectral", "frobenius"]) {
      const bound = found[`${name}_bound`];
      this.beside(name, found[name], bound, bound <= 1e-6 * found.norm);
    }
    this.psnr(found.psnr ?? Infinity, "");
    Readout.stored(found.bytes, found.raw_bytes, "raw");
  }

  tellRank(changed) {
    const { data, bounds, copied } = this;
    const { m, n, channels } = data;
    const { k, found } = this.at;
    Words.say("energy", Words.percent(bounds.kept(k)));
    Readout.stored(channels.length * k * (m + n + 1), channels.length * m * n, "");
    const own = this.ofPicture();
    if (own) {
      for (const name of ["spectral", "frobenius"]) {
        const bound = bounds[name][k];
        this.beside(name, own[name], bound, bounds.isNothing(bound));
      }
      this.psnr(own.psnr ?? Infinity, "");
    } else if (copied !== null) {
      this.tellBounds(k);
    } else if (changed) {
      for (const id of ["spectral", "spectral-bound", "frobenius", "frobenius-bound", "psnr"]) {
        Words.say(id, "–");
      }
      for (const id of ["spectral-ratio", "frobenius-ratio"]) Words.say(id, "");
    }
    byId("copy-said").hidden = copied === null;
    if (copied !== null && found !== null) this.tellCopy(k, found);
  }

  // No measurement at this rank: what the best matrix of it has, by the theorem.
  tellBounds(k) {
    const { data, bounds } = this;
    for (const name of ["spectral", "frobenius"]) {
      Words.say(name, Words.level(bounds[name][k]));
      Words.say(`${name}-bound`, Words.level(bounds[name][k]));
      Words.say(`${name}-ratio`, "from the spectrum, not measured at this rank");
    }
    const samples = Math.sqrt(data.channels.length * data.m * data.n);
    const tail = bounds.isNothing(bounds.frobenius[k]) ? 0 : bounds.frobenius[k];
    this.psnr(20 * Math.log10((data.peak * samples) / tail), "from the bound, not measured; ");
  }

  tellCopy(k, found) {
    const { copied, data } = this;
    const times = (name) => {
      const bound = copied[name][k];
      return copied.isNothing(bound) ? "" : `, ${(found[name] / bound).toFixed(5)} × its bound`;
    };
    const psnr = found.psnr === Infinity ? "exact" : `${found.psnr.toFixed(2)} dB`;
    Words.say(
      "copy-said",
      `Measured in this page, of ${data.copy}: spectral error ${Words.level(found.spectral)}` +
        `${times("spectral")}; Frobenius error ${Words.level(found.frobenius)}` +
        `${times("frobenius")}; PSNR ${psnr}; energy kept ${Words.percent(copied.kept(k))}.`,
    );
  }

  beside(name, value, bound, isNothing) {
    Words.say(name, Words.level(value));
    Words.say(`${name}-bound`, Words.level(bound));
    Words.say(
      `${name}-ratio`,
      isNothing ? `the bound is ${bound ? "next to nothing" : "zero"}: what is left is rounding`
        : `${(value / bound).toFixed(5)} × the bound`,
    );
  }

  psnr(value, kind) {
    Words.say("psnr", value === Infinity ? "exact" : `${value.toFixed(2)} dB`);
    Words.say("psnr-kind", `${kind}peak ${Words.level(this.data.peak)}`);
  }

  static stored(ours, all, what) {
    const share = Words.percent(ours / all).replace(/\.(\d)\d /, ".$1 ");
    Words.say("stored", Words.whole(ours));
    Words.say("stored-of", `of ${Words.whole(all)}${what && ` ${what}`}: ${share}`);
    byId("stored-bar").style.width = `${Math.min((100 * ours) / all, 100)}%`;
    byId("stored-bar").classList.toggle("over", ours > all);
  }
}
