// What makes a bundle short, on terser's syntax tree of it: its own compression, and then
//
//   thrown    what is thrown is thrown by a function: a call is an expression;
//   checked   checks that follow each other are one;
//   apart     several variables that one array declares are declared one after the other;
//   hoisted   what blocks declare is declared by their function, once for blocks apart;
//   selves    a method that names itself often has a variable for it;
//   alike     comparisons do not ask for types;
//   declared  what a function declares first is among its parameters, where no call gives so many;
//   called    methods that are called often are called by functions of one letter;
//   repeated  texts that are written often are written once;
//   powers    large numbers are written by powers of two;
//   joined    declarations of the module that follow each other are one;
//   named     letters go to what is used most, and what takes a member's value has the member's letter.
//
// None changes what is computed, or in which order. The tree is terser's own matter: the Makefile says which terser.

import { existsSync, realpathSync } from "node:fs";
import { delimiter, join } from "node:path";

const command = process.env.PATH.split(delimiter).map((folder) => join(folder, "terser")).find(existsSync);
const library = join(realpathSync(command), "..", "..");
const { minify } = await import(join(library, "main.js"));
const ast = await import(join(library, "lib", "ast.js"));

const MODULE = { module: true, compress: false, mangle: false };
const COMPRESS = {
  passes: 12, unsafe: true, unsafe_methods: true, inline: 1, ecma: 2020, booleans_as_integers: true, pure_getters: true,
  unsafe_arrows: true, keep_fargs: false, hoist_props: true,
};
const TREE = { ast: true, code: false };
const TEXT = { ecma: 2020, wrap_func_args: false };

/** Call f of each node. */
const walk = (tree, f) => tree.walk(new ast.TreeWalker((node) => f(node)));
/** Each node but those that f gives another one for, from the leaves on. */
const changed = (tree, f) => tree.transform(new ast.TreeTransformer(null, f));
const isCall = (node) => node instanceof ast.AST_Call && !(node instanceof ast.AST_New);

// -- what is thrown ----------------------------------------------------------------------------

/** Throw by a function, which is the first that does: a call is an expression, and conditions need no block for it. */
function thrown(tree) {
  let own = null;
  walk(tree, (node) => void (node instanceof ast.AST_Throw && (own ??= node)));
  return changed(tree, (node) => {
    if (!(node instanceof ast.AST_Throw) || node === own) return node;
    const { start, end, value } = node;
    const body = new ast.AST_Call({ start, end, expression: reference("thrown", node), args: [value] });
    return new ast.AST_SimpleStatement({ start, end, body });
  });
}

// -- what is declared in blocks ----------------------------------------------------------------

const SHARE = 2; // so many new names at most for what one statement declares

/**
 * What a block declares, and no function in it sees, its function declares: blocks apart have the same names.
 * So with a single variable that a function declares late.
 */
function hoisted(tree) {
  tree.figure_out_scope({ module: true });
  const found = declaredIn(tree), names = new Map(), replaced = new Set();
  let count = 0;
  for (const { node, parent, owner, top, start, end } of found) {
    const { definitions } = node, symbols = definitions.map((x) => x.name);
    const isLoop = parent instanceof ast.AST_ForIn && parent.init === node;
    if (!symbols.every((x) => x instanceof ast.AST_SymbolLet)) continue;
    if (!isLoop && !definitions.every((x) => x.value)) continue; // each time anew it is undefined
    const inside = (x) => x.scope.get_defun_scope() === symbols[0].scope.get_defun_scope();
    if (!top && !symbols.every((x) => x.definition().references.every(inside))) continue;
    if (!names.has(owner)) names.set(owner, []);
    const own = names.get(owner);
    const free = own.filter(({ spans }) => spans.every(([from, to]) => to <= start || end <= from));
    if (symbols.length - free.length > SHARE) continue;
    for (const symbol of symbols) {
      const one = free.shift() ?? { name: `$block${count++}`, spans: [] };
      if (!one.spans.length) own.push(one);
      one.spans.push([start, end]);
      const { orig, references } = symbol.definition();
      for (const x of [...orig, ...references]) x.name = one.name;
    }
    replaced.add(node);
  }
  for (const [{ body, start, end }, own] of names) {
    const definitions = own.map(({ name }) => {
      return new ast.AST_VarDef({ name: new ast.AST_SymbolLet({ name, start, end }), value: null, start, end });
    });
    if (!own.length) continue;
    if (body[0] instanceof ast.AST_Let && !replaced.has(body[0])) body[0].definitions.push(...definitions);
    else body.unshift(new ast.AST_Let({ definitions, start, end }));
  }
  const inHead = new Set(found.filter((x) => x.parent.init === x.node).map((x) => x.node));
  return changed(tree, (node) => {
    if (!replaced.has(node)) return node;
    const { start, end } = node;
    const given = node.definitions.map(({ name, value }) => {
      const left = reference(name.name, node);
      return value ? new ast.AST_Assign({ operator: "=", left, right: value, logical: false, start, end }) : left;
    });
    const body = given.length > 1 ? new ast.AST_Sequence({ expressions: given, start, end }) : given[0];
    return inHead.has(node) ? body : new ast.AST_SimpleStatement({ body, start, end });
  });
}

