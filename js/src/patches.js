// The packed layout `patches`, written from docs/PACKED.md: header, walk over the components,
// synthesis.

import { check } from "./errors.js";
import {
  F32, F64, I32, U8, abs, assign, ceil, clipped, each, floor, fround, make, max, min, rint, same, sum, within,
} from "./numbers.js";
import {
  bitReader, checkRanks, ransReader, readLanes, readStart, readStrengths, signLate, table, untilCut,
} from "./coding.js";
import { SIDE, SIZE, cropped } from "./lapped.js";
import {
  CAP, coefficients, diagonal, distance, expected, firstOf, headerOf, nonzeros, planeOf, quartersOf,
  readCoarsest, sumsOf, u, v, weightsOf,
} from "./maps.js";
import { filtered, pictured } from "./smoothing.js";

// -- the order of components ---------------------------------------------------------------

/** Kept components but the first of each channel, in descending scale. */
function orderOf(scales) {
  const plan = scales.flatMap((scale, channel) =>
    scale.flatMap((level, index) => (index && level ? { channel, index, level } : [])),
  );
  return plan.sort((a, b) => b.level - a.level || a.channel - b.channel || a.index - b.index);
}

/** Components coded together. */
function batchesOf(plan, patches) {
  const most = within(floor(3072 / patches), 1, 16);
  let left = plan;
  const result = [];
  while (left.length) {
    const batch = [left[0]];
    for (const other of left.slice(1, 6 * most)) {
      if (batch.length < most && batch.every(({ channel, index }) =>
        other.channel === channel ? distance(other.index, index) >= 300 : other.index !== index)
      ) batch.push(other);
    }
    left = left.filter((one) => !batch.includes(one));
    result.push(batch);
  }
  return result;
}

// -- signed prediction --------------------------------------------------------------------

// Of each frequency (v, u) >= u: beside, above, lower u, lower v, means; in 1/256.
const PREDICTED = table(14, [
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
    const w = PREDICTED.slice(i + 2), turned = +(v(index) < u(index));
    return { beside: w[turned], above: w[1 - turned], u: w[2 + turned], v: w[3 - turned], means: w[4] };
  }
  return null;
}

// What is expected of places, in 1/256: of the means on either side, and of other places of a map.
function addMeans(out, mean, where, one, other, weight) {
  for (let i = 0; i < out.length; i++, one++, other++) {
    if (where[one] >= 0 && where[other] >= 0) out[i] += weight * clipped(mean[one] - mean[other], 2047);
  }
}

function addPair(out, map, one, sign, other, weight) {
  for (let i = 0; map && i < out.length; i++) out[i] += weight * (clipped(map[one + i], 2047) + sign * clipped(map[other + i], 2047));
}

function settle(guess, told, out, where, at) {
  for (let i = 0; i < guess.length; i++, at++) {
    out[at] = where[at] < 0 ? 0 : floor(guess[i] / 256 + 0.5) + told[where[at]];
  }
}

/** Put the non-zeros of a phase, from one on, where they belong; the first one of the next component. */
function fill({ mine, sheet, coded, rest }, where, cells, from, { hit, found, group }, at, places, rows, farther) {
  for (; at < hit.length && hit[at] < from + cells.length; at++) {
    const q = found[at], cell = cells[hit[at] - from], place = where[cell];
    const value = q * 16 + (rows[hit[at]] < 16) * (q > 0 ? farther : -farther);
    mine[cell] = min(abs(q), CAP);
    if (rest) rest[place] = q; // there is no place -1
    if (coded) coded[cell] += value;
    else {
      // A place beyond the edge, of a hostile file, is the last of the map.
      const to = place < 0 ? sheet.length - 1 : place;
      if (group[at] >= 0) places.push(to);
      sheet[to] = value;
    }
  }
  return at;
}

/** Whether a component is of a pair: of chroma that luma may tell of, and of luma that tells. */
const pairedOf = ({ crossed, scales }) => ({ channel, index }) =>
  crossed && [1, 2].some((c) =>
    (!channel || channel === c) && scales[c][index] && scales[c][index] <= scales[0][index]);

// -- chroma from luma ------------------------------------------------------------------------

// What luma and a component of chroma had in common at each patch; around the rows of a map stand zeros.
const placeOf = (i, wide) => i + floor(i / wide) + wide + 2;

function nine(sums, at, pitch) {
  const up = at - pitch, down = at + pitch;
  return sums[up - 1] + sums[up] + sums[up + 1] + sums[at - 1] + sums[at] + sums[at + 1] +
    sums[down - 1] + sums[down] + sums[down + 1];
}

/** What luma tells of a component of chroma, in sixteenths. */
function tell(luma, up, down, wide) {
  const out = new F64(luma.length);
  for (let i = 0; i < out.length; i++) {
    const at = placeOf(i, wide);
    out[i] = clipped(floor((clipped(luma[i]) * nine(up, at, wide + 1)) / (nine(down, at, wide + 1) + 4) + 0.5));
  }
  return out;
}

