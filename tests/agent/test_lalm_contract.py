"""One suite that every LALM passes: what a caller may rely on, whatever answers."""

import math
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from lalm_agent.audio import Sound, load
from lalm_agent.errors import UsageError
from lalm_agent.models.base import LALM, Decoding, Request, Turn, softmax_of_scores
from lalm_agent.models.exec_lalm import ExecLALM
from lalm_agent.models.scripted import ScriptedLALM


def tiny(folder: Path) -> LALM:
    from lalm_agent.models.hf_engine import load

    return load(str(folder))


def mini() -> LALM:
    from lalm_agent.agent import load_model
    from lalm_agent.config import AgentConfig

    return load_model(AgentConfig(model="mini"))


def scripted() -> LALM:
    return ScriptedLALM(lambda request: f"reply to {request.turns[-1].text}")


EXEC = """
import hashlib, json

class Model:
    def hello(self):
        return {"name": "toy", "window_s": 10}

    def generate(self, requests):
        return [[{"text": self.reply(request, seed), "logprobs": [-0.25] * 6} for seed in request["seeds"]]
                for request in requests]

    def reply(self, request, seed):
        clip = request["audio"] and hashlib.sha256(open(request["audio"], "rb").read()).hexdigest()
        return f"reply to {json.dumps(request['turns'])} {clip} {seed if request['temperature'] else 'greedy'}"

    def score(self, requests):
        return [[(-float(len(text)), 1 + len(text.split())) for text in request["options"]] for request in requests]
"""


def worker(folder: Path) -> LALM:
    (folder / "toy.py").write_text(EXEC)
    return ExecLALM(f"exec:{sys.executable}:{folder / 'toy.py'}")


# One of each way to compute: music-flamingo goes the way of audio-flamingo-3.
FAMILIES = ["qwen2-audio", "qwen2.5-omni", "qwen3-omni", "audio-flamingo-3", "phi-4-multimodal", "gemma-4"]
FAMILIES += ["gemma-4-unified", "granite-speech", "nemotron-h-omni"]


@pytest.fixture(scope="module", params=["scripted", "mini", "exec", *FAMILIES])
def lalm(
    request: pytest.FixtureRequest, tiny_family: Callable[[str], Path], tmp_path_factory: pytest.TempPathFactory
) -> LALM:
    named = {"scripted": scripted, "mini": mini, "exec": lambda: worker(tmp_path_factory.mktemp("worker"))}
    return named[request.param]() if request.param in named else tiny(tiny_family(request.param))


SHORT = Decoding(max_new_tokens=6)
SAMPLED = Decoding(max_new_tokens=6, temperature=1.0, seed=3)


def user(text: str, sound: Sound | None, decoding: Decoding = SHORT, **more: object) -> Request:
    return Request((Turn("user", text),), sound, decoding, **more)  # type: ignore[arg-type]


def test_one_response_per_request_in_order(lalm: LALM, sound: Sound) -> None:
    requests = [user("What is heard?", sound), user("No audio here.", None), user("And what else?", sound)]
    alone = [lalm.generate([request])[0] for request in requests]
    together = lalm.generate(requests)
    assert [r.completions[0].text for r in together] == [r.completions[0].text for r in alone]
    assert [r.heard_s for r in together] == [(0.0, sound.ref.seconds), None, (0.0, sound.ref.seconds)]


def test_no_requests_no_responses(lalm: LALM) -> None:
    assert lalm.generate([]) == []


def test_greedy_is_repeatable(lalm: LALM, sound: Sound) -> None:
    first, second = (lalm.generate([user("What is heard?", sound)])[0] for _ in range(2))
    assert first.completions == second.completions


def test_n_completions(lalm: LALM, sound: Sound) -> None:
    response = lalm.generate([user("What is heard?", sound, SAMPLED, n=5)])[0]
    assert len(response.completions) == 5


def test_draws_do_not_depend_on_the_batch(lalm: LALM, sound: Sound) -> None:
    asked = user("What is heard?", sound, SAMPLED, n=4, key="q1")
    other = user("A much longer question than the first one, to change the padding?", sound, SAMPLED, n=3, key="q2")
    alone = lalm.generate([asked])[0]
    beside = lalm.generate([other, asked])[1]
    assert [c.text for c in alone.completions] == [c.text for c in beside.completions]


def test_token_logprobs_are_logprobs_where_given(lalm: LALM, sound: Sound) -> None:
    completion = lalm.generate([user("What is heard?", sound)])[0].completions[0]
    if completion.token_logprobs is not None:
        assert 1 <= len(completion.token_logprobs) <= SHORT.max_new_tokens
        assert all(value <= 0 for value in completion.token_logprobs)


