// <img-lrk src="x.lrk" k="20" frame="0" alt="...">: any .lrk file as a picture in a page, drawn
// from what is there while its bytes arrive. Events as of an image: load, error.

import { U8, assign, max } from "./numbers.js";
import { LrkError } from "./errors.js";
import { open, pixelsOf, samplesOf } from "./decode.js";

export { LrkError } from "./errors.js";
export { open, pixelsOf, samplesOf } from "./decode.js";

const GROWN = 1.5; // a picture is drawn anew when so many times the bytes are there
const STYLE =
  ":host{display:inline-block;max-width:100%}:host([hidden]){display:none}" +
  "canvas{display:block;width:100%;height:auto}";
const Base = globalThis.HTMLElement ?? class {};

/** The bytes of a response, ever more of them: a view of all that are there, and if it is all. */
async function* arriving(stream) {
  const reader = stream.getReader();
  let bytes = new U8(65536), length = 0, told = 0;
  for (;;) {
    const { value, done } = await reader.read();
    if (done) break;
    if (length + value.length > bytes.length) {
      const longer = new U8(2 * (length + value.length));
      longer.set(bytes.subarray(0, length));
      bytes = longer;
    }
    bytes.set(value, length);
    length += value.length;
    if (length >= GROWN * told) {
      told = length;
      yield [bytes.subarray(0, length), false];
    }
  }
  yield [bytes.subarray(0, length), true];
}

export class ImgLrk extends Base {
  static observedAttributes = ["src", "k", "frame", "alt"];

  constructor() {
    super();
    const root = this.attachShadow({ mode: "open" });
    const sheet = new CSSStyleSheet();
    sheet.replaceSync(STYLE);
    root.adoptedStyleSheets = [sheet];
    this.canvas = document.createElement("canvas");
    assign(this.canvas, { "width": 0, "height": 0 });
    this.text = document.createElement("slot");
    root.append(this.canvas, this.text);
    this.parts = null;
    this.complete = false;
  }

  connectedCallback() {
    if (!this.role) this.role = "img";
    this.load();
  }

  disconnectedCallback() {
    this.loading?.abort();
  }

  attributeChangedCallback(name, before, value) {
    if (before === value) return;
    if (name === "alt") this.ariaLabel = value;
    else if (name === "src" && this.isConnected) this.load();
    else if (!this.complete) this.drawn = 0;
    else {
      try {
        this.paint(true);
      } catch (error) {
        this.fail(error);
      }
    }
  }

  fail(error) {
    this.text.hidden = false;
    this.dispatchEvent(new ErrorEvent("error", { message: error.message, error }));
  }

  async load() {
    this.loading?.abort();
    const src = this.getAttribute("src");
    this.complete = false;
    this.drawn = 0;
    if (!src) return;
    const loading = (this.loading = new AbortController());
    try {
      const response = await fetch(new URL(src, document.baseURI), { signal: loading.signal });
      if (!response.ok) throw new Error(`${src}: ${response.status} ${response.statusText}`);
      for await (const [bytes, all] of arriving(response.body)) {
        await this.show(bytes, all, loading.signal);
      }
      if (loading.signal.aborted) return;
      this.complete = true;
      this.dispatchEvent(new Event("load"));
    } catch (error) {
      if (!loading.signal.aborted) this.fail(error);
    }
  }

  // Draw what is there; before the end that may be nothing yet.
  async show(bytes, all, signal) {
    try {
      const parts = await open(bytes, { "partial": !all });
      if (signal.aborted) return;
      this.parts = parts;
      // A picture that was whole before it was known to be all there is drawn already.
      if (this.drawn !== bytes.length) this.paint(all);
      this.drawn = parts.missing === null ? bytes.length : 0;
    } catch (error) {
      if (all || !(error instanceof LrkError)) throw error;
    }
  }

  paint(whole) {
    const { parts, canvas } = this;
    const number = (name) => (this.hasAttribute(name) ? Number(this.getAttribute(name)) : undefined);
    const options = { "rank": number("k"), "frame": number("frame"), "partial": !whole };
    const samples = samplesOf(parts, options);
    const image = new ImageData(pixelsOf(parts, samples), parts.width, parts.height);
    assign(canvas, { "width": parts.width, "height": parts.height });
    canvas.getContext("2d").putImageData(image, 0, 0);
    this.text.hidden = true;
  }
}

if (globalThis.customElements && !customElements.get("img-lrk")) {
  customElements.define("img-lrk", ImgLrk);
}
