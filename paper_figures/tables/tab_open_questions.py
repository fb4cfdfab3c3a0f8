"""The open questions in differences: RoLoRA against the two others and against its plain form, paired by seed."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from paper_figures.analysis import differences
from paper_figures.analysis import runs as outcomes
from paper_figures.analysis.entry import Entry
from paper_figures.analysis.questions import SETTINGS
from paper_figures.analysis.runs import Run
from paper_figures.drawing.table import Table
from paper_figures.panels import studied_settings
from paper_figures.panels.swept_setting import Panel
from paper_figures.records.sources import Records
from rolora.evaluation.intervals import MeanInterval

OTHERS = {"fedavg-lora": "RoLoRA − FedAvg-LoRA", "ffa-lora": "RoLoRA − FFA-LoRA"}

PLAIN = "RoLoRA − BA at equal rates"

MARKS = {"above": " ▲", "below": " ▼"}


def found(records: Records) -> dict[str, list[Panel]]:
    """Return the panels of every kind of record that has some, as its figure has them."""
    return {kind: panels for kind in SETTINGS if (panels := studied_settings.panels(records, kind))}


def applies(records: Records) -> bool:
    """Return True if there is any such panel."""
    return bool(found(records))


def table(records: Records) -> Table:
    """One row a setting of a panel."""
    entries = [
        (kind, panel.title, *row) for kind, panels in found(records).items() for panel in panels for row in rows(panel)
    ]
    columns = ("question", "setting", "at", *OTHERS.values(), PLAIN)
    any_panel = next(iter(found(records).values()))[0]
    return Table(
        title="The open questions: paired differences",
        columns=columns,
        rows=tuple(
            (kind.replace("_", " "), title, at, *(_text(means.get(name)) for name in columns[3:]))
            for kind, title, at, means in entries
        ),
        notes=(
            f"{outcomes.models([any_panel.any_run])}. Differences of the final test {outcomes.metric(any_panel.any_run)} at equal "
            "seed, which have equal data and first adapter: their mean, half the width of Student's 95 % interval and the number "
            "of seeds; ▲ or ▼ where the interval leaves zero out. Each method at the learning rate that validation chose.",
            *(_counted(name, [means for *_, means in entries]) for name in columns[3:]),
        ),
        numeric=frozenset(columns[3:]),
    )


def rows(panel: Panel) -> Iterator[tuple[str, Mapping[str, MeanInterval]]]:
    """(label, title of a difference -> it) for every place and line of RoLoRA's in a panel."""
    for (method, line), places in panel.lines.items():
        if method != "rolora":
            continue
        plain = [runs for runs in places.values() if _is_plain(runs[0])]
        reference = plain[0] if len(plain) == 1 else []  # with several, it is not the form of RoLoRA that varies
        for place, runs in places.items():
            against = {title: _of(panel, name, place) for name, title in OTHERS.items()}
            against[PLAIN] = reference if runs is not reference else []
            values = outcomes.values(runs)
            means = {
                title: mean
                for title, other in against.items()
                if (mean := differences.mean(values, outcomes.values(other))) is not None
            }
            yield " ".join((panel.labels[place].replace("\n", ", "), line)).strip(), means


def _of(panel: Panel, method: str, place: object) -> list[Run]:
    """The other method's runs at a place, or all it has where it has but one place (a schedule is RoLoRA's alone)."""
    for (name, _), places in panel.lines.items():
        if name == method:
            return places.get(place) or (next(iter(places.values())) if len(places) == 1 else [])
    return []


def _is_plain(run: Run) -> bool:
    """Return True if B and A take turns and have one learning rate."""
    training, method = run["config"]["training"], run["config"].get("method") or {}
    own = training.get("learning_rate_a")
    return method.get("schedule") in (None, "BA") and own in (None, training["learning_rate"])


def _text(mean: MeanInterval | None) -> str:
    if mean is None:
        return "–"
    return f"{mean.text(3, sign=True)} ({mean.n}){MARKS.get(differences.side(mean), '')}"


def _counted(name: str, entries: list[Mapping[str, MeanInterval]]) -> str:
    known = [means[name] for means in entries if name in means]
    counts = differences.counts(known)
    return (
        f"{name}: of {len(known)} differences the interval lies above zero in {counts['above']}, below in "
        f"{counts['below']}, and includes zero in {counts[differences.NOT_SIGNIFICANT]}."
    )


ENTRY = Entry(
    "tab_open_questions",
    title="The open questions: paired differences",
    shows=(
        "Label skew, participation, rank, layers, schedules, rates of the two factors and local steps: RoLoRA less the others at "
        "equal seed, with intervals."
    ),
    counterpart="none: the papers give no intervals",
    needs=SETTINGS[:1],
    uses=SETTINGS[1:],
    make=table,
    applies=applies,
)
