"use strict";
// Stacks that somebody gives: .npy arrays, TIFFs of several pages, .lrk files of several frames.

const Stacks = (() => {
  const MOST = 8e6; // samples: larger frames are averaged down
  const LITTLE = {
    u1: [1, (v, i) => v.getUint8(i)], i1: [1, (v, i) => v.getInt8(i)],
    u2: [2, (v, i, l) => v.getUint16(i, l)], i2: [2, (v, i, l) => v.getInt16(i, l)],
    u4: [4, (v, i, l) => v.getUint32(i, l)], i4: [4, (v, i, l) => v.getInt32(i, l)],
    f4: [4, (v, i, l) => v.getFloat32(i, l)], f8: [8, (v, i, l) => v.getFloat64(i, l)],
  };
  const starts = (bytes, text) => [...text].every((c, i) => bytes[i] === c.charCodeAt(0));

  // What a file holds as a stack; null where it holds no stack.
  async function read(file) {
    const bytes = new Uint8Array(await file.arrayBuffer());
    let found = null;
    if (starts(bytes, "\x93NUMPY")) found = npy(bytes);
    else if (starts(bytes, "II*\0") || starts(bytes, "MM\0*")) found = await tiff(bytes);
    else if (starts(bytes, "\x89LRK")) found = await lrk(bytes);
    if (!found) return null;
    return reduced({ ...found, name: file.name, notes: [] });
  }

  // A numpy array: (N, h, w) or (N, h, w, 1-4); of two axes, a stack of one frame.
  function npy(bytes) {
    const view = new DataView(bytes.buffer);
    const long = bytes[6] > 1;
    const start = long ? 12 : 10, size = long ? view.getUint32(8, true) : view.getUint16(8, true);
    const said = new TextDecoder().decode(bytes.subarray(start, start + size));
    const [, order, kind] = said.match(/'descr': '([<>|=])(\w+)'/) ?? [];
    const shape = (said.match(/'shape': \(([^)]*)\)/)?.[1] ?? "").split(",").filter((x) => x.trim()).map(Number);
    if (!LITTLE[kind] || !/'fortran_order': False/.test(said)) throw new Error("an array of this kind is not read");
    if (shape.length === 2) shape.unshift(1);
    if (shape.length === 3) shape.push(1);
    if (shape.length !== 4 || shape[3] > 4) throw new Error("an array of these axes is no stack");
    const [N, height, width, colours] = shape;
    const [bytesEach, get] = LITTLE[kind];
    const count = N * height * width * colours;
    if (bytes.length < start + size + count * bytesEach) throw new Error("the file ends early");
    const A = new Float32Array(count);
    for (let i = 0; i < count; i++) A[i] = get(view, start + size + i * bytesEach, order !== ">");
    return { N, height, width, colours, A, eight: kind === "u1" };
  }

  // A TIFF of several pages of one size, in strips, plain or deflated; null of a single page.
  async function tiff(bytes) {
    const view = new DataView(bytes.buffer), little = bytes[0] === 0x49;
    const u16 = (at) => view.getUint16(at, little), u32 = (at) => view.getUint32(at, little);
    const pages = [];
    for (let at = u32(4); at && pages.length < 65536; ) {
      const tags = {};
      const count = u16(at);
      for (let i = 0; i < count; i++) {
        const entry = at + 2 + 12 * i, type = u16(entry + 2), length = u32(entry + 4);
        const each = { 3: 2, 4: 4 }[type];
        if (!each) continue;
        const from = length * each > 4 ? u32(entry + 8) : entry + 8;
        tags[u16(entry)] = Array.from({ length }, (_, j) => (each === 2 ? u16 : u32)(from + each * j));
      }
      pages.push(tags);
      at = u32(at + 2 + 12 * count);
    }
    if (pages.length < 2) throw new Error("a TIFF of one page is not read here; the tool reads it");
    const one = (tags, tag, usual) => tags[tag]?.[0] ?? usual;
    const [first] = pages;
    const width = one(first, 256), height = one(first, 257), colours = one(first, 277, 1);
    const bits = one(first, 258, 1), format = one(first, 339, 1);
    const kind = `${{ 1: "u", 2: "i", 3: "f" }[format]}${bits / 8}`;
    const same = pages.every((x) => one(x, 256) === width && one(x, 257) === height && one(x, 258) === bits);
    const plain = pages.every((x) => [1, 8, 32946].includes(one(x, 259, 1)) && one(x, 317, 1) === 1 && one(x, 284, 1) === 1);
    if (!same || !plain || !LITTLE[kind] || colours > 4) throw new Error("a TIFF of this kind is not read here");
    const [bytesEach, get] = LITTLE[kind];
    const n = width * height * colours, A = new Float32Array(pages.length * n);
    for (const [i, tags] of pages.entries()) {
      let at = i * n;
      for (const [j, from] of tags[273].entries()) {
        let strip = bytes.slice(from, from + tags[279][j]);
        if (one(tags, 259, 1) !== 1) {
          const stream = new Blob([strip]).stream().pipeThrough(new DecompressionStream("deflate"));
          strip = new Uint8Array(await new Response(stream).arrayBuffer());
        }
        const samples = new DataView(strip.buffer);
        for (let k = 0; k + bytesEach <= strip.length && at < (i + 1) * n; k += bytesEach) {
          A[at++] = get(samples, k, little);
        }
      }
    }
    return { N: pages.length, height, width, colours, A, eight: kind === "u1" };
  }

  async function lrk(bytes) {
    const { open, samplesOf } = await import("./img-lrk.js");
    const parts = await open(bytes);
    const { frames: N, height, width, channels } = parts;
    if (N === null) return null;
    const colours = Math.min(channels, 4), n = height * width * colours;
    const A = new Float32Array(N * n);
    for (let frame = 0; frame < N; frame++) {
      const samples = samplesOf(parts, { frame });
      for (let p = 0, at = frame * n; p < height * width; p++) {
        for (let c = 0; c < colours; c++) A[at++] = samples[p * channels + c];
      }
    }
    return { N, height, width, colours, A, eight: parts.dtype === "uint8" };
  }

  // Frames averaged over cells, all alike, where there are too many samples.
  function reduced(stack) {
    const { N, height, width, colours, A } = stack;
    const step = Math.ceil(Math.sqrt(A.length / MOST));
    if (step < 2) return stack;
    const [h, w] = [Math.max(Math.floor(height / step), 1), Math.max(Math.floor(width / step), 1)];
    const out = new Float32Array(N * h * w * colours);
    const across = Math.min(step, width), down = Math.min(step, height);
    for (let i = 0, at = 0; i < N; i++) {
      for (let y = 0; y < h; y++) {
        for (let x = 0; x < w; x++) {
          for (let c = 0; c < colours; c++, at++) {
            let sum = 0;
            for (let p = 0; p < down; p++) {
              for (let q = 0; q < across; q++) {
                sum += A[((i * height + y * step + p) * width + x * step + q) * colours + c];
              }
            }
            out[at] = sum / (across * down);
          }
        }
      }
    }
    const notes = [`Its frames of ${width} × ${height} are shown, and measured, reduced to ${w} × ${h}.`];
    return { ...stack, height: h, width: w, size: [height, width], A: out, notes };
  }

  return { read };
})();
