// The filter along the edges of the picture, in the order of operations that
// stores/packed/coding/smoothing.py fixes.

import { table } from "./coding.js";
import { check } from "./errors.js";
import { toSamples } from "./lapped.js";
import { F32, F64, I32, U16, U8, abs, bits, each, float, floor, fround, make, max, min, within } from "./numbers.js";

// Down and across.
const TAPS = table(2, [0, 1, 0, 2, 1, -1, 1, 0, 1, 1, 2, 0, 1, 2, 2, 1, 1, -2, 2, -1]);
const MARGIN = 3;

// Weights in 1/1024: a row of 5 kinds of direction (none, across, falling, strongly across,
// strongly falling) for each activity; taps that are alike have one weight.
const TABLE = table(21, [
  -92, 291, 74, -144, 174, 132, -115, 351, -40, 235, -81, 310, -128, 56, 178, -167, 502, 65, 86, -83, 504,
  -17, 116, 123, -16, 47, 140, -83, 202, 59, 67, -2, 313, 43, -32, 133, -137, 387, 118, -21, -14, 533,
  8, 75, 120, -6, 9, 145, -30, 141, 81, 34, 3, 274, 54, -50, 114, -93, 325, 192, -33, -77, 444,
  47, 41, 102, 36, -10, 114, 7, 110, 115, 6, 10, 233, 87, -61, 79, -28, 265, 214, -37, -101, 373,
  69, 21, 88, 55, -29, 96, 57, 79, 152, -8, -12, 181, 63, -64, 74, 3, 203, 187, -23, -118, 280,
  111, 5, 57, 79, -40, 70, 93, 57, 165, -17, -25, 140, 55, -56, 47, 65, 154, 94, -17, -78, 279,
  139, -11, 34, 101, -46, 42, 136, 38, 160, -25, -25, 113, 36, -33, 18, 120, 113, 18, -8, -53, 294,
  141, -20, 21, 93, -42, 23, 169, 13, 136, -25, -24, 95, 19, -14, -3, 176, 72, -24, 2, -39, 256,
  137, -27, 9, 81, -34, 8, 177, -6, 110, -25, -21, 82, -11, -6, 2, 185, 36, -46, 14, -41, 235,
  110, -27, 3, 51, -21, 3, 160, -21, 78, -19, -20, 66, -30, -3, 11, 180, 6, -43, 20, -46, 196,
  73, -20, -1, 24, -10, 0, 131, -27, 48, -13, -18, 51, -33, -1, 12, 173, -11, -34, 16, -37, 166,
  3, -2, 0, -3, -1, 1, 18, -7, 1, -1, -3, 9, -12, -1, 5, 66, -14, -9, 5, -12, 42,
]);
// Newer files have two tables, of luma and of chroma told by its classes: their weights are those of the
// six taps in 1/256, then those of what is cut, of ten, in 1/64.
const LUMA = table(51, [
  148, 0, 0, -28, 0, -26, 15, 200, 0, -45, 199, 22, -14, 0, -26, -40, -1, 9, 22, 200, 0, 0, 0, 0, 0, -26, -40, 15, 7, 206, 0, -45, 0, 47, -5, -26, -27, 0, 16, 20, 18, 200, 0, 0, 71, -47, 3, -41, -26, 11, 15,
  148, 0, -23, -28, 0, -6, 9, 200, -23, -45, 199, 22, -14, 0, -12, -40, -1, 9, 11, 200, -18, -65, 36, -26, 0, 5, -40, 15, 7, 84, -37, -14, 200, 47, -5, 0, -9, -88, 16, 8, 11, 200, 0, -56, 71, -47, 3, 6, -26, 11, 4,
  148, -15, -23, -28, 3, -6, 9, 87, -23, -16, 199, -15, -5, 0, -12, -40, 8, 9, 11, 200, -18, -65, 36, -26, 0, 5, -16, 8, 7, 84, -37, -14, 200, 47, -5, 0, -9, -88, 16, 8, 11, 70, -28, -56, 71, 3, 3, 6, -27, 12, 4,
  106, -15, -23, -13, 3, -2, 7, 87, -23, -16, 199, -15, -5, 0, -6, -40, 8, 9, 7, 78, -18, -39, 54, -9, 5, 6, -16, 8, 4, 84, -25, -31, 200, -5, 2, 2, -9, -88, 28, 5, 12, 70, -28, -56, 71, 3, 3, 6, -27, 12, 4,
  36, -13, -3, -1, 5, -2, 5, 39, -23, -7, 47, -15, 1, 3, -3, -5, 8, 6, 7, 78, -18, -39, 54, -9, 5, 6, -16, 8, 4, 84, -25, -31, 88, -5, 2, 2, -6, -18, 14, 5, 9, -5, -10, -26, 44, 6, 3, 5, -3, 8, 2,
  36, -13, -3, -1, 5, 1, 4, 39, -16, -7, 47, -7, 1, 5, 0, -5, 8, 3, 4, 42, -15, -21, 11, 0, 6, 4, -1, 6, 2, 47, -17, -20, 88, -5, 3, 2, -3, -18, 14, 3, 8, -5, -10, -26, 44, 7, 3, 5, -3, 8, 2,
  36, -13, -3, 1, 6, 1, 3, 39, -16, -8, 42, -7, 1, 5, 1, 1, 7, 2, 4, 42, -15, -21, 11, 0, 6, 4, -1, 6, 2, 47, -14, -20, 71, -8, 4, 2, -2, -4, 13, 2, 6, -16, -5, -26, 40, 7, 3, 5, 3, 8, 2,
  36, -13, -5, 1, 6, 2, 3, 33, -16, -8, 42, -7, 2, 5, 2, 1, 7, 2, 4, 27, -12, -13, 11, 3, 6, 4, 2, 4, 1, 40, -8, -20, 71, -9, 4, 1, 0, -4, 13, 1, 5, -16, -5, -8, 40, 7, 3, 5, 3, 7, 0,
  35, -13, -5, 1, 6, 4, 2, 26, -13, -8, 42, -12, 3, 4, 4, 2, 8, 2, 3, 27, -12, -13, 11, 4, 6, 4, 2, 4, 1, 27, -3, -20, 65, -9, 4, 1, 1, -1, 13, 1, 5, -16, -2, -8, 40, 7, 3, 4, 6, 6, 0,
  28, -13, -5, 4, 6, 4, 2, 23, -10, -9, 42, -12, 4, 4, 4, 2, 8, 1, 3, 20, -9, -8, 6, 5, 4, 3, 5, 3, 1, 13, -2, -11, 65, -14, 4, 0, 1, 0, 13, 1, 4, -10, -1, -7, 30, 8, 3, 4, 6, 5, -1,
  21, -8, -5, 4, 5, 3, 1, 11, -3, -6, 32, -12, 4, 1, 4, 5, 8, 0, 2, 14, -6, -8, 6, 6, 3, 3, 5, 2, 1, 4, 0, -6, 65, -14, 4, 0, 1, 0, 13, 0, 3, -7, 0, -7, 30, 8, 2, 4, 6, 5, -1,
  1, -1, -1, 5, 2, 3, 0, 1, 0, -1, 2, -2, 2, 0, 2, 10, 3, 0, 1, 0, 0, -1, -1, 6, 0, 0, 6, 1, 0, 1, 0, -1, 10, -5, 1, 0, 0, 13, 8, 0, 2, -1, 0, -1, 2, 5, -1, 1, 13, 5, -1,
]);
const CHROMA = table(51, [
  200, -76, 0, -15, -11, -31, 25, 200, 0, -137, 147, 0, 0, -31, -29, 0, 0, 33, 20, 200, -51, -168, 0, 0, -29, -30, -83, 47, 31, 200, 0, -140, 0, 0, 59, -61, -76, 0, 0, 42, 47, 0, -92, 0, 0, 80, -5, -13, -132, 51, 0,
  200, -76, 0, -15, -11, -31, 25, 200, 0, -137, 147, -55, 0, -31, -29, 0, 4, 32, 20, 200, -51, -168, 0, 5, -9, -30, -26, 22, 21, 200, 0, -140, 0, -52, 14, -34, -41, 0, 12, 27, 33, 200, -92, 0, 0, -18, -5, -13, -37, 32, 8,
  200, -54, -83, -4, 0, -17, 16, 200, 0, -137, 147, -55, 0, -18, -29, 13, 4, 25, 20, 200, -51, -168, 0, 5, -9, -30, -26, 22, 21, 200, 0, -140, 200, -52, 14, -34, -41, -30, 12, 27, 33, 200, -92, 0, 0, -18, -5, -13, -37, 32, 8,
  200, -54, -83, -4, 0, -17, 16, 200, -42, -91, 147, -55, 3, -3, -26, 13, 4, 14, 20, 200, -51, -96, 0, -7, -9, 0, -26, 22, 11, 200, 0, -140, 200, -52, 7, -34, -17, -30, 12, 21, 25, 200, -35, 0, -126, -18, -5, -13, -37, 32, 1,
  200, -54, -55, -4, 3, -14, 12, 200, -42, -91, 147, -29, 3, -3, -11, -2, 7, 11, 13, 200, -45, -96, -65, -7, 2, 0, -8, 15, 6, 200, 0, -140, 200, -47, 7, -13, -17, -30, 13, 10, 25, 200, -35, -45, -126, -18, -5, 2, -37, 32, 1,
  200, -54, -55, -4, 5, -8, 9, 200, -42, -91, 147, -29, 3, -3, -11, -2, 7, 11, 13, 200, -45, -96, -65, -7, 2, 0, -8, 15, 6, 200, -31, -115, 200, -47, 7, -4, -14, -10, 13, 7, 19, 82, -35, -45, 30, -7, 1, 2, -1, 13, 1,
  118, -33, -43, 2, 5, -5, 7, 152, -42, -51, 147, -29, 3, 3, -5, -2, 9, 5, 8, 104, -30, -43, -5, -6, 3, 2, -8, 12, 3, 200, -31, -115, 200, -32, 7, -1, -11, -10, 13, 4, 18, 82, -35, -26, 30, -7, 1, 2, -1, 13, 0,
  87, -33, -12, 2, 5, -5, 6, 97, -36, -27, 116, -29, 3, 3, -5, -2, 9, 5, 7, 104, -30, -43, -5, -6, 3, 2, -2, 11, 2, 145, -31, -60, 200, -32, 7, 2, -11, -9, 14, 2, 12, -4, -4, -26, 51, -7, 1, 6, -1, 13, -3,
  74, -28, -12, 2, 7, -2, 4, 70, -23, -27, 116, -21, 3, 3, -1, -2, 8, 3, 5, 58, -23, -18, 10, 1, 3, 2, -2, 8, 1, 114, -17, -60, 200, -27, 6, 2, -6, -9, 14, 0, 10, -4, -4, -26, 51, 0, 0, 6, -1, 12, -3,
  60, -22, -13, 4, 6, 0, 3, 41, -16, -15, 74, -21, 5, 3, -1, 4, 8, 1, 5, 43, -17, -18, 10, 4, 3, 1, 1, 7, 0, 67, -10, -40, 114, -27, 6, 2, -5, 1, 14, -1, 9, 6, -4, -26, 44, 0, 0, 6, -1, 12, -3,
  47, -16, -13, 4, 5, 1, 2, 28, -9, -15, 74, -21, 5, 2, 1, 4, 7, 0, 4, 28, -17, -8, 10, 5, 3, 0, 4, 5, 0, 25, -3, -19, 114, -27, 6, 4, -5, 1, 14, -3, 7, 6, -4, -14, 44, 0, 0, 6, 4, 9, -3,
  -1, -4, -1, 4, 2, 2, 1, -3, 0, -2, 17, -11, 1, 0, 1, 8, 4, 0, 2, -3, -3, -2, 4, 5, 0, -3, 7, 3, 0, -1, 1, -4, 42, -20, 0, 1, -2, 8, 12, -1, 4, -14, 0, 0, 18, 3, -2, -1, 11, 7, -2,
]);
// Which weight each tap has: of no direction, across, down, falling and rising. Where those of the kinds start in a row.
const FORMS = table(16, [
  0, 1, 2, 0, 2, 1, 3, 4, 5, 3, 5, 4, 6, 6, 6, 6,
  0, 1, 2, 3, 2, 4, 5, 6, 7, 8, 7, 9, 10, 11, 10, 11,
  3, 4, 2, 0, 2, 1, 8, 9, 7, 5, 7, 6, 11, 10, 11, 10,
  0, 1, 2, 0, 3, 1, 4, 5, 6, 4, 7, 5, 8, 8, 9, 9,
  0, 1, 3, 0, 2, 1, 4, 5, 7, 4, 6, 5, 9, 9, 8, 8,
]);
const STARTS = table(6, [0, 3, 8, 12, 17, 21, 0, 7, 19, 29, 41, 51]);

