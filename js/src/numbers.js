// Arithmetic as numpy does it: the same bits from the same operations.

export const { abs, ceil, floor, fround, imul, max, min, sqrt } = Math;
export const { assign } = Object;
export const [I32, F64, F32, U8, U16, U32] = [
  Int32Array, Float64Array, Float32Array, Uint8Array, Uint16Array, Uint32Array,
];

/** An array of n values, f of each index. */
export const make = (n, f) => Array.from({ length: n }, (_, i) => f(i));

/** The integers of a table, which the build writes as text: a letter each, 2|x| - (x < 0) + 35. */
export const table = (x) =>
  typeof x === "string"
    ? make(x.length, (i) => {
        const code = x.charCodeAt(i) - 35;
        return code & 1 ? -(code + 1) / 2 : code / 2;
      })
    : x;

const MAGIC = 6755399441055744; // 1.5 * 2^52: adding it leaves an integer, ties to even

/** The nearest integer, of two the even one. */
export const rint = (x) => (Math.abs(x) < 2251799813685248 ? x + MAGIC - MAGIC : x);

const float = new Float64Array(1);
const words = new Uint32Array(float.buffer); // little-endian, as every browser is

/** The exponent e of x = f 2^e with 1/2 <= |f| < 1; 0 of zero. */
export function exponent(x) {
  float[0] = x;
  const e = (words[1] >>> 20) & 2047;
  if (e) return e - 1022;
  return x ? exponent(x * 2 ** 54) - 54 : 0;
}

const FLOAT16 = [];
/** IEEE 754 binary16, by its bits. */
export function float16() {
  for (let bits = FLOAT16.length; bits < 65536; bits++) {
    const e = (bits >> 10) & 31, f = bits & 1023;
    const size = !e ? f * 2 ** -24 : e < 31 ? (1024 + f) * 2 ** (e - 25) : f ? NaN : Infinity;
    FLOAT16.push(bits & 32768 ? -size : size);
  }
  return FLOAT16;
}

const CRC = new Uint32Array(256).map((_, i) => {
  for (let bit = 0; bit < 8; bit++) i = i & 1 ? 0xedb88320 ^ (i >>> 1) : i >>> 1;
  return i;
});

/** CRC-32, as in PNG. */
export function crc32(bytes) {
  let crc = -1;
  for (let i = 0; i < bytes.length; i++) crc = CRC[(crc ^ bytes[i]) & 255] ^ (crc >>> 8);
  return ~crc >>> 0;
}
