"use strict";
const stage = document.getElementById("stage");
const source = document.getElementById("source");
const changed = document.getElementById("changed");

function filter() {
  let shown = 0;
  for (const section of document.querySelectorAll("section.stage")) {
    section.hidden = stage.value !== "" && section.dataset.stage !== stage.value;
    let sources = 0;
    for (const part of section.querySelectorAll("section.source")) {
      const unchanged = changed.checked && part.querySelector(".changed") === null;
      part.hidden = unchanged || (source.value !== "" && part.dataset.source !== source.value);
      for (const sample of part.querySelectorAll(".sample")) {
        sample.hidden = changed.checked && !sample.classList.contains("changed");
        if (!section.hidden && !part.hidden && !sample.hidden) shown += 1;
      }
      if (!part.hidden) sources += 1;
    }
    if (sources === 0) section.hidden = true;
    for (const segment of section.querySelectorAll(".bar span")) {
      segment.classList.toggle("faint", source.value !== "" && segment.dataset.source !== source.value);
    }
  }
  document.getElementById("count").textContent = shown === 1 ? "1 sample" : shown + " samples";
}

for (const control of [stage, source, changed]) control.addEventListener("change", filter);
filter();

document.addEventListener("pointerover", (event) => {
  const token = event.target.closest ? event.target.closest(".prompt .run > *") : null;
  if (token === null || token.title !== "") return;
  const ids = token.parentElement.dataset.ids.split(" ");
  token.title = "id " + ids[Array.prototype.indexOf.call(token.parentElement.children, token)];
});
