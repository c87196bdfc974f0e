"use strict";
// A picture that somebody gives: its bytes -> planes of samples, nothing sent anywhere.

const Pictures = (() => {
  const MOST = 1 << 20; // pixels: a larger picture is averaged down, as the tool's page does
  const NAMES = {
    1: ["grey"], 2: ["grey", "alpha"], 3: ["red", "green", "blue"],
    4: ["red", "green", "blue", "alpha"], CMYK: ["cyan", "magenta", "yellow", "black"],
  };
  const MODES = { 1: "L", 2: "LA", 3: "RGB", 4: "RGBA" };
  const PNG = [0x89, 0x50, 0x4e, 0x47];
  const LRK = [0x89, 0x4c, 0x52, 0x4b];

  const starts = (bytes, with_) => with_.every((x, i) => bytes[i] === x);

  // {name, width, height, planes, mode, peak, notes}; `kind` says of which samples, but for 8 bits.
  async function read(file) {
    const bytes = new Uint8Array(await file.arrayBuffer());
    const name = file.name || "the picture";
    let found;
    if (starts(bytes, LRK)) found = await fromLrk(bytes);
    else if (starts(bytes, PNG)) found = await fromPng(bytes, file);
    else found = await fromBrowser(file, bytes);
    found.notes ??= [];
    if (found.mode === "1") {
      found.notes.push("It has but black and white: a sum half-way between them is either, by the last digit, here and in the tool.");
    }
    found.name = name;
    return reduced(found);
  }

  // The samples as they are stored, 16 bits too, where this page's own reader knows the kind.
  async function fromPng(bytes, file) {
    const turned = String.fromCharCode(...bytes.subarray(0, 4096)).includes("eXIf");
    if (turned) return fromBrowser(file, bytes);
    let found;
    try {
      found = await Png.decode(bytes);
    } catch {
      return fromBrowser(file, bytes); // a palette, interlaced
    }
    const { width, height, planes } = found;
    const bits = planes[0] instanceof Uint16Array ? 16 : bytes[24];
    const mode = bits === 1 ? "1" : MODES[planes.length];
    return withoutPlainAlpha({ width, height, planes, mode, peak: 2 ** bits - 1, kind: bits > 8 ? ", 16 bits" : "" });
  }

  // What a browser leaves out of a picture: it gives three colours, of 8 bits.
  function leftOut(bytes) {
    if (starts(bytes, PNG)) return bytes[24] > 8 ? ["It has 16 bits a sample, of which the browser gives 8."] : [];
    // Of a JPEG the header of its frame tells how many channels it has; before it are others, each with its length.
    for (let at = 2; starts(bytes, [0xff, 0xd8]) && bytes[at] === 0xff; at += 2 + 256 * bytes[at + 2] + bytes[at + 3]) {
      const frame = (bytes[at + 1] & 0xf0) === 0xc0 && ![0xc4, 0xc8, 0xcc].includes(bytes[at + 1]);
      if (frame && bytes[at + 9] < 4) break;
      if (frame) return ["It has four inks: shown, and measured, is the red, green and blue that the browser makes of them."];
    }
    return [];
  }

  async function fromBrowser(file, bytes) {
    const options = { colorSpaceConversion: "none", premultiplyAlpha: "none" };
    const bitmap = await createImageBitmap(file, options);
    const { width, height } = bitmap;
    const canvas = new OffscreenCanvas(width, height);
    const context = canvas.getContext("2d", { willReadFrequently: true });
    context.drawImage(bitmap, 0, 0);
    bitmap.close();
    const { data } = context.getImageData(0, 0, width, height);
    const planes = [0, 1, 2, 3].map((c) => {
      const plane = new Uint8Array(width * height);
      for (let i = 0; i < plane.length; i++) plane[i] = data[4 * i + c];
      return plane;
    });
    const grey = planes[0].every((x, i) => x === planes[1][i] && x === planes[2][i]);
    const some = grey ? [planes[0], planes[3]] : planes;
    return withoutPlainAlpha({ width, height, planes: some, mode: MODES[some.length], peak: 255, notes: leftOut(bytes) });
  }

  function withoutPlainAlpha(picture) {
    const last = picture.planes[picture.planes.length - 1];
    if (picture.mode.endsWith("A") && last.every((x) => x === picture.peak)) {
      picture.planes = picture.planes.slice(0, -1);
      picture.mode = MODES[picture.planes.length];
    }
    return picture;
  }

  async function fromLrk(bytes) {
    const { open, samplesOf } = await import("./img-lrk.js");
    const parts = await open(bytes);
    const { width, height, channels, frames } = parts;
    const samples = samplesOf(parts);
    const some = channels === 2 || channels <= 4 ? channels : 3;
    const planes = Array.from({ length: some }, (_, c) =>
      Float64Array.from({ length: width * height }, (_, i) => samples[i * channels + c]),
    );
    const notes = frames === null ? [] : [`It is a stack of ${frames} frames; the first is shown.`];
    if (some < channels) notes.push(`It has ${channels} channels; the first three are shown.`);
    const mode = parts.mode === "array" ? MODES[some] : parts.mode;
    const bits = parts.mode === "1" ? 1 : Number(parts.dtype.match(/\d+/));
    const whole = parts.dtype.startsWith("uint") && bits <= 16;
    const peak = whole ? 2 ** bits - 1 : null;
    const kind = bits > 8 ? `, ${parts.dtype}` : "";
    return { width, height, planes, mode: mode === "I;16" || mode === "F" ? "L" : mode, peak, kind, notes };
  }

  // Averaged over cells where it is larger than a page shows.
  function reduced(picture) {
    const { width, height } = picture;
    if (width * height <= MOST) return picture;
    const scale = Math.sqrt(MOST / (width * height));
    const [w, h] = [Math.max(Math.floor(width * scale), 1), Math.max(Math.floor(height * scale), 1)];
    const notes = [
      ...picture.notes,
      `The picture of ${width} × ${height} pixels is shown, and measured, reduced to ${w} × ${h} by averaging.`,
    ];
    return { ...picture, notes, width: w, height: h, planes: shrunk(picture, w, h) };
  }

  // Planes of means over cells, rounded to samples.
  function shrunk({ width, height, planes, peak }, w, h) {
    return planes.map((plane) => {
      const out = peak === null ? new Float64Array(w * h) : new plane.constructor(w * h);
      for (let y = 0; y < h; y++) {
        const [top, bottom] = [y, y + 1].map((i) => Math.floor((i * height) / h));
        for (let x = 0; x < w; x++) {
          const [left, right] = [x, x + 1].map((i) => Math.floor((i * width) / w));
          let sum = 0;
          for (let i = top; i < bottom; i++) {
            for (let j = left; j < right; j++) sum += plane[i * width + j];
          }
          const mean = sum / ((bottom - top) * (right - left));
          out[y * w + x] = peak === null ? mean : Math.round(mean);
        }
      }
      return out;
    });
  }

  // Samples that are seen as black and as white: those of 8 bits, or the ends of the others.
  function shades({ planes, peak }) {
    if (peak !== null && peak <= 255) return [0, peak];
    let [low, high] = [Infinity, -Infinity];
    for (const plane of planes) {
      for (const x of plane) {
        if (x < low) low = x;
        if (x > high) high = x;
      }
    }
    return [low, high > low ? high : low + 1];
  }

  return { read, shrunk, shades, NAMES };
})();
