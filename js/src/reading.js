// The bytes of a .lrk file to its parts, version 1, written from docs/FORMAT.md. Whatever the
// bytes: parts that hold, or an LrkError.

import { LrkError, bad, check, known } from "./errors.js";
import {
  F32, F64, KINDS, U16, U8, abs, assign, ceil, crc32, each, float16, floor, make, max, min, sqrt, sum, viewOf,
} from "./numbers.js";

const SIGNATURE = "\x89LRK\r\n\x1a\n";
const MODES = [
  ["1", 1, 0], ["L", 1, 0], ["LA", 2, 0], ["RGB", 3, 0], ["RGBA", 4, 0], ["CMYK", 4, 0],
  ["I;16", 1, 1], ["F", 1, 6],
];
const TYPES = KINDS.map((Kind) => Kind.name.slice(0, -5).toLowerCase()); // those of numpy
export const LAYOUTS = ["channels", "patches", "stack"];
const STORES = ["float16", "float32", "float64", "packed"];
const METADATA = ["EXIF", "ICCP", "XMP_", "NODT", "AXIS"];
const LARGEST = 2 ** 160;
const SIDE = 2 ** 31 - 1;
const PIECE = 4096;

export const MAX_PIXELS = 178956970;

const ended = (there) =>
  new LrkError("truncated", `the file ends ${there ? "early" : "before its picture"}`);

/** The least and the largest sample of a type. */
export function limitsOf({ dtype, bits }) {
  const signed = dtype[0] === "i" ? 1 : 0;
  if (dtype[0] !== "f") return [-signed * 2 ** (bits - 1), 2 ** (bits - signed) - 1];
  const most = dtype === "float32" ? 3.4028234663852886e38 : Number.MAX_VALUE;
  return [-most, most];
}

/** Rows m and columns n of each matrix. */
export function shapeOf({ width, height, layout, frames, channels }) {
  if (layout === "stack") return [frames, height * width * channels];
  if (layout === "channels") return [height, width];
  return [ceil(height / 16) * ceil(width / 16), 256];
}