def test_options_are_scored_where_possible(lalm: LALM, sound: Sound) -> None:
    options = ("dog", "a small cat", "cow")
    scores = lalm.generate([user("What is heard?", sound, n=0, options=options)])[0].option_scores
    if scores is not None:
        assert tuple(score.text for score in scores) == options
        assert math.isclose(sum(softmax_of_scores(scores)), 1.0)
        assert all(score.logprob <= 0 and score.tokens >= 1 for score in scores)


def test_the_spec_names_the_model(lalm: LALM) -> None:
    assert lalm.spec.info.ref
    assert lalm.spec.window_s is None or lalm.spec.window_s > 0


@pytest.mark.parametrize(
    "build",
    [
        lambda: Request((), None),
        lambda: Request((Turn("user", "x"),), None, n=0),
        lambda: Request((Turn("user", "x"),), None, n=2),
        lambda: Decoding(temperature=-1),
        lambda: Decoding(max_new_tokens=0),
        lambda: Decoding(top_p=0),
        lambda: Decoding(top_k=-1),
    ],
)
def test_impossible_requests_are_refused(build: Callable[[], object]) -> None:
    with pytest.raises(UsageError):
        build()


@pytest.fixture(scope="module")
def random_lalm(tiny_checkpoint: Path) -> LALM:
    return tiny(tiny_checkpoint)


class TestTransformers:
    """What only the transformers implementation can promise, shown on random weights of the stock class."""

    def test_clip_becomes_audio_tokens(self, random_lalm: LALM, sound: Sound) -> None:
        assert random_lalm.generate([user("What?", sound)])[0].audio_tokens == 25

    def test_token_logprobs_are_those_of_the_unfiltered_model(self, random_lalm: LALM, sound: Sound) -> None:
        # Greedy decoding takes the likeliest token, so no token can be less likely than one in the vocabulary's size.
        completion = random_lalm.generate([user("What?", sound)])[0].completions[0]
        assert completion.token_logprobs is not None
        assert all(value >= math.log(1 / 300) for value in completion.token_logprobs)

    def test_sampling_follows_the_model_s_probabilities(self, random_lalm: LALM) -> None:
        asked = user("What?", None, Decoding(max_new_tokens=1, temperature=1.0), n=400, key="x")
        completions = random_lalm.generate([asked])[0].completions
        logprobs = [completion.token_logprobs[0] for completion in completions if completion.token_logprobs]
        seen = {value: logprobs.count(value) / len(logprobs) for value in set(logprobs)}
        likeliest = max(seen)
        assert seen[likeliest] == pytest.approx(math.exp(likeliest), abs=0.08)

    def test_top_k_of_one_is_greedy(self, random_lalm: LALM, sound: Sound) -> None:
        greedy = random_lalm.generate([user("What?", sound)])[0].completions[0]
        hot = Decoding(max_new_tokens=6, temperature=5.0, top_k=1)
        nucleus = Decoding(max_new_tokens=6, temperature=1.0, top_p=1e-6)
        for decoding in (hot, nucleus):
            assert random_lalm.generate([user("What?", sound, decoding)])[0].completions[0].text == greedy.text

    def test_a_clip_longer_than_the_window_is_heard_from_its_start_and_says_so(
        self, random_lalm: LALM, write_clip: Callable[..., Path]
    ) -> None:
        response = random_lalm.generate([user("What?", load(write_clip(31.0)))])[0]
        assert response.heard_s == (0.0, 30.0)
        assert "30.0 s of 31.0 s" in response.warnings[0]

    @pytest.mark.parametrize("seconds", [0.001, 0.02, 0.1, 0.49])
    def test_very_short_clips_are_padded(
        self, random_lalm: LALM, write_clip: Callable[..., Path], seconds: float
    ) -> None:
        response = random_lalm.generate([user("What?", load(write_clip(seconds)))])[0]
        assert response.audio_tokens is not None
        assert response.audio_tokens > 1

    def test_a_prefilled_reply_is_continued(self, random_lalm: LALM, sound: Sound) -> None:
        turns = (Turn("user", "What?"), Turn("assistant", "I hear"))
        fresh = random_lalm.generate([user("What?", sound)])[0].completions[0]
        continued = random_lalm.generate([Request(turns, sound, SHORT)])[0].completions[0]
        assert continued.text != fresh.text
