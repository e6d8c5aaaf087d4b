// The summary, the traffic, the models, and how the record does.

import { at, cell, el, part, series, svg, swatch } from "./dom.js";
import { NONE, clock, count, duration, percent, plural, usd } from "./figures.js";

const MUCH = 0.05;

export function summary({ total, hour, models }) {
  const running = models.reduce((sum, model) => sum + model.in_flight, 0);
  const saved = total.saved_usd;
  const against = total.reference ? `against ${total.reference}` : "no reference model is set";
  const share = total.reference_usd ? `${percent(saved, total.reference_usd)} ${against}` : against;
  const unpriced = total.unpriced ? `, ${count(total.unpriced)} of unknown cost` : "";
  const since = `in ${plural(total.requests, "request")}`;
  const figures = [
    ["Requests, last hour", count(hour.requests), `${count(running)} running`],
    ["Spend", usd(total.cost_usd), since + unpriced],
    ["Saved", usd(saved), share],
    ["Median latency", duration(hour.p50_s), "to the whole answer"],
    ["99 % within", duration(hour.p99_s), "to the whole answer"],
    ["Errors", percent(hour.errors, hour.requests), `${count(hour.errors)} failed, ${count(hour.refused)} refused`],
  ];
  at("summary").replaceChildren(
    ...figures.map(([name, figure, note]) =>
      el("div", {}, el("dt", {}, name), el("dd", {}, figure), el("dd", { class: "note" }, note)),
    ),
  );
}

export function traffic({ minutes, models }, now) {
  const { requests, errors, answered } = minutes;
  const top = Math.max(4, ...requests);
  const names = models.map((model) => model.name).filter((name) => answered[name]);
  const columns = requests.map((whole, i) => {
    let y = 100;
    const block = (kind, number) => {
      const height = (100 * number) / top;
      y -= height;
      return svg("rect", { class: kind, x: i * 10 + 1, width: 8, y, height });
    };
    const parts = names.filter((name) => answered[name][i]);
    const others = whole - parts.reduce((sum, name) => sum + answered[name][i], 0);
    const said = parts.map((name) => `${name} ${count(answered[name][i])}`);
    if (others) said.push(`no model ${count(others)}`);
    if (errors[i]) said.push(plural(errors[i], "error"));
    const minute = new Date(now - (requests.length - 1 - i) * 60000);
    const title = `${clock(minute).slice(0, 5)}  ${plural(whole, "request")}`;
    return [
      ...parts.map((name) => block(series(name), answered[name][i])),
      others ? block("rest", others) : null,
      svg(
        "rect",
        { class: "column", x: i * 10, y: 0, width: 10, height: 100 },
        svg("title", {}, [title, ...said].join("\n")),
      ),
    ];
  });
  const label = `Requests a minute over the last hour; at most ${count(Math.max(...requests))}, now ${count(requests.at(-1))}.`;
  at("traffic").replaceChildren(
    svg(
      "svg",
      { viewBox: `0 0 ${requests.length * 10} 100`, preserveAspectRatio: "none", role: "img", "aria-label": label },
      ...columns,
    ),
    el("span", { class: "scale", "aria-hidden": "true" }, count(top)),
    el("p", { class: "times", "aria-hidden": "true" }, ...["60 min ago", "30", "now"].map((time) => el("span", {}, time))),
  );
}

const STATES = {
  up: () => "up",
  resting: (model) => `resting ${Math.ceil(model.resting_s)} s`,
  trying: () => "trying",
  unknown: () => NONE,
};

export function models({ models: all }) {
  const answers = all.reduce((sum, model) => sum + model.answered, 0);
  const rows = all.map((model) => {
    const share = answers ? model.answered / answers : 0;
    const bar = el("div", { class: "bar" }, part(series(model.name), share));
    return el(
      "tr",
      {},
      el("th", { scope: "row" }, el("span", { class: "name" }, swatch(series(model.name)), model.name)),
      el("td", { class: `state state-${model.state}` }, STATES[model.state](model)),
      el("td", { class: "share" }, el("div", {}, bar, el("span", {}, percent(model.answered, answers)))),
      cell("Answers", count(model.answered)),
      cell("Running", count(model.in_flight)),
      cell("Failing", percent(model.failed, model.tries), model.failed > MUCH * model.tries ? "bad" : null),
      cell("Median", duration(model.p50_s)),
      cell("99 %", duration(model.p99_s)),
      cell("Spend", usd(model.cost_usd)),
    );
  });
  at("models").tBodies[0].replaceChildren(...rows);
}

export function record({ record: waiting }) {
  const said = waiting
    ? [`Record: ${plural(waiting.buffered, "entry").replace("entrys", "entries")} waiting to be written, `,
       el("span", { class: waiting.dropped ? "bad" : null }, `${count(waiting.dropped)} dropped`), "."]
    : ["No record is kept."];
  at("record").replaceChildren(...said);
}
