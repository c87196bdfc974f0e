// The packed layout `patches`, written from stores/packed/patches/codec.py's specification:
// header, walk over the components, synthesis.

import { check } from "./errors.js";
import {
  F32, F64, I32, U16, U8, abs, assign, ceil, floor, fround, imul, make, max, min, rint, sqrt, table,
} from "./numbers.js";
import {
  bitReader, Cut, RansReader, TokenModel, checkRanks, limited, outOfRange, readLanes, readStart, readStrengths,
  streamEnds, toLevels,
} from "./coding.js";
import { COSINES, SIDE, SIZE, toSamples, unlap } from "./lapped.js";
import { smooth } from "./smoothing.js";
import { bandShapes, inverse } from "./wavelet.js";

const CAP = 200;
const UNIT = 1024;
const PAD = 32;
// Of a plane: its phase, and the planes of its horizontal and of its vertical neighbours.
const phaseOf = (plane) => min(plane, 2);
const besideOf = (plane) => plane ^ 2;
const aboveOf = (plane) => plane ^ 3;
const CORNERS = [[0, 0], [1, 1], [0, 1], [1, 0]];
const LIMIT = 2047;

// -- the order of components, and what predicts their sizes ------------------------------

const LOG = make(16, (a) => Math.round(256 * Math.log2(a + 1)));
// By phase and class, as stores/packed/patches/order.py has them: 3 x 6 x 15.
const WEIGHTS = table([
  730, 714, 310, 178, 134, 2490, 222, 228, 232, 261, 0, 0, 0, 0, 0,
  987, 711, 233, 265, 104, 1902, 119, 124, 357, 319, 0, 0, 0, 0, 0,
  1337, 840, 416, 438, 687, 270, 6, 134, 296, 424, 0, 0, 0, 0, 0,
  976, 816, 380, 102, 49, 0, 50, 0, 193, 194, 22, 696, 0, 0, 0,
  1082, 573, 0, 26, 22, 0, 0, 0, 294, 231, 73, 663, 0, 0, 0,
  1158, 292, 114, 79, 29, 0, 0, 0, 206, 314, 60, 494, 0, 0, 0,
  884, 899, 506, 431, 509, 1085, 177, 92, 211, 218, 0, 0, 254, 0, 0,
  1015, 753, 301, 284, 67, 1583, 97, 10, 428, 215, 0, 0, 240, 0, 0,
  1183, 797, 377, 333, 362, 881, 0, 15, 224, 375, 0, 0, 266, 0, 0,
  905, 607, 310, 200, 17, 28, 0, 0, 115, 157, 36, 428, 353, 0, 0,
  1190, 548, 48, 25, 111, 0, 0, 0, 278, 0, 64, 273, 494, 0, 0,
  1253, 298, 108, 35, 85, 0, 0, 0, 0, 338, 60, 361, 200, 0, 0,
  648, 818, 365, 371, 146, 1880, 67, 69, 184, 142, 0, 0, 0, 445, 411,
  884, 704, 285, 222, 288, 946, 0, 20, 165, 144, 0, 0, 0, 924, 453,
  1167, 763, 350, 335, 539, 166, 0, 0, 158, 202, 0, 0, 0, 421, 782,
  918, 702, 191, 155, 0, 35, 0, 0, 26, 23, 22, 582, 0, 603, 671,
  800, 267, 24, 26, 61, 0, 0, 0, 3, 6, 34, 202, 0, 2015, 496,
  749, 184, 48, 22, 62, 0, 0, 0, 38, 0, 46, 365, 0, 297, 1724,
]);

const v = (index) => index >> 4;
const u = (index) => index & 15;

function distance(a, b) {
  const octaves = (LOG[v(a)] - LOG[v(b)]) ** 2 + (LOG[u(a)] - LOG[u(b)]) ** 2;
  const steps = (v(a) - v(b)) ** 2 + (u(a) - u(b)) ** 2;
  return floor(sqrt(octaves)) + floor(sqrt(4096 * steps));
}

const every = make(SIZE, (i) => i);
const nearest = [];
/** 256 distance + index of all frequencies, ascending. */
const near = (index) =>
  (nearest[index] ??= I32.from(every, (i) => SIZE * distance(index, i) + i).sort());

const diagonal = every.slice(1).sort((a, b) => v(a) + u(a) - v(b) - u(b) || a - b);

