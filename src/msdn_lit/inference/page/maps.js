// Attention maps: their colours, and image files of them.

/** Viridis, from dark (least attention) to light (most attention). */
const VIRIDIS = [
  [68, 1, 84],
  [72, 40, 120],
  [62, 74, 137],
  [49, 104, 142],
  [38, 130, 142],
  [31, 158, 137],
  [53, 183, 121],
  [109, 205, 89],
  [180, 222, 44],
  [253, 231, 37],
];

/** Returns red, green, blue and opacity of an attention map: little attention is transparent. */
function colours(map) {
  return Uint8ClampedArray.from(
    Array.from(map).flatMap((v) => {
      const position = (v / 255) * (VIRIDIS.length - 1),
        low = Math.floor(position),
        high = Math.min(low + 1, VIRIDIS.length - 1);
      return [
        ...VIRIDIS[low].map((dark, i) => dark + (position - low) * (VIRIDIS[high][i] - dark)),
        70 + (v / 255) * 110,
      ];
    }),
  );
}

/** Map of one attribute, 0 to 255 for each region. */
function attributeMap(image, subnet, k) {
  const size = image.grid[0] * image.grid[1];
  return image.attention[subnet].subarray(k * size, (k + 1) * size);
}

/** Draws a map into a canvas, one pixel for each region. */
function paint(canvas, image, map) {
  const [rows, columns] = image.grid;
  Object.assign(canvas, { width: columns, height: rows });
  canvas.getContext("2d").putImageData(new ImageData(colours(map), columns, rows), 0, 0);
}

/** A stack of the image and a map. */
function stack(image, map) {
  const canvas = element("canvas", { ariaHidden: "true" });
  paint(canvas, image, map);
  const picture = element("img", { src: image.image, alt: "" });
  return element("div", { className: "stack" }, picture, canvas);
}

// ---- files ----------------------------------------------------------------------------------

function download(name, blob) {
  const link = element("a", { download: name, href: URL.createObjectURL(blob) });
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 1000);
}

const fileName = (image, kind) =>
  `${image.name.replace(/\.\w+$/, "")} ${$("caption").textContent}`
    .replace(/[^\p{L}\p{N}]+/gu, "_")
    .replace(/^_|_$/g, "") + `.${kind}`;

const PNG_SIZE = 896; // pixels

function savePng() {
  const canvas = element("canvas", { width: PNG_SIZE, height: PNG_SIZE }),
    context = canvas.getContext("2d"),
    image = currentImage();
  context.drawImage($("image"), 0, 0, PNG_SIZE, PNG_SIZE);
  if (!$("heat").hidden) context.drawImage($("heat"), 0, 0, PNG_SIZE, PNG_SIZE);
  canvas.toBlob((blob) => download(fileName(image, "png"), blob));
}

function saveSvg() {
  const image = currentImage(),
    layers = [image.image];
  if (!$("heat").hidden) layers.push($("heat").toDataURL());
  download(fileName(image, "svg"), new Blob([svgOf(layers, $("caption").textContent)]));
}

/** An SVG of images on top of one another, with a title. */
function svgOf(layers, title) {
  const head = element("title", { textContent: title }).innerHTML, // escaped
    images = layers.map((source) => `<image href="${source}" width="100" height="100"/>`);
  const open = '<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 100 100">';
  return `${open}<title>${head}</title>${images.join("")}</svg>\n`;
}