const BASE = 1027101164; // the bits of 0.045, the least that is not flat

/** Weights of 12 x 9 classes, by where the table's starts stand: of six taps, or of these and ten that are cut, at strengths. */
function weightsOf(list, first, plain, cut) {
  const count = first ? 16 : 6;
  return make(108 * count, (i) => {
    const level = floor(i / count / 9), k = floor(i / count) % 9, t = i % count;
    const at = level * STARTS[first + 5] + STARTS[first + ((k + 1) >> 1)] + FORMS[16 * (k && ((k - 1) & 3) + 1) + t];
    return (list[at] / 8192) * (t < 6 ? plain : cut);
  }, F64);
}

function padded(plane, height, width, Kind, out = new Kind((height + 2 * MARGIN) * (width + 2 * MARGIN))) {
  const W = width + 2 * MARGIN;
  for (let y = 0, at = 0; y < height + 2 * MARGIN; y++, at += W) {
    const row = within(y - MARGIN, 0, height - 1) * width;
    out.set(plane.subarray(row, row + width), at + MARGIN);
    out.fill(plane[row], at, at + MARGIN).fill(plane[row + width - 1], at + W - MARGIN, at + W);
  }
  return out;
}

// What is done to a row is a function of its own: it is compiled after few of them.

/** Second differences from each sample of a row to those across, below, and on the two diagonals. */
function bend(P, at, W, out, to, n) {
  const f = fround;
  for (let i = 0; i < n; i++, at++, to++) {
    const x = 2 * P[at];
    out[to] = abs(f(x - P[at + 1]) - P[at - 1]);
    out[to + n] = abs(f(x - P[at + W]) - P[at - W]);
    out[to + 2 * n] = abs(f(x - P[at + W - 1]) - P[at - W + 1]);
    out[to + 3 * n] = abs(f(x - P[at + W + 1]) - P[at - W - 1]);
  }
}

