// The page: it asks the gateway every now and then, and draws what it is told.

import { decisions, newest } from "./decisions.js";
import { at, series } from "./dom.js";
import { clock, span } from "./figures.js";
import { Refusal, ask, forgetKey, heldKey, holdKey, isLock } from "./gateway.js";
import { models, record, summary, traffic } from "./overview.js";
import { tryPrompts } from "./trying.js";

const EVERY_MS = 2000;

// What is shown depends on whether the gateway answers, and whether it lets us in.

function show(state, words) {
  if (at("connection").textContent !== words) at("connection").textContent = words;
  at("connection").className = state;
  at("disconnected").hidden = state !== "down";
  at("locked").hidden = state !== "locked";
  at("forget").hidden = !heldKey();
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
  const held = heldKey();
  at("key-refused").textContent = held ? error.message : "";
  const before = at("locked").hidden;
  show("locked", "Key needed");
  at("updated").textContent = "";
  if (before) at("key").focus();
}

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

let started = null;
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
  holdKey(at("key").value.trim());
  at("key").value = "";
  poll();
});

at("forget").addEventListener("click", () => {
  forgetKey();
  location.reload(); // nothing that the key had opened stays in the document
});

tryPrompts(locked);
poll();
