"use strict";
(() => {
  const ROW = 30; // pixels, as in page.css
  const SPARE = 10; // rows above and below those in sight
  const CUT = 2000; // characters of a long text that are shown at first
  const CELL = 160;
  const data = JSON.parse(document.getElementById("data").textContent);
  const byId = (id) => document.getElementById(id);
  const [grid, head, rows, detail, count] = ["grid", "head", "rows", "detail", "count"].map(byId);
  const several = data.runs.length > 1;
  data.questions.forEach((question, place) => { question.number = place + 1; });

  // --- texts of strangers: only ever text nodes, and what would steer a terminal or reorder a line is shown as itself

  const HIDDEN = /(?![\n\t\u200c\u200d])[\p{Cc}\p{Cf}\p{Cs}\p{Co}\p{Cn}\p{Zl}\p{Zp}]/gu;
  const symbol = (character) => {
    const code = character.codePointAt(0);
    if (code < 0x20) return String.fromCodePoint(0x2400 + code);
    return code === 0x7f ? "\u2421" : `\\u{${code.toString(16).padStart(4, "0")}}`;
  };
  const line = (text, limit = CELL) => {
    const safe = (text.length > 2 * limit ? text.slice(0, 2 * limit) : text).replace(/\s+/g, " ").replace(HIDDEN, symbol);
    return safe.length > limit ? `${safe.slice(0, limit)}…` : safe;
  };

  function make(tag, attributes = {}, ...children) {
    const element = document.createElement(tag);
    for (const [name, value] of Object.entries(attributes)) {
      if (value === true) element.setAttribute(name, "");
      else if (value !== null && value !== false && value !== undefined) element.setAttribute(name, value);
    }
    element.append(...children.filter((child) => child !== null && child !== undefined && child !== ""));
    return element;
  }

  function put(element, text) {
    let at = 0;
    for (const match of text.matchAll(HIDDEN)) {
      element.append(text.slice(at, match.index), make("span", { class: "escape" }, symbol(match[0])));
      at = match.index + match[0].length;
    }
    element.append(text.slice(at));
    return element;
  }

  // tag: what holds the text and isolates it from the one around it
  function told(text, tag = "bdi") {
    const element = make(tag, { class: tag === "bdi" ? null : "text", dir: "auto" });
    if (text.length <= CUT) return put(element, text);
    put(element, `${text.slice(0, CUT)}…`);
    const button = make("button", { type: "button" }, `show all ${text.length.toLocaleString("en")} characters`);
    button.addEventListener("click", () => { element.replaceChildren(); put(element, text); });
    element.append(" ", button);
    return element;
  }

  // --- the table

  const state = { run: 0, view: [], active: 0, sort: null, falling: false, texts: null };
  const made = (question, run = state.run) => question.runs[run] ?? {};
  const ended = (answer) => {
    if (answer.outcome === undefined) return "";
    return answer.status === answer.outcome ? answer.outcome : `${answer.outcome}, ${answer.status}`;
  };
  const SIGNS = { correct: "✓", wrong: "✗", abstained: "∅", unparsed: "?", failed: "!" };
  const scorersDiffer = (answer) => answer.match !== undefined && answer.match !== answer.outcome;
  const COLUMNS = [
    { name: "#", width: "3.2rem", of: (question) => question.number },
    { name: "modality", width: "5rem", of: (question) => question.modality },
    ...data.runs.map((name, run) => ({
      name: several ? name : "outcome", width: "8.5rem", ending: true, of: (question) => ended(made(question, run)), run,
    })),
    { name: "confidence", width: "5.8rem", of: (question) => made(question).confidence ?? null },
    { name: "question", width: "17rem", of: (question) => question.question },
    { name: "answer", width: "8rem", of: (question) => made(question).chosen ?? "" },
    { name: "refusal", width: "7.5rem", of: (question) => made(question).kind ?? "" },
    { name: "rule", width: "7.5rem", of: (question) => made(question).rule ?? "" },
    { name: "id", width: "9rem", of: (question) => question.id },
  ];
  grid.style.setProperty("--columns", COLUMNS.map((column) => column.width).join(" "));
  grid.setAttribute("aria-colcount", COLUMNS.length);

  function drawHead() {
    const cells = COLUMNS.map((column) => {
      const sorted = state.sort === column;
      const button = make("button", { type: "button", tabindex: "-1" }, line(column.name, 24), sorted ? (state.falling ? " ▼" : " ▲") : "");
      button.addEventListener("click", () => sortBy(column));
      const order = sorted ? (state.falling ? "descending" : "ascending") : "none";
      return make("div", { role: "columnheader", "aria-sort": order, title: line(column.name) }, button);
    });
    head.replaceChildren(make("div", { role: "row", "aria-rowindex": 1 }, ...cells));
  }

  function cell(column, question) {
    const value = column.of(question);
    const text = value === null ? "" : typeof value === "number" && column.name !== "#" ? value.toFixed(3) : line(String(value));
    if (!column.ending || text === "") return make("div", { role: "gridcell" }, text);
    const outcome = made(question, column.run).outcome;
    return make("div", { role: "gridcell", class: outcome }, `${SIGNS[outcome]} ${text}`);
  }

  function drawRows() {
    const top = Math.max(0, grid.scrollTop - head.offsetHeight);
    const first = Math.max(0, Math.floor(top / ROW) - SPARE);
    const last = Math.min(state.view.length, Math.ceil((top + grid.clientHeight) / ROW) + SPARE);
    rows.style.height = `${state.view.length * ROW}px`;
    const drawn = [];
    for (let place = first; place < last; place += 1) {
      const question = state.view[place];
      const attributes = { role: "row", id: `row-${place}`, "aria-rowindex": place + 2, "aria-selected": String(place === state.active) };
      const row = make("div", attributes, ...COLUMNS.map((column) => cell(column, question)));
      row.style.top = `${place * ROW}px`;
      row.addEventListener("click", () => choose(place));
      drawn.push(row);
    }
    rows.replaceChildren(...drawn);
  }

  function choose(place, scroll = false) {
    state.active = Math.max(0, Math.min(place, state.view.length - 1));
    const top = state.active * ROW;
    const room = grid.clientHeight - head.offsetHeight - ROW;
    if (scroll) grid.scrollTop = Math.max(top - room, Math.min(top, grid.scrollTop));
    drawRows();
    grid.setAttribute("aria-activedescendant", state.view.length ? `row-${state.active}` : "");
    drawDetail(state.view[state.active]);
  }

  const collator = new Intl.Collator("en", { numeric: true });
  const isNothing = (value) => value === null || value === "";

  function sortBy(column) {
    state.falling = state.sort === column && !state.falling;
    state.sort = column;
    drawHead();
    filter();
  }

  function sorted(view) {
    if (state.sort === null) return view;
    const keyed = view.map((question) => [state.sort.of(question), question]);
    keyed.sort(([one, first], [other, second]) => {
      if (isNothing(one) || isNothing(other)) return isNothing(one) - isNothing(other) || first.number - second.number;
      const order = typeof one === "number" ? one - other : collator.compare(one, other);
      return (state.falling ? -order : order) || first.number - second.number;
    });
    return keyed.map(([, question]) => question);
  }

  // --- filters

  const values = (of) => [...new Set(data.questions.flatMap((question) => of(question)).filter(Boolean))].sort(collator.compare);
  const ofRuns = (name) => values((question) => question.runs.map((answer) => answer?.[name]));
  const filters = {};

  function addFilter(name, label, options, all = "all") {
    const select = make("select", { id: `filter-${name}` }, ...(all === null ? [] : [make("option", { value: "" }, all)]));
    select.append(...options.map(([value, text]) => make("option", { value }, line(text, 60))));
    select.addEventListener("change", () => { state.run = Number(filters.run?.value ?? 0); drawHead(); filter(); });
    filters[name] = select;
    if (options.length) byId("filters").append(make("label", {}, label, select));
  }

  function buildFilters() {
    const same = (list) => list.map((value) => [value, value]);
    if (several) addFilter("run", "Run, for what follows", data.runs.map((name, run) => [String(run), name]), null);
    addFilter("outcome", "Outcome", same([...new Set([...ofRuns("outcome"), ...ofRuns("status")])]));
    addFilter("modality", "Modality", same(values((question) => question.modality)));
    addFilter("kind", "Kind of refusal", same(ofRuns("kind")));
    addFilter("rule", "Read by the rule", same(ofRuns("rule")));
    const disagreements = [];
    if (several) disagreements.push(["outcome", "the runs end differently"], ["chosen", "the runs answer differently"]);
    const unequal = data.questions.some((question) => question.runs.some((answer) => answer && scorersDiffer(answer)));
    if (unequal) disagreements.push(["match", "the scorers differ"]);
    addFilter("differ", "Disagreement", disagreements, "all questions");
    const search = make("input", { type: "search", id: "search", autocomplete: "off" });
    search.addEventListener("input", filter);
    byId("filters").append(make("label", {}, "Search (/)", search));
    byId("filters").addEventListener("submit", (event) => event.preventDefault());
  }

  function disagrees(question, kind) {
    return kind === "match" ? scorersDiffer(made(question)) : new Set(question.runs.filter(Boolean).map((of) => of[kind])).size > 1;
  }

  function searched(words) {
    state.texts ??= data.questions.map((question) => {
      const said = question.runs.flatMap((answer) => (answer ? [(answer.reply ?? []).join(""), answer.chosen ?? ""] : []));
      return [question.id, question.question, ...question.choices, ...said].join("\n").toLowerCase();
    });
    return (question) => state.texts[question.number - 1].includes(words);
  }

  function filter() {
    const wanted = Object.fromEntries(Object.entries(filters).map(([name, select]) => [name, select.value]));
    const words = byId("search").value.trim().toLowerCase();
    const hit = words === "" ? () => true : searched(words);
    state.view = sorted(data.questions.filter((question) => {
      const answer = made(question);
      return (!wanted.outcome || answer.outcome === wanted.outcome || answer.status === wanted.outcome)
        && (!wanted.modality || question.modality === wanted.modality)
        && (!wanted.kind || answer.kind === wanted.kind)
        && (!wanted.rule || answer.rule === wanted.rule)
        && (!wanted.differ || disagrees(question, wanted.differ))
        && hit(question);
    }));
    count.textContent = `${state.view.length} of ${data.questions.length} questions`;
    grid.setAttribute("aria-rowcount", state.view.length + 1);
    grid.scrollTop = 0;
    choose(0);
  }

  // --- the question

  function player(clip) {
    const box = make("figure", {});
    if (clip.note) box.append(make("p", { class: "note" }, told(clip.note)));
    if (clip.source === undefined) return box;
    const audio = make("audio", { controls: true, preload: "metadata", src: clip.source });
    audio.addEventListener("error", () => box.append(make("p", { class: "note" }, "The clip cannot be played from here: ", told(clip.audio))));
    if (clip.picture) {
      const playhead = make("div", { class: "playhead" });
      const alt = `Waveform above, spectrogram from 0 to 8 kHz below, of ${clip.seconds.toFixed(1)} s`;
      const picture = make("div", { class: "picture" }, make("img", { src: `data:image/png;base64,${clip.picture}`, alt }), playhead);
      const follow = () => {
        playhead.style.left = `${(100 * audio.currentTime) / clip.seconds}%`;
        if (!audio.paused && audio.isConnected) requestAnimationFrame(follow);
      };
      for (const name of ["play", "seeked", "timeupdate"]) audio.addEventListener(name, follow);
      picture.addEventListener("click", (event) => { audio.currentTime = (event.offsetX / picture.clientWidth) * clip.seconds; });
      box.append(picture);
    }
    box.append(audio);
    return box;
  }

  function choiceList(question) {
    const items = question.choices.map((choice, place) => {
      const item = make("li", {}, told(choice));
      if (choice === question.gold && question.choices.indexOf(choice) === place) item.append(" ", make("span", { class: "tag correct" }, "✓ right"));
      question.runs.forEach((answer, run) => {
        if (!answer || question.choices.indexOf(choice) !== place) return;
        const chosen = answer.chosen === choice, by = several ? [" by ", make("bdi", {}, line(data.runs[run]))] : [];
        if (chosen) {
          const sign = choice === question.gold ? "✓" : "✗";
          item.append(" ", make("span", { class: `tag ${choice === question.gold ? "correct" : "wrong"}` }, `${sign} chosen`, ...by));
        }
        const value = answer.option_probs?.[place] ?? (chosen ? answer.confidence : null);
        if (value != null) {
          item.append(" ", make("meter", { min: 0, max: 1, value, "aria-label": "its probability" }), ` ${value.toFixed(3)}`);
          if (!chosen) item.append(...by);
        }
      });
      return item;
    });
    const box = make("div", {}, items.length ? make("ol", { class: "choices", type: "A" }, ...items) : "");
    if (!items.length) box.append(make("p", {}, "An open question. Right: ", told(question.gold ?? "")));
    if (question.gold === null) box.append(make("p", {}, "It has no right answer: refusing is right."));
    if (items.length && question.runs.some((answer) => answer?.confidence !== undefined && !answer.option_probs)) {
      box.append(make("p", { class: "facts" }, "Runs of older versions kept only the probability of the answer that was given."));
    }
    return box;
  }

  function step(name, work) {
    const seconds = work.seconds === undefined ? "" : `${work.seconds.toFixed(2)} s`;
    const title = [name, work.tool, seconds, work.cached ? "kept from an earlier question" : "", work.responder];
    const box = make("div", { class: "step" }, make("h4", {}, line(title.filter(Boolean).join(" · "))));
    if (work.prompt) box.append(make("details", {}, make("summary", {}, "prompt"), told(work.prompt, "div")));
    if (work.raw) box.append(make("details", {}, make("summary", {}, "as the model wrote it, with its reasoning"), told(work.raw, "div")));
    if (work.output !== undefined) box.append(work.output instanceof Node ? work.output : told(work.output, "div"));
    const figures = Object.entries(work.details ?? {}).map(([key, value]) => `${key} = ${+value.toPrecision(4)}`);
    if (figures.length) box.append(make("p", { class: "facts" }, told(figures.join(", "))));
    return box;
  }

  function reply(parts) {
    if (parts === undefined) return "";
    if (parts.length === 1) return told(parts[0], "div");
    const [before, deciding, after] = parts;
    return make("div", { class: "text", dir: "auto" }, put(make("span"), before), put(make("mark"), deciding), put(make("span"), after));
  }

  function runPart(answer, run) {
    const box = make("section", { class: "run" }, make("h4", {}, make("bdi", {}, line(data.runs[run]))));
    box.append(answer ? "" : "It was not asked this.");
    if (!answer) return box;
    box.append(make("span", { class: `tag ${answer.outcome}` }, `${SIGNS[answer.outcome]} ${ended(answer)}`));
    const heard = answer.heard_s && answer.audio_s ? `${answer.heard_s.map((s) => s.toFixed(1)).join(" to ")} s of ${answer.audio_s.toFixed(1)} s` : null;
    const facts = {
      "read as": answer.chosen, "by the rule": answer.rule, refusal: answer.kind, confidence: answer.confidence?.toFixed(3),
      "string match": answer.match, reason: [answer.reason_kind, answer.reason].filter(Boolean).join(": "), withheld: answer.withheld,
      "try": answer.suggestion, failure: answer.failure, heard, "heard instead": answer.heard_clip,
      "shown as": answer.shown?.join(" | "), warning: answer.warnings?.join("\n"),
      "whole question": answer.seconds === undefined ? null : `${answer.seconds.toFixed(2)} s`,
    };
    const list = make("dl");
    for (const [name, value] of Object.entries(facts)) if (value) list.append(make("dt", {}, name), make("dd", {}, told(String(value))));
    box.append(list);
    for (const work of answer.steps ?? []) box.append(step(work.node, work));
    if (answer.prompt || answer.reply) {
      const { prompt, tool, raw, responder } = answer;
      box.append(step("answer", { prompt, tool, raw, responder, output: reply(answer.reply) || undefined }));
    }
    return box;
  }

  function drawDetail(question) {
    if (!question) return detail.replaceChildren(make("p", {}, "No question is left by these filters."));
    const groups = question.groups.map(([name, value]) => `${name}: ${value}`).join(" · ");
    const move = (by, text) => {
      const button = make("button", { type: "button" }, text);
      button.addEventListener("click", () => { choose(state.active + by, true); detail.focus(); });
      return button;
    };
    detail.replaceChildren(
      make("p", {}, move(-1, "← before"), " ", move(1, "next →")),
      make("h3", {}, `${question.number}. `, told(question.question)),
      make("p", { class: "facts" }, told(question.id), groups ? " · " : "", told(groups), " · ", told(data.clips[question.clip].audio)),
      player(data.clips[question.clip]),
      choiceList(question),
      make("div", { class: "runs" }, ...question.runs.map(runPart)),
    );
    detail.dataset.question = question.id; // for a page that this one is a part of
    detail.scrollTop = 0;
  }

  // --- keys

  const MOVES = {
    ArrowDown: () => state.active + 1, ArrowUp: () => state.active - 1, Home: () => 0, End: () => state.view.length - 1,
    PageDown: () => state.active + 20, PageUp: () => state.active - 20,
  };
  grid.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.altKey || event.metaKey) return;
    if (event.key in MOVES) choose(MOVES[event.key](), true);
    else if (event.key === "Enter") detail.focus();
    else return;
    event.preventDefault();
  });
  const KEYS = {
    "/": () => byId("search").focus(),
    "?": () => byId("help").showModal(),
    j: () => choose(state.active + 1, true),
    k: () => choose(state.active - 1, true),
    p: () => { const audio = detail.querySelector("audio"); if (audio) { if (audio.paused) audio.play().catch(() => {}); else audio.pause(); } },
    Escape: () => grid.focus(),
  };
  document.addEventListener("keydown", (event) => {
    const typing = event.target.closest("input, select, dialog") !== null;
    if (event.ctrlKey || event.altKey || event.metaKey || !(event.key in KEYS) || (typing && event.key !== "Escape")) return;
    if (byId("help").open) return;
    event.preventDefault();
    KEYS[event.key]();
  });
  addEventListener("beforeprint", () => document.querySelectorAll("details").forEach((box) => { box.open = true; }));
  grid.addEventListener("scroll", drawRows);
  addEventListener("resize", drawRows);
  buildFilters();
  drawHead();
  filter();
})();