/** Of each declaration in a block, or late in a function: that function, and the times of the walk within the block. */
function declaredIn(tree) {
  const found = [], above = [];
  let time = 0;
  const late = ({ body }, node) => {
    const first = body.findIndex((x) => !(x instanceof ast.AST_Let || x instanceof ast.AST_SimpleStatement));
    return first >= 0 && body.indexOf(node) > first && node.definitions.length === 1;
  };
  tree.walk(new ast.TreeWalker((node, descend) => {
    const start = time++;
    above.push({ node, start });
    descend();
    above.pop();
    if (node instanceof ast.AST_Let) {
      const { node: parent, start: from } = above.at(-1);
      const owner = above.findLast((x) => x.node instanceof ast.AST_Lambda)?.node, top = owner === parent;
      if (owner && (!top || late(owner, node))) found.push({ node, parent, owner, top, start: from });
    }
    for (const one of found) if (one.parent === node) one.end = time;
    return true;
  }));
  return found;
}

// -- what is declared, and checked -------------------------------------------------------------

/** Of `let [a, b] = [x, y]` two declarations: no value can be of a variable that is declared there. */
function apart(tree) {
  walk(tree, (node) => {
    if (!(node instanceof ast.AST_Definitions)) return;
    node.definitions = node.definitions.flatMap((one) => {
      const names = one.name.names, values = one.value?.elements;
      const plain = one.name instanceof ast.AST_Destructuring && one.name.is_array && values?.length === names.length;
      if (!plain || !names.every((x) => x instanceof ast.AST_Symbol)) return one;
      if (values.some((x) => x instanceof ast.AST_Expansion)) return one;
      const { start, end } = one;
      return names.map((name, i) => new ast.AST_VarDef({ start, end, name, value: values[i] }));
    });
  });
}

/** One check of all that checks in a row want: the first that does not hold throws, and the rest is not looked at. */
function checked(tree) {
  const isCheck = (x) => isCall(x) && x.expression.name === "check" && x.args.length === 1;
  walk(tree, (node) => {
    if (!(node instanceof ast.AST_Sequence)) return;
    const found = [];
    for (const x of node.expressions) {
      const last = found.at(-1);
      if (!isCheck(x) || !last || !isCheck(last)) found.push(x);
      else {
        const { start } = last, { end } = x;
        last.args = [new ast.AST_Binary({ start, end, operator: "&&", left: last.args[0], right: x.args[0] })];
      }
    }
    node.expressions = found;
  });
  return changed(tree, (node) => (node instanceof ast.AST_Sequence && node.expressions.length < 2 ? node.expressions[0] : node));
}

/**
 * The sources compare numbers with numbers and texts with texts, or with nothing, which is equal to neither: the
 * type matters only where null is told from undefined.
 */
function alike(tree) {
  const isNothing = (x) => x instanceof ast.AST_Null || x instanceof ast.AST_Undefined || x.operator === "void";
  walk(tree, (node) => {
    if (!(node instanceof ast.AST_Binary) || !/^[!=]==$/.test(node.operator)) return;
    if (!isNothing(node.left) && !isNothing(node.right)) node.operator = node.operator.slice(0, -1);
  });
}

const FEW = 3; // so often a method names itself for no more than the variable takes

