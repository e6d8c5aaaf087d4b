// The page's whole program. What others wrote (names of models, flags, prompts, errors) reaches the
// document as text nodes only; nothing here parses HTML.

const EVERY_MS = 2000;
const PATIENCE_MS = 10000;
const KEPT = 200;
const FEW = 20;
const SERIES = 6;
const MUCH = 0.05;
const KEY = "tryage-key";
const SVG = "http://www.w3.org/2000/svg";

const at = (id) => document.getElementById(id);

function fill(element, attributes, children) {
  for (const [name, value] of Object.entries(attributes)) {
    if (value !== null && value !== false) element.setAttribute(name, value);
  }
  element.append(...children.flat(Infinity).filter((child) => child !== null && child !== ""));
  return element;
}

const el = (tag, attributes = {}, ...children) =>
  fill(document.createElement(tag), attributes, children);
const svg = (tag, attributes = {}, ...children) =>
  fill(document.createElementNS(SVG, tag), attributes, children);

// How figures are written.

const NONE = "–";
const group = new Intl.NumberFormat("en-US");
const dollars = (options) =>
  new Intl.NumberFormat("en-US", { style: "currency", currency: "USD", ...options });
const cents = dollars({});
const mills = dollars({ minimumFractionDigits: 3 });
const specks = dollars({ minimumSignificantDigits: 2, maximumSignificantDigits: 2 });

const count = (value) => (value === null ? NONE : group.format(value));
const fixed = (value, digits = 3) => (value === null ? NONE : value.toFixed(digits));

function usd(value) {
  if (value === null || value === undefined) return NONE;
  const size = Math.abs(value);
  if (size === 0) return "$0";
  return (size >= 1 ? cents : size >= 0.01 ? mills : specks).format(value);
}

function duration(seconds) {
  if (seconds === null || seconds === undefined) return NONE;
  if (seconds < 0.001) return `${Math.round(seconds * 1e6)} µs`;
  if (seconds < 0.01) return `${(seconds * 1e3).toFixed(1)} ms`;
  if (seconds < 1) return `${Math.round(seconds * 1e3)} ms`;
  if (seconds < 60) return `${seconds.toFixed(seconds < 10 ? 2 : 1)} s`;
  return span(seconds);
}

function span(seconds) {
  const whole = Math.floor(seconds);
  if (whole < 60) return `${whole} s`;
  if (whole < 3600) return `${Math.floor(whole / 60)} min`;
  if (whole < 86400) return `${Math.floor(whole / 3600)} h ${Math.floor((whole % 3600) / 60)} min`;
  return `${Math.floor(whole / 86400)} d ${Math.floor((whole % 86400) / 3600)} h`;
}

const ago = (seconds) => (seconds < 2 ? "now" : `${span(seconds).replace(/ 0 (min|h)$/, "")} ago`);

function percent(part, whole) {
  if (!whole) return NONE;
  const share = (100 * part) / whole;
  if (share > 0 && share < 0.1) return "< 0.1 %";
  return `${share.toFixed(share === 0 || share >= 10 ? 0 : 1)} %`;
}

const clock = (date) => date.toLocaleTimeString("en-GB");
const plural = (number, noun) => `${count(number)} ${noun}${number === 1 ? "" : "s"}`;

// A colour for each model, the same for as long as the page is open.

const colours = new Map();
function series(model) {
  if (!colours.has(model)) colours.set(model, colours.size);
  const number = colours.get(model);
  return number < SERIES ? `s${number}` : "rest";
}
const swatch = (kind) => el("span", { class: `swatch ${kind}`, "aria-hidden": "true" });

function part(kind, share) {
  const bar = el("i", { class: kind });
  bar.style.width = `${100 * share}%`;
  return bar;
}

// Asking the gateway.

class Refusal extends Error {
  constructor(status, message) {
    super(message);
    this.status = status;
  }
}

