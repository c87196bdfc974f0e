// What both packed layouts share: the coders, the first fields of a header, the tokens' model.

import { LrkError, check } from "./errors.js";
import { F64, I32, U16, U32, U8, clz32, floor, imul, make, min, sum, viewOf } from "./numbers.js";

/** The stream ends before the symbol asked for. */
export class Cut extends Error {}

/** The range decoder of headers; past the end of its data it reads zeros. */
export function bitReader(data, base = 256, rate = 4) {
  let at = 4, range = base ** 4 - 1;
  let code = [0, 1, 2, 3].reduce((sum, i) => sum * base + (data[i] ?? 0), 0);
  const models = new Map();

  // Whether the code lies at or above a bound: then it and the range lose what is below.
  const above = (bound) => {
    const value = code >= bound ? 1 : 0;
    if (value) code -= bound;
    range = value ? range - bound : bound;
    while (range < 16777216) {
      range *= base;
      code = (code * base + (data[at++] ?? 0)) % 4294967296;
    }
    return value;
  };

  const bit = (context) => {
    const p = models.get(context) ?? 2048;
    const value = above(floor(range / 4096) * p);
    models.set(context, value ? p - (p >> rate) : p + ((4096 - p) >> rate));
    return value;
  };

  const bits = (count) => {
    let value = 0;
    for (; count; count--) {
      range -= range % 2; // both halves are as large
      value = 2 * value + above(range / 2);
    }
    return value;
  };

  const number = (context) => {
    let length = 1;
    while (bit(`${context} ${length}`)) check(++length <= 32, "number");
    return 2 ** (length - 1) - 1 + bits(length - 1);
  };

  const signed = (context) => {
    const value = number(context);
    return value % 2 ? -(value + 1) / 2 : value / 2;
  };

  return { bit, bits, number, signed };
}

// The numbers of all tables as text, in digits of base 91: the build writes it.
const DIGITS = "";
const digits = bitReader(U8.from(DIGITS, (x) => (x.charCodeAt() % 92) - 1), 91, 3);

/**
 * The integers of a table in rows of so many. The build writes of the list only how long it is: the
 * numbers' differences to the row above are among the digits, coded as headers are.
 */
export function table(row, list) {
  if (!DIGITS) return list;
  const out = new I32(list);
  return out.map((_, i) => {
    const above = out[i - row] ?? 0, context = clz32(above) >> 1, size = digits.number(context);
    return (out[i] = above + (size && digits.bit(context) ? -size : size));
  });
}

export const readStep = (read, e = read.bits(6)) => (1 + read.bits(10) / 1024) * 2 ** (e - 16);

export const readTurn = (read) => make(3, () => read.bits(8) - 128);

/** Step, colour rotation and what is said of alpha. */
export function readStart(read, channels) {
  const step = readStep(read);
  const [turned, alpha] = [read.bits(1), read.bits(1)];
  check(
    (!turned || channels >= 3) && (!alpha || channels === 2 || channels === 4),
    "flag",
  );
  const turn = turned ? readTurn(read) : null;
  const levels = alpha && read.bits(1) ? [read.bits(16), read.bits(16)] : null;
  return { step, turn, alpha, levels };
}

export function readLanes(read, lanes = read.number("lanes")) {
  check(lanes >= 1 && lanes <= 16384, "lanes");
  return lanes;
}

/** Strengths of the filter of each channel, of a picture that is not too large for it. */
export function readStrengths(read, { width, height, channels }, digits = 4) {
  const found = make(channels, () => read.bits(digits));
  check(!found.some(Boolean) || width * height <= 4194304, "smoothing");
  return found;
}

/** Decode until the stream ends; that it ends early is allowed to a part of which something is decoded. */
export function untilCut(parts, partial, decode, done) {
  try {
    decode();
    return false;
  } catch (error) {
    if (!(error instanceof Cut)) throw error;
    if (!partial || !done()) throw streamEnds(parts);
    return true;
  }
}