/** Methods of classes that say `this` often say it once. */
function selves(tree) {
  let count = 0;
  walk(tree, (node) => {
    if (!(node instanceof ast.AST_Class)) return;
    for (const { key, value } of node.properties.filter((x) => x instanceof ast.AST_ConciseMethod)) {
      const found = [], name = `$self${count++}`, { start, end, body } = value;
      walk(value, (x) => void (x instanceof ast.AST_This && !(x instanceof ast.AST_Super) && found.push(x)));
      if (found.length <= FEW) continue;
      const own = new ast.AST_VarDef({ start, end, name: new ast.AST_SymbolLet({ name, start, end }), value: found[0].clone() });
      value.body = body.map((x) => changed(x, (y) => (found.includes(y) ? reference(name, y) : y)));
      const place = key.name === "constructor" ? 1 : 0, first = value.body[place]; // a constructor calls `super` first
      if (first instanceof ast.AST_Let) first.definitions.unshift(own);
      else value.body.splice(place, 0, new ast.AST_Let({ start, end, definitions: [own] }));
    }
  });
}

/** Large numbers as small ones times powers of two, which no compiler computes anew. */
function powers(tree) {
  const number = (value) => new ast.AST_Number({ value });
  const both = (operator, left, right) => new ast.AST_Binary({ operator, left, right });
  return changed(tree, (node) => {
    if (!(node instanceof ast.AST_Number) || node.value % 2 ** 17) return node;
    let power = 17;
    while (node.value && node.value % 2 ** (power + 1) === 0) power++;
    const times = node.value / 2 ** power, found = both("**", number(2), number(power));
    const length = times > 1 ? `${times}`.length + 6 : 5;
    if (times < 1 || length >= `${node.value}`.length) return node;
    return times > 1 ? both("*", number(times), found) : found;
  });
}

/** Of the module's declarations that follow each other one: of `const`, as compilers know its values, but of what changes. */
function joined(tree) {
  const found = [], later = [], changed = new Set();
  tree.figure_out_scope({ module: true });
  walk(tree, (node) => {
    const { operator, left, expression = left } = node, sets = node instanceof ast.AST_Assign || /^(\+\+|--)$/.test(operator);
    if (!sets || expression instanceof ast.AST_PropAccess) return;
    walk(expression, (x) => void (x instanceof ast.AST_SymbolRef && changed.add(x.definition().orig[0])));
  });
  const fixed = ({ name, value }) => value && !changed.has(name);
  for (const node of tree.body) {
    const last = found.at(-1);
    if (!(node instanceof ast.AST_Definitions)) {
      found.push(node);
      continue;
    }
    later.push(...node.definitions.filter((x) => !fixed(x)));
    if (later.some((x) => x.value)) throw new Error("a name of the module that changes has no value at first");
    const definitions = node.definitions.filter(fixed);
    if (last instanceof ast.AST_Const) last.definitions.push(...definitions);
    else found.push(new ast.AST_Const({ start: node.start, end: node.end, definitions }));
  }
  const [{ start, end }] = tree.body;
  tree.body = [...found, new ast.AST_Var({ start, end, definitions: later })];
}

/** What makes an array of a kind stands behind what names the kind. */
function ordered(tree) {
  const [{ definitions }] = tree.body, kinds = KINDS.map((x) => `$${x}`);
  const makers = definitions.filter((x) => kinds.includes(x.name.name)), others = definitions.filter((x) => !makers.includes(x));
  const last = Math.max(...KINDS.map((kind) => others.findIndex((x) => x.name.name === kind)));
  others.splice(last + 1, 0, ...makers);
  tree.body[0].definitions = others;
}

// -- what a function declares ------------------------------------------------------------------

// How many values a function is given by what calls it: the helpers of numbers.js, and methods.
const GIVEN = { each: 1, make: 1 };
const GIVEN_BY_METHODS = { map: 3, filter: 3, some: 3, every: 3, flatMap: 3, find: 3, findIndex: 3, from: 2 };

