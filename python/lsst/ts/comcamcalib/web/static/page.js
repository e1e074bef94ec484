// Keeps the page Now up to date with what the server sends. Without this script the page is loaded again every 30 s.
"use strict";
(() => {
  const address = document.body.dataset.live;
  const age = document.getElementById("age");
  const text = document.getElementById("age-text");
  const stale = document.getElementById("stale");
  const staleS = Number(age.dataset.stale);
  const behind = stale.textContent;
  const silent = "This page is out of date: the CSC has sent nothing for a while. It may be down, or the network " +
    "between it and you. The page tries to connect again.";
  let heard = performance.now();
  // When that was seen which is shown: the server says how old it is, because clocks differ.
  let seen = heard - 1000 * Number(age.dataset.age);

  // What the reader has opened or scrolled stays as it is.
  function replace(id, html) {
    const part = document.getElementById(id);
    if (!part) return;
    const open = new Map();
    const focus = part.contains(document.activeElement) && document.activeElement.closest("[data-key]");
    const key = focus ? focus.dataset.key : "";
    part.querySelectorAll("details[data-key]").forEach((one) => open.set(one.dataset.key, one.open));
    const scrolled = [...part.querySelectorAll(".scroll")].map((one) => one.scrollLeft);
    part.innerHTML = html;
    part.querySelectorAll("details[data-key]").forEach((one) => {
      if (open.has(one.dataset.key)) one.open = open.get(one.dataset.key);
      if (key && one.dataset.key === key) one.querySelector("summary").focus();
    });
    part.querySelectorAll(".scroll").forEach((one, number) => { one.scrollLeft = scrolled[number] || 0; });
  }

  function show() {
    const now = performance.now();
    const seconds = Math.max(Math.round((now - seen) / 1000), 0);
    const old = seconds > staleS;
    const why = now - heard > 1000 * staleS ? silent : behind;
    text.textContent = `updated ${seconds} s ago`;
    age.classList.toggle("stale", old);
    // Only what has changed is read aloud.
    if (old && stale.textContent !== why) stale.textContent = why;
    stale.hidden = !old;
  }

  function hear(event) {
    const said = JSON.parse(event.data);
    heard = performance.now();
    if (said.age_s !== null) seen = heard - 1000 * said.age_s;
    for (const [id, html] of Object.entries(said.parts)) {
      if (id === "title") document.title = html; else replace(id, html);
    }
    show();
  }

  function connect() {
    const source = new EventSource(address);
    source.addEventListener("tick", hear);
    source.addEventListener("parts", hear);
    // The browser connects again by itself, but not after an answer that is no stream, such as "too many readers".
    source.addEventListener("error", () => {
      if (source.readyState === EventSource.CLOSED) { source.close(); setTimeout(connect, 10000); }
    });
  }

  connect();
  setInterval(show, 1000);
  show();
})();
