// What a bundle becomes: terser's compression, then methods that are called often called by functions, and every
// name as short as how often it is used allows.

import { execFileSync } from "node:child_process";
import { realpathSync } from "node:fs";
import { join } from "node:path";

const library = join(realpathSync(execFileSync("which", ["terser"], { encoding: "utf8" }).trim()), "../../lib");
const { minify } = await import(join(library, "../main.js"));
const ast = await import(join(library, "ast.js"));

const COMPRESS = {
  passes: 12, unsafe: true, unsafe_methods: true, inline: 1, ecma: 2020, booleans_as_integers: true,
  pure_getters: true, unsafe_arrows: true, keep_fargs: false, hoist_props: true,
};
const FORMAT = { ecma: 2020, wrap_func_args: false };
const METHODS = ["map", "subarray", "slice", "push", "filter"];
const KINDS = ["Int32Array", "Float64Array", "Uint8Array", "Float32Array", "Uint16Array"];

/** Call f of each node, and of how it stands to those around. */
function walk(tree, f) {
  const walker = new ast.TreeWalker((node) => f(node, walker));
  tree.walk(walker);
}

const reference = (name, { start, end } = {}) => new ast.AST_SymbolRef({ name, start, end });

/** Methods, and how long something is but in the condition of a loop, by functions. */
function called(tree, helpers) {
  const use = (name, text) => {
    helpers.set(name, text);
    return reference(name);
  };
  const guarded = new Set(), KINDS2 = new Set();
  walk(tree, (node) => {
    if (node instanceof ast.AST_VarDef && node.value instanceof ast.AST_Array && node.name instanceof ast.AST_Destructuring) {
      node.value.elements.forEach((x, i) => KINDS.includes(x.name) && KINDS2.add(node.name.names[i].name));
    }
  });
  walk(tree, (node, { stack }) => {
    if (node instanceof ast.AST_Chain) {
      for (let x = node.expression; x; x = x.expression) guarded.add(x);
    }
    if (node instanceof ast.AST_IterationStatement && node.condition) {
      node.condition.walk(new ast.TreeWalker((x) => { guarded.add(x); }));
    }
  });
  return tree.transform(new ast.TreeTransformer(null, function (node) {
    if (guarded.has(node)) return node;
    const { expression, property, args } = node;
    if (node instanceof ast.AST_Call && expression instanceof ast.AST_Dot && METHODS.includes(expression.property)) {
      args.unshift(expression.expression);
      node.expression = use(`$${expression.property}`, `(t,...e)=>t.${expression.property}(...e)`);
    } else if (node instanceof ast.AST_Dot && property === "length") {
      return new ast.AST_Call({ start: node.start, end: node.end, expression: use("$length", "t=>t.length"), args: [expression] });
    } else if (KINDS2.has(expression?.name) && node instanceof ast.AST_New && args.length === 1) {
      const { name } = expression;
      helpers.set(`$${name}`, `t=>new ${name}(t)`);
      return new ast.AST_Call({ start: node.start, end: node.end, expression: reference(`$${name}`), args });
    }
    return node;
  }));
}

/** The member that a node names. */
function memberOf(node) {
  if (node instanceof ast.AST_Dot) return node.property;
  return node instanceof ast.AST_ObjectProperty ? (node.key.name ?? node.key) : null;
}

const GLOBALS = ["Array", "Math", "Number", "Object"];

/** What is written often, names of the language and texts, has a short name. */
function repeated(tree, helpers) {
  tree.figure_out_scope({ module: true });
  const counts = new Map();
  const textOf = (node) => {
    if (node instanceof ast.AST_Null) return "null";
    if (node instanceof ast.AST_Infinity) return "1/0";
    if (node instanceof ast.AST_String) return JSON.stringify(node.value);
    if (node instanceof ast.AST_SymbolRef && GLOBALS.includes(node.name) && node.definition().undeclared) return node.name;
    return null;
  };
  walk(tree, (node) => {
    const text = textOf(node);
    if (text) counts.set(text, (counts.get(text) ?? 0) + 1);
  });
  const names = new Map();
  for (const [text, count] of counts) {
    if (count * (text.length - 2) <= text.length + 4) continue;
    names.set(text, `$r${names.size}`);
    helpers.set(names.get(text), text);
    if (process.env.SAY) console.error(text, count);
  }
  return tree.transform(new ast.TreeTransformer(null, (node) => {
    const text = textOf(node);
    return names.has(text) ? reference(names.get(text), node) : node;
  }));
}