/** Kept components but the first of each channel, in descending scale. */
function orderOf(scales) {
  const plan = [];
  scales.forEach((scale, channel) => {
    for (let index = 1; index < SIZE; index++) if (scale[index]) plan.push({ channel, index });
  });
  const size = (x) => scales[x.channel][x.index];
  return plan.sort((a, b) => size(b) - size(a) || a.channel - b.channel || a.index - b.index);
}

/** Components coded together. */
function batchesOf(plan, patches) {
  const size = min(max(1, floor(3072 / patches)), 16);
  const apart = (a, b) =>
    a.channel === b.channel ? distance(a.index, b.index) >= 300 : a.index !== b.index;
  let left = plan;
  const result = [];
  while (left.length) {
    const batch = [left[0]];
    for (const other of left.slice(1, 6 * size)) {
      if (batch.length === size) break;
      if (batch.every((one) => apart(other, one))) batch.push(other);
    }
    left = left.filter((one) => !batch.includes(one));
    result.push(batch);
  }
  return result;
}

/** Chooses, for each component in turn, the maps that predict it. */
class Predictors {
  constructor(channels) {
    this.rows = make(channels, () => new I32(SIZE).fill(-1));
    this.rows.forEach((rows, c) => (rows[0] = c));
    this.next = channels;
  }

  weights({ channel, index }, colour) {
    const coded = this.rows[channel];
    const rows = [], share = [];
    for (const key of near(index)) {
      const found = coded[key & 255];
      if (found < 0) continue;
      rows.push(found);
      share.push(floor(1048576 / (77 + (key >> 8))));
      if (rows.length === 8) break;
    }
    const total = share.reduce((a, b) => a + b, 0), count = rows.length;
    const others = [];
    for (let other = 0; colour && other < min(channel, 2); other++) {
      if (this.rows[other][index] < 0) continue;
      rows.push(this.rows[other][index]);
      others.push(10 + other);
    }
    const lean = LOG[u(index)] - LOG[v(index)];
    const kind = (channel ? 3 : 0) + (lean > 154 ? 2 : lean < -154 ? 1 : 0);
    const of = (phase) => WEIGHTS.slice(90 * phase + 15 * kind).slice(0, 15);
    const phases = make(3, (phase) => {
      const w = of(phase);
      const part = (i) => share.map((x) => floor((w[i] * x) / total));
      const here = part(5).map((x, i) => x + (i < 4 ? w[i] : floor(w[4] / (count - 4))));
      const [beside, above] = [part(6), part(7)];
      beside[0] += w[8];
      above[0] += w[9];
      const none = others.map(() => 0);
      return [[...here, ...others.map((i) => w[i])], [...beside, ...none], [...above, ...none]];
    });
    const planes = make(4, (p) =>
      [p, besideOf(p), aboveOf(p)].map(phaseOf).map((phase, kind) =>
        phases[phase][kind].map((x) => floor(x / 8 + 0.5)),
      ),
    );
    const own = [of(1)[12], of(2)[13], of(2)[14]];
    return { rows, planes, own: own.map((w) => floor((w * UNIT + 4096) / 8192)) };
  }

  add({ channel, index }) {
    this.rows[channel][index] = this.next++;
  }
}

// -- signed prediction --------------------------------------------------------------------

// Of each frequency (v, u) >= u: beside, above, lower u, lower v, means; in 1/256.
const PREDICTED = table([
  1, 0, 56, 0, 0, 0, 32, 1, 1, 0, 0, 25, 25, 0, 2, 0, 64, 26, 0, -18, 0, 2, 1, 0, 26, 19, -16, 0,
  2, 2, 32, 18, -16, -16, 0, 3, 0, 64, 0, 0, 4, 0, 3, 1, 0, 0, 20, 16, 0, 4, 0, 60, 14, 0, -12, 0,
  4, 1, 0, 20, 18, -12, 0, 5, 0, 62, 0, 0, 10, 0, 6, 0, 70, 18, 0, -6, 0, 7, 0, 72, 0, 0, 6, 0,
  8, 0, 68, 12, 0, -8, 0, 9, 0, 72, 0, 0, 4, 0, 10, 0, 68, 10, 0, -8, 0, 11, 0, 70, 0, 0, 6, 0,
  12, 0, 68, 18, 0, -8, 0, 13, 0, 65, 0, 0, 8, 0, 14, 0, 68, 20, 0, -10, 0, 15, 0, 56, 0, 0, 6, 0,
]);

