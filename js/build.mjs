// Builds img-lrk.js, the decoder and its custom element in one file:
//
//   npm exec --yes --package=esbuild@0.25.5 --package=terser@5.42.0 -- node build.mjs
//
// Tables of integers become text, functions arrows, and the names of members that are not told outside become
// short; shorten.mjs does the rest. The first line is a hash of the sources, so that a test sees where this is stale.

import { execFileSync } from "node:child_process";
import { createHash } from "node:crypto";
import { readFileSync, readdirSync, rmSync, writeFileSync, mkdtempSync, mkdirSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";

import { shortened } from "./shorten.mjs";

const here = dirname(fileURLToPath(import.meta.url));
const MOST = 40 * 1024;
const BASE = 91; // of the digits of tables
// Members that keep their names, as those in quotes do: what the file tells, what pages and JSON say, and all that
// the language has.
const TOLD = "axis complete dtype kind labels maxPixels mode parts samples unit values";
const PAGES = `
  adoptedStyleSheets append ariaLabel attachShadow attributeChangedCallback baseURI body connectedCallback createElement
  customElements define disconnectedCallback dispatchEvent done error fetch getAttribute getContext hasAttribute hidden
  isConnected load observedAttributes ok putImageData replaceSync role signal status statusText value
`;

// What an object may have of its own, or be asked for, a kind of objects a line: only members of one kind need
// different names, and those that no line has differ from all.
const KINDS = `
  width height channels bits layout store frames turn matrices metadata missing gaps range colours payload stacked end step later \
    lanes late planes columns scales coarsest base stride drop fine centres kept top left
  step turn alpha levels end offsets lanes strengths switches order late version crossed farther per scales turns coarsest power gains rest
  k norm after tail loss s u v
  bit bits number signed
  decide tokens number remainder
  share first tally learn
  phase learn
  hit found group
  u32 u16 f64
  pitch count plane where span phases around scatter gather extent left right kin depth octave blocks
  cells number planes
  lefts rights ups downs
  here last mean count
  channel index level sheet
  beside above u v means
  x w told own mine sheet sums coded rest seen state
  maps weights own
  bands mean steep
  tall wide grid
  across down both
  low levels
  first follow firsts maps unsigned extent
  exponent differences large
  rank frame partial
  key tiles
  bits value
  canvas loading drawn fail show paint
`;

/** Names of the members of everything that the language and the web of node have. */
function spoken() {
  const names = new Set(), seen = new Set();
  const see = (x) => {
    if (x === null || (typeof x !== "object" && typeof x !== "function") || seen.has(x)) return;
    seen.add(x);
    for (const [name, { value }] of Object.entries(Object.getOwnPropertyDescriptors(x))) {
      names.add(name);
      see(value);
    }
    see(Object.getPrototypeOf(x));
  };
  const unnamed = ["AbortSignal", "Promise", "ReadableStream", "ReadableStreamDefaultReader"];
  for (const name of Object.getOwnPropertyNames(globalThis)) {
    const named = unnamed.includes(name) || sources.some((text) => new RegExp(`\\b${name}\\b`).test(text));
    if (/^[A-Z]/.test(name) && named) see(globalThis[name]);
  }
  see((function* () {})());
  return names;
}

/** The text of the tables' numbers: differences to the row above, coded as headers are (section 1 of PACKED.md). */
function packed(tables) {
  let low = 0n, range = BASE ** 4 - 1, count = 4;
  const known = new Map();
  const normalise = () => {
    for (; range < 2 ** 24; count++) [low, range] = [low * BigInt(BASE), range * BASE];
  };
  const bit = (value, context) => {
    const p = known.get(context) ?? 2048, bound = (range >>> 12) * p;
    if (value) low += BigInt(bound);
    range = value ? range - bound : bound;
    known.set(context, value ? p - (p >> 3) : p + ((4096 - p) >> 3));
    normalise();
  };
  const number = (x, context) => {
    const length = 32 - Math.clz32(x + 1);
    for (let i = 1; i <= length; i++) bit(i < length, `${context} ${i}`);
    for (let i = length - 2; i >= 0; i--) {
      range = Math.floor(range / 2);
      if (((x + 1) >> i) & 1) low += BigInt(range);
      normalise();
    }
  };
  for (const [row, values] of tables) {
    values.forEach((x, i) => {
      const above = values[i - row] ?? 0, change = x - above, context = Math.clz32(above) >> 1;
      number(Math.abs(change), context);
      if (change) bit(change < 0, context);
    });
  }
  // The fewest digits within the range: beyond them the decoder reads zeros.
  let unit = 1n;
  for (let top = low + BigInt(range) - 1n; top - (top % (unit * BigInt(BASE))) >= low; ) unit *= BigInt(BASE), count--;
  let top = (low + BigInt(range) - 1n) / unit, text = "";
  for (; count; count--) {
    const digit = Number(top % BigInt(BASE));
    text = String.fromCharCode(digit < 34 ? 93 + digit : 1 + digit) + text; // neither a quote nor a backslash
    top /= BigInt(BASE);
  }
  return text;
}

/** The bundle with the numbers of its tables as one text, in the order in which it asks for them. */
function tabled(bundle) {
  const tables = [];
  const text = bundle.replace(/\btable\((\d+),\s*\[([^\]]*)\]\)/g, (_, row, list) => {
    const values = list.split(",").map(Number);
    tables.push([Number(row), values]);
    return `table(${row},${values.length})`;
  });
  return text.replaceAll('"DIGITS"', () => JSON.stringify(packed(tables)));
}

