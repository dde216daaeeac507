"""`lalm-agent ask clip.wav "question" [--choice …]`: one question about one clip."""

from pathlib import Path
from typing import Annotated, Any

import typer

from lalm_agent.records import Method


def ask(
    clip: Annotated[Path, typer.Argument(help="The audio file.", show_default=False)],
    question: Annotated[str, typer.Argument(help="What to ask about it.", show_default=False)],
    choice: Annotated[
        list[str] | None, typer.Option("--choice", "-c", help="A possible answer; give two or more, or none.")
    ] = None,
    method: Annotated[Method, typer.Option(help="How to ask.")] = Method.AGENT,
    model: Annotated[
        str, typer.Option(help="mini, a checkpoint's folder, a hub id (id@revision), or scripted:FILE.")
    ] = "mini",
    tools: Annotated[str, typer.Option(help="paper: every node is the model. assist: the best tool installed.")] = (
        "assist"
    ),
    tool: Annotated[
        list[str] | None, typer.Option(help="One node changed, as NODE=TOOL, such as asr=pocketsphinx.")
    ] = None,
    answer_mode: Annotated[str, typer.Option(help="generate an answer, or score the choices.")] = "generate",
    device: Annotated[str, typer.Option(help="auto, cpu, cuda, cuda:N or mps.")] = "auto",
    dtype: Annotated[str, typer.Option(help="auto, float32, bfloat16 or float16.")] = "auto",
    max_new_tokens: Annotated[int, typer.Option(help="Longest reply in tokens.", min=1)] = 256,
    max_audio_s: Annotated[float, typer.Option(help="Longest clip that is accepted, in seconds.")] = 3600.0,
    trust_remote_code: Annotated[bool, typer.Option(help="Run code that comes with a checkpoint.")] = False,
    allow_pickle: Annotated[bool, typer.Option(help="Load weights that are not safetensors.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object on stdout.")] = False,
    debug: Annotated[bool, typer.Option(help="Show the traceback of an error.")] = False,
) -> int:
    """Answer a question about a clip, or say IDK.

    Steps are shown on stderr as they happen; the answer comes on stdout.
    """
    from lalm_agent import assemble
    from lalm_agent.cli.render import print_answer, print_step

    choices = tuple(choice or ())
    assemble.check_question(question, choices)
    config = _config(
        model=model,
        method=method,
        preset=tools,
        tools=_changes(tool or []),
        answer_mode=answer_mode,
        device=device,
        dtype=dtype,
        max_new_tokens=max_new_tokens,
        max_audio_s=max_audio_s,
        trust_remote_code=trust_remote_code,
        allow_pickle=allow_pickle,
        debug=debug,
    )
    answer = assemble.Agent(config).ask(clip, question, choices, print_step)
    print_answer(answer, as_json)
    return answer.failure.exit_code if answer.failure else 0


def _changes(pairs: list[str]) -> dict[str, str]:
    from lalm_agent.errors import UsageError

    changes: dict[str, str] = {}
    for pair in pairs:
        node, equals, name = pair.partition("=")
        if not (node and equals and name):
            raise UsageError(f"--tool takes NODE=TOOL, not {pair!r}", "such as --tool asr=pocketsphinx")
        changes[node] = name
    return changes


def _config(**settings: Any) -> Any:
    from pydantic import ValidationError

    from lalm_agent.config import AgentConfig
    from lalm_agent.errors import UsageError

    flags = {"preset": "tools"}
    try:
        return AgentConfig(**settings)
    except ValidationError as error:
        first = error.errors()[0]
        name = str(first["loc"][0])
        flag = flags.get(name, name).replace("_", "-")
        raise UsageError(f"--{flag} {settings[name]}: {first['msg'].lower()}", "lalm-agent ask --help") from error