function learn(luma, chroma, told, up, down, wide) {
  for (let i = 0; i < luma.length; i++) {
    const at = placeOf(i, wide), L = clipped(luma[i]);
    up[at] += L * clipped(chroma[i] * 16 + told[i]) - floor(up[at] / 8);
    down[at] += L * L - floor(down[at] / 8);
  }
}

// -- the walk -------------------------------------------------------------------------------

function walkOf(shape, header, coder, F) {
  const { scales, coarsest, turn, farther } = header;
  const quarters = quartersOf(...shape), { where, count, span, extent } = quarters;
  const patches = shape[0] * shape[1];
  const means = [], firsts = []; // of each channel
  const known = scales.map(() => []), memory = scales.map(() => []), maps = scales.map(() => []);
  const pool = [], unsigned = [], guess = new F64(count), nothing = new F64(patches);
  const paired = pairedOf(header), lumas = [];
  const [ups, downs] = make(2, () => scales.map(() => new F64((shape[0] + 2) * (shape[1] + 1) + 1)));
  let luma = null;

  const first = (c) => {
    const { bands, mean, steep } = firstOf(shape, coarsest[c], F, coder, luma);
    luma ??= bands;
    firsts.push(mean);
    means.push(quarters.scatter(mean.map((x) => clipped(rint(x * 16), 2 ** 29))));
    known[c][0] = nonzeros(quarters.scatter(steep, U8));
  };

  // What is expected of one phase of a predicted component, in whole sixteenths.
  const predict = ({ channel, index }, w, told, phase, own) => {
    const lower = memory[channel], odd = (i) => (i & 1 ? -1 : 1);
    for (const p of phase.planes) {
      const { lefts, rights, ups, downs } = quarters.around[p];
      guess.fill(0);
      if (w) {
        const [from, to] = u(index) ? [lefts, rights] : [ups, downs];
        addMeans(guess, means[channel], where, from, to, w.means);
        if (phase.number > 1) {
          addPair(guess, own, lefts, odd(u(index)), rights, w.beside);
          addPair(guess, own, ups, odd(v(index)), downs, w.above);
        }
        // Of the first component there is no memory, and no weight where u, or v, is 0.
        addPair(guess, w.u && lower[index - 1], lefts, -1, rights, w.u);
        addPair(guess, w.v && lower[index - SIDE], ups, -1, downs, w.v);
      }
      settle(guess, told, own, where, span(p));
    }
  };

  const follow = (batch, signs) => {
    const Kind = F === fround ? F32 : F64;
    const here = batch.map((x, i) => {
      const { channel, index } = x;
      const others = turn ? make(min(channel, 2), (c) => [known[c][index], (of) => of(10 + c)]) : [];
      const there = others.filter(([map]) => map);
      const weights = weightsOf(index, known[channel], channel ? 3 : 0, there, 1, 8);
      const w = predictionOf(index), pair = paired(x);
      const told = pair && channel && lumas[index] && tell(lumas[index], ups[channel], downs[channel], shape[1]);
      return {
        x, w, told: told || nothing, own: weights.own, mine: new U8(extent), sheet: new Kind(patches),
        sums: sumsOf(quarters, weights, (pool[i] ??= new I32(3 * extent))),
        coded: (w || told) && new Kind(extent), rest: pair && new F64(patches),
      };
    });
    for (const phase of quarters.phases) {
      const { cells } = phase, size = cells.length, rows = new U8(batch.length * size);
      here.forEach(({ x, w, told, sums, own, mine, coded }, i) => {
        expected(quarters, phase, sums, mine, own, rows, i * size);
        if (coded) predict(x, w, told, phase, coded);
      });
      const some = coder.phase(rows, signs);
      let at = 0;
      here.forEach((one, i) => {
        const places = [];
        at = fill(one, where, cells, i * size, some, at, places, rows, farther);
        if (!signs) unsigned.push([one.sheet, places]);
      });
    }
    coder.learn();
    for (const { x: { channel, index }, w, told, mine, sheet, coded, rest } of here) {
      if (rest) {
        if (!channel) lumas[index] = rest;
        else if (lumas[index]) learn(lumas[index], rest, told, ups[channel], downs[channel], shape[1]);
      }
      known[channel][index] = nonzeros(mine);
      if (coded) {
        quarters.gather(coded, sheet);
        if (w) memory[channel][index] = coded;
      }
      maps[channel].push({ index, sheet });
    }
  };

  return { first, follow, firsts, maps, unsigned, extent };
}

// -- header and stream ------------------------------------------------------------------------

function readScales(read, channel) {
  const scale = new Array(SIZE).fill(0);
  const after = channel > 0;
  for (const index of diagonal.slice(0, read.number(`last ${after}`))) {
    const around = [];
    if (u(index)) around.push(scale[index - 1]);
    if (v(index)) around.push(scale[index - SIDE]);
    const guess = floor((sum(around) + (around.length >> 1)) / around.length);
    const kind = min(guess, 4);
    if (read.bit(`kept ${kind} ${after}`)) {
      const found = max(guess, 1) + read.signed(`scale ${min(kind, 2)}`);
      scale[index] = within(found, 1, 255);
    }
  }
  return scale;
}

