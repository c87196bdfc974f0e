"use strict";
// The picture: what is embedded, and the view of it that is on the canvas.

class Stage {
  // data: as the page carries it.
  static async open(data) {
    const file = Lrk.parse(Stage.bytes(data.lrk));
    const original = await Png.decode(Stage.bytes(data.png));
    const decoded = data.file ? await Png.decode(Stage.bytes(data.file)) : null;
    const planes = (png) => Stage.planes(data, png);
    return new Stage(data, file, planes(original), decoded && planes(decoded));
  }

  static bytes(base64) {
    return Uint8Array.from(atob(base64), (c) => c.charCodeAt(0));
  }

  // A, decoded: planes of the original and of what a file decodes to, or null.
  constructor(data, file, A, decoded) {
    const { width, height } = file;
    Object.assign(this, { data, file, width, height, A, decoded });
    this.view = "sum";
    this.amplified = "auto";
    this.channel = -1; // the one that is seen alone
    this.held = null; // what is held on the left: {k, planes}
    this.rmse = 0; // at the rank that is shown
    this.sums = new PartialSums(file);
    this.painter = new Painter(file.mode, data.black, data.white);
    this.grey = new Painter({ name: "L", peak: file.mode.peak }, data.black, data.white);
    this.picture = this.canvas("picture");
    this.under = this.canvas("under");
    const blank = () => new ImageData(width, height);
    this.images = { original: blank(), sum: blank(), shown: blank(), under: blank() };
    if (decoded) this.images.file = blank();
    this.paintFixed();
    // Picture, caption and slider together fit a projector's 720 lines, and a tall picture too.
    const above = data.copy === null && data.of_file === null ? "19.75rem" : "21.5rem";
    const room = `max(100vh - ${above}, 18rem)`;
    byId("plate").style.maxWidth = `min(100%, ${room} * ${width / height})`;
  }

  canvas(id) {
    const { width, height } = this;
    const element = byId(id);
    Object.assign(element, { width, height });
    element.classList.toggle("small", Math.max(width, height) < 200);
    return element.getContext("2d", { willReadFrequently: true });
  }

  // Of floats the PNG has the four bytes of each.
  static planes({ floats, channels }, { planes }) {
    if (!floats) return planes.slice(0, channels.length);
    const [a, b, c, d] = planes;
    const bits = Uint32Array.from(a, (x, i) => x | (b[i] << 8) | (c[i] << 16) | (d[i] << 24));
    return [new Float32Array(bits.buffer)];
  }

  // The picture of some planes, or one channel of it in grey.
  draw(planes, image) {
    if (this.channel < 0) this.painter.picture(planes, image.data);
    else this.grey.picture([planes[this.channel]], image.data);
  }

  // What does not follow the rank: the original, the file, and what is held on the left.
  paintFixed() {
    this.draw(this.A, this.images.original);
    if (this.decoded) this.draw(this.decoded, this.images.file);
    this.draw(this.held ? this.held.planes : this.A, this.images.under);
    this.under.putImageData(this.images.under, 0, 0);
  }

  // See one channel alone, or all of them (-1).
  choose(channel) {
    this.channel = channel;
    this.paintFixed();
  }

  // Hold the sum as it is on the left, or the original again.
  hold(k) {
    this.held = k === null ? null : { k, planes: this.sums.planes.map((plane) => plane.slice()) };
    this.paintFixed();
  }

  // Factors of layer k, one {s, u, v} for each channel; a channel that ends earlier is zero.
  term(k) {
    return this.file.matrices.map(({ s, u, v }) =>
      k <= s.length
        ? { s: s[k - 1], u: u[k - 1], v: v[k - 1] }
        : { s: 0, u: new Float64Array(this.height), v: new Float64Array(this.width) },
    );
  }

  gain() {
    if (this.amplified !== "auto") return Number(this.amplified);
    const wish = 40 / Math.max(this.rmse * this.painter.scale, 0.4);
    return 2 ** Math.min(Math.max(Math.round(Math.log2(wish)), 0), 6);
  }

  // Draw the view at rank k, as far as it is summed, and name it.
  paint(k) {
    const { original, sum, shown, file } = this.images;
    let image = sum;
    if (this.view === "original") image = original;
    else if (this.view === "file") image = file;
    else if (this.view === "layer") {
      const term = this.term(k);
      const seen = this.channel < 0 ? term : [term[this.channel]];
      (this.channel < 0 ? this.painter : this.grey).layer(seen, this.width, this.height, shown.data);
      image = shown;
    } else {
      this.draw(this.sums.planes, sum);
      if (this.view === "difference") {
        Painter.difference(original.data, sum.data, this.gain(), shown.data);
        image = shown;
      }
    }
    this.picture.putImageData(image, 0, 0);
    const { copy } = this.data;
    const of = copy === null ? "" : ` of ${copy}`;
    const name = {
      original: copy === null ? "The original" : `The original, as ${copy}`,
      sum: `The sum of the first ${this.layers(k)}${of}`,
      difference: `Original minus rank ${k}${of}, amplified × ${this.gain()}, around mid-grey`,
      layer: `Layer ${k}${of} alone, its contrast stretched; mid-grey is zero`,
      file: this.data.file_caption,
    }[this.view];
    const left = this.held ? `rank ${this.held.k}` : "the original";
    const swipe = byId("swipe").checked ? ` (right of the divider; ${left} is left of it)` : "";
    const channel = this.channel < 0 ? "" : `, ${this.data.channels[this.channel]} alone`;
    Words.say("caption", `${name}${channel}${swipe}.`);
    byId("picture").setAttribute("aria-label", `${this.data.name}: ${name}`);
  }

  layers(k) {
    const each = this.data.channels.length > 1 ? " of each channel" : "";
    return (k === 1 ? "layer" : `${k} layers`) + each;
  }

  // Errors of the sum that is there, which has rank k.
  measure(k) {
    const { A, file, width, height, sums, data } = this;
    let [exact, rounded, spectral] = [0, 0, 0];
    A.forEach((a, c) => {
      const squares = Norms.squares(a, sums.planes[c], file.mode.peak);
      exact += squares.exact;
      rounded += squares.rounded;
      const ahead = file.matrices[c].v[k];
      const start = ahead && file.matrices[c].s[k] > 0 ? ahead : Norms.anyVector(width);
      const rounds = ahead ? 4 : 12;
      spectral = Math.max(
        spectral, Norms.spectral(a, sums.planes[c], height, width, start, rounds),
      );
    });
    const mse = rounded / (width * height * A.length);
    this.rmse = Math.sqrt(mse);
    const psnr = mse > 0 ? 10 * Math.log10(data.copy_peak ** 2 / mse) : Infinity;
    return { frobenius: Math.sqrt(exact), spectral, psnr };
  }

  // A picture of layer i of at most 240 pixels.
  thumbnail(i) {
    const small = document.createElement("canvas");
    const scale = Math.min(240 / Math.max(this.width, this.height), 1);
    small.width = Math.max(Math.round(this.width * scale), 1);
    small.height = Math.max(Math.round(this.height * scale), 1);
    const image = new ImageData(small.width, small.height);
    this.painter.layer(this.term(i), small.width, small.height, image.data);
    small.getContext("2d").putImageData(image, 0, 0);
    return small;
  }
}
