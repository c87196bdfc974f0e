"use strict";
// A reader of plain PNG files that gives samples as they are stored. A canvas would not:
// it multiplies colours by alpha, cuts 16 bits to 8, and some browsers add noise to what
// is read back. And the errors on this page are measured on these samples.

const Png = (() => {
  const CHANNELS = { 0: 1, 2: 3, 4: 2, 6: 4 };

  function check(holds, what) {
    if (!holds) throw new Error(`damaged PNG: ${what}`);
  }

  async function inflate(pieces) {
    if (typeof DecompressionStream === "undefined") {
      throw new Error("this page needs a browser of 2023 or later");
    }
    const stream = new Blob(pieces).stream().pipeThrough(new DecompressionStream("deflate"));
    return new Uint8Array(await new Response(stream).arrayBuffer());
  }

  function paeth(a, b, c) {
    const [pa, pb, pc] = [Math.abs(b - c), Math.abs(a - c), Math.abs(a + b - 2 * c)];
    return pa <= pb && pa <= pc ? a : pb <= pc ? b : c;
  }

  // Undo the filter of each row, in place; the first byte of a row names the filter.
  function unfilter(data, height, stride, step) {
    for (let y = 0; y < height; y++) {
      const row = y * (stride + 1) + 1;
      const above = row - stride - 1;
      const filter = data[row - 1];
      check(filter <= 4, "filter");
      for (let x = 0; filter !== 0 && x < stride; x++) {
        const a = x >= step ? data[row + x - step] : 0;
        const b = y > 0 ? data[above + x] : 0;
        const c = x >= step && y > 0 ? data[above + x - step] : 0;
        const guess =
          filter === 1 ? a : filter === 2 ? b : filter === 3 ? (a + b) >> 1 : paeth(a, b, c);
        data[row + x] += guess;
      }
    }
  }

  // {width, height, planes}: the samples of each channel, row after row.
  async function decode(bytes) {
    const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
    const pieces = [];
    let head = null;
    for (let at = 8; at + 12 <= bytes.length; ) {
      const size = view.getUint32(at);
      const type = String.fromCharCode(...bytes.subarray(at + 4, at + 8));
      check(at + 12 + size <= bytes.length, "it ends early");
      check(
        Lrk.crc32(bytes.subarray(at + 4, at + 8 + size)) === view.getUint32(at + 8 + size),
        "checksum",
      );
      if (type === "IHDR") {
        head = { width: view.getUint32(at + 8), height: view.getUint32(at + 12) };
        head.bits = bytes[at + 16];
        head.channels = CHANNELS[bytes[at + 17]];
        check(head.channels && [1, 8, 16].includes(head.bits) && bytes[at + 20] === 0, "kind");
      }
      if (type === "IDAT") pieces.push(bytes.subarray(at + 8, at + 8 + size));
      at += 12 + size;
    }
    check(head !== null, "no header");
    const { width, height, bits, channels } = head;
    const stride = Math.ceil((width * channels * bits) / 8);
    const data = await inflate(pieces);
    check(data.length === height * (stride + 1), "length");
    unfilter(data, height, stride, Math.max((channels * bits) / 8, 1));
    const Samples = bits === 16 ? Uint16Array : Uint8Array;
    const planes = Array.from({ length: channels }, () => new Samples(width * height));
    planes.forEach((plane, c) => {
      for (let y = 0, i = 0; y < height; y++) {
        const row = y * (stride + 1) + 1;
        for (let x = 0; x < width; x++, i++) {
          const at = x * channels + c;
          if (bits === 8) plane[i] = data[row + at];
          else if (bits === 16) plane[i] = (data[row + 2 * at] << 8) | data[row + 2 * at + 1];
          else plane[i] = (data[row + (at >> 3)] >> (7 - (at & 7))) & 1;
        }
      }
    });
    return { width, height, planes };
  }

  return { decode };
})();
