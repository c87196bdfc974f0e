// The packed layout `stack`, written from docs/PACKED.md: planes that look like frames, and a
// basis across the frames.

import { bound, check } from "./errors.js";
import {
  F32, F64, I32, U16, U8, abs, assign, ceil, each, exponent, floor, largest, make, max, min, rint, same, sum, within,
} from "./numbers.js";
import {
  bitReader, Cut, checkRanks, ransReader, readLanes, readStep, readTurn, signLate, table, tokenModel,
  untilCut,
} from "./coding.js";
import { arrayOf } from "./floats.js";
import { SIDE, cropped, toSamples, waves } from "./lapped.js";
import {
  CAP, LOG, PAD, coefficients, diagonal, expected, firstOf, headerOf, planeOf, quartersOf,
  nonzeros, readCoarsest, rowOf, sumsOf, u, v, weightsOf,
} from "./maps.js";
import { limitsOf, shapeOf } from "./reading.js";

// Share of non-zeros by row, and of tokens by pair of rows: of the two quantisers.
const FLAGS = table(1, [
  200, 575, 926, 926, 1281, 1478, 2968, 3258, 5213, 7719, 11597,
  15905, 22041, 29424, 35654, 41550, 46345, 50260, 54267, 57063, 58986, 60657,
  61412, 62096, 63211, 63631, 64150, 64526, 65011, 65069, 65164, 65457, 0,
  0,
  1192, 2233, 3215, 3215, 4202, 4790, 7035, 8832, 11979, 15500, 19786,
  24448, 29778, 35320, 41254, 46113, 50190, 54418, 57403, 59604, 61383, 62611,
  63356, 63738, 64210, 64568, 64568, 64885, 65045, 65045, 65337, 65412, 0,
  0,
]);
const TOKENS = table(16, [
  711, 29, 5, 2, 1, 2, 0, 0, 0, 1, 0, 0, 1, 0, 0, 16,
  760, 8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0,
  763, 5, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0,
  756, 8, 3, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0,
  758, 9, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0,
  752, 13, 2, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0,
  721, 42, 4, 1, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0,
  632, 111, 20, 4, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0,
  464, 195, 72, 23, 8, 3, 1, 1, 0, 0, 0, 0, 0, 0, 0, 0,
  277, 194, 129, 75, 42, 22, 13, 6, 4, 2, 1, 1, 0, 0, 0, 1,
  161, 139, 118, 91, 70, 53, 38, 29, 20, 13, 11, 7, 5, 3, 3, 7,
  99, 87, 82, 71, 64, 59, 51, 43, 36, 30, 25, 21, 18, 15, 16, 52,
  76, 69, 62, 58, 53, 51, 43, 43, 41, 34, 31, 27, 24, 20, 21, 114,
  87, 73, 70, 69, 61, 58, 46, 47, 38, 34, 29, 27, 23, 18, 17, 70,
  88, 84, 79, 66, 71, 59, 51, 40, 35, 34, 25, 24, 18, 15, 12, 66,
  63, 60, 63, 56, 57, 48, 46, 41, 39, 31, 26, 25, 22, 17, 18, 156,
  768, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0,
  758, 5, 1, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 2,
  764, 4, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0,
  765, 3, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0,
  764, 4, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0,
  761, 7, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0,
  745, 22, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0,
  683, 80, 5, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0,
  540, 189, 32, 5, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0,
  361, 255, 101, 33, 12, 4, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0,
  212, 213, 140, 87, 54, 29, 16, 8, 4, 3, 2, 1, 0, 0, 0, 0,
  123, 138, 119, 101, 76, 60, 44, 32, 24, 16, 11, 7, 5, 3, 2, 5,
  74, 87, 84, 75, 68, 61, 53, 46, 40, 33, 29, 23, 19, 15, 13, 50,
  42, 54, 52, 51, 50, 45, 43, 42, 37, 37, 33, 31, 29, 25, 26, 170,
  65, 67, 67, 63, 58, 52, 54, 42, 33, 29, 27, 27, 24, 20, 19, 123,
  85, 85, 75, 69, 58, 53, 51, 41, 31, 25, 23, 22, 21, 16, 15, 97,
  82, 74, 68, 64, 53, 45, 44, 35, 29, 26, 22, 21, 16, 19, 14, 156,
  768, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0,
]);
const LENGTHS = table(16, [180, 150, 130, 110, 80, 50, 30, 16, 8, 4, 3, 2, 2, 1, 1, 1]);
const SECOND = 34; // rows from those of the first quantiser to those of the second
// The state after one, and a level of even or odd parity; odd states have the second quantiser.
const NEXT = table(8, [0, 2, 5, 7, 1, 3, 6, 4, 2, 0, 4, 6, 3, 1, 7, 5]);
const BEFORE = [700, 500]; // weights of the two maps before

