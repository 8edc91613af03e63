// Scores of classes from attribute scores: ranking, edits, new classes and counterfactuals.
// A class's score is the sum over attributes of class value times attribute score, plus a margin.
"use strict";

const bytes = (text) => Uint8Array.from(atob(text), (letter) => letter.charCodeAt(0));
const floats = (text) => new Float32Array(bytes(text).buffer);
const dot = (a, b) => {
  let sum = 0;
  for (let k = 0; k < a.length; k++) sum += a[k] * b[k];
  return sum;
};
const unit = (row) => {
  const length = Math.sqrt(dot(row, row));
  return row.map((v) => (length ? v / length : 0));
};
const percent = (row) => {
  const top = Math.max(...row);
  return Array.from(row, (v) => (top ? (100 * v) / top : 0));
};

/** Returns the classes by score, the best first: {c, score}. */
function ranking(psi, classes) {
  return classes
    .map((one, c) => ({ c, score: dot(one.row, psi) + one.margin }))
    .sort((a, b) => b.score - a.score);
}

/** For each rival the attribute whose score needs the smallest change to tie, smallest first. */
function counterfactuals(psi, classes) {
  const ranked = ranking(psi, classes),
    winner = classes[ranked[0].c];
  const all = ranked.slice(1).map(({ c, score }) => {
    let k = 0,
      widest = 0;
    classes[c].row.forEach((v, i) => {
      const d = v - winner.row[i];
      if (Math.abs(d) > Math.abs(widest)) {
        widest = d;
        k = i;
      }
    });
    return {
      rival: c,
      lead: ranked[0].score - score,
      attribute: k,
      change: (ranked[0].score - score) / widest,
    };
  });
  return all
    .filter((one) => Number.isFinite(one.change))
    .sort((a, b) => Math.abs(a.change) - Math.abs(b.change));
}

/** Returns the added and edited classes as a class file for `msdn predict`. */
function classFile(classes, attributes) {
  const lines = ["# For msdn predict RUN IMAGES --classes THIS_FILE; values from 0 to 100"];
  for (const one of classes.filter((each) => each.values)) {
    lines.push(`${JSON.stringify(one.domain === "new" ? one.name : `${one.name} (edited)`)}:`);
    one.values.forEach((v, k) => {
      if (v > 0) lines.push(`  ${JSON.stringify(attributes[k])}: ${Math.round(v * 10) / 10}`);
    });
  }
  return lines.join("\n") + "\n";
}

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
