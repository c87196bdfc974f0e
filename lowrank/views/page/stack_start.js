"use strict";
// The page of one stack, which it carries.

(async () => {
  const data = JSON.parse(byId("data").textContent);
  let frames;
  try {
    frames = await Frames.open(data);
  } catch (error) {
    byId("trouble").textContent = `The stack cannot be shown: ${error.message}.`;
    byId("trouble").hidden = false;
    throw error;
  }
  byId("save").addEventListener("click", () => {
    const bytes = Uint8Array.from(atob(data.lrk), (c) => c.charCodeAt(0));
    const link = document.createElement("a");
    link.href = URL.createObjectURL(new Blob([bytes]));
    link.download = `${data.title.replace(/\.[^.]*$/, "")}.lrk`;
    link.click();
    setTimeout(() => URL.revokeObjectURL(link.href), 1000);
  });
  openStack(data, frames);
  window.frames_of_page = frames; // for whoever looks from the console
})();
