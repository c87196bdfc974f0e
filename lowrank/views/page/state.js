"use strict";
// The address holds what is seen, so that a link shows it: #k=20&view=layer&channel=red.

const State = {
  // {k, view, channel} as far as the address says.
  read() {
    const said = new URLSearchParams(location.hash.slice(1));
    const k = Number(said.get("k"));
    return {
      k: Number.isInteger(k) && k > 0 ? k : null,
      view: said.get("view"),
      channel: said.get("channel"),
      rest: said,
    };
  },

  // Only once somebody has chosen something: a page that was just opened keeps its address.
  write(fields) {
    const { rest } = State.read();
    for (const [name, value] of Object.entries(fields)) {
      if (value === null) rest.delete(name);
      else rest.set(name, value);
    }
    history.replaceState(null, "", `#${rest}`);
  },
};
