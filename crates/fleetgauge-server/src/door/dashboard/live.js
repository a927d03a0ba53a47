// Keeps a page as it is now: the server sends the parts of it that have changed, and a sign of life each second.
"use strict";

(() => {
  // Two that are missed, and the numbers may not be those of now.
  const SILENT_AFTER = 3500;
  const live = document.getElementById("live");
  let source = null;
  let heard = 0;

  const say = (state, text) => {
    document.body.dataset.state = state;
    if (live.textContent !== text) live.textContent = text;
  };

  // Makes `to` of `from`, and leaves alone what is alike, so that focus, selection and scrolling stay.
  const morph = (from, to) => {
    const before = Array.from(from.childNodes);
    const after = Array.from(to.childNodes);
    after.forEach((now, at) => {
      const then = before[at];
      if (!then) {
        from.appendChild(now);
      } else if (then.nodeType !== now.nodeType || then.nodeName !== now.nodeName) {
        from.replaceChild(now, then);
      } else if (now.nodeType === Node.TEXT_NODE) {
        if (then.data !== now.data) then.data = now.data;
      } else if (!then.isEqualNode(now)) {
        attributes(then, now);
        morph(then, now);
      }
    });
    before.slice(after.length).forEach((gone) => gone.remove());
  };

  const attributes = (from, to) => {
    for (const { name, value } of Array.from(to.attributes)) {
      if (from.getAttribute(name) !== value) from.setAttribute(name, value);
    }
    for (const { name } of Array.from(from.attributes)) {
      // Which cell of a grid the keyboard is at is ours.
      if (!to.hasAttribute(name) && name !== "tabindex") from.removeAttribute(name);
    }
  };

  const show = (id, text) => {
    const element = document.getElementById(id);
    if (!element) return;
    const now = document.createElement(element.nodeName);
    now.innerHTML = text;
    morph(element, now);
  };

  const alive = () => {
    heard = Date.now();
    say("live", "live");
  };

  const open = () => {
    source = new EventSource(document.body.dataset.live);
    source.addEventListener("parts", (event) => {
      Object.entries(JSON.parse(event.data)).forEach(([id, text]) => show(id, text));
      alive();
      rove();
    });
    source.addEventListener("failed", (event) => {
      // It has spoken, if only of this.
      heard = 0;
      say("silent", "not live: " + JSON.parse(event.data));
    });
  };

  const close = () => {
    if (source) source.close();
    source = null;
  };

  const watch = () => {
    if (source && heard && Date.now() - heard > SILENT_AFTER) {
      const at = new Date(heard).toLocaleTimeString();
      say("silent", "no word from the daemon: these numbers are of " + at);
    }
    // A browser gives up on an answer that is no stream.
    if (source && source.readyState === EventSource.CLOSED) {
      close();
      setTimeout(() => document.hidden || source || open(), 2000);
    }
  };

  // --- the keyboard within a grid: one stop for all of it, arrows within ---

  const rove = () => {
    for (const grid of document.querySelectorAll(".grid")) {
      const cells = Array.from(grid.children);
      const here = cells.find((cell) => cell.tabIndex === 0 && cell.hasAttribute("tabindex")) || cells[0];
      for (const cell of cells) {
        const index = cell === here ? "0" : "-1";
        if (cell.getAttribute("tabindex") !== index) cell.setAttribute("tabindex", index);
      }
    }
  };

  const columns = (cells) => {
    const top = cells[0].offsetTop;
    const next = cells.findIndex((cell) => cell.offsetTop !== top);
    return next < 0 ? cells.length : next;
  };

  document.addEventListener("keydown", (event) => {
    const grid = event.target.closest && event.target.closest(".grid");
    if (!grid || event.altKey || event.ctrlKey || event.metaKey) return;
    const cells = Array.from(grid.children);
    const at = cells.indexOf(event.target);
    const steps = {
      ArrowRight: 1,
      ArrowLeft: -1,
      ArrowDown: columns(cells),
      ArrowUp: -columns(cells),
      Home: -at,
      End: cells.length - 1 - at,
    };
    const to = cells[at + steps[event.key]];
    if (!to) return;
    event.preventDefault();
    event.target.setAttribute("tabindex", "-1");
    to.setAttribute("tabindex", "0");
    to.focus();
  });

  // A page that nobody sees is not kept.
  document.addEventListener("visibilitychange", () => {
    if (document.hidden) {
      close();
      say("silent", "not live while hidden");
    } else if (!source) {
      open();
    }
  });

  rove();
  if (document.body.dataset.live && !document.hidden) open();
  setInterval(watch, 500);
})();
