"""What published scripts make of a reply, refusals above all, beside what is made of it here."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from lalm_agent.cli.main import run
from lalm_agent.eval.constraints import follows
from lalm_agent.eval.grade import OUTCOMES, Output, Outputs, grade
from lalm_agent.eval.items import Item
from lalm_agent.eval.report.rescore import rescoring_lines
from lalm_agent.eval.scorers import make_scorer, nearest, published
from lalm_agent.eval.scorers.nearest import Embedder, NearestOption, load_embedder
from lalm_agent.eval.scoring.rescoring import rescore

C, W, A, U, F = OUTCOMES
FOUR = ("dog", "cat", "cow", "frog")
ITEM = Item("q", "", "Which animal?", FOUR, "cat")
DONT_KNOW = "I don't know."


def original(name: str, text: str | None, item: Item = ITEM) -> tuple[str, float | None]:
    made = published.BY_NAME[name]().original(item, text)
    return made.words, made.credit


@pytest.mark.parametrize(
    ("name", "text", "words", "credit"),
    [
        *((name, DONT_KNOW, "wrong", 0.0) for name in ("mmau", "mmar", "aqua")),
        *((name, DONT_KNOW, "random letter", 0.25) for name in ("lmms", "lmms-mmar", "voicebench")),
        ("evalscope", DONT_KNOW, "first choice", 0.0),
        *((name, DONT_KNOW, "dropped", None) for name in ("mmsu", "air-bench")),
        # The shorter "IDK" has a D before its last letter, and "Cannot …" begins with a C.
        *((name, "IDK", "letter D", 0.0) for name in ("mmsu", "air-bench")),
        ("mmsu", "Cannot be determined", "letter C", 0.0),
        ("aqua", "Unable to tell", "wrong", 0.0),
        *((name, "", "wrong", 0.0) for name in ("mmau", "mmsu", "aqua")),
        ("air-bench", "", "dropped", None),
        ("voicebench", "", "random letter", 0.25),
        *((name, None, "dropped", None) for name in ("mmau", "mmar")),
    ],
)
def test_what_a_refusal_or_nothing_counts_as(name: str, text: str | None, words: str, credit: float | None) -> None:
    assert original(name, text) == (words, credit)
    assert make_scorer(name)([ITEM], [text])[0].outcome in (A, U, F)


@pytest.mark.parametrize(
    ("name", "text", "words"),
    [
        ("mmsu", "B", "letter B"),
        ("mmsu", " B. cat\n", "letter B"),
        ("mmsu", "The answer is B.", "letter B"),
        ("mmsu", "The answer is cat", "dropped"),
        ("mmsu", "x", "dropped"),
        ("mmsu", "b", "dropped"),
        ("evalscope", "…\nanswer: b", "letter B"),
        ("evalscope", "(B) cat", "letter B"),
        ("evalscope", "cat", "first choice"),
        ("voicebench", "The answer is B", "letter B"),
        ("voicebench", "b) cat", "letter B"),
        ("voicebench", "I would choose option **B**.", "letter B"),
        ("voicebench", "cat", "random letter"),
        ("aqua", "(b) cat", "letter B"),
        ("aqua", "… therefore the answer is (b)", "letter B"),  # "therefore" ends in an e, which is no choice of four
        ("aqua", "it is loud: cow", "letter D"),  # "loud" ends in a d
        ("aqua", "Frogs sing frog.", "letter D"),
    ],
)
def test_the_letters_that_are_read(name: str, text: str, words: str) -> None:
    assert original(name, text)[0] == words


def test_a_refusal_of_five_choices_is_none_of_the_above_by_aqua() -> None:
    item = Item("q", "", "Which?", (*FOUR, "None of the above"), "None of the above")
    assert original("aqua", "I am unable to tell.", item) == ("letter E", 1.0)
    assert make_scorer("aqua")([item], ["I am unable to tell."])[0].outcome is A


def test_rescore_prints_the_figure_as_published_beside_ours() -> None:
    replies = ["B", "B", DONT_KNOW, "something", "A"]
    items = tuple(Item(str(n), "", "Which?", FOUR, "cat") for n in range(5))
    outputs = Outputs("run", items, {str(n): Output(str(n), reply) for n, reply in enumerate(replies)})
    result = rescore(outputs, [make_scorer("mmsu"), make_scorer("lmms"), make_scorer("rule")])
    mmsu, lmms, rule = result.scorers
    assert (mmsu.acc, mmsu.counts[A]) == (2 / 5, 1)
    assert mmsu.as_published == (pytest.approx(2 / 3), 3)  # two replies left the denominator
    assert lmms.as_published == (pytest.approx((2 + 2 * 0.25) / 5), 5)
    assert rule.as_published is None
    assert "as published, mmsu: 66.7 % of 3 questions" in "\n".join(rescoring_lines(result, {}, False))


# --- MMAU-Pro --------------------------------------------------------------------------------------------------------


def letters(texts: Any) -> NDArray[np.floating]:
    """How often each letter stands in a text."""
    return np.array([[text.lower().count(chr(97 + n)) for n in range(26)] for text in texts], dtype=float)


def test_the_nearest_choice_answers_for_a_refusal_as_published_only() -> None:
    scorer = NearestOption(Embedder("letters", letters))
    grades = scorer([ITEM] * 4, ["a cat, I think", DONT_KNOW, "", None])
    assert [(g.outcome, g.rule) for g in grades] == [(C, "nearest"), (A, "refusal"), (U, "empty"), (F, "no_reply")]
    assert scorer.name == "mmau-pro:letters"
    for text in (DONT_KNOW, "", None):
        assert scorer.original(ITEM, text).words == "nearest choice"
    right = Item("q", "", "Which?", ("dog", "I do not know"), "I do not know")
    assert scorer.original(right, DONT_KNOW).credit == 1.0


def test_open_questions_are_the_parsers_and_instructions_their_rules() -> None:
    free = Item("o", "", "What is heard?", (), "a dog and a bell")
    rule = json.dumps({"task_identifier": "Number Words (at most)", "kwargs": {"N": 3}})
    obey = Item("i", "", "Describe it in three words at most.", (), "Number Words (at most)", constraint=rule)
    scorer = NearestOption(Embedder("letters", letters))
    grades = scorer(
        [free, free, obey, obey, obey], ["A dog and a bell.", "a bell", "a loud bell", "a very loud bell", "IDK"]
    )
    assert [g.outcome for g in grades] == [C, W, C, W, A]
    assert scorer.original(free, "a bell").credit is None
    assert scorer.original(obey, "a loud bell").credit == 1.0
    assert grade(obey, "a loud bell").rule == "constraint"


@pytest.mark.parametrize(
    ("name", "arguments", "right", "wrong"),
    [
        ("Include Keywords", {"keywords": "dog, bell"}, "A DOG and a bell", "a dog"),
        ("Forbidden Words", {"forbidden_words": "dog, bell"}, "a cat", "a doghouse"),
        ("Keyword Frequency", {"keyword": "dog", "N": 2}, "dog, dog, dogs", "dog"),
        ("Number Paragraphs", {"N": 2}, "one *** two", "one"),
        ("Number Words (at least)", {"N": 2}, "two words", "one"),
        ("Number Words (range)", {"N1": 2, "N2": 3}, "two words", "one two three four"),
        ("Number Sentences (at most)", {"N": 1}, "One sentence.", "One. And two."),
        ("Number Sentences (at least)", {"N": 2}, "One sentence. And two.", "One."),
        ("All-capital Words (at most)", {"N": 1}, "a DOG", "A DOG"),
        ("Number Placeholder", {"N": 1}, "at [place]", "at place"),
        ("Number Bullets", {"N": 2}, "* a\n* b", "* a"),
        ("Minimum Number Highlighted Section", {"N": 1}, "a *loud* dog", "a loud dog"),
        ("Multiple Sections", {"N": 2, "section_splitter": "Part"}, "Part one Part two", "one"),
        ("Postscript", {"postscript_marker": "P.S."}, "dog. P.S. cat", "dog"),
        ("Title", {}, "<<Dogs>> bark", "Dogs bark"),
        ("Repeat Prompt", {}, "what barks? A dog", "A dog"),
        ("Two Responses", {}, "a dog ****** a cat", "a dog ****** A dog"),
        ("All Uppercase", {}, "A DOG", "a dog"),
        ("All Lowercase", {}, "a dog", "A dog"),
        ("Start Checker", {"start_phrase": "Well,"}, "well a dog", "a dog"),
        ("End Checker", {"end_phrase": "the end."}, "a dog. The end", "a dog"),
        ("Quotation", {}, '"a dog"', "a dog"),
        ("No Commas", {}, "a dog and a cat", "a dog, a cat"),
    ],
)
def test_each_instruction(name: str, arguments: dict[str, Any], right: str, wrong: str) -> None:
    constraint = json.dumps({"task_identifier": name, "kwargs": arguments | {"unused": None}})
    assert follows(constraint, "What barks?", right)
    assert not follows(constraint, "What barks?", wrong)


def test_an_unknown_instruction_is_never_followed() -> None:
    assert not follows(json.dumps({"task_identifier": "Sing", "kwargs": None}), "", "la")


@pytest.fixture
def bert(tmp_path: Path) -> Path:
    """A tiny text encoder with random weights."""
    import torch
    from transformers import BertConfig, BertModel, BertTokenizerFast

    torch.manual_seed(0)
    words = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *FOUR, "a", "the"]
    (tmp_path / "vocab.txt").write_text("\n".join(words))
    BertTokenizerFast(str(tmp_path / "vocab.txt")).save_pretrained(tmp_path)
    sizes = {"hidden_size": 8, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 8}
    BertModel(BertConfig(vocab_size=len(words), **sizes, max_position_embeddings=16)).save_pretrained(tmp_path)
    return tmp_path


def test_an_encoder_of_transformers_embeds_in_batches_as_alone(bert: Path) -> None:
    embedder = load_embedder(str(bert), "cpu")
    together = embedder.embed([*FOUR, "the cat the cat the cat", ""])
    assert together.shape == (6, 8)
    np.testing.assert_allclose(together[1], embedder.embed(["cat"])[0], atol=1e-5)


def test_the_command_takes_an_embedder(bert: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    row = {
        "id": "q",
        "audio": "x.wav",
        "question": "Which?",
        "choices": list(FOUR),
        "answer": "cat",
        "model_output": "cat",
    }
    file = tmp_path / "replies.jsonl"
    file.write_text(json.dumps(row))
    assert run(["rescore", str(file), "--with", f"rule,mmau-pro:{bert}", "--json"]) == 0
    scorers = json.loads(capsys.readouterr().out)["scorers"]
    assert [scorer["acc"] for scorer in scorers] == [1.0, 1.0]
    assert run(["rescore", str(file), "--with", f"mmau-pro:{tmp_path / 'nothing'}"]) == 2
    assert "no embeddings by" in capsys.readouterr().err


def test_a_model_with_an_encode_of_its_own_is_asked_by_it(monkeypatch: pytest.MonkeyPatch) -> None:
    import torch
    import transformers

    calls: list[Any] = []

    class Encoder:
        def to(self, place: str) -> "Encoder":
            return self

        def eval(self) -> "Encoder":
            return self

        def encode(self, texts: list[str], instruction: str, max_length: int) -> Any:
            calls.append((texts, instruction, max_length))
            return torch.ones(len(texts), 2)

    monkeypatch.setattr(transformers.AutoModel, "from_pretrained", lambda *args, **kwargs: Encoder())
    assert load_embedder("nvidia/NV-Embed-v2").embed(["a", "b"]).shape == (2, 2)
    assert calls == [(["a", "b"], "", nearest.MAX_TOKENS)]


@pytest.mark.parametrize("name", sorted(published.BY_NAME))
def test_open_questions_and_more_choices_than_letters_are_graded(name: str) -> None:
    many = tuple(f"number {n}" for n in range(30))
    for item in (Item("q", "", "Which?", many, many[28]), Item("o", "", "Which?", (), "a dog")):
        for text in (many[28], "zzz", "", None):
            assert make_scorer(name)([item], [text])[0].outcome in OUTCOMES
            assert original(name, text, item)[0]


def test_half_a_character_in_a_reply_is_counted_as_one() -> None:
    constraint = json.dumps({"task_identifier": "Number Sentences (at most)", "kwargs": {"N": 1}})
    assert follows(constraint, "", "One \ud800 sentence.")
