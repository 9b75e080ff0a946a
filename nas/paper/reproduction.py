"""How `reproduce` prints: a row's settings with who says so, and the table of what came out."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from nas.paper.table import FINAL_ROW, NOT_CONVERGED, ORIGINS, UNMENTIONED, PaperRow, Setting
from nas.printing import print_json, print_lines, print_table

if TYPE_CHECKING:
    from nas.paper.reproduce import Reproduction
    from nas.retraining.run import RunSpec

NOT_PRINTED = ("settings", "number", "figures")  # of a row, in JSON


@dataclass(frozen=True)
class Planned:
    """A row, and either its training or why there is none."""

    row: PaperRow
    obstacle: str
    run: RunSpec | None
    settings: tuple[Setting, ...]


def print_plan(plan: Sequence[Planned], form: str) -> None:
    """Print how each row is trained, as text or json."""
    if form == "json":
        print_json([_as_json(item) for item in plan])
    else:
        print_settings(plan)


def _as_json(item: Planned) -> dict[str, Any]:
    return {
        "row": item.row.number,
        "paper": {k: v for k, v in asdict(item.row).items() if k not in NOT_PRINTED},
        "obstacle": item.obstacle or None,
        "settings": [asdict(setting) for setting in item.settings],
    }


def print_settings(plan: Sequence[Planned]) -> None:
    """Print each row's settings and who says so; what the paper does not mention in one line."""
    for item in plan:
        title = "final" if item.row.number == FINAL_ROW else item.row.name
        print(f"row {item.row.number} ({title})" + (f": {item.obstacle}" if item.obstacle else ""))
        if item.run is None:
            print()
            continue
        shown = [setting for setting in item.settings if setting.source != UNMENTIONED]
        print_table(
            ("setting", "value", "who says so", "source"),
            [(s.name, _word(s.value), ORIGINS[s.origin], s.source) for s in shown],
            left=(0, 1, 2, 3),
        )
        off = [s.name for s in item.settings if s.source == UNMENTIONED]
        print_lines(f"{UNMENTIONED} ({ORIGINS['ours']}): {', '.join(off)}", "", indent=2)


def _word(value: Any) -> str:
    return f"{value:g}" if isinstance(value, float) else str(value)


def print_results(plan: Sequence[Planned], results: Sequence[Reproduction], form: str) -> None:
    """Print the paper's figures beside ours, as text or json."""
    if form == "json":
        pairs = zip(plan, results, strict=True)
        print_json([{**_as_json(item), "ours": asdict(result)} for item, result in pairs])
        return
    print_table(
        ("row", "paper", "ours", "epochs", "params, paper", "ours", "how it ended", "hardware"),
        [
            (
                str(result.row),
                _percent(result.paper_test_accuracy),
                _percent(result.test_accuracy, result.test_standard_error),
                str(result.epochs or "-"),
                result.paper_params or "-",
                f"{result.num_params:,}" if result.num_params is not None else "-",
                result.status,
                result.hardware or "-",
            )
            for result in results
        ],
        left=(0, -2, -1),
    )
    if any(not item.row.figures for item in plan):
        print("the paper's figures are of CIFAR-10 at 32x32, and left out beside other data")
    for result in sorted(results, key=lambda item: item.status == NOT_CONVERGED):  # these last
        if result.remark:
            status = f" {NOT_CONVERGED}" if result.status == NOT_CONVERGED else ""
            print_lines(f"row {result.row}{status}: {result.remark}")


def _percent(value: float | None, error: float | None = None) -> str:
    if value is None:
        return "-"
    return f"{100 * value:.2f}%" + (f" ± {100 * error:.2f}" if error is not None else "")
