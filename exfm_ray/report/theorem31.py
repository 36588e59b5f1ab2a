"""The page of Theorem 3.1: which bias is left in what serves."""

from typing import Any

from exfm_ray.config import Theorem31
from exfm_ray.report.figures import Drawing, drawing, new_figure
from exfm_ray.report.findings import Curve, Findings, Table, draw_curve, draw_predicted
from exfm_ray.report.statistics import summarise
from exfm_ray.report.wording import number, spread

SINGLE, NEAR, RANDOM = "single head", "auxiliary heads, near start", "auxiliary heads, random start"
COLOURS = {SINGLE: "#e69f00", NEAR: "#1a7fc4", RANDOM: "#009e73"}
SMALLEST_BIAS = 1e-8
"""Below it the figure shows rounding."""

Line = dict[str, Any]


def theorem31_findings(theorem: Theorem31, lines: list[Line]) -> Findings:
    """
    Args:
        lines: of results.jsonl, each a `BiasAtStep`.
    """
    last = max(line["step"] for line in lines)
    seeds = len({line["seed"] for line in lines})
    sentence = (
        f"Theorem 3.1 in its own setting (appendix A.2): labels y = u₁ᵀZx and {theorem.model_dim - 1} teachers whose "
        f"predictors are off by μ, linear models trained by gradient descent on {theorem.rows_per_step} fresh rows a "
        f"step for {last:,} steps, {seeds} seed{'' if seeds == 1 else 's'}."
    )
    findings = [text for mu in theorem.teacher_biases for text in _findings(lines, mu, last)]
    drawings = [_drawing(lines, mu, place) for place, mu in enumerate(theorem.teacher_biases)]
    return Findings(sentence, findings, drawings, _table(theorem, lines, last))


def _findings(lines: list[Line], mu: float, last: int) -> list[str]:
    ends = {model: _at(lines, mu, model, last) for model in COLOURS}
    predicted = _predicted_end(lines, mu)
    texts = [
        f"μ = {mu:g}. The single head ends {spread(summarise(ends[SINGLE]), 4)} away from the true predictor; "
        f"{predicted:.4f} is predicted. The serving one of the auxiliary heads ends {spread(summarise(ends[NEAR]), 4)} "
        f"away from a start near Z, and {spread(summarise(ends[RANDOM]), 4)} from a random start; 0 is predicted."
    ]
    behind = _last_step_behind(lines, mu)
    if behind:
        texts.append(
            f"From a random start the auxiliary heads are, on the mean, further off than the single head's final bias "
            f"until step {behind:,}: the theorem speaks of the limit."
        )
    return texts


def _last_step_behind(lines: list[Line], mu: float) -> int | None:
    """The last reported step at which the auxiliary heads from a random start exceed the single head's prediction."""
    predicted = _predicted_end(lines, mu)
    steps = sorted({line["step"] for line in lines})
    behind = [step for step in steps if (summarise(_at(lines, mu, RANDOM, step)).mean or 0) > predicted]
    return behind[-1] if behind else None


def _at(lines: list[Line], mu: float, model: str, step: int) -> list[float]:
    """Biases by seed."""
    return [
        line["bias"] for line in lines if line["teacher_bias"] == mu and line["model"] == model and line["step"] == step
    ]


def _drawing(lines: list[Line], mu: float, place: int) -> Drawing:
    figure = new_figure("step of gradient descent", "distance from the true predictor", height=360)
    figure.update_xaxes(type="log")
    figure.update_yaxes(type="log", exponentformat="power")
    for model, colour in COLOURS.items():
        own = [line for line in lines if line["teacher_bias"] == mu and line["model"] == model]
        steps = sorted({line["step"] for line in own})
        by_seed: dict[int, list[float]] = {}
        for line in sorted(own, key=lambda line: int(line["step"])):
            by_seed.setdefault(line["seed"], []).append(max(line["bias"], SMALLEST_BIAS))
        draw_curve(figure, Curve(model, colour, steps, list(by_seed.values())))
        if model != RANDOM:
            of_one_seed = [line for line in own if line["seed"] == own[0]["seed"]]
            predicted = [max(line["predicted"], SMALLEST_BIAS) for line in of_one_seed]
            name = "single head's end, predicted" if model == SINGLE else "Eq. 10's slowest mode"
            draw_predicted(figure, name, [line["step"] for line in of_one_seed], predicted)
    return drawing(f"bias-{place}", f"μ = {mu:g}", figure)


def _table(theorem: Theorem31, lines: list[Line], last: int) -> Table:
    rows = []
    for mu in theorem.teacher_biases:
        for model in COLOURS:
            predicted = "0" if model != SINGLE else number(_predicted_end(lines, mu), 4)
            steps = [step for step in (100, 1_000, 10_000) if step < last] + [last]
            nearest = [min({line["step"] for line in lines}, key=lambda known: abs(known - step)) for step in steps]
            biases = tuple(f"{spread(summarise(_at(lines, mu, model, step)), 4)} (step {step:,})" for step in nearest)
            rows.append((f"μ = {mu:g}, {model}", predicted, "; ".join(biases)))
    note = "Distance of the serving predictor from the true one, mean ± standard deviation over the seeds."
    return Table(note, ("model", "predicted end", "measured"), rows)


def _predicted_end(lines: list[Line], mu: float) -> float:
    """Where the single head's bias is predicted to end."""
    return next(float(line["predicted"]) for line in lines if line["teacher_bias"] == mu and line["model"] == SINGLE)
