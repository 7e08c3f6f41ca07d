// What a developer wants to see: the request, the answer, the reasons, and what broken requests get.

import { element } from "./page.js";

function pretty(text) {
  try { return JSON.stringify(JSON.parse(text), null, 2); } catch { return text; }
}

// A whole prefetch is long; each key is told in one line unless everything is asked for.
function shortened(text) {
  let body;
  try { body = JSON.parse(text); } catch { return text; }
  for (const [key, value] of Object.entries(body.prefetch || {})) {
    if (value?.resourceType === "Bundle") body.prefetch[key] = `Bundle, total ${value.total}, ${(value.entry || []).length} entries`;
    else if (value?.resourceType) body.prefetch[key] = value.resourceType;
  }
  return JSON.stringify(body, null, 2);
}

function headersOf(headers) {
  return Object.entries(headers).map(([name, value]) => `${name}: ${value}`).join("\n");
}

export function requestView(exchange) {
  return [
    element("p", { class: "quiet" }, `POST ${exchange.url}`),
    element("pre", { tabindex: "0" }, headersOf(exchange.sent_headers)),
    element("pre", { tabindex: "0" }, shortened(exchange.sent_body)),
    element("details", {}, element("summary", {}, "Everything that was sent"), element("pre", { tabindex: "0" }, pretty(exchange.sent_body))),
  ];
}

export function answerView(exchange) {
  return [
    element("p", {}, element("span", { class: "status" }, `Status ${exchange.status}`), ` in ${exchange.milliseconds} ms`),
    element("pre", { tabindex: "0" }, headersOf(exchange.headers)),
    element("pre", { tabindex: "0" }, pretty(exchange.body)),
  ];
}

export function brokenView(result) {
  return [
    element("h3", {}, result.title),
    element("p", { class: "quiet" }, `Expected: ${result.expectation}`),
    ...answerView(result.exchange),
    element("details", {}, element("summary", {}, "What was sent"), element("pre", { tabindex: "0" }, shortened(result.exchange.sent_body))),
  ];
}

function verdictOf(row) {
  if (row.isShown) return ["shown", "✓ Card shown"];
  if (row.verdict === "cannot tell") return ["unknown", "? Cannot tell"];
  return ["no", row.heldBy ? "– Held back" : row.verdict === "met" ? "– Met, not shown" : "– Not met"];
}

export function whyView(trace) {
  const rows = trace.rows.map((row) => {
    const [kind, words] = verdictOf(row);
    const isHeld = row.heldBy || row.reasons.some((reason) => reason.startsWith("held back: "));
    const isLacking = row.verdict === "not met" && !isHeld && row.reasons.length;
    const why = [...(row.heldBy ? [row.heldBy] : []), ...row.reasons, ...row.unread.map((key) => `not read: ${key}`)];
    return element("tr", {}, element("td", {}, String(row.row)), element("th", { scope: "row" }, row.card),
      element("td", { class: `verdict ${kind}` }, words), element("td", {}, (isLacking ? "missing: " : "") + why.join("; ") || "nothing on record"));
  });
  const explanations = trace.explanations.map((one) => element("li", {}, `${one.phenotype.replaceAll("-", " ")}: ${one.points} points (${one.reasons.join(", ")})`));
  const day = trace.daysSinceSurgery === null ? "" : `, day ${trace.daysSinceSurgery} since surgery`;
  return [
    element("p", {}, element("span", { class: "status" }, `Outcome: ${trace.outcome}`), `, as of ${trace.asOf}${day}. Every row of the decision table, with why and why not:`),
    explanations.length ? element("details", {}, element("summary", {}, "Likely explanations with their points"), element("ul", {}, explanations)) : null,
    rows.length ? element("div", { class: "scrolls tall", tabindex: "0", role: "region", "aria-label": "Decision table" },
      element("table", {}, element("thead", {}, element("tr", {}, ["Row", "Card", "Verdict", "Why"].map((word) => element("th", { scope: "col" }, word)))), element("tbody", {}, rows))) : null,
  ].filter(Boolean);
}

export function makeTabs(list) {
  const tabs = [...list.querySelectorAll("[role=tab]")];
  const select = (chosen) => tabs.forEach((tab) => {
    const isChosen = tab === chosen;
    tab.setAttribute("aria-selected", String(isChosen));
    tab.tabIndex = isChosen ? 0 : -1;
    document.getElementById(tab.getAttribute("aria-controls")).hidden = !isChosen;
  });
  tabs.forEach((tab, n) => {
    tab.addEventListener("click", () => select(tab));
    tab.addEventListener("keydown", (event) => {
      const move = { ArrowRight: 1, ArrowLeft: -1 }[event.key];
      if (!move) return;
      const next = tabs[(n + move + tabs.length) % tabs.length];
      select(next);
      next.focus();
    });
  });
}
