import pytest

from lalm_agent.errors import DataError
from lalm_agent.eval.reading.logs import has_key, output_of


@pytest.mark.parametrize("key", ["model_output", "model_prediction", "answer_prediction"])
def test_every_published_key_is_read(key: str) -> None:
    assert output_of({key: "dog"}, "q").text == "dog"
    assert has_key({key: None})


@pytest.mark.parametrize(
    ("row", "text"),
    [
        ({}, None),
        ({"model_output": None}, None),
        ({"model_output": float("nan")}, None),
        ({"model_output": ""}, ""),
        ({"model_output": 4}, "4"),
        ({"model_output": "dog", "model_prediction": "dog"}, "dog"),
        ({"model_output": None, "model_prediction": "dog"}, "dog"),
    ],
)
def test_a_missing_reply_and_an_empty_one_are_two_things(row: dict[str, object], text: str | None) -> None:
    assert output_of(row, "q").text == text


def test_two_keys_that_differ_need_a_decision() -> None:
    row = {"model_output": "dog", "model_prediction": "cat"}
    with pytest.raises(DataError, match="differ") as error:
        output_of(row, "q")
    assert "--reply-key" in str(error.value.hint)
    assert output_of(row, "q", "model_prediction").text == "cat"


def test_a_key_of_ones_own_replaces_the_known_ones() -> None:
    assert output_of({"reply": "dog", "model_output": "cat"}, "q", "reply").text == "dog"
    assert not has_key({"model_output": "cat"}, "reply")


@pytest.mark.parametrize("value", [["dog"], {"text": "dog"}, True])
def test_a_reply_that_is_no_text_is_an_error(value: object) -> None:
    with pytest.raises(DataError, match="model_output"):
        output_of({"model_output": value}, "q")


@pytest.mark.parametrize(("value", "number"), [(0.25, 0.25), ("0.25", 0.25), (1, 1.0), (None, None), ("", None)])
def test_a_confidence_is_a_probability_or_unknown(value: object, number: float | None) -> None:
    assert output_of({"model_output": "dog", "confidence": value}, "q").confidence == number


def test_an_unknown_confidence_is_never_a_number() -> None:
    assert output_of({"confidence": float("nan")}, "q").confidence is None


@pytest.mark.parametrize("value", [1.5, -0.1, "high", True, -3.2])
def test_any_other_confidence_is_an_error(value: object) -> None:
    with pytest.raises(DataError, match="confidence"):
        output_of({"confidence": value}, "q")
