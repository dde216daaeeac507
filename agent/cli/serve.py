"""`lalm-agent serve`: an agent behind HTTP, in the formats of OpenAI and of `transformers serve`."""

from typing import Annotated

from lalm_agent.cli import flags
from lalm_agent.cli.flags import answering_settings, option
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
