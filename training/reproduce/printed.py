"""What the paper prints (arXiv 2505.19294), as far as it is known here: another model on other data than ours.

The baseline's figures are reconstructed: `printed.json` has how many it has right, and it never refuses, so that its
Acc, Tru and Rel are equal. Of the paper's row "LoRA Fine-tuning" the RGI alone is known here, of table 12 the shares
of IDK and the rejection rates of the adapter that was trained on speech.
"""

import json
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import Any

FILE = "printed.json"
TOTAL = "total"


@dataclass(frozen=True, slots=True)
class Printed:
    """A row as printed, in percent but for RGI; None where the paper prints none, or none is known here."""

    acc: float | None = None
    tru: float | None = None
    rel: float | None = None
    d_con: float | None = None
    d_hum: float | None = None
    rgi: float | None = None


def printed(method: str, group: str) -> Printed:
    """The row of a method (`baseline`, `idk`, `mcot`, `agent`, `lora`) for a modality or the `total`."""
    found = _file()
    if method == "baseline":
        if group not in found["n"]:
            return Printed()
        right = 100 * found["baseline_correct"][group] / found["n"][group]
        return Printed(right, right, right)
    return Printed(**found["methods"].get(method, {}).get(group, {}))


def printed_n(group: str) -> int | None:
    """How many questions of MMAU test-mini a group has."""
    n: int | None = _file()["n"].get(group)
    return n


def printed_share(k: int, n: int, group: str) -> float | None:
    """Share of IDK by K@N in percent (figure 5, table 12)."""
    value: float | list[int] | None = _file()["idk_share"].get(f"{k}@{n}", {}).get(group)
    return 100 * value[0] / value[1] if isinstance(value, list) else value


def source() -> str:
    """Where the figures were printed."""
    return str(_file()["source"])


def rejection() -> str:
    """What table 12 says of rejection, in words."""
    found = _file()["rejection"]
    return (
        f"the adapter trained on {found['source']} refuses {found['own']} % of {found['source']} questions and "
        f"{found['others']} % of the others"
    )


@cache
def _file() -> dict[str, Any]:
    loaded: dict[str, Any] = json.loads((files("lalm_agent.training.reproduce") / FILE).read_text(encoding="utf-8"))
    return loaded
