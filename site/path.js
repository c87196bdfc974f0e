"use strict";
// A gallery chosen to teach, and a short path through it with a question at each step.

const Path = (() => {
  const largest = (spectra) => {
    const rank = (s) => s.filter((x) => x > 1e-6 * s[0]).length;
    return Math.max(...spectra.map(rank));
  };
  const share = (bounds, k) => Words.percent(bounds.kept(k));

  // facts: {data, bounds} of the picture that is open; told: the answer given.
  const STEPS = [
    {
      picture: "flag.png", ask: "Guess the rank: how many layers are this flag, exactly?",
      number: (facts) => largest(facts.data.spectra),
      tell: (facts, told, right) =>
        `${right}. Every row is one of a few patterns, and so is every column: a cross on a field ` +
        "is two of them. The spectrum ends there: all other singular values are zero.",
    },
    {
      picture: "tartan.png", ask: "The tartan is busier. Does it need more layers than the flag?",
      choices: ["More", "As many", "Fewer"],
      right: (facts) => {
        const rank = largest(facts.data.spectra);
        return rank > 2 ? 0 : rank < 2 ? 2 : 1;
      },
      tell: (facts) =>
        `It has rank ${largest(facts.data.spectra)}. Stripes down plus stripes across is a sum of ` +
        "two products, u 1ᵀ + 1 vᵀ, however many stripes there are. Rank is not business.",
    },
    {
      picture: "diagonal.png", ask: "One thin line, but diagonal. How many layers does it need?",
      choices: ["One", "A few", "Nearly all"], right: () => 2,
      tell: (facts) =>
        `The first ten layers hold ${share(facts.bounds, 10)} of the energy, of ` +
        `${facts.bounds.N}. Each layer is columns times rows: a line along neither is the ` +
        "identity matrix, whose singular values are all the same.",
    },
    {
      picture: "text.png", ask: "Which has the slower spectrum: this text, or the photograph of the door?",
      choices: ["The text", "The door"], right: () => 0,
      tell: (facts) =>
        `Of the text ${facts.bounds.needed(0.99)} layers hold 99 % of the energy. ` +
        "Letters are edges in every direction; planks and bolts repeat along rows and columns.",
    },
    {
      picture: "photographer.png", ask: "Guess: how many layers hold 99 % of this photograph's energy?",
      number: (facts) => facts.bounds.needed(0.99),
      tell: (facts, told, right) =>
        `${right} of ${facts.bounds.N}. Yet at that rank the eye is not content: energy counts the ` +
        "sky, the eye looks at the face. Move the slider on to where you are.",
    },
    {
      picture: "noise.png", ask: "Noise: what do half of the layers hold of the energy that the first leaves?",
      choices: ["Less than 60 %", "Between 60 and 95 %", "More than 95 %"],
      right: (facts) => {
        const { tail2, N } = facts.bounds;
        const held = 1 - tail2[N >> 1] / tail2[1];
        return held < 0.6 ? 0 : held < 0.95 ? 1 : 2;
      },
      tell: (facts) => {
        const { tail2, N } = facts.bounds;
        return `${Words.percent(1 - tail2[N >> 1] / tail2[1])}. Nothing in noise repeats: its spectrum falls along ` +
          "a quarter circle, never steeply, and no rank is a good place to stop.";
      },
    },
    {
      picture: "light.npy",
      ask: "A stack: a matte sphere, the light moves. How many eigenimages make all 32 frames?",
      number: (facts) => largest(facts.data.spectra),
      tell: (facts, told, right) =>
        `${right}. The brightness of a matte surface is the product of its normal with the ` +
        "direction of the light, three numbers each: all frames are sums of three.",
    },
    {
      picture: "parrots.png", ask: "The last one: from which rank on do you see no difference?",
      number: () => null,
      tell: (facts, told) =>
        `At rank ${told} the error is ${Words.level(facts.bounds.frobenius[Math.min(told, facts.bounds.N)])} in the Frobenius norm, and no ` +
        "matrix of that rank has a smaller one. See what is left: choose Difference.",
    },
  ];
  const state = { step: 0, facts: null };

  const pictureOf = (name) => `gallery/${name}`;

  async function visit(name) {
    const response = await fetch(pictureOf(name));
    const blob = await response.blob();
    await Drop.take(new File([blob], name, { type: blob.type }));
  }

  for (const button of document.querySelectorAll("#gallery button")) {
    button.addEventListener("click", () => visit(button.dataset.picture));
  }

  function button(text, act) {
    const made = document.createElement("button");
    Object.assign(made, { type: "button", textContent: text });
    made.addEventListener("click", act);
    return made;
  }

  async function go(step) {
    state.step = step;
    const { picture, ask, choices } = STEPS[step];
    byId("path-step").textContent = `Step ${step + 1} of ${STEPS.length}`;
    byId("path-question").textContent = ask;
    byId("path-told").textContent = "";
    const form = byId("path-answers");
    if (choices) form.replaceChildren(...choices.map((text, i) => button(text, () => answer(i))));
    else {
      const field = document.createElement("input");
      Object.assign(field, { type: "number", min: 1, max: 9999, id: "path-number", inputMode: "numeric" });
      field.setAttribute("aria-label", "Your guess");
      const tell = () => field.value && answer(Number(field.value));
      field.addEventListener("keydown", (event) => event.key === "Enter" && tell());
      form.replaceChildren(field, button("Guess", tell));
    }
    byId("path-next").hidden = true;
    byId("path-back").disabled = step === 0;
    await visit(picture);
    if (state.step === step) Session.now()?.app.choose(1);
  }

  function answer(told) {
    const now = Session.now();
    if (!now) return;
    const facts = { data: now.data, bounds: new Bounds(now.data.spectra) };
    const { choices, right, number, tell } = STEPS[state.step];
    const truth = choices ? right(facts) : number(facts);
    const verdict = truth === null ? "" : told === truth ? "Right. "
      : choices ? `No: ${choices[truth].toLowerCase()}. ` : Math.abs(told - truth) <= 0.25 * truth ? "Near. " : "No. ";
    Words.say("path-told", verdict + tell(facts, told, truth));
    byId("path-told").dataset.right = String(truth === null || told === truth);
    byId("path-next").hidden = state.step === STEPS.length - 1;
    if (truth === null) now.app.choose(told);
  }

  byId("path-start").addEventListener("click", () => {
    byId("path").hidden = false;
    byId("path-start").hidden = true;
    go(0);
    byId("path").focus();
  });
  byId("path-next").addEventListener("click", () => go(state.step + 1));
  byId("path-back").addEventListener("click", () => go(state.step - 1));

  // A link may name a picture of the gallery: #picture=flag.png&k=2.
  const wish = new URLSearchParams(location.hash.slice(1)).get("picture");
  const known = [...document.querySelectorAll("#gallery button")].map((x) => x.dataset.picture);
  visit(known.includes(wish) ? wish : "parrots.png");
  return { go, answer, visit };
})();
