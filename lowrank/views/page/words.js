"use strict";
// Numbers as words, and the few steps that every part of the page takes.

const byId = (id) => document.getElementById(id);

const Words = (() => {
  const locale = "en-US";
  const whole = (x) => Math.round(x).toLocaleString(locale);
  const level = (x) =>
    x !== 0 && (x < 1e-3 || x >= 1e7)
      ? x.toExponential(2)
      : x.toLocaleString(locale, { maximumSignificantDigits: x >= 1e5 ? 6 : 5 });
  const percent = (share) => {
    const digits = share > 0.9999 && share < 1 ? 4 : 2;
    const rounded = share < 1 ? Math.min(share, 1 - 10 ** (-digits - 2)) : share;
    return `${(100 * rounded).toFixed(digits)} %`;
  };
  const tick = (x) => {
    if (x >= 1 && x < 1e6) return whole(x);
    return x < 1 && x >= 1e-3 ? String(Number(x.toPrecision(1))) : x.toExponential(0);
  };
  const subscript = (k) => String(k).replace(/\d/g, (d) => "₀₁₂₃₄₅₆₇₈₉"[d]);
  // Text that has not changed is left alone: a screen reader would say it again.
  const say = (id, text) => {
    if (byId(id).textContent !== text) byId(id).textContent = text;
  };
  return { whole, level, percent, tick, subscript, say };
})();