function predictionOf(index) {
  const [low, high] = [min(v(index), u(index)), max(v(index), u(index))];
  for (let i = 0; i < PREDICTED.length; i += 7) {
    if (PREDICTED[i] !== high || PREDICTED[i + 1] !== low) continue;
    const [a, b, c, d, means] = PREDICTED.slice(i + 2);
    return v(index) >= u(index)
      ? { beside: a, above: b, u: c, v: d, means } : { beside: b, above: a, u: d, v: c, means };
  }
  return null;
}

const clip = (x) => (x > LIMIT ? LIMIT : x < -LIMIT ? -LIMIT : x);

// -- a map as four planes of every second row and column ----------------------------------

class Quarters {
  constructor(height, width) {
    const pitch = ((width + 1) >> 1) + 1;
    const guard = pitch + 1;
    const count = ((height + 1) >> 1) * pitch;
    const plane = count + 2 * guard;
    assign(this, { height, width, pitch, guard, count, plane, size: 4 * plane });
    this.where = new I32(this.size).fill(-1);
    CORNERS.forEach(([top, left], p) => {
      for (let y = top; y < height; y += 2) {
        for (let x = left, at = this.span(p) + (y >> 1) * pitch; x < width; x += 2, at++) {
          this.where[at] = y * width + x;
        }
      }
    });
    this.phases = [[0], [1], [2, 3]]
      .filter((planes) =>
        planes.some((p) => this.where.subarray(this.span(p), this.span(p) + count).some((x) => x >= 0)),
      )
      .map((planes) => ({ planes, number: phaseOf(planes[0]), count: planes.length * count }));
    this.around = CORNERS.map(([y, x], p) => ({
      left: this.span(besideOf(p), x - 1),
      right: this.span(besideOf(p), x),
      up: this.span(aboveOf(p), (y - 1) * pitch),
      below: this.span(aboveOf(p), y * pitch),
    }));
  }

  span(plane, offset = 0) {
    return plane * this.plane + this.guard + offset;
  }

  /** Place in the planes of position i of a phase. */
  place(phase, i) {
    const second = i >= this.count ? 1 : 0;
    return this.span(phase.planes[second]) + i - second * this.count;
  }

  scatter(map, Kind = I32) {
    return Kind.from(this.where, (place) => map[place] ?? 0);
  }

  gather(flat, map) {
    this.where.forEach((place, at) => (map[place] = flat[at])); // there is no place -1
    return map;
  }
}

const bits = new I32(1), float = new F32(bits.buffer);
float[0] = 10;
const BASE = bits[0];
const MOST = fround(10 * 2 ** 12.7);

/** Context rows of one phase of a map, from sums of others and what is known of its own. */
function expected(shape, phase, sums, known, own, rows, at) {
  const { where, pitch } = shape, [here, across, down] = sums;
  const first = shape.span(0);
  for (const p of phase.planes) {
    const { left, right, up, below } = shape.around[p];
    const span = shape.span(p);
    for (let i = 0; i < shape.count; i++, at++) {
      if (where[span + i] < 0) {
        rows[at] = PAD;
        continue;
      }
      let e = here[span + i] + across[left + i] + across[right + i] + down[up + i] + down[below + i];
      if (phase.number === 1) {
        const o = first + i;
        e += own[0] * (known[o] + known[o + 1] + known[o + pitch] + known[o + pitch + 1]);
      } else if (phase.number === 2) {
        e += own[1] * (known[left + i] + known[right + i]);
        e += own[2] * (known[up + i] + known[below + i]);
      }
      float[0] = min(e + 10, MOST);
      rows[at] = imul(bits[0] - BASE, 5) >> 24;
    }
  }
}

// -- coefficients -------------------------------------------------------------------------

