/* Pairs side by side: lines aligned by their longest common subsequence, changed words marked. */

/* Align two lists: [[left index or -1, right index or -1], ...]. */
function aligned(left, right) {
  const [rows, columns] = [left.length, right.length];
  const longest = Array.from({ length: rows + 1 }, () => new Uint16Array(columns + 1));
  for (let i = rows - 1; i >= 0; i--)
    for (let j = columns - 1; j >= 0; j--)
      longest[i][j] = left[i] === right[j] ? longest[i + 1][j + 1] + 1 : Math.max(longest[i + 1][j], longest[i][j + 1]);
  const steps = [];
  let [i, j] = [0, 0];
  while (i < rows || j < columns) {
    if (i < rows && j < columns && left[i] === right[j]) steps.push([i++, j++]);
    else if (j >= columns || (i < rows && longest[i + 1][j] >= longest[i][j + 1])) steps.push([i++, -1]);
    else steps.push([-1, j++]);
  }
  return steps;
}

/* Line numbers side by side, [left, right, changed]: runs of lines that only one side has are put next to each other. */
function rowsOf(left, right) {
  const rows = [];
  let [ours, theirs] = [[], []];
  const flush = () => {
    for (let k = 0; k < Math.max(ours.length, theirs.length); k++) rows.push([ours[k], theirs[k], true]);
    [ours, theirs] = [[], []];
  };
  for (const [i, j] of aligned(left, right)) {
    if (i >= 0 && j >= 0) { flush(); rows.push([i, j, false]); }
    else if (i >= 0) ours.push(i);
    else theirs.push(j);
  }
  flush();
  return rows;
}

/* One line with the words marked that the other line does not have; null where they have little in common. */
function marked(line, other) {
  if (other === undefined) return null;
  const words = (text) => text.match(/\w+|\s+|[^\w\s]/g) || [];
  const [own, theirs] = [words(line), words(other)];
  const steps = aligned(own, theirs);
  const common = steps.filter(([i, j]) => i >= 0 && j >= 0 && own[i].trim()).length;
  if (common < 0.4 * own.filter((word) => word.trim()).length) return null;
  const nodes = document.createDocumentFragment();
  for (const [i, j] of steps) {
    if (i < 0) continue;
    nodes.append(j >= 0 || !own[i].trim() ? own[i] : element("mark", {}, own[i]));
  }
  return nodes;
}

/* Every measured CPU time of both sides on one scale. */
function speedStrip(chosen, rejected) {
  const all = [...chosen, ...rejected];
  const [low, high] = [0, Math.max(...all) * 1.02];
  const at = (value) => (90 + (260 * (value - low)) / (high - low)).toFixed(1);
  const space = "http://www.w3.org/2000/svg";
  const make = (name, attributes, text) => {
    const node = document.createElementNS(space, name);
    for (const [key, value] of Object.entries(attributes)) node.setAttribute(key, value);
    if (text) node.textContent = text;
    return node;
  };
  const svg = make("svg", { class: "chart", viewBox: "0 0 360 58", width: 360, height: 58, role: "img",
    "aria-label": `CPU times: chosen from ${microseconds(Math.min(...chosen))}, rejected from ${microseconds(Math.min(...rejected))}` });
  [["chosen", chosen, 12], ["rejected", rejected, 32]].forEach(([name, samples, y]) => {
    svg.append(make("line", { class: "grid", x1: 90, x2: 350, y1: y, y2: y }), make("text", { class: "row", x: 80, y: y + 4, "text-anchor": "end" }, name));
    samples.forEach((sample) => svg.append(make("circle", { class: `dot ${name}`, cx: at(sample), cy: y, r: 3, "fill-opacity": 0.7 })));
  });
  svg.append(make("text", { x: 90, y: 54 }, "0"), make("text", { x: 350, y: 54, "text-anchor": "end" }, microseconds(high)));
  return svg;
}

if (data.pairs.length) {
  const root = document.querySelector("[data-pairs]");
  const find = (name) => root.querySelector(`[data-${name}]`);
  const radios = [...root.querySelectorAll("input[name=kind]")];
  let shown = data.pairs;
  let current = 0;

  const show = () => {
    const pair = shown[current];
    const task = data.tasks[pair.task];
    const [chosen, rejected] = [task.solutions[pair.chosen], task.solutions[pair.rejected]];
    find("place").textContent = `${current + 1} of ${shown.length} pairs`;
    const [back, forward] = root.querySelectorAll("[data-step]");
    [back.disabled, forward.disabled] = [current === 0, current === shown.length - 1];
    find("name").textContent = task.name;
    find("task").href = `#${task.id}`;
    find("kind").textContent = pair.kind;
    find("split").textContent = pair.split;
    const fast = pair.kind === "efficiency";
    find("fact").textContent = fast
      ? `${decimals(pair.ratio)} times the CPU time (at least ${decimals(pair.low)} at 95%)`
      : `scores ${decimals(pair.scores[0])} and ${decimals(pair.scores[1])}`;
    find("speed").replaceChildren(...(fast && chosen.ns && rejected.ns ? [speedStrip(chosen.ns, rejected.ns)] : []));
    const codes = [chosen.code.trim(), rejected.code.trim()];
    const lines = codes.map((code) => code.split("\n"));
    const rows = rowsOf(...lines);
    [["chosen", chosen], ["rejected", rejected]].forEach(([side, solution], index) => {
      const coloured = highlightedLines(codes[index]);
      const article = root.querySelector(`.side.${side}`);
      article.querySelector("[data-about]").textContent = fast ? `${shortId(solution.id)}, ${microseconds(pair.ns[index])}` : `${shortId(solution.id)}, score ${decimals(pair.scores[index])}`;
      article.querySelector(".diff").replaceChildren(...rows.map((row) => {
        const [own, other] = [row[index], row[1 - index]];
        if (own === undefined) return element("div", { class: "filler", "aria-hidden": "true" });
        const words = row[2] && marked(lines[index][own], lines[1 - index][other]);
        return element("div", { class: row[2] ? "changed" : null }, words || coloured[own]);
      }));
    });
  };
  radios.forEach((radio) => {
    const count = data.pairs.filter((pair) => !radio.value || pair.kind === radio.value).length;
    radio.parentElement.append(` ${count}`);
    radio.disabled = count === 0;
    radio.addEventListener("change", () => {
      shown = data.pairs.filter((pair) => !radio.value || pair.kind === radio.value);
      current = 0;
      show();
    });
  });
  root.querySelectorAll("[data-step]").forEach((button) => button.addEventListener("click", () => {
    current = clamp(current + Number(button.dataset.step), 0, shown.length - 1);
    show();
  }));
  find("task").addEventListener("click", (event) => {
    event.preventDefault();
    showTask(shown[current].task);
    document.getElementById("matrices").scrollIntoView();
  });
  root.hidden = false;
  show();
}
