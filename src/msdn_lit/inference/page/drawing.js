// The page's state and display. class_scores.js, which comes before, computes.

// ---- state ----------------------------------------------------------------------------------

const data = JSON.parse(document.getElementById("data").textContent);
const state = {
  images: [],
  image: -1,
  classes: [],
  selected: null,
  attribute: null,
  subnet: null,
  more: 10,
};
const $ = (id) => document.getElementById(id);
const readable = (name) => name.replace(/^has_/, "").replace(/::/g, ": ").replace(/_/g, " ");
const fits = (text, typed) =>
  typed
    .toLowerCase()
    .split(/\s+/)
    .every((word) => text.toLowerCase().includes(word));
const short = (name) => name.replace(/^\d+\./, "").replace(/_/g, " ");

function setModel(model) {
  state.model = model;
  const K = model.attributes.length,
    rows = floats(model.rows);
  state.classes = model.classes.map(([name, domain, margin], c) => ({
    name,
    domain,
    margin,
    row: rows.slice(c * K, (c + 1) * K),
    original: rows.slice(c * K, (c + 1) * K),
    values: null,
  }));
  $("like").replaceChildren(
    new Option("from nothing", ""),
    ...state.classes.map((one, c) => new Option(`like ${short(one.name)}`, c)),
  );
}

function addImage(image) {
  state.images.push({
    ...image,
    psi: floats(image.psi),
    attention: Object.fromEntries(
      Object.entries(image.attention).map(([name, text]) => [name, bytes(text)]),
    ),
  });
  show(state.images.length - 1);
}

function show(index) {
  Object.assign(state, { image: index, selected: null, attribute: null });
  state.subnet = state.subnet || Object.keys(state.images[index].attention)[0];
  draw();
}

// ---- drawing --------------------------------------------------------------------------------

function element(tag, properties = {}, ...children) {
  const made = Object.assign(document.createElement(tag), properties);
  made.append(...children);
  return made;
}

function bar(value, most) {
  const width = `${most ? Math.min(100, (100 * Math.abs(value)) / most) : 0}%`;
  const inner = element("i", { className: value < 0 ? "against" : "for" });
  inner.style.width = width;
  return element("span", { className: "bar", ariaHidden: "true" }, inner);
}

function draw() {
  const image = state.images[state.image];
  drawClasses();
  if (!image) return;
  drawAttributes(image);
  drawImage(image);
}

/** Draws what depends on all classes: the images' predictions, ranking and counterfactuals. */
function drawClasses() {
  const image = state.images[state.image];
  $("result").hidden = !image;
  $("images").replaceChildren(
    ...(state.images.length > 1 ? state.images : []).map((one, i) => {
      const top = ranking(one.psi, state.classes)[0];
      const button = element(
        "button",
        {
          type: "button",
          title: one.name,
          onclick: () => {
            show(i);
            focusOn("images", i);
          },
        },
        element("img", { src: one.image, alt: "" }),
        element("span", { textContent: short(state.classes[top.c].name) }),
      );
      button.dataset.key = i;
      button.setAttribute("aria-pressed", i === state.image);
      return button;
    }),
  );
  if (!image) return;
  const ranked = ranking(image.psi, state.classes);
  if (state.selected === null) state.selected = ranked[0].c;
  drawRanking(ranked);
  drawCounterfactuals(image);
}

function drawRanking(ranked) {
  const best = ranked[0].score,
    range = Math.max(1e-9, best - ranked[Math.min(ranked.length, 10) - 1].score);
  const shown = ranked
    .filter(({ c }) => fits(short(state.classes[c].name), $("find").value))
    .slice(0, 10);
  if (!shown.some(({ c }) => c === state.selected))
    shown.push(ranked.find(({ c }) => c === state.selected));
  $("ranking").replaceChildren(
    ...shown.map(({ c, score }) => {
      const one = state.classes[c],
        rank = ranked.findIndex((each) => each.c === c) + 1;
      const button = element(
        "button",
        {
          type: "button",
          onclick: () => {
            state.selected = c;
            draw();
            focusOn("ranking", c);
          },
        },
        element("b", { textContent: `${rank}. ${short(one.name)}` }),
        element("small", {
          textContent: one.values && one.domain !== "new" ? "edited" : one.domain,
        }),
        element("output", { textContent: score.toFixed(2) }),
        bar(Math.max(0, score - best + range), range),
      );
      button.dataset.key = c;
      button.setAttribute("aria-pressed", c === state.selected);
      return element("li", {}, button);
    }),
  );
}

