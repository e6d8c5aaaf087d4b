// Elements of the document. What others wrote (names of models, flags, prompts, errors) reaches it as
// text nodes only; nothing here parses HTML.

const SVG = "http://www.w3.org/2000/svg";
export const SERIES = 6;

export const at = (id) => document.getElementById(id);

function fill(element, attributes, children) {
  for (const [name, value] of Object.entries(attributes)) {
    if (value !== null && value !== false) element.setAttribute(name, value);
  }
  element.append(...children.flat(Infinity).filter((child) => child !== null && child !== ""));
  return element;
}

export const el = (tag, attributes = {}, ...children) =>
  fill(document.createElement(tag), attributes, children);
export const svg = (tag, attributes = {}, ...children) =>
  fill(document.createElementNS(SVG, tag), attributes, children);

// A colour for each model, the same for as long as the page is open.

const colours = new Map();
export function series(model) {
  if (!colours.has(model)) colours.set(model, colours.size);
  const number = colours.get(model);
  return number < SERIES ? `s${number}` : "rest";
}
export const swatch = (kind) => el("span", { class: `swatch ${kind}`, "aria-hidden": "true" });

export function part(kind, share) {
  const bar = el("i", { class: kind });
  bar.style.width = `${100 * share}%`;
  return bar;
}

export const cell = (label, text, kind = null) => el("td", { "data-label": label, class: kind }, text);