/** Interleaved rANS, and the raw bits between its words; all little-endian, as every browser is. */
export function ransReader(data, lanes) {
  const count = (data.length >> 1) - 2 * lanes;
  if (count < 0) throw new Cut();
  const { buffer } = new U8(data), state = new I32(buffer, 0, lanes), words = new U16(buffer, 4 * lanes, count);
  check(state.every((x) => x >>> 16), "state of a coder");
  let place = 0, spare = 0, left = 0;

  // States are signed words of 32 bits; a word that is not there is found to be missing after its pass.
  const passed = (at) => {
    place = at;
    if (at > count) throw new Cut();
  };

  /**
   * Binary symbols of a pass, and how many are 1: `zero`, at the row of each, is the probability
   * of a 0, of 65536.
   */
  const decide = (rows, zero, out) => {
    let at = place, ones = 0;
    for (let i = 0, lane = 0; i < rows.length; i++) {
      const f = zero[rows[i]], low = state[lane] & 65535, product = imul(state[lane] >>> 16, f);
      let x = (product + low) | 0;
      if (low >= f) {
        x = (state[lane] - product - f) | 0;
        out[i] = 1;
        ones++;
      }
      if (!(x >>> 16)) x = (x << 16) | words[at++];
      state[lane] = x;
      if (++lane === lanes) lane = 0;
    }
    passed(at);
    return ones;
  };

  /** Tokens of a pass, each of the row that it has in a model. */
  const tokens = (row, { first, share }, out) => {
    let at = place;
    for (let i = 0, lane = 0; i < row.length; i++) {
      const start = 16 * row[i], slot = state[lane] & 4095;
      let t = start;
      while (t < start + 15 && slot >= first[t + 1]) t++;
      out[i] = t - start;
      let x = (imul(state[lane] >>> 12, share[t]) + slot - first[t]) | 0;
      if (!(x >>> 16)) x = (x << 16) | words[at++];
      state[lane] = x;
      if (++lane === lanes) lane = 0;
    }
    passed(at);
  };

  /** One raw bit. */
  const sign = () => {
    if (!left) {
      if (place >= count) throw new Cut();
      spare = words[place++];
      left = 16;
    }
    return (spare >> --left) & 1;
  };

  const number = (length) => {
    let value = 0;
    for (; length; length--) value = 2 * value + sign();
    return value;
  };

  /** What is left when everything has been read: 16 bits a lane, one function call a bit. */
  const remainder = () => {
    check(state.every((x) => x >>> 17 === 0), "end of the coders");
    let at = 0;
    return () => (state[at >> 4] >> (15 - (at++ & 15))) & 1;
  };

  return { decide, tokens, sign, number, remainder };
}

/** Give what was coded without signs its signs. */
export function signLate(unsigned, rans, lanes) {
  const bit = rans.remainder();
  check(sum(unsigned.map(([, places]) => places.length)) <= 16 * lanes, "late signs");
  for (const [map, places] of unsigned) {
    const negative = places.filter(bit);
    negative.map((place) => [place, -map[place]]).forEach(([place, x]) => (map[place] = x));
  }
}

/** Halve the rows above the limit as often as brings them to it or below. */
export function limited(counts, row, limit) {
  for (let at = 0; at < counts.length; ) {
    let all = -1;
    const end = at + row;
    for (let i = at; i < end; i++) all += counts[i];
    const over = 32 - clz32(floor(all / limit)); // bits of the quotient
    for (; at < end; at++) counts[at] >>= over;
  }
}

/** The adaptive model of tokens, by rows of 16. */
export function tokenModel(prior) {
  const counts = F64.from(prior), share = new U16(prior.length), first = share.slice();
  let fresh = 0;
  const derive = () => {
    for (let at = 0; at < counts.length; at += 16) {
      let all = 0, left = 4096;
      for (let i = 0; i < 16; i++) all += counts[at + i];
      for (let i = 0; i < 16; i++) left -= share[at + i] = 1 + floor((counts[at + i] * 4080) / all);
      share[at] += left;
      for (let i = 0; i < 15; i++) first[at + i + 1] = first[at + i] + share[at + i];
    }
  };
  derive();

  /** Tally tokens, each of a row. */
  const tally = (rows, tokens) => {
    for (let i = 0; i < rows.length; i++) counts[16 * rows[i] + tokens[i]] += 64;
    fresh ||= rows.length;
  };

  /** Learn from what was tallied. */
  const learn = () => {
    if (!fresh) return;
    fresh = 0;
    limited(counts, 16, 65536);
    derive();
  };

  return { share, first, tally, learn };
}

/** The header's rank of each matrix is that of its components, or the file says too little. */
export function checkRanks(matrices, components, most) {
  matrices.forEach(({ k }, c) => check(k === min(components[c], most), "rank"));
}

/** The stream of a chunk that is whole was made like this; one that was cut is cut. */
export const streamEnds = ({ missing }) =>
  new LrkError(missing > 0 ? "truncated" : "format", "the packed stream ends early");
