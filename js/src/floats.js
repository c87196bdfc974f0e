// The float stores: sums of terms, rounded and clipped to samples.

import { F32, F64, I32, U16, U32, U8, ceil, each, floor, min, rint, same, within } from "./numbers.js";
import { limitsOf } from "./reading.js";
import { COSINES, SIDE, SIZE, axes, unlap } from "./lapped.js";


// In the order of the codes of types in the format.
const KINDS = [U8, U16, U32, Int8Array, Int16Array, I32, F32, F64];

/** How a sum becomes a sample of a type: rounded and clipped. */
function rounder(parts) {
  const [least, most] = limitsOf(parts);
  return (x) => within(parts.dtype[0] === "f" ? x : rint(x), least, most);
}

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
export function decodeFloats(parts, { rank, frame = 0 }) {
  const { width, height, channels, matrices, layout } = parts;
  const size = width * height * channels;
  const samples = arrayOf(parts, size), round = rounder(parts);
  if (layout === "stack") {
    const B = sum(matrices[0], frame, frame + 1, size, rank);
    each(size, (i) => (samples[i] = round(B[i])));
    return samples;
  }
  if (layout === "channels") {
    matrices.forEach((matrix, c) => {
      const B = sum(matrix, 0, height, width, rank);
      for (let i = 0, at = c; at < size; i++, at += channels) samples[at] = round(B[i]);
    });
    return samples;
  }
  const [rows, columns] = [ceil(height / SIDE), ceil(width / SIDE)];
  const planes = matrices.map((x) => patched(sum(x, 0, rows * columns, SIZE, rank), rows, columns));
  const R = axes(parts.turn);
  each(channels, (c) => {
    for (let y = 0, at = c; y < height; y++) {
      for (let x = 0, i = y * columns * SIDE; x < width; x++, i++, at += channels) {
        const turned = R && c < 3;
        samples[at] = round(
          turned
            ? planes[0][i] * R[c] + planes[1][i] * R[3 + c] + planes[2][i] * R[6 + c]
            : planes[c][i],
        );
      }
    }
  });
  return samples;
}
