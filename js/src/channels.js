// The packed layout `channels`, written from stores/packed/channels/codec.py's specification:
// header, walk over the components, sums of outer products.

import { bound, check } from "./errors.js";
import {
  F64, I32, PI, U16, U8, abs, ceil, clipped, clz32, each, exponent, largest, floor, make, max, min, rint, same, sqrt, sum, within,
} from "./numbers.js";
import {
  bitReader, checkRanks, ransReader, readLanes, readStart, readStrengths, streamEnds, table,
  tokenModel, untilCut,
} from "./coding.js";
import { add } from "./maps.js";
import { filtered, pictured } from "./smoothing.js";
import { join } from "./wavelet.js";

const SIDE = 16;
const CAP = 1000;
const UNIT = 64;
const WAVELET = 0;
const BLOCKS = 1;
const MOST_LEVELS = 6;
const LARGEST = 2 ** 26;
const START = table(7, [16, 32, 64, 160, 400, 800, 1600]);
const WEIGHTS = table(18, [
  36, 6, 0, 0, 16, 422, 190, 0, 0,
  107, 76, 67, 57, 48, 70, 0, 235, 46,
  12, 23, 26, 25, 30, 486, 136, 0, 33,
  55, 48, 45, 42, 27, 214, 27, 225, 19,
  0, 6, 13, 19, 0, 424, 293, 0, 0,
  0, 4, 10, 17, 0, 401, 252, 60, 0,
  0, 9, 11, 17, 0, 365, 254, 0, 72,
  0, 9, 11, 12, 0, 360, 219, 51, 62,
]);

// -- the places of a row ---------------------------------------------------------------------

const coefficients = (length) => ceil(length / SIDE) * SIDE;

/** Sizes of a wavelet's coarsest samples and of its bands, coarse to fine. */
function bandSizes(length) {
  const highs = [];
  while (length > 8 && highs.length < MOST_LEVELS) {
    highs.unshift(length >> 1);
    length -= length >> 1;
  }
  return [length, ...highs];
}

function placesOf(m, n, kinds) {
  const lengths = [coefficients(m), coefficients(n)], size = sum(lengths);
  const missing = () => new I32(size).fill(size);
  const left = missing(), right = missing(), kin = [missing(), missing()];
  const depth = new I32(size), octave = depth.map((_, i) => i), sets = make(4, () => []);
  const band = (start, length, set, f) =>
    each(length, (i) => {
      if (i) {
        left[start + i] = start + i - 1;
        right[start + i - 1] = start + i;
      }
      f(start + i, i);
      sets[set + (i & 1)].push(start + i);
    });
  lengths.forEach((length, i) => {
    let start = i * lengths[0], before = start;
    const sizes = bandSizes(length), count = length / SIDE, first = start;
    if (kinds[i] === WAVELET) {
      sizes.forEach((size, b) => {
        const deep = b ? sizes.length - 1 - b : MOST_LEVELS;
        band(start, size, deep < 2 ? 2 : 0, (at, i) => {
          depth[at] = deep;
          if (b) kin[0][at] = min(before + (b > 1 ? i >> 1 : i), start - 1);
        });
        before = start;
        start += size;
      });
      return;
    }
    each(SIDE, (f) => {
      const octaves = clz32(f) - 28; // depth of the wavelet band that a frequency lies in
      const b = max(sizes.length - 1 - octaves, 0), from = first + sum(sizes.slice(0, b));
      band(start, count, 2 * (f & 1), (at, i) => {
        depth[at] = octaves;
        if (f) kin[0][at] = at - count;
        if (f < 15) kin[1][at] = at + count;
        octave[at] = from + min((SIDE * i + 8) >> (octaves + 1), sizes[b] - 1);
      });
      start += count;
    });
  });
  // The places of each phase, and whether they are of blocks.
  const phases = sets.map((places) => places.sort((a, b) => a - b));
  const blocks = (at) => kinds[at < lengths[0] ? 0 : 1];
  return { extent: size, left, right, kin, depth, octave, phases, blocks };
}

// -- models ------------------------------------------------------------------------------------

const ROWS = 40;
const TOP = 16384;
const EDGES = make(ROWS, (r) => {
  let e = 1;
  while (e ** 3 < 2 ** r) e++;
  return e;
});
const ROW = (() => {
  const table = new U8(TOP);
  for (let e = 0, row = 0; e < TOP; e++) {
    while (row < ROWS && EDGES[row] <= e) row++;
    table[e] = max(row, 1) - 1;
  }
  return table;
})();
const shiftOf = (row) => max(floor((row - 24) / 3), 0);
const AROUND = ROWS;
const BEFORE = AROUND + 100 * 8;
const ALL_ROWS = BEFORE + 10 * 7 * 4 * 2;

const MOST = 2047;
let ZERO, STRETCH;

