// The playground's script: streams the continuation into the text, marks it, takes it back. Without it the same form works as a page.
"use strict";

(() => {
  const form = document.getElementById("playground");
  if (!form) return;
  const part = (id) => document.getElementById(id);
  const [text, marks, run, halt, undo, status] = ["text", "marks", "run", "halt", "undo", "status"].map(part);
  const paper = text.parentElement;

  // What the model added: {run, start, end}, in characters of the text. Edits move, split and shrink these.
  let added = [];
  let runs = 0;
  let known = text.value;
  let reader = null; // the AbortController of the stream being read
  let due = 0; // the frame in which what came is shown

  // The characters from `start` to `end` have become `length` others: nothing of those is the model's.
  function moved(start, end, length) {
    const by = length - (end - start);
    added = added
      .flatMap((piece) => [
        { ...piece, end: Math.min(piece.end, start) },
        { ...piece, start: Math.max(piece.start, end) + by, end: piece.end + by },
      ])
      .filter((piece) => piece.end > piece.start);
  }

  // Finds what was edited: all between the longest common beginning and end.
  function edited() {
    const now = text.value;
    const shorter = Math.min(known.length, now.length);
    let start = 0;
    while (start < shorter && known[start] === now[start]) start++;
    let tail = 0;
    while (tail < shorter - start && known[known.length - 1 - tail] === now[now.length - 1 - tail]) tail++;
    if (start < known.length - tail || start < now.length - tail) moved(start, known.length - tail, now.length - tail - start);
    known = now;
    paint();
  }

  function paint() {
    undo.hidden = reader !== null || added.length === 0;
    const pieces = [];
    let at = 0;
    for (const { start, end } of [...added].sort((a, b) => a.start - b.start)) {
      const mark = document.createElement("mark");
      mark.textContent = known.slice(start, end);
      pieces.push(known.slice(at, start), mark);
      at = end;
    }
    // A last line break shows only when something follows it.
    marks.replaceChildren(...pieces, known.slice(at) + "\u200b");
    showCode();
  }

  function append(piece, number) {
    if (!piece) return;
    const start = known.length;
    const last = added.at(-1);
    known += piece;
    if (last && last.run === number && last.end === start) last.end = known.length;
    else added.push({ run: number, start, end: known.length });
    due ||= requestAnimationFrame(show);
  }

  // Puts what came onto the paper, once a frame: a fast model makes many tokens in one.
  function show() {
    cancelAnimationFrame(due);
    due = 0;
    const follows = paper.scrollHeight - paper.scrollTop - paper.clientHeight < 40;
    if (text.value !== known) text.value = known;
    paint();
    if (follows) paper.scrollTop = paper.scrollHeight;
  }

  function takeBack() {
    const newest = Math.max(...added.map((piece) => piece.run));
    const pieces = added.filter((piece) => piece.run === newest).sort((a, b) => b.start - a.start);
    for (const { start, end } of pieces) {
      moved(start, end, 0);
      known = known.slice(0, start) + known.slice(end);
    }
    show();
    say("The last continuation was taken back.");
    text.focus();
  }

  function say(words, bad = false) {
    status.textContent = words;
    status.classList.toggle("bad", bad);
  }

  const tokens = (count) => (count === 1 ? "1 token" : `${count} tokens`);

  // What is left of a trial falls by what was read and made, as the portal counts it.
  function spend(model, count) {
    for (const told of document.querySelectorAll("[data-trial]")) {
      if (told.dataset.trial !== model) continue;
      const left = Math.max(0, parseInt(told.textContent, 10) - count);
      told.textContent = left === 1 ? "1 more token" : `${left} more tokens`;
    }
  }

  // Faults of the form stand beside their fields, as on the page that comes back without script.
  function showFaults(faults) {
    form.querySelectorAll(".error").forEach((old) => old.remove());
    form.querySelectorAll("[aria-invalid]").forEach((field) => {
      field.removeAttribute("aria-invalid");
      field.setAttribute("aria-describedby", (field.getAttribute("aria-describedby") || "").split(" ")[0]);
    });
    for (const { field: name, message } of faults) {
      const field = form.elements[name === "prompt" ? "text" : name];
      if (!field) continue;
      const note = document.createElement("p");
      note.className = "error";
      note.id = `${field.id}-fault`;
      note.textContent = message;
      field.closest(".field").append(note);
      field.setAttribute("aria-invalid", "true");
      field.setAttribute("aria-describedby", `${field.getAttribute("aria-describedby") || ""} ${note.id}`.trim());
    }
    form.querySelector("[aria-invalid]")?.focus();
  }

  async function refused(answer) {
    const problem = await answer.json().catch(() => ({}));
    showFaults(problem.errors || []);
    const words = problem.detail || `The portal answered ${answer.status}`;
    say(problem.errors ? "Some settings cannot be used; see the notes beside them." : `${words} Your text is still here.`, true);
    if (problem.mend) {
      const way = document.createElement("a");
      way.href = problem.mend.path;
      way.textContent = problem.mend.label;
      status.append(" ", way);
    }
  }

  async function* events(body) {
    const lines = body.pipeThrough(new TextDecoderStream()).getReader();
    let pending = "";
    for (;;) {
      const { done, value } = await lines.read();
      if (done) return;
      const blocks = (pending + value).split("\n\n");
      pending = blocks.pop();
      for (const block of blocks) if (block.startsWith("data: ")) yield JSON.parse(block.slice(6));
    }
  }

  function busy(controller) {
    reader = controller;
    run.disabled = text.readOnly = controller !== null;
    halt.hidden = controller === null;
    form.setAttribute("aria-busy", String(controller !== null));
    show();
  }

  async function generate() {
    if (reader) return;
    const body = new URLSearchParams(new FormData(form));
    const number = ++runs;
    const begun = performance.now();
    const model = form.elements.model.value;
    let [first, made, ended] = [0, 0, false];
    let facts = {};
    busy(new AbortController());
    showFaults([]);
    say("The model is writing…");
    try {
      const answer = await fetch(form.dataset.stream, { method: "POST", body, signal: reader.signal, headers: { accept: "text/event-stream" } });
      if (!answer.ok) return await refused(answer);
      for await (const event of events(answer.body)) {
        if (event.kind === "started") {
          facts = event;
          part("gauges").hidden = false;
          part("used-seed").textContent = event.seed;
          part("speed").textContent = part("first").textContent = "–";
          part("energy-gauge").hidden = true;
        } else if (event.kind === "failed") {
          ended = true;
          say(`The model broke off: ${event.detail}`, true);
        } else {
          append(event.text, number);
          made = event.tokens;
          first ||= performance.now();
          part("first").textContent = `${Math.round(first - begun)} ms`;
          const seconds = (performance.now() - first) / 1000;
          if (made > 1 && seconds > 0) part("speed").textContent = `${((made - 1) / seconds).toFixed(1)} tokens/s`;
          if (event.kind === "finished") {
            ended = true;
            part("energy-gauge").hidden = !event.energy;
            part("energy").textContent = event.energy ?? "";
            say(`${tokens(made)} added; ${event.ending}.`);
          }
        }
        part("context").textContent = `${facts.prompt_tokens + made} of ${facts.context_tokens_max} tokens`;
      }
      if (!ended) say(`The connection ended after ${tokens(made)}. What came is kept.`, true);
    } catch (problem) {
      if (problem.name === "AbortError") say(`Stopped; ${tokens(made)} added.`);
      else say("The portal could not be reached. Your text is still here; try again.", true);
    } finally {
      if (facts.kind) spend(model, facts.prompt_tokens + made);
      busy(null);
      if (document.activeElement === document.body) text.focus();
    }
  }

  // The same request by program, in the templates the page came with (see code.rs).
  function showCode() {
    if (!part("code").open) return;
    const value = (name) => form.elements[name].value.trim().replace(",", ".");
    const number = (name) => (value(name) === "" || isNaN(value(name)) ? undefined : Number(value(name)));
    const stops = form.elements.stop.value.split("\n").filter(Boolean).map((line) => line.replaceAll("\\n", "\n"));
    const body = {
      model: form.elements.model.value,
      prompt: known,
      max_tokens: number("max_tokens"),
      temperature: number("temperature"),
      top_p: number("top_p"),
      top_k: number("top_k"),
      seed: number("seed"),
      stop: stops.length ? stops : undefined,
    };
    const argument = ([field, value]) =>
      field === "top_k" ? `    extra_body={"top_k": ${value}},\n` : `    ${field}=${JSON.stringify(value)},\n`;
    const given = Object.entries(body).filter(([, value]) => value !== undefined);
    const fill = (id, words) => {
      part(id).textContent = part(id).parentElement.dataset.template.replace("BODY", () => words);
    };
    fill("curl", JSON.stringify(body, null, 2).replaceAll("'", "'\\''"));
    fill("python", given.map(argument).join(""));
  }

  form.classList.add("scripted");
  paper.classList.add("live");
  document.querySelector(".added")?.remove();
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    generate();
  });
  form.addEventListener("input", (event) => (event.target === text ? edited() : showCode()));
  part("code").addEventListener("toggle", showCode);
  halt.addEventListener("click", () => reader?.abort());
  undo.addEventListener("click", takeBack);
  part("keep-seed").addEventListener("click", () => {
    form.elements.seed.value = part("used-seed").textContent;
    showCode();
    say("The seed is set: the same text and settings will continue the same way.");
  });
  document.addEventListener("keydown", (event) => {
    if (event.key === "Escape" && reader) reader.abort();
    if (event.key === "Enter" && (event.ctrlKey || event.metaKey) && form.contains(event.target)) {
      event.preventDefault();
      generate();
    }
  });
  paint();
})();