const PRIOR = [
  24, 52, 108, 178, 328, 573, 891, 1461, 2375, 3877, 6348, 9016, 13709, 19660, 25418, 31960,
  37413, 42704, 46859, 50793, 53581, 56431, 57995, 59976, 61244, 62534, 63214, 64060, 64447,
  64726, 65117, 65122, 0,
];
const TOKENS = table([
  602, 83, 13, 10, 5, 2, 4, 2, 2, 4, 2, 2, 2, 1, 0, 35,
  729, 37, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0,
  745, 21, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0,
  740, 26, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0,
  739, 26, 2, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0,
  726, 36, 3, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0,
  704, 56, 6, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0,
  625, 117, 19, 4, 1, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0,
  485, 192, 61, 19, 6, 2, 1, 1, 0, 0, 0, 0, 0, 0, 0, 0,
  338, 207, 111, 55, 28, 14, 7, 3, 2, 1, 1, 1, 0, 0, 0, 1,
  233, 171, 119, 81, 54, 36, 24, 16, 10, 6, 5, 3, 2, 1, 1, 5,
  151, 127, 98, 83, 64, 56, 42, 32, 26, 20, 14, 11, 8, 8, 4, 25,
  118, 101, 85, 75, 62, 51, 44, 37, 32, 25, 23, 17, 13, 13, 11, 59,
  147, 112, 93, 75, 66, 53, 42, 32, 28, 19, 16, 15, 10, 10, 7, 41,
  150, 137, 95, 85, 61, 51, 37, 29, 23, 15, 17, 10, 12, 7, 7, 31,
  143, 124, 104, 80, 63, 50, 39, 31, 22, 19, 14, 12, 8, 12, 6, 39,
  143, 124, 104, 80, 63, 50, 39, 31, 22, 19, 14, 12, 8, 12, 6, 39,
]);
// Low bits of a magnitude that are sent raw, by row.
const shiftOf = (row) => (row < 25 ? 0 : (row - 23) >> 1);

class Coefficients {
  constructor(rans) {
    this.rans = rans;
    this.counts = new I32(66);
    PRIOR.forEach((share, row) => {
      this.counts[2 * row + 1] = floor((share * 9600) / 65536);
      this.counts[2 * row] = 9600 - this.counts[2 * row + 1];
    });
    this.seen = new I32(66);
    this.tokens = new TokenModel(TOKENS);
    this.zero = new I32(33);
    this.learnFlags();
  }

  learnFlags() {
    for (let row = 0; row < 33; row++) {
      const zeros = this.counts[2 * row], all = zeros + this.counts[2 * row + 1];
      const p = floor((65536 * zeros + (all >> 1)) / all);
      this.zero[row] = min(max(p, 24), 65536 - 24);
    }
    this.zero[PAD] = 65535;
  }

  /** The models learn at the end of some maps. */
  learn() {
    for (let i = 0; i < 66; i++) this.counts[i] += 64 * this.seen[i];
    this.seen.fill(0);
    limited(this.counts, 2, 32768);
    this.learnFlags();
    this.tokens.learn();
  }

  /** Places and values of the non-zeros of one phase, or their magnitudes. */
  phase(rows, signs) {
    const { rans, seen } = this, count = rows.length;
    const flags = new U8(count);
    rans.flags(rows, this.zero, count, flags);
    const every = max(1, floor(count / 4096));
    for (let i = 0; i < count; i += every) seen[2 * rows[i] + flags[i]]++;
    let found = 0;
    for (let i = 0; i < count; i++) found += flags[i];
    const hit = new I32(found);
    for (let i = 0, at = 0; i < count; i++) if (flags[i]) hit[at++] = i;
    const pair = new I32(found), token = new U8(found);
    for (let i = 0; i < found; i++) pair[i] = rows[hit[i]] >> 1;
    rans.tokens(pair, found, this.tokens, token);
    this.tokens.count(pair, token, found);
    const values = F64.from(token);
    const escaped = [];
    for (let i = 0; i < found; i++) if (token[i] === 15) escaped.push(i);
    const lengths = escaped.map(() => rans.number(5));
    escaped.forEach((i, j) => (values[i] += rans.number(lengths[j]) + 2 ** lengths[j] - 1));
    let largest = 0;
    for (let i = 0; i < found; i++) {
      const shift = shiftOf(rows[hit[i]]);
      if (shift) values[i] = values[i] * 2 ** shift + rans.number(shift);
      if (++values[i] > largest) largest = values[i];
    }
    if (largest >= 1048576) throw outOfRange();
    if (signs) for (let i = 0; i < found; i++) if (rans.raw()) values[i] = -values[i];
    return { hit, values };
  }
}

// -- the first component: a small image ----------------------------------------------------

function enlarge([h, w], { height, width, grid }) {
  const out = new I32(h * w);
  for (let y = 0, at = 0; y < h; y++) {
    const row = floor((y * height) / h) * width;
    for (let x = 0; x < w; x++) out[at++] = grid[row + floor((x * width) / w)];
  }
  return out;
}

const capped = ({ height, width, grid }) => ({
  height, width, grid: grid.map((q) => min(abs(q), CAP)),
});

