"use strict";
// The four plots, each over all ranks; what is measured is a dot on them.

function makeCharts(data, bounds, onPick) {
  const { N } = bounds;
  const largest = Math.max(bounds.spectral[0], 1e-9);
  const lowest = (values, floor = largest * 1e-7) => {
    const positive = Array.from(values).filter((x) => x > floor);
    return positive.length ? Math.min(...positive) : floor;
  };
  const left = bounds.tail2.map((x) => x / (bounds.tail2[0] || 1));
  const logarithmic = (id, title, axis, series, top, bottom) =>
    new Chart(byId(id), {
      title, axis, series, onPick, xMax: N, log: true,
      top: top * 1.25, bottom: bottom * 0.8, format: Words.tick,
    });
  const curve = (values, style, start = 0) => ({ values, start, style });
  if (data.channels.length > 1) {
    for (const name of data.channels) {
      const line = document.createElement("span");
      line.className = `line ${name}`;
      byId("key-spectrum").append(line, name);
    }
  }
  return {
    spectrum: logarithmic(
      "chart-spectrum", "Singular values on a logarithmic scale, with the rank marked", "index i",
      data.spectra.map((values, c) => curve(values, data.channels[c], 1)),
      largest, lowest(data.spectra.flat()),
    ),
    energy: new Chart(byId("chart-energy"), {
      title: "Share of the energy that the first k layers leave out", axis: "rank k",
      xMax: N, log: true, top: 1.25, bottom: 0.8 * lowest(left, 1e-12),
      series: [curve(left.subarray(0, N), "bound")],
      format: (x) => `${Number((100 * x).toPrecision(1))} %`, onPick,
    }),
    spectral: logarithmic(
      "chart-spectral", "Spectral error and its bound for each rank", "rank k",
      [curve(bounds.spectral.subarray(0, N), "bound")], largest, lowest(bounds.spectral),
    ),
    frobenius: logarithmic(
      "chart-frobenius", "Frobenius error, its bound, and a rival's error for each rank",
      "rank k",
      [curve(data.rival ? data.rival.slice(0, N) : [], "rival"), curve(bounds.frobenius.subarray(0, N), "bound")],
      Math.max(bounds.frobenius[0], 1e-9), lowest(bounds.frobenius),
    ),
  };
}