const names = readdirSync(join(here, "src")).sort();
const sources = names.map((name) => readFileSync(join(here, "src", name), "utf8"));
const hash = createHash("sha256").update(sources.join("")).digest("hex").slice(0, 16);

const contexts = [];
const folder = mkdtempSync(join(tmpdir(), "img-lrk-"));
try {
  mkdirSync(join(folder, "src"));
  names.forEach((name, i) => {
    const arrows = sources[i].replace(
      /^(export )?function (\w+)\(([\s\S]*?)\) \{\n([\s\S]*?)^\}/gm,
      "$1const $2 = ($3) => {\n$4};",
    );
    const text = arrows.replace('const DIGITS = "";', 'const DIGITS = "DIGITS";');
    // What is damaged only the sources say; contexts of the coder are numbers.
    const coded = text.replace(/\bread\.(bit|number|signed)\(([`"])([a-z]+)"?/g, (_, kind, quote, name) => {
      if (!contexts.includes(name)) contexts.push(name);
      return `read.${kind}(${quote === "`" ? quote : ""}${contexts.indexOf(name)}`;
    });
    const curt = coded.replace(/(\bcheck\([^;]*?),\s*("[^"]*"|`[^`]*`),?\s*\);/g, "$1);");
    writeFileSync(join(folder, "src", name), curt.replace(/\.forEach\(/g, ".map("));
  });
  const bundle = join(folder, "bundle.js"), cache = join(folder, "names.json");
  const quiet = { stdio: ["ignore", "ignore", "inherit"] };
  const kept = [...spoken()].filter((name) => /^\w+$/.test(name)).join("|");
  execFileSync("esbuild", [
    join(folder, "src", "element.js"), "--bundle", "--minify-syntax", "--minify-whitespace", "--format=esm", "--target=es2022",
    "--charset=utf8", "--mangle-props=^[a-z]", `--outfile=${bundle}`, `--mangle-cache=${cache}`, "--log-level=warning",
    `--reserve-props=^(${[TOLD, PAGES].join(" ").trim().split(/\s+/).join("|")}|${kept})$`,
  ], quiet);
  const members = JSON.parse(readFileSync(cache, "utf8"));
  const kinds = KINDS.trim().split("\n").map((line) => line.trim().split(/\s+/).map((x) => members[x] ?? x));
  const text = await shortened(tabled(readFileSync(bundle, "utf8")), new Set(Object.values(members)), kinds);
  const built = `// img-lrk, MIT; sources ${hash}\n${text}\n`;
  const size = Buffer.byteLength(built);
  if (size > MOST) throw new Error(`img-lrk.js would have ${size} bytes, more than ${MOST}`);
  writeFileSync(join(here, "img-lrk.js"), built);
  process.stdout.write(`img-lrk.js: ${size} bytes\n`);
} finally {
  rmSync(folder, { recursive: true });
}
