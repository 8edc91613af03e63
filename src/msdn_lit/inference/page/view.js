// The image: its attention map, the sub-nets, the whole photograph with the crop, and progress.

const IMAGE_ONLY = "image only";

/** Draws the image with the attention map of the attribute; a model without attention has none. */
function drawImage(image) {
  const names = Object.keys(image.attention),
    isMap = names.length > 0 && state.subnet !== IMAGE_ONLY;
  $("image").src = image.image;
  $("image").alt = image.name;
  $("heat").hidden = $("scale").hidden = !isMap;
  if (isMap) paint($("heat"), image, attributeMap(image, state.subnet, state.attribute));
  const shown = readable(state.model.attributes[state.attribute]);
  $("caption").textContent = isMap
    ? `${short(state.subnet)}: attention for “${shown}”`
    : "The image as the model receives it";
  drawSubnets(image, names);
  drawOriginal(image);
}

function drawSubnets(image, names) {
  $("subnets").hidden = !names.length;
  fillList("subnets", (names.length ? [...names, IMAGE_ONLY] : []).map(subnetButton));
}

function subnetButton(name) {
  const weight = weightOf(name),
    isMute = weight === 0;
  const button = item(name, name === state.subnet, {
    className: isMute ? "mute" : "",
    title: isMute ? "This sub-net has no weight in the score." : "",
    onclick: () => {
      state.subnet = name;
      draw();
    },
  });
  button.append(element("span", { textContent: short(name) }));
  if (weight !== undefined)
    button.append(element("small", { textContent: isMute ? "no weight" : `weight ${weight}` }));
  return button;
}

/** Draws the whole photograph and marks the square that the model receives. */
function drawOriginal(image) {
  $("original").hidden = !image.original;
  if (!image.original) return;
  const { source, width, height } = image.original,
    [left, top, right, bottom] = image.crop;
  $("photograph").src = source;
  Object.assign($("crop").style, {
    left: `${100 * left}%`,
    top: `${100 * top}%`,
    width: `${100 * (right - left)}%`,
    height: `${100 * (bottom - top)}%`,
  });
}

const THUMBNAIL = 480; // pixels of the long side

/** A small copy of a photograph; null for a format that the browser does not decode. */
async function thumbnail(file) {
  const decoded = await createImageBitmap(file).catch(() => null);
  if (!decoded) return null;
  const { width, height } = decoded,
    scale = Math.min(1, THUMBNAIL / Math.max(width, height));
  const canvas = element("canvas", {
    width: Math.max(1, Math.round(scale * width)),
    height: Math.max(1, Math.round(scale * height)),
  });
  canvas.getContext("2d").drawImage(decoded, 0, 0, canvas.width, canvas.height);
  return { source: canvas.toDataURL("image/jpeg", 0.85), width, height };
}

/** Shows at the place of the result that one is coming; "" hides it again. */
function progress(text, original = null) {
  const isBusy = text !== "";
  $("progress").hidden = !isBusy;
  say(text, "progress-text");
  $("coming").hidden = !original;
  if (original) $("coming").src = original.source;
  $("result").setAttribute("aria-busy", isBusy);
  showResult();
}

/** The result is there with an image, or, empty, while one is coming. */
function showResult() {
  $("result").hidden = $("progress").hidden && !currentImage();
  $("result").classList.toggle("empty", !currentImage());
}
