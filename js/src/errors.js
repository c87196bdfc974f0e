// What is wrong with a file; `kind` is "format", "truncated" or "limit", as in Python.

export class LrkError extends Error {
  constructor(kind, message) {
    super(message);
    this.name = "LrkError";
    this.kind = kind;
  }
}

export const bad = (what) => new LrkError("format", what);

export function check(holds, what) {
  if (!holds) throw bad(what);
}
