"""The paper's figures agree with one another."""

import json
from math import log10
from pathlib import Path

import pytest

from lalm_agent.training.reproduction.report import printed, printed_share

GROUPS = ("sound", "music", "speech", "total")
METHODS = ("idk", "mcot", "agent")


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("group", GROUPS)
def test_a_printed_rgi_is_the_ratio_of_the_printed_deltas(method: str, group: str) -> None:
    row = printed(method, group)
    assert row["rgi"] == pytest.approx(log10(row["d_hum"] / row["d_con"]), abs=0.0051)


def test_the_baseline_is_right_as_often_as_its_counts_say() -> None:
    assert printed("baseline", "total") == dict.fromkeys(("acc", "tru", "rel"), 55.6)
    assert printed("baseline", "sound")["acc"] == pytest.approx(100 * 203 / 333)


def test_shares_of_idk_add_up_to_the_printed_total() -> None:
    shares = [printed_share(5, 5, group) for group in GROUPS[:3]]
    assert shares[0] == pytest.approx(100 * 210 / 333)
    assert printed_share(5, 5, "total") == 63.5
    assert printed_share(3, 5, "total") is None
    assert printed_share(1, 5, "sound") is None


def test_what_is_not_known_is_not_made_up() -> None:
    assert printed("lora", "sound") == {"rgi": 0.36}
    assert printed("lora, own modality", "sound") == {}
    assert printed("baseline", "mix") == {}


def test_the_rows_are_those_of_the_shared_file(shared_data: Path) -> None:
    path = shared_data.parent / "reference" / "paper_tables.json"
    if not path.is_file():
        pytest.skip("../shared is absent: it has no reference/paper_tables.json")
    for row in json.loads(path.read_text("utf-8"))["rows"]:
        ours = printed(row["method"], row["modality"])
        assert ours == {name: value for name, value in row["printed"].items() if value is not None}
