// Decodes the files named on standard input with the JavaScript decoder, for test_javascript.py.
// A line in: {"path", "partial", "rank", "frame"}; a line out: what it says and a hash of the
// samples, or the kind of refusal.

import { createHash } from "node:crypto";
import { readFileSync } from "node:fs";
import { pathToFileURL } from "node:url";

const { open, samplesOf } = await import(pathToFileURL(process.argv[2]));

for (const line of readFileSync(0, "utf8").split("\n").filter(Boolean)) {
  const { path, partial, rank, frame, maxPixels } = JSON.parse(line);
  const options = { partial, rank, frame, maxPixels };
  let said;
  try {
    const parts = await open(new Uint8Array(readFileSync(path)), options);
    const samples = samplesOf(parts, options);
    const { mode, width, height, channels } = parts;
    const bytes = new Uint8Array(samples.buffer, samples.byteOffset, samples.byteLength);
    const sha256 = createHash("sha256").update(bytes).digest("hex");
    said = { mode, shape: [height, width, channels], sha256 };
  } catch (error) {
    if (error.name !== "LrkError") throw error;
    said = { refused: error.kind, why: error.message };
  }
  process.stdout.write(`${JSON.stringify(said)}\n`);
}
