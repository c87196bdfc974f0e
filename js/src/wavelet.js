// The 9/7 wavelet of a small map, in the order of operations that the format fixes.
// F rounds to the type of the samples: fround, or nothing.

import { floor, make, max, min, each } from "./numbers.js";

const STEPS = [-1.586134342059924, -0.052980118572961, 0.882911075530934, 0.443506852043971];
const SCALE = 1.230174104914001 / 1.4142135623730951;

/**
 * The vector whose split the two halves are: `low` and `high` start at an offset and have
 * places `step` apart, as the result has in `out`.
 */
export function join(low, high, F) {
  const [p, q] = [low.length, high.length];
  const scale = F(SCALE);
  const a = low.map((x) => F(x * scale)), b = high.map((x) => F(x / scale));
  for (let s = 3; s >= 0; s--) {
    const weight = -F(STEPS[s]);
    if (s % 2 === 0) {
      each(q, (i) => {
        b[i] = F(b[i] + F(weight * F(a[i] + a[min(i + 1, p - 1)])));
      });
    } else {
      each(p, (i) => {
        a[i] = F(a[i] + F(weight * F(b[max(i - 1, 0)] + b[min(i, q - 1)])));
      });
    }
  }
  const out = new Array(p + q);
  each(p, (i) => (out[2 * i] = a[i]));
  each(q, (i) => (out[2 * i + 1] = b[i]));
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

// Maps are {tall, wide, grid}, row after row.
const column = ({ tall, wide, grid }, x) =>
  make(tall, (y) => grid[y * wide + x]);

function turned({ tall, wide, grid }) {
  const from = (i) => grid[(i % tall) * wide + floor(i / tall)];
  return { tall: wide, wide: tall, grid: make(tall * wide, from) };
}

function joinDown(low, high, F) {
  const { wide } = low, tall = low.tall + high.tall;
  const grid = new Array(tall * wide);
  each(wide, (x) => {
    join(column(low, x), column(high, x), F).forEach((v, y) => (grid[y * wide + x] = v));
  });
  return { tall, wide, grid };
}

/** The map of a coarsest map and its bands. */
export function inverse(low, levels, F) {
  for (const { across, down, both } of levels) {
    let high = across;
    if (down) {
      low = joinDown(low, down, F);
      if (high) high = joinDown(high, both, F);
    }
    if (high) low = turned(joinDown(turned(low), turned(high), F));
  }
  return low;
}
