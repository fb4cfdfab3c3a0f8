"""Every figure and table of both papers: what answers it here, how far, at which scale, and what the rest takes."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from paper_figures.analysis import runs as outcomes
from paper_figures.analysis.entry import Entry
from paper_figures.analysis.paper_scale import SCALES
from paper_figures.drawing.table import Table
from paper_figures.panels import printed_accuracies, printed_benchmarks
from paper_figures.panels.paper_comparison import NOT_RUN
from paper_figures.records.sources import Records

P1, P2 = "arXiv 2502.01755v4", "arXiv 2409.02346"


@dataclass(frozen=True)
class Counterpart:
    """One figure or table of a paper.

    Args:
        paper: with its version.
        name: of the figure or table there.
        varies: what it shows.
        printed: its numbers in a word, with their trust.
        scale: key of :data:`paper_figures.analysis.paper_scale.SCALES`, or nothing where no language model is needed.
        kinds: kinds of record that answer it, any of them.
        ids: figures and tables here.
        table: ours with the printed lines, to count those that have been run.
    """

    paper: str
    name: str
    varies: str
    printed: str
    scale: str
    kinds: tuple[str, ...]
    ids: tuple[str, ...]
    table: Callable[[Records], Table] | None = None


CURVES = "curves alone"
COUNTERPARTS = (
    Counterpart(P1, "Figure 2", "two-layer model on MNIST, 5 and 10 clients by label", "FFA-LoRA near 55 % [S]", "",
                ("nonlinear_mnist",), ("fig_nonlinear_mnist", "fig_nonlinear_mnist_rates", "fig_nonlinear")),
    Counterpart(P1, "Figure 3", "convergence, 50 clients", CURVES, "P1-F3", ("finetuning", "encoder_tasks"),
                ("fig_finetuning", "fig_encoder_tasks")),
    Counterpart(P1, "Figure 4", "budgets of fine-tuned parameters", CURVES, "P1-F4", ("layer_budgets",), ("fig_layer_budgets",)),
    Counterpart(P1, "Figure 5", "mixtures of RoLoRA's and FFA-LoRA's rounds", "a fifth of RoLoRA far above FFA-LoRA [S]",
                "P1-F5", ("schedules",), ("fig_schedules",)),
    Counterpart(P1, "Figure 6", "learning rates that differ between A and B", "equal rates best [S]", "P1-F6", ("rate_ratios",),
                ("fig_rate_ratios",)),
    Counterpart(P1, "Figure 12", "communication time, 3 clients", "no number found", "P1-F12", ("finetuning",),
                ("fig_communication", "fig_budgets")),
    Counterpart(P1, "Table 1", "3, 20 and 50 clients", "averages, some cells [S, M]", "P1-1", ("finetuning", "confound"),
                ("tab_paper_table1", "fig_finetuning"), printed_accuracies.first_clients),
    Counterpart(P1, "Table 2", "Dirichlet label skew", "some cells [S]", "P1-2", ("label_skew",),
                ("tab_paper_label_skew", "fig_label_skew"), printed_accuracies.label_skew),
    Counterpart(P1, "Table 4", "local steps", "ends of the range [S]", "P1-4", ("local_steps",),
                ("tab_paper_local_steps", "fig_local_steps"), printed_accuracies.local_steps),
    Counterpart(P1, "commonsense reasoning", "eight sets, Llama-2-7B, 50 clients", "all cells [S]", "P1-commonsense",
                ("evaluations",), ("tab_paper_commonsense", "tab_benchmarks"), printed_benchmarks.commonsense),
    Counterpart(P1, "HumanEval, MMLU", "Llama-2-7B after Code Alpaca and Alpaca", "unverified [M]", "P1-generation",
                ("evaluations",), ("tab_paper_generation", "tab_benchmarks"), printed_benchmarks.generation),
    Counterpart(P1, "Table 20", "differential privacy, one setting", "not found", "P1-20", (), ()),
    Counterpart(P2, "Figure 1", "budgets of fine-tuned parameters, mean over ranks", CURVES, "P1-F4", ("layer_budgets",),
                ("fig_layer_budgets",)),
    Counterpart(P2, "Figure 2", "convergence, 50 clients", CURVES, "P1-F3", ("finetuning", "encoder_tasks"),
                ("fig_finetuning", "fig_encoder_tasks")),
    Counterpart(P2, "Table 1", "ranks, 3 clients", "all cells [V]", "P2-1", ("ranks", "finetuning"),
                ("tab_paper_ranks", "fig_ranks"), printed_accuracies.ranks),
    Counterpart(P2, "Table 2", "3, 20 and 50 clients", "all cells [V]", "P2-2", ("finetuning", "confound"),
                ("tab_paper_table1", "fig_finetuning"), printed_accuracies.second_clients),
    Counterpart(P2, "Table 3", "equal message size", "all cells [V]", "P2-3", ("ranks",),
                ("tab_paper_message_size", "fig_ranks"), printed_accuracies.message_size),
    Counterpart(P2, "Table 6", "uplink", "all cells [V]", "", (), ("tab_paper_uplink", "tab_paper_arithmetic", "fig_communication")),
    Counterpart(P2, "Table 7", "DeBERTa-XLarge, equal message size", "all cells [V]", "P2-7", (), ("tab_paper_deberta",),
                printed_accuracies.deberta),
    Counterpart(P2, "Table 8", "quantised backbone", "all cells [V]", "P2-8", (), ("tab_paper_quantised",), printed_accuracies.quantised),
)  # fmt: skip
"""In the papers' order."""

