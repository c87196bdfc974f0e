"use strict";
// The truncated singular value decomposition of a matrix, and all its singular values.
//
// With A of N x n, N <= n: the eigenvalues of A A^T (N x N) are the squares of the singular
// values, and its eigenvectors are the u. It is reduced to tridiagonal form by Householder
// reflections (Golub and Van Loan, 8.3.1); all eigenvalues come from there by implicit QL
// (8.3.3), those eigenvectors that are wanted by inverse iteration, and v = A^T u / sigma.
// Squaring costs half the digits of float64: sigmas below 10^-7 of the first are not seen, and
// a sample of a picture is coarser than that by far. In return the whole spectrum is known.

const Svd = (() => {
  const FAINT = 1e-7; // of sigma_1: what is below is nothing

  // Rows and columns changed: a copy of n x m.
  function transposed(A, m, n) {
    const out = new Float64Array(m * n);
    for (let i = 0; i < m; i++) for (let j = 0; j < n; j++) out[j * m + i] = A[i * n + j];
    return out;
  }

  // The lower half of A A^T, by blocks of 4 x 4: eight rows are read for sixteen products.
  function gram(A, N, n) {
    const G = new Float64Array(N * N);
    for (let i = 0; i < N; i += 4) {
      for (let j = 0; j <= i; j += 4) block(A, G, N, n, i, j);
    }
    return G;
  }

  function block(A, G, N, n, i, j) {
    const row = (k) => Math.min(k, N - 1) * n;
    const a0 = row(i), a1 = row(i + 1), a2 = row(i + 2), a3 = row(i + 3);
    const b0 = row(j), b1 = row(j + 1), b2 = row(j + 2), b3 = row(j + 3);
    let s00 = 0, s01 = 0, s02 = 0, s03 = 0, s10 = 0, s11 = 0, s12 = 0, s13 = 0;
    let s20 = 0, s21 = 0, s22 = 0, s23 = 0, s30 = 0, s31 = 0, s32 = 0, s33 = 0;
    for (let t = 0; t < n; t++) {
      const x0 = A[a0 + t], x1 = A[a1 + t], x2 = A[a2 + t], x3 = A[a3 + t];
      const y0 = A[b0 + t], y1 = A[b1 + t], y2 = A[b2 + t], y3 = A[b3 + t];
      s00 += x0 * y0; s01 += x0 * y1; s02 += x0 * y2; s03 += x0 * y3;
      s10 += x1 * y0; s11 += x1 * y1; s12 += x1 * y2; s13 += x1 * y3;
      s20 += x2 * y0; s21 += x2 * y1; s22 += x2 * y2; s23 += x2 * y3;
      s30 += x3 * y0; s31 += x3 * y1; s32 += x3 * y2; s33 += x3 * y3;
    }
    const sums = [s00, s01, s02, s03, s10, s11, s12, s13, s20, s21, s22, s23, s30, s31, s32, s33];
    for (let p = 0; p < 4 && i + p < N; p++) {
      for (let q = 0; q < 4 && j + q < N; q++) G[(i + p) * N + j + q] = sums[4 * p + q];
    }
  }

  // Reduce the symmetric G, of which the lower half is given, to tridiagonal form from its last
  // row up. The reflections stay below the diagonal, each scaled to norm^2 = 2.
  function tridiagonal(G, N) {
    const d = new Float64Array(N), e = new Float64Array(N), p = new Float64Array(N);
    for (let i = N - 1; i > 0; i--) {
      const row = i * N;
      let square = 0;
      for (let j = 0; j < i; j++) square += G[row + j] * G[row + j];
      const last = G[row + i - 1];
      d[i] = G[row + i];
      if (square <= last * last || i === 1) {
        e[i] = last;
        for (let j = 0; j < i; j++) G[row + j] = 0;
        continue;
      }
      const alpha = last > 0 ? -Math.sqrt(square) : Math.sqrt(square);
      e[i] = alpha;
      G[row + i - 1] -= alpha;
      const scale = 1 / Math.sqrt(square - last * alpha); // H = I - w w^T, |w|^2 = 2
      for (let j = 0; j < i; j++) G[row + j] *= scale;
      // p = B w, of the leading block B whose lower half is stored; two rows in one pass.
      p.fill(0, 0, i);
      let r = 0;
      for (; r + 1 < i; r += 2) {
        const a = r * N, b = a + N, wa = G[row + r], wb = G[row + r + 1];
        let sa = 0, sb = 0;
        for (let j = 0; j < r; j++) {
          const x = G[a + j], y = G[b + j];
          sa += x * G[row + j];
          sb += y * G[row + j];
          p[j] += x * wa + y * wb;
        }
        const x = G[b + r];
        p[r] += sa + G[a + r] * wa + x * wb;
        p[r + 1] += sb + x * wa + G[b + r + 1] * wb;
      }
      if (r < i) {
        const a = r * N, wa = G[row + r];
        let sa = 0;
        for (let j = 0; j < r; j++) {
          sa += G[a + j] * G[row + j];
          p[j] += G[a + j] * wa;
        }
        p[r] += sa + G[a + r] * wa;
      }
      let half = 0;
      for (let j = 0; j < i; j++) half += p[j] * G[row + j];
      half /= 2;
      for (let j = 0; j < i; j++) p[j] -= half * G[row + j];
      for (let k = 0; k < i; k++) {
        const at = k * N, a = G[row + k], b = p[k];
        for (let j = 0; j <= k; j++) G[at + j] -= a * p[j] + b * G[row + j];
      }
    }
    d[0] = G[0];
    G[0] = 0;
    return { d, e };
  }

  // Eigenvalues of the tridiagonal matrix, descending: implicit QL, no vectors.
  function eigenvalues({ d: diagonal, e: off }) {
    const N = diagonal.length, d = diagonal.slice(), e = new Float64Array(N);
    for (let i = 1; i < N; i++) e[i - 1] = off[i];
    for (let l = 0; l < N; l++) {
      for (let round = 0; round < 60; round++) {
        let m = l;
        while (m < N - 1) {
          const size = Math.abs(d[m]) + Math.abs(d[m + 1]);
          if (Math.abs(e[m]) <= Number.EPSILON * size) break;
          m++;
        }
        if (m === l) break;
        let g = (d[l + 1] - d[l]) / (2 * e[l]);
        let r = Math.sqrt(g * g + 1);
        g = d[m] - d[l] + e[l] / (g + (g >= 0 ? r : -r));
        let s = 1, c = 1, p = 0, i = m - 1;
        for (; i >= l; i--) {
          let f = s * e[i];
          const b = c * e[i];
          r = Math.sqrt(f * f + g * g);
          e[i + 1] = r;
          if (r === 0) {
            d[i + 1] -= p;
            e[m] = 0;
            break;
          }
          s = f / r;
          c = g / r;
          g = d[i + 1] - p;
          r = (d[i] - g) * s + 2 * c * b;
          p = s * r;
          d[i + 1] = g + p;
          g = c * r - b;
        }
        if (r === 0 && i >= l) continue;
        d[l] -= p;
        e[l] = g;
        e[m] = 0;
      }
    }
    return d.sort().reverse();
  }

  // Eigenvectors of the tridiagonal matrix up to the `count`-th, `found` being the first ones:
  // inverse iteration by Gaussian elimination with row exchanges; those that lie close are made
  // orthogonal.
  function eigenvectors({ d, e }, values, count, found) {
    const N = d.length;
    const near = 1e-3 * Math.abs(values[0]), least = Number.EPSILON * Math.abs(values[0]) || 1;
    const u = new Float64Array(N), w = new Float64Array(N), z = new Float64Array(N);
    const factor = new Float64Array(N), swapped = new Uint8Array(N);
    let first = 0, seed = 1, shift = Infinity;
    for (let k = 0; k < count; k++) {
      const gap = near * Math.max(Math.abs(values[k] / values[0]), 1e-9);
      if (k && values[k - 1] - values[k] > gap) first = k;
      // Equal ones are taken a little apart.
      shift = Math.min(values[k], shift - 4 * least);
      if (k < found.length) continue;
      let a = d[0] - shift, b = N > 1 ? e[1] : 0, c = 0;
      for (let i = 0; i < N - 1; i++) {
        const low = e[i + 1], p = d[i + 1] - shift, q = i + 2 < N ? e[i + 2] : 0;
        if (Math.abs(a) >= Math.abs(low)) {
          if (a === 0) a = least;
          factor[i] = low / a;
          swapped[i] = 0;
          u[i] = a; w[i] = b; z[i] = c;
          a = p - factor[i] * b;
          b = q - factor[i] * c;
          c = 0;
        } else {
          factor[i] = a / low;
          swapped[i] = 1;
          u[i] = low; w[i] = p; z[i] = q;
          a = b - factor[i] * p;
          b = c - factor[i] * q;
          c = 0;
        }
      }
      u[N - 1] = a === 0 ? least : a;
      const x = new Float64Array(N);
      for (let i = 0; i < N; i++) {
        seed = (seed * 16807) % 2147483647;
        x[i] = seed / 2147483647 + 0.1;
      }
      for (let round = 0; round < 3; round++) {
        if (round) {
          for (let i = 0; i < N - 1; i++) {
            if (swapped[i]) [x[i], x[i + 1]] = [x[i + 1], x[i]];
            x[i + 1] -= factor[i] * x[i];
          }
        }
        for (let i = N - 1; i >= 0; i--) {
          let sum = x[i];
          if (i + 1 < N) sum -= w[i] * x[i + 1];
          if (i + 2 < N) sum -= z[i] * x[i + 2];
          const pivot = Math.abs(u[i]) < least ? (u[i] < 0 ? -least : least) : u[i];
          x[i] = sum / pivot;
          if (Math.abs(x[i]) > 1e200) for (let j = i; j < N; j++) x[j] *= 1e-200;
        }
        for (let j = first; j < k; j++) {
          const other = found[j];
          let dot = 0;
          for (let i = 0; i < N; i++) dot += x[i] * other[i];
          for (let i = 0; i < N; i++) x[i] -= dot * other[i];
        }
        let largest = 0, square = 0;
        for (let i = 0; i < N; i++) largest = Math.max(largest, Math.abs(x[i]));
        for (let i = 0; i < N; i++) square += (x[i] / largest) ** 2;
        const scale = 1 / (largest * Math.sqrt(square));
        for (let i = 0; i < N; i++) x[i] *= scale;
      }
      found.push(x);
    }
  }

  // From vectors of the tridiagonal matrix to those of G: the reflections, in reverse.
  function reflected(G, N, vectors) {
    for (let k = 0; k < vectors.length; k += 4) {
      const [a, b, c, d] = [0, 1, 2, 3].map((i) => vectors[k + i] ?? new Float64Array(N));
      for (let i = 2; i < N; i++) {
        const row = i * N;
        let p = 0, q = 0, r = 0, s = 0;
        for (let j = 0; j < i; j++) {
          const w = G[row + j];
          p += w * a[j]; q += w * b[j]; r += w * c[j]; s += w * d[j];
        }
        for (let j = 0; j < i; j++) {
          const w = G[row + j];
          a[j] -= p * w; b[j] -= q * w; c[j] -= r * w; d[j] -= s * w;
        }
      }
    }
  }

  // A^T u of four vectors at a time.
  function rights(A, N, n, vectors) {
    const out = vectors.map(() => new Float64Array(n));
    for (let k = 0; k < vectors.length; k += 4) {
      const [a, b, c, d] = [0, 1, 2, 3].map((i) => vectors[k + i] ?? vectors[k]);
      const [p, q, r, s] = [0, 1, 2, 3].map((i) => out[k + i] ?? new Float64Array(n));
      for (let i = 0; i < N; i++) {
        const at = i * n, x = a[i], y = b[i], z = c[i], w = d[i];
        for (let j = 0; j < n; j++) {
          const value = A[at + j];
          p[j] += x * value; q[j] += y * value; r[j] += z * value; s[j] += w * value;
        }
      }
    }
    return out;
  }

  // A decomposition of A (m x n, row after row) that grows: all singular values, and with each
  // call of `terms` more of {s, u, v}, at most so many.
  function begun(A, m, n) {
    const wide = m <= n;
    const [N, long] = wide ? [m, n] : [n, m];
    const B = wide ? new Float64Array(A) : transposed(A, m, n);
    const G = gram(B, N, long);
    const T = tridiagonal(G, N);
    const values = eigenvalues(T);
    const spectrum = Array.from(values, (x) => Math.sqrt(Math.max(x, 0)));
    const floor = FAINT * spectrum[0];
    const seen = spectrum.filter((x) => x > floor).length;
    for (let i = seen; i < N; i++) spectrum[i] = 0;
    const found = [];

    // The terms after those that were given before, up to the `most`-th.
    function terms(most) {
      const from = found.length;
      eigenvectors(T, values, Math.min(most, seen), found);
      const lefts = found.slice(from).map((x) => x.slice());
      reflected(G, N, lefts);
      const s = [], u = [], v = [];
      rights(B, N, long, lefts).forEach((x, i) => {
        let square = 0;
        for (let j = 0; j < long; j++) square += x[j] * x[j];
        const sigma = Math.sqrt(square);
        s.push(sigma);
        const unit = Float32Array.from(x, (value) => value / sigma);
        const other = Float32Array.from(lefts[i]);
        u.push(wide ? other : unit);
        v.push(wide ? unit : other);
      });
      return { s, u, v };
    }

    return { spectrum, terms };
  }

  // Squares of what the k lowest cosine frequencies along the shorter side hold, k = 1 to N.
  function cosines(A, m, n) {
    const wide = m <= n;
    const [N, long] = wide ? [m, n] : [n, m];
    const B = wide ? A : transposed(A, m, n);
    const energies = new Float64Array(N), half = N >> 1;
    const wave = Float64Array.from({ length: 4 * N }, (_, i) => Math.cos((Math.PI * i) / (2 * N)));
    // Sums and differences of mirrored rows: even frequencies know the first, odd the second.
    const folded = [new Float64Array((N - half) * long), new Float64Array(half * long)];
    for (let i = 0; i < N - half; i++) {
      const a = i * long, b = (N - 1 - i) * long;
      for (let j = 0; j < long; j++) {
        folded[0][a + j] = a === b ? B[a + j] : B[a + j] + B[b + j];
        if (i < half) folded[1][a + j] = B[a + j] - B[b + j];
      }
    }
    const x = new Float64Array(long), y = new Float64Array(long);
    for (let f = 0; f < N; f += 4) {
      for (const [odd, F] of folded.entries()) {
        const [g, h] = [f + odd, f + odd + 2];
        x.fill(0);
        y.fill(0);
        const rows = odd ? half : N - half;
        for (let i = 0; i < rows; i++) {
          const p = wave[((2 * i + 1) * g) % (4 * N)], q = wave[((2 * i + 1) * h) % (4 * N)];
          for (let j = 0, at = i * long; j < long; j++, at++) {
            x[j] += p * F[at];
            y[j] += q * F[at];
          }
        }
        for (const [k, z] of [[g, x], [h, y]]) {
          let square = 0;
          for (let j = 0; j < long; j++) square += z[j] * z[j];
          if (k < N) energies[k] = (square * (k ? 2 : 1)) / N;
        }
      }
    }
    return energies;
  }

  return { begun, cosines };
})();
