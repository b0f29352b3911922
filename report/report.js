function value(sample, key) {
  const score = key.startsWith("term:") ? sample.terms[key.slice(5)] : sample[key];
  return typeof score === "number" ? score : null;
}
function claimsOf(sample) {
  const kinds = sample.pieces.map(piece => piece[1]).filter(Boolean);
  return kinds.length ? (kinds.includes("false") ? "false" : "sound") : "none";
}
const groupOf = sample => sample.step + ":" + sample.group;
function chosen(want) {
  const kept = data.samples.filter(sample =>
    (!want.label || sample.label === want.label) &&
    (want.right === "" || sample.correct === (want.right === "1")) &&
    (!want.claims || claimsOf(sample) === want.claims) &&
    (group === null || groupOf(sample) === group) &&
    (!want.text || (sample.lower ??= lowerText(sample)).includes(want.text.toLowerCase())));
  return want.sort ? sorted(kept, sample => value(sample, want.sort), want.up) : kept;
}
function card(sample) {
  const box = element("article", "", sample.correct ? "right" : "");
  const head = element("header");
  const place = typeof sample.step === "number" ? " \u00b7 step " + sample.step : "";
  head.append(element("span", sample.id + place), element("span", "gold " + sample.label + " \u00b7 " + answered(sample)));
  if (typeof sample.group === "number") {
    const button = element("button", "its group");
    button.type = "button"; button.title = "the completions of the same prompt and step";
    // The button goes with its card: whoever works with keys stands at the way back.
    button.addEventListener("click", () => { reset(); group = groupOf(sample); show(); get("reset").focus(); });
    head.append(button);
  }
  box.append(head, textBox(sample), ...scoreWords(sample).map(line => element("div", line, "facts")),
    ...measuredWords(sample.audio), ...sounds(sample.audio, sample.clips));
  return box;
}
if (data.samples.length) start();
