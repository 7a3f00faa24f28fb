// What pages do by themselves: they follow changes, keep their times right, and
// tell what came of a form. Everything works without it, once a page is loaded
// again.
"use strict";

// A part of a page that shows something live names its topics in data-live:
// ids of connections, or the kinds connection and incident. The server says
// which have changed; the page is then fetched once more, and its stale parts
// are put in the place of those that are shown.
const heard = new Map(); // topic to when it was last heard of
let bringing = false;
let soon = 0;

function heardOf(part, since) {
  const topics = (part.dataset.live ?? "").split(" ").concat("all");
  return topics.some((t) => (heard.get(t) ?? -1) >= since);
}

function staleParts() {
  return [...document.querySelectorAll("[data-live]")].filter((p) => heardOf(p, p.shownAt ?? pageAskedAt));
}

// How many links and forms are on their way. htmx asks an element how its answer
// is to be shown when the answer is there, so none may be taken away meanwhile.
let underWay = 0;

// When what is shown was asked for: what is heard of later may not be in it.
let pageAskedAt = 0;

async function bring(parts) {
  const main = document.getElementById("main");
  if (bringing || underWay > 0 || document.hidden || parts.length === 0) return;
  bringing = true;
  const askedAt = performance.now();
  try {
    const answer = await fetch(main.dataset.from, { headers: { "HX-Request": "true", "HX-Target": "part" } });
    if (answer.status >= 500) return; // the next change asks again
    const page = new DOMParser().parseFromString(await answer.text(), "text/html");
    // Another page may be shown by now.
    if (main.isConnected && underWay === 0) parts.forEach((part) => replace(part, page.getElementById(part.id), askedAt));
  } catch {
    return; // the server is gone; when the stream begins anew, everything is asked for
  } finally {
    bringing = false;
  }
  if (underWay === 0) later(staleParts());
}

function replace(part, fresh, askedAt) {
  if (!part.isConnected) return;
  if (!fresh) {
    // It is another page: the login has ended, or what was shown is gone.
    location.assign(document.getElementById("main").dataset.from);
    return;
  }
  const focus = part.contains(document.activeElement) ? document.activeElement.id : "";
  // What somebody has opened stays open, and what they look at stays in its
  // place, whatever is put in before it.
  for (const d of part.querySelectorAll("details[id]")) {
    const same = fresh.querySelector("#" + CSS.escape(d.id));
    if (same) same.open = d.open;
  }
  const sideways = [...part.querySelectorAll(".scroll")].map((s) => s.scrollLeft);
  const kept = lookedAt(part, focus);
  const top = kept?.getBoundingClientRect().top;
  part.replaceWith(document.adoptNode(fresh));
  fresh.shownAt = askedAt;
  htmx.process(fresh);
  if (focus) document.getElementById(focus)?.focus({ preventScroll: true });
  fresh.querySelectorAll(".scroll").forEach((s, n) => (s.scrollLeft = sideways[n] ?? 0));
  const now = kept && document.getElementById(kept.id)?.getBoundingClientRect().top;
  if (now !== undefined && now !== null && now !== top) scrollBy({ top: now - top, behavior: "instant" });
}

// lookedAt is what has the focus in a part, or else its first row on the screen
// when the page is scrolled.
function lookedAt(part, focus) {
  if (focus) return document.getElementById(focus);
  if (scrollY === 0) return null;
  return [...part.querySelectorAll("[id]")].find((e) => e.getBoundingClientRect().top >= 0) ?? null;
}

function later(parts) {
  if (parts.length === 0) return;
  soon ||= setTimeout(() => {
    soon = 0;
    bring(staleParts());
  }, 50);
}

function note(topics) {
  for (const t of topics) heard.set(t, performance.now());
  later(staleParts());
}

document.addEventListener("htmx:beforeRequest", (e) => {
  if (e.detail.target.id !== "main") return;
  e.detail.xhr.askedAt = performance.now();
  underWay++;
});
document.addEventListener("htmx:afterSwap", (e) => {
  if (e.detail.xhr?.askedAt === undefined) return;
  pageAskedAt = e.detail.xhr.askedAt;
});
document.addEventListener("htmx:afterRequest", (e) => {
  if (e.detail.xhr?.askedAt === undefined) return;
  underWay--;
  later(staleParts());
});

// A page that nobody sees follows nothing: browsers allow few connections to a
// host. It catches up when it is seen again.
let stream = null;

function follow() {
  if (!document.body.dataset.events) return;
  if (document.hidden) {
    stream?.close();
    stream = null;
    return;
  }
  if (stream) return;
  stream = new EventSource(document.body.dataset.events);
  // What changed before the stream began was not heard of.
  stream.onopen = () => note(["all"]);
  stream.onmessage = (e) => note(e.data.split(" "));
}

