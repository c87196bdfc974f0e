"use strict";
// A line chart as inline SVG: drawn anew for each width, so that text keeps its size.

class Chart {
  // options: {title, axis, xMax, log, top, bottom, series: [{name, values, start, style}],
  //           format, percent, onPick}; values[i] stands at x = start + i.
  constructor(holder, options) {
    this.holder = holder;
    this.options = options;
    this.k = 0;
    this.dots = [];
    new ResizeObserver(() => this.draw()).observe(holder);
    const pick = (event) => {
      const box = this.svg.getBoundingClientRect();
      options.onPick(Math.round(this.xInverse(event.clientX - box.left)));
    };
    holder.addEventListener("pointerdown", (event) => {
      holder.setPointerCapture(event.pointerId);
      pick(event);
    });
    holder.addEventListener("pointermove", (event) => {
      if (holder.hasPointerCapture(event.pointerId)) pick(event);
    });
  }

  static element(name, attributes, text) {
    const element = document.createElementNS("http://www.w3.org/2000/svg", name);
    for (const [key, value] of Object.entries(attributes)) element.setAttribute(key, value);
    if (text !== undefined) element.textContent = text;
    return element;
  }

  x(value) {
    return this.left + (value / this.options.xMax) * this.plotWidth;
  }

  xInverse(pixels) {
    return ((pixels - this.left) / this.plotWidth) * this.options.xMax;
  }

  y(value) {
    const { top, bottom, log } = this.options;
    const scale = log ? Math.log10 : (v) => v;
    const share = (scale(Math.max(value, bottom)) - scale(bottom)) / (scale(top) - scale(bottom));
    return this.upper + (1 - share) * this.plotHeight;
  }

  ticksX() {
    const step = [1, 2, 5, 10, 20, 50, 100, 200].find(
      (s) => this.options.xMax / s <= this.plotWidth / 70,
    ) ?? 500;
    const ticks = [];
    for (let value = 0; value <= this.options.xMax; value += step) ticks.push(value);
    return ticks;
  }

  ticksY() {
    const { top, bottom, log } = this.options;
    if (!log) return [0, 0.25, 0.5, 0.75, 1].filter((value) => value >= bottom);
    const decades = [];
    for (let e = Math.ceil(Math.log10(bottom) - 1e-9); e <= Math.log10(top); e++) decades.push(e);
    const skip = Math.ceil(decades.length / 6);
    return decades.filter((e) => (e - decades[0]) % skip === 0).map((e) => 10 ** e);
  }

  draw() {
    const width = Math.floor(this.holder.clientWidth);
    if (width < 50) return;
    const { title, axis, series, format, xMax } = this.options;
    const height = Math.round(Math.min(Math.max(width * 0.5, 190), 290));
    const labels = this.ticksY().map((value) => String(format(value)).length);
    const left = Math.max(58, 14 + 7.5 * Math.max(...labels)); // room for the longest of them
    Object.assign(this, { left, upper: 12, plotWidth: width - left - 14 });
    this.plotHeight = height - this.upper - 38;
    const floor = this.upper + this.plotHeight;
    const make = Chart.element;
    this.svg = make("svg", { width, height, role: "img", "aria-label": title });
    this.kept = make("rect", { class: "kept", x: this.left, y: this.upper, height: this.plotHeight });
    this.svg.append(this.kept);
    for (const value of this.ticksY()) {
      const y = this.y(value);
      this.svg.append(make("line", { class: "grid", x1: this.left, x2: width - 14, y1: y, y2: y }));
      this.svg.append(make("text", { x: this.left - 8, y: y + 4, class: "end" }, format(value)));
    }
    for (const value of this.ticksX()) {
      const x = this.x(value);
      this.svg.append(make("line", { class: "tick", x1: x, x2: x, y1: floor, y2: floor + 5 }));
      this.svg.append(make("text", { x, y: floor + 19, class: "middle" }, value));
    }
    this.svg.append(make("text", { x: width - 14, y: floor + 35, class: "end axis" }, axis));
    this.svg.append(
      make("line", { class: "base", x1: this.left, x2: this.x(xMax), y1: floor, y2: floor }),
    );
    for (const { values, start, style } of series) {
      const points = Array.from(values, (value, i) => {
        return `${this.x(start + i).toFixed(1)},${this.y(value).toFixed(1)}`;
      });
      this.svg.append(make("polyline", { class: `series ${style}`, points: points.join(" ") }));
    }
    this.marker = make("line", { class: "marker", y1: this.upper, y2: floor });
    this.dotGroup = make("g", {});
    this.svg.append(this.marker, this.dotGroup);
    this.holder.replaceChildren(this.svg);
    this.mark(this.k, this.dots);
  }

  // Mark rank k; dots: [{value, style}], at x = k unless they say where.
  mark(k, dots) {
    Object.assign(this, { k, dots });
    if (!this.svg) return;
    const x = this.x(k);
    this.kept.setAttribute("width", Math.max(x - this.left, 0));
    this.marker.setAttribute("x1", x);
    this.marker.setAttribute("x2", x);
    this.dotGroup.replaceChildren(
      ...dots.map(({ value, style, at }) =>
        Chart.element("circle", {
          class: `dot ${style}`,
          cx: this.x(at ?? k),
          cy: this.y(value),
          r: 5.5,
        }),
      ),
    );
  }
}
