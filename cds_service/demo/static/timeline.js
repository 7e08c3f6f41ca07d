// The course since surgery: pain over days, what was done, and when each card would appear.

import { element, shape } from "./page.js";

const LANES = [["operation", "Operation"], ["finding", "Red flags"], ["diagnosis", "Diagnoses"], ["test", "Tests"], ["care", "Care"], ["order", "Orders"]];
const PAIN_HEIGHT = 176;
const LANE = 26;
const LETTER = 6.4;
const SIGNS = { critical: "!! ", warning: "! ", info: "" };
const INDICATORS = { critical: "Critical", warning: "Warning", info: "Information" };

export function drawTimeline(place, data, viewedDay) {
  const width = Math.max(260, place.clientWidth);
  const isNarrow = width < 620;
  const frame = { width, isNarrow, left: isNarrow ? 26 : 96, right: isNarrow ? 34 : 88, top: 30 };
  const span = Math.max(1, data.lastDay - data.firstDay);
  frame.x = (day) => frame.left + ((Math.min(data.lastDay, Math.max(data.firstDay, day)) - data.firstDay) / span) * (width - frame.left - frame.right);
  frame.y = (value) => frame.top + PAIN_HEIGHT * (1 - value / 10);
  const svg = shape("svg", { role: "img", "aria-labelledby": "timeline-title" }, shape("title", { id: "timeline-title" }, wordsFor(data)));
  const behind = shape("g");
  frame.now = frame.x(viewedDay);
  svg.append(behind, axes(frame, data), limits(frame, data));
  let y = frame.top + PAIN_HEIGHT + 46;
  const lanes = LANES.filter(([lane]) => data.events.some((event) => event.lane === lane));
  for (const [lane, label] of lanes) {
    y += isNarrow ? 16 : 0;
    svg.append(laneOf(frame, lane, label, data.events.filter((event) => event.lane === lane), y));
    y += LANE;
  }
  y += 14;
  if (data.cards.length) {
    svg.append(shape("text", { x: 0, y, class: "lane-label" }, "Cards the service would give"));
    y += 8;
    for (const spans of byCard(data.cards)) {
      svg.append(cardLane(frame, spans, y));
      y += isNarrow ? 36 : 24;
    }
  }
  const end = y + 6;
  behind.append(now(frame, viewedDay, end, viewedDay === data.today));
  svg.append(series(frame, data, viewedDay));
  svg.setAttribute("viewBox", `0 0 ${width} ${end}`);
  svg.setAttribute("height", end);
  place.replaceChildren(svg);
  return frame;
}

function wordsFor(data) {
  const scores = data.series.map((line) => `${line.label}: ${line.points.map((point) => `${point.value} on day ${point.day}`).join(", ")}`);
  return `Pain from 0 to 10 over days since surgery. ${scores.join(". ")}. A table with everything follows below.`;
}

function axes(frame, data) {
  const group = shape("g");
  const end = frame.width - frame.right;
  for (const value of [0, 2, 4, 6, 8, 10]) {
    group.append(shape("line", { class: value ? "grid" : "axis", x1: frame.left, x2: end, y1: frame.y(value), y2: frame.y(value) }),
      shape("text", { x: frame.left - 8, y: frame.y(value) + 4, "text-anchor": "end" }, String(value)));
  }
  if (!frame.isNarrow) group.append(shape("text", { x: 0, y: frame.y(10) + 4, class: "lane-label" }, "Pain 0–10"));
  const room = (end - frame.left) / 64;
  const step = [7, 14, 30, 60, 90, 180, 365, 730, 1825].find((days) => (data.lastDay - data.firstDay) / days <= room) || 3650;
  for (let day = Math.ceil(data.firstDay / step) * step; day <= data.lastDay; day += step) {
    const words = step >= 365 ? (day === 0 ? "0" : `${day / 365} y`) : String(day);
    group.append(shape("line", { class: "axis", x1: frame.x(day), x2: frame.x(day), y1: frame.y(0), y2: frame.y(0) + 4 }),
      shape("text", { class: "halo", x: frame.x(day), y: frame.y(0) + 17, "text-anchor": "middle" }, words));
  }
  if (!frame.isNarrow) group.append(shape("text", { x: end + 14, y: frame.y(0) + 17 }, data.hasOperation ? (step >= 365 ? "years" : "days") : "days"));
  return group;
}

