// Every reported image as a point and as a picture; a viewer with overlays, errors and a slider.
// Masks are grey levels, a class index a level; SVG filters colour them, hide classes, and turn differences into errors.
widgets.browser = (place, data) => {
  const parsed = document.createElement("div");
  parsed.innerHTML = "<svg></svg>";
  const space = parsed.firstChild.namespaceURI;
  const svg = (tag, attributes, ...children) => {
    const element = document.createElementNS(space, tag);
    for (const [key, value] of Object.entries(attributes)) element.setAttribute(key, value);
    element.append(...children);
    return element;
  };
  const key = data.folder.replace(/[^a-zA-Z0-9]/g, "-"), names = data.networks.map(one => one.name);
  const shown = new Set(data.classes.keys());
  const state = {at: 0, order: [], a: 0, b: Math.min(1, names.length - 1), errors: false, opacity: 0.6, cut: 50};
  const url = path => data.inline ? data.inline[path] || "" : path;
  const files = k => ({image: url(`${data.folder}/${data.files[k]}.webp`), truth: url(`${data.folder}/${data.files[k]}.png`)});
  const mask = (network, k) => data.networks[network].masks ? url(`${data.networks[network].folder}/${data.files[k]}.png`) : "";
  const number = value => value === null || value === undefined ? "–" : value.toFixed(3);
  const pictures = data.networks.some(one => one.masks);

  // filters
  const table = entry => Array.from({length: 256}, (_, k) => entry(k)).join(" ");
  const channel = place => table(k => ((data.palette[k] || [128, 128, 128])[place] / 255).toFixed(4));
  const visible = svg("feFuncA", {type: "discrete"});
  const wrong = svg("feFuncA", {type: "discrete", tableValues: table(k => k > 0 && k < data.classes.length ? 1 : 0)});
  const alpha = {in: "SourceGraphic", type: "matrix", values: "0 0 0 0 1  0 0 0 0 1  0 0 0 0 1  1 0 0 0 0"};
  place.append(svg("svg", {width: 0, height: 0, style: "position:absolute", "aria-hidden": "true"},
    svg("filter", {id: `classes-${key}`, "color-interpolation-filters": "sRGB", x: 0, y: 0, width: "100%", height: "100%"},
      svg("feColorMatrix", alpha), svg("feComponentTransfer", {result: "mask"}, visible),
      svg("feComponentTransfer", {in: "SourceGraphic"}, ...["R", "G", "B"].map((one, c) =>
        svg("feFunc" + one, {type: "discrete", tableValues: channel(c)}))),
      svg("feComposite", {in2: "mask", operator: "in"})),
    svg("filter", {id: `errors-${key}`, "color-interpolation-filters": "sRGB", x: 0, y: 0, width: "100%", height: "100%"},
      svg("feColorMatrix", alpha), svg("feComponentTransfer", {result: "mask"}, wrong),
      svg("feFlood", {"flood-color": "#d5006d"}), svg("feComposite", {in2: "mask", operator: "in"}))));
  const toggle = () => visible.setAttribute("tableValues", table(k => k >= data.classes.length || shown.has(k) ? 1 : 0));
  toggle();

  // controls
  const option = (value, text) => make("option", {value}, text);
  const networks = (label, field) => make("select", {"aria-label": label, onchange(event) { state[field] = Number(event.target.value); update(); }},
    ...names.map((name, k) => option(k, name)));
  const selectA = networks("Network A", "a"), selectB = networks("Network B", "b");
  const across = make("select", {"aria-label": "Across", onchange: () => update()}, option("b", "score of B"),
    option("size", "pixels of the class"), option("disagreement", "disagreement"), ...(data.groups.length ? [option("group", "group")] : []));
  const ofClass = make("select", {"aria-label": "Class", onchange: () => update()}, option("", "all classes (mIoU)"),
    ...(data.iou.length ? data.classes.map((name, k) => option(k, name)) : []));
  const sort = make("select", {"aria-label": "Sort images by", onchange: () => update()},
    ...data.influence.map((one, k) => option("influence" + k, "influence on " + one.name)),
    option("worst", "worst of A first"), option("difference", "difference of A and B"), option("disagreement", "disagreement of all networks"));
  const plot = svg("svg", {class: "scatter", viewBox: "0 0 420 340", role: "img"});
  const strip = make("div", {class: "strip"}), status = make("p", {class: "caption", role: "status"});
  place.append(make("div", {class: "tools"}, ...[["A ", selectA], ["B ", selectB], ["across ", across], ["class ", ofClass], ["sort by ", sort]]
    .map(([words, control]) => make("label", {}, words, control))), make("div", {class: "browser"}, plot, make("div", {}, status, strip)));

  const score = (network, k) => ofClass.value === "" ? data.scores[network][k] : data.iou[network][k][ofClass.value];
  const size = k => ofClass.value === "" ? data.pixels[k].slice(1).reduce((sum, one) => sum + one, 0) : data.pixels[k][ofClass.value];
  const groups = [...new Set(data.groups)];
  const x = k => ({b: () => score(state.b, k), size: () => size(k), disagreement: () => data.disagreement[k],
    group: () => groups.indexOf(data.groups[k])})[across.value]();
  const rank = k => {
    const a = score(state.a, k), b = score(state.b, k);
    if (sort.value.startsWith("influence")) return -Math.abs(data.influence[sort.value.slice(9)].values[k]);
    if (sort.value === "worst") return a === null ? 2 : a;
    if (sort.value === "difference") return a === null || b === null ? 2 : -Math.abs(a - b);
    return -(data.disagreement[k] || 0);
  };

  const round = (low, high) => {  // up to six round numbers with their texts
    const least = (high - low) / 5 || 1, ten = 10 ** Math.floor(Math.log10(least));
    const step = ten * [1, 2, 5, 10].find(k => k * ten > least * 0.999), places = Math.max(0, -Math.floor(Math.log10(step) + 1e-9));
    const first = Math.ceil(low / step - 1e-6), count = Math.floor(high / step + 1e-6) - first + 1;
    return Array.from({length: count}, (_, k) => [(first + k) * step, ((first + k) * step).toFixed(places)]);
  };
  let limit = 24;
  function update() {
    selectA.value = state.a; selectB.value = state.b;
    const ranks = data.ids.map((_, k) => rank(k));
    state.order = [...data.ids.keys()].sort((p, q) => ranks[p] - ranks[q] || (data.ids[p] < data.ids[q] ? -1 : 1));
    draw(); list();
    if (viewer.open) view();
  }
  function draw() {
    const points = state.order.map(k => [k, x(k), score(state.a, k)]).filter(([, h, v]) => h !== null && v !== null);
    const values = points.map(([, h]) => h), fixed = across.value === "b";
    const scores = [...points.map(([, , v]) => v), ...(fixed ? values : [])];  // both scores on one scale
    const least = Math.floor(20 * Math.min(1, ...scores)) / 20, most = Math.max(least + 0.05, Math.ceil(20 * Math.max(0, ...scores)) / 20);
    const low = fixed ? least : Math.min(0, ...values), high = fixed ? most : Math.max(...values, 1e-9);
    const left = h => 54 + 354 * (h - low) / (high - low || 1), top = v => 300 - 288 * (v - least) / (most - least);
    const lines = round(least, most).flatMap(([v, text]) => [svg("line", {x1: 54, x2: 408, y1: top(v), y2: top(v)}),
      svg("text", {x: 50, y: top(v) + 4, "text-anchor": "end"}, text)]);
    const ticks = across.value === "group" ? [] : round(low, high).map(([h, text]) =>
      svg("text", {x: left(h), y: 316, "text-anchor": "middle"}, text));
    const words = across.value === "b" ? names[state.b] : across.selectedOptions[0].textContent;
    const circles = points.map(([k, h, v]) => {
      const circle = svg("circle", {cx: left(h), cy: top(v), r: 4.5}, svg("title", {}, `${data.ids[k]}: ${number(v)}`));
      circle.addEventListener("click", () => open(state.order.indexOf(k)));
      return circle;
    });
    plot.setAttribute("aria-label", `${points.length} images, score of ${names[state.a]} against ${words}; the pictures below open the same images`);
    plot.replaceChildren(...lines, ...(fixed ? [svg("line", {x1: left(least), y1: top(least), x2: left(most), y2: top(most)})] : []), ...ticks, ...circles,
      svg("text", {x: 226, y: 334, "text-anchor": "middle"}, words),
      svg("text", {x: 12, y: 156, "text-anchor": "middle", transform: "rotate(-90 12 156)"}, names[state.a]));
  }
  function list() {
    const available = state.order.filter(k => !data.inline || files(k).image);
    status.textContent = `${data.ids.length} images, ${Math.min(limit, available.length)} shown` +
      (data.inline ? `; pictures of ${available.length} are in this file` : "");
    const buttons = available.slice(0, limit).map(k => make("button", {type: "button", onclick: () => open(state.order.indexOf(k))},
      pictures ? make("img", {src: files(k).image, alt: "", loading: "lazy"}) : "", make("span", {}, `${data.ids[k].replace(/[/_]/g, "$&\u200b")}: ${number(score(state.a, k))}`)));
    if (limit < available.length) buttons.push(make("button", {type: "button", class: "more", onclick() { limit += 24; list(); }}, "Show more"));
    strip.replaceChildren(...buttons);
  }

  // the viewer
  const heading = make("h3", {}), stage = make("div", {class: "stage large"}), cards = make("div", {class: "cards"});
  const range = (label, field, scale) => make("input", {type: "range", min: 0, max: 100, value: state[field] * scale, "aria-label": label,
    oninput(event) { state[field] = event.target.value / scale; paint(); }});
  const opacity = range("Opacity of the overlay", "opacity", 100), cut = range("Where left meets right", "cut", 1);
  const kind = make("select", {"aria-label": "Overlay", onchange(event) { state.errors = event.target.value === "errors"; view(); }},
    option("classes", "classes"), option("errors", "errors"));
  const side = label => make("select", {"aria-label": label, onchange: () => view()}, option(-1, "truth"), ...names.map((name, k) => option(k, name)));
  const leftSide = side("Left"), rightSide = side("Right");
  leftSide.value = 0; rightSide.value = -1;
  const button = (text, label, act) => make("button", {type: "button", "aria-label": label, onclick: act}, text);
  const keys = make("div", {class: "keys caption"}, ...data.classes.map((name, k) => make("label", {}, make("input", {type: "checkbox", checked: true,
    onchange(event) { event.target.checked ? shown.add(k) : shown.delete(k); toggle(); }}),
    make("span", {class: "swatch", style: `background: rgb(${(data.palette[k] || [128, 128, 128]).join(" ")})`}), name)));
  const viewer = make("dialog", {class: "viewer", "aria-label": "Image viewer"}, make("div", {class: "tools"},
    button("←", "Previous image", () => step(-1)), button("→", "Next image", () => step(1)),
    make("label", {}, "left ", leftSide), make("label", {}, "right ", rightSide), make("label", {}, "show ", kind),
    make("label", {}, "opacity ", opacity), make("label", {}, "slider ", cut), button("Close", "Close", () => viewer.close())),
    heading, make("div", {class: "stages"}, make("div", {}, stage, keys), cards));
  place.append(viewer);
  const step = by => { state.at = (state.at + by + state.order.length) % state.order.length; view(); };
  function open(at) { state.at = at; if (!viewer.open) viewer.showModal(); view(); }
  const picture = (src, alt, classes = "") => make("img", {src, alt, class: classes});

  function labels(network, k, errors) {
    const layer = make("div", {class: "labels"}), source = network < 0 ? files(k).truth : mask(network, k);
    if (!source) return layer;
    if (errors && network >= 0) layer.append(picture(files(k).truth, ""), picture(source, "", "difference"));
    else layer.append(picture(source, network < 0 ? "truth" : "prediction of " + names[network]));
    layer.style.filter = `url("#${errors && network >= 0 ? "errors" : "classes"}-${key}")`;
    return layer;
  }
  function sheet(k, ...layers) {
    const both = files(k);
    const measured = make("img", {src: both.truth, alt: "", class: "size", onload(event) {  // no taller than the window has room for
      const {naturalWidth, naturalHeight} = event.target;
      const large = event.target.closest(".large");
      if (large) event.target.parentElement.style.maxWidth = `calc(66vh * ${naturalWidth / naturalHeight})`;
    }});
    return make("div", {class: "sheet"}, measured, picture(both.image, "input image " + data.ids[k]), ...layers);
  }
  let halves = [];
  function paint() {
    for (const layer of halves) layer.style.opacity = state.opacity;
    if (halves.length < 2) return;
    halves[0].style.clipPath = `inset(0 ${100 - state.cut}% 0 0)`;
    halves[1].style.clipPath = `inset(0 0 0 ${state.cut}%)`;
    stage.querySelector(".cut").style.left = `${state.cut}%`;
  }
  function card(words, k, ...layers) { return make("div", {}, make("div", {class: "stage"}, sheet(k, ...layers)), words); }
  const inOrder = () => names.map((_, n) => n).sort((p, q) => (q === state.a) - (p === state.a));  // A first
  function view() {
    const k = state.order[state.at];
    heading.textContent = `${data.ids[k]} (${state.at + 1} of ${state.order.length}), ${names[state.a]} ${number(score(state.a, k))}`;
    plot.querySelectorAll(".now").forEach(one => one.classList.remove("now"));
    if (!files(k).image) { stage.replaceChildren("The picture of this image is not in this file."); cards.replaceChildren(); return; }
    halves = [labels(Number(leftSide.value), k, state.errors), labels(Number(rightSide.value), k, state.errors)];
    stage.replaceChildren(make("div", {class: "sheet"}, ...sheet(k, ...halves).children, make("div", {class: "cut"})));
    cards.replaceChildren(card("input", k), card("truth", k, labels(-1, k, false)), ...inOrder().flatMap(n => mask(n, k)
      ? [card(`${names[n]}: ${number(data.scores[n][k])}`, k, labels(n, k, false)), card(`errors of ${names[n]}`, k, labels(n, k, true))]
      : [make("div", {}, `${names[n]}: no prediction kept`)]));
    paint();
  }
  viewer.addEventListener("keydown", event => {
    const typing = event.target.matches("select, input[type=range]") && event.key.startsWith("Arrow");
    if (typing || event.ctrlKey || event.metaKey || event.altKey) return;
    const digit = Number(event.key) - 1;
    if (event.key === "ArrowRight") step(1);
    else if (event.key === "ArrowLeft") step(-1);
    else if (event.key === "e") { state.errors = !state.errors; kind.value = state.errors ? "errors" : "classes"; view(); }
    else if (event.key === "t") { leftSide.value = leftSide.value === "-1" ? state.a : -1; view(); }
    else if (event.key === "+" || event.key === "-") { state.opacity = Math.min(1, Math.max(0, state.opacity + (event.key === "+" ? 0.1 : -0.1)));
      opacity.value = 100 * state.opacity; paint(); }
    else if (digit >= 0 && digit < names.length) { leftSide.value = digit; view(); }
    else return;
    event.preventDefault();
  });
  place.addEventListener("worst", event => {
    state.a = names.indexOf(event.detail);
    sort.value = "worst"; ofClass.value = "";
    update();
    leftSide.value = state.a; rightSide.value = -1;
    open(Math.max(0, state.order.findIndex(k => !data.inline || files(k).image)));
  });
  update();
};
