// What pages do by themselves: they follow changes, keep their times right, and
// tell what came of a form. Everything works without it, once a page is loaded
// again.
"use strict";

// A part of a page that shows something live names its topics in data-live:
// ids of connections, or the kinds connection and incident. The server says
// which have changed; the part is then fetched anew, from the page itself.
const changed = new Set();
let soon = 0;

function fetchPart(part) {
  if (part.isConnected && !document.hidden) {
    htmx.ajax("GET", location.pathname + location.search, { source: part, target: part, select: "#" + part.id, swap: "outerHTML" });
  }
}

function refresh() {
  soon = 0;
  for (const part of document.querySelectorAll("[data-live]")) {
    const topics = part.dataset.live.split(" ");
    if (changed.has("all") || topics.some((t) => changed.has(t))) fetchPart(part);
  }
  changed.clear();
}

function note(topics) {
  for (const t of topics) changed.add(t);
  soon ||= setTimeout(refresh, 50);
}

// A page that nobody sees follows nothing: browsers allow few connections to a
// host. It catches up when it is seen again.
let stream = null;
let missed = false;

function follow() {
  if (!document.body.dataset.events) return;
  if (document.hidden) {
    stream?.close();
    missed = stream !== null;
    stream = null;
    return;
  }
  if (stream) return;
  stream = new EventSource(document.body.dataset.events);
  let begun = false;
  stream.onopen = () => {
    if (begun || missed) note(["all"]);
    begun = true;
    missed = false;
    document.documentElement.dataset.following = "yes";
  };
  stream.onmessage = (e) => note(e.data.split(" "));
}

document.addEventListener("visibilitychange", follow);
addEventListener("pagehide", () => stream?.close());
addEventListener("pageshow", (e) => {
  if (!e.persisted) return;
  stream = null;
  missed = true;
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

// Logging out and in change what is around the content, so that the whole page
// is loaded.
document.addEventListener("htmx:responseError", (e) => {
  if (e.detail.xhr.status === 401) location.reload();
});

// Figures that nobody tells of are asked for every few seconds.
setInterval(() => document.querySelectorAll("[data-poll]").forEach(fetchPart), 5000);
setInterval(tick, 10000);
follow();
