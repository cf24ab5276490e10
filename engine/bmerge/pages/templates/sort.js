// Sort the table of trials by the column whose heading is clicked; again to turn it round.
for (const heading of document.querySelectorAll(".trials th")) {
  heading.tabIndex = 0;
  const sort = () => {
    const column = heading.cellIndex;
    const down = heading.getAttribute("aria-sort") !== "descending";
    const text = (row) => row.cells[column].textContent.trim().replace("\u2212", "-");
    const key = heading.dataset.sort === "number"
      ? (row) => { const value = parseFloat(text(row)); return isNaN(value) ? -Infinity : value; }
      : text;
    const body = heading.closest("table").tBodies[0];
    const rows = [...body.rows].sort((a, b) => (key(a) < key(b) ? 1 : key(a) > key(b) ? -1 : 0));
    body.append(...(down ? rows : rows.reverse()));
    for (const other of heading.parentNode.cells) other.removeAttribute("aria-sort");
    heading.setAttribute("aria-sort", down ? "descending" : "ascending");
  };
  heading.addEventListener("click", sort);
  heading.addEventListener("keydown", (event) => { if (event.key === "Enter") sort(); });
}
