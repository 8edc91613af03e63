// What the page shows and what a user does with it; class_scores.js, which comes first, computes.

// ---- state ---------------------------------------------------------------------------------------------------------

const data = JSON.parse(document.getElementById("data").textContent);
const state = { images: [], image: -1, classes: [], selected: null, attribute: null, subnet: null, more: 10 };
const $ = (id) => document.getElementById(id);
const readable = (name) => name.replace(/^has_/, "").replace(/::/g, ": ").replace(/_/g, " ");
const fits = (text, typed) => typed.toLowerCase().split(/\s+/).every((word) => text.toLowerCase().includes(word));
const short = (name) => name.replace(/^\d+\./, "").replace(/_/g, " ");

function setModel(model) {
  state.model = model;
  const K = model.attributes.length, rows = floats(model.rows);
  state.classes = model.classes.map(([name, side, margin], c) => ({
    name, side, margin, row: rows.slice(c * K, (c + 1) * K), original: rows.slice(c * K, (c + 1) * K), values: null }));
  $("like").replaceChildren(new Option("from nothing", ""), ...state.classes.map((one, c) => new Option(`like ${short(one.name)}`, c)));
}

function addImage(image) {
  state.images.push({ ...image, psi: floats(image.psi), attention: Object.fromEntries(
    Object.entries(image.attention).map(([name, text]) => [name, bytes(text)])) });
  show(state.images.length - 1);
}

function show(index) {
  Object.assign(state, { image: index, selected: null, attribute: null });
  state.subnet = state.subnet || Object.keys(state.images[index].attention)[0];
  draw();
}

// ---- drawing -------------------------------------------------------------------------------------------------------

function element(tag, properties = {}, ...children) {
  const made = Object.assign(document.createElement(tag), properties);
  made.append(...children);
  return made;
}

function bar(value, most) {
  const width = `${most ? Math.min(100, 100 * Math.abs(value) / most) : 0}%`;
  const inner = element("i", { className: value < 0 ? "against" : "for" });
  inner.style.width = width;
  return element("span", { className: "bar", ariaHidden: "true" }, inner);
}

function draw() {
  const image = state.images[state.image];
  drawClasses();
  if (!image) return;
  drawAttributes(image);
  drawPicture(image);
}

/** All that depends on every class: the pictures' best ones, the ranking, and what would change it. */
function drawClasses() {
  const image = state.images[state.image];
  $("result").hidden = !image;
  $("pictures").replaceChildren(...(state.images.length > 1 ? state.images : []).map((one, i) => {
    const top = ranking(one.psi, state.classes)[0];
    const button = element("button", { type: "button", title: one.name, onclick: () => { show(i); focusOn("pictures", i); } },
      element("img", { src: one.picture, alt: "" }), element("span", { textContent: short(state.classes[top.c].name) }));
    button.dataset.key = i;
    button.setAttribute("aria-pressed", i === state.image);
    return button;
  }));
  if (!image) return;
  const ranked = ranking(image.psi, state.classes);
  if (state.selected === null) state.selected = ranked[0].c;
  drawRanking(ranked);
  drawFlips(image);
}

function drawRanking(ranked) {
  const best = ranked[0].score, range = Math.max(1e-9, best - ranked[Math.min(ranked.length, 10) - 1].score);
  const shown = ranked.filter(({ c }) => fits(short(state.classes[c].name), $("find").value)).slice(0, 10);
  if (!shown.some(({ c }) => c === state.selected)) shown.push(ranked.find(({ c }) => c === state.selected));
  $("ranking").replaceChildren(...shown.map(({ c, score }) => {
    const one = state.classes[c], place = ranked.findIndex((each) => each.c === c) + 1;
    const button = element("button", { type: "button", onclick: () => { state.selected = c; draw(); focusOn("ranking", c); } },
      element("b", { textContent: `${place}. ${short(one.name)}` }),
      element("small", { textContent: one.values && one.side !== "new" ? "edited" : one.side }),
      element("output", { textContent: score.toFixed(2) }), bar(Math.max(0, score - best + range), range));
    button.dataset.key = c;
    button.setAttribute("aria-pressed", c === state.selected);
    return element("li", {}, button);
  }));
}

