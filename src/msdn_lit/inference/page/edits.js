// Changes of classes: values, new classes by description or from a file, and saving them.

const boxes = {}; // the text fields that search the classes

const classChoices = () =>
  state.classes.map((one) => ({ value: one.name, text: short(one.name) }));
const indexOf = (name) => state.classes.findIndex((one) => one.name === name);

function edit(k, input) {
  const value = Number(input.value);
  if (!(value >= 0 && value <= 100) || input.value === "") {
    say("A value is a number from 0 to 100.", "value-message");
    return;
  }
  setValue(selectedClass(), k, value);
  say("", "value-message");
  drawClasses();
  fillReasons(currentImage());
  drawPhrases();
  rememberLink();
}

function reset() {
  const one = selectedClass();
  if (one.isAdded) {
    if (boxes.like.value === one.name) setCombobox(boxes.like, null);
    removeClass(state.selected);
  } else undoEdits(one);
  say("", "value-message");
  draw();
  $("filter").focus();
}

/** The keys of a value: Enter leads to the next value, Escape and the left arrow to its row. */
function onReasonKey(event) {
  const line = event.target.closest("li"),
    row = event.target;
  if (row.tagName === "INPUT") {
    const next = { Enter: nextInput(line), Escape: line.firstElementChild }[event.key];
    if (event.key === "ArrowLeft") line.firstElementChild.focus();
    else next?.focus();
  } else if (event.key === "ArrowRight" && line.querySelector("input")) {
    event.preventDefault();
    line.querySelector("input").focus();
  } else if (toggles(row, event.key)) {
    event.preventDefault();
    row.click();
  }
}

const nextInput = (line) => {
  const inputs = [...$("attributes").querySelectorAll("input")];
  return inputs[inputs.indexOf(line.querySelector("input")) + 1];
};

const toggles = (row, key) =>
  row.getAttribute("aria-expanded") === { ArrowRight: "false", ArrowLeft: "true" }[key];

// ---- new classes ----------------------------------------------------------------------------

async function onAdd(event) {
  event.preventDefault();
  const sentence = $("description").value.trim(),
    name = $("name").value.trim() || sentence.slice(0, 60);
  if (!name || isNameTaken(name)) {
    const need = isServed() ? "Describe the class, or give it a name." : "The class needs a name.";
    say(name ? `There is a class “${name}” already.` : need, "class-message");
    return;
  }
  await addDescribed(name, sentence).catch((fault) => say(fault.message, "class-message"));
}

async function addDescribed(name, sentence) {
  const like = boxes.like.value,
    start = like === null ? null : state.classes[indexOf(like)],
    values = start ? [...valuesOf(start)] : state.model.attributes.map(() => 0);
  const found = sentence
    ? await request("describe", { method: "POST", body: sentence })
    : { values: {}, phrases: [] };
  for (const [k, value] of Object.entries(found.values)) values[k] = value;
  if (!start && sentence && !found.phrases.some(isKnown)) throw Error(NOTHING_KNOWN);
  addClass(name, values, { like, phrases: found.phrases });
  $("name").value = $("description").value = "";
  say(values.some((v) => v > 0) ? "" : "Give it attributes: set their values.", "class-message");
  choose(state.classes.length - 1);
}

const NOTHING_KNOWN = "No word of the description is in the model's attributes.";
const isKnown = ({ attributes, nearest }) => attributes.length + nearest.length > 0;

function choose(c) {
  Object.assign(state, { selected: c, rival: null, attribute: null });
  draw();
}

const NEAREST = { known: 3, unknown: 6 }; // attributes offered beside those of a phrase

/** Shows the phrases of the chosen class with their attributes, to be added and removed. */
function drawPhrases() {
  const phrases = selectedClass()?.phrases || [];
  $("phrases").hidden = !phrases.length;
  fillList(
    "phrases",
    phrases.map((phrase, p) => phraseElement(phrase, p)),
  );
}

function phraseElement({ text, attributes, nearest, value }, p) {
  const number = attributes.length ? NEAREST.known : NEAREST.unknown,
    others = nearest.filter((k) => !attributes.includes(k)),
    offered = [...attributes, ...others.slice(0, number)];
  const head = element("span", { className: "phrase", textContent: text });
  if (!attributes.length)
    head.append(element("small", { textContent: offered.length ? " nearest:" : " not known" }));
  const group = element("div", { className: "row", ariaLabel: text }, head);
  group.setAttribute("role", "group");
  group.append(...offered.map((k) => chip(k, `${p} ${k}`, value ?? 100)));
  return group;
}

function chip(k, key, value) {
  const isOn = valuesOf(selectedClass())[k] > 0;
  const toggle = () => {
    setValue(selectedClass(), k, isOn ? 0 : value);
    state.attribute = k;
    draw();
  };
  return item(key, isOn, {
    className: "chip",
    onclick: toggle,
    textContent: readable(state.model.attributes[k]),
  });
}

async function importFile(event) {
  const [file] = event.target.files;
  event.target.value = "";
  if (!file) return;
  const body = await file.text(),
    { classes } = await request("class-file", { method: "POST", body });
  const fresh = classes.filter(({ name }) => !isNameTaken(name)),
    taken = classes.filter(({ name }) => !fresh.some((one) => one.name === name));
  for (const { name, values } of fresh)
    addClass(name, Array.from(state.model.attributes, (_, k) => values[k] ?? 0));
  if (fresh.length) choose(state.classes.length - 1);
  const names = (list) => list.map(({ name }) => name).join(", ");
  const added = fresh.length ? `Added: ${names(fresh)}. ` : "",
    kept = taken.length ? `There already: ${names(taken)}.` : "";
  say(added + kept, "class-message");
}

function saveClasses() {
  const changed = state.classes.filter((one) => one.values),
    empty = changed.find((one) => !one.values.some((v) => v > 0));
  if (!changed.length) say("Nothing was added or edited yet.", "class-message");
  else if (empty) say(`“${short(empty.name)}” has no attributes yet.`, "class-message");
  else {
    say("", "class-message");
    download("classes.yaml", new Blob([classFile(state.classes, state.model.attributes)]));
  }
}
