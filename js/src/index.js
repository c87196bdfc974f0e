export { LrkError } from "./errors.js";
export { decode, open, pixelsOf, samplesOf } from "./decode.js";
