"use strict";
// One channel at a time: its spectrum and first terms, what the rival of the same rank leaves,
// and then its other terms. The build puts svd.js before this.

const waiting = []; // what is left of channels, for when no other waits for its first terms

onmessage = ({ data: { id, A, m, n, first, most, rival } }) => {
  const svd = Svd.begun(A, m, n);
  const tell = (fields) => {
    const { u = [], v = [] } = fields;
    postMessage({ id, ...fields }, [...u, ...v].map((x) => x.buffer));
  };
  tell({ spectrum: svd.spectrum, ...svd.terms(first) });
  waiting.push(() => tell({ energies: rival ? Svd.cosines(A, m, n) : [], ...svd.terms(most) }));
  setTimeout(() => waiting.shift()());
};
