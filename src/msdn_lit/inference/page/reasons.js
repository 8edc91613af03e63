// Why a class has its score: a waterfall of contributions that adds up to the score, by attribute
// or by group; with a rival class, the differences of the contributions. Values can be edited.

/**
 * Rows of the waterfall: {kind, key, label, ks, group}.
 *
 * ks: the attributes whose contributions a row adds up; group: of a row inside an open group.
 */
function planRows(amounts) {
  const typed = $("filter").value.trim(),
    isFlat = !state.isGrouped || typed !== "";
  const units = (isFlat ? attributeRows() : groupRows()).sort(bySize(amounts)),
    fitting = units.filter(({ label }) => fits(label, typed)),
    top = fitting.slice(0, typed ? state.more : numberShown(fitting, amounts)),
    shown = new Set(top.flatMap(({ ks }) => ks));
  const rest = { kind: "others", label: othersLabel(units.length - top.length, isFlat) };
  rest.ks = Array.from(amounts.keys()).filter((k) => !shown.has(k));
  $("more").hidden = fitting.length <= top.length;
  return [
    ...top.flatMap((row) => [row, ...membersOf(row, amounts)]),
    ...(rest.ks.length ? [rest] : []),
    { kind: "margin", label: "calibration", ks: [] },
    { kind: "total", label: rivalClass() ? "difference of the scores" : "score", ks: [] },
  ];
}

/** Rows of amount zero are among the others at first, unless all are zero. */
function numberShown(rows, amounts) {
  const isZero = ({ ks }) => ks.every((k) => amounts[k] === 0),
    used = rows.filter((row) => !isZero(row)).length;
  return state.more > ROWS ? state.more : Math.min(ROWS, used || ROWS);
}

const othersLabel = (left, isFlat) => {
  const plural = left === 1 ? "" : "s";
  return isFlat ? `${left} other${plural}` : `${left} other group${plural}`;
};

const bySize = (amounts) => (a, b) =>
  Math.abs(sum(b.ks.map((k) => amounts[k]))) - Math.abs(sum(a.ks.map((k) => amounts[k])));

const attributeRows = () =>
  state.model.attributes.map((name, k) => ({
    kind: "attribute",
    key: k,
    label: readable(name),
    ks: [k],
  }));

function groupRows() {
  const members = new Map();
  state.model.groups.forEach((group, k) => members.set(group, [...(members.get(group) || []), k]));
  return [...members].map(([group, ks]) => ({
    kind: "group",
    key: `group ${group}`,
    label: readable(group),
    ks,
    name: group,
  }));
}

function membersOf(row, amounts) {
  if (row.kind !== "group" || !state.open.has(row.name)) return [];
  const all = attributeRows();
  return row.ks
    .map((k) => ({ ...all[k], label: withoutGroup(all[k].label, row.label), group: row.key }))
    .sort(bySize(amounts));
}

const withoutGroup = (label, group) =>
  label.startsWith(`${group}: `) ? label.slice(group.length + 2) : label;

/** Exact amount of a row. */
function amountOf(row, amounts) {
  const margin = marginOf(selectedClass(), rivalClass());
  if (row.kind === "margin") return margin;
  if (row.kind === "total") return sum(amounts) + margin;
  return sum(row.ks.map((k) => amounts[k]));
}

/** Adds to each row its `from` and `to` on the axis, and `shown`: what adds up as it is shown. */
function stackUp(rows, amounts, total) {
  place(rows.filter(({ kind, group }) => kind !== "total" && !group), amounts, total, 0);
  for (const row of rows.filter(({ kind }) => kind === "group"))
    place(rows.filter(({ group }) => group === row.key), amounts, row.shown, row.from);
  for (const row of rows.filter(({ kind }) => kind === "total"))
    Object.assign(row, { from: 0, to: amountOf(row, amounts), shown: total });
}

function place(rows, amounts, total, start) {
  const exact = rows.map((row) => amountOf(row, amounts)),
    shown = shownAmounts(rows, exact, total);
  let at = start;
  rows.forEach((row, i) => {
    Object.assign(row, { from: at, to: at + exact[i], shown: shown[i] });
    at = row.to;
  });
}

/** Rounded amounts that add up; "others" takes what the rounding of the rest leaves. */
function shownAmounts(rows, exact, total) {
  const rest = rows.findIndex(({ kind }) => kind === "others");
  if (rest < 0 || exact[rest] === 0) return roundedTo(total, exact);
  const shown = exact.map(hundredths);
  shown[rest] = hundredths(total - (sum(shown) - shown[rest]));
  return shown;
}

// ---- drawing --------------------------------------------------------------------------------

let rowsShown = [];

