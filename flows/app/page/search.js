"use strict";
const byId = (id) => document.getElementById(id);
const sides = [...document.querySelectorAll("section")];
const GRADES = ["bad", "acceptable", "good", "exactly right"];
const WAYS = {
  ebr: "embedding alone", hybrid: "embedding and BM25, by ranks", weighted: "embedding and BM25, weighed",
  reranked: "reordered by its second stage", boolean: "every word, by BM25",
};
let choices = null;
let asked = { query: "", searcher_id: "" };  // what the answers on the page belong to
let grades = new Map();  // document → grade, for the query on the page

function make(tag, attributes = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (name in element) element[name] = value; else element.setAttribute(name, value);
  }
  element.append(...children);
  return element;
}

function option(value, text) {
  return make("option", { value, textContent: text ?? value });
}

function ordinal(number) {
  const suffix = [11, 12, 13].includes(number % 100) ? "th" : { 1: "st", 2: "nd", 3: "rd" }[number % 10] ?? "th";
  return `${number}${suffix}`;
}

// An answer of the service. If it needs its key, the answer to the same request after somebody has typed it.
async function ask(address, options = {}) {
  for (;;) {
    const key = sessionStorage.getItem("key");
    const headers = { ...options.headers, ...(key ? { "X-API-Key": key } : {}) };
    const response = await fetch(address, { ...options, headers });
    if (response.status !== 401) return response;
    await newKey(key);
  }
}

let unlocked = null;  // one question, however many requests wait for the key
function newKey(refused) {
  if (sessionStorage.getItem("key") !== refused) return Promise.resolve();  // it was typed in the meantime
  sessionStorage.removeItem("key");
  unlocked ??= new Promise((resolve) => {
    byId("unlock").hidden = false;
    byId("key").focus();
    byId("unlock").addEventListener("submit", (event) => {
      event.preventDefault();
      sessionStorage.setItem("key", byId("key").value);
      byId("key").value = "";
      byId("unlock").hidden = true;
      unlocked = null;
      resolve();
    }, { once: true });
  });
  return unlocked;
}

function reasons(body) {
  if (!Array.isArray(body.detail)) return body.detail;
  return body.detail.map((fault) => `${fault.loc.at(-1)}: ${fault.msg}`).join("\n");
}

async function fill() {
  const response = await ask("/choices");
  choices = await response.json();
  byId("about").textContent = `${choices.experiment}: ${choices.documents.toLocaleString("en")} documents. Two ways to answer the same search, side by side.`;
  fillContext();
  fillConditions();
  fillSides();
  if (choices.examples.length) {
    byId("examples").append("From the log: ", ...choices.examples.map((text) =>
      make("button", { className: "chip", type: "button", textContent: text, onclick: () => { byId("query").value = text; searchBoth(); } })));
    byId("examples").hidden = false;
  }
  byId("rating").textContent = choices.ratings ?
    `Ratings are kept in ${choices.ratings}; ebr ratings import trains on them (docs/feedback.md).` : "";
  const params = new URLSearchParams(location.search);
  for (const field of document.querySelectorAll("#ask input[id], #ask select[id]")) {
    const name = field.id.replace(/^field-/, "");
    if (params.has(name)) field.value = params.get(name);
  }
  sides.forEach((side, number) => {
    const wanted = params.get(["left", "right"][number]);
    if ([...side.querySelector("select").options].some((way) => way.value === wanted)) side.querySelector("select").value = wanted;
  });
  if (params.has("where") || params.has("show")) byId("more").open = true;
  if (params.has("show")) for (const box of byId("shown").querySelectorAll("input")) box.checked = params.get("show").split(",").includes(box.value);
  if (byId("query").value) await searchBoth();
}

// A field for each column of a search that a model on the page reads.
function fillContext() {
  const known = new Map();
  for (const field of Object.values(choices.fields).flat()) if (!known.get(field.name)?.read) known.set(field.name, field);
  for (const field of known.values()) {
    const list = make("datalist", { id: `values-${field.name}` }, ...field.values.map((value) => option(value)));
    const input = make("input", { id: `field-${field.name}`, maxLength: 2000, placeholder: field.hint, autocomplete: "off" });
    input.setAttribute("list", list.id);
    byId(field.read ? "context" : "places").append(make("label", {}, field.label, input, list));
  }
  for (const id of ["context", "places"]) byId(id).hidden = !byId(id).childElementCount;
}

