"""A run's questions with steps and replies: `show` prints them, `report` makes a page, `web` asks them again."""

from pathlib import Path
from typing import Annotated

import typer

from lalm_agent.cli import eval as eval_flags
from lalm_agent.cli import flags
from lalm_agent.cli.flags import option, settings_from
from lalm_agent.terminal import say

RUNS = "Folders of runs; the others are compared with the first."
RunsArgument = Annotated[list[Path], typer.Argument(metavar="RUN", help=RUNS, show_default=False)]
OutFlag = Annotated[Path, option("Folder of the page; an older page in it is replaced.")]
StudyFlag = Annotated[Path | None, option("A folder of `transfer`: its heat map is shown.")]
FaithfulnessFlag = Annotated[Path | None, option("A folder of `faithfulness`: its curves are drawn.")]
EMBED = "Megabytes of clips that are written into the page; the others are linked."
EmbedFlag = Annotated[float, option(EMBED, True, metavar="MB", min=0)]

WebRunArgument = Annotated[
    Path | None, typer.Argument(metavar="RUN", help="A run to browse and to ask again.", show_default=False)
]
OtherModelFlag = Annotated[
    list[str] | None, option("A further model that the page offers. May be given several times.", "none")
]
HostFlag = Annotated[str, option("Address to listen on. Any but 127.0.0.1 needs a token, which is printed.", True)]
PortFlag = Annotated[int, option("Port to listen on; 0 takes a free one.", True, min=0, max=65535)]
MaxMbFlag = Annotated[float, option("Largest upload in megabytes.", True, min=0.001)]


def show(
    run: Annotated[Path, typer.Argument(metavar="RUN", help="A run's folder.", show_default=False)],
    status: Annotated[
        list[str] | None,
        typer.Option(
            help="Only those that ended so: correct, wrong, abstained, unparsed, failed, excluded (the adapter's own "
            "clips) or unanswerable. May be given several times.",
            show_default="all",
        ),
    ] = None,
    limit: Annotated[int | None, typer.Option(help="The first so many.", min=1, show_default="all")] = None,
    draw: Annotated[int, typer.Option(help="Which draw of a run that asked several times.", min=0)] = 0,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object a line for each question.")] = False,
    debug: flags.DebugFlag = None,
) -> None:
    """Print a run's questions with choices, steps, reply, what was read in it, and the right answer.

    Questions end as `score` counts them by the rule scorer; the counts come last, on stderr. A run that still goes on
    can be shown too. --json has the prompts and the figures as well.
    """
    from lalm_agent.eval.report.show import shown
    from lalm_agent.eval.report.table import terminal_width

    for text in shown(run, status or (), limit, draw, None if as_json else terminal_width(), say):
        typer.echo(text)


def report(
    runs: RunsArgument,
    out: OutFlag,
    study: StudyFlag = None,
    faithfulness: FaithfulnessFlag = None,
    audio_root: eval_flags.AudioRootFlag = None,
    embed_audio: EmbedFlag = 0,
    debug: flags.DebugFlag = None,
) -> None:
    """Write one HTML page of runs: figures, tables, and each question with its clip, steps and reply.

    Open the page from disk with any browser; it asks no network. Runs that still go on can be reported. Clips are
    linked relatively, so move the page together with them, or give --embed-audio.
    """
    from lalm_agent.eval.report.page import PageRequest, write_report

    page = write_report(PageRequest(tuple(runs), out, study, faithfulness, audio_root, embed_audio), say)
    typer.echo(f"report: {page}")


def web(
    run: WebRunArgument = None,
    host: HostFlag = "127.0.0.1",
    port: PortFlag = 7860,
    max_mb: MaxMbFlag = 25,
    other_model: OtherModelFlag = None,
    audio_root: eval_flags.AudioRootFlag = None,
    method: flags.MethodFlag = None,
    model: flags.ModelFlag = None,
    tools: flags.ToolsFlag = None,
    tool: flags.ToolFlag = None,
    answer_mode: flags.AnswerModeFlag = None,
    policy: flags.PolicyFlag = None,
    adapter: flags.AdapterFlag = None,
    device: flags.DeviceFlag = None,
    dtype: flags.DtypeFlag = None,
    max_new_tokens: flags.MaxNewTokensFlag = None,
    temperature: flags.TemperatureFlag = None,
    seed: flags.SeedFlag = None,
    max_audio_s: Annotated[float | None, option("Longest clip that is accepted, in seconds.", "600")] = None,
    timeout_s: flags.TimeoutFlag = None,
    trust_env: flags.TrustEnvFlag = None,
    hears_audio: flags.HearsAudioFlag = None,
    trust_remote_code: flags.TrustFlag = None,
    allow_pickle: flags.PickleFlag = None,
    debug: flags.DebugFlag = None,
) -> None:
    """Open the workbench: a page to ask about clips, and to ask a run's questions again with one thing changed.

    It is served until Ctrl-C and loads nothing from a network. The same address has a tool `ask` for MCP clients.
    """
    values = dict(locals(), preset=tools, tools=tool)
    from lalm_agent.config import FIELDS
    from lalm_agent.web.server import WebRequest, serve

    # Each failed node is shown in the page; `debug` would raise it there.
    config = settings_from({name: value for name, value in values.items() if name in FIELDS and name != "debug"})
    serve(WebRequest(config, run, audio_root, tuple(other_model or ()), host, port, max_mb), say)
