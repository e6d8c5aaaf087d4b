// How figures are written.

export const NONE = "–";
const group = new Intl.NumberFormat("en-US");
const dollars = (options) =>
  new Intl.NumberFormat("en-US", { style: "currency", currency: "USD", ...options });
const cents = dollars({});
const mills = dollars({ minimumFractionDigits: 3 });
const specks = dollars({ minimumSignificantDigits: 2, maximumSignificantDigits: 2 });

export const count = (value) => (value === null ? NONE : group.format(value));
export const fixed = (value, digits = 3) => (value === null ? NONE : value.toFixed(digits));

export function usd(value) {
  if (value === null || value === undefined) return NONE;
  const size = Math.abs(value);
  if (size === 0) return "$0";
  return (size >= 1 ? cents : size >= 0.01 ? mills : specks).format(value);
}

export function duration(seconds) {
  if (seconds === null || seconds === undefined) return NONE;
  if (seconds < 0.001) return `${Math.round(seconds * 1e6)} µs`;
  if (seconds < 0.01) return `${(seconds * 1e3).toFixed(1)} ms`;
  if (seconds < 1) return `${Math.round(seconds * 1e3)} ms`;
  if (seconds < 60) return `${seconds.toFixed(seconds < 10 ? 2 : 1)} s`;
  return span(seconds);
}

export function span(seconds) {
  const whole = Math.floor(seconds);
  if (whole < 60) return `${whole} s`;
  if (whole < 3600) return `${Math.floor(whole / 60)} min`;
  if (whole < 86400) return `${Math.floor(whole / 3600)} h ${Math.floor((whole % 3600) / 60)} min`;
  return `${Math.floor(whole / 86400)} d ${Math.floor((whole % 86400) / 3600)} h`;
}

export const ago = (seconds) => (seconds < 2 ? "now" : `${span(seconds).replace(/ 0 (min|h)$/, "")} ago`);

export function percent(part, whole) {
  if (!whole) return NONE;
  const share = (100 * part) / whole;
  if (share > 0 && share < 0.1) return "< 0.1 %";
  return `${share.toFixed(share === 0 || share >= 10 ? 0 : 1)} %`;
}

export const clock = (date) => date.toLocaleTimeString("en-GB");
export const plural = (number, noun) => `${count(number)} ${noun}${number === 1 ? "" : "s"}`;
