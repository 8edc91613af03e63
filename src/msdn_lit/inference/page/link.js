// The address of what is shown: the part after # keeps image, choices, new classes and edits.

/** Changes of a class's values against its start, by attribute. */
function changesOf(one) {
  const values = {},
    start = startOf(one);
  one.values.forEach((v, k) => {
    if (Math.abs(v - start[k]) > 0.005) values[k] = Math.round(100 * v) / 100;
  });
  return values;
}

/** Values from which a class's changes count: those before the edits, of its like, or zeros. */
function startOf(one) {
  if (!one.isAdded) return percent(one.original);
  const like = state.classes.find((each) => each.name === one.like && !each.isAdded);
  return like ? percent(like.original) : one.values.map(() => 0);
}

const asLinked = (one) => ({
  name: one.name,
  ...(one.isAdded ? { like: one.like ?? null } : { edited: true }),
  values: changesOf(one),
});

function linkHash() {
  const parameters = new URLSearchParams(),
    image = currentImage(),
    classes = state.classes.filter((one) => one.values).map(asLinked);
  if (image) {
    if (!image.isOwn) parameters.set("image", image.name);
    if (state.selected !== null) parameters.set("class", selectedClass().name);
    if (state.rival !== null) parameters.set("versus", rivalClass().name);
    parameters.set("attribute", state.model.attributes[state.attribute]);
    if (state.subnet) parameters.set("subnet", state.subnet);
    if (state.model.groups) parameters.set("groups", state.isGrouped ? "yes" : "no");
  }
  if (classes.length) parameters.set("classes", JSON.stringify(classes));
  return `#${parameters}`;
}

let waiting = null;

/** Writes the address, not more often than a browser allows. */
function rememberLink() {
  clearTimeout(waiting);
  waiting = setTimeout(() => history.replaceState(null, "", linkHash()), 300);
}

async function copyLink() {
  const link = location.href.replace(/#.*/, "") + linkHash(),
    note = currentImage()?.isOwn ? " Your own image is not in it." : "";
  const isCopied = await navigator.clipboard?.writeText(link).then(
    () => true,
    () => false,
  );
  $("link").hidden = Boolean(isCopied);
  $("link").value = link;
  if (!isCopied) $("link").select();
  say((isCopied ? "Link copied." : "Copy the link from this field.") + note, "link-message");
}

// ---- opening a link -------------------------------------------------------------------------

/** What a link asks for; a damaged list of classes counts as none. */
function readLink() {
  const parameters = new URLSearchParams(location.hash.slice(1)),
    asked = Object.fromEntries(parameters);
  try {
    asked.classes = JSON.parse(asked.classes ?? "[]");
  } catch {
    asked.classes = null;
  }
  if (!Array.isArray(asked.classes)) {
    say("The classes in the link are damaged and were left out.");
    asked.classes = [];
  }
  return asked;
}

/** Adds the classes and edits of a link. */
function applyClasses(asked) {
  for (const one of asked.classes) {
    const { name, like, edited, values } = Object(one),
      known = state.classes[indexOf(String(edited ? name : like))];
    if (typeof name !== "string" || !name || (edited ? !known : isNameTaken(name))) continue;
    const start = known && !known.isAdded ? percent(known.original) : zeros(), // as startOf
      target = edited ? known : addClass(name.slice(0, 60), start, { like });
    for (const [k, value] of Object.entries(Object(values)))
      if (k in target.row && value >= 0 && value <= 100) setValue(target, k, Number(value));
    if (!edited) target.original = target.row.slice();
  }
}

const zeros = () => state.model.attributes.map(() => 0);

/** Chooses what a link asks for, of the image that is shown. */
function applyChoices(asked) {
  const image = currentImage(),
    found = (index) => (index < 0 ? null : index);
  if (!image) return;
  state.selected = found(indexOf(asked.class)) ?? state.selected;
  const rival = found(indexOf(asked.versus));
  state.rival = rival === state.selected ? null : rival;
  state.attribute = found(state.model.attributes.indexOf(asked.attribute)) ?? state.attribute;
  if (asked.subnet in image.attention || asked.subnet === IMAGE_ONLY) state.subnet = asked.subnet;
  if (asked.groups) state.isGrouped = Boolean(state.model.groups) && asked.groups === "yes";
  draw();
}
