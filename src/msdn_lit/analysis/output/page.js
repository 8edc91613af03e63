"use strict";
for (const button of document.querySelectorAll("th button")) {
  button.addEventListener("click", () => {
    const header = button.parentElement,
      body = header.closest("table").tBodies[0],
      column = header.cellIndex;
    const down = header.getAttribute("aria-sort") !== "descending";
    for (const other of header.parentElement.children) other.removeAttribute("aria-sort");
    header.setAttribute("aria-sort", down ? "descending" : "ascending");
    const value = (row) => row.cells[column].dataset.n,
      text = (row) => row.cells[column].textContent;
    const rows = [...body.rows].sort((a, b) =>
      value(a) === undefined
        ? text(b).localeCompare(text(a))
        : (value(b) === "") - (value(a) === "") || value(b) - value(a),
    );
    body.append(...(down ? rows : rows.reverse()));
  });
}
for (const input of document.querySelectorAll("input[type=search]")) {
  const table = input.closest(".table"),
    rows = [...table.querySelector("tbody").rows];
  input.addEventListener("input", () => {
    const words = input.value.toLowerCase().split(/\s+/);
    for (const row of rows) {
      const cells = [...row.cells].map((cell) => cell.textContent.trim());
      const text = cells.join(" ").toLowerCase();
      row.hidden = !words.every((word) => text.includes(word));
    }
    const shown = rows.filter((row) => !row.hidden).length;
    table.querySelector("output").textContent = input.value
      ? `${shown} of ${rows.length} rows`
      : "";
  });
}
