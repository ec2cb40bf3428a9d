// Sends pictures, one after the other, and shows each with its captions. Text enters the page as text, never as HTML.
"use strict";

const byId = (id) => document.getElementById(id);
let turn = Promise.resolve(); // of the pictures that wait

async function asked(address, options) {
  let response;
  try {
    response = await fetch(address, options);
  } catch {
    throw new Error("the captioner does not answer; is `python -m app --web` still running?");
  }
  const answer = await response.json().catch(() => ({ error: `the captioner failed (${response.status}); its terminal says why` }));
  if (!response.ok) throw new Error(answer.error);
  return answer;
}

/** A card at the top of the page, whose captions come when it is the picture's turn. */
function show(picture) {
  if (!byId("ask").reportValidity()) return;
  const [captioner, count] = [byId("captioner"), byId("count").value];
  const [kind, title] = [captioner.value, captioner.selectedOptions[0].textContent];
  const figure = document.createElement("figure");
  const image = document.createElement("img");
  const caption = document.createElement("figcaption");
  image.src = URL.createObjectURL(picture);
  image.alt = picture.name;
  image.onload = image.onerror = () => URL.revokeObjectURL(image.src);
  caption.append(line("by", "waiting …"));
  figure.append(image, caption);
  figure.setAttribute("aria-busy", "true");
  byId("results").prepend(figure);
  turn = turn.then(async () => {
    try {
      const address = `captions?captioner=${kind}&captions=${count}`;
      const { captions } = await asked(address, {
        method: "POST", body: picture, headers: { "Content-Type": "application/octet-stream" },
      });
      const list = document.createElement("ol");
      for (const text of captions) list.append(Object.assign(document.createElement("li"), { textContent: text }));
      caption.replaceChildren(list, line(`by of-${kind}`, `${title} on ${picture.name}`));
      image.alt = captions[0];
    } catch (error) {
      caption.replaceChildren(line("fault", error.message), line(`by of-${kind}`, `${title} on ${picture.name}`));
    }
    figure.setAttribute("aria-busy", "false");
  });
}

function line(name, text) {
  return Object.assign(document.createElement("p"), { className: name, textContent: text });
}

function watch() {
  const [field, drop] = [byId("pictures"), byId("drop")];
  field.addEventListener("change", () => {
    for (const picture of field.files) show(picture);
    field.value = ""; // the same picture may be asked about again
  });
  for (const [event, over] of [["dragover", true], ["dragleave", false], ["drop", false]]) {
    document.addEventListener(event, (dragged) => {
      dragged.preventDefault();
      drop.classList.toggle("over", over);
    });
  }
  document.addEventListener("drop", (dropped) => [...dropped.dataTransfer.files].forEach(show));
  document.addEventListener("paste", (pasted) => [...pasted.clipboardData.files].forEach(show));
  byId("ask").addEventListener("submit", (event) => event.preventDefault());
}

asked("captioners").then((captioners) => {
  for (const [kind, title] of Object.entries(captioners)) byId("captioner").add(new Option(title, kind));
  watch();
  document.documentElement.dataset.ready = "yes";
}).catch((error) => byId("ask").replaceChildren(line("fault", error.message)));
