// The latest decisions: an entry never changes, so that each row is made once and stays open or shut.

import { at, el, part } from "./dom.js";
import { ago, count, duration, fixed, usd } from "./figures.js";

const KEPT = 200;
const FEW = 20;

export let newest = 0;
let shown = FEW;

function why({ decision, model, asked, error }) {
  if (!decision.decided) {
    return model
      ? `The client named ${asked}, so that nothing was decided.`
      : `Nothing was decided: ${error ?? "no model was asked"}.`;
  }
  if (decision.decided === model) return `${model} led the ranking, and answered.`;
  if (!model) return `${decision.decided} led the ranking; no model answered.`;
  return `${decision.decided} led the ranking and did not answer; ${model} took over.`;
}

function tries(entry) {
  const whole = Math.max(entry.seconds, ...entry.tries.map((one) => one.started_s + one.seconds)) || 1;
  return el(
    "ol",
    { class: "tries" },
    entry.tries.map((one) => {
      const bar = part(one.error ? "failed" : "", Math.max(one.seconds / whole, 0.005));
      bar.style.marginLeft = `${(100 * one.started_s) / whole}%`;
      const failed = one.error && el("span", { class: "bad" }, [one.status, one.error].filter(Boolean).join(" "));
      return el("li", {}, el("span", {}, one.model), el("span", { class: "bar" }, bar),
        el("span", {}, failed ?? "", failed ? " " : "", duration(one.seconds)));
    }),
  );
}

function details(entry) {
  const { decision } = entry;
  const rows = [
    ["Flags", entry.flags || "none"],
    ["Predicted", decision.decided && `quality ${fixed(decision.quality)}, ${usd(decision.expected_cost_usd)}, ${duration(decision.expected_latency_s)}`],
    ["Next in line", decision.alternatives?.join(", ")],
    ["Calls", entry.tries.length ? tries(entry) : null],
    ["Took", [decision.decided && `${duration(entry.decision_s)} to decide`,
              entry.first_token_s !== null && `${duration(entry.first_token_s)} to the first content`,
              `${duration(entry.seconds)} in all`].filter(Boolean).join(", ")],
    ["Tokens", entry.input_tokens !== null && `${count(entry.input_tokens)} in, ${count(entry.output_tokens)} out`],
    ["Request", `${entry.path}${entry.stream ? ", streamed" : ""}, HTTP ${entry.status}, ${entry.id}`],
  ];
  return el("div", { class: "why" }, el("p", {}, why(entry)),
    el("dl", {}, rows.filter(([, value]) => value).map(([name, value]) => [el("dt", {}, name), el("dd", {}, value)])));
}

function outcome(entry) {
  const text = entry.error ?? (entry.status >= 400 ? `HTTP ${entry.status}` : null);
  if (text) return el("span", { class: "outcome number cut bad", title: text }, text);
  return el("span", { class: "outcome number none" }, entry.tries.length > 1 ? `${entry.tries.length} calls` : "");
}

function row(entry) {
  const told = entry.asked.includes(":") || !entry.flags;
  const asked = told ? entry.asked : `${entry.asked} · ${entry.flags}`;
  const head = el(
    "summary",
    {},
    el("time", { class: "when", datetime: entry.time }),
    el("span", { class: "to cut" }, entry.model ?? "no answer"),
    el("span", { class: "asked cut", title: asked }, asked),
    el("span", { class: "quality number", title: "predicted quality" }, fixed(entry.decision.quality ?? null, 2)),
    el("span", { class: "cost number" }, usd(entry.cost_usd)),
    el("span", { class: "latency number" }, duration(entry.seconds)),
    outcome(entry),
  );
  const whole = el("details", {}, head);
  whole.addEventListener("toggle", () => {
    if (whole.open && whole.children.length === 1) whole.append(details(entry));
  });
  const item = el("li", {}, whole);
  item.arrived = Date.parse(entry.time);
  return item;
}

export function decisions(status, now) {
  const list = at("decision-list");
  list.prepend(...status.decisions.map(row));
  newest = status.decisions[0]?.number ?? newest;
  while (list.children.length > KEPT) list.lastElementChild.remove();
  [...list.children].forEach((item, i) => {
    item.hidden = i >= shown;
    item.querySelector("time").textContent = ago((now - item.arrived) / 1000);
  });
  at("no-decisions").hidden = list.children.length > 0;
  at("heads").hidden = list.children.length === 0;
  at("more").hidden = list.children.length <= shown;
  at("more").textContent = `Show all ${count(list.children.length)}`;
}

at("more").addEventListener("click", () => {
  shown = KEPT;
  for (const item of at("decision-list").children) item.hidden = false;
  at("more").hidden = true;
});