/** One pass over the chunks; every size is checked before it is used. */
function reader(bytes, partial, maxPixels) {
  const { u32 } = viewOf(bytes);
  let at = 9;

  const left = () => {
    return max(bytes.length - at, 0);
  };

  const kindAt = (from = at) => {
    return String.fromCharCode(...bytes.subarray(from + 4, from + 8));
  };

  // Data of the next chunk, which must be of this kind; null where the file ends first.
  const chunk = (kind, length) => {
    if (left() < 8) {
      check(kind.startsWith(kindAt()), "chunk");
      return null;
    }
    const size = u32(at);
    check(kindAt() === kind, kind);
    check(length === undefined || size === length, `length of ${kind}`);
    const end = at + 8 + size;
    if (left() < 12 + size) return null;
    check(crc32(bytes.subarray(at + 4, end)) === u32(end), `checksum of ${kind}`);
    const data = bytes.subarray(at + 8, end);
    at = end + 4;
    return data;
  };

  // A chunk that a picture can do without: undefined where it was damaged and passed over.
  const optional = (kind) => {
    check(left() >= 4, "chunk");
    const after = at + 12 + u32(at);
    try {
      return chunk(kind);
    } catch (error) {
      if (!partial || ![...METADATA, "SIGM", "SUMS", "PACK", "TERM"].includes(kindAt(after))) {
        throw error;
      }
      at = after;
      return undefined;
    }
  };

  const head = () => {
    check(kindAt(-4) + kindAt(0) === SIGNATURE, "signature");
    known(bytes.length < 9 || bytes[8] === 1, "version");
    const data = bytes.length > 9 ? chunk("HEAD") : null;
    check(data, "end of HEAD");
    const parts = header(data, maxPixels);
    for (const kind of METADATA) {
      if (kindAt() !== kind || (kind === "AXIS" && !parts.frames)) continue;
      const value = kind === "NODT" ? chunk(kind) : optional(kind);
      if (value === undefined) continue;
      check(value, `end of ${kind}`);
      check(value.length, `empty ${kind}`);
      parts.metadata[kind] = value;
    }
    const { AXIS } = parts.metadata;
    if (AXIS) parts.axis = axis(AXIS, parts.frames);
    return parts;
  };

  const all = () => {
    const parts = head();
    if (parts.store === "packed") packed(parts);
    else terms(parts);
    if (parts.missing !== null) return parts;
    let done, fault;
    try {
      done = chunk("DONE", 0);
    } catch (error) {
      fault = error;
    }
    if (done) check(partial || !left(), "its end");
    else if (partial) parts.missing = 0;
    else throw fault ?? ended(true);
    return parts;
  };

  // The numbers of SUMS, whose length must hold; undefined where it was passed over.
  const checksums = (holds) => {
    const found = optional("SUMS");
    if (found === null) throw ended(false);
    if (!found) return found;
    check(found.length && holds(found.length), "length of SUMS");
    return make(found.length / 4, (i) => viewOf(found).u32(4 * i));
  };

  const packed = (parts) => {
    let sums = null, damaged = false;
    if (kindAt() === "SUMS") {
      sums = checksums((length) => length % 4 === 0);
      damaged = !sums;
    }
    const start = at + 8;
    let whole = sums ? wholePieces(sums) : 0;
    let payload;
    try {
      payload = chunk("PACK");
    } catch (error) {
      if (!partial || !whole) throw error;
      parts.missing = size(sums) - whole;
    }
    if (payload) {
      check(
        !sums || (whole === payload.length && ceil(payload.length / PIECE) === sums.length),
        "SUMS",
      );
      parts.payload = payload;
      return;
    }
    if (payload === null) {
      const end = bytes.length - 12;
      if (!sums && kindAt(end) === "DONE" && !u32(end) && u32(end + 8) === 0x26b80d1f) {
        ofAnotherLength(parts);
        return;
      }
      const there = sums ? whole > 0 : left() > 8 && !damaged;
      if (!partial || !there) throw ended(there);
      if (!sums) whole = left() - 8;
      parts.missing = max(size(sums) - whole, sums ? 0 : 1);
    }
    parts.payload = bytes.subarray(start, start + whole);
  };

  // A payload that seems to be cut, in a file that has its end: its length is wrong.
  const ofAnotherLength = (parts) => {
    const end = max(bytes.length - 16, 0);
    const payload = bytes.subarray(min(at + 8, end), end);
    const whole = new U8([0x50, 0x41, 0x43, 0x4b, ...payload]);
    const sound = bytes.length >= 16 && crc32(whole) === u32(end);
    check(partial && sound, "length of PACK");
    assign(parts, { payload, missing: 0 });
  };

  // Bytes of the payload that starts here, the most that fit its checksums.
  const size = (sums) => {
    const size = left() >= 4 ? u32(at) : 0;
    return !sums || ceil(size / PIECE) === sums.length ? size : sums.length * PIECE;
  };

  const wholePieces = (sums) => {
    const payload = bytes.subarray(at + 8).subarray(0, size(sums));
    let whole = 0;
    for (const sum of sums) {
      const piece = payload.subarray(whole, whole + PIECE);
      if (!piece.length || crc32(piece) !== sum) break;
      whole += piece.length;
    }
    return whole;
  };

  const terms = (parts) => {
    const { matrices } = parts, [m, n] = shapeOf(parts);
    const total = sum(matrices.map(({ k }) => k));
    const data = chunk("SIGM", 8 * total);
    if (data === null) throw ended(false);
    const order = [];
    matrices.forEach((matrix, c) => {
      assign(matrix, { s: [], u: [], v: [] });
      each(matrix.k, (i) => {
        const s = viewOf(data).f64(8 * order.length);
        check(s >= 0 && s <= (i ? matrix.s[i - 1] : LARGEST), "sigma");
        matrix.s.push(s);
        order.push([s, c, i]);
      });
    });
    for (const matrix of matrices) {
      check(!contradiction(matrix, min(m, n), matrix.s), "sigma");
    }
    order.sort((a, b) => b[0] - a[0] || a[1] - b[1] || a[2] - b[2]);
    const width = 2 << STORES.indexOf(parts.store);
    // Checksums of the pieces of terms, for readers of single pixels: here they must agree.
    const pieces = width * (m + n) > 8192 ? 1 + ceil((n * width) / 1024) : 0;
    const sums =
      parts.frames && kindAt() === "SUMS" ? checksums((length) => length === 4 * total * pieces) : null;
    let whole = 0, piece = 0;
    for (const [, c, i] of order) {
      let term, fault;
      try {
        term = chunk("TERM", width * (m + n));
      } catch (error) {
        fault = error;
      }
      if (!term) {
        if (!partial || !whole) throw fault ?? ended(whole);
        break;
      }
      for (let from = 0, to = width * m; sums && from < term.length; from = to, to += 1024) {
        check(crc32(term.subarray(from, to)) === sums[piece++], "SUMS");
      }
      const values = floats(term, width);
      matrices[c].u[i] = values.subarray(0, m);
      matrices[c].v[i] = values.subarray(m);
      whole++;
    }
    if (whole < total) parts.missing = total - whole;
  };
  return all();
}

// What the frames of a stack are: labels, values and their unit.
function axis(block, frames) {
  let found;
  try {
    found = JSON.parse(new TextDecoder("utf-8", { fatal: true, ignoreBOM: true }).decode(block));
  } catch {
    throw bad("AXIS");
  }
  check(block.length <= 1 << 20 && found && typeof found === "object" && !Array.isArray(found), "AXIS");
  const { labels = [], values = [], unit = "" } = found;
  const list = (x, holds) =>
    Array.isArray(x) && (!x.length || x.length === frames) && x.every(holds);
  check(
    typeof unit === "string" && list(labels, (x) => typeof x === "string") &&
      list(values, (x) => typeof x === "number" && abs(x) <= 1e300),
    "AXIS",
  );
  return { labels, values, unit };
}

let halves; // all numbers of float16, once they are asked for

