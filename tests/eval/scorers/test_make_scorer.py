"""Scorers by name."""

from importlib import import_module

import numpy as np
import pytest

from lalm_agent.errors import UsageError
from lalm_agent.eval.scorers import ASKING, SCORERS, make_scorer, model_ref, published_match
from lalm_agent.eval.scorers.making import EMBEDDING
from lalm_agent.eval.scorers.nearest import Embedder
from lalm_agent.models.scripted import ScriptedLALM


@pytest.mark.parametrize("name", SCORERS)
def test_every_name_leads_to_a_scorer_of_that_name(name: str) -> None:
    module, _, attribute = SCORERS[name].partition(":")
    assert hasattr(import_module(module), attribute)
    embedder = Embedder("m@1", lambda texts: np.eye(len(texts)))
    made = make_scorer(name, ScriptedLALM([], ref="m@1") if name in ASKING else None, embedder=embedder)
    assert made.name == (f"{name}:m@1" if name in ASKING | EMBEDDING else name)


@pytest.mark.parametrize("name", ["mmua", "", "lm:x", "rule:mini", "lmms:openai:x"])
def test_an_unknown_name_is_refused(name: str) -> None:
    with pytest.raises(UsageError) as caught:
        make_scorer(name)
    assert caught.value.hint


def test_the_nearest_name_is_suggested() -> None:
    with pytest.raises(UsageError) as caught:
        make_scorer("mmua")
    assert "did you mean mmau?" in str(caught.value.hint)


@pytest.mark.parametrize("name", sorted(ASKING))
def test_a_scorer_that_asks_wants_a_model(name: str) -> None:
    with pytest.raises(UsageError, match="asks a model"):
        make_scorer(name)


def test_a_scorer_that_embeds_wants_a_model_of_embeddings() -> None:
    with pytest.raises(UsageError, match="embeds texts"):
        make_scorer("mmau-pro")


def test_the_model_of_a_name() -> None:
    assert model_ref("llm:openai:gpt-4o-mini@https://host/v1") == "openai:gpt-4o-mini@https://host/v1"
    assert model_ref("sakura:mini") == "mini"
    assert model_ref("llm") is None
    assert model_ref("rule") is None


def test_each_benchmark_has_its_published_match() -> None:
    names = ("mmau", "mmar", "sakura", "mmsu", "aqua", None)
    assert [published_match(name) for name in names] == ["mmau", "mmar", "mmau", "mmsu", "aqua", "mmau"]