/** Sums of three rows, and then of three columns. */
function summed(R, a, b, c, out) {
  const f = fround, n = out.length;
  for (let i = 0, p = 0, q = 0; i < n; i++) {
    const s = f(f(R[a + i] + R[b + i]) + R[c + i]);
    if (i > 1) out[i - 2] = f(p + q) + s;
    p = q;
    q = s;
  }
}

/**
 * Class of each sample of a row, from sums of differences and their bits; without branches, which no
 * processor foresees.
 */
function classify(S, bitsOf, unit, n, out, to) {
  const f = fround, weak = f(1.6);
  for (let x = 0; x < n - 2; x++) {
    float[0] = f(S[x] + S[x + n]) * unit;
    const level = max(min((bits[0] - BASE) >> 22, 11), 0);
    // Of two directions -1 where the second is the steeper; their places, the steeper first.
    const down = (bitsOf[x] - bitsOf[x + n]) >> 31, falling = (bitsOf[x + 2 * n] - bitsOf[x + 3 * n]) >> 31;
    const i = x + (n & down), j = 2 * x + n - i, p = x + 2 * n + (n & falling), q = 2 * x + 5 * n - p;
    const straight = -(f(S[i] * S[q]) > f(S[p] * S[j]));
    const high = S[p + (straight & (i - p))], low = S[q + (straight & (j - q))];
    const kind = 3 - falling + (straight & (falling - down - 2)) + ((high > f(3 * low)) << 2);
    out[to + x] = level * 9 + (kind & -(high > f(weak * low)));
  }
}