function readTurns(read) {
  const count = read.number("turns");
  check(count <= 255, "rotations");
  const turns = make(count, () => [read.bits(8), read.bits(8), read.bits(8) - 64]);
  check(turns.every(([i, j, angle]) => i && i < j && abs(angle) <= 64), "rotation");
  return turns;
}

function readHeader(parts, shape) {
  const { channels } = parts, [data, end] = headerOf(parts);
  const read = bitReader(data);
  const header = readStart(read, channels);
  let lanes = read.number("lanes");
  let version = 0, crossed = 0, farther = 0, per = 0;
  if (!lanes) {
    version = read.bits(4);
    check(version && version < 5, "version");
    crossed = version < 2 || read.bits(1);
    if (version > 1) farther = read.bits(2) - 1;
    if (version > 2) per = read.bits(4);
    check(!crossed || header.turn, "turn");
    lanes = read.number("lanes");
  }
  const weighed = lanes > 32768;
  assign(header, {
    lanes: readLanes(read, lanes - 32768 * weighed), late: read.number("late"), strengths: readStrengths(read, parts, version > 1 ? 8 : 4),
    // Below 0: of frequencies, and not of their squares.
    power: weighed && read.bits(5) * (version > 3 || -1), gains: weighed && readCoarsest(read, shape),
    version, crossed, farther, per, end, scales: [], turns: [], coarsest: [],
  });
  each(channels, (c) => {
    header.scales.push(readScales(read, c));
    header.turns.push(readTurns(read));
    header.coarsest.push(readCoarsest(read, shape));
  });
  return header;
}

/** The components after the first ones that make up `rank` terms of each matrix. */
function keptOf(plan, rank, channels, patches) {
  if (rank === null || rank >= patches) return plan;
  const seen = make(channels, () => 1);
  return plan.filter(({ channel }) => seen[channel] < rank && seen[channel]++);
}

/** The samples of a payload. */
export function decodePatches(parts, { rank, partial }) {
  const { payload, width, height, channels, bits } = parts;
  const shape = [ceil(height / SIDE), ceil(width / SIDE)];
  const patches = shape[0] * shape[1];
  const header = readHeader(parts, shape), { scales, late, lanes, step } = header;
  checkRanks(
    parts.matrices, scales.map((s) => 1 + s.filter((x) => x).length),
    min(patches, SIZE),
  );
  const plan = orderOf(scales);
  const total = channels + plan.length;
  const kept = new Set(keptOf(plan, rank, channels, patches));
  const groups = batchesOf(plan, patches);
  const paired = pairedOf(header);
  const leaves = groups.flatMap((batch, i) =>
    batch.some((x) => predictionOf(x.index) || paired(x)) ? [] : i,
  );
  check(late <= leaves.length, "late signs");
  const unsigned = leaves.slice(leaves.length - late);
  const signed = late ? unsigned[0] : groups.length;
  const needed = groups.findLastIndex((batch) => batch.some((x) => kept.has(x))) + 1;
  const F = bits > 8 ? same : fround;
  let done = 0, walk = null, whole = 0;
  const cut = untilCut(parts, partial, () => {
    const rans = ransReader(payload.subarray(header.end), lanes);
    const coder = coefficients(rans, header.per);
    if (header.gains) header.gains = firstOf(shape, header.gains, F, coder).mean;
    walk = walkOf(shape, header, coder, F);
    check(total * walk.extent <= lanes * 131072, "lanes");
    for (; done < channels; done++) walk.first(done);
    whole = channels + sum(groups.slice(0, signed).map((batch) => batch.length));
    for (let i = 0; i < (needed <= signed ? needed : groups.length); i++) {
      walk.follow(groups[i], !unsigned.includes(i));
      done += groups[i].length;
    }
    if (late && done === total) signLate(walk.unsigned, rans, lanes);
  }, () => done);
  if (cut && done > channels) done = min(done, whole);
  const { firsts, maps } = walk;
  for (let c = firsts.length; c < channels; c++) firsts.push(firstOf(shape, header.coarsest[c], F).mean);
  const decoded = groups.flat().slice(0, max(done - channels, 0));
  const shown = new Set(decoded.filter((x) => kept.has(x)).map((x) => x.channel * SIZE + x.index));
  const planes = scales.map((_, c) => {
    const alpha = header.alpha && c === channels - 1; // which has half the step
    const own = alpha ? step / 2 : step;
    const some = maps[c].filter((x) => shown.has(c * SIZE + x.index));
    const precision = bits > 8 ? 24 : 13;
    const whole = planeOf(shape, firsts[c], some, header.turns[c], own, precision, F, alpha ? {} : header);
    header.power = -abs(header.power); // of all after the first
    return cropped(whole, shape[1] * SIDE, width, height);
  });
  if (shown.size === plan.length) filtered(planes, parts, header, F);
  return pictured(parts, header, planes, F);
}
