// Puts the page together; what is first seen is drawn first.

document.title = `${REPORT.source}: captioning report`;
drawTop(document.getElementById("top"));
drawScores(document.getElementById("scores"));
const gallery = new Gallery(document.getElementById("gallery"), document.getElementById("viewer"));
gallery.readAddress();
requestAnimationFrame(() => {
  drawTraining(document.getElementById("training"));
  drawData(document.getElementById("data"));
  drawRun(document.getElementById("run"));
  gallery.scrollToAddress();
  document.documentElement.dataset.ready = "yes";
});
addEventListener("beforeprint", () => {
  for (const part of document.querySelectorAll(".folded")) part.open = true;
});
addEventListener("hashchange", () => {
  gallery.readAddress();
  gallery.scrollToAddress();
});

document.getElementById("theme").addEventListener("click", () => {
  const root = document.documentElement;
  const dark = root.dataset.theme ? root.dataset.theme === "dark" : matchMedia("(prefers-color-scheme: dark)").matches;
  root.dataset.theme = dark ? "light" : "dark";
});
