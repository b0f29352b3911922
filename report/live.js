// The page of a run that goes on is loaded again once it was written again, but not under a clip that
// plays, a hand that types, or eyes elsewhere.
const everyS = Number(document.body.dataset.everyS);
if (everyS) {
  const box = get("live");
  let touched = -Infinity;
  box.checked = !(history.state && history.state.paused);
  box.addEventListener("change", () => history.replaceState({ paused: !box.checked }, ""));
  ["keydown", "pointerdown"].forEach(name => addEventListener(name, () => { touched = performance.now(); }));
  const busy = () => !box.checked || document.hidden || performance.now() - touched < 2000 ||
    [...document.querySelectorAll("audio")].some(player => !player.paused);
  const writtenAgain = async () => {
    if (location.protocol === "file:") return true; // a file cannot be asked
    const reply = await fetch(location.pathname, { method: "HEAD", cache: "no-store" });
    await reply.text(); // empty, but an answer left unread counts as broken off
    return reply.ok && !(Date.parse(reply.headers.get("Last-Modified")) <= Date.parse(document.lastModified));
  };
  const look = async () => {
    if (busy()) return setTimeout(look, 1000);
    const again = await writtenAgain().then(yes => { get("silent").hidden = true; return yes; },
      () => { get("silent").hidden = false; return false; });
    if (!again || busy()) return setTimeout(look, everyS * 1000);
    if (fields.length) remember();
    location.reload();
  };
  setTimeout(look, everyS * 1000);
}
