"""Flags that several subcommands share: one for each field of `AgentConfig`.

A flag that is not given is None, so that the environment and `lalm-agent.toml` can speak.
"""

from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, nullcontext
from typing import Annotated, Any, Literal

import typer
from typer.core import TyperGroup

from lalm_agent.errors import UsageError
from lalm_agent.records import Method
from lalm_agent.terminal import say


def option(text: str, default: str | bool = False, *names: str, **more: Any) -> Any:
    """An option of a command. text: its help. default: what the help shows as the default; True: the value itself."""
    return typer.Option(*names, help=text, show_default=default, **more)


BENCHMARKS = "mmau, mmar, sakura, synth, mmsu, mmau-pro, adqa, air-bench, voicebench, aqua"
DATA = f"{BENCHMARKS}, a .jsonl, .json or .csv file, or hf:NAME_OR_FOLDER"
SCORERS = "rule, mmau, mmar, lmms, lmms-mmar, evalscope, mmsu, air-bench, voicebench, aqua"
"""What help texts list: benchmarks, what may stand for data, and scorers that need no model."""
RUN = "run"


class RunsByDefault(TyperGroup):
    """A group with a command `run`, to which whatever begins with the name of no other command belongs."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Put the name of the command before arguments that begin with none."""
        return list(super().parse_args(ctx, args if args and args[0] in self.commands else [RUN, *args]))


MethodFlag = Annotated[Method | None, typer.Option(help="How to ask.", show_default="agent")]
ModelFlag = Annotated[
    str | None,
    typer.Option(
        "--model", "-m", help="A model's reference; `lalm-agent models` lists the forms.", show_default="mini"
    ),
]
ToolsFlag = Annotated[
    str | None,
    typer.Option(
        "--tools",
        "--preset",
        help="paper: every node is the model. assist: the best tool installed.",
        show_default="paper",
    ),
]
ToolFlag = Annotated[
    list[str] | None,
    typer.Option(help="One node changed: NODE=NAME[:ARGUMENT] or NODE=module:attribute; see `lalm-agent tools`."),
]
AnswerModeFlag = Annotated[
    str | None, typer.Option(help="generate an answer, or score the choices.", show_default="generate")
]
AdapterFlag = Annotated[str | None, typer.Option(help="Folder of a PEFT adapter for the answering node.")]
DeviceFlag = Annotated[str | None, typer.Option(help="auto, cpu, cuda, cuda:N or mps.", show_default="auto")]
DtypeFlag = Annotated[str | None, typer.Option(help="auto, float32, bfloat16 or float16.", show_default="auto")]
MaxNewTokensFlag = Annotated[int | None, typer.Option(help="Longest reply in tokens.", show_default="256")]
TemperatureFlag = Annotated[
    float | None, typer.Option(help="Of the answer; 0 takes the likeliest word each time.", show_default="0")
]
SeedFlag = Annotated[int | None, typer.Option(help="Of the sampling noise.", show_default="0")]
MaxAudioFlag = Annotated[
    float | None, typer.Option(help="Longest clip that is accepted, in seconds.", show_default="3600")
]
TimeoutFlag = Annotated[
    float | None,
    typer.Option(
        help="Seconds for one attempt at an endpoint, all at a request having three times that, or for a reply of an "
        "exec: worker.",
        show_default="120",
    ),
]
TrustEnvFlag = Annotated[
    bool | None, typer.Option("--trust-env", help="Use the environment's proxies (http_proxy) for endpoints.")
]
HearsAudioFlag = Annotated[
    bool | None,
    typer.Option(
        "--hears-audio/--text-only",
        help="Whether the model is given the clip. --text-only: for a text-only model, or as a blind control.",
        show_default="yes",
    ),
]
AdaptiveFlag = Annotated[
    float | None,
    typer.Option(help="Ask as the baseline first, and leave the agent's steps out from this confidence on."),
]
McotOrderFlag = Annotated[
    str | None,
    typer.Option(
        help="Of mcot: printed puts the worked examples before the clip, as the paper prints it; clip-first behind it.",
        show_default="printed for checkpoints with --tools paper, clip-first for mini and endpoints",
    ),
]
PolicyFlag = Annotated[
    str | None, typer.Option(help="File of `lalm-agent calibrate`: withhold answers that are not confident enough.")
]
NoPolicyFlag = Annotated[
    bool, typer.Option("--no-policy", help="No policy, not even the one that ships with mini for its default settings.")
]
PolicyUncheckedFlag = Annotated[
    bool | None,
    typer.Option("--policy-unchecked", help="Use another system's policy; each answer says that nothing is promised."),
]
CheckpointFlag = Annotated[str | None, typer.Option(help="SQLite file that keeps the states of the graph.")]
TrustFlag = Annotated[bool | None, typer.Option("--trust-remote-code", help="Run code that comes with a checkpoint.")]
PickleFlag = Annotated[bool | None, typer.Option("--allow-pickle", help="Load weights that are not safetensors.")]
ReplyKeyFlag = Annotated[
    str | None,
    typer.Option(
        "--reply-key",
        "--key",
        help="The key of the replies in a prediction file, a.b for nested ones.",
        show_default="model_output or another usual one",
    ),
]
EngineFlag = Annotated[
    Literal["local", "ray"], option("Where models compute: in this process, or on the workers of a Ray cluster.", True)
]
WorkersFlag = Annotated[int | None, option("Workers of --engine ray, a model each.", min=1)]
AddressFlag = Annotated[
    str | None, option("Running Ray cluster: auto, or HOST:PORT.", "one is started on this machine")
]
GpusFlag = Annotated[
    float | None,
    option("GPUs of a worker; 0.5 puts two on one.", "1 where the cluster has some", "--gpus-per-worker", min=0),
]
TraceFlag = Annotated[
    bool,
    typer.Option(
        "--trace",
        help="Send each question's steps, prompts and replies as spans to the OTLP collector that "
        "OTEL_EXPORTER_OTLP_ENDPOINT names, else to http://localhost:4318.",
    ),
]
DebugFlag = Annotated[bool | None, typer.Option("--debug", help="Show the traceback of an error.")]


