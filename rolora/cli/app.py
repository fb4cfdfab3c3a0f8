"""The commands of ``rolora``, in the order of its help."""

from __future__ import annotations

import typer

from rolora.cli import deployment, inspect, results, run

app = typer.Typer(
    add_completion=False,
    pretty_exceptions_enable=False,
    no_args_is_help=True,
    help="Federated LoRA fine-tuning: run experiments, compare methods, deploy a federation.",
)
for command in (run.run, run.sweep, inspect.conformance, inspect.plan, results.export, results.evaluate):
    app.command()(command)
app.command("training-rows")(results.training_rows)
app.command("list")(inspect.list_)
app.add_typer(inspect.config_app, name="config")
for command in (deployment.keys, deployment.serve, deployment.join, deployment.deploy):
    app.command()(command)