const LETTERS = [..."etlranfhiousvpmcgwdbykAMxSENIOCUF$LjGHRTXQWDPBqzKVYJ_Z"];
const NAMES = [...LETTERS, ...LETTERS.flatMap((a) => [...LETTERS, ..."0123456789"].map((b) => a + b))];
const WORDS = ["do", "if", "in", "of", "as", "PI"];

/**
 * Give variables and the members `mangled` names: of one letter those that are used most, and a variable that takes
 * a member's value, or gives it one, where it can, the member's name, which is then written once.
 */
function named(tree, mangled) {
  tree.figure_out_scope({ module: true });
  const all = new Map(), fixed = new Set(WORDS), pairs = new Map();
  const one = (key) => {
    if (!all.has(key)) all.set(key, { keys: [key], near: new Set(), count: 0 });
    return all.get(key);
  };
  const together = (keys) => keys.forEach((a) => keys.forEach((b) => a !== b && one(a).near.add(b)));
  walk(tree, (node) => {
    const scope = node instanceof ast.AST_Scope ? node : node.block_scope;
    if (scope) {
      const defs = new Set([...scope.enclosed, ...scope.variables.values()]);
      for (const def of defs) def.undeclared ? fixed.add(def.name) : (one(def).count = def.orig.length + def.references.length);
      together([...defs].filter((def) => !def.undeclared));
    }
    const name = memberOf(node);
    if (mangled.has(name)) one(name).count++;
    if (node instanceof ast.AST_ObjectKeyVal && mangled.has(node.key)) {
      const symbol = node.value instanceof ast.AST_DefaultAssign ? node.value.left : node.value;
      if (symbol instanceof ast.AST_Symbol && symbol.definition() && !symbol.definition().undeclared) {
        const key = [one(node.key), one(symbol.definition())];
        const found = [...pairs.values()].find(([a, b]) => a === key[0] && b === key[1]) ?? [...key, 0];
        found[2]++;
        pairs.set(found, found);
      }
    }
  });
  together([...mangled].filter((name) => all.has(name)));
  // Members and variables that would have one name.
  const group = new Map([...all.values()].map((x) => [x, { parts: [x], keys: new Set(x.keys), near: new Set(x.near), count: x.count }]));
  for (const [a, b] of [...pairs.values()].sort((x, y) => y[2] - x[2])) {
    const [p, q] = [group.get(a), group.get(b)];
    if (p === q || [...q.keys].some((key) => p.near.has(key))) continue;
    p.parts.push(...q.parts);
    for (const key of q.keys) p.keys.add(key);
    for (const key of q.near) p.near.add(key);
    p.count += q.count;
    for (const x of q.parts) group.set(x, p);
  }
  const given = new Map();
  const give = ({ keys, near }, most) => {
    const others = new Set([...near].map((key) => given.get(key)));
    const name = NAMES.find((x) => !others.has(x) && !fixed.has(x));
    if (name.length > most) return false;
    for (const key of keys) given.set(key, name);
    return true;
  };
  const queue = [...new Set(group.values())].sort((a, b) => b.count - a.count);
  while (queue.length) {
    const next = queue.shift();
    if (give(next, next.parts.length > 1 ? 1 : 2)) continue;
    queue.push(...next.parts.map((x) => ({ ...x, keys: new Set(x.keys), parts: [x] })));
    queue.sort((a, b) => b.count - a.count);
  }
  for (const [key, name] of given) if (typeof key !== "string") key.mangled_name = name;
  walk(tree, (node) => {
    const name = memberOf(node);
    if (!mangled.has(name)) return;
    if (node instanceof ast.AST_Dot) node.property = given.get(name);
    else if (node.key.name) node.key.name = given.get(name);
    else node.key = given.get(name);
  });
}

