// Arithmetic as numpy does it: the same bits from the same operations.

export const { PI, abs, ceil, clz32, floor, fround, imul, max, min, sqrt } = Math;
export const { assign } = Object;
export const [I32, F64, F32, U8, U16, U32] = [
  Int32Array, Float64Array, Float32Array, Uint8Array, Uint16Array, Uint32Array,
];

// In the order of the codes of types in the format.
export const KINDS = [U8, U16, U32, Int8Array, Int16Array, I32, F32, F64];

/** Little-endian numbers in bytes. */
export function viewOf(bytes) {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
  return {
    u32: (at) => view.getUint32(at, true), u16: (at) => view.getUint16(at, true),
    f64: (at) => view.getFloat64(at, true),
  };
}

export const sum = (list) => list.reduce((a, b) => a + b, 0);
/** The largest magnitude. */
export function largest(list) {
  let most = 0;
  for (let i = 0; i < list.length; i++) most = max(most, abs(list[i]));
  return most;
}
export const same = (x) => x;
/** A number brought between two others; and to a magnitude at most. */
export const within = (x, low, high) => min(max(x, low), high);
export const clipped = (x, most = 8191) => within(x, -most, most);
/** Call f of 0 to n - 1. */
export function each(n, f) {
  for (let i = 0; i < n; i++) f(i);
}

/** An array of n values, f of each index; of a kind. */
export function make(n, f, Kind = Array) {
  const out = new Kind(n);
  for (let i = 0; i < n; i++) out[i] = f(i);
  return out;
}

const MAGIC = 6755399441055744; // 1.5 * 2^52: adding it leaves an integer, ties to even

/** The nearest integer, of two the even one. */
export const rint = (x) => (abs(x) < 2251799813685248 ? x + MAGIC - MAGIC : x);

// A number and its bits; little-endian, as every browser is.
export const bits = new I32(2), float = new F32(bits.buffer);
const double = new F64(bits.buffer);

/** The exponent e of x = f 2^e with 1/2 <= |f| < 1; 0 of zero. */
export function exponent(x) {
  double[0] = x;
  const e = (bits[1] >>> 20) & 2047;
  if (e) return e - 1022;
  return x ? exponent(x * 2 ** 54) - 54 : 0;
}

/** IEEE 754 binary16, by its bits. */
export function float16(bits) {
  const e = (bits >> 10) & 31, f = bits & 1023;
  const size = !e ? f * 2 ** -24 : e < 31 ? (1024 + f) * 2 ** (e - 25) : f ? NaN : Infinity;
  return bits & 32768 ? -size : size;
}

const CRC = new U32(256).map((_, i) => {
  for (let bit = 0; bit < 8; bit++) i = i & 1 ? 0xedb88320 ^ (i >>> 1) : i >>> 1;
  return i;
});

/** CRC-32, as in PNG. */
export function crc32(bytes) {
  let crc = -1;
  for (let i = 0; i < bytes.length; i++) crc = CRC[(crc ^ bytes[i]) & 255] ^ (crc >>> 8);
  return ~crc >>> 0;
}
