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
    const { mode, width, height, channels, frames } = parts;
    const shape = [height, width, channels], hash = createHash("sha256");
    const whole = frames !== null && frame === undefined;
    if (whole) shape.unshift(frames);
    for (let i = 0; i < (whole ? frames : 1); i++) {
      const samples = samplesOf(parts, whole ? { ...options, frame: i } : options);
      hash.update(new Uint8Array(samples.buffer, samples.byteOffset, samples.byteLength));
    }
    said = { mode, shape, sha256: hash.digest("hex") };
  } catch (error) {
    if (error.name !== "LrkError") throw error;
    said = { refused: error.kind, why: error.message };
  }
  process.stdout.write(`${JSON.stringify(said)}\n`);
}