/** The wavelet bands of one channel's first component; `before` are the first channel's. */
function bandsOf(shape, coder, before) {
  const result = [];
  bandShapes(...shape).levels.forEach((shapes, level) => {
    const bands = {};
    for (const [name, size] of Object.entries(shapes)) {
      const quarters = new Quarters(...size);
      const here = new F64(quarters.size), none = new F64(quarters.size);
      const add = (weight, map) =>
        quarters.scatter(map).forEach((x, at) => (here[at] += weight * x));
      const parent = level ? result[level - 1][name] : undefined;
      if (parent) add(256, enlarge(size, capped(parent)));
      for (const other of Object.values(bands)) add(123, enlarge(size, capped(other)));
      if (before) add(51, capped(before[level][name]).grid);
      const q = new I32(quarters.size), known = new I32(quarters.size);
      for (const phase of quarters.phases) {
        const rows = new U8(phase.count);
        expected(quarters, phase, [here, none, none], known, [123, 143, 143], rows, 0);
        const { hit, values } = coder.phase(rows, true);
        hit.forEach((i, j) => {
          const place = quarters.place(phase, i);
          q[place] = values[j];
          known[place] = min(abs(values[j]), CAP);
        });
      }
      coder.learn();
      const map = quarters.gather(q, new I32(size[0] * size[1]));
      bands[name] = { height: size[0], width: size[1], grid: map };
    }
    result.push(bands);
  });
  return result;
}

/** Half the mean absolute difference to either neighbour, both ways; capped integers. */
function gradient({ height, width, grid }) {
  const F = fround, g = F32.from(grid);
  return g.map((x, i) => {
    const column = i % width, row = floor(i / width);
    let total = 0;
    if (column > 0) total = F(total + abs(F(x - g[i - 1])));
    if (column < width - 1) total = F(total + abs(F(g[i + 1] - x)));
    if (row > 0) total = F(total + abs(F(x - g[i - width])));
    if (row < height - 1) total = F(total + abs(F(g[i + width] - x)));
    return min(rint(F(total * 0.25)), CAP);
  });
}

function weigh(out, start, end, a, wa, b, wb, c, wc, d, wd) {
  for (let at = start; at < end; at++) out[at] += wa * a[at] + wb * b[at] + wc * c[at] + wd * d[at];
}

// -- the walk -------------------------------------------------------------------------------

class Walk {
  constructor(shape, header, plan, coder, F) {
    assign(this, { shape, header, coder, F, firsts: [], unsigned: [], pool: [] });
    this.quarters = new Quarters(...shape);
    this.predictors = new Predictors(header.scales.length);
    this.known = [];
    this.memory = new Map();
    this.maps = header.scales.map(() => []);
    this.symbols = (header.scales.length + plan.length) * this.quarters.size;
    this.bands = null;
  }

  low(c) {
    const { low } = bandShapes(...this.shape);
    return { height: low[0], width: low[1], grid: this.header.coarsest[c].map(this.F) };
  }

  first(c) {
    const bands = bandsOf(this.shape, this.coder, this.bands);
    if (c === 0) this.bands = bands;
    const mean = inverse(this.low(c), bands, this.F);
    this.firsts.push(mean.grid);
    const whole = mean.grid.map((x) => min(max(rint(x * 16), -(2 ** 29)), 2 ** 29));
    this.memory.set(c * SIZE, this.quarters.scatter(whole));
    this.known.push(this.quarters.scatter(gradient(mean), U8));
  }

  emptyFirst(c) {
    const nothing = { phase: () => ({ hit: [], values: [] }), learn() {} };
    this.firsts.push(inverse(this.low(c), bandsOf(this.shape, nothing), this.F).grid);
  }

  // Weighted sums of other maps: at the place, and for those beside, above and below.
  sums({ rows, planes }, i) {
    const { plane, size } = this.quarters;
    const sums = (this.pool[i] ??= make(3, () => new I32(size)));
    sums.forEach((out, kind) => {
      out.fill(0);
      for (let p = 0; p < 4; p++) {
        const used = rows.map((row, r) => [this.known[row], planes[p][kind][r]]).filter((x) => x[1]);
        for (let j = 0; j < used.length; j += 4) {
          const [a, b, c, d] = make(4, (k) => used[j + k] ?? [used[0][0], 0]);
          weigh(out, p * plane, (p + 1) * plane, ...a, ...b, ...c, ...d);
        }
      }
    });
    return sums;
  }

