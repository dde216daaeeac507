"""The curve of a bank as a picture, drawn by matplotlib; see the extra `draw`."""

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from lalm_agent.errors import UsageError
from lalm_agent.terminal import printable

if TYPE_CHECKING:
    from lalm_agent.cli.idk_scoring import Graded
    from lalm_agent.training.idk.curve import Bootstrap, Curve

_FORMATS = (".png", ".svg")
_INCHES = (6.0, 3.8)
# Okabe and Ito's colours, which colour-blind readers can tell apart.
_COLOURS = ("#000000", "#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9")
_MARKERS = "osD^vPX"


def check_plot(path: Path) -> None:
    """Refuse a picture that could not be written in the end.

    Raises:
        UsageError: another format, no such folder, or matplotlib is missing.
    """
    from lalm_agent.extras import require_extra

    if path.suffix.lower() not in _FORMATS:
        raise UsageError(f"{path} is neither a .png nor an .svg", "name one: --plot curve.svg")
    if not path.resolve().parent.is_dir():
        raise UsageError(f"the folder of {path} does not exist", "make it, or name another file")
    require_extra("draw")


def write_plot(path: Path, found: "Graded", groups: Mapping[str, "Curve"], how: "Bootstrap") -> None:
    """Draw the share of IDK over K with its intervals; the picture names the bank that it was made from.

    Raises:
        UsageError: the file cannot be written.
    """
    import matplotlib
    from matplotlib.figure import Figure

    figure = Figure(figsize=_INCHES, dpi=150, layout="constrained")
    axes = figure.add_subplot()
    drawn = {name: curve for name, curve in groups.items() if curve.shares}
    for number, (name, curve) in enumerate(drawn.items()):
        shift = (number - (len(drawn) - 1) / 2) * 0.06
        shares = [100 * share.share for share in curve.shares]
        below = [100 * (share.share - share.low) for share in curve.shares]
        above = [100 * (share.high - share.share) for share in curve.shares]
        axes.errorbar(
            [share.k + shift for share in curve.shares],
            shares,
            # An interval of a share that is 0 in the data need not hold it exactly.
            yerr=[[max(0.0, one) for one in below], [max(0.0, one) for one in above]],
            label=_plain(f"{name} (n = {curve.n:,})"),
            color=_COLOURS[number % len(_COLOURS)],
            marker=_MARKERS[number % len(_MARKERS)],
            markersize=4,
            linewidth=1.2,
            capsize=2,
        )
    axes.set_xticks(range(1, found.n + 1), [f"{k}@{found.n}" for k in range(1, found.n + 1)])
    axes.set_ylim(-2, 102)
    axes.set_ylabel("questions that become IDK (%)")
    axes.grid(axis="y", linewidth=0.4)
    if drawn:
        axes.legend(fontsize="small", frameon=False)
    identity = found.bank.identity
    title = f"{identity.model}, {identity.method}, T = {identity.temperature:g}"
    axes.set_title(_plain(title), fontsize="medium")
    note = f"bank {found.bank.run_id}, scorer {found.scorer}, {how.level:.0%} intervals over clips"
    axes.set_xlabel(_plain(note), fontsize=6, loc="right")
    try:
        # Without a date and with a fixed salt the same bank gives the same bytes.
        with matplotlib.rc_context({"svg.hashsalt": found.bank.run_id}):
            dated = {"Date": None} if path.suffix.lower() == ".svg" else {}
            figure.savefig(path, metadata={"Title": note, **dated})
    except OSError as error:
        raise UsageError(f"{path} cannot be written: {error.strerror or error}", "name another file") from error


def _plain(text: str) -> str:
    """A stranger's text as it is: matplotlib reads dollar signs as mathematics."""
    return printable(text, one_line=True).replace("$", r"\$")