// -- header -----------------------------------------------------------------------------------

function readColumns(read, count) {
  let exponent = 0, size = 0;
  return make(count, () => {
    exponent += read.signed("exponent");
    const differences = read.bit("differences"), shift = read.number("shift");
    size += read.signed("size");
    check(exponent >= 0 && exponent <= 36 && shift <= 36 && size >= 0 && size < 64, "basis");
    return { exponent, differences, shift, large: size };
  });
}

/** Of each map the sizes of its components but the first, by frequency. */
function readScales(read, count) {
  const slope = read.bits(5);
  let level = 0, last = 0;
  return make(count, () => {
    level += read.signed("level");
    const whole = read.bit("all");
    if (!whole) last += read.signed("last");
    const kept = whole ? 255 : last;
    check(level >= 1 && level <= 96 && kept >= 0 && kept < 256, "profile");
    const scales = [];
    for (const index of diagonal.slice(0, kept)) {
      scales[index] = max(level - ((slope * LOG[u(index) + v(index)]) >> 10), 1);
    }
    return scales;
  });
}

function readHeader(parts, shape) {
  const { channels, frames } = parts, [data, end] = headerOf(parts), read = bitReader(data);
  let first = read.bits(6), later = 0;
  if (first > 62) {
    later = read.bits(4);
    check(later && later < 4, "version");
    first = read.bits(6);
  }
  const step = readStep(read, first), changed = read.bits(1);
  const turn = channels >= 3 && read.bits(1) ? readTurn(read) : null;
  const lanes = readLanes(read), late = read.number("late");
  const planes = changed ? read.number("planes") : frames;
  check(planes <= frames, "planes");
  const columns = changed ? readColumns(read, planes) : null;
  const maps = planes * channels;
  check(maps <= 64 * (data.length + 64), "planes");
  const transform = later > 2 ? read.bits(2) : 0;
  check(later < 3 || transform, "version");
  const classed = later > 2 ? read.bits(1) : later > 1;
  const classes = classed ? readClasses(read, maps, parts.width * parts.height) : { base: maps, centres: [] };
  const scales = readScales(read, maps);
  const coarsest = make(maps, () => readCoarsest(read, shape));
  return { end, step, later, transform, turn, lanes, late, planes, columns, scales, coarsest, ...classes };
}

/** What tells the class of a pixel, and how many maps predict one. */
function readClasses(read, maps, pixels) {
  const count = read.number("classes"), base = read.number("base"), stride = read.number("each");
  check(count * base * stride && count < 65 && base <= min(32, maps) && count * (maps + 1) <= pixels, "planes");
  const drop = read.bits(4), fine = read.bits(3), centres = make(count, () => []);
  each(base, (j) => {
    const coarse = read.number("coarse");
    let x = 0;
    for (const one of centres) {
      x += read.signed("centre");
      one[j] = x * 2 ** coarse;
      check(coarse < 23 && abs(one[j]) < 8388608, "planes");
    }
  });
  return { base, stride, drop, fine, centres };
}

/** The columns of the basis. */
function readEntries(rans, frames, columns) {
  const coder = coefficients(rans);
  return columns.map(({ exponent, differences, shift, large: size }) => {
    const entries = new F64(frames), unit = 2 ** exponent;
    const known = (i) => min(abs(entries[i]), CAP);
    each(2, (start) => {
      const rows = make((frames + 1 - start) >> 1, (i) => {
        const after = 2 * i + 2 < frames ? 2 * i + 2 : 2 * i;
        return rowOf(start ? 128 * size + 256 * (known(2 * i) + known(after)) : 256 * size);
      }, U8);
      const { hit, found } = coder.phase(rows, true);
      hit.forEach((i, j) => (entries[2 * i + start] = found[j]));
    });
    coder.learn();
    const low = entries.map(() => rans.number(shift));
    entries.forEach((x, i) => {
      const y = abs(x) * 2 ** shift + low[i];
      entries[i] = x < 0 || (!x && y && rans.sign()) ? -y : y;
    });
    check(largest(entries) <= 4 * unit, "basis");
    if (differences) {
      let before = 0;
      entries.forEach((x, i) => (entries[i] = before += x));
      check(largest(entries) <= 2 * unit, "basis");
    }
    return entries.map((x) => x / unit);
  });
}

