"use strict";
// Dropped, pasted, chosen, photographed: a picture comes in. None of it leaves the browser.

const Drop = (() => {
  async function take(file) {
    if (!file) return;
    byId("trouble").hidden = true;
    for (const button of document.querySelectorAll("#gallery button")) {
      button.setAttribute("aria-pressed", String(button.dataset.picture === file.name));
    }
    try {
      const stack = await Stacks.read(file);
      await (stack ? Session.openStack(stack) : Session.open(await Pictures.read(file)));
    } catch (error) {
      byId("trouble").textContent =
        `${file.name || "That"} cannot be shown: ${error.message || "no picture that this browser reads"}.`;
      byId("trouble").hidden = false;
      Session.say("");
    }
  }

  for (const id of ["choose", "photograph"]) {
    byId(id).addEventListener("change", () => {
      take(byId(id).files[0]);
      byId(id).value = "";
    });
  }
  addEventListener("dragover", (event) => {
    event.preventDefault();
    byId("drop").classList.add("over");
  });
  for (const kind of ["dragleave", "drop"]) {
    addEventListener(kind, () => byId("drop").classList.remove("over"));
  }
  addEventListener("drop", (event) => {
    event.preventDefault();
    take(event.dataTransfer.files[0]);
  });
  addEventListener("paste", (event) => {
    const file = [...event.clipboardData.files][0];
    if (file) take(file);
  });

  return { take };
})();
