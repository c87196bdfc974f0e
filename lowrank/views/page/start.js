"use strict";
// The page of one picture, which it carries.

(async () => {
  const data = JSON.parse(byId("data").textContent);
  let stage;
  try {
    stage = await Stage.open(data);
  } catch (error) {
    byId("trouble").textContent = `The picture cannot be shown: ${error.message}.`;
    byId("trouble").hidden = false;
    throw error;
  }
  openPage(data, stage, new AbortController().signal);
  byId("save").hidden = false;
  byId("save").addEventListener("click", () => {
    const link = document.createElement("a");
    const blob = new Blob([Stage.bytes(data.lrk)], { type: "application/octet-stream" });
    link.href = URL.createObjectURL(blob);
    link.download = data.lrk_name;
    link.click();
    setTimeout(() => URL.revokeObjectURL(link.href), 10000);
  });
})();
