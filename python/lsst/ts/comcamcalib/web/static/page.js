// Keeps the page Now up to date with what the server sends. Without this script the page is loaded again every 30 s.
"use strict";
(() => {
  const STALE_S = 15;
  const address = document.body.dataset.live;
  const age = document.getElementById("age");
  const text = document.getElementById("age-text");
  const stale = document.getElementById("stale");
  let heard = performance.now();

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
    const seconds = Math.round((performance.now() - heard) / 1000);
    const old = seconds > STALE_S;
    text.textContent = `updated ${seconds} s ago`;
    age.classList.toggle("stale", old);
    if (old && stale.hidden) {
      stale.textContent = "This page is out of date: the CSC has sent nothing for a while. It may be down, or the " +
        "network between it and you. The page tries to connect again.";
    }
    stale.hidden = !old;
  }

  function connect() {
    const source = new EventSource(address);
    source.addEventListener("tick", () => { heard = performance.now(); show(); });
    source.addEventListener("parts", (event) => {
      heard = performance.now();
      for (const [id, html] of Object.entries(JSON.parse(event.data))) {
        if (id === "title") document.title = html; else replace(id, html);
      }
      show();
    });
    // The browser connects again by itself, but not after an answer that is no stream, such as "too many readers".
    source.addEventListener("error", () => {
      if (source.readyState === EventSource.CLOSED) { source.close(); setTimeout(connect, 10000); }
    });
  }

  connect();
  setInterval(show, 1000);
  show();
})();
