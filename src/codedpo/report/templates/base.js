"use strict";
const data = JSON.parse(document.getElementById("data").textContent);

/* Make an element: element("td", {class: "n"}, "text", child, ...). Text is never parsed as markup. */
function element(name, attributes = {}, ...children) {
  const node = document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) if (value != null) node.setAttribute(key, value);
  node.append(...children.filter((child) => child != null));
  return node;
}

const TOKENS = /("""[\s\S]*?(?:"""|$)|'''[\s\S]*?(?:'''|$)|"(?:\\.|[^"\\\n])*"?|'(?:\\.|[^'\\\n])*'?)|(#.*)|\b(False|None|True|and|as|assert|async|await|break|class|continue|def|del|elif|else|except|finally|for|from|global|if|import|in|is|lambda|nonlocal|not|or|pass|raise|return|try|while|with|yield)\b|\b(\d[\d_.]*(?:e[+-]?\d+)?)\b/g;
const TOKEN_CLASSES = ["s", "c", "k", "d"];

/* The lines of Python code as nodes with coloured strings, comments, keywords and numbers. */
function highlightedLines(code) {
  const lines = [document.createDocumentFragment()];
  const add = (text, kind) => text.split("\n").forEach((piece, index) => {
    if (index) lines.push(document.createDocumentFragment());
    if (piece) lines.at(-1).append(kind ? element("span", { class: kind }, piece) : piece);
  });
  let end = 0;
  for (const match of code.matchAll(TOKENS)) {
    add(code.slice(end, match.index));
    add(match[0], TOKEN_CLASSES[match.slice(1).findIndex((group) => group !== undefined)]);
    end = match.index + match[0].length;
  }
  add(code.slice(end));
  return lines;
}

function highlighted(code) {
  const nodes = document.createDocumentFragment();
  highlightedLines(code).forEach((line, index) => nodes.append(index ? "\n" : "", line));
  return nodes;
}

const shortId = (id) => id.slice(id.lastIndexOf("/") + 1);
const decimals = (value, digits = 2) => (value == null ? "–" : value.toFixed(digits));
const clamp = (value, low, high) => Math.min(Math.max(value, low), high);

function microseconds(nanoseconds) {
  const units = [[1e9, "s"], [1e6, "ms"], [1e3, "µs"], [1, "ns"]];
  const [size, unit] = units.find(([size]) => nanoseconds >= size) || units[3];
  return `${Number((nanoseconds / size).toPrecision(3))} ${unit}`;
}

/* Colours: as the system, light, dark. */
{
  const button = document.querySelector("[data-theme-toggle]");
  const themes = ["", "light", "dark"];
  const names = { "": "Auto", light: "Light", dark: "Dark" };
  const said = { "": "as the system", light: "light", dark: "dark" };
  const show = () => {
    const theme = document.documentElement.dataset.theme || "";
    button.textContent = names[theme];
    button.setAttribute("aria-label", `Colours: ${said[theme]}`);
  };
  button.addEventListener("click", () => {
    const theme = themes[(themes.indexOf(document.documentElement.dataset.theme || "") + 1) % themes.length];
    if (theme) document.documentElement.dataset.theme = theme;
    else delete document.documentElement.dataset.theme;
    try { localStorage.setItem("codedpo-theme", theme); } catch { /* private windows refuse storage */ }
    show();
  });
  show();
}

/* The section that is being read, in the navigation. */
{
  const links = new Map([...document.querySelectorAll(".top nav a")].map((link) => [link.hash.slice(1), link]));
  const observer = new IntersectionObserver((entries) => {
    for (const entry of entries) {
      if (!entry.isIntersecting) continue;
      for (const [id, link] of links) {
        if (id === entry.target.id) {
          link.setAttribute("aria-current", "true");
          const nav = link.closest("nav");
          nav.scrollLeft = link.offsetLeft - nav.offsetLeft - (nav.clientWidth - link.clientWidth) / 2;
        }
        else link.removeAttribute("aria-current");
      }
    }
  }, { rootMargin: "-20% 0px -70% 0px" });
  document.querySelectorAll("main > section").forEach((section) => observer.observe(section));
}
