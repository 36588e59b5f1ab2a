"""The page of Theorem 3.2: how the adapter's error grows with d, s, N and γ."""

from dataclasses import dataclass
from typing import Any

from exfm_ray.report.figures import Drawing, drawing, new_figure
from exfm_ray.report.findings import Curve, Findings, Table, draw_curve, draw_predicted
from exfm_ray.report.statistics import summarise
from exfm_ray.report.wording import number
from exfm_ray.theory.exponents import Exponent, fit_exponent

Line = dict[str, Any]
STUDENTS = {
    "least_squares": ("least squares", "#7a7f87"),
    "distilled": ("teacher, no adapter", "#e69f00"),
    "adapted": ("teacher with adapter", "#009e73"),
}


@dataclass(frozen=True)
class Law:
    """What the paper says of one size: exponents of the error with the adapter, and of least squares."""

    size: str
    symbol: str
    printed: tuple[float, float]
    """adapter (Eq. 15), least squares (Eq. 12)"""
    corrected: tuple[float, float]
    """with the √d that Eq. 12 lacks: x_iᵀz_i has variance γ²d"""


LAWS = (
    Law("input_dim", "d", (0.25, 0.5), (0.75, 1.0)),
    Law("adapter_dim", "s", (0.25, 0.0), (0.25, 0.0)),
    Law("rows", "N", (-0.5, -0.5), (-0.5, -0.5)),
    Law("noise", "γ", (1.0, 1.0), (1.0, 1.0)),
)


def theorem32_findings(lines: list[Line]) -> Findings:
    """
    Args:
        lines: of results.jsonl, each an `Errors` with its ratio and predicted ratio.
    """
    seeds = len({line["seed"] for line in lines})
    sentence = (
        "Theorem 3.2 in its own setting (appendix A.3): y = xᵀ(w + z), solutions of Eq. 13 with α = (d/s)^¼ − 1, one "
        f"size varied at a time, {seeds} seed{'' if seeds == 1 else 's'}."
    )
    drawings = [_error_drawing(lines, law) for law in LAWS] + [_ratio_drawing(lines), _outside_drawing(lines)]
    return Findings(sentence, _findings(lines), drawings, _table(lines))


def _findings(lines: list[Line]) -> list[str]:
    within = [line for line in lines if line["varied"] != "outside"]
    off = max(abs(line["ratio"] / line["predicted_ratio"] - 1) for line in _means(within))
    texts = [
        "The error with the adapter ÷ that of least squares is √(s/d + (1 − s/d)/(1 + α)²) to within "
        f"{100 * off:.1f} % at every point, means over the seeds.",
        _on_dimension(lines),
    ]
    worse = [line for line in _means([line for line in lines if line["varied"] == "outside"]) if line["ratio"] > 1]
    if worse:
        least = min(line["setting"]["outside"] for line in worse)
        texts.append(
            "The theorem assumes that the teacher is off only where its adapter can reach. Where it is off outside of "
            f"that by {least:g} expected errors of least squares, the student with the adapter is worse than those."
        )
    return texts


def _on_dimension(lines: list[Line]) -> str:
    """The fitted exponents on d beside the printed ones, which lack a √d."""
    law = LAWS[0]
    adapted, own = (fit_exponent(*_curve(lines, law.size, what)) for what in ("adapted", "least_squares"))
    return (
        f"The error's exponent on d is {_exponent(adapted)} with the adapter and {_exponent(own)} by least squares; "
        f"the paper prints {law.printed[0]:g} and {law.printed[1]:g}. The noise x_iᵀz_i has variance γ²d, and Eq. 12 "
        f"is short of that √d: with it they are {law.corrected[0]:g} and {law.corrected[1]:g}. Their difference, the "
        f"adapter's gain, is {own.mean - adapted.mean:.3f}; {law.printed[1] - law.printed[0]:g} is printed."
    )


def _means(lines: list[Line]) -> list[Line]:
    """Lines of all seeds as one, with the mean ratio."""
    groups: dict[str, list[Line]] = {}
    for line in lines:
        groups.setdefault(f"{line['varied']} {line['setting']}", []).append(line)
    return [{**group[0], "ratio": summarise(line["ratio"] for line in group).mean} for group in groups.values()]


def _curve(lines: list[Line], varied: str, what: str) -> tuple[list[float], list[list[float]]]:
    """Values of the varied size, and by seed the measurement at each."""
    own = [line for line in lines if line["varied"] == varied]
    sizes = sorted({float(line["setting"][varied]) for line in own})
    by_seed: dict[int, list[float]] = {}
    for line in sorted(own, key=lambda line: float(line["setting"][varied])):
        by_seed.setdefault(line["seed"], []).append(line[what])
    return sizes, list(by_seed.values())


def _error_drawing(lines: list[Line], law: Law) -> Drawing:
    figure = new_figure(law.symbol, "distance from w", height=340)
    figure.update_xaxes(type="log")
    figure.update_yaxes(type="log")
    for what, (name, colour) in STUDENTS.items():
        sizes, values = _curve(lines, law.size, what)
        draw_curve(figure, Curve(name, colour, sizes, values))
    sizes, values = _curve(lines, law.size, "adapted")
    start = sum(seed[0] for seed in values) / len(values)
    exponent = law.corrected[0]
    draw_predicted(figure, f"slope {exponent:g}", sizes, [start * (size / sizes[0]) ** exponent for size in sizes])
    return drawing(f"error-{law.size}", f"Error against {law.symbol}", figure)


def _ratio_drawing(lines: list[Line]) -> Drawing:
    figure = new_figure("s", "error with adapter ÷ error of least squares", height=340)
    figure.update_xaxes(type="log")
    sizes, values = _curve(lines, "adapter_dim", "ratio")
    draw_curve(figure, Curve("measured", "#009e73", sizes, values))
    _, predicted = _curve(lines, "adapter_dim", "predicted_ratio")
    draw_predicted(figure, "√(s/d + (1 − s/d)/(1 + α)²)", sizes, predicted[0])
    return drawing("ratio", "What the adapter gains", figure)


def _outside_drawing(lines: list[Line]) -> Drawing:
    title = "w − ŵ outside span(H), expected errors of least squares"
    figure = new_figure(title, "error with adapter ÷ error of least squares", height=340)
    sizes, values = _curve(lines, "outside", "ratio")
    draw_curve(figure, Curve("measured", "#009e73", sizes, values))
    draw_predicted(figure, "no gain", sizes, [1.0] * len(sizes))
    return drawing("outside", "Where the assumption fails", figure)


def _table(lines: list[Line]) -> Table:
    rows = []
    for law in LAWS:
        for place, what in enumerate(("adapted", "least_squares")):
            fitted = fit_exponent(*_curve(lines, law.size, what))
            printed, corrected = number(law.printed[place], 2), number(law.corrected[place], 2)
            rows.append((f"{STUDENTS[what][0]}, on {law.symbol}", _exponent(fitted), printed, corrected))
    note = (
        "Exponents of the error, fitted by seed on the logarithms, mean ± standard deviation over the seeds; beside "
        "them the paper's as printed, and with the √d that Eq. 12 lacks."
    )
    return Table(note, ("error of", "fitted", "as printed", "with the √d"), rows)


def _exponent(fitted: Exponent) -> str:
    return number(fitted.mean, 3) + (f" ± {fitted.sd:.3f}" if fitted.sd is not None else "")