const CALLBACKS = { map: 3, filter: 3, some: 3, every: 3, flatMap: 3, find: 3, findIndex: 3, forEach: 3, from: 2 };

/** What a function declares before the expression that it gives, as parameters which no call gives. */
function declared(tree) {
  tree.figure_out_scope({ module: true });
  let fresh = 0;
  const fits = ({ args }, most) => args.length <= most && !args.some((x) => x instanceof ast.AST_Expansion);
  const change = (f, given, silent) => {
    if (!(f instanceof ast.AST_Arrow) || f.async || !(f.body[0] instanceof ast.AST_Let)) return;
    if (f.argnames.some((x) => x instanceof ast.AST_Expansion)) return;
    const [first, last] = f.body, missing = given - f.argnames.length;
    const whole = f.body.length === 2 && ((last instanceof ast.AST_Return && last.value) || (silent && last instanceof ast.AST_SimpleStatement));
    const bare = f.argnames.length === 1 && f.argnames[0] instanceof ast.AST_Symbol ? 2 : 0;
    if (!whole && 2 * Math.max(missing, 0) + bare > 3) return;
    for (let i = 0; i < missing; i++) f.argnames.push(new ast.AST_SymbolFunarg({ name: `$${fresh++}` }));
    for (const { name, value } of first.definitions) {
      f.argnames.push(value ? new ast.AST_DefaultAssign({ left: name, operator: "=", right: value }) : name);
    }
    if (whole) f.body = [last instanceof ast.AST_Return ? last : new ast.AST_Return({ value: last.body })];
    else f.body.shift();
    globalThis.changed = (globalThis.changed ?? 0) + 1;
  };
  const callees = new Map();
  walk(tree, (node) => {
    if (node instanceof ast.AST_Call && !(node instanceof ast.AST_New)) callees.set(node.expression, node);
  });
  const todo = [];
  walk(tree, (node) => {
    if (node instanceof ast.AST_VarDef && node.value instanceof ast.AST_Arrow && node.name instanceof ast.AST_Symbol) {
      const { references } = node.name.definition(), most = node.value.argnames.length;
      const all = references.every((x) => callees.has(x) && fits(callees.get(x), most));
      if (all) todo.push([node.value, 0, false]);
    }
    if (!(node instanceof ast.AST_Call) || node instanceof ast.AST_New) return;
    const { expression, args } = node;
    if (expression instanceof ast.AST_Arrow && fits(node, expression.argnames.length)) todo.push([expression, 0, false]);
    else if (["each", "make"].includes(expression.name)) todo.push([args[1], 1, expression.name === "each"]);
    else if (expression instanceof ast.AST_Dot && CALLBACKS[expression.property]) {
      todo.push([args[CALLBACKS[expression.property] === 2 ? 1 : 0], CALLBACKS[expression.property], expression.property === "map"]);
    }
  });
  for (const one of todo) change(...one);
  console.error("changed", globalThis.changed);
}

export async function shortened(text, mangled) {
  const small = await minify(text, { module: true, compress: COMPRESS, mangle: false, format: { ast: true, code: false } });
  const tree = small.ast, helpers = new Map();
  declared(tree);
  called(tree, helpers);
  repeated(tree, helpers);
  const { code } = await minify(tree, { module: true, compress: false, mangle: false, format: FORMAT });
  const head = helpers.size ? `let ${[...helpers].map(([a, b]) => `${a}=${b}`)};` : "";
  const again = await minify(head + code, { module: true, compress: false, mangle: false, format: { ast: true, code: false } });
  if (process.env.TM) { const d = await minify(head + code, { module: true, compress: false, mangle: true, format: FORMAT }); return d.code; }
  named(again.ast, mangled);
  const done = await minify(again.ast, { module: true, compress: false, mangle: false, format: FORMAT });
  return done.code;
}