def settings_from(flags: dict[str, Any]) -> Any:
    """An `AgentConfig` from flags, by the names of its fields (`tools` as a list of NODE=TOOL), and weaker sources.

    Raises:
        UsageError: a value that a field does not take, wherever it was set.
    """
    from lalm_agent.config import load_config, parse_tools

    pairs = flags.get("tools")
    return load_config({**flags, "tools": parse_tools(pairs, "--tool") if pairs else None})


def answering_settings(values: Mapping[str, Any]) -> Any:
    """The `AgentConfig` of a command's parameters, all of its fields among them, and of `no_policy`.

    Raises:
        UsageError: a value that a field does not take, wherever it was set.
    """
    from lalm_agent.config import FIELDS

    config = settings_from({name: values.get(name) for name in FIELDS})
    if not values["no_policy"]:
        return config
    if values["policy"] is not None:
        raise UsageError("--policy and --no-policy contradict each other", "leave out one of them")
    return config.model_copy(update={"policy": None})


def ray_from(flags: Mapping[str, Any]) -> Any:
    """The `RayEngine` of `engine`, `workers`, `address` and `gpus`; None for the local engine. Raises UsageError."""
    from lalm_agent.models.ray_engine import RayEngine

    workers, address, gpus = flags["workers"], flags["address"], flags["gpus"]
    if flags["engine"] == "local":
        if (workers, address, gpus) != (None, None, None):
            raise UsageError("--workers, --address and --gpus-per-worker are of another engine", "--engine ray")
        return None
    if workers is None:
        raise UsageError("--engine ray does not know how many models to load", "--workers N, one for each GPU")
    return RayEngine(workers=workers, address=address, gpus=gpus)


def embedder_from(flags: dict[str, Any]) -> Callable[[str], Any]:
    """Loads the model of embeddings of a reference. flags: of these `device` and `trust_remote_code`."""

    def load(ref: str) -> Any:
        from lalm_agent.eval.scorers.nearest import load_embedder

        return load_embedder(ref, flags.get("device"), bool(flags.get("trust_remote_code")))

    return load


def traced(trace: bool) -> AbstractContextManager[None]:
    """What `--trace` does meanwhile; nothing without. Raises UsageError where its extra is not installed."""
    if not trace:
        return nullcontext()
    from lalm_agent.graph import tracing

    return tracing.traced(say)


def loader_from(flags: dict[str, Any]) -> Callable[[str], Any]:
    """Loads the model of a reference, as flags and weaker sources say. flags: as in `settings_from`."""

    def load(ref: str) -> Any:
        from lalm_agent.agent import load_model

        return load_model(settings_from({**flags, "model": ref}))

    return load
