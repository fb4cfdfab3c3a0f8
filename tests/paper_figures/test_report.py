"""The report without a browser: well-formed, complete, alone, and its words from the records."""

from __future__ import annotations

import itertools
import re
from dataclasses import dataclass, field, replace
from html.parser import HTMLParser
from pathlib import Path

import pytest

from paper_figures import registry, report
from paper_figures.analysis import questions, trust
from paper_figures.drawing.table import Table
from paper_figures.records import sources
from paper_figures.report import claims, pictures, summary
from tests.paper_figures.conftest import Drawn, fake_claims

VOID = {"meta", "img", "input", "path", "circle", "br", "link", "hr"}


@dataclass
class Element:
    tag: str
    attributes: dict[str, str]
    parents: tuple[str, ...]
    text: str = ""


@dataclass
class Page(HTMLParser):
    """Every element with its attributes and text; what is not closed in order is an error."""

    elements: list[Element] = field(default_factory=list)
    stack: list[Element] = field(default_factory=list)

    def __post_init__(self) -> None:
        super().__init__()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        element = Element(tag, {name: value or "" for name, value in attrs}, tuple(one.tag for one in self.stack))
        assert len(element.attributes) == len(attrs), f"<{tag}>: an attribute stands twice"
        self.elements.append(element)
        if tag not in VOID:
            self.stack.append(element)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append(Element(tag, {name: value or "" for name, value in attrs}, ()))

    def handle_endtag(self, tag: str) -> None:
        assert self.stack and self.stack.pop().tag == tag, f"</{tag}> closes what it did not open"

    def handle_data(self, data: str) -> None:
        for element in self.stack:
            element.text += data

    def all(self, tag: str) -> list[Element]:
        return [one for one in self.elements if one.tag == tag]

    def with_attribute(self, name: str) -> list[str]:
        return [one.attributes[name] for one in self.elements if name in one.attributes]


def parsed(text: str) -> Page:
    page = Page()
    page.feed(text)
    page.close()
    assert not page.stack, f"left open: {[one.tag for one in page.stack]}"
    return page


@pytest.fixture(scope="module")
def text(rendered: Path) -> str:
    """The rendered report; that another run gives the same bytes is asserted by the check of the commands."""
    return (rendered / "report.html").read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def page(text: str) -> Page:
    return parsed(text)


def test_ids_are_unique_and_every_reference_resolves(page: Page) -> None:
    ids = page.with_attribute("id")
    assert len(ids) == len(set(ids))
    anchors = [one.removeprefix("#") for one in page.with_attribute("href")]
    referred = anchors + [
        id for name in ("aria-labelledby", "aria-controls", "for") for id in page.with_attribute(name)
    ]
    assert set(referred) <= set(ids)
    assert {entry.id for entry in registry.select()} <= set(anchors) & set(ids)
    assert {f"record-{kind}" for kind in sources.SOURCES} <= set(ids)


def test_the_page_stands_alone(text: str, page: Page) -> None:
    assert all(one.startswith("#") for one in page.with_attribute("href"))
    sources = page.with_attribute("src")
    assert all(one.startswith("data:image/svg+xml,") for one in sources)
    assert len(sources) == sum(entry.kind == "figure" for entry in registry.select())
    outside = re.sub(r'src="data:[^"]*"', "", text)
    assert not re.search(r"https?://|url\(|@import|srcset|<iframe|<object|<link", outside)
    (policy,) = [one.attributes["content"] for one in page.all("meta") if "http-equiv" in one.attributes]
    assert policy.startswith("default-src 'none';") and "img-src data:" in policy


def test_headings_are_in_order_and_landmarks_are_there(page: Page) -> None:
    levels = [int(one.tag[1]) for one in page.elements if re.fullmatch(r"h[1-6]", one.tag)]
    assert levels[0] == 1 and levels.count(1) == 1
    assert all(after <= before + 1 for before, after in itertools.pairwise(levels))
    for landmark in ("header", "nav", "main"):
        assert len(page.all(landmark)) == 1
    first = next(one for one in page.elements if one.tag == "a")
    assert first.attributes == {"class": "skip", "href": "#main"}
    assert page.all("html")[0].attributes["lang"] == "en"
    assert all(one.attributes.get("aria-label") or one.attributes.get("aria-labelledby") for one in page.all("nav"))


