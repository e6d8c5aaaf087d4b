// The box to try a prompt.

import { SERIES, at, cell, el, part, swatch } from "./dom.js";
import { duration, fixed, plural, usd } from "./figures.js";
import { Refusal, ask, isLock } from "./gateway.js";

function ranking(decision) {
  const names = Object.keys(decision.ranking[0]?.terms ?? {});
  const longest = Math.max(...decision.ranking.map((one) => one.objective), 1e-9);
  const rows = decision.ranking.map((one) =>
    el(
      "tr",
      { class: one.model === decision.model ? "chosen" : null },
      el("th", { scope: "row" }, el("span", { class: "name" }, one.model)),
      el("td", { class: "terms" }, el("div", { class: "bar" },
        part("loss", (1 - one.quality) / longest),
        names.map((name, i) => part(`s${i % SERIES}`, one.terms[name] / longest)))),
      cell("1 − quality", fixed(1 - one.quality), "term loss"),
      names.map((name, i) => cell(name, fixed(one.terms[name]), `term s${i % SERIES}`)),
      cell("Sum", fixed(one.objective)),
      cell("Costs about", usd(one.cost_usd)),
      cell("Takes about", duration(one.latency_s)),
    ),
  );
  const heads = [["Model"], ["Objective", "terms"], ["1 − quality", "loss"],
    ...names.map((name, i) => [name, `s${i % SERIES}`]), ["Sum"], ["Costs about"], ["Takes about"]];
  const head = heads.map(([name, kind]) =>
    el("th", { scope: "col", class: kind === "terms" ? kind : null }, kind && kind !== "terms" ? swatch(kind) : "", ` ${name}`));
  const reason = decision.kept ? "is kept, since it waits for the results of its tools." : "has the least objective.";
  return [
    el("p", {}, el("strong", {}, decision.model), ` ${reason}`),
    el("div", { class: "scroll", tabindex: "0", role: "region", "aria-label": "Ranking" },
      el("table", { class: "ranking cards" }, el("thead", {}, el("tr", {}, head)), el("tbody", {}, rows))),
    decision.excluded.length
      ? el("details", { class: "excluded" }, el("summary", {}, `${plural(decision.excluded.length, "model")} excluded`),
          el("ul", {}, decision.excluded.map((one) => el("li", {}, el("strong", {}, one.model), `: ${one.reason}`))))
      : "",
  ];
}

async function decide(event, locked) {
  event.preventDefault();
  const button = event.submitter ?? at("try-form").querySelector("button");
  const flags = at("flags").value.trim();
  const body = { model: "tryage", messages: [{ role: "user", content: at("prompt").value }] };
  if (flags) body.tryage = { flags };
  button.disabled = true;
  try {
    at("ranking").replaceChildren(...ranking(await ask("v1/tryage/route", body)));
  } catch (error) {
    if (isLock(error)) locked(error);
    const said = error instanceof Refusal ? error.message : "The gateway does not answer.";
    at("ranking").replaceChildren(el("p", { class: "refused" }, said));
  } finally {
    button.disabled = false;
  }
}

// Make the box work; `locked` is told of an error where a key is needed.
export const tryPrompts = (locked) =>
  at("try-form").addEventListener("submit", (event) => decide(event, locked));
