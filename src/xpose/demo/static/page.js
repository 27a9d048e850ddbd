// Runs once for each of the page's own parts, with `element` (the part), `props.value` (its HTML) and `trigger` (tells
// the server something through Gradio). Nothing is decided here: places are measured in pixels of the picture, files are
// delivered, and the server answers with new HTML. Text from people only ever goes in as textContent.

async function refresh(url, options) {
  const answer = await fetch(url, options);
  props.value = (await answer.json()).html;
}

// On the place to click every action waits for the one before it, so that quick clicks stay in order.
let before = Promise.resolve();

function send(action) {
  hideTip();
  if (!element.querySelector("[data-act]")) return trigger("act", action);
  before = before.then(async () => {
    const place = element.querySelector("[data-act]");
    if (place) await refresh(place.dataset.act, { method: "POST", body: JSON.stringify(action) });
  }).catch(lost);
}

function lost() {
  const note = document.createElement("p");
  note.className = "xp-note xp-problem";
  note.textContent = "The server did not answer. Try again, or reload the page.";
  element.prepend(note);
}

// --- parts that ask again until they are done ------------------------------------------------------------------------

let asking = false;

setInterval(async () => {
  const part = element.querySelector("[data-again]");
  if (!part || asking) return;
  asking = true;
  try { await refresh(part.dataset.again); } catch { /* the next try may reach the server */ }
  asking = false;
}, 400);

// --- buttons ---------------------------------------------------------------------------------------------------------

let zoom = 1;

element.addEventListener("click", (event) => {
  const button = event.target.closest("button");
  if (!button || button.disabled) return;
  if (button.dataset.zoom) {
    zoom = Math.min(8, Math.max(1, zoom * 2 ** Number(button.dataset.zoom)));
    element.style.setProperty("--xp-zoom", zoom);
  } else if (button.dataset.kind) {
    const action = { kind: button.dataset.kind };
    if (button.dataset.name !== undefined) action.name = button.dataset.name;
    if (button.dataset.tool !== undefined) action.tool = button.dataset.tool;
    if (button.dataset.at !== undefined) action.at = Number(button.dataset.at);
    send(action);
  }
});

// --- clicking, moving and boxing on a picture ------------------------------------------------------------------------

const NEAR = 4; // pixels of the screen: less is a click, more is a drag
let drag = null;

function spot(svg, event) {
  const frame = svg.getBoundingClientRect();
  return {
    x: ((event.clientX - frame.left) / frame.width) * Number(svg.dataset.width),
    y: ((event.clientY - frame.top) / frame.height) * Number(svg.dataset.height),
  };
}

element.addEventListener("pointerdown", (event) => {
  const svg = event.target.closest("svg.xp-click");
  if (!svg || event.button !== 0 || !event.isPrimary) return;
  const mark = event.target.closest(".xp-mark");
  const boxing = svg.classList.contains("xp-boxing");
  drag = { svg, mark: boxing ? null : mark, boxing, from: spot(svg, event), x: event.clientX, y: event.clientY, far: false };
  if (mark || boxing) {
    svg.setPointerCapture(event.pointerId);
    event.preventDefault();
  }
});

element.addEventListener("pointermove", (event) => {
  if (!drag) return;
  drag.far = drag.far || Math.hypot(event.clientX - drag.x, event.clientY - drag.y) > NEAR;
  if (!drag.far) return;
  const to = spot(drag.svg, event);
  if (drag.boxing) {
    const rubber = drag.svg.querySelector(".xp-rubber");
    rubber.setAttribute("x", Math.min(drag.from.x, to.x));
    rubber.setAttribute("y", Math.min(drag.from.y, to.y));
    rubber.setAttribute("width", Math.abs(to.x - drag.from.x));
    rubber.setAttribute("height", Math.abs(to.y - drag.from.y));
  } else if (drag.mark) {
    drag.mark.setAttribute("cx", to.x);
    drag.mark.setAttribute("cy", to.y);
  }
});

element.addEventListener("pointerup", (event) => {
  if (!drag) return;
  const { svg, mark, boxing, from, far } = drag;
  drag = null;
  const to = spot(svg, event);
  if (boxing && far) send({ kind: "box", x1: from.x, y1: from.y, x2: to.x, y2: to.y });
  else if (boxing) return;
  else if (mark) send(far ? { kind: "move", name: mark.dataset.name, ...to } : { kind: "choose", name: mark.dataset.name });
  else if (!far) send({ kind: "place", ...from });
});

element.addEventListener("pointercancel", () => { drag = null; });

// --- names where one points ------------------------------------------------------------------------------------------

function theTip() {
  let tip = document.getElementById("xp-tip");
  if (!tip) {
    tip = document.createElement("div");
    tip.id = "xp-tip";
    tip.hidden = true;
    document.body.append(tip);
  }
  return tip;
}

function hideTip() { theTip().hidden = true; }

element.addEventListener("pointerover", (event) => {
  const named = event.target.closest("[data-tip]");
  if (!named) return hideTip();
  const tip = theTip();
  tip.textContent = named.dataset.tip;
  tip.hidden = false;
  const left = Math.min(event.clientX + 14, document.documentElement.clientWidth - tip.offsetWidth - 6);
  tip.style.left = `${Math.max(6, left)}px`;
  tip.style.top = `${Math.max(6, event.clientY - tip.offsetHeight - 10)}px`;
});
element.addEventListener("pointerleave", hideTip);

// --- files -----------------------------------------------------------------------------------------------------------

async function deliver(zone, files) {
  const bar = zone.querySelector("progress");
  const arrived = [];
  const faults = [];
  bar.max = files.length;
  bar.hidden = files.length < 2;
  for (const [number, file] of files.entries()) {
    bar.value = number;
    if (file.size > Number(zone.dataset.most)) {
      faults.push({ large: file.name });
      continue;
    }
    try {
      const answer = await fetch(zone.dataset.url, {
        method: "POST",
        body: file,
        headers: { "X-Name": encodeURIComponent(file.name), "X-Number": String(number), "Content-Type": "application/octet-stream" },
      });
      const said = await answer.json();
      if (said.id) arrived.push(said.id);
      else faults.push({ message: String(said.message) });
    } catch {
      faults.push({ lost: file.name });
    }
  }
  bar.hidden = true;
  send({ kind: "uploaded", arrived, faults });
}

element.addEventListener("change", (event) => {
  const zone = event.target.closest(".xp-drop");
  if (!zone || !event.target.files.length) return;
  const files = [...event.target.files];
  event.target.value = ""; // so that the same file can be chosen again
  deliver(zone, files);
});

for (const kind of ["dragover", "dragleave", "drop"]) {
  element.addEventListener(kind, (event) => {
    const zone = event.target.closest(".xp-drop");
    if (!zone) return;
    event.preventDefault();
    zone.classList.toggle("xp-ready", kind === "dragover");
    const files = kind === "drop" ? [...event.dataTransfer.files] : [];
    if (files.length) deliver(zone, zone.querySelector("input").multiple ? files : files.slice(0, 1));
  });
}

// The page is left: the server may forget it soon, and not only when its time is over.
window.addEventListener("pagehide", () => {
  const zone = element.querySelector(".xp-drop");
  if (zone && document.querySelector(".xp-drop") === zone) navigator.sendBeacon(zone.dataset.url.replace(/upload\/.*/, "close"));
});
