// What the layouts patches and stack share: maps of patches as planes of every second row and
// column, what neighbours say of a coefficient, coefficients, and first components.

import {
  F32, F64, I32, U8, abs, bits, clipped, each, float, floor, fround, imul, largest, make, max, min, rint, same, sqrt, sum, within,
} from "./numbers.js";
import { check } from "./errors.js";
import { limited, streamEnds, table, tokenModel } from "./coding.js";
import { SIDE, SIZE, turnsOf, unlap, waves } from "./lapped.js";
import { bandShapes, inverse } from "./wavelet.js";

export const CAP = 200;
export const PAD = 32;
// Where each plane of every second row and column begins. The horizontal neighbours of plane p are in plane
// p ^ 2, the vertical ones in p ^ 3; its phase is p, 2 of the last one too.
const CORNERS = [[0, 0], [1, 1], [0, 1], [1, 0]];

// -- frequencies, and what of them predicts the size of another --------------------------

export const LOG = make(31, (a) => Math.round(256 * Math.log2(a + 1)));
// By phase and class, as stores/packed/patches/order.py has them: 3 x 6 x 15.
const WEIGHTS = table(15, [
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

export const v = (index) => index >> 4;
export const u = (index) => index & 15;

const whole = (y, x) => floor(sqrt(y * y + x * x));
export const distance = (a, b) =>
  whole(LOG[v(a)] - LOG[v(b)], LOG[u(a)] - LOG[u(b)]) + whole(64 * (v(a) - v(b)), 64 * (u(a) - u(b)));

/** Frequencies but the first, by the sum of the two. */
export const diagonal = make(255, (i) => i + 1).sort((a, b) => v(a) + u(a) - v(b) - u(b) || a - b);

/** By frequency all others, the nearest first. */
const nearest = [];

/**
 * The maps, by their nonzeros, that tell of a component's size, and their weights in units of 1/1024 over `unit`:
 * the nearest of those `coded`, by frequency, and `others`, a map and its own weight each.
 * `after` is 3 of a channel after the first; `part` of its weights the nearest keep.
 */
export function weightsOf(index, coded, after, others, part, unit) {
  nearest[index] ??= make(SIZE, (i) => SIZE * distance(index, i) + i, I32).sort();
  const keys = nearest[index].filter((x) => coded[x & 255]).subarray(0, 8), count = keys.length;
  const maps = make(count, (i) => coded[keys[i] & 255]), share = make(count, (i) => floor(1048576 / (77 + (keys[i] >> 8))));
  const all = sum(share);
  const lean = LOG[u(index)] - LOG[v(index)];
  const kind = after + (lean > 154 ? 2 : lean < -154 ? 1 : 0);
  const rounded = (x) => floor(x / unit + 0.5);
  const of = (phase, i) => WEIGHTS[90 * phase + 15 * kind + i];
  for (const [map] of others) maps.push(map);
  // Of a map, by plane, what it gives to the place, and beside it, and above and below.
  const weights = make(12 * maps.length, (i) => {
    const j = i % 3, p = floor(i / 3) % 4, r = floor(i / 12), phase = min(j ? p ^ (j + 1) : p, 2);
    if (r >= count) return j ? 0 : rounded(others[r - count][1]((place) => of(phase, place)));
    const beside = floor((of(phase, 5 + j) * share[r]) / all) + (r || !j ? 0 : of(phase, 7 + j));
    return rounded(j ? beside : part * (beside + (r < 4 ? of(phase, r) : floor(of(phase, 4) / (count - 4)))));
  }, I32);
  return { maps, weights, own: I32.of(of(1, 12), of(2, 13), of(2, 14)).map(rounded) };
}

/** Places and values of what a map has that is not 0, in turn: most of it is. */
export function nonzeros(map) {
  const out = [];
  let count = 0;
  for (let at = 0; at < map.length; at++) {
    if (!map[at]) continue;
    out[count++] = at;
    out[count++] = map[at];
  }
  return new I32(out);
}

// Inner loops are functions of their own: those are compiled as soon as they were called often.
function addMap(sums, map, weights, first, plane) {
  for (let i = 0, end = plane; i < map.length; end += plane, first += 3) {
    const a = weights[first], b = weights[first + 1], c = weights[first + 2];
    for (; i < map.length && map[i] < end; i += 2) {
      const to = 3 * map[i], x = map[i + 1];
      sums[to] += imul(a, x);
      sums[to + 1] += imul(b, x);
      sums[to + 2] += imul(c, x);
    }
  }
}

/** Weighted sums of other maps, three of each place: for it, for those beside, and for those above and below. */
export function sumsOf({ plane }, { maps, weights }, sums) {
  sums.fill(0);
  maps.forEach((map, r) => addMap(sums, map, weights, 12 * r, plane));
  return sums;
}

// -- a map as four planes of every second row and column ----------------------------------

export function quartersOf(height, width) {
  const pitch = ((width + 1) >> 1) + 1, guard = pitch + 1;
  const count = ((height + 1) >> 1) * pitch, plane = count + 2 * guard;
  const where = new I32(4 * plane).fill(-1);
  const span = (p, offset = 0) => p * plane + guard + offset;
  CORNERS.forEach(([top, left], p) => {
    for (let y = top; y < height; y += 2) {
      for (let x = left, at = span(p) + (y >> 1) * pitch; x < width; x += 2, at++) {
        where[at] = y * width + x;
      }
    }
  });
  // Cells that have a place, by phase.
  const phases = [[0], [1], [2, 3]]
    .map((planes, number) => {
      const cells = new I32(count * planes.length);
      for (let i = 0; i < cells.length; i++) cells[i] = i < count ? span(planes[0], i) : span(3, i - count);
      return { cells, number, planes };
    })
    .filter(({ planes: [p] }) => where[span(p)] >= 0 || (p > 1 && where[span(3)] >= 0));
  const around = CORNERS.map(([y, x], p) => ({
    lefts: span(p ^ 2, x - 1), rights: span(p ^ 2, x), ups: span(p ^ 3, (y - 1) * pitch), downs: span(p ^ 3, y * pitch),
  }));
  const scatter = (map, Kind = I32) => {
    const flat = new Kind(4 * plane);
    for (let at = 0; at < 4 * plane; at++) if (where[at] >= 0) flat[at] = map[where[at]];
    return flat;
  };
  const gather = (flat, map) => {
    for (let at = 0; at < 4 * plane; at++) if (where[at] >= 0) map[where[at]] = flat[at];
    return map;
  };
  return { pitch, count, plane, where, span, phases, around, scatter, gather, extent: 4 * plane };
}

const BASE = 1092616192; // the bits of 10
const MOST = fround(10 * 2 ** 12.7);
const LARGEST = 1048576;

/** The context row of what is expected, in 1/1024. */
export function rowOf(e) {
  float[0] = min(e + 10, MOST);
  return imul(bits[0] - BASE, 5) >> 24;
}

/** Context rows of one phase of a map, from sums of others and what is known of its own. */
export function expected(shape, phase, sums, known, own, rows, at) {
  const { where, pitch, count, span } = shape, { number } = phase;
  const one = own[0], two = own[1], three = own[2];
  for (const p of phase.planes) {
    const { lefts, rights, ups, downs } = shape.around[p];
    for (let i = 0, to = span(p), o = span(0); i < count; i++, at++, to++, o++) {
      if (where[to] < 0) {
        rows[at] = PAD;
        continue;
      }
      const l = lefts + i, r = rights + i, a = ups + i, b = downs + i;
      let e = sums[3 * to] + sums[3 * l + 1] + sums[3 * r + 1] + sums[3 * a + 2] + sums[3 * b + 2];
      if (number === 1) {
        e += one * (known[o] + known[o + 1] + known[o + pitch] + known[o + pitch + 1]);
      } else if (number) e += two * (known[l] + known[r]) + three * (known[a] + known[b]);
      rows[at] = rowOf(e);
    }
  }
}

// -- coefficients -------------------------------------------------------------------------

const PRIOR = table(1, [
  24, 52, 108, 178, 328, 573, 891, 1461, 2375, 3877, 6348, 9016, 13709, 19660, 25418, 31960,
  37413, 42704, 46859, 50793, 53581, 56431, 57995, 59976, 61244, 62534, 63214, 64060, 64447,
  64726, 65117, 65122, 0,
]);
const TOKENS = table(16, [
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

/**
 * Coefficients by models of flags and tokens, which are at first those of photographs. `prior`
 * has the share of non-zeros of each row, 0 of pads; `long` is a model of the lengths of what
 * escapes, which are raw bits without. Of about `per` non-zeros one sign is hidden.
 */
export function coefficients(rans, per = 0, prior = PRIOR, first = TOKENS, long = null) {
  const rows = prior.length, zero = new I32(rows), seen = new I32(2 * rows);
  const ones = (row) => floor((prior[row] * 9600) / 65536);
  const counts = seen.map((_, i) => (i & 1 ? ones(i >> 1) : 9600 - ones(i >> 1)));
  const model = tokenModel(first);
  const derive = () => {
    for (let row = 0; row < rows; row++) {
      const zeros = counts[2 * row], all = zeros + counts[2 * row + 1];
      const p = floor((65536 * zeros + (all >> 1)) / all);
      zero[row] = prior[row] ? within(p, 24, 65512) : 65535;
    }
  };
  derive();

  /** The models learn at the end of some maps. */
  const learn = () => {
    for (let i = 0; i < seen.length; i++) counts[i] += 64 * seen[i];
    seen.fill(0);
    limited(counts, 2, 32768);
    derive();
    model.learn();
    long?.learn();
  };

  /** Places and values of the non-zeros of one phase, or their magnitudes; the group of each, -1 where its sign is hidden. */
  const phase = (rows, signs) => {
    const count = rows.length, flags = new U8(count), hit = new I32(rans.decide(rows, zero, flags));
    const { length } = hit, pair = new U8(length), token = new U8(length), found = new I32(length);
    const step = max(1, count >> 12), escaped = [], group = new I32(length);
    for (let i = 0; i < count; i += step) seen[2 * rows[i] + flags[i]]++;
    for (let i = 0, j = 0, ones = 0; j < length; i++) {
      ones += 65536 - zero[rows[i]];
      if (!flags[i]) continue;
      pair[j] = rows[i] >> 1;
      group[j] = ones / 65536 / per;
      hit[j++] = i;
    }
    rans.tokens(pair, model, token);
    model.tally(pair, token);
    for (let j = 0; j < length; j++) if (token[j] > 14) escaped.push(j);
    const none = new U8(escaped.length), lengths = none.map(() => 15);
    long && rans.tokens(none, long, lengths), long?.tally(none, lengths);
    const exact = lengths.map((x) => (x < 15 ? x : rans.number(5)));
    escaped.forEach((j, i) => (found[j] = min(rans.number(exact[i]) + 2 ** exact[i] - 1, LARGEST)));
    let most = 0;
    for (let j = 0; j < length; j++) {
      const row = rows[hit[j]] % 35, shift = row < 25 || row > 32 ? 0 : (row - 23) >> 1;
      const x = ((found[j] + token[j]) << shift) + 1 + (shift && rans.number(shift));
      found[j] = x;
      most = max(most, x);
    }
    check(most < LARGEST, "coefficient");
    // The first of a group of three or more is negative if the sum of all is odd.
    for (let j = 0, k; per && j < length; j = k) {
      let odd = 0;
      for (k = j; group[k] === group[j]; k++) odd ^= found[k];
      if (k < j + 3) continue;
      group[j] = -1;
      if (odd & 1) found[j] = -found[j];
    }
    for (let j = 0; signs && j < length; j++) if (group[j] >= 0 && rans.sign()) found[j] = -found[j];
    return { hit, found, group };
  };

  return { learn, phase };
}

// -- the first component: a small image ----------------------------------------------------

/** Add what a band of another size tells of one of h x w, in planes. */
function addBand(sums, where, h, w, { tall, wide, grid }, weight) {
  for (let at = 0; at < where.length; at++) {
    const i = where[at], row = floor((floor(i / w) * tall) / h) * wide;
    if (i >= 0) sums[3 * at] += weight * min(abs(grid[row + floor(((i % w) * wide) / w)]), CAP);
  }
}

const OWN = I32.of(123, 143, 143);

/** The wavelet bands of one first component; `before` are those of the one that tells of it. */
function bandsOf(shape, coder, before) {
  const result = [];
  bandShapes(...shape).levels.forEach((shapes, level) => {
    const bands = {};
    for (const [name, [tall, wide]] of Object.entries(shapes)) {
      const quarters = quartersOf(tall, wide), { extent } = quarters;
      // Below 2^24 what is whole is so in float32, too, of which the other maps are.
      const sums = new I32(3 * extent), q = new F32(extent), known = new U8(extent);
      const add = (weight, band) => band && addBand(sums, quarters.where, tall, wide, band, weight);
      add(256, result[level - 1]?.[name]);
      for (const other of Object.values(bands)) add(123, other);
      add(51, before?.[level][name]);
      for (const phase of quarters.phases) {
        const rows = new U8(phase.cells.length);
        expected(quarters, phase, sums, known, OWN, rows, 0);
        const { hit, found } = coder.phase(rows, true);
        hit.forEach((i, j) => {
          const at = phase.cells[i];
          q[at] = found[j];
          known[at] = min(abs(found[j]), CAP);
        });
      }
      coder.learn();
      bands[name] = { tall, wide, grid: quarters.gather(q, new F32(tall * wide)) };
    }
    result.push(bands);
  });
  return result;
}

/** Half the mean absolute difference to either neighbour, both ways; capped integers. */
function gradient({ tall, wide, grid }) {
  const F = fround, g = F32.from(grid);
  return g.map((x, i) => {
    let total = 0;
    const add = (there, j) => there && (total = F(total + abs(F(x - g[j]))));
    add(i % wide, i - 1);
    add((i + 1) % wide, i + 1);
    add(i >= wide, i - wide);
    add(i + wide < tall * wide, i + wide);
    return min(rint(F(total * 0.25)), CAP);
  });
}

const NOTHING = { phase: () => ({ hit: [], found: [] }), learn() {} };

/** A first component: its bands, its map, and how steep that is; without a coder of no bands. */
export function firstOf(shape, coarsest, F, coder = NOTHING, before = null) {
  const [tall, wide] = bandShapes(...shape).low;
  const bands = bandsOf(shape, coder, before);
  const map = inverse({ tall, wide, grid: coarsest.map(F) }, bands, F);
  return { bands, mean: map.grid, steep: gradient(map) };
}

/** The coarsest map of a first component. */
export function readCoarsest(read, shape) {
  const [tall, wide] = bandShapes(...shape).low;
  let last = 0;
  const found = make(tall * wide, () => (last += read.signed("coarsest")));
  check(largest(found) < 2 ** 30, "coefficient");
  return found;
}

/** The bytes of a header, and where they end: its length stands first, 7 bits a byte. */
export function headerOf(parts) {
  const { payload } = parts;
  let size = 0, at = 0, byte;
  do {
    if (at >= payload.length) throw streamEnds(parts);
    check(at < 4, "header");
    byte = payload[at];
    size += (byte & 127) * 2 ** (7 * at++);
  } while (byte > 127);
  if (at + size > payload.length) throw streamEnds(parts);
  return [payload.subarray(at, at + size), at + size];
}

// -- from maps to samples ---------------------------------------------------------------------

/** Cosines and sines of angles from 0 on. */
const TURNS = turnsOf(7);

function multiply(patch, down, across) {
  for (let p = 0; p < SIZE; p++) patch[p] = down[p >> 4] * across[p & 15];
}

function rotate(a, b, c, s) {
  for (let p = 0; p < SIZE; p++) {
    const x = a[p];
    a[p] = x * c + b[p] * s;
    b[p] = b[p] * c - x * s;
  }
}

function round(patch, spread, size) {
  for (let p = 0; p < SIZE; p++) patch[p] = rint(patch[p] * spread * size);
}

/** The patch of each component, times 2^precision, as integers; by frequency. A power below 0 is of these, not of squares. */
function basis(indices, turns, precision, power, transform, height, width) {
  const out = new F64(SIZE * SIZE), tall = waves(height, transform), wide = waves(width, transform);
  const size = 2 ** precision;
  const row = (i) => out.subarray(SIZE * i, SIZE * i + SIZE);
  for (const i of new Set([...indices, ...turns.flatMap(([i, j]) => [i, j])])) multiply(row(i), tall[v(i)], wide[u(i)]);
  for (const [i, j, angle] of turns) {
    const [c, s] = TURNS[abs(angle)];
    rotate(row(i), row(j), c, angle < 0 ? -s : s);
  }
  for (const i of indices) {
    const square = (v(i) ** 2 + u(i) ** 2) / SIZE;
    round(row(i), sqrt(1 + (power < 0 ? -sqrt(square) : square) * power), size);
  }
  return out;
}

const PAIR = 2 ** 26;

/** Integers below 2^24 by twos, as one number each; their weighted sums, while those are below it, stay apart. */
function pair(patch) {
  for (let p = 0; p < SIZE / 2; p++) patch[p] = patch[2 * p] + patch[2 * p + 1] * PAIR;
}

function part(block) {
  for (let p = SIZE / 2; p--; ) {
    const x = block[p], second = rint(x / PAIR);
    block[2 * p] = x - second * PAIR;
    block[2 * p + 1] = second;
  }
}

function addSizes(totals, map) {
  for (let i = 0; i < map.length; i++) if (map[i]) totals[i] += abs(map[i]);
}

/** Of each patch of a row what components have, and where their patches stand, by eights: the last may have nothing. */
function collect(components, first, most, next, from, size) {
  size.fill(0);
  for (let i = 0; i < next.length; i++) next[i] = i * most;
  for (const { sheet, index } of components) {
    for (let i = 0; i < next.length; i++) {
      const x = sheet[first + i];
      if (!x) continue;
      from[next[i]] = SIZE * index;
      size[next[i]++] = x;
    }
  }
}

/** Write a patch; F rounds products. */
function put(out, at, width, block, scale, first, F) {
  for (let p = 0; p < SIZE; p += SIDE, at += width) {
    for (let x = 0; x < SIDE; x++) out[at + x] = F(block[p + x] * scale) + first;
  }
}

/** Add eight weighted parts of a list to n places: integers, whose sum is the same in any order. */
export function add(out, at, n, list, from, weights, j) {
  const a = from[j], b = from[j + 1], c = from[j + 2], d = from[j + 3];
  const e = from[j + 4], f = from[j + 5], g = from[j + 6], h = from[j + 7];
  const p = weights[j], q = weights[j + 1], r = weights[j + 2], s = weights[j + 3];
  const t = weights[j + 4], u = weights[j + 5], v = weights[j + 6], w = weights[j + 7];
  for (let i = 0; i < n; i++) {
    out[at + i] += p * list[a + i] + q * list[b + i] + r * list[c + i] + s * list[d + i] +
      t * list[e + i] + u * list[f + i] + v * list[g + i] + w * list[h + i];
  }
}

/**
 * Samples of whole patches, before smoothing and colour: of a first component's map and those of
 * `components`, in sixteenths of a step. F rounds to their type. `rest` are the samples of the
 * last patches, down and across; `transform` says which waves whole ones have.
 */
export function planeOf(
  [rows, columns], mean, components, turns, step, precision, F, { power = 0, gains = [], rest = [SIDE, SIDE], transform = 0 } = {},
) {
  const sets = {};
  const of = (...sides) =>
    (sets[sides] ??= basis(components.map((x) => x.index), turns, precision, power, transform, ...sides));
  const width = columns * SIDE;
  const out = new (F === fround ? F32 : F64)(rows * SIDE * width);
  const unit = F(step / SIDE), root = sqrt(2);
  const totals = new F64(rows * columns);
  for (const { sheet } of components) addSizes(totals, sheet);
  // Where no partial sum reaches 2^24 the format rounds the product of float32 to that.
  const inner = of(SIDE, SIDE), own = components.map(({ index }) => inner.subarray(SIZE * index, SIZE * index + SIZE));
  const single = F === fround && largest(totals) * largest(own.map(largest)) < 0.999 * 2 ** 24;
  const G = single ? F : same;
  if (single) own.forEach(pair);
  const most = (components.length + 7) & -8, block = new F64(SIZE);
  const next = new I32(columns), from = new I32(columns * most), size = new F64(columns * most);
  for (let y = 0, i = 0; y < rows; y++) {
    collect(components, i, most, next, from, size);
    for (let x = 0; x < columns; x++, i++) {
      const last = y > rows - 2, end = x > columns - 2;
      const patches = last || end ? of(last ? rest[0] : SIDE, end ? rest[1] : SIDE) : inner;
      block.fill(0);
      for (let j = x * most; j < next[x]; j += 8) add(block, 0, single ? SIZE / 2 : SIZE, patches, from, size, j);
      if (single) part(block);
      const g = clipped(rint(gains[i]), 8), scale = (step / 16 / 2 ** precision) * (g & 1 ? root : 1) * 2 ** (g >> 1);
      put(out, (y * width + x) * SIDE, width, block, G(scale), F(mean[i] * unit), G);
    }
  }
  if (!transform) unlap(out, rows * SIDE, width, F, rest);
  return out;
}