def test_every_figure_says_what_it_shows_and_every_table_has_scopes_and_a_caption(page: Page) -> None:
    shown = [one for one in page.all("img") if "figure" in one.parents]
    assert len(shown) == sum(entry.kind == "figure" for entry in registry.select())
    for image in shown:
        assert len(image.attributes["alt"]) > 40 and "panel" in image.attributes["alt"]
        assert int(image.attributes["width"]) > 100 and int(image.attributes["height"]) > 50
    assert all("alt" in image.attributes for image in page.all("img"))
    assert all(one.attributes.get("scope") in ("col", "row") for one in page.all("th"))
    assert len(page.all("caption")) == len(page.all("table"))


def test_every_field_has_a_label_and_every_button_a_type(page: Page) -> None:
    for field_ in page.all("input") + page.all("select"):
        assert "label" in field_.parents
    assert all("type" in button.attributes for button in page.all("button"))


def test_every_entry_names_records_commands_seeds_hardware_and_time(text: str, records: sources.Records) -> None:
    for entry in registry.select():
        (article,) = re.findall(rf'<article class="entry \w+" id="{entry.id}".*?</article>', text, flags=re.DOTALL)
        assert f"python -m paper_figures build {entry.id}" in article
        for kind in (*entry.needs, *entry.uses):
            assert f'href="#record-{kind}"' in article
            assert sources.SOURCES[kind].shown("records").replace("'", "&#39;") in article
        for word in ("Seeds", "Hardware", "Time", "Digest") if entry.needs else ("Printed numbers",):
            assert f"<dt>{word}</dt>" in article
    for wanted in ("0.733 ± 0.012", "Made-up processor", "rolora-n20-s0-isolated/record.json", "13 min 30 s"):
        assert wanted in text


def test_what_a_record_says_is_never_markup(text: str, page: Page) -> None:
    assert "<script>alert" not in text and "alert(1)&lt;/script&gt;" in text
    assert len(page.all("script")) == 1


def test_missing_records_are_named_with_their_commands(tmp_path: Path) -> None:
    text = report.page(sources.load(tmp_path))
    parsed(text)
    assert "There are no records yet." in text
    assert text.count('class="missing"') == sum(bool(entry.needs) for entry in registry.select())
    assert "python -m theory simulate linear" in text
    assert str(tmp_path) not in text, "an absolute path is of one machine"


def test_claims_say_their_papers_origin_and_trust() -> None:
    source = "arXiv 2502.01755v4, Theorem 4.5 (constants recalled; unverified); compare arXiv 2409.02346"
    (stated,) = claims.views([fake_claims()[0] | {"source": source}])
    assert (stated.papers, stated.origin, stated.trust) == (("2502.01755", "2409.02346"), claims.STATED, ("M",))
    derived, rate, open_ = claims.views(fake_claims())
    assert derived.origin == claims.DERIVED and rate.origin == claims.STATED
    assert open_.surprise == "expected: holds; control not refuted" and open_.measured == "–"
    assert derived.details["measured"] == "0.125" and "error" not in derived.details
    assert claims.choices([derived, rate, open_])["verdict"] == {"holds": 1, "not run": 1, "refuted": 1}


def test_the_opening_counts_what_the_records_hold(records: sources.Records) -> None:
    tiles = {tile.words: tile.number for tile in summary.tiles(records)}
    assert tiles["statements checked"] == "3" and tiles["refuted"] == "1"
    assert tiles["controls refuted, as a sound check needs"] == "2/3"
    kinds = [records[kind] for kind in sources.SOURCES]
    runs = sum(len(kind) for kind in kinds if isinstance(kind, list) and kind and "rounds" in kind[0])
    assert tiles["fine-tuning runs on record"] == str(runs)


def test_duels_are_the_paired_differences_and_their_score_counts_them(records: sources.Records) -> None:
    found = {duel.where: duel for duel in summary.duels(records)}
    duel = found["all-MiniLM-L6-v2, Rotten Tomatoes: 20 clients"]
    finals = {
        name: [run["final"]["accuracy"] for run in records["finetuning"] if run["name"].startswith(f"{name}-n20")]
        for name in ("rolora", "fedavg-lora")
    }
    assert duel.difference.n == 3
    assert duel.difference.mean == pytest.approx(sum(finals["rolora"]) / 3 - sum(finals["fedavg-lora"]) / 3)
    sides = [one.side for one in found.values()]
    assert len(sides) == 4 + 3 + 3
    assert f"above FedAvg-LoRA in {sides.count('above')}, below it in {sides.count('below')}" in summary.score(
        [*found.values()]
    )
    assert summary.reach([duel]) >= max(map(abs, duel.ends))
    assert summary.duels(records.having(nonlinear=None, nonlinear_mnist=None, finetuning=[])) == []