/** Components of a group of maps, coded some at a time: at most one of each map. */
function batchesOf(scales, patches) {
  const most = within(floor(6144 / patches), 1, 64), result = [];
  for (let level = 32; level >= 0; level--) {
    const queues = new Map();
    scales.forEach((one, map) => {
      const some = [];
      one.forEach((size, index) => floor(size / 3) === level && some.push(index));
      if (some.length) queues.set(map, some);
    });
    while (queues.size) {
      const batch = [], taken = new Set();
      for (const [map, queue] of queues) {
        const place = queue.slice(0, 8).findIndex((index) => !taken.has(index));
        if (place < 0) continue;
        const [index] = queue.splice(place, 1);
        if (!queue.length) queues.delete(map);
        taken.add(index);
        batch.push({ channel: map, index });
        if (batch.length === most) break;
      }
      result.push(batch);
    }
  }
  return result;
}

// -- planes -----------------------------------------------------------------------------------

/** Planes of the size of a frame, in sixteenths of a step, of each channel of each; and the basis. */
function decodePlanes(parts, rank, partial) {
  const { payload, width, height, channels, frames } = parts;
  const shape = [ceil(height / SIDE), ceil(width / SIDE)], patches = shape[0] * shape[1];
  const header = readHeader(parts, shape);
  const { later, transform, lanes, late, columns, scales, coarsest, base, stride, drop, fine, centres } = header, maps = scales.length;
  const rest = [height, width].map((n) => (later ? ((n - 1) % SIDE) + 1 : SIDE));
  // Whether the patch at a place, at the far edge, lacks a component.
  const lacks = (index, place) =>
    !waves(place < patches - shape[1] ? SIDE : rest[0])[v(index)][0] ||
    !waves((place + 1) % shape[1] ? SIDE : rest[1])[u(index)][0];
  checkRanks(parts.matrices, [header.planes], min(...shapeOf(parts)));
  if (columns || centres.length) bound(frames * maps * height * width, 2 ** 42);
  const planes = make(maps, () => new I32(width * height));
  const quarters = quartersOf(...shape), { where, extent } = quarters;
  const known = make(maps, () => []), states = known.map(() => new U8(extent));
  const pool = make(64, () => new I32(3 * extent));
  const group = max(1, floor(8192 / patches));
  const numberOf = (from, to) => sum(scales.slice(max(from, 0), to).map((x) => sum(x.map(() => 1)) + 1));
  let B = null, bands = null, done = 0, symbols = 0, ended = false;
  const weights = [];

  const decodeGroup = (rans, coder, from) => {
    const to = min(from + group, maps);
    symbols += numberOf(from - 2, to) * extent;
    check(symbols <= lanes * 131072, "lanes");
    const plan = batchesOf(scales.slice(from, to), patches), signed = plan.length - (to < maps ? 0 : late);
    check(signed >= 0, "late signs");
    const values = new F32((numberOf(from, to) - to + from) * patches);
    const firsts = [], coded = [], unsigned = [];
    let used = 0, whole = 0;

    const next = (batch, signs) => {
      const here = batch.map(({ channel: map, index }, i) => {
        const others = BEFORE.map((x, back) => [known[from + map - 1 - back]?.[index], () => x]).filter(
          ([one]) => one,
        );
        const weights = weightsOf(index, known[from + map], 0, others, others.length ? 0.85 : 1, 16);
        const sums = sumsOf(quarters, weights, pool[i]);
        return { sums, own: weights.own, seen: new U8(extent), state: states[from + map] };
      });
      for (const phase of quarters.phases) {
        const { cells } = phase, length = cells.length;
        const rows = new U8(batch.length * length), places = [];
        here.forEach(({ sums, own, seen, state }, i) => {
          expected(quarters, phase, sums, seen, own, rows, i * length);
          cells.forEach((cell, j) => {
            j += i * length;
            rows[j] = SECOND * (state[cell] & 1) + (lacks(batch[i].index, where[cell]) ? PAD : rows[j]);
          });
        });
        const { hit, found } = coder.phase(rows, signs);
        let at = 0;
        here.forEach(({ seen, state }, i) => {
          cells.forEach((cell, j) => {
            const half = state[cell] & 1;
            let q = 0;
            if (hit[at] === i * length + j) {
              q = found[at++];
              seen[cell] = min(2 * abs(q) - half, CAP);
              // A place beyond the edge, of a hostile file, is the one before the map.
              const place = (used + i) * patches + where[cell];
              places.push(place < 0 ? values.length - 1 : place);
              values[places[places.length - 1]] = 16 * q - 8 * half * Math.sign(q);
            }
            if (!lacks(batch[i].index, where[cell])) state[cell] = NEXT[2 * state[cell] + (q & 1)];
          });
        });
        if (!signs) unsigned.push([values, places]);
      }
      coder.learn();
      batch.forEach(({ channel: map, index }, i) => {
        known[from + map][index] = nonzeros(here[i].seen);
        const at = (used + i) * patches;
        coded.push({ channel: map, index, sheet: values.subarray(at, at + patches) });
      });
      used += batch.length;
    };

    ended = untilCut(parts, true, () => {
      for (let map = from; map < to; map++) {
        const first = firstOf(shape, coarsest[map], same, coder, bands);
        bands = first.bands;
        firsts.push(first.mean);
        known[map][0] = nonzeros(quarters.scatter(first.steep.map((x) => min(2 * x, CAP)), U8));
        whole++;
      }
      plan.forEach((batch, i) => {
        next(batch, i < signed);
        if (i < signed) whole += batch.length;
      });
      if (to === maps && late) signLate(unsigned, rans, lanes);
      whole = to - from + used;
    }, () => true);
    done += whole;
    known.fill([], 0, max(to - 2, 0));
    if (!done) return;
    const some = ended ? coded.slice(0, max(whole - to + from, 0)) : coded;
    for (let map = from; map < to; map++) {
      const mean = firsts[map - from] ?? firstOf(shape, coarsest[map], same).mean;
      const own = some.filter((x) => x.channel === map - from);
      const levels = planeOf(shape, mean, own, [], SIDE, 24, same, { rest, transform }).map(rint);
      check(largest(levels) < 2 ** 31, "plane");
      planes[map].set(cropped(levels, shape[1] * SIDE, width, height));
    }
  };

  /** Add to planes what their weights make, in each class of pixels, of those before. */
  const predict = () => {
    const members = centres.map(() => []);
    planes[0].forEach((_, i) => {
      const far = centres.map((one) =>
        sum(one.map((x, j) => x * (x - 2 * (((planes[j][i] >> drop) << 8) >> 8)))),
      );
      members[far.indexOf(min(...far))].push(i);
    });
    members.forEach((places, c) => {
      const n = places.length, numbers = [], units = [];
      const add = (values, mean) => {
        values = values.map((x) => x - mean);
        const unit = 2 ** min(fine + (exponent(n) >> 1) - exponent(sum(values.map(abs))), 0);
        numbers.push(values.map((x) => x * unit));
        units.push(unit);
      };
      add(places.map(() => 1), 0);
      planes.forEach((plane, map) => {
        const own = weights[map - base]?.[c] ?? [];
        check(
          sum(own.map((x, j) => abs(x) * largest(numbers[j]))) < 2 ** 53 * min(...units.slice(0, own.length)), "planes",
        );
        const values = places.map((i, at) => {
          check((plane[i] += rint(sum(own.map((x, j) => x * numbers[j][at])))) === plane[i], "planes");
          return plane[i];
        });
        add(values, floor(sum(values) / n));
      });
    });
  };

  untilCut(parts, partial, () => {
    const rans = ransReader(payload.subarray(header.end), lanes);
    if (columns) B = readEntries(rans, frames, columns);
    const coder = coefficients(rans, 0, FLAGS, TOKENS, later ? tokenModel(LENGTHS) : null);
    const weigher = coefficients(rans);
    let sent = centres.map(() => [2]);
    for (let from = 0; from < maps && !ended; from += group) {
      // Of each class the weight of 1, then those of the maps that predict this one.
      const some = make(maps, same).slice(max(from, base), from + group).map((i) => {
        const width = i + 1 - ((i - base) % stride);
        const rows = sent.flatMap((x) => make(width, (j) => rowOf(1024 * min(abs(x[j] ?? x.at(-1)), CAP))));
        const { hit, found } = weigher.phase(rows, true);
        rows.fill(0);
        found.forEach((x, j) => (rows[hit[j]] = x));
        weigher.learn();
        return (sent = sent.map((_, c) => rows.slice(c * width, c * width + width)));
      });
      weights.push(...some);
      decodeGroup(rans, coder, from);
    }
    if (ended) throw new Cut();
  }, () => done);
  if (centres.length) predict();
  const kept = min(header.planes, rank ?? Infinity);
  const sizes = make(kept, (k) => max(...planes.slice(k * channels, (k + 1) * channels).map(largest)));
  const finest = B && largest(columns.map((x) => x.exponent));
  check(!B || sum(sizes.map((x, k) => x * largest(B[k]))) * 2 ** finest < 2 ** 53, "planes");
  return { ...header, all: planes, B, kept };
}

