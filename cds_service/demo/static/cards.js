// Cards as an EHR shows them: urgency, summary, what to do, suggestions, reasons, setting aside.

import { ask, element, shape } from "./page.js";

const WORDS = { critical: "Critical", warning: "Warning", info: "Information" };
const SHAPES = {
  critical: "M8 1.5h8L22.5 8v8L16 22.5H8L1.5 16V8z",
  warning: "M12 2 23 21.5H1z",
  info: "M12 1.5a10.5 10.5 0 1 0 0 21 10.5 10.5 0 0 0 0-21z",
};

function icon(indicator) {
  const mark = indicator === "info" ? "M12 10.5v7M12 6.2v.6" : "M12 8v6M12 17.4v.6";
  return shape("svg", { viewBox: "0 0 24 24", "aria-hidden": "true" },
    shape("path", { d: SHAPES[indicator] || SHAPES.info, fill: "none", stroke: "currentColor", "stroke-width": "2", "stroke-linejoin": "round" }),
    shape("path", { d: mark, fill: "none", stroke: "currentColor", "stroke-width": "2.4", "stroke-linecap": "round" }));
}

// The HTML comes from the test EHR's own reader of Markdown, which escapes everything first.
function text(html) {
  const part = element("div", { class: "card-text" });
  part.innerHTML = html;
  return part;
}

export function drawCards(place, opened, changed) {
  const nodes = opened.cards.map((card) => cardOf(card, opened.hookInstance, changed));
  if (opened.problem) {
    nodes.unshift(element("div", { class: "card problem" }, element("h3", {}, "The service gave no cards"), element("p", {}, opened.problem)));
  } else if (!nodes.length) {
    nodes.push(element("div", { class: "nothing" }, element("p", {}, element("strong", {}, "No card.")), element("p", { class: "quiet" }, "The service has nothing to add for this patient on this day; that rules nothing out. The reasons are below, for developers, under “Why, why not”.")));
  }
  place.replaceChildren(...nodes);
}

function cardOf(card, hookInstance, changed) {
  const indicator = WORDS[card.indicator] ? card.indicator : "info";
  const name = `card-${card.uuid}`;
  const node = element("article", { class: `card ${indicator}`, "aria-labelledby": name, "data-topic": card.source.topic?.code });
  const parts = [
    element("p", { class: "indicator" }, icon(indicator), WORDS[indicator]),
    element("h3", { id: name }, card.summary),
    card.leadHtml ? text(card.leadHtml) : null,
    suggestionsOf(card, hookInstance, changed),
    card.moreHtml ? element("details", {}, element("summary", {}, "Reasons, cautions and limits"), text(card.moreHtml)) : null,
    overrideOf(card, hookInstance, node),
    footOf(card),
  ];
  node.append(...parts.filter(Boolean));
  return node;
}

function suggestionsOf(card, hookInstance, changed) {
  if (!card.suggestions?.length) return null;
  const list = element("ul", { class: "suggestions", "aria-label": "Suggestions" });
  const buttons = [];
  for (const suggestion of card.suggestions) {
    const result = element("span", { class: "done", role: "status", tabindex: "-1" });
    const button = element("button", {
      type: "button", class: suggestion.isRecommended ? "main" : "", "aria-label": `Order: ${suggestion.label}`,
      onclick: async () => {
        button.disabled = true;
        try {
          const told = await ask("/api/accept", { hookInstance, card: card.uuid, suggestion: suggestion.uuid });
          result.textContent = `Ordered, in the chart now. ${feedbackWords(told)}`;
          if (card.selectionBehavior === "at-most-one") buttons.forEach((other) => { other.disabled = true; });
          keepPlace(result);
          changed();
        } catch (error) {
          button.disabled = false;
          result.textContent = error.message;
          keepPlace(button);
        }
      },
    }, "Order");
    buttons.push(button);
    const actions = (suggestion.actions || []).map((action) => action.description).filter((words) => words && words !== suggestion.label);
    list.append(element("li", { class: "suggestion" },
      element("div", {}, element("span", { class: "suggestion-label" }, suggestion.label), suggestion.isRecommended && card.suggestions.length > 1 ? element("span", { class: "badge" }, "✓ Recommended") : null),
      actions.length > 1 ? element("ul", {}, actions.map((words) => element("li", {}, words))) : null,
      element("div", {}, button, " ", result)));
  }
  return list;
}

function overrideOf(card, hookInstance, node) {
  const reasons = card.overrideReasons || [];
  const choice = element("select", {}, element("option", { value: "" }, "No reason given"), reasons.map((reason, n) => element("option", { value: n }, reason.display)));
  const comment = element("input", { type: "text", maxlength: "500", autocomplete: "off" });
  const form = element("form", {
    class: "override-form",
    onsubmit: async (event) => {
      event.preventDefault();
      const reason = choice.value === "" ? null : reasons[choice.value];
      try {
        const told = await ask("/api/override", { hookInstance, card: card.uuid, reason, comment: comment.value });
        const words = reason ? `Set aside: ${reason.display}.` : "Set aside.";
        node.classList.add("set-aside");
        node.querySelectorAll("button").forEach((button) => { button.disabled = true; });
        const result = element("p", { class: "done", role: "status", tabindex: "-1" }, `${words} ${feedbackWords(told)}`);
        form.replaceWith(result);
        keepPlace(result);
      } catch (error) {
        form.append(element("p", { role: "alert" }, error.message));
      }
    },
  },
  element("label", {}, "Reason", choice), element("label", {}, "Comment (optional)", comment),
  element("div", {}, element("button", { type: "submit" }, "Set aside")));
  return element("details", {}, element("summary", {}, "Set this card aside"), form);
}

// A pressed button that is off or gone leaves the keyboard and the screen reader nowhere.
function keepPlace(node) {
  if (document.activeElement === document.body) node.focus();
}

function feedbackWords(told) {
  const status = told.feedback.status;
  return status === 200 ? "The service was told." : `The service answered ${status} to the feedback.`;
}

function footOf(card) {
  const links = (card.links || []).filter((link) => link.type === "absolute" && /^https?:\/\//.test(link.url));
  const outward = (link) => element("li", {}, element("a", { href: link.url, target: "_blank", rel: "noopener noreferrer" }, link.label));
  const source = card.source.url && /^https?:\/\//.test(card.source.url) ? outward({ url: card.source.url, label: "What this card means" }) : null;
  return element("footer", { class: "card-foot" }, element("ul", {}, element("li", {}, card.source.label), source, links.map(outward)));
}
