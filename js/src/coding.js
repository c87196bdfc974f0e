// What both packed layouts share: the coders, the first fields of a header, the tokens' model.

import { LrkError, bad, check } from "./errors.js";
import { F64, U16, U32, assign, floor, imul, make, min } from "./numbers.js";

/** The stream ends before the symbol asked for. */
export class Cut extends Error {}

/** The range decoder of headers; past the end of its data it reads zeros. */
export function bitReader(data) {
  let at = 4, range = 4294967295;
  let code = [0, 1, 2, 3].reduce((sum, i) => sum * 256 + (data[i] ?? 0), 0);
  const models = new Map();

  // Whether the code lies at or above a bound: then it and the range lose what is below.
  const above = (bound) => {
    const value = code >= bound ? 1 : 0;
    if (value) code -= bound;
    range = value ? range - bound : bound;
    while (range < 16777216) {
      range *= 256;
      code = (code * 256 + (data[at++] ?? 0)) % 4294967296;
    }
    return value;
  };

  const bit = (context) => {
    const p = models.get(context) ?? 2048;
    const value = above(floor(range / 4096) * p);
    models.set(context, value ? p - (p >> 4) : p + ((4096 - p) >> 4));
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

/** Step, colour rotation and what is said of alpha. */
export function readStart(read, channels) {
  const code = read.bits(16);
  const step = (1 + (code % 1024) / 1024) * 2 ** (floor(code / 1024) - 16);
  const [turned, alpha] = [read.bits(1), read.bits(1)];
  check(
    (!turned || channels >= 3) && (!alpha || channels === 2 || channels === 4),
    "flag",
  );
  const turn = turned ? [0, 0, 0].map(() => read.bits(8) - 128) : null;
  const levels = alpha && read.bits(1) ? [read.bits(16), read.bits(16)] : null;
  return { step, turn, alpha, levels };
}

export function readLanes(read) {
  const lanes = read.number("lanes");
  check(lanes >= 1 && lanes <= 16384, "lanes");
  return lanes;
}

/** Strengths of the filter of each channel, of a picture that is not too large for it. */
export function readStrengths(read, { width, height, channels }) {
  const found = make(channels, () => read.bits(4));
  check(!found.some(Boolean) || width * height <= 4194304, "smoothing");
  return found;
}

/** Interleaved rANS, and the raw bits between its words. */
export class RansReader {
  constructor(data, lanes) {
    if (data.length < 4 * lanes) throw new Cut();
    const view = new DataView(data.buffer, data.byteOffset, data.length);
    this.state = new U32(lanes);
    for (let i = 0; i < lanes; i++) {
      this.state[i] = view.getUint32(4 * i, true);
      check(this.state[i] >= 65536, "state of a coder");
    }
    const count = (data.length >> 1) - 2 * lanes;
    this.words = new U16(count);
    for (let i = 0; i < count; i++) this.words[i] = view.getUint16(4 * lanes + 2 * i, true);
    assign(this, { lanes, at: 0, spare: 0, left: 0 });
  }

  /** Binary symbols of a pass: `zero`, at the row of each, is the probability of a 0, of 65536. */
  flags(rows, zero, count, out) {
    const { state, words, lanes } = this;
    let at = this.at;
    for (let i = 0, lane = 0; i < count; i++) {
      const f = zero[rows[i]];
      let x = state[lane];
      const low = x & 65535, product = imul(x >>> 16, f);
      if (low >= f) {
        out[i] = 1;
        x = (x - product - f) >>> 0;
      } else {
        out[i] = 0;
        x = (product + low) >>> 0;
      }
      if (x < 65536) {
        if (at >= words.length) throw new Cut();
        x = ((x << 16) | words[at++]) >>> 0;
      }
      state[lane] = x;
      if (++lane === lanes) lane = 0;
    }
    this.at = at;
  }

  /** Tokens of a pass, each of the row that it has in a model. */
  tokens(row, count, { start, frequency }, out) {
    const { state, words, lanes } = this;
    let at = this.at;
    for (let i = 0, lane = 0; i < count; i++) {
      const first = 16 * row[i], slot = state[lane] & 4095;
      let t = first;
      while (t < first + 15 && slot >= start[t + 1]) t++;
      let x = (imul(state[lane] >>> 12, frequency[t]) + slot - start[t]) >>> 0;
      if (x < 65536) {
        if (at >= words.length) throw new Cut();
        x = ((x << 16) | words[at++]) >>> 0;
      }
      state[lane] = x;
      out[i] = t - first;
      if (++lane === lanes) lane = 0;
    }
    this.at = at;
  }

  /** One raw bit. */
  raw() {
    if (!this.left) {
      if (this.at >= this.words.length) throw new Cut();
      this.spare = this.words[this.at++];
      this.left = 16;
    }
    return (this.spare >> --this.left) & 1;
  }

  number(length) {
    let value = 0;
    for (; length; length--) value = 2 * value + this.raw();
    return value;
  }

  /** What is left when everything has been read: 16 bits a lane, one function call a bit. */
  tail() {
    check(this.state.every((x) => x < 131072), "end of the coders");
    let at = 0;
    return () => (this.state[at >> 4] >> (15 - (at++ & 15))) & 1;
  }
}

/** Halve the rows above the limit as often as brings them to it or below. */
export function limited(counts, row, limit) {
  for (let at = 0; at < counts.length; at += row) {
    let total = 0;
    for (let i = at; i < at + row; i++) total += counts[i];
    const over = 32 - Math.clz32(floor((total - 1) / limit)); // bits of the quotient
    for (let i = at; i < at + row; i++) counts[i] >>= over;
  }
}

/** The adaptive model of tokens, by rows of 16. */
export class TokenModel {
  constructor(counts) {
    this.counts = F64.from(counts);
    this.frequency = new U16(counts.length);
    this.start = new U16(counts.length);
    this.derive();
  }

  derive() {
    const { counts, frequency, start } = this;
    for (let at = 0; at < counts.length; at += 16) {
      let sum = 0, left = 4096;
      for (let i = at; i < at + 16; i++) sum += counts[i];
      for (let i = at; i < at + 16; i++) {
        left -= frequency[i] = 1 + floor((counts[i] * 4080) / sum);
      }
      frequency[at] += left;
      for (let i = at, before = 0; i < at + 16; i++) {
        start[i] = before;
        before += frequency[i];
      }
    }
  }

  /** Count tokens, each of a row. */
  count(rows, tokens, count) {
    for (let i = 0; i < count; i++) this.counts[16 * rows[i] + tokens[i]] += 64;
    this.fresh ||= count > 0;
  }

  /** Learn from what was counted. */
  learn() {
    if (!this.fresh) return;
    this.fresh = false;
    limited(this.counts, 16, 65536);
    this.derive();
  }
}

/** Give a decoded alpha the nearer of its two values. */
export function toLevels(samples, { levels }, channels, peak) {
  if (!levels) return;
  const [low, high] = levels;
  check(low <= peak && high <= peak, "alpha");
  for (let i = channels - 1; i < samples.length; i += channels) {
    samples[i] = 2 * samples[i] > low + high ? high : low;
  }
}

/** The header's rank of each matrix is that of its components, or the file says too little. */
export function checkRanks(matrices, components, most) {
  matrices.forEach(({ k }, c) => check(k === min(components[c], most), "rank"));
}

/** The stream of a chunk that is whole was made like this; one that was cut is cut. */
export const streamEnds = ({ missing }) =>
  new LrkError(missing > 0 ? "truncated" : "format", "the packed stream ends early");
export const outOfRange = () => bad("coefficient");
