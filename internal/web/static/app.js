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
  part.replaceWith(document.adoptNode(fresh));
  fresh.shownAt = askedAt;
  htmx.process(fresh);
  if (focus) document.getElementById(focus)?.focus({ preventScroll: true });
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
  if (!document.activeElement || document.activeElement === document.body) document.getElementById("main").focus({ preventScroll: true });
  if (!e.detail.requestConfig?.triggeringEvent || e.detail.requestConfig.verb === "get") scrollTo(0, 0);
});

// Figures that nobody tells of are asked for every few seconds.
setInterval(() => bring([...document.querySelectorAll("[data-poll]")]), 5000);
setInterval(tick, 10000);
follow();