function fillConditions() {
  for (const [name, values] of Object.entries(choices.filters)) {
    const select = make("select", { className: "filter" }, option("", "any"), ...values.map((value) => option(value)));
    select.dataset.column = name;
    byId("filters").append(make("label", {}, name, select));
  }
  byId("filters").hidden = !Object.keys(choices.filters).length;
  const columns = Object.entries(choices.columns).map(([name, type]) => `${name} (${type})`);
  byId("columns").textContent = columns.length ? `Conditions compare ${columns.join(", ")}.` : "";
  for (const name of choices.showable) {
    const box = make("input", { type: "checkbox", value: name, checked: choices.show.includes(name) });
    byId("shown").append(make("label", { className: "check" }, box, name));
  }
  byId("shown").hidden = !choices.showable.length;
}

function fillSides() {
  const best = (arm) => option(`${arm}:`, `${arm}${arm === choices.champion ? " (champion)" : ""}`);
  const ways = choices.models.flatMap((arm) => choices.modes[arm].filter((mode) => mode in WAYS)
    .map((mode) => option(`${arm}:${mode}`, `${arm}, ${WAYS[mode]}`)));
  const baselines = [option(":bm25", "BM25"), ...(choices.modes[choices.champion].includes("logged") ? [option(":logged", "today's engine")] : [])];
  sides.forEach((side, number) => {
    const select = side.querySelector("select");
    select.append(
      make("optgroup", { label: "Models, as they answer" }, ...choices.models.map(best)),
      make("optgroup", { label: "Without a model" }, ...baselines.map((way) => way.cloneNode(true))),
      make("optgroup", { label: "One way of a model" }, ...ways.map((way) => way.cloneNode(true))),
    );
    select.value = number ? ":bm25" : `${choices.champion}:`;
    select.addEventListener("change", searchBoth);
  });
}

function written(value) {
  return value === null ? "–" : Array.isArray(value) ? value.join(", ") : String(value).replace(/T00:00:00Z$/, "");
}

function address(value) {
  return /^https?:\/\//i.test(value ?? "") ? value : null;
}

function line(hit, others) {
  const shown = Object.entries(hit.shown).filter(([name, value]) => name !== choices.link && name !== choices.picture && value !== null)
    .map(([name, value]) => `${name}: ${written(value)}`).join(" · ");
  const place = [hit.kind, hit.city, hit.country].filter(Boolean).join(", ");
  const distance = hit.distance_km === null ? "" : hit.distance_km < 1 ? "less than 1 km away" : `${Math.round(hit.distance_km).toLocaleString("en")} km away`;
  const link = address(hit.shown[choices.link]), picture = address(hit.shown[choices.picture]);
  const title = link ? make("a", { href: link, rel: "noreferrer noopener", target: "_blank", textContent: hit.title }) : hit.title;
  const other = others.get(hit.document_id);
  const text = make("div", {},
    make("div", { className: "title" }, title),
    make("div", { className: "shown" }, make("span", { className: "document_id", textContent: hit.document_id }), ["", place, shown].filter((part, at) => part || !at).join(" · ")),
    make("div", { className: "why", textContent: [hit.why, distance, other ? `${ordinal(other)} on the other side` : "not on the other side"].filter(Boolean).join("; ") }),
    make("div", { className: "score", textContent: `score ${hit.score.toFixed(4)}, cosine ${hit.cosine.toFixed(3)}` }),
  );
  if (choices.ratings) text.append(ratingOf(hit));
  const element = make("li", { className: [other ? "" : "only", picture ? "pictured" : ""].join(" ").trim() }, make("span", { className: "rank", textContent: hit.rank }));
  if (picture) element.append(make("img", { src: picture, alt: "", loading: "lazy", referrerPolicy: "no-referrer" }));
  element.append(text);
  return element;
}

// The buttons that rate a document for the query on the page; the pressed one, pressed again, takes the rating back.
function ratingOf(hit) {
  const buttons = GRADES.map((word, grade) => make("button", { type: "button", textContent: word, onclick: (event) => rate(event.target, hit, grade) }));
  const group = make("div", { className: "rate", role: "group" }, "Rate:", ...buttons, make("span", { className: "saved", role: "status" }));
  group.setAttribute("aria-label", `rate ${hit.title}`);
  group.dataset.document = hit.document_id;
  press(group);
  return group;
}

