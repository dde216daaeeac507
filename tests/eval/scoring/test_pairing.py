from collections.abc import Mapping

import numpy as np
import pytest

from lalm_agent.errors import DataError, UsageError
from lalm_agent.eval.grade import Outcome, Output, Outputs
from lalm_agent.eval.items import Item
from lalm_agent.eval.scoring.compare import LEFT_OUT, NOT_ASKED, SEEN, Grading, Study, paired, study

C, W, A, U, F = range(5)
REPLY = {"c": "dog", "w": "cat", "a": "IDK", "u": "hm hm", "e": ""}


def item(id: str, **more: object) -> Item:
    fields = {"audio": f"{id}.wav", "question": "What?", "choices": ("dog", "cat"), "gold": "dog"}
    return Item(**{"id": id, **fields, "groups": (("modality", "sound"),), **more})  # type: ignore[arg-type]


def method(name: str, replies: Mapping[str, str], **more: object) -> Outputs:
    """Replies by id as a letter: c correct, w wrong, a abstained, u unparsed, e empty, n none."""
    by_id = {id: Output(id, REPLY.get(letter)) for id, letter in replies.items()}
    return Outputs(**{"name": name, "items": tuple(map(item, replies)), "by_id": by_id, **more})  # type: ignore[arg-type]


def codes(result: Study) -> list[list[int]]:
    return [list(map(int, one.codes)) for one in result.methods]


def test_a_file_is_held_to_the_questions_of_all_files() -> None:
    result = study([method("a", {"1": "c", "2": "w"}), method("b", {"2": "a", "3": "u"})], Grading())
    assert [one.id for one in result.items] == ["1", "2", "3"]
    assert codes(result) == [[C, W, F], [F, A, U]]
    assert result.warnings == (
        "a: 1 questions have no row in it and count as failed",
        "b: 1 questions have no row in it and count as failed",
    )


def test_a_run_with_a_limit_is_held_to_its_own_questions_only() -> None:
    base = method("a", {"1": "c", "2": "w", "3": "c"})
    result = study([base, method("b", {"2": "a"}, fixed_items=True)], Grading())
    assert codes(result) == [[C, W, C], [NOT_ASKED, A, NOT_ASKED]]
    assert paired(*(one.codes for one in result.methods)).tolist() == [False, True, False]
    assert result.warnings == ("b: compared with a on the questions of both; 2 fell out: 2 not asked by b",)


def test_a_file_is_held_to_the_data() -> None:
    universe = [item(id) for id in "1234"]
    result = study([method("a", {"1": "c"}), method("b", {"1": "e", "2": "n"})], Grading(), universe)
    assert codes(result) == [[C, F, F, F], [U, F, F, F]]


def test_seen_clips_leave_n_and_the_pairs() -> None:
    base, lora = method("a", {"1": "c", "2": "w"}), method("lora", {"1": "c", "2": "a"}, excluded=frozenset("1"))
    result = study([base, lora], Grading())
    assert codes(result) == [[C, W], [SEEN, A]]
    assert result.warnings == (
        "lora: 1 questions on clips that it was trained on are outside N",
        "lora: compared with a on the questions of both; 1 fell out: 1 seen in training by lora",
    )


def test_unparsed_and_failed_leave_n_only_when_asked_to() -> None:
    outputs = [method("a", {"1": "c", "2": "u", "3": "n"}), method("b", {"1": "c", "2": "c", "3": "c"})]
    assert codes(study(outputs, Grading())) == [[C, U, F], [C, C, C]]
    result = study(outputs, Grading(leave_out=frozenset({Outcome.UNPARSED, Outcome.FAILED})))
    assert codes(result) == [[C, LEFT_OUT, LEFT_OUT], [C, C, C]]
    assert result.methods[0].left_out[Outcome.FAILED].tolist() == [False, False, True]
    assert "b: compared with a on the questions of both; 2 fell out: 2 left out for a" in result.warnings
    with pytest.raises(UsageError, match="abstained cannot be left out"):
        study(outputs, Grading(leave_out=frozenset({Outcome.ABSTAINED})))


