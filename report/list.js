"use strict";
const data = JSON.parse(document.getElementById("data").textContent);
const PER_PAGE = 25;
let page = 0;
let group = null; // "step:group" once the completions of one group were asked for
const get = name => document.getElementById(name);
const fields = [...document.querySelectorAll(".bar select, .bar input")];

function element(tag, text, kind) {
  const made = document.createElement(tag);
  if (text) made.textContent = text;
  if (kind) made.className = kind;
  return made;
}
const shown = number => number === null || number === undefined ? "not scored" : String(Math.round(number * 1000) / 1000);
function draw(canvas, clip) {
  const width = canvas.width = 900, height = canvas.height = 96, pen = canvas.getContext("2d");
  pen.fillStyle = "#5b7fa6";
  clip.wave.forEach((peak, i) => {
    const x = i * width / clip.wave.length, tall = Math.max(1, peak * height);
    pen.fillRect(x, (height - tall) / 2, width / clip.wave.length, tall);
  });
  pen.fillStyle = "#d0402c";
  clip.pitch.forEach(point => {
    const x = point[0] / 100 / clip.duration_s * width;
    const y = height * (1 - Math.log2(point[1] / 55) / Math.log2(500 / 55));
    pen.fillRect(x - 1, y - 1, 3, 3);
  });
}
function sound(name) {
  const clip = data.clips[name];
  if (!clip) return [];
  const canvas = element("canvas");
  canvas.setAttribute("role", "img");
  canvas.setAttribute("aria-label", "waveform and pitch, " + clip.duration_s + " s");
  draw(canvas, clip);
  if (!clip.source) return [element("p", "No player: the sound did not fit into the page.", "facts"), canvas];
  const player = element("audio");
  player.controls = true; player.preload = "metadata"; player.src = clip.source;
  player.setAttribute("aria-label", name);
  return [player, canvas];
}
// Of several clips, each by its name; the row is about one of them.
function sounds(audio, clips) {
  if (!clips) return sound(audio);
  return clips.flatMap(name =>
    [element("div", (name === audio ? "the clip asked about: " : "heard beside it: ") + name, "facts"), ...sound(name)]);
}
const MEANINGS = { true: "borne out", half: "borderline", false: "contradicted", unknown: "not measured" };
function textBox(sample) {
  const box = element("div", "", "text");
  sample.pieces.forEach(piece => {
    const part = element("span", piece[0], piece[1]);
    if (piece[1]) part.title = MEANINGS[piece[1]];
    box.append(part);
  });
  return box;
}
const lowerText = sample => sample.pieces.map(piece => piece[0]).join("").toLowerCase();
const answered = sample => "answered " + (sample.answer === null ? "nothing readable" : sample.answer) + " \u00b7 " +
  (sample.move ? "clip moved, " + sample.move : sample.correct ? "right" : "wrong");
function scoreWords(sample) {
  const terms = Object.entries(sample.terms).map(([name, raw]) => {
    const weight = sample.weights ? sample.weights[name] : undefined;
    return name + " " + shown(raw) + (raw === null || weight === undefined ? "" : " x weight " + shown(weight));
  }).join(", ");
  const lines = terms ? [terms] : [];
  Object.entries(sample.scores || {}).forEach(([name, scores]) => lines.push(name + ", 1 to 5: " +
    Object.entries(scores).map(([what, score]) => what.replaceAll("_", " ") + " " + shown(score)).join(", ")));
  if ("reward" in sample) lines.push("trust " + shown(sample.trust) + " \u00b7 reward " + shown(sample.reward) +
    " \u00b7 advantage " + shown(sample.advantage));
  return lines;
}
const measuredWords = name => data.levels[name] ? [element("div", "measured: " + data.levels[name], "facts")] : [];

// By number; what has none comes last, whichever way the others go.
function sorted(items, valueOf, up) {
  const sign = up ? 1 : -1;
  return items.map((item, place) => [valueOf(item), place, item]).sort((a, b) => {
    if (a[0] === null || b[0] === null) return (a[0] === null) - (b[0] === null) || a[1] - b[1];
    return sign * (a[0] - b[0]) || a[1] - b[1];
  }).map(triple => triple[2]);
}

// The address holds what is chosen, so that a link, or loading the page again, shows the same.
function remember() {
  const state = new URLSearchParams();
  fields.forEach(field => {
    const text = field.type === "checkbox" ? (field.checked ? "1" : "") : field.value;
    if (text) state.set(field.id, text);
  });
  if (group) state.set("group", group);
  if (page) state.set("page", page + 1);
  const text = state.toString();
  if (text || location.hash.includes("&")) history.replaceState(history.state, "", "#samples" + (text && "&" + text));
}
function restore() {
  const at = location.hash.indexOf("&");
  const state = new URLSearchParams(at < 0 ? "" : location.hash.slice(at + 1));
  fields.forEach(field => {
    const text = state.get(field.id) || "";
    if (field.type === "checkbox") field.checked = text === "1";
    else field.value = text;
    if (field.selectedIndex < 0) field.selectedIndex = 0; // a link to a label that is not here
  });
  group = state.get("group");
  page = Math.max(0, (parseInt(state.get("page"), 10) || 1) - 1);
  return at >= 0;
}
function reset() {
  fields.forEach(field => { if (field.type === "checkbox") field.checked = false; else field.value = ""; });
  group = null; page = 0;
}

let remembering = 0; // browsers refuse an address that changes with every key
function show() {
  const want = Object.fromEntries(fields.map(field => [field.id, field.type === "checkbox" ? field.checked : field.value]));
  const found = chosen(want);
  const last = Math.max(0, Math.ceil(found.length / PER_PAGE) - 1);
  page = Math.min(page, last);
  get("page").textContent = found.length + " found" + (group ? " of one group" : "") + ", page " + (page + 1) + " of " + (last + 1);
  const cards = found.slice(page * PER_PAGE, (page + 1) * PER_PAGE).map(card);
  get("list").replaceChildren(...(cards.length ? cards : [element("p", "Nothing is like that.", "none")]));
  clearTimeout(remembering);
  remembering = setTimeout(remember, 200);
}
function turn(pages) {
  page = Math.max(0, page + pages);
  show();
  if (get("list").getBoundingClientRect().top < 0) get("list").scrollIntoView();
}
function start() {
  fields.forEach(field => field.addEventListener("input", () => { page = 0; show(); }));
  get("reset").addEventListener("click", () => { reset(); show(); });
  get("back").addEventListener("click", () => turn(-1));
  get("next").addEventListener("click", () => turn(1));
  addEventListener("hashchange", () => { if (location.hash.includes("&")) { restore(); show(); } else remember(); });
  const linked = restore();
  show();
  // Loaded again, the browser itself goes back to where the reader was.
  if (linked && performance.getEntriesByType("navigation")[0].type === "navigate") get("samples").scrollIntoView();
}
