"""Every figure and table: what it shows, which panel of which paper it answers, and which records it needs."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any, Literal

from paper_figures.analysis import groups, linear_model, methods
from paper_figures.figures import (
    fig_budgets,
    fig_communication,
    fig_confound,
    fig_contraction,
    fig_dolly,
    fig_encoder_tasks,
    fig_engines,
    fig_finetuning,
    fig_interference,
    fig_interference_layers,
    fig_label_skew,
    fig_layer_budgets,
    fig_learning_rates,
    fig_linear,
    fig_local_steps,
    fig_methods,
    fig_movement,
    fig_nonlinear,
    fig_nonlinear_mnist,
    fig_nonlinear_mnist_rates,
    fig_participation,
    fig_profile,
    fig_ranks,
    fig_rate_ratios,
    fig_sample_complexity,
    fig_schedules,
)
from paper_figures.records.sources import Records
from paper_figures.tables import (
    tab_benchmarks,
    tab_claims,
    tab_conformance,
    tab_confound,
    tab_counterparts,
    tab_encoder_tasks,
    tab_engines,
    tab_finetuning,
    tab_gpu_memory,
    tab_gpu_speed,
    tab_learning_rates,
    tab_methods,
    tab_open_questions,
    tab_paper_arithmetic,
    tab_paper_llama,
    tab_paper_table1,
    tab_paper_uplink,
    tab_papers,
)
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
        make: records -> ``matplotlib.figure.Figure`` or :class:`paper_figures.drawing.table.Table`.
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
        lambda records: bool(linear_model.curves(records.linear, "trajectories")),
    ),
    Entry(
        "fig_contraction", "figure", "Linear model: contraction of RoLoRA",
        "The largest factor by which one iteration shrinks the angle distance, measured over the whole range of steps in both "
        "conventions of the loss, beside the claimed factor and where that stops being true; the factor near the solution "
        "beside |1 − 2κ|; and the map of angles.",
        "arXiv 2502.01755v4, Lemma 4.4", ("linear", "contraction"), fig_contraction.figure,
        lambda records: linear_model.has_ratios(records.linear),
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
        lambda records: groups.has_isolated(records.finetuning),
    ),
    Entry(
        "fig_communication", "figure", "Federated fine-tuning: traffic",
        "Accuracy against all bytes sent, and the bytes of one client in one round by direction and part.",
        "arXiv 2502.01755v4, Figure 12; arXiv 2409.02346, Table 6", ("finetuning",), fig_communication.figure,
        lambda records: groups.has_isolated(records.finetuning),
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
        "tab_gpu_speed", "table", "Large architectures on one GPU: speed and memory",
        "Tokens a second, share of the device's peak and memory of the engines and of a plain PEFT loop at the size of "
        "RoBERTa-large and Llama-2-7B.",
        "none", ("gpu_speed",), tab_gpu_speed.table,
    ),
    Entry(
        "tab_gpu_memory", "table", "Memory on one GPU against the plan",
        "Whether a run takes the memory that rolora plan says.", "none", ("gpu_memory",), tab_gpu_memory.table,
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
    Entry(
        "fig_budgets", "figure", "Federated fine-tuning: equal rounds, client-steps, bytes",
        "The same curves against rounds, against the optimiser steps of all clients and against all bytes sent, for growing "
        "numbers of isolated clients.",
        "arXiv 2502.01755v4, Figures 3 and 12", ("finetuning",), fig_budgets.figure, fig_budgets.applies,
    ),
    Entry(
        "fig_interference_layers", "figure", "Federated fine-tuning: interference layer by layer",
        "The interference of the clients' factors in every adapted matrix, by method, and of FedAvg-LoRA by round.",
        "arXiv 2502.01755v4, equations 1 and 2", ("methods",), fig_interference_layers.figure,
        fig_interference_layers.applies,
    ),
    Entry(
        "fig_encoder_tasks", "figure", "The packaged encoder: convergence by task",
        "The metric that counts against rounds on every task of the encoder.",
        "arXiv 2502.01755v4, Figure 3; arXiv 2409.02346, Figure 2", ("encoder_tasks",), fig_encoder_tasks.figure,
    ),
    Entry(
        "fig_dolly", "figure", "Instruction tuning: loss against rounds",
        "Held-out loss of the packaged decoder on Dolly, a panel for each way to divide the same instructions.",
        "none: the papers' instruction tuning is measured by benchmarks", ("dolly",), fig_dolly.figure,
    ),
    Entry(
        "fig_label_skew", "figure", "Federated fine-tuning: label skew",
        "The final metric for Dirichlet shares of labels, for clients with few labels, and for equal shares.",
        "arXiv 2502.01755v4, Table 2", ("label_skew",), fig_label_skew.figure, fig_label_skew.applies,
    ),
    Entry(
        "fig_participation", "figure", "Federated fine-tuning: clients that come and go",
        "The final metric for different numbers of clients in a round, at equal rounds and at equal client-steps.",
        "arXiv 2502.01755v4, appendix (no number of it was found)", ("participation",), fig_participation.figure,
        fig_participation.applies,
    ),
    Entry(
        "fig_ranks", "figure", "Federated fine-tuning: rank",
        "The final metric for ranks 1 to 32 at equal rounds, at equal bytes of a factor, and against all bytes sent.",
        "arXiv 2409.02346, Tables 1 and 3", ("ranks",), fig_ranks.figure, fig_ranks.applies,
    ),
    Entry(
        "fig_layer_budgets", "figure", "Federated fine-tuning: budgets of parameters",
        "The final metric for growing numbers of adapted matrices.",
        "arXiv 2502.01755v4, Figure 4; arXiv 2409.02346, Figure 1", ("layer_budgets",), fig_layer_budgets.figure,
        fig_layer_budgets.applies,
    ),
    Entry(
        "fig_schedules", "figure", "Federated fine-tuning: schedules of the factors",
        "The final metric for mixtures of RoLoRA's rounds with FFA-LoRA's and for other schedules of the two factors.",
        "arXiv 2502.01755v4, Figure 5", ("schedules",), fig_schedules.figure, fig_schedules.applies,
    ),
    Entry(
        "fig_rate_ratios", "figure", "Federated fine-tuning: unequal learning rates",
        "The final metric against the ratio of the two factors' learning rates.",
        "arXiv 2502.01755v4, Figure 6", ("rate_ratios",), fig_rate_ratios.figure, fig_rate_ratios.applies,
    ),
    Entry(
        "fig_local_steps", "figure", "Federated fine-tuning: local steps",
        "The final metric for 1 to 40 local steps, at equal rounds and at equal client-steps.",
        "arXiv 2502.01755v4, Table 4", ("local_steps",), fig_local_steps.figure, fig_local_steps.applies,
    ),
    Entry(
        "tab_open_questions", "table", "The open questions: paired differences",
        "Label skew, participation, rank, layers, schedules, rates of the two factors and local steps: RoLoRA less the others at "
        "equal seed, with intervals.",
        "none: the papers give no intervals", tab_open_questions.KINDS[:1], tab_open_questions.table,
        tab_open_questions.applies, uses=tab_open_questions.KINDS[1:],
    ),
    Entry(
        "fig_confound", "figure", "The method, or the chain of clients?",
        "Test accuracy of three methods with isolated clients and with clients that go on from one another, at 3, 20 and 50 "
        "clients, two optimisers, equal client-rounds and equal rounds; every cell at its own learning rate.",
        "arXiv 2502.01755v4, Table 1 and Figure 3", ("confound",), fig_confound.figure,
    ),
    Entry(
        "fig_movement", "figure", "How far a round goes when clients are chained",
        "Movement of the active factor in a round, chained clients over isolated ones, beside (N + 1)/2.",
        "none: it measures what public implementations do", ("movement",), fig_movement.figure,
    ),
    Entry(
        "tab_confound", "table", "The method, or the chain of clients: paired differences",
        "Differences of test accuracy at equal seed, with intervals, at equal client-steps, rounds and bytes.",
        "arXiv 2502.01755v4, Table 1", ("confound",), tab_confound.table,
    ),
    Entry(
        "tab_encoder_tasks", "table", "The packaged encoder, task by task",
        "Final metric, what it started from, traffic and time on every task of the encoder.",
        "arXiv 2502.01755v4, Tables 1 and 2", ("encoder_tasks",), tab_encoder_tasks.table,
    ),
    Entry(
        "tab_dolly", "table", "Instruction tuning on Dolly",
        "Held-out loss before and after fine-tuning, by the way the instructions are divided.",
        "none: the papers' instruction tuning is measured by benchmarks", ("dolly",), tab_encoder_tasks.dolly,
    ),
    Entry(
        "tab_benchmarks", "table", "Benchmarks before and after fine-tuning",
        "Commonsense sets, MMLU and GSM8K put to the packaged decoder and to what fine-tuning made of it, on the same questions.",
        "arXiv 2502.01755v4, commonsense reasoning, HumanEval and MMLU", ("evaluations",), tab_benchmarks.table,
    ),
    Entry(
        "tab_counterparts", "table", "Every figure and table of both papers, and its counterpart",
        "What answers each figure and table of the papers here, how far, at which scale, and what the rest takes.",
        "all figures and tables of arXiv 2502.01755v4 and arXiv 2409.02346", (), tab_counterparts.table,
    ),
    Entry(
        "tab_paper_arithmetic", "table", "Arithmetic of the papers' printed numbers",
        "What the printed digits say about each other, without a run, each check with a control.",
        "arXiv 2409.02346, Tables 1, 2, 5, 6 and 8; arXiv 2502.01755v4, Tables 1 and 2", (), tab_paper_arithmetic.table,
    ),
    Entry(
        "tab_paper_label_skew", "table", "Printed: Dirichlet label skew, and what was run here",
        "The paper's numbers with how far each can be trusted, and below each line what was run here.",
        "arXiv 2502.01755v4, Table 2", (), tab_papers.label_skew,
    ),
    Entry(
        "tab_paper_local_steps", "table", "Printed: local steps, and what was run here",
        "The paper's numbers with how far each can be trusted, and below each line what was run here.",
        "arXiv 2502.01755v4, Table 4", (), tab_papers.local_steps,
    ),
    Entry(
        "tab_paper_commonsense", "table", "Printed: commonsense reasoning, and what was run here",
        "The paper's numbers for Llama-2-7B, and below each line what a small decoder reached here.",
        "arXiv 2502.01755v4, commonsense reasoning", (), tab_paper_llama.commonsense,
    ),
    Entry(
        "tab_paper_generation", "table", "Printed: HumanEval and MMLU, and what was run here",
        "The paper's numbers, all of them unverified, and below each line what a small decoder reached here.",
        "arXiv 2502.01755v4, HumanEval and MMLU", (), tab_paper_llama.generation,
    ),
    Entry(
        "tab_paper_ranks", "table", "Printed: ranks at 3 clients, and what was run here",
        "The paper's numbers, and below each line what was run here.",
        "arXiv 2409.02346, Table 1", (), tab_papers.ranks,
    ),
    Entry(
        "tab_paper_message_size", "table", "Printed: equal message size, and what was run here",
        "The paper's numbers, and below each line what was run here.",
        "arXiv 2409.02346, Table 3", (), tab_papers.message_size,
    ),
    Entry(
        "tab_paper_uplink", "table", "Printed: uplink, and the bytes of the layers it names",
        "The paper's traffic beside the bytes that its own table of layers gives.",
        "arXiv 2409.02346, Table 6", (), tab_paper_uplink.table,
    ),
    Entry(
        "tab_paper_deberta", "table", "Printed: DeBERTa-XLarge, and what was run here",
        "The paper's numbers, and what it takes to run them.",
        "arXiv 2409.02346, Table 7", (), tab_papers.deberta,
    ),
    Entry(
        "tab_paper_quantised", "table", "Printed: quantised backbones, and what was run here",
        "The paper's numbers, and below each line what was run here.",
        "arXiv 2409.02346, Table 8", (), tab_papers.quantised,
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