@pytest.mark.parametrize(
    ("other", "what"),
    [({"gold": "cat"}, "gold answer"), ({"choices": ("dog", "cow")}, "choices"), ({"gold": None}, "gold answer")],
)
def test_two_files_that_disagree_on_a_question_are_refused(other: dict[str, object], what: str) -> None:
    outputs = [method("a", {"1": "c"}), method("b", {"1": "c"}, items=(item("1", **other),))]
    with pytest.raises(DataError, match=rf"a and b disagree on the {what} of question '1'"):
        study(outputs, Grading())


def test_a_letter_means_the_order_that_this_method_was_shown() -> None:
    letters = {"1": Output("1", "(b)")}
    shown = (item("1"), item("1", choices=("cat", "dog")))
    outputs = [Outputs(name, (one,), letters) for name, one in zip("ab", shown, strict=True)]
    assert codes(study(outputs, Grading())) == [[W], [C]]


def test_methods_without_a_common_question_are_no_comparison() -> None:
    with pytest.raises(UsageError, match="b and a share no question"):
        study([method("a", {"1": "c"}), method("b", {"2": "c"})], Grading())
    with pytest.raises(UsageError, match="no question to score"):
        study([method("a", {})], Grading())


def test_groups_have_the_datas_words_and_the_papers_order() -> None:
    values = ("speech", "mix-sound-speech", "sound")
    items = tuple(item(str(n), groups=(("modality", value), ("hop", "single"))) for n, value in enumerate(values))
    result = study([Outputs("a", items, {})], Grading())
    assert list(result.groups) == ["total", "sound", "speech", "mix-sound-speech", "hop:single"]
    assert result.groups["sound"].tolist() == [2]


def test_a_dimension_that_one_file_lacks_comes_from_the_other() -> None:
    poor, rich = item("1", groups=()), item("1", groups=(("modality", "music"),))
    result = study([Outputs("a", (poor,), {}), Outputs("b", (rich,), {})], Grading())
    assert "music" in result.groups


def test_clips_are_known_by_content_where_anyone_looked() -> None:
    items = (item("1"), item("2"), item("3"), item("4", audio="3.wav"), item("5", audio="1.wav"))
    base = Outputs("a", items, {})
    hashed = {id: Output(id, "dog", audio_sha256="same") for id in "12"}
    assert study([base], Grading()).clips.tolist() == [0, 1, 2, 2, 0]
    assert study([base, Outputs("b", items, hashed)], Grading()).clips.tolist() == [0, 0, 1, 1, 0]


def test_other_recordings_and_other_models_behind_one_name_are_told() -> None:
    def run(name: str, sha256: str, responder: str) -> Outputs:
        facts = {"model": "openai:x", "responder": responder}
        same = {"same": Output("same", "dog", audio_sha256="0"), "silent": Output("silent", "dog")}
        by_id = {**same, "other": Output("other", "dog", audio_sha256=sha256)}
        return Outputs(name, tuple(item(id) for id in by_id), by_id, facts=facts)

    base = run("base", "1", "tiny-1")
    assert study([base, run("idk", "1", "tiny-1")], Grading()).warnings == ()
    assert study([base, run("idk", "2", "tiny-2")], Grading()).warnings == (
        "idk: 1 of 2 questions were asked about another recording than by base, 'other' among them: the figures "
        "compare different clips",
        "idk: the endpoint answered as tiny-2, to base as tiny-1",
    )


def test_confidence_that_is_not_known_stays_unknown() -> None:
    outputs = Outputs("a", (item("1"), item("2")), {"1": Output("1", "dog", confidence=0.0), "2": Output("2", "dog")})
    assert np.isnan(study([outputs], Grading()).methods[0].confidence).tolist() == [False, True]