function declared(tree) {
  tree.figure_out_scope({ module: true });
  const calls = new Map(), todo = [];
  walk(tree, (node) => {
    if (isCall(node)) calls.set(node.expression, node);
  });
  const fits = ({ argnames }, call) =>
    call && call.args.length <= argnames.length && !call.args.some((x) => x instanceof ast.AST_Expansion);
  const asked = membersAsked(tree), methods = new Map();
  walk(tree, (node) => {
    const { name, value, expression, args } = node;
    if (node instanceof ast.AST_Object) {
      for (const one of node.properties) {
        if (!(one instanceof ast.AST_ConciseMethod && asked.get(memberOf(one)) <= one.value.argnames.length)) continue;
        todo.push([one.value, 0]);
        methods.set(one.value, null);
      }
    } else if (node instanceof ast.AST_VarDef && value instanceof ast.AST_Arrow && name instanceof ast.AST_Symbol) {
      if (name.definition().references.every((x) => fits(value, calls.get(x)))) todo.push([value, 0]);
    } else if (isCall(node)) {
      const { property } = expression;
      if (expression instanceof ast.AST_Arrow && fits(expression, node)) todo.push([expression, 0]);
      else if (expression.definition?.()?.global && GIVEN[expression.name]) {
        todo.push([args[1], GIVEN[expression.name], expression.name === "each"]);
      } else if (expression instanceof ast.AST_Dot && GIVEN_BY_METHODS[property]) {
        todo.push([args[property === "from" ? 1 : 0], GIVEN_BY_METHODS[property], property === "map"]);
      }
    }
  });
  const before = declarations(tree);
  let unused = 0;
  const nameless = () => new ast.AST_SymbolFunarg({ name: `$unused${unused++}` });
  for (const [f, given, ignored] of todo) {
    if (!(f instanceof ast.AST_Arrow || methods.has(f)) || f.async) continue;
    if (f.argnames.some((x) => x instanceof ast.AST_Expansion)) continue;
    // Statements up to the last declaration before any that is none: what only does something has a name of its own.
    let count = f.body.findIndex((x) => !(x instanceof ast.AST_Let || x instanceof ast.AST_SimpleStatement));
    if (count < 0) count = f.body.length;
    while (count && !(f.body[count - 1] instanceof ast.AST_Let)) count--;
    if (!count) continue;
    const last = f.body[count], missing = Math.max(given - f.argnames.length, 0);
    const gives = last instanceof ast.AST_Return, does = ignored && last instanceof ast.AST_SimpleStatement;
    const value = gives ? last.value : does && last.body;
    const whole = value && f.body.length === count + 1;
    const bare = f.argnames.length === 1 && f.argnames[0] instanceof ast.AST_Symbol;
    if (!whole && count < 2 && missing + bare > 1) continue; // it would be no shorter
    // A method that has more to do counts in loops: compilers know best of variables what kind they are.
    if (!whole && methods.has(f)) continue;
    for (let i = 0; i < missing; i++) f.argnames.push(nameless());
    const add = (left, right) => new ast.AST_DefaultAssign({ left, operator: "=", right });
    for (const { definitions, body } of f.body.splice(0, count)) {
      if (body) f.argnames.push(add(nameless(), body));
      else for (const { name, value } of definitions) f.argnames.push(value ? add(name, value) : name);
    }
    if (!whole) continue;
    f.body = [new ast.AST_Return({ value })];
    if (methods.has(f)) methods.set(f, new ast.AST_Arrow({ ...f, is_generator: false, async: false }));
  }
  walk(tree, (node) => {
    if (!(node instanceof ast.AST_Object)) return;
    node.properties = node.properties.map((one) => {
      const { start, end } = one, value = methods.get(one.value);
      return value ? new ast.AST_ObjectKeyVal({ start, end, key: memberOf(one), value }) : one;
    });
  });
  // Among the parameters nothing of the body is seen.
  for (const [node, place] of declarations(tree)) {
    if (before.has(node) && before.get(node) !== place) throw new Error(`${node.name} is declared later`);
  }
}

/** Of each member how many values its calls give at most; without end where anything else asks for it. */
function membersAsked(tree) {
  const found = new Map(), calls = new Map();
  const ask = (name, count) => found.set(name, Math.max(count, found.get(name) ?? 0));
  walk(tree, (node) => {
    if (isCall(node)) calls.set(node.expression, node.args.some((x) => x instanceof ast.AST_Expansion) ? Infinity : node.args.length);
    if (node instanceof ast.AST_Dot) ask(node.property, calls.get(node) ?? Infinity);
    if (node instanceof ast.AST_Destructuring) node.names.forEach((x) => ask(memberOf(x), Infinity));
  });
  return found;
}

/** Of each name that is used, where it is declared. */
function declarations(tree) {
  tree.figure_out_scope({ module: true });
  const found = new Map();
  walk(tree, (node) => {
    if (!(node instanceof ast.AST_SymbolRef)) return;
    const { undeclared, orig } = node.definition();
    found.set(node, undeclared ? null : orig[0]);
  });
  return found;
}

// -- what is written often ---------------------------------------------------------------------

const METHODS = ["map", "push"]; // called so often that each has a function of its own
const OTHERS = ["subarray", "slice", "filter", "fill", "set", "every", "some", "sort"];
const KINDS = ["I32", "F64", "U8", "F32"];
const GLOBALS = ["Array", "Math", "Number", "Object"];