/** Add to a row of `plane` what the samples around it, in Q, tell of their errors. */
function correct(plane, to, end, Q, at, taps, weights, kinds, F) {
  for (; to < end; to++, at++) {
    const centre = Q[at], k = 6 * kinds[to];
    let sum = 0;
    for (let t = 0; t < 6; t++) {
      const o = taps[t];
      sum = F(sum + F(F(F(F(Q[at + o] - centre) + Q[at - o]) - centre) * weights[k + t]));
    }
    plane[to] = centre + sum;
  }
}

// Without branches, as above: the sample itself, and the two ends.
const ends = new F64(3);
function cut(x, most) {
  ends[0] = x;
  return ends[(x > most) | ((x < -most) << 1)];
}

/**
 * The same of newer files, of differences and of what is left of them within `most`: of two samples at
 * once, as each of their sums waits for itself. Of an odd row the last one takes one of the next row along,
 * that is written again, or is none.
 */
function correctCut(plane, to, end, Q, at, taps, weights, kinds, F, most) {
  ends.set([0, most, -most]);
  for (; to < end; to += 2, at += 2) {
    const x = Q[at], y = Q[at + 1], k = 16 * kinds[to], l = 16 * kinds[to + 1];
    let p = 0, q = 0;
    for (let t = 0; t < 10; t++) {
      const o = taps[t], a = F(Q[at + o] - x), b = F(x - Q[at - o]), c = F(Q[at + o + 1] - y), d = F(y - Q[at - o + 1]);
      if (t < 6) {
        p = F(p + F(F(a - b) * weights[k + t]));
        q = F(q + F(F(c - d) * weights[l + t]));
      }
      p = F(p + F(F(cut(a, most) - cut(b, most)) * weights[k + t + 6]));
      q = F(q + F(F(cut(c, most) - cut(d, most)) * weights[l + t + 6]));
    }
    plane[to] = x + p;
    plane[to + 1] = y + q;
  }
}

