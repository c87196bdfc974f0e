"use strict";
// How the picture is looked at: swiped, held, enlarged, one channel of it, and its u and v.

class View {
  // repaint: called where the picture has to be painted anew.
  constructor(stage, repaint, signal) {
    Object.assign(this, { stage, repaint, signal, scale: 1, x: 0, y: 0 });
    const listen = (id, kind, act) => byId(id).addEventListener(kind, act, { signal });
    listen("swipe", "change", () => this.swipe());
    listen("handle", "input", () => this.slide());
    listen("hold", "click", () => this.hold());
    listen("channel", "change", () => this.choose(Number(byId("channel").value)));
    listen("closer", "click", () => this.zoom(1.6));
    listen("farther", "click", () => this.zoom(1 / 1.6));
    listen("frame", "dblclick", (event) => this.zoom(this.scale > 1 ? 0 : 3, event));
    listen("frame", "wheel", (event) => {
      if (!event.ctrlKey && this.scale === 1) return; // the page scrolls
      event.preventDefault();
      this.zoom(event.deltaY < 0 ? 1.2 : 1 / 1.2, event);
    });
    listen("frame", "pointerdown", (event) => this.grab(event));
    listen("frame", "pointermove", (event) => this.drag(event));
    const { channels } = stage.data;
    byId("channel-label").hidden = channels.length < 2;
    byId("channel").replaceChildren(
      ...["all channels", ...channels].map((name, i) => new Option(name, i - 1)),
    );
    for (const id of ["along", "down"]) byId(id).setAttribute("aria-hidden", "true");
    this.zoom(0);
  }

  choose(channel) {
    byId("channel").value = channel;
    this.stage.choose(channel);
    this.repaint();
  }

  // -- the divider -------------------------------------------------------------------

  swipe() {
    const on = byId("swipe").checked;
    for (const id of ["under", "divider", "handle", "hold"]) byId(id).hidden = !on;
    this.slide();
    this.repaint();
  }

  slide() {
    const share = Number(byId("handle").value);
    const width = byId("frame").clientWidth || 1;
    // Of the enlarged picture another share lies left of the divider.
    const of = (100 * ((share / 100) * width - this.x)) / (width * this.scale);
    byId("under").style.clipPath = `inset(0 ${100 - Math.min(Math.max(of, 0), 100)}% 0 0)`;
    byId("divider").style.left = `${share}%`;
    const left = this.stage.held ? `rank ${this.stage.held.k}` : "original";
    byId("handle").setAttribute("aria-valuetext", `${left} on the left ${Math.round(share)} %`);
  }

  // Two ranks side by side: the one that is seen stays on the left while the slider moves on.
  hold() {
    const { stage } = this;
    stage.hold(stage.held ? null : stage.sums.k);
    byId("hold").setAttribute("aria-pressed", String(stage.held !== null));
    const name = stage.held ? `Rank ${stage.held.k} is held` : "Hold on the left";
    byId("hold").textContent = name;
    this.slide();
    this.repaint();
  }

  // -- enlarged ----------------------------------------------------------------------

  // Enlarge by a factor around a pointer or the middle; 0 fits the picture again.
  zoom(factor, event) {
    const box = byId("frame").getBoundingClientRect();
    const [px, py] = event ? [event.clientX - box.left, event.clientY - box.top]
      : [box.width / 2, box.height / 2];
    const wish = Math.min(this.scale * factor, 24);
    const scale = wish < 1.01 ? 1 : wish;
    this.x = px - ((px - this.x) * scale) / this.scale;
    this.y = py - ((py - this.y) * scale) / this.scale;
    this.scale = scale;
    this.move(0, 0);
    byId("frame").classList.toggle("near", scale > 1);
    byId("farther").disabled = scale === 1;
  }

  move(dx, dy) {
    const { clientWidth: width, clientHeight: height } = byId("frame");
    const within = (at, size) => Math.min(Math.max(at, size * (1 - this.scale)), 0);
    this.x = within(this.x + dx, width);
    this.y = within(this.y + dy, height);
    byId("zoomed").style.transform =
      this.scale > 1 ? `translate(${this.x}px, ${this.y}px) scale(${this.scale})` : "";
    const pixels = (width * this.scale) / this.stage.width;
    byId("picture").classList.toggle("small", pixels > 3 || Math.max(this.stage.width, this.stage.height) < 200);
    byId("under").classList.toggle("small", byId("picture").classList.contains("small"));
    this.slide();
  }

  grab(event) {
    if (this.scale === 1 || event.target.id === "handle") return;
    byId("frame").setPointerCapture(event.pointerId);
  }

  drag(event) {
    if (byId("frame").hasPointerCapture(event.pointerId)) this.move(event.movementX, event.movementY);
  }

  // -- u down the side, v along the top ----------------------------------------------

  vectors(k) {
    const shown = this.stage.view === "layer";
    byId("plate").classList.toggle("layered", shown);
    for (const id of ["along", "down"]) byId(id).toggleAttribute("hidden", !shown);
    if (!shown) return;
    const { channel, data } = this.stage;
    const terms = View.aligned(this.stage.term(k));
    const seen = terms.map((term, c) => ({ ...term, name: data.channels[c] }))
      .filter((_, c) => channel < 0 || c === channel);
    View.curves(byId("along"), seen.map(({ v, name }) => [v, name]), true);
    View.curves(byId("down"), seen.map(({ u, name }) => [u, name]), false);
  }

  // u v^T is also (-u)(-v)^T: every channel takes the signs nearest to those of the first.
  static aligned(terms) {
    const dot = (a, b) => a.reduce((sum, x, i) => sum + x * b[i], 0);
    return terms.map(({ u, v }) => {
      const first = terms[0];
      const turn = dot(u, first.u) + dot(v, first.v) < 0 ? -1 : 1;
      return { u: u.map((x) => turn * x), v: v.map((x) => turn * x) };
    });
  }

  static curves(svg, vectors, across) {
    const length = vectors[0][0].length;
    const most = Math.max(...vectors.flatMap(([x]) => Array.from(x, Math.abs))) || 1;
    const point = (x, i) => {
      const [along, side] = [i + 0.5, 50 - (46 * x) / most];
      return across ? `${along},${side.toFixed(1)}` : `${side.toFixed(1)},${along}`;
    };
    svg.setAttribute("viewBox", across ? `0 0 ${length} 100` : `0 0 100 ${length}`);
    const zero = across ? { x1: 0, x2: length, y1: 50, y2: 50 } : { x1: 50, x2: 50, y1: 0, y2: length };
    svg.replaceChildren(
      Chart.element("line", zero),
      ...vectors.map(([x, name]) =>
        Chart.element("polyline", { class: `series ${name}`, points: Array.from(x, point).join(" ") }),
      ),
    );
  }
}
