"use strict";
// Linear algebra on the terms of a .lrk file: partial sums, and what they leave of A.

// B = sum of sigma_i u_i v_i^T over i <= k in each channel, kept while k moves: a step of
// k adds or subtracts only the terms between. Float64, so that nothing drifts.
class PartialSums {
  constructor(file) {
    this.file = file;
    this.k = 0;
    this.planes = file.matrices.map(() => new Float64Array(file.width * file.height));
  }

  // Move towards rank k for about so many milliseconds; true where it is reached.
  advance(k, milliseconds) {
    const until = performance.now() + milliseconds;
    while (this.k !== k) {
      const next = k > this.k ? Math.min(this.k + 4, k) : Math.max(this.k - 4, k);
      this.file.matrices.forEach((matrix, c) => {
        const [low, high] = [Math.min(this.k, next), Math.min(Math.max(this.k, next), matrix.k)];
        if (high > low) PartialSums.add(this.planes[c], matrix, low, high, next > this.k ? 1 : -1);
      });
      this.k = next;
      if (k === 0) this.planes.forEach((plane) => plane.fill(0));
      if (performance.now() > until) break;
    }
    return this.k === k;
  }

  // Add up to four terms in one pass: the sum is read and written once for all of them.
  static add(plane, { s, u, v }, low, high, sign) {
    const last = high - 1;
    const term = (i) => Math.min(low + i, last);
    const [v0, v1, v2, v3] = [v[term(0)], v[term(1)], v[term(2)], v[term(3)]];
    const scale = [0, 1, 2, 3].map((i) => (low + i < high ? sign * s[low + i] : 0));
    const [u0, u1, u2, u3] = [u[term(0)], u[term(1)], u[term(2)], u[term(3)]];
    const n = v0.length;
    for (let i = 0, at = 0; i < u0.length; i++) {
      const a = scale[0] * u0[i];
      const b = scale[1] * u1[i];
      const c = scale[2] * u2[i];
      const d = scale[3] * u3[i];
      for (let j = 0; j < n; j++, at++) {
        plane[at] += a * v0[j] + b * v1[j] + c * v2[j] + d * v3[j];
      }
    }
  }
}

const Norms = {
  // Squares of A - B, and of A - B rounded and clipped to samples, added up.
  squares(A, B, peak) {
    let exact = 0;
    let rounded = 0;
    for (let i = 0; i < A.length; i++) {
      const e = A[i] - B[i];
      exact += e * e;
      if (peak !== null) {
        const r = A[i] - Math.min(Math.max(Math.round(B[i]), 0), peak);
        rounded += r * r;
      } else {
        rounded += e * e;
      }
    }
    return { exact, rounded };
  },

  // ||A - B||_2 by power iteration from x. Each estimate is ||(A - B) x|| of a unit x: never
  // too large, and from x = v_(k+1) already the proof's own witness.
  spectral(A, B, m, n, x, rounds) {
    let estimate = 0;
    let unit = Norms.normalised(x);
    for (let round = 0; round < rounds && unit !== null; round++) {
      const z = new Float64Array(n);
      let square = 0;
      for (let i = 0; i < m; i++) {
        const row = i * n;
        let y = 0;
        for (let j = 0; j < n; j++) y += (A[row + j] - B[row + j]) * unit[j];
        for (let j = 0; j < n; j++) z[j] += (A[row + j] - B[row + j]) * y;
        square += y * y;
      }
      estimate = Math.max(estimate, Math.sqrt(square));
      unit = Norms.normalised(z);
    }
    return estimate;
  },

  normalised(x) {
    let square = 0;
    for (let j = 0; j < x.length; j++) square += x[j] * x[j];
    return square > 0 ? x.map((value) => value / Math.sqrt(square)) : null;
  },

  // A fixed start where there is no v_(k+1): after the last term.
  anyVector(n) {
    let seed = 1;
    return Float64Array.from({ length: n }, () => {
      seed = (seed * 16807) % 2147483647;
      return seed / 2147483647 - 0.5;
    });
  },
};
