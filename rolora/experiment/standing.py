"""What one run of a process leaves for the next: model, texts and hidden states, where both need the same."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from rolora.config import Config
from rolora.training import process_group

if TYPE_CHECKING:
    from rolora.experiment.loop import Experiment


class Standing:
    """What the last run of a process left standing: model, texts and hidden states, for a next one that needs the same."""

    def __init__(self) -> None:
        """Nothing yet."""
        self._last: Experiment | None = None

    def fits(self, config: Config) -> Experiment | None:
        """The last run, if this one can use what it left; if not it is let go, so that two do not lie in memory."""
        if self._last is not None and (needs(config) is None or needs(config) != needs(self._last.config)):
            self._last = None
        return self._last

    def keep(self, experiment: Experiment) -> None:
        """Have a run stand for the next."""
        self._last = experiment


def needs(config: Config) -> str | None:
    """What a run needs of model and texts, as text; None where it changes the model or cannot leave it to another."""
    algorithm = config.build_algorithm()
    adds = any("residual" in algorithm.changed(t) for t in range(config.federation.rounds))
    if adds or config.privacy.mode != "none" or process_group.count() > 1:
        return None
    table = config.resolved()
    found = {name: table[name] for name in ("model", "lora", "data", "runtime") if name in table}
    evaluation = config.evaluation
    found["measured"] = [evaluation.split, evaluation.select, evaluation.batch_size]
    return json.dumps(found | {"seed": config.seed if config.own_backbone else None}, sort_keys=True)
