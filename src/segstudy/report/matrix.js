// Confusion of one network, or the difference of two.
widgets.matrix = (place, data) => {
  const options = () => data.names.map((name, k) => make("option", {value: k}, name));
  const first = make("select", {"aria-label": "Network"}, ...options());
  const second = make("select", {"aria-label": "Minus"}, make("option", {value: ""}, "nothing"), ...options());
  const box = make("div", {class: "box matrix", tabindex: 0, role: "region", "aria-label": "Confusion matrix"});
  const draw = () => {
    const other = second.value === "" ? null : data.percent[second.value];
    const grid = data.percent[first.value].map((row, t) => row.map((value, p) =>
      value === null ? null : other ? value - other[t][p] : value));
    const reach = other ? Math.max(...grid.flat().map(value => Math.abs(value || 0)), 1e-9) : 100;
    const cell = value => {
      if (value === null) return make("td", {}, "–");
      const share = Math.min(1, Math.abs(value) / reach), colour = value < 0 ? "var(--c1)" : "var(--c0)";
      const text = (other && value > 0 ? "+" : "") + value.toFixed(1).replace("-", "−");
      return make("td", {style: `background: color-mix(in srgb, ${colour} ${Math.round(share * 45)}%, transparent)`}, text);
    };
    box.replaceChildren(make("table", {},
      make("thead", {}, make("tr", {}, make("td", {}, "true ↓ predicted →"), ...data.classes.map(name => make("th", {scope: "col"}, name)))),
      make("tbody", {}, ...grid.map((row, t) => make("tr", {}, make("th", {scope: "row"}, data.classes[t]), ...row.map(cell))))));
  };
  first.addEventListener("change", draw);
  second.addEventListener("change", draw);
  place.append(make("div", {class: "tools"}, make("label", {}, "Network ", first), make("label", {}, "minus ", second)), box);
  draw();
};