function drawReasons(image) {
  const one = selectedClass(),
    rival = rivalClass(),
    amounts = contributions(image.psi, one, rival);
  rowsShown = planRows(amounts);
  const first = rowsShown.find(({ kind }) => kind === "attribute");
  if (state.attribute === null) state.attribute = first ? first.key : largest(amounts);
  $("why").textContent = rival
    ? `Why ${short(one.name)} and not ${short(rival.name)}?`
    : `Why ${short(one.name)}?`;
  $("grouped").hidden = !state.model.groups;
  $("grouped").setAttribute("aria-pressed", state.isGrouped);
  setCombobox(boxes.rival, rival ? rival.name : null);
  fillList("attributes", rowsShown.map(rowElement));
  $("attributes").classList.toggle("plain", !first);
  fillReasons(image);
  drawPair(image, amounts);
}

const largest = (amounts) =>
  amounts.reduce((best, value, k) => (Math.abs(value) > Math.abs(amounts[best]) ? k : best), 0);

function rowElement(row) {
  const children = [
    element("span", { textContent: row.label }),
    element("output"),
    element("span", { className: "bar" }),
  ];
  const line = element("li", { className: row.group ? `${row.kind} member` : row.kind });
  if (row.kind === "attribute") line.append(attributeButton(row, children), valueInput(row));
  else if (row.kind === "group") line.append(groupButton(row, children));
  else line.append(element("div", { className: "line" }, ...children));
  return line;
}

function attributeButton({ key }, children) {
  const showMap = () => chooseAttribute(key);
  const actions = { onclick: showMap, onmouseenter: showMap, onfocus: showMap };
  return item(key, key === state.attribute, actions, ...children);
}

function chooseAttribute(k) {
  if (state.attribute === k) return;
  state.attribute = k;
  drawImage(currentImage());
  for (const button of $("attributes").querySelectorAll("[aria-pressed]"))
    button.setAttribute("aria-pressed", button.dataset.key === String(k));
  rememberLink();
}

function groupButton({ key, name, ks }, children) {
  const isOpen = state.open.has(name);
  const toggle = () => {
    if (isOpen) state.open.delete(name);
    else state.open.add(name);
    drawReasons(currentImage());
  };
  children[0].append(element("small", { textContent: ` (${ks.length})` }));
  const button = item(key, null, { onclick: toggle }, ...children);
  button.setAttribute("aria-expanded", isOpen);
  return button;
}

function valueInput({ key }) {
  const one = selectedClass(),
    name = readable(state.model.attributes[key]);
  return element("input", {
    type: "number",
    min: 0,
    max: 100,
    step: 1,
    tabIndex: -1, // the list has one tab stop; the right arrow key leads here
    value: Math.round(valuesOf(one)[key]),
    ariaLabel: `${name} of ${short(one.name)}, 0 to 100`,
    oninput: (event) => edit(key, event.target),
    onfocus: () => chooseAttribute(key),
    onchange: (event) => (event.target.value = Math.round(valuesOf(one)[key])),
  });
}

/** Updates amounts and marks of edited values in place, so that an input keeps the focus. */
function fillReasons(image) {
  const one = selectedClass(),
    amounts = contributions(image.psi, one, rivalClass());
  stackUp(rowsShown, amounts, shownTotal(image.psi, one, rivalClass()));
  const ends = rowsShown.flatMap(({ from, to }) => [from, to]),
    low = Math.min(0, ...ends),
    high = Math.max(0, ...ends);
  [...$("attributes").children].forEach((line, i) => {
    const row = rowsShown[i];
    line.querySelector("output").textContent = number(row.shown);
    line.querySelector(".bar").replaceWith(bar(row.from, row.to, low, high));
    if (row.kind === "attribute") markValue(line, row.key, image);
  });
  $("reset").hidden = !one.values;
  $("reset").textContent = one.isAdded ? "Remove this class" : "Undo my edits";
}

function markValue(line, k, image) {
  const one = selectedClass(),
    input = line.querySelector("input"),
    before = percent(one.original)[k];
  const isChanged = one.values && Math.abs(one.values[k] - before) > 0.01;
  input.className = isChanged ? "changed" : "";
  input.title = isChanged ? `was ${Math.round(before)}` : "";
  const product = (row) => `${number(row[k])} × ${number(image.psi[k])}`;
  line.firstElementChild.title = rivalClass()
    ? `class value × attribute score: ${product(one.row)} less ${product(rivalClass().row)}`
    : `class value × attribute score: ${product(one.row)}`;
}

/** Draws the map of the attribute that speaks most for the class, and of that for the rival. */
function drawPair(image, amounts) {
  const subnet = state.subnet === IMAGE_ONLY ? defaultSubnet(image) : state.subnet;
  $("pair").hidden = !rivalClass() || !subnet;
  if ($("pair").hidden) return;
  const sides = [
    [selectedClass(), Math.max(...amounts)],
    [rivalClass(), Math.min(...amounts)],
  ];
  $("pair").replaceChildren(
    ...sides.map(([one, most]) => {
      const k = amounts.indexOf(most),
        reason = `: ${readable(state.model.attributes[k])}, ${number(most)}`;
      const caption = element("figcaption", {}, "For ", element("b", {}, short(one.name)), reason);
      return element("figure", {}, stack(image, attributeMap(image, subnet, k)), caption);
    }),
  );
}
