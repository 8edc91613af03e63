// Building blocks: elements, bars, lists with one tab stop, and a text field that searches a list.

function element(tag, properties = {}, ...children) {
  const made = Object.assign(document.createElement(tag), properties);
  made.append(...children);
  return made;
}

/** A button of a list: `key` tells it from the others, `isPressed` marks the chosen one. */
function item(key, isPressed, properties, ...children) {
  const button = element("button", { type: "button", ...properties }, ...children);
  button.dataset.key = key;
  if (isPressed !== null) button.setAttribute("aria-pressed", isPressed);
  return button;
}

function say(text, place = "message") {
  $(place).textContent = text;
}

/** A bar between two amounts on an axis from `low` to `high`, which contains zero. */
function bar(from, to, low, high) {
  const at = (value) => (100 * (value - low)) / (high - low || 1),
    inner = element("i", { className: to < from ? "against" : "for" }),
    zero = element("u");
  inner.style.left = `${at(Math.min(from, to))}%`;
  inner.style.width = `${Math.abs(at(to) - at(from))}%`;
  zero.style.left = `${at(0)}%`;
  return element("span", { className: "bar", ariaHidden: "true" }, inner, zero);
}

// ---- lists with one tab stop ----------------------------------------------------------------

const itemsOf = (list) => [...list.querySelectorAll("[data-key]")];

function focusOn(list, key) {
  itemsOf($(list))
    .find((one) => one.dataset.key === String(key))
    ?.focus();
}

/** Leaves one item of a list in the order of the Tab key: the last focused, or the chosen one. */
function setTabStop(list, chosen) {
  const items = itemsOf(list),
    pressed = items.find((one) => one.getAttribute("aria-pressed") === "true"),
    stop = chosen || pressed || items[0];
  for (const one of items) one.tabIndex = one === stop ? 0 : -1;
}

/** Replaces a list's content, and keeps the focus on the item of the same key. */
function fillList(id, children) {
  const list = $(id),
    key = list.contains(document.activeElement) && document.activeElement.dataset.key;
  list.replaceChildren(...children);
  setTabStop(list);
  if (key) focusOn(id, key);
}

const STEPS = {
  ArrowDown: 1,
  ArrowRight: 1,
  ArrowUp: -1,
  ArrowLeft: -1,
  Home: -Infinity,
  End: Infinity,
};

/** Moves the focus among the items of a list by arrow keys, Home and End. */
function walk(event) {
  const items = itemsOf(event.currentTarget),
    step = STEPS[event.key],
    at = items.indexOf(document.activeElement);
  if (!step || at < 0 || event.defaultPrevented) return;
  event.preventDefault();
  items[Math.max(0, Math.min(items.length - 1, at + step))].focus();
}

function makeWalkable(id) {
  const list = $(id);
  list.addEventListener("keydown", walk);
  list.addEventListener("focusin", (event) => {
    const one = event.target.closest("[data-key]");
    if (one) setTabStop(list, one);
  });
}

// ---- a text field that searches a list (the combobox of WAI-ARIA) ---------------------------

/**
 * Makes a text field search a list of choices.
 *
 * choices: returns [{value, text}], values being text; choose: called with the value, or null for
 * an emptied field.
 */
function makeCombobox(id, choices, choose) {
  const input = $(id),
    list = $(`${id}-list`);
  const box = { input, list, choices, choose, value: null, active: -1 };
  input.oninput = () => openList(box, input.value);
  input.onclick = () => openList(box, "");
  input.onkeydown = (event) => onComboboxKey(box, event);
  input.onblur = () => commit(box);
  list.onmousedown = (event) => event.preventDefault(); // the field keeps the focus
  list.onclick = (event) => {
    const option = event.target.closest("[role=option]");
    if (option) pick(box, option);
  };
  return box;
}

function openList(box, typed) {
  const found = box.choices().filter(({ text }) => fits(text, typed));
  box.list.replaceChildren(
    ...found.map(({ value, text }, i) => {
      const id = `${box.list.id}-${i}`,
        option = element("li", { id, role: "option", textContent: text });
      option.dataset.value = value;
      return option;
    }),
  );
  const none = element("li", { role: "option", ariaDisabled: "true" }, "None");
  if (!found.length) box.list.append(none);
  box.list.hidden = false;
  box.input.setAttribute("aria-expanded", "true");
  activate(box, typed && found.length ? 0 : -1);
}

function closeList(box) {
  box.list.hidden = true;
  box.input.setAttribute("aria-expanded", "false");
  activate(box, -1);
}

const optionsOf = (box) => [...box.list.querySelectorAll("[data-value]")];

function activate(box, index) {
  const options = optionsOf(box);
  box.active = options.length ? Math.max(-1, Math.min(options.length - 1, index)) : -1;
  options.forEach((one, i) => one.setAttribute("aria-selected", i === box.active));
  if (box.active < 0) box.input.removeAttribute("aria-activedescendant");
  else {
    box.input.setAttribute("aria-activedescendant", options[box.active].id);
    options[box.active].scrollIntoView({ block: "nearest" });
  }
}

function onComboboxKey(box, event) {
  const isOpen = !box.list.hidden,
    step = { ArrowDown: 1, ArrowUp: -1 }[event.key];
  if (step) {
    event.preventDefault();
    if (isOpen) activate(box, box.active + step);
    else openList(box, "");
  } else if (event.key === "Enter" && isOpen) {
    event.preventDefault();
    if (box.active >= 0) pick(box, optionsOf(box)[box.active]);
    else commit(box);
  } else if (event.key === "Escape" && isOpen) {
    event.preventDefault();
    setCombobox(box, box.value);
  }
}

function pick(box, option) {
  setCombobox(box, option.dataset.value);
  box.choose(box.value);
}

/** Shows a choice, or none, without calling `choose`. */
function setCombobox(box, value) {
  box.value = value;
  const chosen = box.choices().find((one) => one.value === value);
  box.input.value = chosen ? chosen.text : "";
  closeList(box);
}

/** Takes what was typed: an emptied field chooses none; other text must be one of the choices. */
function commit(box) {
  const typed = box.input.value.trim().toLowerCase(),
    exact = box.choices().find(({ text }) => text.toLowerCase() === typed);
  const before = box.value,
    value = !typed ? null : exact ? exact.value : before;
  setCombobox(box, value);
  if (value !== before) box.choose(value);
}
