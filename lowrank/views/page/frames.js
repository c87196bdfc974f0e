"use strict";
// A stack's frames, and the sum of its leading terms over all of them.

class Frames {
  // data: what the page carries; its `frames` are levels of 16 bits, deflated, low bytes first.
  static async open(data) {
    const bytes = (text) => Uint8Array.from(atob(text), (c) => c.charCodeAt(0));
    const file = Lrk.parse(bytes(data.lrk));
    const packed = new Blob([bytes(data.frames)]).stream();
    const stream = packed.pipeThrough(new DecompressionStream("deflate"));
    const planes = new Uint8Array(await new Response(stream).arrayBuffer());
    const count = planes.length / 2;
    const A = new Float32Array(count);
    for (let i = 0; i < count; i++) {
      A[i] = data.low + data.scale * (planes[i] + 256 * planes[count + i]);
    }
    return new Frames(data, file, A);
  }

  constructor(data, file, A) {
    const [N, height, width, colours] = data.shape;
    const { s, u, v } = file.matrices[0];
    Object.assign(this, { data, file, A, N, height, width, colours, s, u, v, k: 0 });
    this.n = height * width * colours;
    this.B = new Float32Array(A.length); // the sum of the first k terms
  }

  // Add or take away terms until there are k.
  setRank(k) {
    const { N, n, B, s, u, v } = this;
    while (this.k !== k) {
      const sign = this.k < k ? 1 : -1;
      const j = sign > 0 ? this.k : this.k - 1;
      for (let i = 0; i < N; i++) {
        const weight = sign * s[j] * u[j][i];
        for (let p = 0, at = i * n; p < n; p++, at++) B[at] += weight * v[j][p];
      }
      this.k += sign;
    }
    if (k === 0) B.fill(0);
  }

  // Root mean square error of each frame.
  errors() {
    const found = new Float64Array(this.N);
    for (let i = 0; i < this.N; i++) {
      let squares = 0;
      for (let at = i * this.n; at < (i + 1) * this.n; at++) squares += (this.A[at] - this.B[at]) ** 2;
      found[i] = Math.sqrt(squares / this.n);
    }
    return found;
  }

  // The values of a pixel's first colour over all frames, of A or of B.
  trace(values, y, x) {
    const at = (y * this.width + x) * this.colours;
    return Float64Array.from({ length: this.N }, (_, i) => values[i * this.n + at]);
  }

  // Paint n values on a canvas: grey, or three colours; low is black, high is white. Of inks,
  // which take light away, more is darker; the black one is in the picture, not in what is around 0.
  paint(canvas, values, low, high) {
    const { width, height, colours } = this;
    Object.assign(canvas, { width, height });
    const context = canvas.getContext("2d");
    const image = context.createImageData(width, height);
    const scale = 255 / (high - low || 1);
    const three = colours >= 3, inks = this.data.channels[0] === "cyan";
    const level = (p, c) => (values[p * colours + c] - low) * scale;
    for (let p = 0; p < width * height; p++) {
      for (let c = 0; c < 3; c++) {
        const x = level(p, three ? c : 0);
        const light = inks && low >= 0 ? (255 - level(p, 3)) / 255 : 1;
        image.data[4 * p + c] = inks ? (255 - x) * light : x;
      }
      image.data[4 * p + 3] = 255;
    }
    context.putImageData(image, 0, 0);
  }
}