function limits(frame, data) {
  const group = shape("g");
  const end = frame.width - frame.right;
  const hot = frame.y(data.lines.hot);
  group.append(shape("line", { class: "limit", x1: frame.left, x2: end, y1: hot, y2: hot }));
  if (!frame.isNarrow) group.append(shape("text", { class: "limit-text", x: end + 6, y: hot - 2 }, "significant"), shape("text", { class: "limit-text", x: end + 6, y: hot + 12 }, `from ${data.lines.hot}`));
  if (!data.hasOperation) return group;
  let free = frame.left;
  for (const [day, words] of [[0, "operation"], [data.lines.workup, `day ${data.lines.workup}`], [data.lines.permanent, `day ${data.lines.permanent}`]]) {
    if (day < data.firstDay || day > data.lastDay) continue;
    const half = words.length * LETTER / 2;
    const x = Math.max(frame.x(day), free + half);
    group.append(shape("line", { class: "limit", x1: frame.x(day), x2: frame.x(day), y1: frame.top, y2: frame.y(0) }));
    if (x + half > frame.width - frame.right + 20 || x - frame.x(day) > 5 * half) continue;
    group.append(shape("text", { class: "limit-text", x, y: frame.top - 6, "text-anchor": "middle" }, words));
    free = x + half + 8;
  }
  return group;
}

function marker(kind, x, y, size = 5) {
  if (kind === "back" || kind === "test") return shape("rect", { x: x - size + 0.5, y: y - size + 0.5, width: 2 * size - 1, height: 2 * size - 1 });
  if (kind === "any" || kind === "diagnosis") return shape("path", { d: `M${x} ${y - size - 1}l${size + 1} ${size + 1}l${-size - 1} ${size + 1}l${-size - 1} ${-size - 1}z` });
  if (kind === "operation" || kind === "finding") return shape("path", { d: `M${x} ${y - size - 1}l${size + 1.5} ${2 * size + 1}h${-2 * size - 3}z` });
  return shape("circle", { cx: x, cy: y, r: size });
}

function series(frame, data, viewedDay) {
  const group = shape("g");
  const ends = [];
  for (const line of data.series) {
    const points = line.points.filter((point) => point.day >= data.firstDay && point.day <= viewedDay);
    if (!points.length) continue;
    group.append(shape("path", { class: `series ${line.id}`, d: points.map((point, n) => `${n ? "L" : "M"}${frame.x(point.day)} ${frame.y(point.value)}`).join("") }));
    for (const point of points) {
      const mark = marker(line.id, frame.x(point.day), frame.y(point.value));
      mark.setAttribute("class", `mark ${line.id}`);
      mark.append(shape("title", {}, `${line.label} ${point.value} on day ${point.day} (${point.date})`));
      group.append(mark);
    }
    const last = points[points.length - 1];
    ends.push({ line, last, y: frame.y(last.value) });
  }
  ends.sort((one, other) => one.y - other.y);
  ends.forEach((end, n) => { if (n) end.y = Math.max(end.y, ends[n - 1].y + 14); });
  for (const { line, last, y } of ends) {
    const words = frame.isNarrow ? `${line.id === "any" ? "" : line.label[0]}${last.value}` : `${line.id === "any" ? "Pain" : line.label.replace(" pain", "")} ${last.value}`;
    const x = frame.x(last.day);
    const fits = frame.isNarrow || x + 9 + words.length * LETTER <= frame.width - frame.right;
    const at = fits ? { x: x + 9, y: y + 4 } : { x: x + 5, y: y - 9, "text-anchor": "end" };
    group.append(shape("text", { class: `value ${line.id}`, ...at }, words));
  }
  return group;
}

function laneOf(frame, lane, label, events, y) {
  const group = shape("g");
  const end = frame.width - frame.right;
  const labelAt = frame.isNarrow ? { x: 0, y: y - 8 } : { x: 0, y: y + 4 };
  group.append(shape("text", { ...labelAt, class: "lane-label" }, label), shape("line", { class: "lane", x1: frame.left, x2: end, y1: y, y2: y }));
  const days = sameDays(events);
  const wordsAt = frame.isNarrow ? y + 15 : y - 4;
  let free = frame.left;
  days.forEach(({ day, date, words }, n) => {
    const x = frame.x(day);
    const mark = marker(lane, x, y, 4.5);
    mark.setAttribute("class", `event ${lane}`);
    mark.append(shape("title", {}, `${words}, day ${day} (${date})`));
    group.append(mark);
    if (n && days[n - 1].words === words) return;
    const length = words.length * LETTER;
    const next = n + 1 < days.length ? frame.x(days[n + 1].day) : frame.width;
    if (length <= next - x - 18) {
      group.append(shape("text", { class: "event-text halo", x: x + 9, y: wordsAt }, words));
      free = x + 9 + length;
    } else if (x - 9 - length > free) {
      group.append(shape("text", { class: "event-text halo", x: x - 9, y: wordsAt, "text-anchor": "end" }, words));
      free = x;
    }
  });
  return group;
}