async function ask(path, body) {
  const headers = {};
  const key = sessionStorage.getItem(KEY);
  if (key) headers.Authorization = `Bearer ${key}`;
  if (body) headers["Content-Type"] = "application/json";
  const response = await fetch(path, {
    method: body ? "POST" : "GET",
    headers,
    body: body && JSON.stringify(body),
    cache: "no-store",
    signal: AbortSignal.timeout(PATIENCE_MS),
  });
  const answer = await response.json().catch(() => null);
  if (response.ok && answer) return answer;
  const said = answer?.error?.message;
  throw new Refusal(response.status, said ?? `The gateway answered with HTTP ${response.status}.`);
}

// The summary, the traffic, the models.

const cell = (label, text, kind = null) => el("td", { "data-label": label, class: kind }, text);

function summary({ total, hour, models }) {
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

function traffic({ minutes, models }, now) {
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

function models({ models: all }) {
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

function record({ record: waiting }) {
  const said = waiting
    ? [`Record: ${plural(waiting.buffered, "entry").replace("entrys", "entries")} waiting to be written, `,
       el("span", { class: waiting.dropped ? "bad" : null }, `${count(waiting.dropped)} dropped`), "."]
    : ["No record is kept."];
  at("record").replaceChildren(...said);
}

// The latest decisions: an entry never changes, so that each row is made once and stays open or shut.

let newest = 0;
let started = null;
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

function decisions(status, now) {
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

// What is shown depends on whether the gateway answers, and whether it lets us in.

function show(state, words) {
  if (at("connection").textContent !== words) at("connection").textContent = words;
  at("connection").className = state;
  at("disconnected").hidden = state !== "down";
  at("locked").hidden = state !== "locked";
  at("forget").hidden = !sessionStorage.getItem(KEY);
  for (const id of ["figures", "latest"]) {
    if (state !== "down") at(id).hidden = state !== "up";
    at(id).classList.toggle("stale", state === "down");
  }
  document.title = state === "down" ? "Disconnected – Tryage" : "Tryage";
}

let lost = null;

function disconnected(error) {
  lost ??= new Date();
  const reason = error instanceof Refusal ? error.message : "The gateway does not answer.";
  const notice = `Disconnected at ${clock(lost)}. ${reason} What is shown is as it was then; the page goes on trying.`;
  show("down", "Disconnected");
  at("updated").textContent = "";
  if (at("disconnected").textContent !== notice) at("disconnected").textContent = notice;
}

function locked(error) {
  const held = sessionStorage.getItem(KEY);
  at("key-refused").textContent = held ? error.message : "";
  const before = at("locked").hidden;
  show("locked", "Key needed");
  at("updated").textContent = "";
  if (before) at("key").focus();
}

const isLock = (error) => error instanceof Refusal && (error.status === 401 || error.status === 403);

function draw(status) {
  const now = Date.parse(status.now);
  lost = null;
  show("up", "Live");
  at("updated").textContent = `up ${span((now - Date.parse(status.started)) / 1000)}`;
  for (const place of document.querySelectorAll(".since")) {
    place.textContent = `since ${new Date(status.total.since).toLocaleString("en-GB", { dateStyle: "medium", timeStyle: "short" })}`;
  }
  for (const model of status.models) series(model.name);
  for (const part of [summary, traffic, models, record]) part(status, now);
  decisions(status, now);
}

let timer = null;
let asking = false;

async function poll() {
  clearTimeout(timer);
  if (asking || document.hidden) return;
  asking = true;
  let again = true;
  try {
    let status = await ask(`v1/tryage/status?after=${newest}`);
    if (started !== status.started) {  // another process, which counts from 1 again
      if (newest) status = await ask("v1/tryage/status");
      at("decision-list").replaceChildren();
      started = status.started;
    }
    draw(status);
  } catch (error) {
    again = !isLock(error);
    (again ? disconnected : locked)(error);
  } finally {
    asking = false;
  }
  if (again) timer = setTimeout(poll, EVERY_MS);
}

document.addEventListener("visibilitychange", poll);

at("key-form").addEventListener("submit", (event) => {
  event.preventDefault();
  sessionStorage.setItem(KEY, at("key").value.trim());
  at("key").value = "";
  poll();
});

at("forget").addEventListener("click", () => {
  sessionStorage.removeItem(KEY);
  location.reload(); // nothing that the key had opened stays in the document
});

// The box to try a prompt.

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

at("try-form").addEventListener("submit", async (event) => {
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
});

poll();
