// The answer: the best classes, how certain the first is, and what would change it.

/** Draws what depends on all classes: the images' predictions, ranking and counterfactuals. */
function drawClasses() {
  const image = currentImage();
  drawImages();
  if (!image) return;
  const ranked = ranking(image.psi, state.classes);
  if (state.selected === null) state.selected = ranked[0].c;
  drawAnswer(image, ranked);
  drawRanking(ranked);
  drawCounterfactuals(image);
}

function drawImages() {
  const several = state.images.length > 1 ? state.images : [];
  fillList(
    "images",
    several.map((one, i) => {
      const [{ c }] = ranking(one.psi, state.classes);
      return item(
        i,
        i === state.image,
        { title: one.name, onclick: () => show(i) },
        element("img", { src: one.image, alt: "" }),
        element("span", { textContent: nameOf(c) }),
      );
    }),
  );
}

const DOMAINS = {
  seen: "Seen class: the model was trained on it.",
  unseen: "Unseen class: known only by its attributes.",
  new: "New class: known only by the attributes that you gave it.",
};

const UNLIKE = 0.01; // share of the test images that are less like the training images

function drawAnswer(image, [best, second]) {
  const lead = second ? best.score - second.score : null;
  $("best").textContent = nameOf(best.c);
  $("domain").textContent = DOMAINS[state.classes[best.c].domain];
  $("lead").textContent = second
    ? `Ahead of ${nameOf(second.c)} by ${number(lead)}${certainty(lead)}.`
    : "";
  drawMeter(lead);
  $("strange").hidden = !((image.likeness ?? 1) < UNLIKE);
  $("versus").hidden = !second;
  if (second) offerComparison(best.c, second.c);
}

/** The lead in units of the test images' leads. */
function certainty(lead) {
  const { leads } = state.model;
  if (!leads) return "";
  const where = `right answers on ${evaluatedImages()}`,
    share = shareBelow(lead, leads),
    percentage = (value) => `${Math.floor(100 * value + 1e-9)} %`;
  return share < 0.5
    ? `, closer than ${percentage(1 - share)} of the ${where}`
    : `, a larger lead than in ${percentage(share)} of the ${where}`;
}

function drawMeter(lead) {
  const { leads } = state.model;
  $("meter").hidden = !leads || lead === null;
  if ($("meter").hidden) return;
  $("meter").firstElementChild.style.width = `${100 * shareBelow(lead, leads)}%`;
}

function offerComparison(best, second) {
  $("versus").textContent = `Why not ${nameOf(second)}?`;
  $("versus").onclick = () => {
    Object.assign(state, { selected: best, rival: second });
    draw();
    $("why").scrollIntoView({ block: "nearest" });
    $("why").focus();
  };
}

function drawRanking(ranked) {
  const typed = $("find").value,
    fitting = ranked.filter(({ c }) => fits(nameOf(c), typed)),
    shown = fitting.slice(0, ROWS);
  if (!shown.some(({ c }) => c === state.selected))
    shown.push(ranked.find(({ c }) => c === state.selected));
  const low = Math.min(0, ...shown.map(({ score }) => score)),
    high = Math.max(0, ranked[0].score);
  fillList(
    "ranking",
    shown.map((one) => element("li", {}, classButton(one, ranked.indexOf(one) + 1, low, high))),
  );
}

function classButton({ c, score }, rank, low, high) {
  const one = state.classes[c],
    isEdited = one.values && !one.isAdded;
  const choose = () => {
    Object.assign(state, { selected: c, rival: c === state.rival ? null : state.rival });
    draw();
  };
  return item(
    c,
    c === state.selected,
    { onclick: choose },
    element("b", { textContent: `${rank}. ${short(one.name)}` }),
    element("small", { textContent: isEdited ? `${one.domain}, edited` : one.domain }),
    element("output", { textContent: number(score) }),
    bar(0, score, low, high),
  );
}

function drawCounterfactuals(image) {
  const all = counterfactuals(image.psi, state.classes);
  $("counterfactuals").replaceChildren(
    ...all.slice(0, 3).map((one) => element("li", { textContent: sentence(image, one) })),
  );
}

function sentence(image, { rival, lead, attribute, change }) {
  const name = readable(state.model.attributes[attribute]),
    direction = change > 0 ? "rose" : "fell";
  const winner = `${nameOf(rival)} (behind by ${number(lead)})`,
    now = `now ${number(image.psi[attribute])}`,
    size = number(Math.abs(change));
  return `${winner} would win if the score of “${name}”, ${now}, ${direction} by ${size}.`;
}
