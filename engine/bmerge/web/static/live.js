// The live view: whenever the server says that the study has changed, fetch its parts again.
const parts = document.getElementById("parts");
const state = document.getElementById("state");
let running = false;
let again = false;

async function refresh() {
  if (running) return void (again = true);
  running = true;
  do {
    again = false;
    try {
      const response = await fetch("/live/parts");
      if (response.ok) replace(await response.text());
      else state.textContent = `the study cannot be read now (${response.status})`;
    } catch {
      // the connection is gone; the events' error says so
    }
  } while (again);
  running = false;
}

// What a person has moved or opened stays so.
function replace(html) {
  const chosen = [...parts.querySelectorAll("input:checked, details[open]")].map((one) => one.id);
  parts.innerHTML = html;
  for (const id of chosen) {
    const one = id && document.getElementById(id);
    if (one) one[one.tagName === "DETAILS" ? "open" : "checked"] = true;
  }
}

const events = new EventSource("/events");
events.addEventListener("open", () => { state.textContent = ""; });
events.addEventListener("error", () => { state.textContent = "no connection; it continues by itself"; });
events.addEventListener("change", refresh);