/** Class of each sample of a plane. */
function classesOf(P, height, width, step) {
  const unit = fround(1 / (9 * step)), W = width + 2 * MARGIN, n = width + 2, out = new U8(height * width);
  const ring = new F32(12 * n), sums = new F32(4 * n), sumBits = new I32(sums.buffer);
  const row = (y) => (y % 3) * 4 * n;
  for (let y = -2, at = MARGIN + 2 * W - 1; y < height; y++, at += W) {
    bend(P, at, W, ring, row(y + 2), n);
    if (y < 0) continue;
    summed(ring, row(y), row(y + 1), row(y + 2), sums);
    classify(sums, sumBits, unit, n, out, y * width);
  }
  return out;
}

/** Filter the planes of a picture: chroma of newer files has the classes of luma. */
export function filtered(planes, { width, height }, { strengths, version, turn, alpha, step, gains }, F) {
  if (!strengths.some(Boolean)) return;
  const newer = version > 1, W = width + 2 * MARGIN;
  const taps = make(newer ? 10 : 6, (t) => TAPS[2 * t] * W + TAPS[2 * t + 1], I32);
  let luma, Q;
  planes.forEach((plane, c) => {
    const told = newer && turn && c && c < 3, strength = strengths[c];
    const own = step / (version >= 0 && alpha && c === planes.length - 1 ? 2 : 1) / (newer && gains ? 2 : 1);
    Q = padded(plane, height, width, F64, Q);
    const kinds = told ? luma
      : classesOf(plane instanceof F32 ? Q : padded(plane, height, width, F32), height, width, own);
    luma ??= kinds;
    if (!strength) return;
    const weights = newer
      ? weightsOf(told ? CHROMA : LUMA, 6, (strength >> 4) * 4, (strength & 15) * 16) : weightsOf(TABLE, 0, strength);
    each(height, (y) => {
      const to = y * width;
      (newer ? correctCut : correct)(
        plane, to, to + width, Q, (y + MARGIN) * W + MARGIN, taps, weights, kinds, F, own / 4,
      );
    });
  });
}

/** Samples of the planes of a picture: colours turned back, alpha given the nearer of its two values. */
export function pictured({ width, height, channels, bits }, { turn, levels }, planes, F) {
  const peak = 2 ** bits - 1;
  const samples = new (bits > 8 ? U16 : U8)(height * width * channels);
  toSamples(planes, turn, [0, peak], F, samples);
  if (!levels) return samples;
  const [low, high] = levels;
  check(low <= peak && high <= peak, "alpha");
  return samples.map((x, i) => ((i + 1) % channels ? x : 2 * x > low + high ? high : low));
}
