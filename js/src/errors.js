// What is wrong with a file; `kind` is "format", "truncated" or "limit", as in Python.

export class LrkError extends Error {
  constructor(kind, message) {
    super(message);
    this.name = "LrkError";
    this.kind = kind;
  }
}

export const bad = (what) => new LrkError("format", `damaged .lrk file${what ? `: ${what}` : ""}`);

export function known(holds, what) {
  if (!holds) throw new LrkError("format", `unknown ${what}: a newer reader may know it`);
}

export function bound(work, most) {
  if (work > most) throw new LrkError("limit", "too much");
}

export function check(holds, what) {
  if (!holds) throw bad(what);
}
