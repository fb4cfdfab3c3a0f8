"""Large architectures on one GPU: the engines and a plain PEFT loop, tokens a second, share of the device's peak, memory."""

from __future__ import annotations

from typing import Any

from paper_figures.analysis.entry import Entry
from paper_figures.drawing.table import Table
from paper_figures.records.sources import Records

COLUMNS = ("architecture", "engine", "tokens/s", "times the plain loop", "of the peak", "GB")


def table(records: Records) -> Table:
    """One row a contestant that was measured; the others are named below."""
    parts = records["gpu_speed"]
    environment = parts[0]["environment"]
    left_out = [
        f"{part['part']}: {', '.join(name for name, found in part['contestants'].items() if 'not_measured' in found)}"
        for part in parts
        if any("not_measured" in found for found in part["contestants"].values())
    ]
    return Table(
        title="Large architectures on one GPU: speed and memory",
        columns=COLUMNS,
        rows=tuple(
            _row(part, name, found)
            for part in parts
            for name, found in part["contestants"].items()
            if "not_measured" not in found
        ),
        notes=(
            f"{environment['device']}, torch {environment['packages']['torch']}; random weights, FedAvg-LoRA (both factors "
            f"move), bfloat16 but where float32 is named. {'. '.join(map(_job, parts))}.",
            "Of the peak: operations that are computed (2 a matrix entry and token forward, and backward from the lowest adapted "
            "layer up) a second, over those of a square matrix product in the same run. GB: the peak of what torch had allocated.",
            *((f"Not measured, as the time for a part was over: {'; '.join(left_out)}.",) if left_out else ()),
        ),
        numeric=frozenset(COLUMNS[2:]),
    )


def _job(part: dict[str, Any]) -> str:
    sizes = part["sizes"]
    layers = "all layers" if sizes["layers"] is None else f"layers {min(sizes['layers'])} to {max(sizes['layers'])}"
    return (
        f"{part['part']}: {sizes['clients']} clients of {sizes['rows']} x {sizes['tokens']} tokens, rank {sizes['rank']} on "
        f"{' and '.join(sizes['modules'])}, {layers}"
    )


def _row(part: dict[str, Any], name: str, found: dict[str, Any]) -> tuple[str, ...]:
    plain = part["contestants"]["plain loop, bfloat16"].get("tokens_per_second")
    return (
        part["part"],
        name,
        f"{found['tokens_per_second']:,.0f}",
        f"{found['tokens_per_second'] / plain:.2f}" if plain else "–",
        f"{found['fraction_of_peak_computed']:.1%}",
        f"{found['memory'] / 1e9:.1f}" if found["memory"] is not None else "–",
    )


ENTRY = Entry(
    "tab_gpu_speed",
    title="Large architectures on one GPU: speed and memory",
    shows=(
        "Tokens a second, share of the device's peak and memory of the engines and of a plain PEFT loop at the size of "
        "RoBERTa-large and Llama-2-7B."
    ),
    counterpart="none",
    needs=("gpu_speed",),
    make=table,
)
