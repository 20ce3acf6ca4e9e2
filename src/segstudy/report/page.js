// Folding, tables and the origin of each number. Widgets add themselves to `widgets`.
"use strict";
const widgets = {};

function make(tag, attributes = {}, ...children) {
  const element = document.createElement(tag);
  for (const [key, value] of Object.entries(attributes)) {
    if (key.startsWith("on")) element.addEventListener(key.slice(2), value);
    else if (value !== false && value !== null) element.setAttribute(key, value === true ? "" : value);
  }
  element.append(...children);
  return element;
}

// Sections open when something in them is asked for, and for print.
function reveal() {
  const target = location.hash && document.getElementById(decodeURIComponent(location.hash.slice(1)));
  const section = target && target.closest("details.section");
  if (section && !section.open) { section.open = true; target.scrollIntoView(); }
}
addEventListener("hashchange", reveal);
addEventListener("beforeprint", () => document.querySelectorAll("details.section").forEach(one => { one.open = true; }));
document.querySelectorAll(".toc a").forEach(link => link.addEventListener("click", () => setTimeout(reveal)));

// Widgets are made when their section opens.
function makeWidgets(section) {
  if (!section.open) return;
  for (const table of section.querySelectorAll("table.sortable")) {
    table.classList.toggle("tight", table.scrollWidth > table.parentElement.clientWidth + 1);
  }
  for (const place of section.querySelectorAll(".widget:not(.made)")) {
    place.classList.add("made");
    widgets[place.dataset.script](place, JSON.parse(place.firstElementChild.textContent));
  }
}
document.querySelectorAll("details.section").forEach(section => section.addEventListener("toggle", () => makeWidgets(section)));

// A link to the worst image of a network opens it.
document.querySelectorAll("a[data-worst]").forEach(link => link.addEventListener("click", () => setTimeout(() => {
  const item = document.getElementById(link.hash.slice(1));
  reveal();
  makeWidgets(item.closest("details.section"));
  item.querySelector(".widget").dispatchEvent(new CustomEvent("worst", {detail: link.dataset.worst}));
})));

// A number opens its contract, its lines of results.csv and its counts.
const counts = JSON.parse(document.getElementById("counts").textContent);
const single = document.body.classList.contains("single");  // without the files that links would lead to
const fileLink = path => single ? make("code", {}, path) : make("a", {href: path}, path);
const numberDialog = document.getElementById("number");
document.addEventListener("click", event => {
  const button = event.target.closest("button.num");
  if (button) showNumber(button.closest("td"));
});
function showNumber(cell) {
  const lines = (cell.dataset.lines || "").split(" ").filter(Boolean).map(Number);
  const [, exact, contract] = cell.title.match(/^(.*?) \((.*)\)$/s) || [null, cell.title, ""];
  const rows = lines.map(line => {
    const [, ...files] = counts.filter(([first]) => first <= line).pop();
    return make("li", {}, "line " + line + " of ", fileLink("results.csv"), ", from ", ...files.flatMap((file, k) => [k ? ", " : "", fileLink(file)]));
  });
  numberDialog.replaceChildren(
    make("h3", {}, cell.textContent),
    make("p", {}, "Exactly " + exact),
    make("p", {class: "caption"}, contract),
    ...(rows.length ? [make("ul", {}, ...rows)] : []),
    make("button", {type: "button", onclick: () => numberDialog.close()}, "Close"),
  );
  numberDialog.showModal();
}

// Tables: sort, filter, choose columns, copy.
function cellText(cell) { return cell.textContent.trim(); }
function shownRows(table) {
  const heads = [...table.tHead.rows[0].cells];
  const columns = heads.map((_, k) => k).filter(k => !heads[k].hidden);
  const rows = [table.tHead.rows[0], ...[...table.tBodies[0].rows].filter(row => !row.hidden)];
  return rows.map(row => columns.filter(k => row.cells[k]).map(k => cellText(row.cells[k])));
}
const TEX = {"\\": "\\textbackslash{}", "^": "\\^{}", "~": "\\textasciitilde{}", "−": "$-$", "–": "--", "±": "$\\pm$", "Δ": "$\\Delta$",
  "×": "$\\times$", "→": "$\\rightarrow$", "↑": "$\\uparrow$", "↓": "$\\downarrow$", "\u00a0": "~"};