  // What is expected of one phase of a predicted component, in whole sixteenths.
  predict({ channel, index }, w, phase, own) {
    const { quarters, memory } = this, { where, count } = quarters;
    const lowerU = w.u && u(index) && index > 1 ? memory.get(channel * SIZE + index - 1) : null;
    const lowerV = w.v && v(index) && index > SIDE ? memory.get(channel * SIZE + index - SIDE) : null;
    const means = memory.get(channel * SIZE);
    const late = phase.number === 2;
    const oddU = u(index) & 1 ? -1 : 1, oddV = v(index) & 1 ? -1 : 1;
    for (const p of phase.planes) {
      const { left, right, up, below } = quarters.around[p];
      const [from, to] = u(index) ? [left, right] : [up, below];
      const span = quarters.span(p);
      for (let i = 0; i < count; i++) {
        if (where[span + i] < 0) {
          own[span + i] = 0;
          continue;
        }
        let e = 0;
        if (late && w.beside) e += w.beside * (clip(own[left + i]) + oddU * clip(own[right + i]));
        if (late && w.above) e += w.above * (clip(own[up + i]) + oddV * clip(own[below + i]));
        if (lowerU) e += w.u * (lowerU[left + i] - lowerU[right + i]);
        if (lowerV) e += w.v * (lowerV[up + i] - lowerV[below + i]);
        if (w.means && where[from + i] >= 0 && where[to + i] >= 0) {
          e += w.means * clip(means[from + i] - means[to + i]);
        }
        own[span + i] = floor(e / 256 + 0.5);
      }
    }
  }

  next(batch, signs) {
    const { quarters, header, F } = this;
    const count = this.shape[0] * this.shape[1];
    const Kind = F === fround ? F32 : F64;
    const here = batch.map((x, i) => {
      const weights = this.predictors.weights(x, header.turn !== null);
      const w = predictionOf(x.index);
      return {
        x, w, sums: this.sums(weights, i), own: weights.own, known: new U8(quarters.size),
        map: new Kind(count), values: w && new Kind(quarters.size),
      };
    });
    for (const phase of quarters.phases) {
      const rows = new U8(batch.length * phase.count);
      here.forEach(({ x, w, sums, own, known, values }, i) => {
        expected(quarters, phase, sums, known, own, rows, i * phase.count);
        if (w) this.predict(x, w, phase, values);
      });
      const { hit, values: found } = this.coder.phase(rows, signs);
      let at = 0;
      here.forEach(({ known, map, values }, i) => {
        const places = [];
        for (const end = (i + 1) * phase.count; at < hit.length && hit[at] < end; at++) {
          const q = found[at];
          const place = quarters.place(phase, hit[at] - i * phase.count);
          known[place] = min(abs(q), CAP);
          if (values) {
            values[place] += q * 16;
            continue;
          }
          // A place beyond the edge, of a hostile file, is the last of the map.
          const where = quarters.where[place];
          places.push(where < 0 ? count - 1 : where);
          map[places[places.length - 1]] = q * 16;
        }
        if (!values && !signs) this.unsigned.push([map, places]);
      });
    }
    this.coder.learn();
    for (const { x, known, map, values } of here) {
      this.known.push(known);
      if (values) {
        quarters.gather(values, map);
        this.memory.set(x.channel * SIZE + x.index, values.map(clip));
      }
      this.predictors.add(x);
      this.maps[x.channel].push({ ...x, map });
    }
  }

  signLate(bit) {
    const needed = this.unsigned.reduce((sum, [, places]) => sum + places.length, 0);
    check(needed <= 16 * this.header.lanes, "late signs");
    for (const [map, places] of this.unsigned) {
      const negative = places.filter(() => bit());
      negative.map((place) => [place, -map[place]]).forEach(([place, x]) => (map[place] = x));
    }
  }
}

// -- from maps to samples ---------------------------------------------------------------------

const TURNS = (() => {
  let c = 0, s = 1;
  for (let i = 0; i < 7; i++) {
    const half = sqrt((1 + c) / 2);
    [c, s] = [half, s / (2 * half)];
  }
  const wave = [[1, 0]];
  for (let i = 0; i < 64; i++) {
    const [x, y] = wave[i];
    wave.push([x * c - y * s, x * s + y * c]);
  }
  return wave;
})();

