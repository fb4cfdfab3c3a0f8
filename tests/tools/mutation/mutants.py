"""The mistakes: each changes one place of the code under test, as a slip of the hand or of the algebra would."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[3]
"""The project's folder."""


@dataclass(frozen=True)
class Mutant:
    """One mistake.

    Args:
        file: the path below the project's folder.
        old: a text that stands exactly once in the file.
        new: what the mistake puts in its place.
        mistake: what it is, in words.
    """

    file: str
    old: str
    new: str
    mistake: str

    def apply(self, text: str) -> str:
        """The file's text with the mistake in it.

        Raises:
            ValueError: the text to change does not stand there exactly once.
        """
        if text.count(self.old) != 1:
            raise ValueError(f"{self.file}: {self.old!r} stands there {text.count(self.old)} times, expected once")
        return text.replace(self.old, self.new)


MUTANTS = (
    # The linear model.
    Mutant(
        "theory/linear/model.py",
        "return (projected @ model.a_star) / (projected @ a) * model.b_star[client]",
        "return (a @ model.a_star) / (a @ a) * model.b_star[client]",
        "b-step: the population's solution in the place of the data's",
    ),
    Mutant(
        "theory/linear/model.py",
        "return model.gradient_factor * (model.moments[client] @ (a * (b @ b)",
        "return (model.moments[client] @ (a * (b @ b)",
        "gradient in a: the loss's factor dropped",
    ),
    Mutant(
        "theory/linear/model.py",
        "return model.gradient_factor * (b * (projected @ a)",
        "return model.gradient_factor * (b * (a @ a)",
        "gradient in b: S dropped",
    ),
    Mutant(
        "theory/linear/model.py",
        "return float(model.gradient_factor / 2 * np.sum(",
        "return float(model.gradient_factor * np.sum(",
        "loss: the 1/2 dropped",
    ),
    Mutant(
        "theory/linear/rounds.py",
        "a, b = a - eta * step_a, b - eta * step_b",
        "a, b = a - eta * step_a, b + eta * step_b",
        "local step on b: sign reversed",
    ),
    Mutant(
        "theory/linear/rounds.py",
        "return Layer(A=unit, B=np.linalg.norm(layer.A) * layer.B)",
        "return Layer(A=unit, B=layer.B)",
        "retraction: the length is lost instead of moved to b",
    ),
    # Many instances at once.
    Mutant(
        "theory/linear/ensemble.py",
        "degrees = samples - np.arange(dimension)",
        "degrees = np.full(dimension, samples)",
        "Bartlett: as many degrees of freedom in every row",
    ),
    Mutant(
        "theory/linear/ensemble.py",
        "error = noise / np.sqrt(samples) * (root @ within)",
        "error = noise / samples * (root @ within)",
        "label noise: 1/m instead of 1/sqrt(m)",
    ),
    Mutant(
        "theory/linear/ensemble_rounds.py",
        "shares = [count / sum(counts) for count in counts]",
        "shares = [1.0 / len(counts) for count in counts]",
        "client weights ignored",
    ),
    Mutant(
        "theory/linear/ensemble_rounds.py",
        "(projected @ (b @ b_columns) - ensemble.cross @ b_columns)",
        "(projected - ensemble.cross @ b_columns)",
        "gradient in A: B B^T dropped",
    ),
    # Closed forms.
    Mutant(
        "theory/linear/bounds.py",
        "return theta - np.arctan(gradient_factor / 2 * kappa * np.sin(2 * theta))",
        "return theta - np.arctan(gradient_factor * kappa * np.sin(2 * theta))",
        "population map: the 1/2 dropped",
    ),
    Mutant(
        "theory/linear/bounds.py",
        "/ (1 + step * np.sin(theta) ** 2)",
        "/ (1 - step * np.sin(theta) ** 2)",
        "tangent form: a sign",
    ),
    Mutant(
        "theory/linear/bounds.py",
        "return abs(1 - gradient_factor * kappa)",
        "return abs(1 - kappa)",
        "local ratio: the factor dropped",
    ),
    Mutant(
        "theory/linear/bounds.py",
        "return float(np.sqrt(1 - kappa * c0))",
        "return float(1 - kappa * c0)",
        "claimed factor: the root dropped",
    ),
    Mutant(
        "theory/linear/bounds.py",
        "return 1 - c0 / 4 if gradient_factor == 2",
        "return 1 - c0 / 8 if gradient_factor == 2",
        "end of the range: 8 in the place of 4",
    ),
    Mutant(
        "theory/linear/bounds.py",
        "return 1 / (num_clients * (samples - 2))",
        "return 1 / (num_clients * samples)",
        "FFA-LoRA's floor: m in the place of m - 2",
    ),
    Mutant(
        "theory/linear/bounds.py",
        "(dimension - 1) / rows",
        "(dimension + 1) / rows",
        "heterogeneous floor: d + 1 in the place of d - 1",
    ),
    Mutant(
        "theory/linear/bounds.py",
        "noise = e * np.sqrt(1 + xi_bar**2)",
        "noise = e * np.sqrt(1 - xi_bar**2)",
        "one-step inequality: a sign under the root",
    ),
    # What a theorem assumes.
    Mutant(
        "theory/linear/assumptions.py",
        "return eta * float(model.b_mean @ model.b_mean)",
        "return eta * float(np.sqrt(model.b_mean @ model.b_mean))",
        "kappa: the norm of b* in the place of its square",
    ),
    Mutant(
        "theory/linear/geometry.py",
        "return np.linalg.norm(a_star - cosine * unit, axis=-1)",
        "return np.linalg.norm(a_star - unit, axis=-1)",
        "angle distance: not projected",
    ),
    # The non-linear model.
    Mutant(
        "theory/nonlinear/model.py",
        'result["A"] = np.swapaxes(pixels, -1, -2) @ (signal @ np.swapaxes(layer.B, -1, -2))',
        'result["A"] = np.swapaxes(pixels, -1, -2) @ (signal @ np.swapaxes(layer.B, -1, -2)) / 2',
        "gradient in A: halved",
    ),
    # The methods.
    Mutant(
        "rolora/algorithms/rolora.py",
        "return frozenset(self.schedule[t % len(self.schedule)])",
        "return frozenset(self.schedule[(t + 1) % len(self.schedule)])",
        "RoLoRA: A and B swapped",
    ),
    Mutant(
        "rolora/algorithms/ffa_lora.py",
        'return frozenset({"B"})',
        'return frozenset({"A"})',
        "FFA-LoRA: the other factor frozen",
    ),
    Mutant(
        "rolora/algorithms/flexlora.py",
        "root = xp.sqrt(s)",
        "root = s",
        "FlexLoRA: singular values on both sides",
    ),
    Mutant(
        "rolora/algorithms/means.py",
        "total = total + weight * xp.astype(array, wide, copy=False)",
        "total = total + weights[0] * xp.astype(array, wide, copy=False)",
        "mean: every client weighs what the first one does",
    ),
    Mutant(
        "rolora/federation/communication.py",
        ".bits // 8",
        ".bits // 4",
        "bytes: counted double",
    ),
    # Statistics and verdicts.
    Mutant(
        "rolora/evaluation/intervals.py",
        "float(array.std(ddof=1)) / math.sqrt(n)",
        "float(array.std(ddof=1)) / n",
        "interval of a mean: 1/n in the place of 1/sqrt(n)",
    ),
    Mutant(
        "theory/verification/claim.py",
        'verdict: Verdict = "holds" if worst.excess <= 1 else "refuted"',
        'verdict: Verdict = "holds" if worst.excess >= 1 else "refuted"',
        "verdict: inequality reversed",
    ),
    Mutant(
        "theory/verification/claim.py",
        "worst = max(counted, key=",
        "worst = min(counted, key=",
        "verdict: the best instance decides",
    ),
    Mutant(
        "theory/verification/claim.py",
        'expected = self.result.verdict == self.claim.expected and self.control.verdict == "refuted"',
        "expected = self.result.verdict == self.claim.expected",
        "a control that holds is not noticed",
    ),
    # Beyond the papers.
    Mutant(
        "theory/linear/label_noise.py",
        "return noise**2 / b_norm**2 * (dimension - 1) / (rows - dimension - 1)",
        "return noise**2 / b_norm**2 * (dimension + 1) / (rows - dimension - 1)",
        "statistical floor: d + 1 in the place of d - 1",
    ),
    Mutant(
        "theory/linear/rank_r.py",
        "return (condition**2 - 1) / (condition**2 + 1)",
        "return (condition - 1) / (condition + 1)",
        "rank r: the condition number not squared",
    ),
    Mutant(
        "theory/linear/local_steps.py",
        "return heterogeneity * (num_clients - participants) / (participants * (num_clients - 1))",
        "return heterogeneity / participants",
        "participation: clients drawn with replacement",
    ),
    Mutant(
        "theory/linear/fedavg_drift.py",
        "return centred.T @ centred / heads.shape[0]",
        "return centred.T @ centred / (heads.shape[0] - 1)",
        "covariance of the heads: N - 1 in the place of N",
    ),
    Mutant(
        "theory/linear/schedules.py",
        "return float(local_steps * slow / (a_rounds + b_rounds))",
        "return float(local_steps * slow)",
        "schedule: rate a period in the place of a round",
    ),
    Mutant(
        "theory/symbolic.py",
        "return FACTOR / 2 * (residual.T * self.moment * residual).trace()",
        "return FACTOR / 2 * (residual.T * residual).trace()",
        "symbolic loss: S dropped",
    ),
    Mutant(
        "theory/data/printed_numbers.json",
        "95.60 / 91.62 / 85.66",
        "95.60 / 91.62 / 85.55",
        "printed numbers: a digit",
    ),
)