function reference(name, { start, end }) {
  return new ast.AST_SymbolRef({ name, start, end });
}

/** Methods, lengths but in the condition of a loop, and arrays of a kind, by functions. */
function called(tree, helpers) {
  const kept = new Set();
  walk(tree, (node) => {
    if (node instanceof ast.AST_Chain) for (let x = node.expression; x; x = x.expression) kept.add(x);
    if (node instanceof ast.AST_IterationStatement && node.condition) walk(node.condition, (x) => void kept.add(x));
  });
  const call = (node, name, text, args) => {
    const { start, end } = node;
    helpers.set(`$${name}`, text);
    return new ast.AST_Call({ start, end, expression: reference(`$${name}`, node), args });
  };
  return changed(tree, (node) => {
    if (kept.has(node)) return node;
    const { expression, args } = node;
    if (node instanceof ast.AST_New) {
      if (!KINDS.includes(expression.name) || args.length !== 1) return node;
      helpers.set("$new", "k=>t=>new k(t)");
      return call(node, expression.name, `$new(${expression.name})`, args);
    }
    if (node instanceof ast.AST_Call && expression instanceof ast.AST_Dot) {
      const { property } = expression, other = OTHERS.includes(property);
      const one = METHODS.includes(property) && args.length === 1 && !(args[0] instanceof ast.AST_Expansion);
      if (!other && !one) return node;
      if (other) helpers.set("$method", "k=>(t,...e)=>t[k](...e)");
      const text = other ? `$method("${property}")` : `(t,e)=>t.${property}(e)`;
      return call(node, property, text, [expression.expression, ...args]);
    }
    const length = node instanceof ast.AST_Dot && node.property === "length";
    return length ? call(node, "length", "t=>t.length", [expression]) : node;
  });
}

/** Texts, and names of the language. */
function repeated(tree, helpers) {
  tree.figure_out_scope({ module: true });
  const counts = new Map();
  const textOf = (node) => {
    if (node instanceof ast.AST_Null) return "null";
    if (node instanceof ast.AST_String) return JSON.stringify(node.value);
    const named = node instanceof ast.AST_SymbolRef && GLOBALS.includes(node.name);
    return named && node.definition().undeclared ? node.name : null;
  };
  walk(tree, (node) => {
    const text = textOf(node);
    if (text) counts.set(text, (counts.get(text) ?? 0) + 1);
  });
  const names = new Map();
  for (const [text, count] of counts) {
    if (count * (text.length - 2) <= text.length + 4) continue;
    names.set(text, `$text${names.size}`);
    helpers.set(names.get(text), text);
  }
  return changed(tree, (node) => (names.has(textOf(node)) ? reference(names.get(textOf(node)), node) : node));
}

// -- names -------------------------------------------------------------------------------------

const LETTERS = [..."etlranfhiousvpmcgwdbykAMxSENIOCUF$LjGHRTXQWDPBqzKVYJ_Z"];
const NAMES = [...LETTERS, ...LETTERS.flatMap((a) => [...LETTERS, ..."0123456789"].map((b) => a + b))];
const WORDS = ["as", "do", "if", "in", "of", "PI"];

/** The member that a node names. */
function memberOf(node) {
  if (node instanceof ast.AST_Dot) return node.property;
  return node instanceof ast.AST_ObjectProperty ? node.key.name ?? node.key : null;
}