/** A binary model of three contexts, their rows in one joint table: decodes a pass of flags and learns. */
function mixture(rans, scale) {
  const ones = new I32(ALL_ROWS).fill(6), all = ones.map(() => 12), odds = ones.slice();
  const weights = make(24, (i) => (i < 8 ? 2600 : 1300), I32);
  each(ROWS, (row) => {
    const from = ROW.indexOf(row);
    const middle = from < 0 ? 1 : from + ((ROW.lastIndexOf(row) - from + 1) >> 1);
    ones[row] = floor((192 * middle) / (scale + middle)) + 1;
    all[row] = 194;
  });
  const derive = (row) => (odds[row] = STRETCH[floor((ones[row] * 4096) / all[row])]);
  each(ALL_ROWS, derive);

  // Contexts' rows stand three at a time.
  return (rows, sets) => {
    const count = sets.length, odd = new I32(count), flags = new U8(count), pull = new F64(24);
    for (let i = 0; i < count; i++) {
      const s = sets[i];
      let total = odds[rows[3 * i]] * weights[s] + odds[rows[3 * i + 1]] * weights[8 + s];
      total = (total + odds[rows[3 * i + 2]] * weights[16 + s]) >> 12;
      odd[i] = clipped(total, MOST) + MOST;
    }
    rans.decide(odd, ZERO, flags);
    for (let i = 0; i < 3 * count; i++) {
      const k = (i / 3) | 0, row = rows[i];
      pull[8 * (i % 3) + sets[k]] += odds[row] * (flags[k] * 65536 - 65536 + ZERO[odd[k]]);
      all[row] += 16;
      ones[row] += 16 * flags[k];
    }
    pull.forEach((x, i) => {
      weights[i] = clipped(weights[i] + floor(x / 4194304), 32768);
    });
    for (const row of rows) {
      while (all[row] > 4080) {
        const zeros = ((all[row] - ones[row]) >> 1) + 1;
        ones[row] = (ones[row] >> 1) + 1;
        all[row] = zeros + ones[row];
      }
      derive(row);
    }
    return flags;
  };
}

function priorTokens() {
  const prior = [];
  EDGES.forEach((low, r) => {
    const mean = max((low + (EDGES[r + 1] ?? TOP)) >> shiftOf(r), 64);
    const share = floor(8388608 / (128 + mean));
    let left = 50331648;
    each(16, () => {
      prior.push(floor((left * share) / 4294967296) + 1);
      left -= floor((left * share) / 65536);
    });
  });
  return tokenModel(prior);
}

// -- the walk ----------------------------------------------------------------------------------

