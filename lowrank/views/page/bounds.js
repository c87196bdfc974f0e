"use strict";
// What the singular values alone say of every rank: bounds and energy.

class Bounds {
  // spectra: all singular values of each channel, descending.
  constructor(spectra) {
    const N = spectra[0].length;
    // tail2[k]: sum over all channels of sigma_i^2, i > k, summed from the small end.
    const tail2 = new Float64Array(N + 1);
    const next = new Float64Array(N + 1);
    for (let k = N - 1; k >= 0; k--) {
      tail2[k] = tail2[k + 1] + spectra.reduce((sum, s) => sum + s[k] * s[k], 0);
      next[k] = Math.max(...spectra.map((s) => s[k]));
    }
    // spectral[k] = sigma_(k+1) of the channel where it is largest; frobenius[k] of all.
    Object.assign(this, { N, tail2, spectral: next, frobenius: tail2.map(Math.sqrt) });
    this.negligible = 1e-6 * this.frobenius[0];
  }

  // Share of ||A||_F^2 in the first k layers.
  kept(k) {
    return this.tail2[0] > 0 ? 1 - this.tail2[k] / this.tail2[0] : 1;
  }

  // The lowest rank that keeps such a share.
  needed(share) {
    for (let k = 0; k <= this.N; k++) if (this.kept(k) >= share) return k;
    return this.N;
  }

  isNothing(bound) {
    return bound <= this.negligible;
  }
}
