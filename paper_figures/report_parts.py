"""The style sheet and the script of the report."""

STYLE = """
:root { color-scheme: light dark; --ink: #1c1c1e; --soft: #55585e; --paper: #ffffff; --line: #d6d8dc; --tint: #f3f4f6;
  --good: #0b6e4f; --bad: #a8321b; --open: #7a5b00; --link: #0a58a5; }
@media (prefers-color-scheme: dark) { :root { --ink: #e8e8ea; --soft: #a9adb5; --paper: #16181c; --line: #3a3e46;
  --tint: #22252b; --good: #5fd3a5; --bad: #ff9a80; --open: #f0c75e; --link: #7db8f5; } }
* { box-sizing: border-box; }
body { margin: 0 auto; max-width: 74rem; padding: 1rem; font: 16px/1.5 system-ui, sans-serif; color: var(--ink);
  background: var(--paper); }
h1 { font-size: 1.6rem; line-height: 1.2; } h2 { font-size: 1.25rem; margin: 2.2rem 0 .4rem; }
h3 { font-size: 1.05rem; margin: 1.2rem 0 .3rem; } p { margin: .4rem 0; } a { color: var(--link); }
li { margin: .25rem 0; overflow-wrap: anywhere; } nav ul { columns: 2 16rem; padding-left: 1.2rem; }
.note, summary, caption { color: var(--soft); font-size: .9rem; } caption { text-align: left; padding: .3rem 0; }
.missing { border-left: 3px solid var(--open); padding: .3rem .7rem; background: var(--tint); overflow-wrap: anywhere; }
.scroll { overflow-x: auto; } table { border-collapse: collapse; width: 100%; font-size: .88rem; }
th, td { text-align: left; vertical-align: top; padding: .35rem .5rem; border-bottom: 1px solid var(--line); }
thead th { background: var(--tint); white-space: nowrap; } .number { text-align: right; white-space: nowrap; }
td[data-column=clients], td[data-column=method] { white-space: nowrap; }
td[data-column=claim] { font-weight: 600; min-width: 9rem; } td[data-column=statement] { min-width: 15rem; }
td[data-column=source] { min-width: 8rem; }
tr[data-mark] td[data-column=verdict] { font-weight: 600; color: var(--open); }
tr[data-mark^=holds] td[data-column=verdict] { color: var(--good); }
tr[data-mark=refuted] td[data-column=verdict] { color: var(--bad); }
img { display: block; max-width: 100%; height: auto; background: #fff; border-radius: 6px; padding: .4rem;
  border: 1px solid var(--line); } code { font-size: .85em; overflow-wrap: anywhere; }
.plain { padding-left: 1.1rem; font-size: .9rem; max-height: 16rem; overflow-y: auto; }
.filter { display: flex; flex-wrap: wrap; gap: .4rem 1rem; align-items: center; margin: .5rem 0; }
input, select { font: inherit; padding: .2rem .4rem; color: inherit; background: var(--paper);
  border: 1px solid var(--line); border-radius: 4px; }
td code { white-space: nowrap; }
@media screen and (max-width: 40rem) { body { padding: .7rem; } nav ul { columns: 1; }
  img { max-width: none; width: 42rem; } }
@media print { :root { --ink: #000; --soft: #333; --paper: #fff; --line: #999; --tint: #eee; --good: #000; --bad: #000;
  --open: #000; --link: #000; } body { max-width: none; padding: 0; font-size: 10pt; } nav, .filter { display: none; }
  .scroll { overflow: visible; } table { font-size: 7.5pt; } td, th { min-width: 0 !important; padding: .15rem .25rem;
  overflow-wrap: break-word; }
  td code { white-space: normal; }
  section:has(img), img, tr { break-inside: avoid; } h2 { break-after: avoid; } .plain { max-height: none; } }
"""

SCRIPT = """
for (const form of document.querySelectorAll("form.filter")) {
  const rows = [...form.parentElement.querySelectorAll("tbody tr")];
  const text = form.querySelector("[data-filter=text]"), mark = form.querySelector("[data-filter=mark]");
  const show = () => {
    const wanted = text.value.trim().toLowerCase();
    let left = 0;
    for (const row of rows) {
      const fits = row.textContent.toLowerCase().includes(wanted) && (!mark.value || row.dataset.mark === mark.value);
      row.hidden = !fits;
      left += fits;
    }
    form.querySelector("output").textContent = left + " of " + rows.length;
  };
  form.addEventListener("input", show);
  form.addEventListener("submit", (event) => event.preventDefault());
  show();
}
"""