COLUMNS = (
    "paper",
    "there",
    "what varies",
    "printed",
    "state",
    "here",
    "our scale",
    "the paper's scale needs",
    "command",
)


def table(records: Records) -> Table:
    """One row a figure or table of the papers."""
    made = [_row(one, records) for one in COUNTERPARTS]
    count = {word: sum(row[4].startswith(word) for row in made) for word in ("ours", "partly", NOT_RUN)}
    return Table(
        "Every figure and table of both papers, and its counterpart",
        COLUMNS,
        tuple(made),
        (
            f"{len(made)} in all: {count['ours']} ours, {count['partly']} partly, {count[NOT_RUN]} not run. Ours: the paper's "
            "sizes, what it leaves open chosen here, or no model is needed. Partly: what varies there varies here, on the model "
            "and data named under our scale, for as many of the printed lines as are counted. Trust of printed numbers: [V] "
            "read in the paper, [S] quoted by a third party, [M] from memory, unverified. Figures of which no number was found "
            'are "curves alone".',
            "Memory and time of a run at the paper's scale: python -m rolora plan with the same config, at 2e13 operations a second.",
        ),
        frozenset(),
        tuple(next(word for word in ("ours", "partly", NOT_RUN) if row[4].startswith(word)) for row in made),
    )


def _row(one: Counterpart, records: Records) -> tuple[str, ...]:
    scale = SCALES.get(one.scale)
    needs = "no model" if scale is None else scale.needs
    if scale is not None and scale.remark:
        needs += f". {scale.remark}"
    how_far, ours = state(one, records)
    return (
        one.paper, one.name, one.varies, one.printed, how_far, ", ".join(one.ids) or "–", ours, needs,
        "; then ".join(scale.commands) if scale else _own(one),
    )  # fmt: skip


def _own(one: Counterpart) -> str:
    if "nonlinear_mnist" in one.kinds:
        return "python -m theory simulate nonlinear --images DIR --json nonlinear_mnist.json"
    return SCALES["P2-6"].commands[0]


def state(one: Counterpart, records: Records) -> tuple[str, str]:
    """Ours, partly, or not run with what is needed; and the models and tasks of what is ours."""
    if not one.scale:  # no language model in it, so it is done at the paper's own size or not at all
        missing = records.missing(one.kinds)
        return (f"{NOT_RUN}: needs {', '.join(missing)} records", "–") if missing else ("ours", "the paper's sizes")
    if one.table is not None:
        made = one.table(records)
        lines, found = sum(mark == "paper" for mark in made.marks), _found(made)
        done = lines - sum(mark == NOT_RUN for mark in made.marks)
        if done:
            return f"partly: {done} of {lines} lines", found
    elif len(records.missing(one.kinds)) < len(one.kinds):
        runs = [run for kind in one.kinds for run in outcomes.on_test(records[kind])]
        return "partly", ", ".join(sorted({f"{run['model']['name']} on {outcomes.task(run)}" for run in runs}))
    return f"{NOT_RUN}: needs {SCALES[one.scale].needs}", "–"


def _found(made: Table) -> str:
    """Models of the rows that are ours, with the columns in which they have a number."""
    found = {
        f"{row[made.columns.index('whose')].removeprefix('ours: ')} on {column}"
        for row, mark in zip(made.rows, made.marks, strict=True)
        for column, cell in zip(made.columns, row, strict=True)
        if mark == "ours" and column in made.numeric and cell not in (NOT_RUN, "–")
    }
    return ", ".join(sorted(found))


ENTRY = Entry(
    "tab_counterparts",
    title="Every figure and table of both papers, and its counterpart",
    shows="What answers each figure and table of the papers here, how far, at which scale, and what the rest takes.",
    counterpart="all figures and tables of arXiv 2502.01755v4 and arXiv 2409.02346",
    make=table,
)
