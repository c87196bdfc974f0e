"use strict";
// Samples -> the RGBA bytes of a canvas.

class Painter {
  // mode: as Lrk gives it; black and white: the samples shown so.
  constructor(mode, black, white) {
    Object.assign(this, { mode, black, scale: 255 / (white - black) });
  }

  // Round and clip to samples, as decompression does, then to 8 bits. A float has no
  // peak to be clipped at; the canvas's own clamping does the rest.
  level(value) {
    const { peak } = this.mode;
    const sample = peak === null ? value : Math.min(Math.max(Math.round(value), 0), peak);
    return (sample - this.black) * this.scale;
  }

  // The picture itself: planes of samples, or of sums that are nearly samples.
  picture(planes, out) {
    const [a, b, c, d] = planes;
    for (let i = 0, at = 0; i < a.length; i++, at += 4) {
      const first = this.level(a[i]);
      switch (this.mode.name) {
        case "RGB":
        case "RGBA":
          out[at] = first;
          out[at + 1] = this.level(b[i]);
          out[at + 2] = this.level(c[i]);
          out[at + 3] = d ? this.level(d[i]) : 255;
          break;
        case "CMYK": {
          const light = (255 - this.level(d[i])) / 255;
          out[at] = (255 - first) * light;
          out[at + 1] = (255 - this.level(b[i])) * light;
          out[at + 2] = (255 - this.level(c[i])) * light;
          out[at + 3] = 255;
          break;
        }
        default:
          out[at] = out[at + 1] = out[at + 2] = first;
          out[at + 3] = b ? this.level(b[i]) : 255;
      }
    }
  }

  // Difference of two painted pictures around mid-grey, alpha left out.
  static difference(original, sum, gain, out) {
    for (let at = 0; at < out.length; at += 4) {
      for (let c = 0; c < 3; c++) {
        out[at + c] = 128 + gain * (original[at + c] - sum[at + c]);
      }
      out[at + 3] = 255;
    }
  }

  // One layer: factors are one {s, u, v} for each channel, reduced to width x height by
  // averaging u and v alone, which averages their product.
  layer(factors, width, height, out) {
    const colours = this.mode.name === "LA" ? 1 : Math.min(factors.length, 3);
    const sign = this.mode.name === "CMYK" ? -1 : 1;
    const reduced = factors.slice(0, colours).map(({ s, u, v }) => ({
      u: Painter.averaged(u, height),
      v: Painter.averaged(v, width).map((x) => sign * s * x),
    }));
    // Black and white are three times the root mean square, or the largest value if less.
    const largest = (x) => x.reduce((most, value) => Math.max(most, Math.abs(value)), 0);
    const rms = (x) => Math.sqrt(x.reduce((sum, value) => sum + value * value, 0) / x.length);
    const peak =
      Math.min(
        Math.max(...reduced.map(({ u, v }) => largest(u) * largest(v))),
        3 * Math.max(...reduced.map(({ u, v }) => rms(u) * rms(v))),
      ) || 1;
    for (let y = 0, at = 0; y < height; y++) {
      for (let x = 0; x < width; x++, at += 4) {
        for (let c = 0; c < 3; c++) {
          const { u, v } = reduced[c] ?? reduced[0];
          out[at + c] = 128 + (127 / peak) * u[y] * v[x];
        }
        out[at + 3] = 255;
      }
    }
  }

  static averaged(values, cells) {
    if (cells >= values.length) return values;
    return Float64Array.from({ length: cells }, (_, i) => {
      const from = Math.floor((i * values.length) / cells);
      const to = Math.max(Math.floor(((i + 1) * values.length) / cells), from + 1);
      return values.subarray(from, to).reduce((sum, x) => sum + x, 0) / (to - from);
    });
  }
}