/** The patch of each component, times 2^precision, as integers; and one of zeros. */
function basis(indices, turns, precision) {
  const rows = every.map(() => null);
  const row = (i) =>
    (rows[i] ??= F64.from(every, (p) => COSINES[v(i)][v(p)] * COSINES[u(i)][u(p)]));
  for (const [i, j, angle] of turns) {
    const [c, size] = TURNS[abs(angle)], s = angle < 0 ? -size : size;
    const a = row(i), b = row(j);
    rows[i] = a.map((x, p) => x * c + b[p] * s);
    rows[j] = b.map((x, p) => x * c - a[p] * s);
  }
  const out = new F64(SIZE * (indices.length + 1));
  indices.forEach((i, j) => out.set(row(i).map((x) => rint(x * 2 ** precision)), SIZE * j));
  return out;
}

function add(block, patches, from, size, j) {
  const a = size[j], b = size[j + 1], c = size[j + 2], d = size[j + 3];
  const A = from[j], B = from[j + 1], C = from[j + 2], D = from[j + 3];
  for (let p = 0; p < SIZE; p++) {
    block[p] += a * patches[A + p] + b * patches[B + p] + c * patches[C + p] + d * patches[D + p];
  }
}

/** Alpha, the last channel, has half the step. */
function stepOf({ alpha, scales, step }, c) {
  return alpha && c === scales.length - 1 ? step / 2 : step;
}

/** Samples of whole patches of one channel, before smoothing and colour. */
function plane(walk, c, deep) {
  const { header, F } = walk, [rows, columns] = walk.shape;
  const precision = deep ? 24 : 13;
  const d = stepOf(header, c);
  const maps = walk.maps[c].map((x) => x.map);
  const patches = basis(walk.maps[c].map((x) => x.index), header.turns[c], precision);
  const width = columns * SIDE;
  const out = new (deep ? F64 : F32)(rows * SIDE * width);
  const scale = d / 16 / 2 ** precision, unit = F(d / SIDE);
  let largest = 0, most = 0;
  for (let i = 0; i < patches.length; i++) largest = max(largest, abs(patches[i]));
  const totals = new F64(rows * columns);
  for (const map of maps) for (let i = 0; i < map.length; i++) totals[i] += abs(map[i]);
  for (let i = 0; i < totals.length; i++) most = max(most, totals[i]);
  // Where no partial sum reaches 2^24 the format rounds the product to float32.
  const G = !deep && most * largest < 0.999 * 2 ** 24 ? fround : (x) => x;
  const block = new F64(SIZE);
  const size = new F64(maps.length + 4), from = new I32(maps.length + 4);
  for (let i = 0; i < rows * columns; i++) {
    let found = 0;
    for (let j = 0; j < maps.length; j++) {
      const q = maps[j][i];
      if (!q) continue;
      from[found] = SIZE * j;
      size[found++] = q;
    }
    size.fill(0, found, found + 4);
    block.fill(0);
    // Four at a time: integers, whose sum is the same in any order.
    for (let j = 0; j < found; j += 4) add(block, patches, from, size, j);
    const mean = F(walk.firsts[c][i] * unit);
    let at = floor(i / columns) * SIDE * width + (i % columns) * SIDE;
    for (let p = 0; p < SIZE; p += SIDE, at += width) {
      for (let x = 0; x < SIDE; x++) {
        out[at + x] = maps.length ? G(block[p + x] * scale) + mean : mean;
      }
    }
  }
  unlap(out, rows * SIDE, width, F);
  return out;
}

// -- header and stream ------------------------------------------------------------------------

function readScales(read, channel) {
  const scale = new Array(SIZE).fill(0);
  const after = channel > 0;
  for (const index of diagonal.slice(0, read.number(`last ${after}`))) {
    const around = [];
    if (u(index)) around.push(scale[index - 1]);
    if (v(index)) around.push(scale[index - SIDE]);
    const sum = around.reduce((a, b) => a + b, 0);
    const guess = floor((sum + (around.length >> 1)) / around.length);
    const kind = min(guess, 4);
    if (read.bit(`kept ${kind} ${after}`)) {
      const found = max(guess, 1) + read.signed(`scale ${min(kind, 2)}`);
      scale[index] = min(max(found, 1), 255);
    }
  }
  return scale;
}

function readTurns(read) {
  const count = read.number("turns");
  check(count <= 255, "rotations");
  return make(count, () => [read.bits(8), read.bits(8), read.bits(8) - 64]);
}

