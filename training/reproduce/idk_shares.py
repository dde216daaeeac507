"""Figure 5 as a table: the share of IDK over K by modality, the paper's beside ours."""

from collections.abc import Mapping

from lalm_agent.training.idk.labels import Curve
from lalm_agent.training.reproduce import cells_text as text
from lalm_agent.training.reproduce.printed import printed_share


def share_table(groups: Mapping[str, Curve], n: int) -> str:
    """Shares of IDK in percent for K = 1 … N. groups: by modality and in total."""
    header = ("IDK %", "n", "clips", *(f"{k}@{n}" for k in range(1, n + 1)), "P1, 1@5", "P1, 5@5")
    rows = []
    for name, curve in groups.items():
        shares = [
            f"{text.percent(one.share)} [{text.percent(one.low)}, {text.percent(one.high)}]" for one in curve.shares
        ]
        shares += [text.NOTHING] * (n - len(shares))
        theirs = (text.plain(printed_share(k, 5, name)) for k in (1, 5))
        rows.append((name, str(curve.n), str(curve.n_clips), *shares, *theirs))
    return text.table(header, rows)
