const SIDES = ["A", "B"];
const OUTCOMES = {
  differ: pair => pair.differ,
  first: pair => pair.sides[0].correct && !pair.sides[1].correct,
  second: pair => !pair.sides[0].correct && pair.sides[1].correct,
  both: pair => pair.sides.every(side => side.correct),
  neither: pair => !pair.sides.some(side => side.correct),
};
function change(pair, term) {
  const [first, second] = pair.sides.map(side => side.terms[term]);
  return typeof first === "number" && typeof second === "number" ? second - first : null;
}
function chosen(want) {
  const kept = data.pairs.filter(pair =>
    (!want.outcome || OUTCOMES[want.outcome](pair)) &&
    (!want.label || pair.sides.some(side => side.label === want.label)) &&
    (!want.text || (pair.lower ??= pair.id.toLowerCase() + " " + pair.sides.map(lowerText).join(" ")).includes(want.text.toLowerCase())));
  return want.sort ? sorted(kept, pair => change(pair, want.sort), want.up) : kept;
}
function column(side, name) {
  const box = element("section", "", side.correct ? "right" : "");
  box.append(element("header", name + " " + answered(side)), textBox(side),
    ...scoreWords(side).map(line => element("div", line, "facts")));
  return box;
}
function card(pair) {
  const box = element("article", "", "pair");
  const golds = [...new Set(pair.sides.map(side => side.label))];
  const head = element("header");
  head.append(element("span", pair.id), element("span", "gold " + golds.join(" in A, ") + (golds.length > 1 ? " in B" : "")));
  const columns = element("div", "", "columns");
  columns.append(...pair.sides.map((side, index) => column(side, SIDES[index])));
  box.append(head, ...measuredWords(pair.audio), ...sounds(pair.audio, pair.clips), columns);
  if (pair.other_audio) box.append(element("div", "B heard another file: " + pair.other_audio, "facts"));
  return box;
}
start();
