// The filter along the edges of the picture, in the order of operations that
// stores/packed/coding/smoothing.py fixes.

import { table } from "./coding.js";
import { check } from "./errors.js";
import { toSamples } from "./lapped.js";
import { F32, F64, I32, U16, U8, abs, each, fround, make, max, min, within } from "./numbers.js";

const TAPS = [[0, 1], [0, 2], [1, -1], [1, 0], [1, 1], [2, 0]];
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
// Of each kind the first of its weights, and which of them each tap has.
const FORMS = [[0, "012021"], [3, "012324"], [8, "012031"], [12, "012324"], [17, "012031"]];

const bits = new I32(1), float = new F32(bits.buffer);
const FAINT = fround(0.045);
float[0] = FAINT;
const BASE = bits[0];

const tapOf = (dy, dx) => {
  const find = (a, b) => TAPS.findIndex(([y, x]) => y === a && x === b);
  const at = find(dy, dx);
  return at >= 0 ? at : find(-dy, -dx);
};

/** Weights of 12 x 9 classes by 6 taps, at a strength in eighths. */
function weightsOf(eighths) {
  const F = fround, strength = eighths / 8;
  const down = TAPS.map(([y, x]) => tapOf(x, y)), rising = TAPS.map(([y, x]) => tapOf(y, -x));
  const same = TAPS.map((_, i) => i);
  const kinds = [
    [0, same], [1, same], [1, down], [2, same], [2, rising],
    [3, same], [3, down], [4, same], [4, rising],
  ];
  const out = new F64(648);
  each(12, (level) => {
    kinds.forEach(([kind, turned], k) =>
      turned.forEach((tap, t) => {
        const [first, form] = FORMS[kind];
        out[(level * 9 + k) * 6 + t] = F((TABLE[level * 21 + first + +form[tap]] / 1024) * strength);
      }),
    );
  });
  return out;
}

function padded(plane, height, width, Kind) {
  const W = width + 2 * MARGIN, out = new Kind((height + 2 * MARGIN) * W);
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
 * Class of each sample of a row, times the number of taps, from sums of differences and their bits; without
 * branches, which no processor foresees.
 */
function classify(S, bitsOf, unit, n, out) {
  const f = fround, weak = f(1.6);
  for (let x = 0; x < out.length; x++) {
    float[0] = f(S[x] + S[x + n]) * unit;
    const level = max(min((bits[0] - BASE) >> 22, 11), 0);
    // Of two directions -1 where the second is the steeper; their places, the steeper first.
    const down = (bitsOf[x] - bitsOf[x + n]) >> 31, falling = (bitsOf[x + 2 * n] - bitsOf[x + 3 * n]) >> 31;
    const i = x + (n & down), j = 2 * x + n - i, p = x + 2 * n + (n & falling), q = 2 * x + 5 * n - p;
    const straight = -(f(S[i] * S[q]) > f(S[p] * S[j]));
    const high = S[p + (straight & (i - p))], low = S[q + (straight & (j - q))];
    const kind = 3 - falling + (straight & (falling - down - 2)) + ((high > f(3 * low)) << 2);
    out[x] = (level * 9 + (kind & -(high > f(weak * low)))) * 6;
  }
}

/** Add to a row of `plane` what the samples around it, in Q, tell of their errors. */
function correct(plane, to, Q, at, taps, weights, kinds, F) {
  for (let x = 0; x < kinds.length; x++, at++, to++) {
    const k = kinds[x], centre = Q[at];
    let sum = 0;
    for (let t = 0; t < 6; t++) {
      const o = taps[t];
      sum = F(sum + F(F(F(F(Q[at + o] - centre) + Q[at - o]) - centre) * weights[k + t]));
    }
    plane[to] = centre + sum;
  }
}

/** Filter a plane in place; F rounds to the type of its samples. */
export function smooth(plane, height, width, step, eighths, F) {
  if (!eighths) return;
  const weights = weightsOf(eighths), unit = fround(1 / (9 * step));
  const Q = padded(plane, height, width, F64);
  const P = plane instanceof F32 ? Q : padded(plane, height, width, F32);
  const W = width + 2 * MARGIN, n = width + 2;
  const taps = I32.from(TAPS, ([y, x]) => y * W + x), kinds = new I32(width);
  const ring = new F32(12 * n), sums = new F32(4 * n), sumBits = new I32(sums.buffer);
  const row = (y) => (y % 3) * 4 * n;
  for (let y = -2, at = MARGIN + 2 * W - 1; y < height; y++, at += W) {
    bend(P, at, W, ring, row(y + 2), n);
    if (y < 0) continue;
    summed(ring, row(y), row(y + 1), row(y + 2), sums);
    classify(sums, sumBits, unit, n, kinds);
    correct(plane, y * width, Q, at + 1 - W, taps, weights, kinds, F);
  }
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