const tex = text => text.replace(/[\\^~−–±Δ×→↑↓\u00a0&%$#_{}]/g, sign => TEX[sign] || "\\" + sign);
const written = {
  LaTeX(rows, table) {
    const lines = rows.map(row => "  " + row.map(tex).join(" & ") + " \\\\");
    const align = [...table.tHead.rows[0].cells].filter(head => !head.hidden).map(head => head.classList.contains("n") ? "r" : "l").join("");
    return ["\\begin{tabular}{" + align + "}", "\\toprule", lines[0], "\\midrule", ...lines.slice(1), "\\bottomrule", "\\end{tabular}"].join("\n");
  },
  Markdown(rows) {
    const line = row => "| " + row.map(text => text.replace(/[\\`*<|]/g, "\\$&")).join(" | ") + " |";
    return [line(rows[0]), "|" + rows[0].map(() => "---").join("|") + "|", ...rows.slice(1).map(line)].join("\n");
  },
  CSV(rows) {
    return rows.map(row => row.map(text => /[",\n]/.test(text) ? '"' + text.replaceAll('"', '""') + '"' : text).join(",")).join("\n");
  },
};
async function copy(text, button) {
  try { await navigator.clipboard.writeText(text); } catch {
    const area = make("textarea", {"aria-label": "copied text"}, text);
    document.body.append(area); area.select(); document.execCommand("copy"); area.remove();
  }
  const before = button.textContent;
  button.textContent = "Copied";
  setTimeout(() => { button.textContent = before; }, 1200);
}
function tools(table) {
  const heads = [...table.tHead.rows[0].cells], name = table.dataset.caption;
  const search = make("input", {type: "search", placeholder: "Filter rows", "aria-label": "Filter rows of " + name, oninput() {
    const wanted = search.value.toLowerCase();
    for (const row of table.tBodies[0].rows) row.hidden = !row.textContent.toLowerCase().includes(wanted);
  }});
  const choices = heads.slice(1).map((head, place) => make("label", {}, make("input", {type: "checkbox", checked: true, onchange(event) {
    for (const row of table.rows) if (row.cells[place + 1]) row.cells[place + 1].hidden = !event.target.checked;
  }}), " " + cellText(head)));
  const copies = Object.entries(written).map(([kind, write]) => make("button", {type: "button", "aria-label": "Copy " + name + " as " + kind,
    onclick(event) { copy(write(shownRows(table), table), event.currentTarget); }}, "Copy " + kind));
  return make("div", {class: "tools"}, search, make("details", {}, make("summary", {}, "Columns"), make("div", {class: "menu"}, ...choices)), ...copies);
}
function sortable(table) {
  const body = table.tBodies[0], original = [...body.rows];
  const heads = [...table.tHead.rows[0].cells];
  const key = (row, column) => row.cells[column].dataset.n === undefined ? null : Number(row.cells[column].dataset.n);
  heads.forEach((head, column) => head.firstElementChild.addEventListener("click", () => {
    const numeric = head.classList.contains("n"), first = numeric ? "descending" : "ascending";
    const second = numeric ? "ascending" : "descending", now = head.getAttribute("aria-sort");
    const next = now === null ? first : now === first ? second : null;
    heads.forEach(other => other.removeAttribute("aria-sort"));
    const rows = [...original];
    if (next !== null) {
      head.setAttribute("aria-sort", next);
      const sign = next === "ascending" ? 1 : -1;
      rows.sort((a, b) => {
        if (!numeric) return sign * a.cells[column].textContent.localeCompare(b.cells[column].textContent, "en", {numeric: true});
        const x = key(a, column), y = key(b, column);
        if (x === null || y === null) return (x === null) - (y === null);  // gaps stay at the end
        return sign * (x - y);
      });
    }
    body.append(...rows);
  }));
}
for (const table of document.querySelectorAll("table.sortable")) {
  sortable(table);
  table.closest(".box").before(tools(table));
}
addEventListener("DOMContentLoaded", reveal);
