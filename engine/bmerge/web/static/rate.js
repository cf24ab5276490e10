// The rating page: shows the question of the moment, sends answers. The server keeps everything;
// this page can be closed, reloaded or open twice.
const $ = (id) => document.getElementById(id);
const screens = ["ask", "idle", "lost"];
const images = [...document.querySelectorAll("#pictures img")];
let question = null;
let busy = false;

function show(screen) {
  for (const id of screens) $(id).hidden = id !== screen;
}

async function call(path, body) {
  const options = body && {
    method: "POST",
    headers: { "Content-Type": "application/json" },
    body: JSON.stringify(body),
  };
  const response = await fetch(path, options);
  if (!response.ok && response.status !== 409) throw new Error(await response.text());
  return response.json();
}

// One request at a time: keys that are hit meanwhile are not answers to the next question.
async function update(path, body) {
  if (busy) return;
  busy = true;
  try {
    await draw(await call(path, body));
  } catch (error) {
    if (error instanceof TypeError) show("lost");  // fetch has no connection
    else complain(error.message);
  } finally {
    busy = false;
  }
}

async function draw(state) {
  $("undo").disabled = state.answered === 0;
  $("count").textContent = `${state.answered} answered`;
  $("done").hidden = !state.trial;
  if (state.trial) {
    $("done").max = state.trial.wanted;
    $("done").value = state.trial.answered;
    $("done").title = `${state.trial.answered} of ${state.trial.wanted} of this trial`;
  }
  if (state.question?.id !== question?.id) close();
  question = state.question;
  if (!question) return show("idle");
  const pair = question.mode === "pairwise";
  $("text").textContent = question.prompt;
  $("seed").textContent = `seed ${question.seed}`;
  $("pairwise").hidden = !pair;
  $("marks").hidden = pair;
  $("pictures").className = `${pair ? "pair" : "single"} loading`;
  images[1].closest("figure").hidden = !pair;
  show("ask");
  complain("");
  await Promise.all(question.pictures.map((path, index) => load(images[index], path)));
  $("pictures").classList.remove("loading");  // both at once: the quicker one is no better
}

async function load(image, path) {
  image.src = path;
  try {
    await image.decode();
  } catch {
    complain("A picture is missing; skip this question.");
  }
}

function complain(text) {
  $("trouble").hidden = !text;
  $("trouble").textContent = text;
}

function answer(text) {
  if (question) update("/api/answer", { question: question.id, answer: text });
}

function undo() {
  if (!$("undo").disabled) update("/api/undo", {});
}

const zoomed = $("zoomed");
let side = 0;

function zoom(index) {
  if (!question) return;
  side = index % question.pictures.length;
  const image = zoomed.querySelector("img");
  image.src = question.pictures[side];
  image.alt = images[side].alt;
  const pair = question.pictures.length > 1;
  zoomed.querySelector("p").textContent = pair ? `${side ? "right" : "left"} · ← → changes, Esc closes` : "Esc closes";
  if (!zoomed.open) zoomed.showModal();
}

function close() {
  if (zoomed.open) zoomed.close();
}

const keys = {
  pairwise: { ArrowLeft: "left", ArrowRight: "right", ArrowDown: "tie", t: "tie", s: "skip" },
  "0-10": { "+": "10", s: "skip", ...Object.fromEntries([..."0123456789"].map((d) => [d, d])) },
};

document.addEventListener("keydown", (event) => {
  if (event.repeat || event.ctrlKey || event.metaKey || event.altKey) return;
  const key = event.key.length === 1 ? event.key.toLowerCase() : event.key;
  if (key === "z") return zoomed.open ? close() : zoom(0);
  if (zoomed.open) {
    if (key === "ArrowLeft") zoom(0);
    if (key === "ArrowRight") zoom(1);
    return;
  }
  if (key === "u" || key === "Backspace") return undo();
  const text = question && !$("ask").hidden && keys[question.mode][key];
  if (text) {
    event.preventDefault();
    answer(text);
  }
});

for (const button of document.querySelectorAll("[data-answer]")) {
  button.addEventListener("click", () => answer(button.dataset.answer));
}
for (const picture of document.querySelectorAll(".picture")) {
  picture.addEventListener("click", () => {
    if (question?.mode === "pairwise") answer(picture.dataset.side);
    else zoom(0);
  });
}
for (const button of document.querySelectorAll(".zoom")) button.addEventListener("click", () => zoom(0));
zoomed.addEventListener("click", (event) => {
  const pair = question && question.pictures.length > 1;
  if (pair && event.clientX > innerWidth / 2 && side === 0) zoom(1);
  else if (pair && event.clientX < innerWidth / 2 && side === 1) zoom(0);
  else close();
});
$("undo").addEventListener("click", undo);

// The server says when something has changed: a new trial, or an answer from another device.
const events = new EventSource("/events");
events.addEventListener("change", () => update("/api/state"));
events.addEventListener("error", () => {
  if (!busy && !question) show("lost");
});
update("/api/state");
