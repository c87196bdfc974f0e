// The 9/7 wavelet of a small map, in the order of operations that the format fixes.
// F rounds to the type of the samples: fround, or nothing.

import { F64, floor, make } from "./numbers.js";

const STEPS = [-1.586134342059924, -0.052980118572961, 0.882911075530934, 0.443506852043971];
const SCALE = 1.230174104914001 / 1.4142135623730951;

/** Join halves that stand in turn, in place: `lines` of n places `step` apart, which begin `stride` apart. */
function lift(grid, n, step, lines, stride, F) {
  const scale = F(SCALE), end = step * n;
  for (let line = 0, from = 0; line < lines; line++, from += stride) {
    for (let at = 0, i = from; at < n; at++, i += step) grid[i] = F(at & 1 ? grid[i] / scale : grid[i] * scale);
    for (let s = 3; s >= 0; s--) {
      const weight = -F(STEPS[s]);
      for (let at = s & 1 ? 0 : step; at < end; at += 2 * step) {
        const i = from + at, beside = F(grid[at ? i - step : i + step] + grid[at + step < end ? i + step : i - step]);
        grid[i] = F(grid[i] + F(weight * beside));
      }
    }
  }
}

/** The vector whose split the two halves are. */
export function join(low, high, F) {
  const n = low.length + high.length, out = make(n, (i) => (i & 1 ? high : low)[i >> 1]);
  lift(out, n, 1, 1, 0, F);
  return out;
}

const SMALLEST = 2;

/** Shape of the coarsest map, and the bands of each level, coarsest first. */
export function bandShapes(height, width) {
  const levels = [];
  let [h, w] = [height, width];
  while (h > SMALLEST || w > SMALLEST) {
    const down = h > SMALLEST, across = w > SMALLEST;
    const lh = down ? (h + 1) >> 1 : h, lw = across ? (w + 1) >> 1 : w;
    const bands = {};
    if (across) bands.across = [lh, w - lw];
    if (down) bands.down = [h - lh, lw];
    if (across && down) bands.both = [h - lh, w - lw];
    levels.unshift(bands);
    [h, w] = [lh, lw];
  }
  return { low: [h, w], levels };
}

/** The map of a coarsest map and its bands: each {tall, wide, grid}, row after row. */
export function inverse(low, levels, F) {
  for (const { across, down, both } of levels) {
    const tall = low.tall + (down ? down.tall : 0), wide = low.wide + (across ? across.wide : 0);
    const grid = new F64(tall * wide), parts = [low, across, down, both];
    const top = down ? 1 : 0, left = across ? 1 : 0;
    for (let at = 0, y = 0; y < tall; y++) {
      for (let x = 0; x < wide; x++, at++) {
        const part = parts[2 * (y & top) + (x & left)];
        grid[at] = part.grid[(y >> top) * part.wide + (x >> left)];
      }
    }
    if (down) lift(grid, tall, wide, wide, 1, F);
    if (across) lift(grid, wide, 1, tall, wide, F);
    low = { tall, wide, grid };
  }
  return low;
}