function drawAttributes(image) {
  const one = state.classes[state.selected],
    names = state.model.attributes,
    values = one.values || percent(one.row);
  const parts = Array.from(one.row, (v, k) => ({ k, part: v * image.psi[k] })).sort(
    (a, b) => Math.abs(b.part) - Math.abs(a.part),
  );
  if (state.attribute === null) state.attribute = parts[0].k;
  const fitting = parts.filter(({ k }) => fits(readable(names[k]), $("filter").value));
  $("why").textContent = `Why ${short(one.name)}?`;
  $("attributes").replaceChildren(
    ...fitting.slice(0, state.more).map(({ k }) => {
      const showMap = () => {
        state.attribute = k;
        drawImage(image);
        markAttribute();
      };
      const button = element(
        "button",
        { type: "button", onclick: showMap, onmouseenter: showMap, onfocus: showMap },
        element("span", { textContent: readable(names[k]) }),
        element("output"),
        bar(0, 1),
      );
      button.dataset.key = k;
      const value = element("input", {
        type: "number",
        min: 0,
        max: 100,
        step: 1,
        value: Math.round(values[k]),
        ariaLabel: `${readable(names[k])} of ${short(one.name)}, 0 to 100`,
        oninput: (event) => edit(k, event.target),
        onfocus: showMap,
        onchange: (event) => {
          event.target.value = Math.round((one.values || percent(one.row))[k]);
        },
      });
      return element("li", {}, button, value);
    }),
  );
  $("more").hidden = fitting.length <= state.more;
  markAttribute();
  fillAttributes(image);
}

/** Updates contributions and marks of edited values in place, so that an input keeps the focus. */
function fillAttributes(image) {
  const one = state.classes[state.selected],
    parts = Array.from(one.row, (v, k) => v * image.psi[k]);
  const most = Math.max(...parts.map(Math.abs)),
    before = percent(one.original);
  for (const button of $("attributes").querySelectorAll("button")) {
    const k = button.dataset.key,
      value = button.nextSibling,
      isChanged = one.values && Math.abs(one.values[k] - before[k]) > 0.01;
    button.querySelector("output").textContent = parts[k].toFixed(2);
    button.querySelector(".bar").replaceWith(bar(parts[k], most));
    value.className = isChanged ? "changed" : "";
    value.title = isChanged ? `was ${Math.round(before[k])}` : "";
  }
  $("reset").hidden = !one.values;
  $("reset").textContent = one.domain === "new" ? "Remove this class" : "Undo my edits";
}

function markAttribute() {
  for (const button of $("attributes").querySelectorAll("button")) {
    button.setAttribute("aria-pressed", Number(button.dataset.key) === state.attribute);
  }
}

function drawCounterfactuals(image) {
  const all = counterfactuals(image.psi, state.classes);
  $("counterfactuals").replaceChildren(
    ...all.slice(0, 3).map((one) => element("li", { textContent: sentence(image, one) })),
  );
}

function sentence(image, { rival, lead, attribute, change }) {
  const name = readable(state.model.attributes[attribute]),
    score = image.psi[attribute].toFixed(2);
  const direction = change > 0 ? "rose" : "fell",
    size = Math.abs(change).toFixed(2);
  const winner = `${short(state.classes[rival].name)} (behind by ${lead.toFixed(2)})`;
  return `${winner} would win if the score of “${name}”, now ${score}, ${direction} by ${size}.`;
}

const IMAGE_ONLY = "image only";

/** Draws the image with the attention map of the attribute; a model without attention has none. */
function drawImage(image) {
  const names = Object.keys(image.attention),
    isMap = names.length > 0 && state.subnet !== IMAGE_ONLY;
  $("image").src = image.image;
  $("image").alt = image.name;
  $("heat").hidden = $("scale").hidden = !isMap;
  if (isMap) drawMap(image);
  const shown = readable(state.model.attributes[state.attribute]);
  $("caption").textContent = isMap
    ? `${short(state.subnet)}: attention for “${shown}”`
    : "The image as the model receives it";
  $("subnets").hidden = !names.length;
  $("subnets").replaceChildren(
    ...(names.length ? [...names, IMAGE_ONLY] : []).map((name) => {
      const button = element("button", {
        type: "button",
        textContent: short(name),
        onclick: () => {
          state.subnet = name;
          drawImage(image);
          focusOn("subnets", name);
        },
      });
      button.dataset.key = name;
      button.setAttribute("aria-pressed", name === state.subnet);
      return button;
    }),
  );
}

function drawMap(image) {
  const [rows, columns] = image.grid,
    size = rows * columns,
    start = state.attribute * size;
  const map = image.attention[state.subnet].subarray(start, start + size);
  Object.assign($("heat"), { width: columns, height: rows });
  $("heat")
    .getContext("2d")
    .putImageData(new ImageData(colours(map), columns, rows), 0, 0);
}
