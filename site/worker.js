"use strict";
// One channel at a time: its spectrum and first terms, what the rival of the same rank leaves,
// and then its other terms. The build puts svd.js before this.

onmessage = ({ data: { id, A, m, n, first, most, rival } }) => {
  const svd = Svd.begun(A, m, n);
  const tell = (fields) => {
    const { u = [], v = [] } = fields;
    postMessage({ id, ...fields }, [...u, ...v].map((x) => x.buffer));
  };
  tell({ spectrum: svd.spectrum, ...svd.terms(first) });
  tell({ energies: rival ? Svd.cosines(A, m, n) : [], ...svd.terms(most) });
};
