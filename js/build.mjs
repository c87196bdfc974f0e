// Builds img-lrk.js, the decoder and its custom element in one file:
//
//   npm exec --yes --package=esbuild@0.25.5 --package=terser@5.42.0 -- node build.mjs
//
// Tables of integers become text, functions arrows, and the names of members that are not told outside become
// short. The first line is a hash of the sources, so that a test sees where this is stale.

import { execFileSync } from "node:child_process";
import { createHash } from "node:crypto";
import { readFileSync, readdirSync, rmSync, writeFileSync, mkdtempSync, mkdirSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";

const here = dirname(fileURLToPath(import.meta.url));
const MOST = 40 * 1024;
const INTERNAL = `
  kindAt size step alpha attempt bits bytes canvas channel fail header internals left levels loading low metadata norm
  number paint parts right shape show view above around band bands colours contradiction gaps grid matrices missing payload turn below beside blocks carry chunk code coded coder coarsest component
  count counts depth derive emptyFirst firsts flags frequency fresh gather guard head index kin
  known lanes last late learn learnFlags learnt magnitudes maps mean means memory models next
  nonzero normalise numbers octave odds ofAnotherLength ones optional order own packed phase
  phases pitch place places placesOf plane planes pool predict predictors quarters range rans
  raw rows scales scatter seen sets settle signed signLate sizeOf smooth span spare start state
  switches symbols sums tail terms tokens turns unsigned wavelet weights where wholePieces words
  zero
`.split(/\s+/).filter(Boolean);

const names = readdirSync(join(here, "src")).sort();
const sources = names.map((name) => readFileSync(join(here, "src", name), "utf8"));
const hash = createHash("sha256").update(sources.join("")).digest("hex").slice(0, 16);

const folder = mkdtempSync(join(tmpdir(), "img-lrk-"));
try {
  mkdirSync(join(folder, "src"));
  names.forEach((name, i) => {
    const arrows = sources[i].replace(
      /^(export )?function (\w+)\((.*?)\) \{\n([\s\S]*?)^\}/gm,
      "$1const $2 = ($3) => {\n$4};",
    );
    const text = arrows.replace(/table\(\[([^\]]*)\]\)/g, (_, list) => {
      const values = list.split(",").filter((x) => x.trim()).map(Number);
      return `table(${JSON.stringify(String.fromCharCode(...values.map((x) => 35 + (x < 0 ? -2 * x - 1 : 2 * x))))})`;
    });
    writeFileSync(join(folder, "src", name), text);
  });
  const bundle = join(folder, "bundle.js"), small = join(folder, "small.js");
  const quiet = { stdio: ["ignore", "ignore", "inherit"] };
  execFileSync("esbuild", [
    join(folder, "src", "element.js"), "--bundle", "--minify", "--format=esm", "--target=es2022",
    "--charset=utf8", `--mangle-props=^(${INTERNAL.join("|")})$`, `--outfile=${bundle}`,
    "--log-level=warning",
  ], quiet);
  execFileSync("terser", [
    bundle, "--module", "--compress", "passes=4,ecma=2020,unsafe_arrows=true,keep_fargs=false,hoist_props=true", "--mangle", "--format", "wrap_func_args=false", "--output", small,
  ], quiet);
  const built = `// img-lrk, MIT; sources ${hash}\n${readFileSync(small, "utf8")}\n`;
  const size = Buffer.byteLength(built);
  if (size > MOST) throw new Error(`img-lrk.js would have ${size} bytes, more than ${MOST}`);
  writeFileSync(join(here, "img-lrk.js"), built);
  process.stdout.write(`img-lrk.js: ${size} bytes\n`);
} finally {
  rmSync(folder, { recursive: true });
}