def test_pieces_cover_legend_and_panels_and_lie_inside(drawn: Drawn) -> None:
    found = pictures.picture(drawn("fig_linear"))
    panels = [piece for piece in found.pieces if piece[3] > 0.6]
    assert len(panels) == 4 and len(found.pieces) == 4 + 4, "four panels and four entries of the legend"
    for x, y, width, height in found.pieces:
        assert x >= 0 and y >= 0 and x + width <= found.width + 0.01 and y + height <= found.height + 0.01
    assert found.source.startswith("data:image/svg+xml,") and '"' not in found.source
    assert "FedAvg-LoRA converges too" in found.note and found.title == "Linear model: distance to the solution"
    assert "4 panels: (a) one b* for all clients: angle distance |sin θ(a, a*)| (logarithmic)" in found.alt


def test_numbers_are_those_of_the_curves(records: sources.Records, drawn: Drawn) -> None:
    rows = pictures.picture(drawn("fig_nonlinear_mnist")).numbers
    found = {(row[0], row[1]): row for row in rows}
    ends = [
        one["test_accuracy"][-1]
        for one in records["nonlinear_mnist"]["series"]
        if (one["panel"], one["algorithm"], one["stage"]) == ("10 clients x 1 label", "rolora", "final")
    ]
    row = found["(b) 10 clients x 1 label", "RoLoRA"]
    assert row[3] == f"(100, {sum(ends) / 3:.4g})" and row[4] == "101"
    assert found["(d) final accuracy, 10 clients x 1 label", "here: rolora"][4] == "1"


def test_trust_is_read_off_what_is_shown(drawn: Drawn) -> None:
    assert trust.in_figure(drawn("fig_nonlinear_mnist")) == ("S",)
    assert trust.in_figure(drawn("fig_linear")) == ()
    table = Table(
        "t", ("value", "trust"), (("1", "quoted by a third party"), ("2", "unverified: from memory")), ("x [V]",)
    )
    assert trust.in_table(table) == ("V", "S", "M")
    assert set(trust.words()) == set(trust.PHRASES)


def test_entries_are_grouped_by_question_and_none_is_lost() -> None:
    groups = questions.grouped(registry.select())
    assert sorted(entry.id for _, entries in groups for entry in entries) == sorted(one.id for one in registry.select())
    for _, entries in groups:
        kinds = [entry.kind for entry in entries]
        assert kinds == sorted(kinds), "figures before tables"
    (linear,) = registry.select(["fig_linear"])
    assert questions.question(linear).id == "linear-model"
    assert questions.question(replace(linear, question="methods")).id == "methods"
    own = questions.question(replace(linear, question="Is it the chain?"))
    assert (own.id, own.asks) == ("question-is-it-the-chain", "Is it the chain?")
    assert questions.question(replace(linear, needs=("new kind",))).asks == questions.OTHERS


def contrast(one: str, other: str) -> float:
    """The contrast of two colours as WCAG 2 defines it."""

    def luminance(color: str) -> float:
        parts = [int(color[place : place + 2], 16) / 255 for place in (1, 3, 5)]
        red, green, blue = (part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts)
        return 0.2126 * red + 0.7152 * green + 0.0722 * blue

    low, high = sorted([luminance(one), luminance(other)])
    return (high + 0.05) / (low + 0.05)


@pytest.mark.parametrize("theme", [0, 1], ids=["light", "dark"])
def test_text_has_contrast_aa_and_edges_of_fields_three_to_one(theme: int) -> None:
    style = (report.HERE / "page.css").read_text(encoding="utf-8")
    colors = {name: pair[theme] for name, *pair in re.findall(r"--(\w+): light-dark\((#\w{6}), (#\w{6})\)", style)}
    assert contrast("#000000", "#ffffff") == pytest.approx(21)
    for ground in ("paper", "tint"):
        for ink in ("ink", "soft", "link", "good", "bad", "open"):
            assert contrast(colors[ink], colors[ground]) >= 4.5, (ink, ground)
        for edge in ("edge", "accent"):
            assert contrast(colors[edge], colors[ground]) >= 3, (edge, ground)


def test_the_page_knows_paper_motion_and_both_themes(text: str) -> None:
    for wanted in ("@media print", "prefers-reduced-motion", "prefers-color-scheme: dark", 'name="viewport"', "@page"):
        assert wanted in text
