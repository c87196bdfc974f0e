"use strict";
// The storage calculator: k(m+n+1) numbers against mn.

class Calculator {
  constructor(m, n) {
    this.own = false; // whether somebody typed numbers of their own
    byId("calc-m").value = m;
    byId("calc-n").value = n;
    byId("calculator").addEventListener("input", () => {
      this.own = true;
      this.calculate();
    });
    byId("calculator").addEventListener("submit", (event) => event.preventDefault());
  }

  // Follow the slider, until somebody asks for something else.
  follow(k) {
    if (this.own) return;
    byId("calc-k").value = k;
    this.calculate();
  }

  calculate() {
    const [m, n, k] = ["m", "n", "k"].map((x) => Math.floor(Number(byId(`calc-${x}`).value)));
    if (!(m >= 1 && n >= 1 && k >= 1)) {
      Words.say("calc-said", "Give whole numbers from 1 on.");
      return;
    }
    const [ours, theirs, even] = [k * (m + n + 1), m * n, (m * n) / (m + n + 1)];
    const most = Math.max(ours, theirs);
    byId("calc-bar").style.width = `${(100 * ours) / most}%`;
    byId("calc-bar").classList.toggle("over", ours > theirs);
    byId("calc-whole").style.width = `${(100 * theirs) / most}%`;
    let compared = "as many as";
    if (ours < theirs) compared = `${(theirs / ours).toFixed(2)} times fewer than`;
    if (ours > theirs) compared = `${(ours / theirs).toFixed(2)} times as many as`;
    const beyond = k > Math.min(m, n)
      ? ` No ${m} × ${n} matrix has a rank above ${Math.min(m, n)}.` : "";
    Words.say(
      "calc-said",
      `${Words.whole(ours)} numbers, ${compared} the ${Words.whole(theirs)} of the matrix. ` +
        `Layers pay below the break-even rank mn/(m+n+1) = ${even.toFixed(1)}.${beyond}`,
    );
  }
}
