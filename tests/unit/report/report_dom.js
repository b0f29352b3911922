// A document that is just large enough to run the report's own script: node report_dom.js PAGE STEPS
// STEPS is JSON: a list of [id, "set" | "check" | "click", value]; prints what the page shows after each.
"use strict";
const fs = require("fs");
const page = fs.readFileSync(process.argv[2], "utf8");
let made = 0;
class Element {
  constructor(tag) {
    made += 1;
    Object.assign(this, { tag, children: [], listeners: {}, value: "", checked: false, textContent: "" });
  }
  append(...more) { this.children.push(...more); }
  replaceChildren(...others) { this.children = others; }
  addEventListener(name, action) { this.listeners[name] = action; }
  setAttribute(name, text) { this[name] = text; }
  getContext() {
    return { fillRect(...numbers) { if (!numbers.every(Number.isFinite)) throw new Error("not drawn"); } };
  }
  find(tag) { return [...(this.tag === tag ? [this] : []), ...this.children.flatMap(child => child.find(tag))]; }
  text() { return this.textContent + this.children.map(child => child.text()).join(""); }
}
const byId = {};
const document = { getElementById: id => byId[id] ??= new Element("div"), createElement: tag => new Element(tag) };
document.getElementById("data").textContent =
  page.match(/<script type="application\/json" id="data">([^]*?)<\/script>/)[1];
new Function("document", page.match(/<script>([^]*?)<\/script>/)[1])(document);
const look = () => ({
  page: byId.page.textContent,
  elements: made,
  cards: byId.list.children.map(card => card.text()),
  kinds: byId.list.find("span").filter(part => part.className).map(part => [part.textContent, part.className]),
  players: byId.list.find("audio").map(player => [player.src, player.preload, player.controls]),
});
const seen = [look()];
for (const [id, action, value] of JSON.parse(process.argv[3])) {
  if (action === "group") byId.list.children[value].find("button")[0].listeners.click();
  else if (action === "click") byId[id].listeners.click();
  else {
    byId[id][action === "check" ? "checked" : "value"] = value;
    byId[id].listeners.input();
  }
  seen.push(look());
}
console.log(JSON.stringify(seen));
