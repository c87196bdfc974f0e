// The lapped cosine transform of 16 x 16 patches, and the rotation of colours: arithmetic in
// the order that layouts/lapped.py fixes.

import { table } from "./coding.js";
import { F64, PI, ceil, each, floor, make, sqrt } from "./numbers.js";

export const SIDE = 16;
export const SIZE = 256;

// Upper triangle of the skew matrix of the filter, in units of 1/10000.
const SKEW = table(2, [
  4071, 13, 731, 24, 199, 13, 33, 4083, 31, 789, 36, 184, 16, 3216, 34, 560, 30, 74,
  2468, 32, 337, 24, 1750, 31, 131, 1080, 27, 455,
]);

// Half of (rotation - identity), turned over, by elimination.
const ROTATION = (() => {
  const skew = (i, j) =>
    i < j ? SKEW[(i * (15 - i)) / 2 + j - i - 1] / 10000 : i > j ? -skew(j, i) : 0;
  const one = (i, j) => (i === j ? 1 : 0);
  const rows = make(8, (i) =>
    make(16, (j) => (j < 8 ? one(i, j) - skew(i, j) : one(i, j - 8) + skew(i, j - 8))),
  );
  each(8, (i) => {
    const pivot = rows[i][i];
    rows[i] = rows[i].map((v) => v / pivot);
    rows.forEach((row, j) => {
      const factor = row[i];
      if (j !== i) rows[j] = row.map((v, k) => v - factor * rows[i][k]);
    });
  });
  return make(64, (k) => (rows[k & 7][8 + (k >> 3)] - one(k & 7, k >> 3)) / 2);
})();

/** Cosines and sines of 0 to 64 times a quarter turn halved so many times. */
export function turnsOf(times) {
  let c = 0, s = 1;
  each(times, () => {
    const half = sqrt((1 + c) / 2);
    [c, s] = [half, s / (2 * half)];
  });
  const wave = [[1, 0]];
  each(64, (i) => {
    const [x, y] = wave[i];
    wave.push([x * c - y * s, x * s + y * c]);
  });
  return wave;
}

/** The orthonormal DCT-II of 16 samples: one frequency a row. */
export const COSINES = (() => {
  const wave = turnsOf(4), scale = sqrt(2 / SIDE);
  return make(SIDE, (u) => make(SIDE, (j) => (u ? wave[((2 * j + 1) * u) % 64][0] * scale : 0.25)));
})();

// Undo the filter of the 8 samples before and after each of some places, `next` apart; samples are `step` apart.
function across(plane, at, end, next, step, w, F) {
  const gap = (j) => F(plane[at - (j + 1) * step] - plane[at + j * step]);
  for (; at < end; at += next) {
    const a = gap(0), b = gap(1), c = gap(2), d = gap(3), e = gap(4), f = gap(5), g = gap(6), h = gap(7);
    for (let i = 0, k = 0; i < 8; i++, k += 8) {
      let x = F(F(F(w[k] * a) + F(w[k + 1] * b)) + F(w[k + 2] * c));
      x = F(F(F(x + F(w[k + 3] * d)) + F(w[k + 4] * e)) + F(w[k + 5] * f));
      x = F(F(x + F(w[k + 6] * g)) + F(w[k + 7] * h));
      plane[at - (i + 1) * step] += x;
      plane[at + i * step] -= x;
    }
  }
}

// Waves of 16 samples that are no cosines: of blocks of four and their means, and steps.
function other(transform, place, j) {
  let block = 16, k = place;
  if (transform < 3) {
    const four = (k, j) => waves(4)[4 * k][j];
    return place < 4 ? four(place, j >> 2) / 2 : j >> 2 === place % 4 ? four(place >> 2, j & 3) : 0;
  }
  for (; k > 1; k >>= 1) block /= 2;
  if (!place) return 0.25;
  const x = j - place * block + 16;
  return x < 0 || x >= block ? 0 : (x < block / 2 ? 1 : -1) / sqrt(block);
}

const found = [];
/**
 * Waves of so many of 16 samples: a frequency has the place of one about as fine, others are 0. Less
 * than 16 have cosines, whatever the transform.
 */
export const waves = (count, transform = 0) =>
  count > 15 && transform < 2
    ? COSINES
    : (found[4 * count + transform] ??= make(SIDE, (place) => {
        const k = ceil((place * count) / SIDE), size = sqrt((k ? 2 : 1) / count);
        return make(SIDE, (j) => {
          if (count > 15) return other(transform, place, j);
          const x = ((((2 * j + 1) * k) % (4 * count)) * PI) / (2 * count);
          let c = 1;
          for (let i = 48; i; i -= 2) c = 1 - (x * x * c) / (i * (i - 1));
          return j < count && floor((k * SIDE) / count) === place ? size * c : 0;
        });
      }));

/** Undo the filter across the boundaries of a plane of patches, in place; of the last ones with 8 samples behind. */
export function unlap(plane, height, width, F, rest = [8, 8]) {
  const w = F64.from(ROTATION, F);
  for (let y = 0; y < height; y++) {
    across(plane, y * width + SIDE, (y + 1) * width - SIDE * (rest[1] < 8), SIDE, 1, w, F);
  }
  for (let y = SIDE; y < height - SIDE * (rest[0] < 8); y += SIDE) across(plane, y * width, (y + 1) * width, 1, width, w, F);
}

/** The 3 x 3 rotation of colours of three small integers, row after row. */
function axes(turn) {
  const w = 127, [a, b, c] = turn, n = w * w + a * a + b * b + c * c;
  return [
    n - 2 * (b * b + c * c), 2 * (a * b - w * c), 2 * (a * c + w * b),
    2 * (a * b + w * c), n - 2 * (a * a + c * c), 2 * (b * c - w * a),
    2 * (a * c - w * b), 2 * (b * c + w * a), n - 2 * (a * a + b * b),
  ].map((x) => x / n);
}

/** What of a plane of whole patches is the picture. */
export function cropped(plane, pitch, width, height) {
  if (plane.length === width * height) return plane;
  const out = new plane.constructor(width * height);
  each(height, (y) => out.set(plane.subarray(y * pitch, y * pitch + width), y * width));
  return out;
}

/** Rotate back the first three planes, round, half up or as `whole` does, and clip: samples, pixel by pixel. */
export function toSamples(planes, turn, [low, high], F, out, whole = (x) => floor(F(x + 0.5))) {
  const count = planes.length, [p, q, r] = planes;
  const put = (at, value) => {
    const x = whole(value);
    out[at] = x > low ? (x < high ? x : high) : low;
  };
  if (turn) {
    const R = axes(turn).map(F);
    for (let i = 0, at = 0; i < p.length; i++, at += count) {
      const x = p[i], y = q[i], z = r[i];
      for (let c = 0; c < 3; c++) put(at + c, F(F(F(x * R[c]) + F(y * R[3 + c])) + F(z * R[6 + c])));
    }
  }
  for (let c = turn ? 3 : 0; c < count; c++) {
    const plane = planes[c];
    for (let i = 0, at = c; i < plane.length; i++, at += count) put(at, plane[i]);
  }
}
