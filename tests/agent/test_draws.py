"""Draws by their number, and greedy replies that hang on rounding."""

from pathlib import Path

import pytest

from lalm_agent.audio import Sound
from lalm_agent.errors import UsageError
from lalm_agent.models.base import LALM, Decoding, Request, Turn

SAMPLED = Decoding(max_new_tokens=6, temperature=1.0, seed=3)


@pytest.fixture(scope="module")
def lalm(tiny_checkpoint: Path) -> LALM:
    from lalm_agent.models.hf_engine import load

    return load(str(tiny_checkpoint))


def asked(sound: Sound | None, decoding: Decoding = SAMPLED, n: int = 1, key: str = "q", draw: int = 0) -> Request:
    return Request((Turn("user", "What is heard?"),), sound, decoding, n, key=key, draw=draw)


def test_a_draw_asked_alone_is_the_same_as_among_others(lalm: LALM, sound: Sound) -> None:
    five = lalm.generate([asked(sound, n=5)])[0].completions
    assert len({completion.text for completion in five}) > 1
    alone = [lalm.generate([asked(sound, draw=draw)])[0].completions[0] for draw in range(5)]
    assert [completion.text for completion in alone] == [completion.text for completion in five]
    last_two = lalm.generate([asked(sound, n=2, draw=3)])[0].completions
    assert [completion.text for completion in last_two] == [completion.text for completion in five[3:]]


def test_seed_and_key_change_the_draws(lalm: LALM, sound: Sound) -> None:
    other_seed = Decoding(max_new_tokens=6, temperature=1.0, seed=4)
    requests = [asked(sound, n=4), asked(sound, n=4, key="r"), asked(sound, other_seed, n=4)]
    texts = [tuple(c.text for c in response.completions) for response in lalm.generate(requests)]
    assert len(set(texts)) == 3


def test_a_draw_before_the_first_is_refused(sound: Sound) -> None:
    with pytest.raises(UsageError, match="numbered from 0"):
        asked(sound, draw=-1)


def test_the_gap_of_a_greedy_reply_is_that_of_the_two_likeliest_tokens(lalm: LALM) -> None:
    greedy = lalm.generate([asked(None, Decoding(max_new_tokens=1))])[0].completions[0]
    drawn = lalm.generate([asked(None, Decoding(max_new_tokens=1, temperature=1.0), n=200)])[0].completions
    first, second = sorted({round(c.token_logprobs[0], 5) for c in drawn if c.token_logprobs}, reverse=True)[:2]
    assert greedy.top_two_gap == pytest.approx(first - second, abs=1e-4)


def test_the_gap_of_a_longer_reply_is_its_smallest(lalm: LALM, sound: Sound) -> None:
    gaps = [lalm.generate([asked(sound, Decoding(n))])[0].completions[0].top_two_gap for n in range(1, 7)]
    assert None not in gaps
    assert gaps == sorted(gaps, key=lambda gap: -(gap or 0))


def test_the_gap_is_found_over_the_positions_that_count() -> None:
    import torch

    from lalm_agent.models.hf_decoding import LogprobRecorder

    recorder = LogprobRecorder(1, [9])
    steps = [[[2.0, 1.5, -1.0], [0.0, 3.0, 2.0]], [[1.0, 1.0, 0.0], [9.0, 0.0, 0.0]]]
    for logits in steps:
        recorder.before(torch.zeros(2, 1, dtype=torch.long), torch.tensor(logits))
        recorder.after(torch.zeros(2, 1, dtype=torch.long), None)
    assert recorder.gap_rows() == [pytest.approx([0.5, 0.0]), pytest.approx([1.0, 9.0])]


def test_a_sampled_reply_has_no_gap(lalm: LALM, sound: Sound) -> None:
    assert [c.top_two_gap for c in lalm.generate([asked(sound, n=2)])[0].completions] == [None, None]