function drawAttributes(image) {
  const one = state.classes[state.selected], names = state.model.attributes, values = one.values || percent(one.row);
  const parts = Array.from(one.row, (v, k) => ({ k, part: v * image.psi[k] })).sort((a, b) => Math.abs(b.part) - Math.abs(a.part));
  if (state.attribute === null) state.attribute = parts[0].k;
  const fitting = parts.filter(({ k }) => fits(readable(names[k]), $("filter").value));
  $("why").textContent = `Why ${short(one.name)}?`;
  $("attributes").replaceChildren(...fitting.slice(0, state.more).map(({ k }) => {
    const look = () => { state.attribute = k; drawPicture(image); markAttribute(); };
    const button = element("button", { type: "button", onclick: look, onmouseenter: look, onfocus: look },
      element("span", { textContent: readable(names[k]) }), element("output"), bar(0, 1));
    button.dataset.key = k;
    const value = element("input", { type: "number", min: 0, max: 100, step: 1, value: Math.round(values[k]),
      ariaLabel: `${readable(names[k])} of ${short(one.name)}, 0 to 100`, oninput: (event) => edit(k, event.target),
      onfocus: look, onchange: (event) => { event.target.value = Math.round((one.values || percent(one.row))[k]); } });
    return element("li", {}, button, value);
  }));
  $("more").hidden = fitting.length <= state.more;
  markAttribute();
  fillAttributes(image);
}

/** Contributions, and which values are not the original ones, in the rows that are there: they stay while one is typed. */
function fillAttributes(image) {
  const one = state.classes[state.selected], parts = Array.from(one.row, (v, k) => v * image.psi[k]);
  const most = Math.max(...parts.map(Math.abs)), before = percent(one.original);
  for (const button of $("attributes").querySelectorAll("button")) {
    const k = button.dataset.key, value = button.nextSibling, isChanged = one.values && Math.abs(one.values[k] - before[k]) > 0.01;
    button.querySelector("output").textContent = parts[k].toFixed(2);
    button.querySelector(".bar").replaceWith(bar(parts[k], most));
    value.className = isChanged ? "changed" : "";
    value.title = isChanged ? `was ${Math.round(before[k])}` : "";
  }
  $("reset").hidden = !one.values;
  $("reset").textContent = one.side === "new" ? "Remove this class" : "Undo my edits";
}

function markAttribute() {
  for (const button of $("attributes").querySelectorAll("button")) {
    button.setAttribute("aria-pressed", Number(button.dataset.key) === state.attribute);
  }
}

function drawFlips(image) {
  const names = state.model.attributes;
  $("flips").replaceChildren(...flips(image.psi, state.classes).slice(0, 3).map(({ rival, lead, attribute, change }) =>
    element("li", { textContent: `${short(state.classes[rival].name)} (behind by ${lead.toFixed(2)}) would win if the score of ` +
      `“${readable(names[attribute])}”, now ${image.psi[attribute].toFixed(2)}, ${change > 0 ? "rose" : "fell"} by ${Math.abs(change).toFixed(2)}.` })));
}

const BARE = "picture alone";

function drawPicture(image) {
  const [rows, columns] = image.grid, canvas = $("heat"), size = rows * columns;
  canvas.hidden = $("scale").hidden = state.subnet === BARE;
  const map = (image.attention[state.subnet] || new Uint8Array(0)).subarray(state.attribute * size, (state.attribute + 1) * size);
  Object.assign(canvas, { width: columns, height: rows });
  if (!canvas.hidden) canvas.getContext("2d").putImageData(new ImageData(colours(map), columns, rows), 0, 0);
  $("picture").src = image.picture;
  $("picture").alt = image.name;
  const shown = readable(state.model.attributes[state.attribute]);
  $("caption").textContent = canvas.hidden ? "As the model gets it" : `${short(state.subnet)}: where it looks for “${shown}”`;
  $("subnets").replaceChildren(...[...Object.keys(image.attention), BARE].map((name) => {
    const button = element("button", { type: "button", textContent: short(name), onclick: () => { state.subnet = name; drawPicture(image); focusOn("subnets", name); } });
    button.dataset.key = name;
    button.setAttribute("aria-pressed", name === state.subnet);
    return button;
  }));
}

// ---- what a user does ----------------------------------------------------------------------------------------------

function focusOn(list, key) { $(list).querySelector(`[data-key="${key}"]`)?.focus(); }

/** Arrow keys, Home and End go through the buttons of a list. */
function walk(event) {
  const step = { ArrowDown: 1, ArrowRight: 1, ArrowUp: -1, ArrowLeft: -1, Home: -Infinity, End: Infinity }[event.key];
  const buttons = [...event.currentTarget.querySelectorAll("button")], at = buttons.indexOf(document.activeElement);
  if (!step || at < 0) return;
  event.preventDefault();
  buttons[Math.max(0, Math.min(buttons.length - 1, at + step))].focus();
}

