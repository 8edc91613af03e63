// The start of the page, and the images that are sent to the app. All other scripts come before.

/** Draws everything that depends on the state. */
function draw() {
  const image = currentImage();
  showResult();
  drawClasses();
  if (!image) return;
  drawReasons(image);
  drawImage(image);
  drawPhrases();
  rememberLink();
}

// ---- what the page is -----------------------------------------------------------------------

const PROTOCOLS = {
  honest: "the test images chose nothing",
  paper: "the test images may choose the step, as in papers",
  validation: "no test image was used",
};
const SCORES = {
  T1: "accuracy on unseen classes, among unseen classes only",
  U: "accuracy on unseen classes, among all classes",
  S: "accuracy on seen classes, among all classes",
  H: "harmonic mean of U and S",
};

function drawAbout() {
  const { about } = state.model,
    number = (domain) => state.classes.filter((one) => one.domain === domain).length;
  const [seen, unseen] = [about?.seen ?? number("seen"), about?.unseen ?? number("unseen")];
  $("about").hidden = !about;
  if (about) $("about").replaceChildren(...aboutParts(about));
  $("terms").replaceChildren(
    element("b", {}, "Seen"),
    `: ${seen} classes with training images. `,
    element("b", {}, "Unseen"),
    `: ${unseen} classes known only by their attributes. `,
    element("b", {}, "New"),
    ": classes that you describe here.",
  );
  if (about?.scores) $("scores").textContent = scoresNote(about.scores);
}

function aboutParts({ model, benchmark, features, protocol, step, scores, images }) {
  const how = PROTOCOLS[protocol] ? `${protocol}: ${PROTOCOLS[protocol]}` : protocol,
    trained = [`${benchmark} with ${features} features`, step ? `step ${count(step)}` : ""];
  return [
    element("b", {}, model || "A model"),
    ` trained on ${trained.filter(Boolean).join(", ")}. `,
    ...scoreParts(Object.entries(scores || {}), images),
    how ? `Protocol ${how}.` : "",
  ];
}

const scoreParts = (scores, images) => [
  ...scores.flatMap(([name, value]) => [
    element("abbr", { title: SCORES[name] ?? "" }, name),
    ` ${value.toFixed(1)}  `,
  ]),
  scores.length ? `% on ${images ? `${count(images)} ` : ""}${evaluatedImages()}. ` : "",
];

const scoresNote = (scores) =>
  `${Object.keys(scores)
    .filter((name) => SCORES[name])
    .map((name) => `${name}: ${SCORES[name]}`)
    .join("; ")}.`;

// ---- the app --------------------------------------------------------------------------------

/** Requests JSON from the app. */
async function request(path, options) {
  const answer = await fetch(path, options).catch(() => {
    throw Error("The app does not answer. Start msdn app again.");
  });
  const content = await answer.json();
  if (!answer.ok) throw Error(content.error);
  return content;
}

async function send(file, isOwn, place) {
  const name = file.name || "The image";
  if (file.size > data.limit)
    throw Error(`${name} is larger than ${Math.round(data.limit / 1e6)} MB.`);
  const original = await thumbnail(file);
  progress(`Predicting ${name}${place} …`, original);
  const headers = { "X-Name": encodeURIComponent(name) },
    image = await request("predict", { method: "POST", body: file, headers });
  addImage({ ...image, isOwn }, original);
}

// The model, then one image at a time, so that no message replaces another.
let queue = Promise.resolve();

function sendAll(files, isOwn = true) {
  const chosen = [...files];
  queue = queue.then(async () => {
    const faults = [];
    say("");
    for (const [i, file] of chosen.entries()) {
      const place = chosen.length > 1 ? `, ${i + 1} of ${chosen.length}` : "";
      await send(file, isOwn, place).catch((fault) => faults.push(fault.message));
    }
    progress("");
    say(chosen.length ? faults.join(" ") : "That is not an image file.");
  });
  return queue;
}

const sendSample = async (index) =>
  sendAll(
    [new File([await (await fetch(`samples/${index}`)).blob()], state.model.samples[index])],
    false,
  );

function drawSamples() {
  const samples = state.model.samples.map((name, i) =>
    item(
      i,
      null,
      { title: name, onclick: () => sendSample(i) },
      element("img", { src: `samples/${i}`, alt: name }),
    ),
  );
  fillList("samples", samples);
}

function acceptFiles() {
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
}

async function startApp() {
  acceptFiles();
  progress("The model is loading …");
  start(await request("model"));
  progress("");
  drawSamples();
  const asked = readLink(),
    sample = state.model.samples.indexOf(asked.image);
  applyClasses(asked);
  if (sample >= 0) openSample(sample, asked);
  else if (asked.classes.length) say("The link holds classes. Choose an image to try them on.");
  document.body.dataset.ready = "yes";
}

/** Shows the sample of a link, after what is in the queue. */
const openSample = (sample, asked) => sendSample(sample).then(() => applyChoices(asked));

function start(model) {
  setModel(model);
  boxes.like = makeCombobox("like", classChoices, () => {});
  boxes.rival = makeCombobox("rival", rivalChoices, (name) => {
    state.rival = name === null ? null : indexOf(name);
    draw();
  });
  drawAbout();
}

const rivalChoices = () => classChoices().filter(({ value }) => value !== selectedClass()?.name);

function startPage() {
  start(data.model);
  data.images.forEach((image) => addImage(image));
  const asked = readLink(),
    image = state.images.findIndex((one) => one.name === asked.image);
  applyClasses(asked);
  show(Math.max(0, image));
  applyChoices(asked);
  document.body.dataset.ready = "yes";
}

function setActions() {
  $("add").onsubmit = onAdd;
  $("save").onclick = saveClasses;
  $("reset").onclick = reset;
  $("open").onclick = () => $("class-file").click();
  $("class-file").onchange = (event) =>
    importFile(event).catch((fault) => say(fault.message, "class-message"));
  $("png").onclick = savePng;
  $("svg").onclick = saveSvg;
  $("copy").onclick = copyLink;
  $("find").oninput = drawClasses;
  $("more").onclick = () => showReasons({ more: state.more + 20 });
  $("filter").oninput = () => showReasons({ more: ROWS });
  $("grouped").onclick = () => showReasons({ isGrouped: !state.isGrouped });
  for (const one of document.querySelectorAll("[data-served]")) one.hidden = !isServed();
  $("attributes").addEventListener("keydown", onReasonKey);
  for (const list of ["samples", "images", "subnets", "ranking", "attributes", "phrases"])
    makeWalkable(list);
  window.onhashchange = () => location.reload();
}

function showReasons(change) {
  Object.assign(state, change);
  draw();
}

setActions();
if (data.model) startPage();
else if (isServed())
  queue = startApp().catch((fault) => {
    progress("");
    say(fault.message);
  }); // a page without readable images has no app
