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
  input.addEventListener("input", () => {
    const sought = input.value.toLowerCase();
    for (const row of input.parentElement.querySelector("tbody").rows)
      row.hidden = !row.textContent.toLowerCase().includes(sought);
  });
}
