// Any .lrk file to samples, and samples to the pixels of a canvas.

import { U8, assign, ceil, each, viewOf, within } from "./numbers.js";
import { LrkError, bad, check } from "./errors.js";
import { LAYOUTS, limitsOf, parse } from "./reading.js";
import { decodeChannels } from "./channels.js";
import { arrayOf, decodeFloats } from "./floats.js";
import { decodePatches } from "./patches.js";
import { decodeStack } from "./stacks.js";

function stops(bytes, size) {
  const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("deflate"));
  const reader = stream.getReader(), out = new U8(size);
  const read = async (at) => {
    const { value, done } = await reader.read();
    if (done) return at;
    check(at + value.length <= size, "size of NODT");
    out.set(value, at);
    return read(at + value.length);
  };
  return read(0).then((at) => {
    check(at === size, "size of NODT");
    return out;
  });
}

/** The value of pixels without data, and a bit for each pixel; null where there are none. */
async function gapsOf(parts) {
  const block = parts.metadata.NODT;
  if (!block) return null;
  check(block.length > 8, "NODT");
  const value = viewOf(block).f64(0);
  const pixels = parts.width * parts.height * (parts.frames ?? 1);
  let bits;
  try {
    bits = await stops(block.subarray(8), ceil(pixels / 8));
  } catch (error) {
    throw error instanceof LrkError ? error : bad("NODT");
  }
  const held = arrayOf(parts, 1).fill(value)[0] === value && isFinite(value);
  check(held || (isNaN(value) && parts.dtype[0] === "f"), "value of NODT");
  return { value, bits };
}

/** What a file says, its checksums and numbers checked: the parts that `samplesOf` decodes. */
export async function open(bytes, options = {}) {
  const parts = parse(bytes, options);
  parts.gaps = await gapsOf(parts);
  const { width, height, channels, frames } = parts;
  // What pages read and give has its name in quotes where it has another one inside the built file.
  return assign(parts, { "width": width, "height": height, "channels": channels, "frames": frames });
}

/**
 * Samples of a file that `open` has read, pixel by pixel, the channels of a pixel together.
 *
 * rank: terms of each matrix, all by default; frame: of a stack, 0 by default; partial: take
 * what is there of a payload that is cut.
 */
export function samplesOf(
  parts, { "rank": rank = null, "frame": frame = 0, "partial": partial = false } = {},
) {
  const { width, height, channels, colours, gaps, frames, store, layout } = parts;
  const counts = (x, least, most) => Number.isInteger(x) && x >= least && x < most;
  if (!counts(rank ?? 1, 1, Infinity) || !counts(frame, 0, frames ?? Infinity)) {
    throw new RangeError("rank");
  }
  let samples;
  if (store === "packed") {
    const decoder = [decodeChannels, decodePatches, decodeStack][LAYOUTS.indexOf(layout)];
    samples = decoder(parts, { rank, frame, partial: partial && parts.missing > 0 });
    if (parts.range) {
      // Levels: whole samples above the lowest, or 65,536 from it to the highest.
      const [low, high] = parts.range;
      const unit = (parts.dtype[0] === "f" && high / 65535 - low / 65535) || 1;
      samples = arrayOf(parts, samples.length).map((_, i) => {
        return within(samples[i] * unit + low, low, high);
      });
    }
  } else samples = decodeFloats(parts, { rank, frame });
  if (gaps) {
    const first = frame * width * height;
    each(width * height, (i) => {
      const place = first + i;
      if (!((gaps.bits[place >> 3] >> (7 - (place & 7))) & 1)) return;
      each(colours, (c) => (samples[i * channels + c] = gaps.value));
    });
  }
  return samples;
}

/** Open and decode in one step. */
export async function decode(bytes, options = {}) {
  const parts = await open(bytes, options);
  return { ...parts, samples: samplesOf(parts, options) };
}

function ends(parts, samples) {
  if (parts.dtype === "uint8") return limitsOf(parts);
  let [low, high] = [Infinity, -Infinity];
  for (const x of samples) {
    if (x < low) low = x;
    if (x > high) high = x;
  }
  return low < high ? [low, high] : [low - 1, low + 1];
}

/**
 * RGBA bytes of samples, for a canvas. Samples of more than 8 bits are stretched from their
 * smallest to their largest; of more than three channels of mode `array` the first three show.
 */
export function pixelsOf(parts, samples) {
  const { width, height, mode, channels, colours } = parts;
  const out = new Uint8ClampedArray(4 * width * height);
  const [low, high] = ends(parts, samples);
  const scale = 255 / (high - low);
  const level = (x) => (x - low) * scale;
  const colour = channels >= 3, alpha = colours < channels;
  for (let i = 0, at = 0; at < out.length; i += channels, at += 4) {
    for (let c = 0; c < 3; c++) {
      let x = level(samples[i + (colour ? c : 0)]);
      if (mode === "CMYK") x = ((255 - x) * (255 - level(samples[i + 3]))) / 255;
      out[at + c] = x;
    }
    out[at + 3] = alpha ? level(samples[i + colours]) : 255;
  }
  return out;
}