document.addEventListener("visibilitychange", follow);
addEventListener("pagehide", () => stream?.close());
addEventListener("pageshow", (e) => {
  if (!e.persisted) return;
  stream = null;
  follow();
});

// Times, in the words of the server.
function relative(seconds) {
  const d = Math.abs(seconds);
  if (d < 10) return "just now";
  let text = Math.floor(d / 86400) + " days";
  if (d < 60) text = Math.floor(d) + " s";
  else if (d < 3600) text = Math.floor(d / 60) + " min";
  else if (d < 172800) text = Math.floor(d / 3600) + " h";
  return seconds < 0 ? "in " + text : text + " ago";
}

function tick() {
  for (const t of document.querySelectorAll("time[datetime]")) {
    const text = relative((Date.now() - Date.parse(t.dateTime)) / 1000);
    if (t.textContent !== text) t.textContent = text;
  }
}

// After a form or a link has brought another page, what came of it is said
// aloud, and the keyboard goes on from the content.
document.addEventListener("htmx:afterSettle", (e) => {
  if (e.detail.elt?.id !== "main") return;
  const notice = document.getElementById("notice");
  document.getElementById("announcer").textContent = notice ? notice.textContent : document.title;
  if (!document.activeElement || document.activeElement === document.body) {
    const row = lastRow && e.detail.requestConfig?.verb === "post" ? document.getElementById(lastRow) : null;
    (row ?? document.getElementById("main")).focus({ preventScroll: true });
  }
  prepare();
  if (!e.detail.requestConfig?.triggeringEvent || e.detail.requestConfig.verb === "get") scrollTo(0, 0);
});

// Forms whose choices act at once, and addresses without what is empty.
document.addEventListener("change", (e) => {
  if (e.target.matches("[data-submits]")) e.target.form.requestSubmit();
});
document.addEventListener("formdata", (e) => {
  if (e.target.method !== "get") return;
  for (const [name, value] of [...e.formData]) if (value === "") e.formData.delete(name);
});

// Lists are walked with single keys: the focus goes from row to row, so that
// every program that reads the screen aloud follows. Who does not want the keys
// switches them off, and this browser remembers.
const keysOff = "devflowfix-keys-off";
let lastRow = ""; // which had the focus last

function keyed() {
  return localStorage.getItem(keysOff) === null;
}

function step(by) {
  const rows = [...document.querySelectorAll("[data-row]")];
  if (rows.length === 0) return false;
  const at = rows.findIndex((r) => r.closest("tr").contains(document.activeElement) || r.id === lastRow);
  const next = rows[at < 0 ? 0 : Math.min(Math.max(at + by, 0), rows.length - 1)];
  next.focus({ preventScroll: true });
  next.closest("tr").scrollIntoView({ block: "nearest" });
  return true;
}

function acknowledge() {
  const row = document.getElementById(lastRow)?.closest("tr");
  const button = row ? row.querySelector("[data-acknowledge]") : document.getElementById("acknowledge");
  button?.click();
  return Boolean(button);
}

function search() {
  const field = document.querySelector("[data-search]");
  field?.focus();
  field?.select();
  return Boolean(field);
}

function showKeys() {
  const dialog = document.getElementById("keys");
  if (!dialog) return false;
  document.getElementById("keys-on").checked = keyed();
  dialog.showModal();
  return true;
}

const keys = { j: () => step(1), k: () => step(-1), a: acknowledge, "/": search, "?": showKeys };

document.addEventListener("keydown", (e) => {
  const act = keys[e.key];
  if (!act || e.ctrlKey || e.metaKey || e.altKey || e.isComposing || !keyed()) return;
  if (e.target.closest?.("input, textarea, select, dialog")) return;
  if (act()) e.preventDefault();
});
document.addEventListener("focusin", (e) => {
  const row = e.target.closest?.("tr")?.querySelector("[data-row]");
  if (row) lastRow = row.id;
});
document.addEventListener("change", (e) => {
  if (e.target.id !== "keys-on") return;
  if (e.target.checked) localStorage.removeItem(keysOff);
  else localStorage.setItem(keysOff, "1");
});
document.addEventListener("click", (e) => {
  if (e.target.closest?.("[data-keys]")) showKeys();
});

// What needs this script is shown when it runs.
function prepare() {
  for (const button of document.querySelectorAll("[data-keys]")) button.hidden = false;
}
prepare();

// Figures that nobody tells of are asked for every few seconds.
setInterval(() => bring([...document.querySelectorAll("[data-poll]")]), 5000);
setInterval(tick, 10000);
follow();
