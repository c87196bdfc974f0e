// The float stores: sums of terms, rounded and clipped to samples.

import { F64, KINDS, ceil, each, floor, min, rint, same } from "./numbers.js";
import { limitsOf } from "./reading.js";
import { COSINES, SIDE, SIZE, cropped, toSamples, unlap } from "./lapped.js";

export const arrayOf = ({ type }, length) => new KINDS[type](length);

/** Rows `from` to `to` of the sum of the first `rank` terms of a matrix. */
function sum({ s, u, v }, from, to, n, rank) {
  const out = new F64((to - from) * n);
  const terms = min(u.length, rank ?? u.length);
  for (let y = from, at = 0; y < to; y++, at += n) {
    for (let i = 0; i < terms; i++) {
      const x = u[i][y] * s[i], row = v[i];
      if (x) for (let j = 0; j < n; j++) out[at + j] += x * row[j];
    }
  }
  return out;
}

function patched(B, rows, columns) {
  const width = columns * SIDE, out = new F64(rows * SIDE * width);
  const half = new F64(SIZE);
  each(rows * columns, (i) => {
    half.fill(0);
    each(SIZE, (f) => {
      const x = B[i * SIZE + f], cosines = COSINES[f >> 4];
      if (x) for (let y = 0; y < SIDE; y++) half[y * SIDE + (f & 15)] += x * cosines[y];
    });
    let at = floor(i / columns) * SIDE * width + (i % columns) * SIDE;
    for (let y = 0; y < SIDE; y++, at += width) {
      for (let x = 0; x < SIDE; x++) {
        let total = 0;
        for (let u = 0; u < SIDE; u++) total += half[y * SIDE + u] * COSINES[u][x];
        out[at + x] = total;
      }
    }
  });
  unlap(out, rows * SIDE, width, same);
  return out;
}

/** Samples of a picture, or of one frame of a stack, pixel by pixel. */
export function decodeFloats(parts, { rank, frame }) {
  const { width, height, channels, matrices, layout, turn, dtype } = parts;
  const size = width * height * channels, samples = arrayOf(parts, size);
  const [rows, columns] = [ceil(height / SIDE), ceil(width / SIDE)];
  const planes = matrices.map((x) => {
    if (layout === "stack") return sum(x, frame, frame + 1, size, rank);
    if (layout === "channels") return sum(x, 0, height, width, rank);
    return cropped(patched(sum(x, 0, rows * columns, SIZE, rank), rows, columns), columns * SIDE, width, height);
  });
  toSamples(planes, turn, limitsOf(parts), same, samples, dtype[0] === "f" ? same : rint);
  return samples;
}