/** What decodes a component of a channel, one after the other. */
function walkOf(m, n, switches, rans) {
  ZERO ??= make(2 * MOST + 1, (i) => {
    const one = rint(65536 / (1 + Math.exp(-(i - MOST) / 256)));
    return 65536 - within(one, 32, 65504);
  }, I32);
  STRETCH ??= make(4096, (i) =>
    rint(256 * Math.log((i + 0.5) / (4095.5 - i))), I32);
  const all = [];
  const settled = (kinds) => (all[2 * kinds[0] + kinds[1]] ??= placesOf(m, n, kinds));
  const first = settled([WAVELET, WAVELET]);
  // One more place than there are: what a neighbour that is not there has.
  const channels = switches.map(() => ({
    here: first, last: make(4, () => new I32(first.extent + 1)),
    mean: I32.from([...first.depth, -1], (depth) => START[depth]), count: 0,
  }));
  const nonzero = mixture(rans, UNIT), above = mixture(rans, 2 * UNIT), model = priorTokens();

  // Raw bits of several numbers, plane by plane.
  const numbers = (lengths) => {
    const found = lengths.map(() => 0);
    for (let plane = largest(lengths); plane--; ) {
      lengths.forEach((length, i) => {
        if (length > plane) found[i] += rans.sign() * 2 ** plane;
      });
    }
    return found;
  };

  const magnitudes = (rows, sets) => {
    const q = F64.from(nonzero(rows, sets)), chosen = [];
    q.forEach((x, i) => x && chosen.push(i));
    if (!chosen.length) return q;
    const some = chosen.flatMap((i) => [...rows.subarray(3 * i, 3 * i + 3)]);
    const more = above(some, chosen.map((i) => sets[i]));
    const hit = chosen.filter((_, j) => more[j]);
    if (!hit.length) return q;
    const row = hit.map((i) => rows[3 * i]), token = new U8(hit.length);
    rans.tokens(row, model, token);
    model.tally(row, token);
    model.learn();
    const rest = Array.from(token), escaped = [];
    token.forEach((x, j) => x === 15 && escaped.push(j));
    const lengths = numbers(escaped.map(() => 5));
    check(largest(lengths) <= 27, "coefficient");
    numbers(lengths).forEach((x, i) => (rest[escaped[i]] += x + 2 ** lengths[i] - 1));
    const shift = row.map(shiftOf);
    numbers(shift).forEach((x, j) => (q[hit[j]] = 2 + rest[j] * 2 ** shift[j] + x));
    check(largest(q) < LARGEST, "coefficient");
    return q;
  };

  return (c) => {
    const channel = channels[c], { mean, count, last } = channel;
    const here = settled(switches[c].map((x) => (count < x ? WAVELET : BLOCKS)));
    const { extent: size, left, right, kin: [kin, kin2], depth, octave } = here;
    if (here !== channel.here) {
      // Where a transform changes, history moves.
      const old = mean.slice();
      octave.forEach((to, i) => {
        const moved = to === channel.here.octave[i] ? i : to;
        mean[i] = old[moved];
        if (moved !== i) for (const one of last) one[i] = floor(old[moved] / UNIT);
      });
      channel.here = here;
    }
    const [l0, l1, l2, l3] = last;
    const own = new I32(size + 1), result = new F64(size);
    here.phases.forEach((places, phase) => {
      if (!places.length) return;
      const rows = new U16(3 * places.length);
      const sets = places.map((at) => 4 * here.blocks(at) + phase);
      const coarse = (x) => min(ROW[min(x + 1, TOP - 1)] >> 2, 9);
      places.forEach((at, i) => {
        const l = left[at], r = right[at], set = sets[i], w = 9 * set;
        const beside = UNIT * (l0[l] + l1[l] + l0[r] + l1[r]);
        const near = UNIT * (own[l] + own[r]);
        const relatives = UNIT * (own[kin[at]] + own[kin2[at]]);
        let e = UNIT * (WEIGHTS[w] * l0[at] + WEIGHTS[w + 1] * l1[at] + WEIGHTS[w + 2] * l2[at] + WEIGHTS[w + 3] * l3[at]);
        e += WEIGHTS[w + 4] * beside + WEIGHTS[w + 5] * mean[at] + WEIGHTS[w + 6] * (mean[l] + mean[r]) + WEIGHTS[w + 7] * near + WEIGHTS[w + 8] * relatives;
        const around = coarse(phase & 1 ? near >> 1 : relatives);
        rows[3 * i] = ROW[min(floor(e / 1024) + 1, TOP - 1)];
        rows[3 * i + 1] = (coarse(mean[at]) * 10 + around) * 8 + set + AROUND;
        const [two, side] = [coarse((UNIT * (l0[at] + l1[at])) >> 1), coarse(beside >> 2)];
        rows[3 * i + 2] =
          ((two * 7 + depth[at]) * 4 + ((side / 3) | 0)) * 2 + (set >> 2) + BEFORE;
      });
      const q = magnitudes(rows, sets);
      places.forEach((at, i) => {
        own[at] = min(q[i], CAP);
        result[at] = q[i];
      });
    });
    channel.last = [own, l0, l1, l2];
    own.forEach((x, i) => {
      const news = UNIT * x - mean[i];
      mean[i] += count ? (news * 3) >> 4 : news;
    });
    channel.count++;
    return result.map((x) => (x && rans.sign() ? -x : x));
  };
}

// -- from coefficients to samples ----------------------------------------------------------------

/** Undo the DCT-IV, in integers, and the rotations across boundaries. */
function unblocked(Y) {
  const fine = (x, unit) => rint(x * unit);
  const rotation = (f) =>
    make(8, (x) => fine(f((PI / 4) * (1 + (2 * x + 1) / SIDE)), 2 ** 30) / 2 ** 30);
  const cosine = rotation(Math.sin), sine = rotation(Math.cos);
  const C = make(SIDE, (x) =>
    make(SIDE, (y) => fine(sqrt(2 / SIDE) * Math.cos((PI / SIDE) * ((x + 0.5) * (y + 0.5))), 262144)),
  );
  const count = Y.length / SIDE, X = new F64(Y.length);
  each(count, (b) => {
    each(SIDE, (j) => {
      let sum = 0;
      for (let f = 0; f < SIDE; f++) sum += C[j][f] * Y[f * count + b];
      X[b * SIDE + j] = sum / 262144;
    });
  });
  for (let at = SIDE; at < X.length; at += SIDE) {
    for (let j = 0; j < 8; j++) {
      const after = X[at + j], before = X[at - 1 - j];
      X[at + j] = cosine[j] * after + -sine[j] * before;
      X[at - 1 - j] = cosine[j] * before - -sine[j] * after;
    }
  }
  return X;
}

function unwaveleted(Y) {
  const sizes = bandSizes(Y.length);
  let at = sizes[0], X = Array.from(Y.slice(0, at));
  for (const size of sizes.slice(1)) {
    X = join(X, Array.from(Y.slice(at, at + size)), same);
    at += size;
  }
  return X;
}

