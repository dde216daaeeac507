"""What a reproduction says that it will cost, before anything is loaded."""

from dataclasses import replace
from pathlib import Path

import pytest

from lalm_agent.config import AgentConfig
from lalm_agent.training import ReproduceRequest, reproduction_cost
from lalm_agent.training.reproduction.cost import CARDS, weights_of, work_of
from lalm_agent.training.reproduction.design import FULL


def test_replies_are_counted_as_the_parts_ask_them() -> None:
    work = work_of(replace(FULL, seeds=1, forgetting=0), asked=900, sampled=300)
    # Baseline, idk, mcot and three steps of the agent; five draws; nine adapters and none; five strengths of one.
    assert work.requests == 6 * 900 + 5 * 300 + 10 * 900 + 5 * 600
    assert work_of(FULL, 900, 300, others=2).requests == work_of(FULL, 900, 300).requests + 4 * 900


@pytest.mark.parametrize("card", CARDS)
def test_hours_grow_with_the_weights_and_the_questions(card: str) -> None:
    small, large = (work_of(FULL, n, n).hours(8e9, card) for n in (100, 1000))
    assert 0 < small < large
    assert work_of(FULL, 100, 100).hours(16e9, card) == pytest.approx(2 * small)


def test_a_checkpoint_that_is_not_here_is_as_large_as_its_name_says() -> None:
    assert weights_of("Qwen/Qwen2-Audio-7B-Instruct") == (7e9, "read off its name")
    assert weights_of("owner/Phi-4-multimodal")[0] is None
    counted, how = weights_of("mini")
    assert counted is not None
    assert 5e6 < counted < 8e6
    assert "files" in how


def test_the_lines_name_replies_hours_and_disk(tmp_path: Path) -> None:
    row = '{"id": "q%d", "audio": "a.wav", "question": "Which?", "choices": ["a", "b"], "answer": "a"}\n'
    (tmp_path / "own.jsonl").write_text("".join(row % n for n in range(4)), "utf-8")
    data, config = str(tmp_path / "own.jsonl"), AgentConfig(model="owner/LALM-7B", device="cpu")
    told = reproduction_cost(ReproduceRequest(out=tmp_path / "paper", config=config, data=data))
    assert [line.partition(":")[0] for line in told] == ["4 questions, 4 in the bank", "GPU hours", "disk"]
    assert "on one H200" in told[1]
    assert "checkpoint to fetch 14.0" in told[2]
    missing = reproduction_cost(ReproduceRequest(out=tmp_path / "paper", config=config, data=f"{data}x"))
    assert missing[0].startswith("not known: ")
    assert not (tmp_path / "paper").exists()