function sameDays(events) {
  const days = new Map();
  for (const event of events) {
    const known = days.get(event.day);
    if (known) known.words += `, ${event.label[0].toLowerCase()}${event.label.slice(1)}`;
    else days.set(event.day, { day: event.day, date: event.date, words: event.label });
  }
  return [...days.values()];
}

function byCard(cards) {
  const lanes = new Map();
  for (const card of cards) lanes.set(card.card, [...(lanes.get(card.card) || []), card]);
  return lanes.values();
}

function cardLane(frame, spans, y) {
  const group = shape("g");
  const height = 18;
  const top = frame.isNarrow ? y + 16 : y;
  for (const span of spans) {
    const x = frame.x(span.first);
    const bar = shape("rect", { class: `span ${span.indicator}`, x, y: top, width: Math.max(4, frame.x(span.last + 1) - x), height, rx: 3 },
      shape("title", {}, `${span.title} (${INDICATORS[span.indicator]}), day ${span.first} to ${span.last}`));
    group.append(bar);
  }
  const words = SIGNS[spans[0].indicator] + spans[0].title;
  const length = words.length * LETTER + 12;
  const bars = spans.map((span) => [frame.x(span.first), frame.x(span.last + 1)]);
  const at = frame.isNarrow ? { x: Math.max(0, Math.min(bars[0][0], frame.width - length)), y: top - 4 } : { ...labelPlace(frame, bars, length), y: top + 13 };
  group.append(shape("text", { x: at.x, y: at.y, "text-anchor": at["text-anchor"], class: at.isInside ? "event-text" : "event-text halo" }, words));
  return group;
}

// Where the name of a card fits: inside a bar, before one, or after the last.
function labelPlace(frame, bars, length) {
  const roomy = bars.find(([start, end]) => end - start >= length);
  if (roomy) return { x: besideNow(frame, roomy[0] + 6, length, roomy[1]), isInside: true };
  const free = bars.find(([start], n) => start - length > (n ? bars[n - 1][1] : 0));
  if (free) return { x: free[0] - 6, "text-anchor": "end" };
  return { x: Math.min(bars[bars.length - 1][1] + 6, frame.width - length) };
}

// A label inside a bar begins after the line of "today" if that line would cut it and there is room.
function besideNow(frame, x, length, end) {
  return frame.now > x - 3 && frame.now < x + length && frame.now + length < end ? frame.now + 6 : x;
}

function now(frame, day, end, isToday) {
  const x = frame.x(day);
  const group = shape("g");
  const words = isToday ? "today" : `day ${day}`;
  group.append(shape("rect", { class: "veil", x: x + 1, y: frame.top - 2, width: Math.max(0, frame.width - frame.right - x), height: PAIN_HEIGHT + 2 }),
    shape("line", { class: "now", x1: x, x2: x, y1: frame.top - 8, y2: end }),
    shape("text", { class: "now-text", x, y: frame.top - 17, "text-anchor": x > frame.width - 40 ? "end" : "middle" }, words));
  return group;
}

export function tableOf(data) {
  const rows = [
    ...data.series.flatMap((line) => line.points.map((point) => [point.day, point.date, line.label, String(point.value)])),
    ...data.events.map((event) => [event.day, event.date, LANES.find(([lane]) => lane === event.lane)[1], event.label]),
  ].sort((one, other) => one[0] - other[0]);
  const cards = data.cards.map((card) => [card.first, "", `Card, ${INDICATORS[card.indicator].toLowerCase()}`, `${card.title}: day ${card.first} to ${card.last}`]);
  const line = (cells) => element("tr", {}, cells.map((cell) => element("td", {}, String(cell))));
  return element("table", {}, element("thead", {}, element("tr", {}, ["Day", "Date", "Kind", "What"].map((word) => element("th", { scope: "col" }, word)))),
    element("tbody", {}, [...rows, ...cards].map(line)));
}
