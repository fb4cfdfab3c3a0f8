"""Every figure and table: what it shows, which panel of which paper it answers, and which records it needs."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any, Literal

from paper_figures import (
    fig_communication,
    fig_contraction,
    fig_engines,
    fig_finetuning,
    fig_interference,
    fig_learning_rates,
    fig_linear,
    fig_methods,
    fig_nonlinear,
    fig_nonlinear_mnist,
    fig_nonlinear_mnist_rates,
    fig_profile,
    fig_sample_complexity,
    finetuning,
    linear_record,
    methods,
    tab_claims,
    tab_conformance,
    tab_engines,
    tab_finetuning,
    tab_learning_rates,
    tab_methods,
    tab_paper_table1,
)
from paper_figures.compute import Records
from rolora.errors import InputError


@dataclass(frozen=True)
class Entry:
    """One figure or table.

    Args:
        id: its name, and that of its files.
        kind: figure or table.
        title: a few words.
        shows: one or two sentences.
        counterpart: what it answers in the papers.
        needs: kinds of record, all of them required; a table of printed numbers needs none.
        make: records -> ``matplotlib.figure.Figure`` or :class:`paper_figures.table.Table`.
        applies: whether records of the right kind hold what is drawn.
        question: the id of a question of :mod:`paper_figures.questions`, or one in words; by default that of ``needs``.
        uses: kinds of record that are shown where they are there.
    """

    id: str
    kind: Literal["figure", "table"]
    title: str
    shows: str
    counterpart: str
    needs: tuple[str, ...]
    make: Callable[[Records], Any]
    applies: Callable[[Records], bool] = lambda records: True
    question: str = ""
    uses: tuple[str, ...] = ()

    def available(self, records: Records) -> bool:
        """Whether it can be made from these records."""
        return not records.missing(self.needs) and self.applies(records)


ENTRIES = (
    Entry(
        "fig_linear", "figure", "Linear model: distance to the solution",
        "Angle distance and relative error of the three methods against communication rounds. It shows the floor of "
        "FFA-LoRA; it cannot separate RoLoRA from FedAvg-LoRA.",
        "arXiv 2502.01755v4, section 4.1 (no experiment of the paper was found there)", ("linear",), fig_linear.figure,
        lambda records: bool(linear_record.curves(records.linear, "trajectories")),
    ),
    Entry(
        "fig_contraction", "figure", "Linear model: contraction of RoLoRA",
        "The largest factor by which one iteration shrinks the angle distance, measured over the whole range of steps in both "
        "conventions of the loss, beside the claimed factor and where that stops being true; the factor near the solution "
        "beside |1 − 2κ|; and the map of angles.",
        "arXiv 2502.01755v4, Lemma 4.4", ("linear", "contraction"), fig_contraction.figure,
        lambda records: linear_record.has_ratios(records.linear),
    ),
    Entry(
        "fig_sample_complexity", "figure", "Linear model: how many samples a contraction takes",
        "What is left of a small angle after one iteration, against the samples of a client and of all clients together; "
        "and the pooled samples that a given contraction takes, against the dimension.",
        "arXiv 2502.01755v4, Lemma 4.4 (its sample size is per client)", ("sample_complexity",),
        fig_sample_complexity.figure,
    ),
    Entry(
        "fig_nonlinear", "figure", "Two-layer model on digits: accuracy against rounds",
        "Test accuracy of the three methods for label-skewed clients and an IID control, each at the learning rate that "
        "a validation split chose.",
        "arXiv 2502.01755v4, Figure 2", ("nonlinear",), fig_nonlinear.figure,
    ),
    Entry(
        "fig_learning_rates", "figure", "Two-layer model on digits: accuracy against learning rate",
        "Final test accuracy over the whole grid of learning rates, so that the order of methods can be judged at every "
        "rate and not at one.",
        "arXiv 2502.01755v4, Figure 2 (which shows one curve a method)", ("nonlinear",), fig_learning_rates.figure,
    ),
    Entry(
        "fig_nonlinear_mnist", "figure", "Two-layer model on MNIST: accuracy against rounds",
        "Test accuracy of the three methods for the paper's two partitions and an IID control at the paper's sizes, each "
        "at the learning rate that a validation split chose, with a centralised reference and the numbers quoted elsewhere.",
        "arXiv 2502.01755v4, Figure 2", ("nonlinear_mnist",), fig_nonlinear_mnist.figure,
    ),
    Entry(
        "fig_nonlinear_mnist_rates", "figure", "Two-layer model on MNIST: accuracy against learning rate",
        "Test accuracy at every rate of the sweep, with the rates that validation chose.",
        "arXiv 2502.01755v4, Figure 2 (which shows one curve a method)", ("nonlinear_mnist",),
        fig_nonlinear_mnist_rates.figure,
    ),
    Entry(
        "fig_finetuning", "figure", "Federated fine-tuning: accuracy against rounds",
        "Accuracy of the aggregated model for growing numbers of isolated clients, with the share of the larger class.",
        "arXiv 2502.01755v4, Table 1 and Figure 3", ("finetuning",), fig_finetuning.figure,
        lambda records: finetuning.has_isolated(records.finetuning),
    ),
    Entry(
        "fig_communication", "figure", "Federated fine-tuning: traffic",
        "Accuracy against all bytes sent, and the bytes of one client in one round by direction and part.",
        "arXiv 2502.01755v4, Figure 12; arXiv 2409.02346, Table 6", ("finetuning",), fig_communication.figure,
        lambda records: finetuning.has_isolated(records.finetuning),
    ),
    Entry(
        "fig_methods", "figure", "Federated fine-tuning: all methods",
        "Final accuracy of every method with its interval, and accuracy against rounds and against all bytes sent.",
        "none: no paper compares them all on one footing", ("methods",), fig_methods.figure,
    ),
    Entry(
        "fig_interference", "figure", "Federated fine-tuning: what a round loses",
        "The interference of the clients' factors and what each method missed, layer by layer on the real encoder.",
        "arXiv 2502.01755v4, equations 1 and 2", ("methods",), fig_interference.figure,
        lambda records: any(methods.lost([run], "missed")[0] for run in records.methods),
    ),
    Entry(
        "tab_methods", "table", "Federated fine-tuning: all methods",
        "Accuracy, the choice of the learning rate, traffic and time of every method.",
        "none: no paper compares them all on one footing", ("methods", "methods_rates"), tab_methods.table,
    ),
    Entry(
        "tab_conformance", "table", "Methods and laws",
        "Which law every method meets, and why not where it does not.",
        "none", ("conformance",), tab_conformance.table,
    ),
    Entry(
        "tab_conformance_foreign", "table", "Other packages and laws",
        "Which law the aggregators of other packages meet, with the smallest counterexample where they do not.",
        "none", ("conformance_foreign",), tab_conformance.foreign,
    ),
    Entry(
        "fig_engines", "figure", "The training engines: speed and memory",
        "How much faster than a plain PEFT loop the engines train the same clients on the same batches, and time and memory "
        "against the number of clients.",
        "none", ("engines",), fig_engines.figure,
    ),
    Entry(
        "fig_profile", "figure", "The training engines: where the time goes",
        "A client's step by kind of operation, before and after batching.", "none", ("profile",), fig_profile.figure,
    ),
    Entry(
        "tab_engines", "table", "The training engines: speed",
        "Milliseconds a client-step against a plain PEFT loop and Flower's simulation, and the difference of the results.",
        "none", ("engines",), tab_engines.table,
    ),
    Entry(
        "tab_claims", "table", "Claims checked",
        "Every statement of the theory that is checked here: measured beside predicted, the verdict, and the control.",
        "arXiv 2502.01755v4, sections 3 and 4", ("claims",), tab_claims.table,
    ),
    Entry(
        "tab_finetuning", "table", "Federated fine-tuning: final accuracy",
        "Final accuracy by clients and method, with rounds, steps, traffic and time.",
        "arXiv 2502.01755v4, Table 1", ("finetuning",), tab_finetuning.table,
    ),
    Entry(
        "tab_learning_rates", "table", "Federated fine-tuning: choice of the learning rate",
        "Validation accuracy at every rate of the sweep, by clients and method, and the rate that was chosen.",
        "both papers choose on the test set; this does not", ("sweep",), tab_learning_rates.table,
        lambda records: bool(tab_learning_rates.sweep(records.sweep)),
    ),
    Entry(
        "tab_paper_table1", "table", "Printed by the papers, and what was run here",
        "The papers' numbers for 3, 20 and 50 clients with how far each can be trusted, beside what was run here.",
        "arXiv 2502.01755v4, Table 1; arXiv 2409.02346, Table 2", (), tab_paper_table1.table, uses=("finetuning",),
    ),
)  # fmt: skip
"""In the order of the report."""


def select(ids: Iterable[str]) -> list[Entry]:
    """The entries with these ids, in the order given; all of them if there is none.

    Raises:
        InputError: an id that does not exist.

    Example:
        >>> [entry.id for entry in select(["fig_linear"])]
        ['fig_linear']
    """
    known = {entry.id: entry for entry in ENTRIES}
    wanted = list(ids)
    for name in wanted:
        if name not in known:
            raise InputError(f"ID: got {name!r}, expected one of {', '.join(known)}")
    return [known[name] for name in wanted] if wanted else list(ENTRIES)