function floats(data, width) {
  const { buffer } = new U8(data); // where numbers of any width may begin
  const found = new F64(new (width < 4 ? U16 : width < 8 ? F32 : F64)(buffer));
  check(found.every((x, i) => abs(width < 4 ? (found[i] = (halves ??= make(65536, float16))[x]) : x) <= 2), "unit vectors");
  return found;
}

function header(data, maxPixels) {
  const view = viewOf(data), { u32, u16, f64 } = view;
  let at = 0;
  const next = (size) => {
    at += size;
    check(data.length >= at, "length of HEAD");
    return at - size;
  };
  next(12);
  const [width, height] = [u32(0), u32(4)];
  const [code, layoutCode, storeCode] = data.subarray(8);
  known(code < 9, "mode");
  known(layoutCode < 3, "layout");
  known(storeCode < 4, "store");
  known(!data[11], "flags");
  const [layout, store] = [LAYOUTS[layoutCode], STORES[storeCode]];
  check(width >= 1 && width <= SIDE && height >= 1 && height <= SIDE, "size");
  let [mode, channels, type] = MODES[code] ?? ["array"];
  if (mode === "array") {
    const place = next(3);
    type = data[place];
    known(type < 8, "type of samples");
    channels = u16(place + 1);
    check(channels >= 1 && channels <= 4096, "channels");
  }
  const dtype = TYPES[type], bits = mode === "1" ? 1 : Number(dtype.match(/\d+/));
  let frames = null;
  if (layout === "stack") {
    frames = u32(next(4));
    check(frames >= 1 && frames <= SIDE, "frames");
  }
  const parts = {
    width, height, mode, channels, type, dtype, bits, layout, store, frames,
    turn: null, matrices: [], metadata: {}, missing: null,
  };
  const [rows, columns] = [ceil(height / 16) * 16, ceil(width / 16) * 16];
  const padded = layout === "patches" || (frames && store === "packed") ? rows * columns : 0;
  const most = maxPixels + floor(maxPixels / 4) + 65536;
  if (
    width * height > maxPixels || max(width * height, 1024) * frames > 16 * maxPixels ||
    padded > most || padded * frames > 16 * most
  ) {
    throw new LrkError("limit", "too many pixels");
  }
  parts.colours = channels - mode.endsWith("A"); // LA and RGBA have alpha
  const packed = store === "packed";
  const turned = !packed && layout === "patches" && parts.colours === 3;
  const count = frames === null ? channels : 1;
  if (packed && (dtype[0] === "f" || (mode === "array" && !frames))) {
    parts.range = [f64(next(16)), f64(at - 8)];
    const [low, high] = parts.range, [least, most] = limitsOf(parts);
    check(
      low <= high && least <= low && high <= most &&
        (dtype[0] === "f" || (low % 1 === 0 && high % 1 === 0 && high - low <= 65535)),
      "range",
    );
    parts.bits = dtype[0] !== "f" && high - low < 256 ? 8 : 16;
  }
  check(
    data.length === at + (turned ? 3 : 0) + count * (packed ? 10 : 28),
    "length of HEAD",
  );
  if (turned) parts.turn = [0, 1, 2].map(() => (data[at++] << 24) >> 24);
  const largest = min(...shapeOf(parts));
  each(count, (c) => {
    const x = packed ? packedMatrix(view, at) : floatMatrix(view, at);
    at += packed ? 10 : 28;
    check(x.k <= largest, "rank");
    check(!(packed ? packedContradiction(x) : contradiction(x, largest)), "numbers");
    parts.matrices.push(x);
  });
  return parts;
}

function floatMatrix({ f64, u32 }, at) {
  const [norm, after, tail] = [4, 12, 20].map((i) => f64(at + i));
  check([norm, after, tail].every((x) => x >= 0 && x <= LARGEST), "norm");
  return { k: u32(at), norm, after, tail };
}

function packedMatrix({ u16 }, at) {
  const [norm, after, tail, loss] = [2, 4, 6, 8].map((i) => {
    const code = u16(at + i);
    return code ? 2 ** (code / 1024 - 24) : 0;
  });
  return { k: u16(at), norm, after, tail, loss };
}

// Whether numbers of a matrix cannot be true together.
function contradiction({ k, norm, after, tail }, most, s) {
  const slack = 1e-6 * norm;
  if (tail > norm + slack || after > tail + slack || (k === most && tail > slack)) return true;
  if (!s) return false;
  if (k && after > s[k - 1] + slack) return true;
  // Proposition 40: ||A||_F^2 is the sum of all sigma_i^2.
  const all = sqrt(sum([tail * tail, ...s.map((x) => x * x)]));
  return !(abs(all - norm) <= slack);
}

function packedContradiction({ norm, after, tail, loss }) {
  const above = (a, b) => a > b * 1.002 + 1e-5 * norm;
  return above(tail, norm) || above(after, tail) || above(tail, loss);
}

/** Read a file: its head, and its terms or its payload. `partial` takes what is whole of it. */
export function parse(bytes, { "partial": partial = false, maxPixels = MAX_PIXELS } = {}) {
  return reader(bytes, partial, maxPixels);
}