function edit(k, input) {
  const one = state.classes[state.selected], value = Number(input.value);
  if (!(value >= 0 && value <= 100) || input.value === "") { say("A value is a number from 0 to 100."); return; }
  one.values = one.values || percent(one.row);
  one.values[k] = value;
  one.row = unit(Float32Array.from(one.values));
  say("");
  drawClasses();
  fillAttributes(state.images[state.image]);
}

function reset() {
  const one = state.classes[state.selected];
  if (one.side === "new") {
    state.classes.splice(state.selected, 1);
    Object.assign(state, { selected: null, attribute: null });
  } else Object.assign(one, { row: one.original, values: null });
  draw();
  $("filter").focus();
}

function addClass(event) {
  event.preventDefault();
  const name = $("name").value.trim(), like = $("like").value;
  if (!name || state.classes.some((one) => one.name === name || short(one.name) === name)) {
    say(name ? `There is a class “${name}” already.` : "The class needs a name.");
    return;
  }
  const row = like === "" ? new Float32Array(state.model.attributes.length) : state.classes[like].row;
  const [known] = state.classes, margin = known.side === "seen" ? -known.margin : known.margin; // as one not trained on
  state.classes.push({ name, side: "new", margin, row: row.slice(), original: row.slice(), values: percent(row) });
  $("name").value = "";
  state.selected = state.classes.length - 1;
  say(like === "" ? "Give it attributes: find them below and set their values." : "");
  draw();
  $("filter").focus();
}

function save() {
  const changed = state.classes.filter((one) => one.values);
  if (!changed.length) { say("Nothing was added or edited yet."); return; }
  const empty = changed.find((one) => !one.values.some((v) => v > 0));
  if (empty) { say(`“${short(empty.name)}” has no attributes yet.`); return; }
  const link = element("a", { download: "classes.yaml", href: URL.createObjectURL(new Blob([classFile(state.classes, state.model.attributes)])) });
  link.click();
  URL.revokeObjectURL(link.href);
}

function say(text) { $("message").textContent = text; }

/** What the program behind the page answers. */
async function ask(path, options) {
  const answer = await fetch(path, options).catch(() => { throw Error("The program behind this page does not answer. Start msdn-app again."); });
  const content = await answer.json();
  if (!answer.ok) throw Error(content.error);
  return content;
}

async function send(file) {
  const name = file.name || "The picture";
  if (file.size > data.limit) throw Error(`${name} is larger than ${Math.round(data.limit / 1e6)} MB.`);
  say(`Looking at ${name} …`);
  addImage(await ask("predict", { method: "POST", body: file, headers: { "X-Name": encodeURIComponent(name) } }));
}

let queue = Promise.resolve(); // the model, then pictures one after the other, so that no message hides another's

function sendAll(files) {
  const chosen = [...files];
  queue = queue.then(async () => {
    const faults = [];
    for (const file of chosen) await send(file).catch((fault) => faults.push(fault.message));
    say(chosen.length ? faults.join(" ") : "That is no picture's file.");
  });
}

async function startApp() {
  $("drop").hidden = false;
  $("file").onchange = (event) => { sendAll(event.target.files); event.target.value = ""; };
  document.ondragover = (event) => event.preventDefault();
  document.ondrop = (event) => { event.preventDefault(); sendAll(event.dataTransfer.files); };
  document.onpaste = (event) => { if (event.clipboardData.files.length) sendAll(event.clipboardData.files); };
  say("The model is loading …");
  const content = await ask("model");
  setModel(content);
  say("");
  $("samples").replaceChildren(...content.samples.map((name, i) => element("button", { type: "button", title: name,
    onclick: async () => sendAll([new File([await (await fetch(`samples/${i}`)).blob()], name)]) },
  element("img", { src: `samples/${i}`, alt: name }))));
  document.body.dataset.ready = "yes";
}

$("add").onsubmit = addClass;
$("save").onclick = save;
$("reset").onclick = reset;
$("more").onclick = () => { state.more += 20; draw(); };
$("find").oninput = drawClasses;
$("filter").oninput = () => { state.more = 10; draw(); };
for (const list of ["samples", "pictures", "subnets", "ranking", "attributes"]) $(list).onkeydown = walk;
if (data.model) {
  setModel(data.model);
  data.images.forEach(addImage);
  show(0);
  document.body.dataset.ready = "yes";
} else if (data.limit) { // a page of no picture that could be read has no program behind it
  queue = startApp().catch((fault) => say(fault.message));
}