/** Names of variables, and of members: those that esbuild has shortened, whose names are `members`. */
function named(tree, members, kinds) {
  tree.figure_out_scope({ module: true });
  // Of each variable or member: what else needs another name, and how often it stands beside a variable that it
  // may share its name with.
  const all = new Map(), fixed = new Set(WORDS);
  const one = (key) => {
    if (!all.has(key)) all.set(key, { key, count: 0, apart: new Set(), beside: new Map() });
    return all.get(key);
  };
  const keepApart = (keys) => keys.forEach((a) => keys.forEach((b) => a !== b && one(a).apart.add(b)));
  walk(tree, (node) => {
    const scope = node instanceof ast.AST_Scope ? node : node.block_scope;
    if (scope) {
      const seen = [...new Set([...scope.enclosed, ...scope.variables.values()])];
      seen.filter((x) => x.undeclared).forEach((x) => fixed.add(x.name));
      const own = seen.filter((x) => !x.undeclared);
      for (const x of own) one(x).count = x.orig.length + x.references.length;
      keepApart(own);
    }
    const member = memberOf(node);
    if (!members.has(member)) return;
    one(member).count++;
    if (!(node instanceof ast.AST_ObjectKeyVal)) return;
    const symbol = node.value instanceof ast.AST_DefaultAssign ? node.value.left : node.value;
    const variable = symbol instanceof ast.AST_Symbol && symbol.definition();
    if (!variable || variable.undeclared) return;
    const { beside } = one(member);
    beside.set(variable, (beside.get(variable) ?? 0) + 1);
  });
  const told = new Set(kinds.flat());
  const strangers = [...all.keys()].filter((key) => typeof key === "string" && !told.has(key));
  for (const kind of kinds) keepApart([...kind.filter((key) => members.has(key)), ...strangers]);

  // What is made, taken apart, or asked for several members is of one kind.
  const asked = new Map();
  const ask = (what, names) => asked.set(what, [...(asked.get(what) ?? []), ...names]);
  walk(tree, (node) => {
    if (node instanceof ast.AST_Object) ask(node, node.properties.map(memberOf));
    else if (node instanceof ast.AST_Destructuring) ask(node, node.names.map(memberOf));
    else if (node instanceof ast.AST_Dot && node.expression instanceof ast.AST_SymbolRef) {
      ask(node.expression.definition(), [node.property]);
    }
  });
  for (const names of asked.values()) {
    const own = names.filter((x) => members.has(x) && !strangers.includes(x));
    if (own.length && !kinds.some((kind) => own.every((x) => kind.includes(x)))) {
      throw new Error(`no kind of objects has all of ${own}`);
    }
  }

  // Groups that would share a name: first those that stand together most often.
  const groups = new Map(), pairs = [];
  for (const x of all.values()) {
    groups.set(x.key, { parts: [x], count: x.count, apart: new Set(x.apart) });
    for (const [other, times] of x.beside) pairs.push([x.key, other, times]);
  }
  for (const [a, b] of pairs.sort((x, y) => y[2] - x[2])) {
    const p = groups.get(a), q = groups.get(b);
    if (p === q || q.parts.some((x) => p.apart.has(x.key))) continue;
    p.parts.push(...q.parts);
    p.count += q.count;
    for (const x of q.apart) p.apart.add(x);
    for (const x of q.parts) groups.set(x.key, p);
  }

  // The most used choose first; a group without a letter falls apart.
  const names = new Map(), queue = [...new Set(groups.values())];
  const ordered = () => queue.sort((a, b) => b.count - a.count);
  for (ordered(); queue.length; ) {
    const { parts, apart } = queue.shift(), taken = new Set([...apart].map((x) => names.get(x)));
    const name = NAMES.find((x) => !taken.has(x) && !fixed.has(x));
    if (parts.length > 1 && name.length > 1) {
      queue.push(...parts.map((x) => ({ parts: [x], count: x.count, apart: x.apart })));
      ordered();
    } else for (const { key } of parts) names.set(key, name);
  }
  for (const [key, name] of names) if (typeof key !== "string") key.mangled_name = name;
  walk(tree, (node) => {
    const name = names.get(memberOf(node));
    if (!name) return;
    if (node instanceof ast.AST_Dot) node.property = name;
    else if (node.key.name) node.key.name = name;
    else node.key = name;
  });
}

/** The short text of a bundle; `members` are the names of its own members, which may have others; by `kinds` of objects. */
export async function shortened(bundle, members, kinds) {
  const parsed = await minify(`const thrown = (x) => { throw x; }; ${bundle}`, { ...MODULE, format: TREE });
  const compressed = await minify(thrown(parsed.ast), { ...MODULE, compress: COMPRESS, format: TREE });
  const parted = checked(compressed.ast);
  apart(parted);
  const { ast: flat } = await minify(hoisted(parted), { ...MODULE, compress: COMPRESS, format: TREE });
  selves(flat);
  alike(flat);
  declared(flat);
  const helpers = new Map();
  const tree = powers(repeated(called(flat, helpers), helpers));
  const { code } = await minify(tree, { ...MODULE, format: TEXT });
  const head = [...helpers].map(([name, text]) => `${name}=${text}`);
  const whole = await minify(`let ${head};${code}`, { ...MODULE, format: TREE });
  joined(whole.ast);
  ordered(whole.ast);
  named(whole.ast, members, kinds);
  return (await minify(whole.ast, { ...MODULE, format: TEXT })).code;
}
