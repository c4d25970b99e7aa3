/* Reading a line chart: the values at the pointer, taken from the table of numbers below it. */
document.querySelectorAll(".figure:has(svg[data-x])").forEach((figure) => {
  const svg = figure.querySelector("svg.chart");
  const cursor = svg.querySelector(".cursor");
  const [low, high, left, right] = svg.dataset.x.split(" ").map(Number);
  const plain = (text) => Number(text.replace(/,/g, "").replaceAll("−", "-"));
  const rows = [...figure.querySelectorAll("tbody tr")].map((row) => [...row.cells].map((cell) => cell.textContent));
  const outputs = [...figure.querySelectorAll("output")];
  svg.addEventListener("pointermove", (event) => {
    const box = svg.getBoundingClientRect();
    const unit = ((event.clientX - box.left) / box.width) * svg.viewBox.baseVal.width;
    const x = low + ((unit - left) / (right - left)) * (high - low);
    const nearest = rows.reduce((best, row) => (Math.abs(plain(row[0]) - x) < Math.abs(plain(best[0]) - x) ? row : best));
    const at = left + ((plain(nearest[0]) - low) / (high - low)) * (right - left);
    cursor.setAttribute("x1", at);
    cursor.setAttribute("x2", at);
    svg.classList.add("reading");
    outputs.forEach((output) => { output.textContent = nearest[Number(output.dataset.series)] || ""; });
  });
  svg.addEventListener("pointerleave", () => {
    svg.classList.remove("reading");
    outputs.forEach((output) => { output.textContent = ""; });
  });
});
