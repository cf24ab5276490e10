// The rating page: shows the question of the moment, sends answers. The server keeps everything;
// this page can be closed, reloaded or open twice.
const $ = (id) => document.getElementById(id);
const screens = ["ask", "idle", "lost"];
const images = [...document.querySelectorAll("#pictures img")];
let question = null;
let newest = null;  // the answer that an undo takes back, and its question
let last = Promise.resolve();  // the request in flight, or the last one that waits behind it

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
  return [await response.json(), response.ok];
}

// One request after the other, so that what is shown last is the newest. An answer names its
// question; so a key that is hit twice is no answer to the next one. An undo names what it takes
// back, and is not done if another page has answered since.
function update(path, body, refused = "") {
  last = last.then(async () => {
    const data = body?.();
    if (data === null) return;  // there is nothing to take back
    try {
      const [state, done] = await call(path, data);
      draw(state);
      if (!done && refused) complain(refused);
    } catch (error) {
      if (error instanceof TypeError) show("lost");  // fetch has no connection
      else complain(error.message);
    }
  });
}

function draw(state) {
  newest = state.last;
  $("undo").disabled = state.answered === 0;
  $("count").textContent = `${state.answered} answered`;
  $("done").hidden = !state.trial;
  if (state.trial) {
    $("done").max = state.trial.wanted;
    $("done").value = state.trial.answered;
    $("done").title = `${state.trial.answered} of ${state.trial.wanted} of this trial`;
  }
  const same = state.question && state.question.id === question?.id;
  if (!same) close();
  else if ($("trouble").hidden) return show("ask");
  question = state.question;
  if (question) ask();
  else show("idle");
}

async function ask() {
  const asked = question;
  const pair = question.mode === "pairwise";
  $("text").textContent = question.prompt;
  $("seed").textContent = `seed ${question.seed}`;
  $("pairwise").hidden = !pair;
  $("marks").hidden = pair;
  $("pictures").className = `${pair ? "pair" : "single"} loading`;
  images[0].alt = pair ? "left picture" : "picture";
  images[1].closest("figure").hidden = !pair;
  show("ask");
  complain("");
  const loaded = await Promise.allSettled(question.pictures.map((path, index) => {
    images[index].src = path;
    return images[index].decode();
  }));
  if (question !== asked) return;  // another one is loading by now
  if (loaded.some((one) => one.reason)) complain("A picture is missing; skip this question.");
  $("pictures").classList.remove("loading");  // both at once: the quicker one is no better
}

function complain(text) {
  $("trouble").hidden = !text;
  $("trouble").textContent = text;
}

function answer(text) {
  if (!question || $("pictures").classList.contains("loading")) return;  // nobody has seen it
  $("undo").disabled = false;
  const given = { question: question.id, answer: text };
  update("/api/answer", () => given);
}

function undo() {
  update("/api/undo", () => newest, "Another page has answered since: nothing was taken back.");
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
  if (!question) show("lost");
});
update("/api/state");
