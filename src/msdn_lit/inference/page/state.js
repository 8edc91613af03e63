// The page's state: the model, the images and what the user chose, and how names are written.

const $ = (id) => document.getElementById(id);
const data = JSON.parse($("data").textContent);
const ROWS = 10; // of the explanation at first, and of the ranking
const state = {
  model: null,
  images: [],
  image: -1,
  classes: [],
  selected: null, // class whose score is explained
  rival: null, // class that it is compared with
  attribute: null,
  subnet: null,
  isGrouped: false,
  open: new Set(), // names of groups that are open
  more: ROWS, // rows of the explanation
};

const readable = (name) => name.replace(/^has_/, "").replace(/::/g, ": ").replace(/_/g, " ");
const short = (name) => name.replace(/^\d+\./, "").replace(/_/g, " ");
const number = (value) => value.toFixed(2).replace("-", "−");
const count = (value) => value.toLocaleString("en");
const fits = (text, typed) =>
  typed
    .toLowerCase()
    .split(/\s+/)
    .every((word) => text.toLowerCase().includes(word));

const currentImage = () => state.images[state.image];
const selectedClass = () => state.classes[state.selected];
const rivalClass = () => (state.rival === null ? null : state.classes[state.rival]);
const nameOf = (c) => short(state.classes[c].name);
const valuesOf = (one) => one.values || percent(one.row);
/** The images of which scores and leads are known. */
const evaluatedImages = () =>
  state.model.about?.stage === "val" ? "validation images" : "test images";
const isServed = () => Boolean(data.limit);

function setModel(model) {
  const K = model.attributes.length,
    rows = floats(model.rows);
  state.model = model;
  state.isGrouped = Boolean(model.groups);
  state.classes = model.classes.map(([name, domain, margin], c) => ({
    name,
    domain,
    margin,
    row: rows.slice(c * K, (c + 1) * K),
    original: rows.slice(c * K, (c + 1) * K),
    values: null,
  }));
}

/** Adds an image; `original` is a small copy of the whole photograph, if the browser has it. */
function addImage(image, original = null) {
  state.images.push({
    ...image,
    original,
    psi: floats(image.psi),
    attention: Object.fromEntries(
      Object.entries(image.attention).map(([name, text]) => [name, bytes(text)]),
    ),
  });
  show(state.images.length - 1);
}

function show(index) {
  Object.assign(state, { image: index, selected: null, rival: null, attribute: null });
  state.subnet = state.subnet || defaultSubnet(state.images[index]);
  draw();
}

const weightOf = (subnet) => state.model.weights?.[subnet];

/** The sub-net with the largest weight in the score. */
function defaultSubnet(image) {
  const names = Object.keys(image.attention);
  return names.sort((a, b) => (weightOf(b) ?? 0) - (weightOf(a) ?? 0))[0] ?? null;
}

/** Margin of a class that the model was not trained on. */
function marginOfNew() {
  const [known] = state.classes;
  return known.domain === "seen" ? -known.margin : known.margin;
}

const isNameTaken = (name) =>
  state.classes.some((one) => one.name === name || short(one.name) === name);

/** Adds a class and returns it; values: 0 to 100 of each attribute. */
function addClass(name, values, more = {}) {
  const row = unit(Float32Array.from(values)),
    one = { name, domain: "new", isAdded: true, margin: marginOfNew(), row, values };
  one.original = row.slice();
  state.classes.push(Object.assign(one, more));
  return one;
}

function setValue(one, k, value) {
  one.values = valuesOf(one);
  one.values[k] = value;
  one.row = unit(Float32Array.from(one.values));
}

/** Removes a class of the user, and with it what was chosen of it. */
function removeClass(c) {
  state.classes.splice(c, 1);
  Object.assign(state, { selected: null, rival: null, attribute: null });
}

const undoEdits = (one) => Object.assign(one, { row: one.original, values: null });
