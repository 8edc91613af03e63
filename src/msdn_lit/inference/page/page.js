// The page's user actions, and its start. class_scores.js and drawing.js come before.

function focusOn(list, key) {
  $(list).querySelector(`[data-key="${key}"]`)?.focus();
}

/** Moves the focus among the buttons of a list by arrow keys, Home and End. */
function walk(event) {
  const step = {
    ArrowDown: 1,
    ArrowRight: 1,
    ArrowUp: -1,
    ArrowLeft: -1,
    Home: -Infinity,
    End: Infinity,
  }[event.key];
  const buttons = [...event.currentTarget.querySelectorAll("button")],
    at = buttons.indexOf(document.activeElement);
  if (!step || at < 0) return;
  event.preventDefault();
  buttons[Math.max(0, Math.min(buttons.length - 1, at + step))].focus();
}

function edit(k, input) {
  const one = state.classes[state.selected],
    value = Number(input.value);
  if (!(value >= 0 && value <= 100) || input.value === "") {
    say("A value is a number from 0 to 100.");
    return;
  }
  one.values = one.values || percent(one.row);
  one.values[k] = value;
  one.row = unit(Float32Array.from(one.values));
  say("");
  drawClasses();
  fillAttributes(state.images[state.image]);
}

function reset() {
  const one = state.classes[state.selected];
  if (one.domain === "new") {
    state.classes.splice(state.selected, 1);
    Object.assign(state, { selected: null, attribute: null });
  } else Object.assign(one, { row: one.original, values: null });
  draw();
  $("filter").focus();
}

function addClass(event) {
  event.preventDefault();
  const name = $("name").value.trim(),
    like = $("like").value;
  if (!name || state.classes.some((one) => one.name === name || short(one.name) === name)) {
    say(name ? `There is a class “${name}” already.` : "The class needs a name.");
    return;
  }
  const row =
    like === "" ? new Float32Array(state.model.attributes.length) : state.classes[like].row;
  const [known] = state.classes,
    margin = known.domain === "seen" ? -known.margin : known.margin; // as unseen classes
  state.classes.push({
    name,
    domain: "new",
    margin,
    row: row.slice(),
    original: row.slice(),
    values: percent(row),
  });
  $("name").value = "";
  state.selected = state.classes.length - 1;
  say(like === "" ? "Give it attributes: find them below and set their values." : "");
  draw();
  $("filter").focus();
}

function save() {
  const changed = state.classes.filter((one) => one.values);
  if (!changed.length) {
    say("Nothing was added or edited yet.");
    return;
  }
  const empty = changed.find((one) => !one.values.some((v) => v > 0));
  if (empty) {
    say(`“${short(empty.name)}” has no attributes yet.`);
    return;
  }
  const link = element("a", {
    download: "classes.yaml",
    href: URL.createObjectURL(new Blob([classFile(state.classes, state.model.attributes)])),
  });
  link.click();
  URL.revokeObjectURL(link.href);
}

function say(text) {
  $("message").textContent = text;
}

/** Requests JSON from the app. */
async function request(path, options) {
  const answer = await fetch(path, options).catch(() => {
    throw Error("The app does not answer. Start msdn app again.");
  });
  const content = await answer.json();
  if (!answer.ok) throw Error(content.error);
  return content;
}

async function send(file) {
  const name = file.name || "The image";
  if (file.size > data.limit)
    throw Error(`${name} is larger than ${Math.round(data.limit / 1e6)} MB.`);
  say(`Predicting ${name} …`);
  addImage(
    await request("predict", {
      method: "POST",
      body: file,
      headers: { "X-Name": encodeURIComponent(name) },
    }),
  );
}

// The model, then one image at a time, so that no message replaces another.
let queue = Promise.resolve();

function sendAll(files) {
  const chosen = [...files];
  queue = queue.then(async () => {
    const faults = [];
    for (const file of chosen) await send(file).catch((fault) => faults.push(fault.message));
    say(chosen.length ? faults.join(" ") : "That is not an image file.");
  });
}

async function startApp() {
  $("drop").hidden = false;
  $("file").onchange = (event) => {
    sendAll(event.target.files);
    event.target.value = "";
  };
  document.ondragover = (event) => event.preventDefault();
  document.ondrop = (event) => {
    event.preventDefault();
    sendAll(event.dataTransfer.files);
  };
  document.onpaste = (event) => {
    if (event.clipboardData.files.length) sendAll(event.clipboardData.files);
  };
  say("The model is loading …");
  const content = await request("model");
  setModel(content);
  say("");
  $("samples").replaceChildren(
    ...content.samples.map((name, i) =>
      element(
        "button",
        {
          type: "button",
          title: name,
          onclick: async () =>
            sendAll([new File([await (await fetch(`samples/${i}`)).blob()], name)]),
        },
        element("img", { src: `samples/${i}`, alt: name }),
      ),
    ),
  );
  document.body.dataset.ready = "yes";
}

$("add").onsubmit = addClass;
$("save").onclick = save;
$("reset").onclick = reset;
$("more").onclick = () => {
  state.more += 20;
  draw();
};
$("find").oninput = drawClasses;
$("filter").oninput = () => {
  state.more = 10;
  draw();
};
for (const list of ["samples", "images", "subnets", "ranking", "attributes"])
  $(list).onkeydown = walk;
if (data.model) {
  setModel(data.model);
  data.images.forEach(addImage);
  show(0);
  document.body.dataset.ready = "yes";
} else if (data.limit) {
  // a page without readable images has no app
  queue = startApp().catch((fault) => say(fault.message));
}
