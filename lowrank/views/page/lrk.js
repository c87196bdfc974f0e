"use strict";
// A reader of the .lrk format, version 1, float stores, written from its specification
// (the docstring of format.py) and sharing no code with the reader in Python.
// Lrk.parse(bytes) gives what the file holds, or throws an Error that says what is wrong.

const Lrk = (() => {
  const SIGNATURE = [0x89, 0x4c, 0x52, 0x4b, 0x0d, 0x0a, 0x1a, 0x0a];
  const MODES = [
    { name: "1", channels: 1, peak: 1 },
    { name: "L", channels: 1, peak: 255 },
    { name: "LA", channels: 2, peak: 255 },
    { name: "RGB", channels: 3, peak: 255 },
    { name: "RGBA", channels: 4, peak: 255 },
    { name: "CMYK", channels: 4, peak: 255 },
    { name: "I;16", channels: 1, peak: 65535 },
    { name: "F", channels: 1, peak: null },
    { name: "array", channels: null, peak: null },
  ];
  const STORES = [
    { name: "float16", bytes: 2 },
    { name: "float32", bytes: 4 },
    { name: "float64", bytes: 8 },
  ];
  const METADATA = ["EXIF", "ICCP", "XMP_"];
  const LARGEST = 2 ** 160;

  const CRC_TABLE = Uint32Array.from({ length: 256 }, (_, i) => {
    for (let bit = 0; bit < 8; bit++) i = i & 1 ? 0xedb88320 ^ (i >>> 1) : i >>> 1;
    return i;
  });

  function crc32(bytes) {
    let crc = 0xffffffff;
    for (let i = 0; i < bytes.length; i++) crc = CRC_TABLE[(crc ^ bytes[i]) & 255] ^ (crc >>> 8);
    return (crc ^ 0xffffffff) >>> 0;
  }

  // IEEE 754 binary16: 1 bit of sign, 5 of exponent (bias 15), 10 of fraction.
  function float16(bits) {
    const sign = bits & 0x8000 ? -1 : 1;
    const exponent = (bits >> 10) & 31;
    const fraction = bits & 1023;
    if (exponent === 0) return sign * fraction * 2 ** -24;
    if (exponent === 31) return fraction ? NaN : sign * Infinity;
    return sign * (1024 + fraction) * 2 ** (exponent - 25);
  }

  const FLOAT16 = Float64Array.from({ length: 65536 }, (_, bits) => float16(bits));

  function check(holds, what) {
    if (!holds) throw new Error(`damaged .lrk file: ${what}`);
  }

  class Reader {
    constructor(bytes) {
      this.bytes = bytes;
      this.view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
      this.at = 9;
    }

    nextType() {
      check(this.at + 8 <= this.bytes.length, "it ends early");
      return String.fromCharCode(...this.bytes.subarray(this.at + 4, this.at + 8));
    }

    // Data of the next chunk, which must be of this type; its checksum must hold.
    chunk(type, length) {
      check(this.nextType() === type, `chunk ${this.nextType()} where ${type} belongs`);
      const size = this.view.getUint32(this.at, true);
      const end = this.at + 8 + size;
      check(length === undefined || size === length, `length of ${type}`);
      check(end + 4 <= this.bytes.length, "it ends early");
      check(
        crc32(this.bytes.subarray(this.at + 4, end)) === this.view.getUint32(end, true),
        `checksum of ${type}`,
      );
      const data = new DataView(this.bytes.buffer, this.bytes.byteOffset + this.at + 8, size);
      this.at = end + 4;
      return data;
    }
  }

  function header(data) {
    check(data.byteLength >= 12, "length of HEAD");
    const width = data.getUint32(0, true);
    const height = data.getUint32(4, true);
    const mode = MODES[data.getUint8(8)];
    const layout = data.getUint8(9);
    const stack = layout === 2;
    const store = STORES[data.getUint8(10)];
    check(width >= 1 && width < 2 ** 31 && height >= 1 && height < 2 ** 31, "size");
    check(mode !== undefined, "unknown mode");
    if (layout !== 0 && !stack) throw new Error("this reader knows layouts channels and stack only");
    if (store === undefined) throw new Error("this reader knows float stores only");
    check(data.getUint8(11) === 0, "unknown flags");
    // Mode array has its type and channels next, layout stack its frames.
    const array = mode.name === "array" ? 3 : 0;
    const start = 12 + array + (stack ? 4 : 0);
    check(data.byteLength >= start, "length of HEAD");
    const channels = array ? data.getUint16(13, true) : mode.channels;
    const frames = stack ? data.getUint32(12 + array, true) : null;
    check(channels >= 1 && channels <= 4096 && (!stack || frames >= 1), "size");
    const [m, n] = stack ? [frames, height * width * channels] : [height, width];
    const count = stack ? 1 : channels;
    check(data.byteLength === start + 28 * count, "length of HEAD");
    const matrices = [];
    for (let c = 0; c < count; c++) {
      const at = start + 28 * c;
      const k = data.getUint32(at, true);
      const [norm, sigmaNext, tail] = [4, 12, 20].map((i) => data.getFloat64(at + i, true));
      check(k <= Math.min(m, n), "rank");
      check([norm, sigmaNext, tail].every((x) => x >= 0 && x <= LARGEST), "norm");
      matrices.push({ k, norm, sigmaNext, tail, s: new Float64Array(0), u: [], v: [] });
    }
    return { width, height, mode, channels, frames, m, n, store, matrices };
  }

  function sigmas(data, matrices) {
    let at = 0;
    for (const matrix of matrices) {
      matrix.s = Float64Array.from({ length: matrix.k }, (_, i) => data.getFloat64(at + 8 * i, true));
      at += 8 * matrix.k;
      check(
        matrix.s.every((s, i) => s >= 0 && s <= LARGEST && (i === 0 || s <= matrix.s[i - 1])),
        "singular values",
      );
    }
  }

  // Descending sigma over all matrices, ties by matrix, then by index.
  function termOrder(matrices) {
    const order = matrices.flatMap(({ s }, matrix) =>
      Array.from(s, (sigma, index) => ({ sigma, matrix, index })),
    );
    return order.sort((a, b) => b.sigma - a.sigma || a.matrix - b.matrix || a.index - b.index);
  }

  function floats(data, at, length, store) {
    const out = new Float64Array(length);
    for (let i = 0; i < length; i++) {
      const place = at + i * store.bytes;
      out[i] =
        store.bytes === 2
          ? FLOAT16[data.getUint16(place, true)]
          : store.bytes === 4
            ? data.getFloat32(place, true)
            : data.getFloat64(place, true);
      check(Math.abs(out[i]) <= 2, "singular vectors");
    }
    return out;
  }

  function parse(bytes) {
    check(bytes.length > 9 && SIGNATURE.every((x, i) => bytes[i] === x), "signature");
    if (bytes[8] !== 1) throw new Error(`unknown .lrk version ${bytes[8]}`);
    const reader = new Reader(bytes);
    const file = header(reader.chunk("HEAD"));
    for (const type of METADATA) {
      if (reader.nextType() === type) check(reader.chunk(type).byteLength > 0, `empty ${type}`);
    }
    const { matrices, store, m, n } = file;
    for (const type of file.frames === null ? ["NODT"] : ["NODT", "AXIS"]) {
      if (reader.nextType() === type) reader.chunk(type);
    }
    const terms = matrices.reduce((sum, { k }) => sum + k, 0);
    sigmas(reader.chunk("SIGM", 8 * terms), matrices);
    if (file.frames !== null && reader.nextType() === "SUMS") reader.chunk("SUMS");
    for (const { matrix, index } of termOrder(matrices)) {
      const data = reader.chunk("TERM", store.bytes * (m + n));
      matrices[matrix].u[index] = floats(data, 0, m, store);
      matrices[matrix].v[index] = floats(data, m * store.bytes, n, store);
    }
    reader.chunk("DONE", 0);
    check(reader.at === bytes.length, "bytes after the end");
    return file;
  }

  return { parse, crc32 };
})();
