"""A plan as tables: cost and traffic."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from rich.table import Table

from rolora.adapter import FACTORS
from rolora.planning.traffic import DIRECTIONS

if TYPE_CHECKING:
    from rolora.planning.plan import Plan


def render(plans: Sequence[Plan]) -> Iterator[Table]:
    """Tables of plans: one for each that differs in cost, and one line a plan if there are several.

    Plans that differ in their name alone (a seed, a learning rate) are shown once, with their number.
    """
    alike: dict[str, list[Plan]] = {}
    for one in plans:
        alike.setdefault(repr(replace(one, name="")), []).append(one)
    for same in alike.values():
        more = f" and {len(same) - 1} more of the same cost" if len(same) > 1 else ""
        yield _described(same[0], same[0].name + more)
        yield _travelling(same[0])
    if len(plans) > 1:
        yield _summary(plans)


def _described(one: Plan, title: str) -> Table:
    table = Table(title=title, title_justify="left", show_header=False, box=None)
    model, work, flops = one.model, one.work, one.flops
    seconds = one.time["seconds"]
    for name, value in {
        "model": f"{model['name']} ({model['sizes']}), {model['architecture']}, {model['parameters']:,} pretrained "
        f"parameters, {model['dtype']}" + (f", {model['quantization']}" if "quantization" in model else ""),
        **{f"lora.{name}": ", ".join(map(str, model[name])) for name in ("layers", "target_modules") if name in model},
        "trainable": ", ".join(f"{part} {count:,}" for part, count in one.trainable.items()),
        "work": f"{work['rounds']} rounds x {work['clients_per_round']} of {work['clients']} clients x "
        f"{work['local_steps']} steps x {work['batch_size']} rows x {work['tokens']} tokens; "
        f"clients trained at a time: {work['clients_together']}",
        "memory": f"{_sized(one.memory['in all'])}: "
        + ", ".join(f"{part} {_sized(size)}" for part, size in one.memory.items() if size and part != "in all"),
        "a client's step": "; ".join(
            f"{count:.3g} FLOPs training {part}" for part, count in flops["client_step"].items()
        )
        + f" (4 x parameters x tokens: {flops['simple_client_step']:.3g})",
        "FLOPs in all": f"training {flops['training']:.3g}, evaluation {flops['evaluation']:.3g} "
        f"(4 x parameters x tokens: {flops['simple_training']:.3g})",
        "time": f"{one.time['source']}"
        if seconds is None
        else f"{lasting(seconds)} at {one.time['flops_per_second']:.3g} FLOPs a second ({one.time['source']})",
        "assumed": "\n".join(one.notes),
    }.items():
        table.add_row(name, value)
    return table


def _travelling(one: Plan) -> Table:
    parts = sorted(
        {part for counts in one.bytes_in_all.values() for part in counts}, key=[*FACTORS, "head", "residual"].index
    )
    table = Table(box=None)
    for name in ("bytes", "trained", "clients", "direction", *parts, "together"):
        table.add_column(name, justify="left" if name in ("bytes", "trained", "direction") else "right")

    def rows(first: Sequence[str], counts: Mapping[str, Mapping[str, int]]) -> None:
        for direction in DIRECTIONS:
            count = counts[direction]
            cells = [f"{count.get(part, 0):,}" for part in parts]
            table.add_row(*first, direction, *cells, f"{sum(count.values()):,}")
            first = [""] * len(first)

    for traffic_of in one.rounds:
        trained = "+".join([*traffic_of.trained, *(["head"] if traffic_of.bytes_up["head"] else [])])
        rows([f"round {traffic_of.round}", trained, str(len(traffic_of.clients))], traffic_of.by_direction())
    again = f"and so on, every {one.repeats_every}" if one.repeats_every else "and so on, not repeating"
    if one.work["rounds"] > len(one.rounds):
        table.add_row(again)
    rows([f"all {one.work['rounds']} rounds", "", ""], one.bytes_in_all)
    return table


def _summary(plans: Sequence[Plan]) -> Table:
    table = Table(title=f"{len(plans)} runs", title_justify="left", box=None)
    for name in ("run", "up", "down and joining", "memory", "FLOPs", "time"):
        table.add_column(name, justify="left" if name == "run" else "right")
    sums = [0.0] * 4
    for one in plans:
        sent = {direction: sum(count.values()) for direction, count in one.bytes_in_all.items()}
        values = [sent["up"], sent["down"] + sent["joining"], one.flops["training"] + one.flops["evaluation"]]
        values.append(one.time["seconds"] or 0)
        sums = [before + value for before, value in zip(sums, values, strict=True)]
        table.add_row(one.name, *_cells(values, one.memory["in all"]))
    table.add_row("all, one after another", *_cells(sums, max(one.memory["in all"] for one in plans)))
    return table


def _cells(values: Sequence[int | float], memory_bytes: int) -> list[str]:
    up, down, operations_, seconds = values
    return [_sized(up), _sized(down), _sized(memory_bytes), f"{operations_:.3g}", lasting(seconds) if seconds else "-"]


def _sized(number: int | float) -> str:
    """Bytes in decimal units, as networks and records count them."""
    for unit in ("B", "kB", "MB", "GB"):
        if number < 1000:
            return f"{number:.0f} {unit}" if unit == "B" else f"{number:.2f} {unit}"
        number /= 1000
    return f"{number:.2f} TB"


def lasting(seconds: int | float) -> str:
    """A duration that a person reads at a glance."""
    if seconds < 90:
        return f"{seconds:.2g} s" if seconds < 10 else f"{seconds:.0f} s"
    return f"{seconds / 60:.1f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"
