"""An agent behind HTTP: `serve` in the formats of OpenAI and `transformers serve`, `web` as a page and an MCP tool."""

from pathlib import Path
from typing import Annotated

import typer

from lalm_agent.cli import eval as eval_flags
from lalm_agent.cli import flags
from lalm_agent.cli.flags import answering_settings, option, settings_from
from lalm_agent.terminal import say

HostFlag = Annotated[str, option("Address to listen at; any but this machine's own needs LALM_SERVER_KEYS.", True)]
PortFlag = Annotated[int, option("Port to listen at; 0 takes a free one.", True, min=0, max=65535)]
NameFlag = Annotated[str | None, option("What clients call the model.", "its reference, or its folder's name")]
ConcurrencyFlag = Annotated[
    int, option("Questions worked on at once; a model that computes here takes them as one batch.", True, min=1)
]
QueueFlag = Annotated[int, option("Further requests that wait; the next one gets status 429.", True, min=0)]
BodyFlag = Annotated[float, option("Largest request in MiB, its base64 included.", True, min=0.001)]
ClipFlag = Annotated[float, option("Longest clip in seconds.", True, min=0.001)]
TimeoutFlag = Annotated[float, option("Seconds that a request has from its arrival to its answer.", True, min=0.001)]
GraceFlag = Annotated[float, option("Seconds that running requests have to end after SIGTERM or Ctrl-C.", True, min=0)]

WebRunArgument = Annotated[
    Path | None, typer.Argument(metavar="RUN", help="A run to browse and to ask again.", show_default=False)
]
OtherModelFlag = Annotated[
    list[str] | None, option("A further model that the page offers. May be given several times.", "none")
]
PageHostFlag = Annotated[str, option("Address to listen on. Any but 127.0.0.1 needs a token, which is printed.", True)]
MaxMbFlag = Annotated[float, option("Largest upload in megabytes.", True, min=0.001)]


def serve(
    model: flags.ModelFlag = None,
    host: HostFlag = "127.0.0.1",
    port: PortFlag = 8000,
    name: NameFlag = None,
    concurrency: ConcurrencyFlag = 8,
    queue: QueueFlag = 256,
    max_body_mb: BodyFlag = 32.0,
    max_clip_s: ClipFlag = 300.0,
    request_timeout_s: TimeoutFlag = 120.0,
    grace_s: GraceFlag = 60.0,
    method: flags.MethodFlag = None,
    tools: flags.ToolsFlag = None,
    tool: flags.ToolFlag = None,
    answer_mode: flags.AnswerModeFlag = None,
    adaptive: flags.AdaptiveFlag = None,
    policy: flags.PolicyFlag = None,
    no_policy: flags.NoPolicyFlag = False,
    policy_unchecked: flags.PolicyUncheckedFlag = None,
    adapter: flags.AdapterFlag = None,
    device: flags.DeviceFlag = None,
    dtype: flags.DtypeFlag = None,
    max_new_tokens: flags.MaxNewTokensFlag = None,
    temperature: flags.TemperatureFlag = None,
    seed: flags.SeedFlag = None,
    max_audio_s: flags.MaxAudioFlag = None,
    timeout_s: flags.TimeoutFlag = None,
    trust_env: flags.TrustEnvFlag = None,
    hears_audio: flags.HearsAudioFlag = None,
    trust_remote_code: flags.TrustFlag = None,
    allow_pickle: flags.PickleFlag = None,
    debug: flags.DebugFlag = None,
) -> int:
    """Serve an agent over HTTP: chat completions and decisions as OpenAI has them, and /v1/systemone.

    LALM_SERVER_KEYS has the keys that clients may send, with commas between them. SIGTERM and Ctrl-C let running
    requests end; a second one does not. Neither requests nor audio are logged. docs/serve.md has examples.
    """
    values = dict(locals(), preset=tools, tools=tool)
    config = answering_settings(values)

    from lalm_agent.serve import Limits, keys_from, serve

    limits = Limits(concurrency, queue, max_body_mb, max_clip_s, timeout_s=request_timeout_s, grace_s=grace_s)
    serve(config, host, port, limits, keys_from(), name, shipped_policy=not no_policy, say=say)
    return 0


def web(
    run: WebRunArgument = None,
    host: PageHostFlag = "127.0.0.1",
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
