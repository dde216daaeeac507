"""Which modules of a model an adapter goes on."""

import re
from collections.abc import Mapping
from typing import Any

from lalm_agent.errors import UsageError

_SHOWN = 12


def matched_modules(model: Any, pattern: str) -> list[str]:
    """The names of the linear modules that the expression matches whole, as peft matches it.

    Raises:
        UsageError: it is no regular expression, or matches none; the message lists the kinds of module there are.
    """
    try:
        wanted = re.compile(pattern)
    except re.error as error:
        raise UsageError(f"the target modules {pattern!r} are no regular expression: {error}", _hint({})) from error
    linear = linear_modules(model)
    found = [name for name in linear if wanted.fullmatch(name)]
    if not found:
        raise UsageError(f"no module of this model is called {pattern!r}; {_candidates(linear)}", _hint(linear))
    return found


def linear_modules(model: Any) -> dict[str, tuple[int, int]]:
    """Name -> (inputs, outputs) of the model's linear modules."""
    import torch

    return {
        name: (module.in_features, module.out_features)
        for name, module in model.named_modules()
        if isinstance(module, torch.nn.Linear)
    }


def _candidates(linear: Mapping[str, object]) -> str:
    """Such as `candidates: …language_model.layers.N.self_attn.q_proj (32), …`, layers counted together."""
    kinds: dict[str, int] = {}
    for name in linear:
        kind = re.sub(r"\.\d+\.", ".N.", name)
        kinds[kind] = kinds.get(kind, 0) + 1
    shown = [f"{kind} ({count})" if count > 1 else kind for kind, count in list(kinds.items())]
    attention = [text for text in shown if re.search(r"q_proj|k_proj|v_proj|qkv|query", text)]
    best = (attention + [text for text in shown if text not in attention])[:_SHOWN]
    return f"candidates: {', '.join(best)}{', …' if len(shown) > len(best) else ''}"


def _hint(linear: Mapping[str, object]) -> str:
    example = next((re.escape(name.rpartition(".")[2]) for name in linear), "q_proj")
    return rf"--target-modules takes an expression for whole names, such as '.*\.{example}'"