/** The tiles of a stack, or the only one: where it is, and what decodePlanes gives. */
function decodeTiles(parts, rank, partial) {
  const { width, height, channels, frames } = parts, [data, end] = headerOf(parts), read = bitReader(data);
  if (read.bits(10) !== 1012) return [{ ...parts, top: 0, left: 0, ...decodePlanes(parts, rank, partial) }];
  const down = read.number("down") * SIDE, across = read.number("across") * SIDE, planes = read.number("planes");
  check(down && across && down < height + SIDE && across < width + SIDE);
  bound(ceil(height / down) * ceil(width / across), 4096);
  checkRanks(parts.matrices, [planes], min(...shapeOf(parts)));
  const tiles = [];
  let at = end, there = 0, work = 0;
  try {
    for (let top = 0; top < height; top += down) {
      for (let left = 0; left < width; left += across) {
        const tile = {
          ...parts, top, left, matrices: [], payload: parts.payload.subarray(at),
          height: min(down, height - top), width: min(across, width - left),
        };
        const [payload, size] = headerOf(tile);
        at += size;
        assign(tile, decodePlanes({ ...tile, payload, missing: 0 }, rank));
        tiles.push(tile);
        there += tile.planes;
        work += tile.planes * tile.height * tile.width;
        check(there <= planes && there * channels <= 64 * (at + 64), "planes");
        bound(work * channels * frames, 2 ** 42);
      }
    }
  } catch (error) {
    if (!partial || !tiles.length || error.kind !== "truncated") throw error;
    return tiles;
  }
  check(there === planes && at === parts.payload.length);
  return tiles;
}

/** The samples of a frame; its planes are kept for the next one. */
export function decodeStack(parts, { rank, partial, frame }) {
  const { width, height, channels, range } = parts, key = `${rank} ${partial}`;
  if (parts.stacked?.key !== key) parts.stacked = { key, tiles: decodeTiles(parts, rank, partial) };
  const room = (size) => (range ? new U16(size * channels) : arrayOf(parts, size * channels));
  const samples = room(width * height);
  for (const { all, B, kept, turn, step, top, left, width: w, height: h } of parts.stacked.tiles) {
    const size = w * h, own = room(size), planes = make(channels, (c) => {
      const out = new F64(size);
      each(kept, (k) => {
        const weight = B ? B[k][frame] : +(k === frame), plane = all[k * channels + c];
        if (weight) for (let i = 0; i < size; i++) out[i] += weight * plane[i];
      });
      return out.map((x) => (x * step) / SIDE);
    });
    toSamples(planes, turn, range ? [0, 65535] : limitsOf(parts), same, own);
    each(h, (y) => {
      const row = own.subarray(y * w * channels, (y + 1) * w * channels);
      samples.set(row, ((top + y) * width + left) * channels);
    });
  }
  return samples;
}
