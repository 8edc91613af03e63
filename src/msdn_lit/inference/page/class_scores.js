// Scores of classes from attribute scores: ranking, edits, new classes and counterfactuals.
// A class's score is the sum over attributes of class value times attribute score, plus a margin.
"use strict";

const bytes = (text) => Uint8Array.from(atob(text), (letter) => letter.charCodeAt(0));
const floats = (text) => new Float32Array(bytes(text).buffer);
const sum = (values) => values.reduce((total, value) => total + value, 0);
const dot = (a, b) => {
  let total = 0;
  for (let k = 0; k < a.length; k++) total += a[k] * b[k];
  return total;
};
const unit = (row) => {
  const length = Math.sqrt(dot(row, row));
  return row.map((v) => (length ? v / length : 0));
};
const percent = (row) => {
  const top = Math.max(...row);
  return Array.from(row, (v) => (top ? (100 * v) / top : 0));
};
const hundredths = (value) => Math.round(100 * value) / 100;

/** Returns the classes by score, the best first: {c, score}. */
function ranking(psi, classes) {
  return classes
    .map((one, c) => ({ c, score: dot(one.row, psi) + one.margin }))
    .sort((a, b) => b.score - a.score);
}

/** Contribution of each attribute to a class's score; with a rival, less that to the rival's. */
function contributions(psi, one, rival) {
  return Array.from(psi, (score, k) => one.row[k] * score - (rival ? rival.row[k] * score : 0));
}

/** Margin of a class; with a rival, less the rival's. */
const marginOf = (one, rival) => one.margin - (rival ? rival.margin : 0);

/** The score as it is shown; with a rival, the difference of the two scores that are shown. */
function shownTotal(psi, one, rival) {
  const score = (each) => hundredths(dot(each.row, psi) + each.margin);
  return score(one) - (rival ? score(rival) : 0);
}

/** Rounds amounts, not all zero, to hundredths that add up to the total; zero stays zero. */
function roundedTo(total, amounts) {
  const cents = amounts.map((value) => Math.floor(100 * value)),
    fraction = (i) => 100 * amounts[i] - Math.floor(100 * amounts[i]);
  const order = [...amounts.keys()].filter((i) => amounts[i] !== 0);
  order.sort((a, b) => fraction(b) - fraction(a));
  let missing = Math.round(100 * total) - sum(cents);
  for (let i = 0; missing !== 0 && order.length; i = (i + 1) % order.length) {
    const step = Math.sign(missing);
    cents[order[step > 0 ? i : order.length - 1 - i]] += step;
    missing -= step;
  }
  return cents.map((value) => value / 100);
}

/** Share of the values below one value, 0 to 1, from the values' 0 to 100 % quantiles. */
function shareBelow(value, quantiles) {
  const above = quantiles.findIndex((quantile) => quantile > value);
  if (above < 1) return above < 0 ? 1 : 0;
  const [low, high] = [quantiles[above - 1], quantiles[above]];
  return (above - 1 + (value - low) / (high - low)) / (quantiles.length - 1);
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
    lines.push(`${JSON.stringify(one.isAdded ? one.name : `${one.name} (edited)`)}:`);
    one.values.forEach((v, k) => {
      if (v > 0) lines.push(`  ${JSON.stringify(attributes[k])}: ${Math.round(v * 10) / 10}`);
    });
  }
  return lines.join("\n") + "\n";
}