function readHeader(parts, shape) {
  const { payload, channels } = parts;
  let size = 0, at = 0, byte;
  do {
    if (at >= payload.length) throw streamEnds(parts);
    check(at < 4, "header");
    byte = payload[at];
    size += (byte & 127) * 2 ** (7 * at++);
  } while (byte > 127);
  if (at + size > payload.length) throw streamEnds(parts);
  const read = bitReader(payload.subarray(at, at + size));
  const header = readStart(read, channels);
  header.lanes = readLanes(read);
  header.late = read.number("late");
  const each = make(channels, (c) => c);
  header.smooth = readStrengths(read, parts);
  assign(header, { scales: [], turns: [], coarsest: [], end: at + size });
  const { low } = bandShapes(...shape);
  for (const c of each) {
    header.scales.push(readScales(read, c));
    const turns = readTurns(read);
    check(
      turns.every(([i, j, angle]) => i >= 1 && i < j && abs(angle) <= 64),
      "rotation",
    );
    header.turns.push(turns);
    let before = 0;
    const values = make(low[0] * low[1], () => (before += read.signed("coarsest")));
    if (values.some((x) => abs(x) >= 2 ** 30)) throw outOfRange();
    header.coarsest.push(values);
  }
  return header;
}

/** The components after the first ones that make up `rank` terms of each matrix. */
function keptOf(plan, rank, channels, patches) {
  if (rank === null || rank >= patches) return new Set(plan);
  const seen = new Array(channels).fill(1);
  return new Set(plan.filter(({ channel }) => seen[channel] < rank && seen[channel]++));
}

/** The samples of a payload. */
export function decodePatches(parts, { rank, partial }) {
  const { payload, width, height, channels, bits } = parts;
  const shape = [ceil(height / SIDE), ceil(width / SIDE)];
  const patches = shape[0] * shape[1];
  const header = readHeader(parts, shape);
  checkRanks(
    parts.matrices, header.scales.map((s) => 1 + s.filter((x) => x > 0).length),
    min(patches, SIZE),
  );
  const plan = orderOf(header.scales);
  const total = channels + plan.length;
  const kept = keptOf(plan, rank, channels, patches);
  const groups = batchesOf(plan, patches);
  const leaves = groups.flatMap((batch, i) => (batch.some((x) => predictionOf(x.index)) ? [] : [i]));
  check(header.late <= leaves.length, "late signs");
  const late = new Set(leaves.slice(leaves.length - header.late));
  const signed = header.late ? min(...late) : groups.length;
  const needed = groups.reduce((n, batch, i) => (batch.some((x) => kept.has(x)) ? i + 1 : n), 0);
  const deep = bits > 8;
  let done = 0, walk = null, whole = 0;
  try {
    const rans = new RansReader(payload.subarray(header.end), header.lanes);
    walk = new Walk(shape, header, plan, new Coefficients(rans), deep ? (x) => x : fround);
    check(walk.symbols <= header.lanes * 131072, "lanes");
    for (; done < channels; done++) walk.first(done);
    whole = channels + groups.slice(0, signed).reduce((sum, batch) => sum + batch.length, 0);
    for (let i = 0; i < (needed <= signed ? needed : groups.length); i++) {
      walk.next(groups[i], !late.has(i));
      done += groups[i].length;
    }
    if (header.late && done === total) walk.signLate(rans.tail());
  } catch (error) {
    if (!(error instanceof Cut)) throw error;
    if (!partial || walk === null || !done) throw streamEnds(parts);
    done = done > channels ? min(done, whole) : done;
  }
  for (let c = walk.firsts.length; c < channels; c++) walk.emptyFirst(c);
  const decoded = groups.flat().slice(0, max(done - channels, 0));
  const shown = decoded.filter((x) => kept.has(x)).map((x) => x.channel * SIZE + x.index);
  walk.maps = walk.maps.map((maps, c) => maps.filter((x) => shown.includes(c * SIZE + x.index)));
  const peak = 2 ** bits - 1;
  const samples = new (deep ? U16 : U8)(height * width * channels);
  const planes = header.scales.map((_, c) => cropped(plane(walk, c, deep), shape[1] * SIDE, width, height));
  if (shown.length === plan.length) {
    planes.forEach((x, c) => {
      smooth(x, height, width, stepOf(header, c), header.smooth[c], walk.F);
    });
  }
  toSamples(planes, header.turn, peak, planes.map(() => 1), walk.F, samples);
  toLevels(samples, header, channels, peak);
  return samples;
}

function cropped(plane, pitch, width, height) {
  if (pitch === width) return plane.subarray(0, width * height);
  const out = new plane.constructor(width * height);
  for (let y = 0; y < height; y++) out.set(plane.subarray(y * pitch, y * pitch + width), y * width);
  return out;
}
