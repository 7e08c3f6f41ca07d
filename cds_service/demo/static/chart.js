// The chart page: opens the chart on a day, shows cards, timeline and what lies behind them.

import { addDays, ask, daysBetween, element, isDay } from "./page.js";
import { drawCards } from "./cards.js";
import { drawTimeline, tableOf } from "./timeline.js";
import { answerView, brokenView, makeTabs, requestView, whyView } from "./developer.js";

const at = (id) => document.getElementById(id);
const { patient, today } = at("chart").dataset;
const address = new URL(location.href);
const asked = address.searchParams.get("asOf");
const state = { data: null, asOf: isDay(asked) ? asked : today, opening: 0, waiting: 0 };

const sent = () => ({ patient, asOf: state.asOf, delivery: at("delivery").value, manner: at("manner").value });
const viewedDay = () => daysBetween(state.data.dayZero, state.asOf);

async function openChart() {
  const mine = ++state.opening;
  at("cards").setAttribute("aria-busy", "true");
  at("cards-status").textContent = "Asking the service …";
  at("refresh").hidden = true;
  try {
    const [opened, trace] = await Promise.all([ask("/api/open", sent()), ask("/api/trace", sent())]);
    if (mine !== state.opening) return;
    drawCards(at("cards"), opened, () => { loadTimeline(); loadLists(); at("cards-status").textContent = "The chart has changed."; at("refresh").hidden = false; });
    const count = opened.cards.length;
    at("cards-status").textContent = `${count || "no"} card${count === 1 ? "" : "s"}, answered in ${Math.round(opened.exchange.milliseconds)} ms`;
    at("view-request").replaceChildren(...requestView(opened.exchange));
    at("view-answer").replaceChildren(...answerView(opened.exchange));
    at("view-why").replaceChildren(...whyView(trace));
  } catch (error) {
    if (mine !== state.opening) return;
    at("cards").replaceChildren();
    at("cards-status").textContent = error.message;
  }
  at("cards").setAttribute("aria-busy", "false");
}

async function loadLists() {
  state.lists = await ask(`/api/chart/${encodeURIComponent(patient)}`);
  drawLists();
}

function drawLists() {
  const sections = (state.lists || []).map((section) => element("section", {},
    element("h3", {}, section.title),
    element("ul", {}, section.entries.map((entry) => {
      const isLater = entry.date > state.asOf;
      return element("li", { class: isLater ? "later" : "" }, element("time", {}, entry.date || "no date"),
        element("span", {}, entry.text, entry.isNew ? element("span", { class: "badge" }, "new") : null, entry.status || isLater ? ` (${[entry.status, isLater ? "later" : ""].filter(Boolean).join(", ")})` : ""),
        element("span", { class: "value" }, entry.value));
    })),
    section.more ? element("p", { class: "quiet" }, `and ${section.more} more`) : null));
  at("lists").replaceChildren(...(sections.length ? sections : [element("p", { class: "quiet" }, "Nothing is on record.")]));
}

async function loadTimeline() {
  try {
    state.data = await ask(`/api/timeline/${encodeURIComponent(patient)}`);
  } catch (error) {
    at("timeline").textContent = error.message;
    return;
  }
  at("day").min = state.data.firstDay;
  at("day").max = state.data.lastDay;
  document.querySelectorAll("#day, .timeline-panel .buttons button").forEach((control) => { control.disabled = false; });
  at("timeline-table").replaceChildren(tableOf(state.data));
  draw();
}

function draw() {
  if (!state.data) return;
  const day = viewedDay();
  const frame = drawTimeline(at("timeline"), state.data, day);
  at("slider-row").style.marginLeft = `${frame.left - 8}px`;
  at("slider-row").style.marginRight = `${frame.right - 8}px`;
  at("day").value = day;
  const when = state.asOf === today ? "today" : state.asOf < today ? "in the past" : "in the future";
  const counted = state.data.hasOperation ? `Day ${day}` : "No dated lumbar operation";
  at("day").setAttribute("aria-valuetext", `${counted}, ${state.asOf}, ${when}`);
  at("viewing").textContent = `${counted} · ${state.asOf} · ${when}`;
}

function view(day) {
  const kept = Math.min(state.data.lastDay, Math.max(state.data.firstDay, day));
  state.asOf = addDays(state.data.dayZero, kept);
  draw();
  drawLists();
  at("cards").setAttribute("aria-busy", "true");
  clearTimeout(state.waiting);
  state.waiting = setTimeout(openChart, 180);
}

function nextChange(direction) {
  const { cards } = state.data;
  const days = [...new Set(cards.flatMap((card) => [card.first, card.last + 1]))].sort((one, other) => direction * (one - other));
  const next = days.find((day) => direction * (day - viewedDay()) > 0);
  if (next !== undefined) view(next);
}

at("day").addEventListener("input", () => view(Number(at("day").value)));
at("day-back").addEventListener("click", () => view(viewedDay() - 1));
at("day-on").addEventListener("click", () => view(viewedDay() + 1));
at("day-today").addEventListener("click", () => view(state.data.today));
at("previous-change").addEventListener("click", () => nextChange(-1));
at("next-change").addEventListener("click", () => nextChange(1));
at("refresh").addEventListener("click", openChart);
at("open-again").addEventListener("click", openChart);
at("delivery").addEventListener("change", openChart);
at("manner").addEventListener("change", openChart);
at("reset").addEventListener("click", async () => { await ask("/api/reset", {}); await Promise.all([loadTimeline(), loadLists(), openChart()]); });
document.querySelectorAll("[data-breakage]").forEach((button) => button.addEventListener("click", async () => {
  const place = at("break-result");
  place.textContent = "Sending …";
  try {
    place.replaceChildren(...brokenView(await ask(`/api/break/${button.dataset.breakage}`, sent())));
  } catch (error) {
    place.textContent = error.message;
  }
}));
makeTabs(document.querySelector("[role=tablist]"));
if (address.hash === "#developer") at("developer").open = true;
let width = 0;
new ResizeObserver(() => { if (at("timeline").clientWidth !== width) { width = at("timeline").clientWidth; draw(); } }).observe(at("timeline"));
openChart();
loadTimeline();
loadLists();
