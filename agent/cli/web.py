"""`lalm-agent web [RUN]`: a page on this machine to ask about clips, and to ask a run's questions again."""

from pathlib import Path
from typing import Annotated

import typer

from lalm_agent.cli import eval as eval_flags
from lalm_agent.cli import flags
from lalm_agent.cli.flags import option, settings_from
from lalm_agent.terminal import say

RunArgument = Annotated[
    Path | None, typer.Argument(metavar="RUN", help="A run to browse and to ask again.", show_default=False)
]
OtherModelFlag = Annotated[
    list[str] | None, option("A further model that the page offers. May be given several times.", "none")
]
HostFlag = Annotated[str, option("Address to listen on. Any but 127.0.0.1 needs a token, which is printed.", True)]
PortFlag = Annotated[int, option("Port to listen on; 0 takes a free one.", True, min=0, max=65535)]
MaxMbFlag = Annotated[float, option("Largest upload in megabytes.", True, min=0.001)]


def web(
    run: RunArgument = None,
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
