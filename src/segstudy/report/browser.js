// Every reported image as a point and as a picture; a viewer with overlays, errors and a slider.
// Masks are grey levels, a class index a level; SVG filters colour them and hide classes. Errors are masks turned into white
// for yes and black for no, multiplied, and painted in a colour for each kind.
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
  const key = data.folder.replace(/[^a-zA-Z0-9]/g, "-"), names = data.networks.map(one => one.label);
  const shown = new Set([...data.classes.keys()].filter(k => k !== data.background));
  const state = {at: 0, order: [], a: 0, b: Math.min(1, names.length - 1), errors: false, opacity: 0.6, cut: 50};
  const lost = new Set(data.lost || []);
  const url = path => data.inline ? data.inline[path] || "" : path;
  const files = k => lost.has(k) ? {image: "", truth: ""} : ({image: url(`${data.folder}/${data.files[k]}.webp`), truth: url(`${data.folder}/${data.files[k]}.png`)});
  const absent = data.networks.map(one => new Set(one.absent)), nothing = data.networks.map(one => new Set(one.nothing));
  const noObject = k => data.background !== null && data.pixels[k].every((pixels, c) => c === data.background || !pixels);
  const empty = (network, k) => network < 0 ? noObject(k) && "no object in the truth" : nothing[network].has(k) && "nothing predicted";
  const mask = (network, k) => data.networks[network].masks && !absent[network].has(k) ? url(`${data.networks[network].folder}/${data.files[k]}.png`) : "";
  const number = value => value === null || value === undefined ? "–" : value.toFixed(3);
  const pictures = data.networks.some(one => one.masks);

  // filters
  const table = entry => Array.from({length: 256}, (_, k) => entry(k)).join(" ");
  const channel = place => table(k => ((data.palette[k] || [128, 128, 128])[place] / 255).toFixed(4));
  const visible = svg("feFuncA", {type: "discrete"});
  const alpha = {in: "SourceGraphic", type: "matrix", values: "0 0 0 0 1  0 0 0 0 1  0 0 0 0 1  1 0 0 0 0"};
  const filter = (name, ...steps) => svg("filter", {id: `${name}-${key}`, "color-interpolation-filters": "sRGB", x: 0, y: 0, width: "100%", height: "100%"}, ...steps);
  // which levels a mask keeps as white: the classes that errors are about, the others, and whatever is not 0
  const levels = Object.fromEntries(["hit", "rest", "none", "apart"].map(name => [name, ["R", "G", "B"].map(one => svg("feFunc" + one, {type: "discrete"}))]));
  const keep = (name, test) => levels[name].forEach(one => one.setAttribute("tableValues", table(k => test(k) ? 1 : 0)));
  keep("apart", k => k > 0);
  place.append(svg("svg", {width: 0, height: 0, style: "position:absolute", "aria-hidden": "true"},
    filter("classes", svg("feColorMatrix", alpha), svg("feComponentTransfer", {result: "mask"}, visible),
      svg("feComponentTransfer", {in: "SourceGraphic"}, ...["R", "G", "B"].map((one, c) =>
        svg("feFunc" + one, {type: "discrete", tableValues: channel(c)}))),
      svg("feComposite", {in2: "mask", operator: "in"})),
    ...Object.entries(levels).map(([name, steps]) => filter(name, svg("feComponentTransfer", {}, ...steps))),
    ...Object.entries(data.errors).map(([kind, colour]) => filter(kind.replace(" ", "-"), svg("feColorMatrix", {...alpha, result: "mask"}),
      svg("feFlood", {"flood-color": colour}), svg("feComposite", {in2: "mask", operator: "in"})))));
  const toggle = () => visible.setAttribute("tableValues", table(k => k >= data.classes.length || shown.has(k) ? 1 : 0));
  toggle();

  // controls
  const option = (value, text, title = null) => make("option", {value, title}, text);
  const networks = (label, field) => make("select", {"aria-label": label, onchange(event) { state[field] = Number(event.target.value); update(); }},
    ...names.map((name, k) => option(k, name, data.networks[k].name)));
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
      pictures && files(k).image ? make("img", {src: files(k).image, alt: "", loading: "lazy", onerror: event => event.target.remove()}) : "", make("span", {}, `${data.ids[k].replace(/[/_]/g, "$&\u200b")}: ${number(score(state.a, k))}`)));
    if (limit < available.length) buttons.push(make("button", {type: "button", class: "more", onclick() { limit += 24; list(); }}, "Show more"));
    strip.replaceChildren(...buttons);
  }

  // the viewer
  const heading = make("h3", {}), stage = make("div", {class: "stage large"}), cards = make("div", {class: "cards", tabindex: 0, role: "region", "aria-label": "The image with each network's prediction and errors"});
  const range = (label, field, scale) => make("input", {type: "range", min: 0, max: 100, value: state[field] * scale, "aria-label": label,
    oninput(event) { state[field] = event.target.value / scale; paint(); }});
  const opacity = range("Opacity of the overlay", "opacity", 100), cut = range("Where left meets right", "cut", 1);
  const kind = make("select", {"aria-label": "Overlay", onchange(event) { state.errors = event.target.value === "errors"; view(); }},
    option("classes", "classes"), option("errors", "errors"));
  const side = label => make("select", {"aria-label": label, onchange: () => view()}, option(-1, "truth"), ...names.map((name, k) => option(k, name, data.networks[k].name)));
  const leftSide = side("Left"), rightSide = side("Right");
  leftSide.value = 0; rightSide.value = -1;
  const swatch = colour => make("span", {class: "swatch", style: `background: ${colour}`});
  const button = (text, label, act) => make("button", {type: "button", "aria-label": label, onclick: act}, text);
  const keys = make("div", {class: "keys caption"}, ...data.classes.map((name, k) => make("label", {}, make("input", {type: "checkbox", checked: shown.has(k),
    onchange(event) { event.target.checked ? shown.add(k) : shown.delete(k); toggle(); }}),
    swatch(`rgb(${(data.palette[k] || [128, 128, 128]).join(" ")})`), name)));
  const hint = make("p", {class: "caption hint"}, "Keys: ← → images, 1 to 9 network on the left, e errors, t truth, + − opacity, Esc close.");
  const legend = make("div", {class: "keys legend caption"});
  const viewer = make("dialog", {class: "viewer", "aria-label": "Image viewer"}, make("div", {class: "tools"},
    button("←", "Previous image", () => step(-1)), button("→", "Next image", () => step(1)),
    make("label", {}, "left ", leftSide), make("label", {}, "right ", rightSide), make("label", {}, "show ", kind),
    make("label", {}, "opacity ", opacity), make("label", {}, "slider ", cut), button("Close", "Close", () => viewer.close())),
    heading, make("div", {class: "stages"}, make("div", {}, stage, legend, keys, hint), cards));
  place.append(viewer);
  const step = by => { state.at = (state.at + by + state.order.length) % state.order.length; view(); };
  function open(at) { state.at = at; if (!viewer.open) viewer.showModal(); view(); }
  const picture = (src, alt, more = {}) => make("img", {src, alt, ...more});
  const through = name => ({style: `filter: url("#${name}-${key}")`});

  // Errors are about the chosen class, else about all but the background; without a background every error is a wrong class.
  const about = () => ofClass.value !== "" ? data.classes[ofClass.value] : "";
  const known = k => k < data.classes.length;
  const hit = k => known(k) && (ofClass.value === "" ? k !== data.background : k === Number(ofClass.value));
  function kinds() {
    const found = [];
    if (about() || data.background !== null) found.push("missed", "false");
    if (!about() && data.classes.length > (data.background === null ? 1 : 2)) found.push("wrong class");
    return found;
  }
  function errorsOf(network, k) {
    const truth = files(k).truth, found = mask(network, k), layer = make("div", {class: "labels errors"});
    const of = (src, name) => make("img", {src, alt: "", class: "and", ...through(name)});
    const paint = {missed: () => [of(truth, "hit"), of(found, "none")], false: () => [of(truth, "rest"), of(found, "hit")],
      "wrong class": () => [make("div", {class: "labels and", ...through("apart")}, picture(truth, ""), picture(found, "", {class: "difference"})), of(truth, "hit"), of(found, "hit")]};
    for (const kind of kinds()) layer.append(make("div", {class: "labels", ...through(kind.replace(" ", "-"))}, ...paint[kind]()));
    return layer;
  }
  function labels(network, k, errors) {
    const source = network < 0 ? files(k).truth : mask(network, k);
    if (source && errors && network >= 0) return errorsOf(network, k);
    return make("div", {class: "labels", ...through("classes")}, ...(source ? [picture(source, network < 0 ? "truth" : "prediction of " + names[network])] : []));
  }
  const badge = (text, side = "") => text ? [make("span", {class: "empty " + side}, text)] : [];
  function sheet(k, errors, ...layers) {
    const both = files(k);
    const measured = make("img", {src: both.truth, alt: "", class: "size", onload(event) {  // no taller than the window has room for
      const {naturalWidth, naturalHeight} = event.target;
      const large = event.target.closest(".large");
      if (large) event.target.parentElement.style.maxWidth = `calc(66vh * ${naturalWidth / naturalHeight})`;
    }});
    const photo = picture(both.image, "input image " + data.ids[k], {class: "photo", onerror: event =>
      event.target.closest(".stage")?.replaceChildren("This picture is no longer in the dataset's folder or in the cache.")});
    return make("div", {class: "sheet" + (errors ? " grey" : "")}, measured, photo, ...layers);
  }
  let halves = [];
  function paint() {
    for (const layer of halves) layer.style.opacity = state.opacity;
    if (halves.length < 2) return;
    halves[0].style.clipPath = `inset(0 ${100 - state.cut}% 0 0)`;
    halves[1].style.clipPath = `inset(0 0 0 ${state.cut}%)`;
    stage.querySelector(".cut").style.left = `${state.cut}%`;
  }
  function card(words, title, k, errors, ...layers) { return make("div", {title}, make("div", {class: "stage"}, sheet(k, errors, ...layers)), words); }
  function cardsOf(n, k) {
    const {name} = data.networks[n];
    if (!mask(n, k)) return [make("div", {title: name}, `${names[n]}: no prediction kept`)];
    return [card(`${names[n]}: ${number(data.scores[n][k])}`, name, k, false, labels(n, k, false), ...badge(empty(n, k))),
      card(`errors of ${names[n]}`, name, k, true, labels(n, k, true))];
  }
  const inOrder = () => names.map((_, n) => n).sort((p, q) => (q === state.a) - (p === state.a));  // A first
  function view() {
    const k = state.order[state.at];
    heading.textContent = `${data.ids[k]} (${state.at + 1} of ${state.order.length}), ${names[state.a]} ${number(score(state.a, k))}`;
    plot.querySelectorAll(".now").forEach(one => one.classList.remove("now"));
    if (!files(k).image) { stage.replaceChildren("The picture of this image is not in " + (data.inline ? "this file." : "the dataset's folder or the cache.")); cards.replaceChildren(); return; }
    halves = [labels(Number(leftSide.value), k, state.errors), labels(Number(rightSide.value), k, state.errors)];
    keep("hit", hit); keep("rest", c => known(c) && !hit(c)); keep("none", c => !hit(c));
    stage.replaceChildren(sheet(k, state.errors, ...halves, make("div", {class: "cut"}),
      ...badge(empty(Number(leftSide.value), k), "left"), ...badge(empty(Number(rightSide.value), k), "right")));
    const words = {missed: `missed: true${about() && " " + about()}, not predicted`, false: `false: predicted${about() && " " + about()}, not true`, "wrong class": "wrong class"};
    legend.replaceChildren("Errors:", ...kinds().map(kind => make("span", {}, swatch(data.errors[kind]), words[kind])), "no colour: right or ignored");
    cards.replaceChildren(card("input", null, k, false), card("truth", null, k, false, labels(-1, k, false), ...badge(empty(-1, k))), ...inOrder().flatMap(n => cardsOf(n, k)));
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
    state.a = data.networks.findIndex(one => one.name === event.detail);
    if (state.b === state.a) state.b = names.length > 1 && !state.a ? 1 : 0;
    sort.value = "worst"; ofClass.value = "";
    update();
    leftSide.value = state.a; rightSide.value = -1;
    open(Math.max(0, state.order.findIndex(k => !data.inline || files(k).image)));
  });
  update();
};
