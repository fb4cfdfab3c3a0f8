"use strict";
(() => {
  const root = document.documentElement;
  const all = (what, where = document) => [...where.querySelectorAll(what)];
  const one = (what, where = document) => where.querySelector(what);
  const made = (name, properties = {}) => Object.assign(document.createElement(name), properties);
  root.classList.add("js");

  // Theme: the system's, until the reader chooses.
  const dark = matchMedia("(prefers-color-scheme: dark)");
  const button = one("#theme");
  const kept = {
    get: () => { try { return localStorage.getItem("theme"); } catch { return null; } },
    set: (value) => { try { localStorage.setItem("theme", value); } catch { /* a page from a file may not keep it */ } },
  };
  const isDark = () => (root.dataset.theme ? root.dataset.theme === "dark" : dark.matches);
  const label = () => {
    button.textContent = isDark() ? "Light theme" : "Dark theme";
  };
  if (["light", "dark"].includes(kept.get())) root.dataset.theme = kept.get();
  button.hidden = false;
  button.addEventListener("click", () => {
    root.dataset.theme = isDark() ? "light" : "dark";
    kept.set(root.dataset.theme);
    label();
  });
  dark.addEventListener("change", label);
  label();

  // Commands can be copied.
  for (const command of all(".command")) {
    const copy = made("button", { type: "button", textContent: "copy", ariaLabel: "Copy: " + one("code", command).textContent });
    copy.addEventListener("click", async () => {
      const code = one("code", command);
      try {
        await navigator.clipboard.writeText(code.textContent);
        copy.textContent = "copied";
        setTimeout(() => { copy.textContent = "copy"; }, 1500);
      } catch {
        getSelection().selectAllChildren(code);
      }
    });
    command.append(copy);
  }

  // Rows: a statement and what unfolds under it go together.
  const more = (row) => (row.classList.contains("head") ? row.nextElementSibling : null);
  const unfold = (row, open) => {
    row.classList.toggle("open", open);
    more(row).classList.toggle("open", open);
    one(".name button", row).setAttribute("aria-expanded", String(open));
  };
  for (const row of all(".claims tr.head")) {
    const name = one(".name", row);
    const toggle = made("button", { type: "button", textContent: name.textContent });
    toggle.setAttribute("aria-controls", more(row).id);
    toggle.setAttribute("aria-expanded", "false");
    toggle.addEventListener("click", () => unfold(row, !row.classList.contains("open")));
    name.replaceChildren(toggle);
    row.more = more(row);
  }

  // Sorting: numbers as numbers, what is empty last.
  const value = (row, column) => {
    const cell = row.cells[column];
    const text = (cell.dataset.value ?? one(".name", cell)?.textContent ?? cell.textContent).trim().replace("−", "-");
    const number = /^[+-]?(\d[\d,]*\.?\d*|\.\d+)(e[+-]?\d+)?/i.exec(text);
    return { text, number: number ? Number(number[0].replaceAll(",", "")) : null, empty: text === "" || text === "–" };
  };
  const compare = (a, b) => (a.number !== null && b.number !== null && a.number !== b.number ? a.number - b.number
    : a.text.localeCompare(b.text, "en", { numeric: true }));
  const sort = (table, column, direction) => {
    const body = table.tBodies[0];
    const rows = [...body.rows].filter((row) => !row.classList.contains("more"));
    rows.forEach((row, place) => { row.place ??= place; });
    rows.sort((a, b) => {
      if (column === null) return a.place - b.place;
      const [left, right] = [value(a, column), value(b, column)];
      return left.empty - right.empty || direction * compare(left, right) || a.place - b.place;
    });
    body.append(...rows.flatMap((row) => (row.more ? [row, row.more] : [row])));
    all("thead th", table).forEach((head, place) => {
      if (place === column) head.setAttribute("aria-sort", direction > 0 ? "ascending" : "descending");
      else head.removeAttribute("aria-sort");
    });
  };
  for (const table of all("main table")) {
    all("thead th:not([data-fixed])", table).forEach((head) => {
      const toggle = made("button", { type: "button", title: "Sort by this column" });
      toggle.append(...head.childNodes);
      head.append(toggle);
      toggle.addEventListener("click", () => {
        sort(table, head.cellIndex, head.getAttribute("aria-sort") === "ascending" ? -1 : 1);
      });
    });
  }

  // Filters: every word of the text, and every choice.
  for (const form of all("form.filter")) {
    const table = one("table", form.parentElement);
    const rows = [...table.tBodies[0].rows].filter((row) => !row.classList.contains("more"));
    const text = new Map(rows.map((row) => [row, (row.textContent + (row.more?.textContent ?? "")).toLowerCase()]));
    const choices = all("select:not([name=sort])", form);
    const show = () => {
      const words = form.elements.text.value.toLowerCase().split(/\s+/).filter(Boolean);
      let left = 0;
      for (const row of rows) {
        const fits = words.every((word) => text.get(row).includes(word))
          && choices.every(({ name, value }) => !value || (row.dataset[name] ?? "").split("|").includes(value));
        row.hidden = !fits;
        if (row.more) row.more.hidden = !fits;
        left += fits;
      }
      one("output", form).textContent = left + " of " + rows.length;
    };
    form.show = show;
    form.hidden = false;
    form.addEventListener("input", show);
    form.addEventListener("submit", (event) => event.preventDefault());
    form.addEventListener("reset", () => setTimeout(() => { show(); sort(table, null, 1); }));
    form.elements.sort?.addEventListener("change", ({ target }) => {
      sort(table, target.value === "" ? null : Number(target.value), 1);
    });
    one("[data-unfold]", form)?.addEventListener("click", ({ currentTarget }) => {
      const open = currentTarget.getAttribute("aria-pressed") !== "true";
      currentTarget.setAttribute("aria-pressed", String(open));
      currentTarget.textContent = open ? "Fold all" : "Unfold all";
      rows.forEach((row) => unfold(row, open));
    });
    show();
  }
  for (const link of all(".tiles a[data-verdict]")) {
    link.addEventListener("click", () => {
      const form = one("form.filter:has([name=verdict])");
      form.reset();
      form.elements.verdict.value = link.dataset.verdict;
      form.show();
    });
  }

  // Figures: pieces on a phone, enlarged on a click, small ones in the contents.
  const dialog = one("#zoom"), stage = one(".stage", dialog), large = one("img", stage);
  const fit = (image) => {
    const [width, height] = image.dataset.inches.split(" ").map(Number);
    return Math.max(Math.min(stage.clientWidth, (stage.clientHeight * width) / height), 80 * Math.min(width, 4));
  };
  const enlarge = (image) => {
    large.src = image.src;
    large.alt = image.alt;
    one("#zoom-title").textContent = one("figcaption b", image.closest("figure")).textContent.replace(/\.$/, "");
    one(".note", dialog).textContent = one("figcaption", image.closest("figure")).lastChild.textContent;
    dialog.showModal();
    large.style.width = fit(image) + "px";
  };
  const scale = (factor) => { large.style.width = Math.max(200, large.offsetWidth * factor) + "px"; };
  large.addEventListener("click", () => scale(1.5));
  one("[data-zoom=in]").addEventListener("click", () => scale(1.3));
  one("[data-zoom=out]").addEventListener("click", () => scale(1 / 1.3));
  one("[data-zoom=close]").addEventListener("click", () => dialog.close());
  dialog.addEventListener("click", ({ target }) => { if (target === dialog) dialog.close(); });

  const pieces = (image) => {
    const [width, height] = image.dataset.inches.split(" ").map(Number);
    const place = made("div", { className: "pieces" });
    place.setAttribute("aria-hidden", "true");
    for (const piece of image.dataset.pieces.split(",")) {
      const [x, y, w, h] = piece.split(" ").map(Number);
      const panel = h > 0.6;
      const slide = made("div", { className: panel ? "slide panel" : "slide" });
      const frame = made("div", { className: "piece" });
      frame.style.width = panel ? `clamp(${82 * w}px, 100%, ${125 * w}px)` : `${92 * w}px`;
      frame.style.aspectRatio = `${w} / ${h}`;
      const part = made("img", { src: image.src, alt: "" });
      Object.assign(part.style, { width: `${(100 * width) / w}%`, left: `${(-100 * x) / w}%`, top: `${(-100 * y) / h}%`,
        height: `${(100 * height) / h}%` });
      frame.append(part);
      slide.append(frame);
      place.append(slide);
    }
    return place;
  };
  const phone = matchMedia("screen and (max-width: 44rem)");
  const cut = () => {
    for (const image of all("img[data-pieces]")) {
      const card = image.parentElement;
      if (phone.matches && image.dataset.pieces && !one(".pieces", card)) {
        const parts = pieces(image);
        parts.addEventListener("click", () => enlarge(image));
        image.after(parts);
        card.classList.add("cut");
      }
    }
  };
  for (const image of all("img[data-pieces]")) {
    const open = made("button", { type: "button", className: "larger", textContent: "Enlarge" });
    open.setAttribute("aria-describedby", image.closest("article").getAttribute("aria-labelledby"));
    open.addEventListener("click", () => enlarge(image));
    image.addEventListener("click", () => enlarge(image));
    image.parentElement.append(open);
  }
  phone.addEventListener("change", cut);
  cut();
  for (const link of all("nav a[data-thumb]")) {
    link.prepend(made("img", { src: one(`#${link.dataset.thumb}-image`).src, alt: "", loading: "lazy" }));
  }

  // Contents: folded on a phone, and beside the text the place where the reader is.
  const contents = one("nav details");
  if (!matchMedia("(min-width: 72rem)").matches) contents.open = false;
  const links = new Map(all("nav a").map((link) => [link.hash.slice(1), link]));
  const seen = new IntersectionObserver((entries) => {
    for (const { target, isIntersecting } of entries) {
      if (!isIntersecting) continue;
      for (const link of links.values()) link.removeAttribute("aria-current");
      links.get(target.id).setAttribute("aria-current", "location");
    }
  }, { rootMargin: "-10% 0px -80% 0px" });
  all("main [id]").filter((target) => links.has(target.id)).forEach((target) => seen.observe(target));

  // Deep links unfold what they point at.
  const reveal = () => {
    const target = document.getElementById(decodeURIComponent(location.hash.slice(1)));
    if (!target) return;
    for (let up = target.closest("details"); up; up = up.parentElement.closest("details")) up.open = true;
    if (target.matches(".claims tr.head")) {
      if (target.hidden) one("form.filter", target.closest("article")).reset();
      setTimeout(() => { unfold(target, true); target.scrollIntoView({ block: "center" }); }, 20);
    }
  };
  addEventListener("hashchange", reveal);
  reveal();

  // Paper has no folds.
  let folded = [];
  addEventListener("beforeprint", () => {
    folded = all("main details:not([open])");
    folded.forEach((details) => { details.open = true; });
  });
  addEventListener("afterprint", () => folded.forEach((details) => { details.open = false; }));
})();