function press(group) {
  [...group.querySelectorAll("button")].forEach((button, grade) => button.setAttribute("aria-pressed", String(grades.get(group.dataset.document) === grade)));
}

async function rate(button, hit, grade) {
  const group = button.parentElement, saved = group.querySelector(".saved"), of_query = grades;
  const given = grades.get(hit.document_id) === grade ? null : grade;
  const side = button.closest("section").querySelector("select").value;
  const body = { query: asked.query, document_id: hit.document_id, grade: given, rank: hit.rank, shown_by: side, ...(asked.searcher_id ? { searcher_id: asked.searcher_id } : {}) };
  const response = await ask("/ratings", { method: "POST", headers: { "content-type": "application/json" }, body: JSON.stringify(body) });
  const answer = await response.json();
  if (response.ok) {
    if (given === null) of_query.delete(hit.document_id); else of_query.set(hit.document_id, given);
    for (const other of document.querySelectorAll(".rate")) if (other.dataset.document === hit.document_id) press(other);
  }
  saved.textContent = response.ok ? answer.remark : reasons(answer);
}

function quoted(text) {
  return `"${text.replace(/[\\"]/g, "\\$&")}"`;
}

// The condition of the text and of the columns chosen above it.
function condition() {
  const chosen = [...document.querySelectorAll(".filter")].filter((select) => select.value)
    .map((select) => `${quoted(select.dataset.column)} = ${quoted(select.value)}`);
  const typed = byId("where").value.trim();
  return [...(typed && chosen.length ? [`(${typed})`] : typed ? [typed] : []), ...chosen].join(" AND ");
}

async function search(way) {
  const [model, mode] = way.split(":");
  const fields = choices.fields[model || choices.champion];
  const params = new URLSearchParams({ query: byId("query").value, model: model || choices.champion, k: byId("k").value, radius: byId("radius").value });
  if (mode) params.set("mode", mode);
  const own = {};
  for (const field of fields) {
    const value = byId(`field-${field.name}`).value.trim();
    if (value && field.own) own[field.name] = field.several ? value.split(",").map((part) => part.trim()) : value;
    else if (value) params.set(field.name, value);
  }
  if (Object.keys(own).length) params.set("fields", JSON.stringify(own));
  if (condition()) params.set("where", condition());
  const shown = [...byId("shown").querySelectorAll("input:checked")].map((box) => box.value);
  params.set("show", [...new Set([...shown, choices.link, choices.picture])].filter(Boolean).join(","));
  if (Number(byId("k").value) > choices.documents) params.delete("k");
  const response = await ask(`/search?${params}`);
  const body = await response.json();
  return response.ok ? body : { error: reasons(body), hits: [], remarks: [] };
}

let latest = 0;
async function searchBoth(event) {
  event?.preventDefault();
  const number = ++latest;
  const answers = await Promise.all(sides.map((side) => search(side.querySelector("select").value)));
  if (number !== latest) return;  // a later search has started
  const now = { query: byId("query").value.trim(), searcher_id: byId("field-searcher_id")?.value.trim() ?? "" };
  if (now.query !== asked.query || now.searcher_id !== asked.searcher_id) grades = new Map();
  asked = now;
  const ranks = answers.map((answer) => new Map(answer.hits.map((hit) => [hit.document_id, hit.rank])));
  sides.forEach((side, at) => {
    const answer = answers[at], summary = side.querySelector(".took");
    summary.className = answer.error ? "took error" : "took";
    summary.textContent = answer.error ?? (answer.hits.length ? `${answer.hits.length} documents in ${answer.took_ms.toFixed(0)} ms${answer.mode in WAYS ? `: ${WAYS[answer.mode]}` : ""}` : "no documents found");
    side.querySelector(".remarks").textContent = answer.remarks.join("\n");
    side.querySelector("ol").replaceChildren(...answer.hits.map((hit) => line(hit, ranks[1 - at])));
  });
}

byId("numbers").addEventListener("change", () => document.body.classList.toggle("numbered", byId("numbers").checked));
byId("ask").addEventListener("submit", searchBoth);
fill();
