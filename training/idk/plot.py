"""The curve of a bank as a picture, drawn by matplotlib; see the extra `draw`."""

from pathlib import Path

from lalm_agent.errors import UsageError
from lalm_agent.registry import require_extra
from lalm_agent.terminal import printable
from lalm_agent.training.idk.make import BankCurve

_FORMATS = (".png", ".svg")
_INCHES = (6.0, 3.8)
# Okabe and Ito's colours, which colour-blind readers can tell apart.
_COLOURS = ("#000000", "#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9")
_MARKERS = "osD^vPX"


def check_plot(path: Path) -> None:
    """Refuse a picture of another format or in no folder, and where matplotlib is missing. Raises UsageError."""
    if path.suffix.lower() not in _FORMATS:
        raise UsageError(f"{path} is neither a .png nor an .svg", "name one: --plot curve.svg")
    if not path.resolve().parent.is_dir():
        raise UsageError(f"the folder of {path} does not exist", "make it, or name another file")
    require_extra("draw")


def write_plot(path: Path, curve: BankCurve) -> None:
    """Draw the share of IDK over K with its intervals and the bank's name. Raises UsageError where that fails."""
    import matplotlib
    from matplotlib.figure import Figure

    figure = Figure(figsize=_INCHES, dpi=150, layout="constrained")
    axes = figure.add_subplot()
    groups = {name: group for name, group in curve.groups.items() if group.shares}
    for number, (name, group) in enumerate(groups.items()):
        shift = (number - (len(groups) - 1) / 2) * 0.06
        shares = [100 * share.share for share in group.shares]
        below = [100 * (share.share - share.low) for share in group.shares]
        above = [100 * (share.high - share.share) for share in group.shares]
        axes.errorbar(
            [share.k + shift for share in group.shares],
            shares,
            # An interval of a share that is 0 in the data need not hold it exactly.
            yerr=[[max(0.0, length) for length in below], [max(0.0, length) for length in above]],
            label=_plain(f"{name} (n = {group.n:,})"),
            color=_COLOURS[number % len(_COLOURS)],
            marker=_MARKERS[number % len(_MARKERS)],
            markersize=4,
            linewidth=1.2,
            capsize=2,
        )
    axes.set_xticks(range(1, curve.n + 1), [f"{k}@{curve.n}" for k in range(1, curve.n + 1)])
    axes.set_ylim(-2, 102)
    axes.set_ylabel("questions that become IDK (%)")
    axes.grid(axis="y", linewidth=0.4)
    if groups:
        axes.legend(fontsize="small", frameon=False)
    title = f"{curve.model}, {curve.method}, T = {curve.temperature:g}"
    axes.set_title(_plain(title), fontsize="medium")
    note = f"bank {curve.run}, scorer {curve.scorer}, {curve.level:.0%} intervals over clips"
    axes.set_xlabel(_plain(note), fontsize=6, loc="right")
    try:
        # Without a date and with a fixed salt the same bank gives the same bytes.
        with matplotlib.rc_context({"svg.hashsalt": curve.run}):
            dated = {"Date": None} if path.suffix.lower() == ".svg" else {}
            figure.savefig(path, metadata={"Title": note, **dated})
    except OSError as error:
        raise UsageError(f"{path} cannot be written: {error.strerror or error}", "name another file") from error


def _plain(text: str) -> str:
    """Text as it is, though matplotlib reads dollar signs as mathematics."""
    return printable(text, one_line=True).replace("$", r"\$")
