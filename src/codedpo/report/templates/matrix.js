/* The browser of pass matrices: a task picker, a grid that arrow keys move in, and what a cell means. */
const OUTCOMES = {
  passed: ["", "passed"],
  failed: ["×", "failed: the assertion did not hold"],
  error: ["!", "error: the call raised"],
  timeout: ["t", "time-out"],
  memory: ["m", "out of memory"],
  crashed: ["†", "crashed: the process died"],
  not_loaded: ["∅", "not loaded: the solution could not be defined"],
  opaque: ["?", "opaque: the value is not plain data"],
  not_run: ["·", "not run: skipped after time-outs"],
};
const kindOf = new Map(data.kinds.map((kind, index) => {
  const letters = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";
  return [index < letters.length ? letters[index] : String.fromCodePoint(0x100 + index), kind];
}));
let showTask = () => {};

if (data.tasks.length) {
  const root = document.querySelector("[data-browser]");
  const find = (name) => root.querySelector(`[data-${name}]`);
  const search = root.querySelector("#task-search");
  const list = root.querySelector("#task-options");
  const [grid, detail] = [find("grid"), find("detail")];
  let current = -1;
  let matching = data.tasks.map((_, index) => index);
  let kept = null;

  const passedShare = (task) => {
    const cells = task.cells.join("");
    let passed = 0;
    for (const cell of cells) passed += kindOf.get(cell)[0] === "passed";
    return cells.length ? passed / cells.length : 0;
  };
  const options = data.tasks.map((task, index) => {
    const rate = `${Math.round(100 * passedShare(task))}%`;
    const option = element("li", { role: "option", id: `task-option-${index}`, "aria-selected": "false" },
      element("span", { class: "name" }, task.name), element("span", { class: "rate" }, rate));
    option.title = `${task.id}: ${task.solutions.length} solutions × ${task.tests.length} tests, ${rate} passed`;
    option.addEventListener("click", () => showTask(index));
    return option;
  });
  list.append(...options);

  const filter = () => {
    const words = search.value.toLowerCase().split(/\s+/).filter(Boolean);
    matching = [];
    data.tasks.forEach((task, index) => {
      const text = `${task.id} ${task.name} ${task.prompt}`.toLowerCase();
      const fits = words.every((word) => text.includes(word));
      options[index].hidden = !fits;
      options[index].style.display = fits ? "" : "none";
      if (fits) matching.push(index);
    });
    if (matching.length && !matching.includes(current)) showTask(matching[0]);
    else place();
  };
  const place = () => {
    const at = matching.indexOf(current);
    find("place").textContent = matching.length
      ? `${at + 1} of ${matching.length}${matching.length < data.tasks.length ? " found" : " tasks"}`
      : "no task found";
    const [back, forward] = root.querySelectorAll("[data-step]");
    back.disabled = at <= 0;
    forward.disabled = at < 0 || at >= matching.length - 1;
  };
  const step = (by) => {
    const next = matching[matching.indexOf(current) + by];
    if (next !== undefined) showTask(next);
  };
  search.addEventListener("input", filter);
  search.addEventListener("keydown", (event) => {
    const by = { ArrowDown: 1, ArrowUp: -1 }[event.key];
    if (by) { event.preventDefault(); step(by); }
    if (event.key === "Enter") grid.querySelector("[tabindex='0']")?.focus();
  });
  root.querySelectorAll("[data-step]").forEach((button) =>
    button.addEventListener("click", () => step(Number(button.dataset.step))));

  showTask = (index) => {
    const task = data.tasks[index];
    if (current >= 0) options[current].setAttribute("aria-selected", "false");
    current = index;
    kept = null;
    options[index].setAttribute("aria-selected", "true");
    search.setAttribute("aria-activedescendant", options[index].id);
    const [top, bottom] = [options[index].offsetTop - list.offsetTop, options[index].offsetHeight];
    if (top < list.scrollTop) list.scrollTop = top;
    else if (top + bottom > list.scrollTop + list.clientHeight) list.scrollTop = top + bottom - list.clientHeight;
    place();
    find("name").replaceChildren(element("code", {}, task.signature || task.name), " ",
      element("span", { class: "tag" }, task.id));
    find("prompt").textContent = task.prompt;
    find("prompt").scrollTop = 0;
    find("seed").hidden = !task.seed;
    if (task.seed) {
      find("seed-where").textContent = `${task.seed.where}. Concepts: ${task.concepts.join(", ") || "none"}.`;
      find("seed").querySelector("pre").replaceChildren(highlighted(task.seed.code));
    }
    drawGrid(task);
    grid.querySelector("[tabindex='0']")?.dispatchEvent(new Event("show"));
  };

  function drawGrid(task) {
    const pair = data.pairs.find((pair) => pair.task === current && pair.kind === "correctness");
    const best = Math.max(...task.tests.map((test) => test.score || 0)) || 1;
    const head = element("tr", {}, element("th", { scope: "col" }, element("span", { class: "hidden-text" }, "solution")));
    task.tests.forEach((test, column) => {
      const bar = element("i", { style: `height:${(28 * (test.score || 0)) / best}px` });
      head.append(element("th", { scope: "col", tabindex: "-1", "data-row": -1, "data-column": column, "aria-label": `test ${shortId(test.id)}` },
        element("span", { class: "column" }, bar, shortId(test.id).replace(/^\D+0?/, ""))));
    });
    const body = element("tbody");
    const seen = new Map();
    task.solutions.forEach((solution, row) => {
      const role = pair && (row === pair.chosen ? "chosen" : row === pair.rejected ? "rejected" : "");
      const mark = element("span", { class: `role ${role || ""}`, title: role || null }, role ? role[0].toUpperCase() : "");
      const meter = element("span", { class: "meter" }, element("i", { style: `width:${100 * (solution.score || 0)}%` }));
      const line = element("tr", {}, element("th", { scope: "row", tabindex: "-1", "data-row": row, "data-column": -1 }, mark, shortId(solution.id), meter));
      [...task.cells[row]].forEach((cell, column) => {
        const [outcome, error] = kindOf.get(cell);
        seen.set(outcome, (seen.get(outcome) || 0) + 1);
        line.append(element("td", { class: `o-${outcome}`, tabindex: row || column ? "-1" : "0", "data-row": row, "data-column": column,
          "aria-label": `${shortId(solution.id)}, ${shortId(task.tests[column].id)}: ${outcome.replace("_", " ")} ${error}` }, OUTCOMES[outcome][0]));
      });
      body.append(line);
    });
    const caption = `Pass matrix of ${task.name}: ${task.solutions.length} solutions by ${task.tests.length} tests`;
    grid.replaceChildren(element("table", { class: "matrix", role: "grid", "aria-label": caption }, element("thead", {}, head), body));
    find("outcomes").replaceChildren(...Object.keys(OUTCOMES).filter((name) => seen.has(name)).map((name) =>
      element("li", {}, element("span", { class: `swatch o-${name}` }, OUTCOMES[name][0]), `${seen.get(name)} ${name.replace("_", " ")}`)));
  }

  const cellAt = (row, column) => grid.querySelector(`[data-row="${row}"][data-column="${column}"]`);
  const positionOf = (target) => {
    const cell = target.closest?.("[data-row]");
    return cell && [Number(cell.dataset.row), Number(cell.dataset.column)];
  };

  function explain([row, column]) {
    const task = data.tasks[current];
    const [solution, test] = [task.solutions[row], task.tests[column]];
    const parts = [];
    if (solution && test) {
      const [outcome, error] = kindOf.get(task.cells[row][column]);
      parts.push(element("p", { class: "state" }, element("span", { class: `swatch o-${outcome}` }, OUTCOMES[outcome][0]),
        `${shortId(solution.id)} on ${shortId(test.id)}: ${OUTCOMES[outcome][1]}${error ? ` (${error})` : ""}`));
    }
    if (test) {
      const passing = task.cells.filter((cells) => kindOf.get(cells[column])[0] === "passed").length;
      parts.push(element("h4", {}, `Test ${shortId(test.id)} · ${test.score == null ? "" : `score ${decimals(test.score)} · `}${passing} of ${task.solutions.length} solutions pass`),
        element("pre", { class: "code wrap" }, highlighted(test.code)));
    }
    if (solution) {
      const passed = [...task.cells[row]].filter((cell) => kindOf.get(cell)[0] === "passed").length;
      parts.push(element("h4", {}, `Solution ${shortId(solution.id)} · score ${decimals(solution.score)} · passes ${passed} of ${task.tests.length}`),
        element("pre", { class: "code" }, highlighted(solution.code)));
    }
    detail.replaceChildren(...parts);
    detail.scrollTop = 0;
  }

  grid.addEventListener("show", (event) => explain(positionOf(event.target)), true);
  grid.addEventListener("mouseover", (event) => { const at = positionOf(event.target); if (at) explain(at); });
  grid.addEventListener("mouseleave", () => { explain(kept || positionOf(grid.querySelector("[tabindex='0']"))); });
  grid.addEventListener("focusin", (event) => {
    grid.querySelectorAll("[tabindex='0']").forEach((cell) => cell.setAttribute("tabindex", "-1"));
    event.target.setAttribute("tabindex", "0");
    explain(positionOf(event.target));
  });
  const keep = (cell) => {
    grid.querySelector(".kept")?.classList.remove("kept");
    cell.classList.add("kept");
    kept = positionOf(cell);
  };
  grid.addEventListener("click", (event) => {
    const cell = event.target.closest("[data-row]");
    if (cell) { cell.focus(); keep(cell); }
  });
  grid.addEventListener("keydown", (event) => {
    const at = positionOf(event.target);
    if (!at) return;
    const task = data.tasks[current];
    const moves = { ArrowUp: [-1, 0], ArrowDown: [1, 0], ArrowLeft: [0, -1], ArrowRight: [0, 1], Home: [0, -99], End: [0, 99] };
    if (event.key === "Enter" || event.key === " ") { event.preventDefault(); keep(event.target); }
    if (!moves[event.key]) return;
    event.preventDefault();
    const row = clamp(at[0] + moves[event.key][0], -1, task.solutions.length - 1);
    const column = clamp(at[1] + moves[event.key][1], -1, task.tests.length - 1);
    cellAt(row, column)?.focus();
  });

  root.hidden = false;
  const wanted = data.tasks.findIndex((task) => `#${task.id}` === location.hash);
  showTask(Math.max(wanted, 0));
  if (wanted >= 0) root.scrollIntoView();
}
