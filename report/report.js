"use strict";
const data = JSON.parse(document.getElementById("data").textContent);
const PER_PAGE = 25;
let page = 0;
let group = null; // "step:group" once the completions of one group were asked for
const get = name => document.getElementById(name);

function value(sample, key) {
  const found = key.startsWith("term:") ? sample.terms[key.slice(5)] : sample[key];
  return typeof found === "number" ? found : null;
}
function textOf(sample) {
  sample.lower ??= sample.pieces.map(piece => piece[0]).join("").toLowerCase();
  return sample.lower;
}
function claimsOf(sample) {
  const kinds = sample.pieces.map(piece => piece[1]).filter(Boolean);
  return kinds.length ? (kinds.includes("false") ? "false" : "sound") : "none";
}
const groupOf = sample => sample.step + ":" + sample.group;
function chosen(samples, want) {
  const kept = samples.filter(sample =>
    (!want.label || sample.label === want.label) &&
    (want.right === "" || Boolean(sample.correct) === (want.right === "1")) &&
    (!want.claims || claimsOf(sample) === want.claims) &&
    (want.group === null || groupOf(sample) === want.group) &&
    (!want.text || textOf(sample).includes(want.text.toLowerCase())));
  if (!want.sort) return kept;
  const sign = want.up ? 1 : -1;
  // What was not scored comes last, whichever way the others go.
  return kept.map((sample, place) => [sample, place]).sort((a, b) => {
    const x = value(a[0], want.sort), y = value(b[0], want.sort);
    if (x === null || y === null) return (x === null) - (y === null) || a[1] - b[1];
    return sign * (x - y) || a[1] - b[1];
  }).map(pair => pair[0]);
}

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
  pen.fillStyle = "#b03020";
  clip.pitch.forEach(point => {
    const x = point[0] / 100 / clip.duration_s * width;
    const y = height * (1 - Math.log2(point[1] / 55) / Math.log2(500 / 55));
    pen.fillRect(x - 1, y - 1, 3, 3);
  });
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
function termWords(sample) {
  return Object.entries(sample.terms).map(([name, raw]) => {
    const weight = sample.weights ? sample.weights[name] : undefined;
    return name + " " + shown(raw) + (raw === null || weight === undefined ? "" : " x weight " + shown(weight));
  }).join(", ");
}
function scoreWords(sample) {
  const lines = [];
  const terms = termWords(sample);
  if (terms) lines.push(terms);
  Object.entries(sample.scores || {}).forEach(([name, scores]) => lines.push(name + ", 1 to 5: " +
    Object.entries(scores).map(([what, score]) => what.replaceAll("_", " ") + " " + shown(score)).join(", ")));
  if ("reward" in sample) lines.push("trust " + shown(sample.trust) + " \u00b7 reward " + shown(sample.reward) +
    " \u00b7 advantage " + shown(sample.advantage));
  if (data.levels[sample.audio]) lines.push("measured: " + data.levels[sample.audio]);
  return lines;
}
function sound(clip) {
  if (!clip.source) return element("p", "No player: the sound did not fit into the page.", "facts");
  const player = element("audio");
  player.controls = true; player.preload = "none"; player.src = clip.source;
  return player;
}
function card(sample) {
  const box = element("article", "", sample.correct ? "right" : "");
  const head = element("header");
  const place = typeof sample.step === "number" ? " \u00b7 step " + sample.step : "";
  head.append(element("span", sample.id + place), element("span", "gold " + sample.label + " \u00b7 answered " +
    (sample.answer === null ? "nothing readable" : sample.answer) + " \u00b7 " + (sample.correct ? "right" : "wrong")));
  if (typeof sample.group === "number") {
    const button = element("button", "its group");
    button.type = "button"; button.title = "the completions of the same prompt and step";
    button.addEventListener("click", () => { reset(); group = groupOf(sample); show(); });
    head.append(button);
  }
  box.append(head, textBox(sample), ...scoreWords(sample).map(line => element("div", line, "facts")));
  const clip = data.clips[sample.audio];
  if (clip) {
    const canvas = element("canvas");
    canvas.setAttribute("role", "img");
    canvas.setAttribute("aria-label", "waveform and pitch, " + clip.duration_s + " s");
    box.append(sound(clip), canvas);
    draw(canvas, clip);
  }
  return box;
}

function reset() {
  ["label", "right", "claims", "sort", "text"].forEach(name => { get(name).value = ""; });
  get("up").checked = false;
  group = null; page = 0;
}
function show() {
  const found = chosen(data.samples, { label: get("label").value, right: get("right").value, claims: get("claims").value,
    sort: get("sort").value, up: get("up").checked, text: get("text").value, group: group });
  const last = Math.max(0, Math.ceil(found.length / PER_PAGE) - 1);
  page = Math.min(page, last);
  get("page").textContent = found.length + " found" + (group ? " of one group" : "") + ", page " + (page + 1) + " of " + (last + 1);
  const cards = found.slice(page * PER_PAGE, (page + 1) * PER_PAGE).map(card);
  get("list").replaceChildren(...(cards.length ? cards : [element("p", "No completion is like that.", "none")]));
}
if (data.samples.length) {
  ["label", "right", "claims", "sort", "up", "text"].forEach(name =>
    get(name).addEventListener("input", () => { page = 0; show(); }));
  get("reset").addEventListener("click", () => { reset(); show(); });
  get("back").addEventListener("click", () => { page = Math.max(0, page - 1); show(); });
  get("next").addEventListener("click", () => { page += 1; show(); });
  show();
}