/** The matrix of a channel's components, exactly. */
function sumOf(components, header, c, height, width) {
  const [low, high] = header.offsets, heads = coefficients(height);
  const sixteenths = (q) => {
    const size = abs(q);
    return q ? Math.sign(q) * (16 * size - (size > 1 ? high : low)) : 0;
  };
  const scale = header.step / 16;
  const terms = components.map((row, i) => {
    const Y = row.map(sixteenths);
    const vector = (part, kind) =>
      (i < header.switches[c][kind] ? unwaveleted : unblocked)(Y.slice(...part));
    let [first, second, third] = [0, 0, 0];
    each(heads, (j) => {
      const size = abs(Y[j]), a = floor(size / 32768), b = size % 32768;
      first += a * a;
      second += a * b;
      third += b * b;
    });
    const length = sqrt(first * 2 ** 30 + second * 65536 + third) || 1;
    const u = vector([0, heads], 0).slice(0, height).map((x) => (x / length) * scale);
    return { u, v: vector([heads], 1).slice(0, width) };
  });
  const sizes = terms.map(({ u, v }) => [largest(u), largest(v)]);
  const room = 52 - exponent(sizes.reduce((sum, [a, b]) => sum + a * b, 0));
  terms.forEach((term, i) => {
    const left = floor((room + exponent(sizes[i][1]) - exponent(sizes[i][0])) / 2);
    term.u = F64.from(term.u, (x) => rint(x * 2 ** left));
    term.v = F64.from(term.v, (x) => rint(x * 2 ** (room - left)));
  });
  const out = new F64(height * width), unit = 2 ** -room, V = new F64(terms.length * width);
  terms.forEach(({ v }, i) => V.set(v, i * width));
  for (let i = 0; i < terms.length; i += 8) {
    const some = make(8, (j) => min(i + j, terms.length - 1) * width);
    each(height, (y) => add(out, y * width, width, V, some, make(8, (j) => terms[i + j]?.u[y] ?? 0), 0));
  }
  return out.map((x) => x * unit);
}

// -- header and stream ---------------------------------------------------------------------------

function readHeader(parts, most) {
  const { payload, channels } = parts;
  if (payload.length < 2) throw streamEnds(parts);
  const end = 2 + payload[0] + 256 * payload[1];
  if (payload.length < end) throw streamEnds(parts);
  const read = bitReader(payload.subarray(2, end));
  const header = readStart(read, channels);
  header.end = end;
  header.offsets = [read.bits(3), read.bits(3)];
  header.lanes = readLanes(read);
  header.strengths = readStrengths(read, parts);
  header.switches = make(channels, () => [read.number("switch"), read.number("switch")]);
  const terms = read.number("terms");
  check(terms <= most * channels, "components");
  header.order = [];
  const left = make(channels, () => most);
  for (let i = 0, before = 0; i < terms; i++) {
    let c = 0;
    if (channels > 4) {
      // The binary digits of a channel, the highest first.
      const most = 2 ** (32 - clz32(channels - 1));
      for (c = 1; c < most; ) c = 2 * c + read.bit(`digit ${c}`);
      c -= most;
      check(c < channels, "channel");
    } else while (c < channels - 1 && !read.bit(`channel ${before} ${c}`)) c++;
    check(left[c]-- > 0, "components");
    header.order.push(c);
    before = c;
  }
  return header;
}

/** The samples of a payload. */
export function decodeChannels(parts, { rank, partial }) {
  const { payload, width, height } = parts;
  const header = readHeader(parts, min(height, width));
  const counts = header.switches.map((_, c) => header.order.filter((x) => x === c).length);
  checkRanks(parts.matrices, counts, min(height, width));
  const total = header.order.length, places = total * (height + width);
  check(places <= header.lanes * 131072, "lanes");
  bound(places, 2 ** 26);
  bound(total * height * width, 2 ** 38);
  const found = counts.map(() => []);
  const wanted = counts.map((count) => min(count, rank ?? count));
  untilCut(parts, partial, () => {
    const rans = ransReader(payload.subarray(header.end), header.lanes);
    const component = walkOf(height, width, header.switches, rans);
    for (const c of header.order) {
      if (!wanted.some(Boolean)) break;
      found[c].push(component(c));
      wanted[c] = max(wanted[c] - 1, 0);
    }
  }, () => found.flat().length);
  const kept = found.map((rows) => rows.slice(0, rank ?? rows.length));
  const planes = kept.map((rows, c) => sumOf(rows, header, c, height, width));
  if (sum(kept.map((rows) => rows.length)) === total) {
    filtered(planes, parts, header, same);
  }
  if (header.alpha) planes.push(planes.pop().map((x) => x / 2));
  return pictured(parts, header, planes, same);
}
