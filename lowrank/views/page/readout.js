"use strict";
// What the page says of a rank: at once from the spectrum, then as measured.

class Readout {
  constructor(data, bounds, stage, charts) {
    Object.assign(this, { data, bounds, stage, charts, speaking: 0 });
  }

  // What is known before anything is summed.
  announce(k) {
    const { data, bounds, charts } = this;
    const { N } = bounds;
    const kept = Words.percent(bounds.kept(k));
    const slider = byId("rank");
    slider.value = k;
    slider.setAttribute("aria-valuetext", `rank ${k} of ${N}, ${kept} of the energy`);
    const share = data.most > 1 ? (100 * (k - 1)) / (data.most - 1) : 100;
    slider.style.setProperty("--share", `${share}%`);
    if (document.activeElement !== byId("rank-number")) byId("rank-number").value = k;
    Words.say("headline", String(k));
    Words.say("headline-terms", String(k));
    for (const element of document.querySelectorAll(".views .k")) element.textContent = k;
    Readout.markButtons(k);
    Words.say("energy", kept);
    this.storage(k);
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
    charts.energy.mark(k, [{ value: bounds.kept(k), style: "" }]);
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

  storage(k) {
    const { m, n, channels } = this.data;
    const [stored, all] = [channels.length * k * (m + n + 1), channels.length * m * n];
    const share = Words.percent(stored / all).replace(/\.(\d)\d /, ".$1 ");
    Words.say("stored", Words.whole(stored));
    Words.say("stored-of", `of ${Words.whole(all)}: ${share}`);
    byId("stored-bar").style.width = `${Math.min((100 * stored) / all, 100)}%`;
    byId("stored-bar").classList.toggle("over", stored > all);
  }

  // found: what Stage.measure returned.
  tell(k, found) {
    const { data, bounds, charts } = this;
    const { level } = Words;
    Words.say("psnr", found.psnr === Infinity ? "exact" : `${found.psnr.toFixed(2)} dB`);
    for (const name of ["spectral", "frobenius"]) {
      const bound = bounds[name][k];
      Words.say(name, level(found[name]));
      Words.say(`${name}-bound`, level(bound));
      Words.say(
        `${name}-ratio`,
        bounds.isNothing(bound) ? "the bound is zero: rounding is left"
          : `${(found[name] / bound).toFixed(5)} × the bound`,
      );
      charts[name].mark(k, [{ value: found[name], style: "" }]);
    }
    const [spectral, frobenius] = [bounds.spectral[k], bounds.frobenius[k]];
    Words.say(
      "say-spectral", `At k = ${k}: measured ${level(found.spectral)}, bound ${level(spectral)}.`,
    );
    const rival = data.rival[k];
    const worse = bounds.isNothing(frobenius)
      ? "" : `, ${(rival / frobenius).toFixed(2)} × the bound`;
    Words.say(
      "say-frobenius",
      `At k = ${k}: measured ${level(found.frobenius)}, bound ${level(frobenius)}; ` +
        `the rival ${level(rival)}${worse}.`,
    );
    // Said aloud when the slider has come to rest, not for every step on its way.
    clearTimeout(this.speaking);
    this.speaking = setTimeout(() => {
      Words.say(
        "spoken",
        `Rank ${k}: ${Words.percent(bounds.kept(k))} of the energy, ` +
          `Frobenius error ${level(found.frobenius)}, bound ${level(frobenius)}.`,
      );
    }, 600);
  }
}
