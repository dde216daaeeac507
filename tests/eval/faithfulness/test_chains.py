"""Chains of thought out of replies, and what the interventions on text make of them."""

import json
import random
import re
from collections.abc import Callable
from importlib import resources
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lalm_agent.eval.faithfulness import chains
from lalm_agent.eval.faithfulness.chains import FillerKind, FillerPlace, NoIntervention, chain_of, filler, sentences
from lalm_agent.eval.faithfulness.records import Chain
from lalm_agent.records import Status

CHOICES = ("dog", "cat", "sea lion", "cow")
CHAIN = ("The audio is a sound.", "What is heard is dog barking six times.")


# --- sentences -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "split"),
    [
        ("", ()),
        (" \n ", ()),
        ("One. Two! Three?", ("One.", "Two!", "Three?")),
        ("Dr. Smith speaks, e.g. of 3.5 kHz. He stops.", ("Dr. Smith speaks, e.g. of 3.5 kHz.", "He stops.")),
        ('She says "Stop. Now." and leaves. A door shuts.', ('She says "Stop. Now." and leaves.', "A door shuts.")),
        ("It is loud\nand it is low. It ends.", ("It is loud and it is low.", "It ends.")),
        ("1. It barks.\n2. It growls.", ("1. It barks.", "2. It growls.")),
        ("- It barks.\n- It growls.", ("- It barks.", "- It growls.")),
        ("**Step 1:**\nIt barks.\n**Step 2:**\nIt growls.", ("**Step 1:** It barks.", "**Step 2:** It growls.")),
        ("It barks.\n\n***", ("It barks. ***",)),
        ("音频中有狗叫声。声音很大。", ("音频中有狗叫声。", "声音很大。")),
    ],
)
def test_sentences(text: str, split: tuple[str, ...]) -> None:
    assert sentences(text) == split


PIECES = [
    "a",
    "B",
    "Mr",
    " ",
    ".",
    "?",
    "!",
    '"',
    "'",
    "(",
    ")",
    "1",
    "1.",
    "\n",
    "é",
    "。",
    "∯",
    "&ᓴ&",
    "- ",
    "\t",
    "\\1",
]


@given(st.lists(st.sampled_from(PIECES), max_size=60).map("".join))
def test_sentences_lose_nothing_but_white_space(text: str) -> None:
    assert re.sub(r"\s", "", "".join(sentences(text))) == re.sub(r"\s", "", text)


@pytest.mark.parametrize("piece", ["1. a 2. b ", "i. ", "x", "((( ", "?\n", "a:\n", "- ", "A b. ", '" '])
def test_ugly_texts_of_64_kb_lose_nothing(piece: str) -> None:
    text = piece * (65536 // len(piece))
    assert re.sub(r"\s", "", "".join(sentences(text))) == re.sub(r"\s", "", text)


# --- a chain out of a reply ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("reply", "chain"),
    [
        # As `mini` writes.
        ("The audio is a sound. What is heard is dog barking six times. The answer is dog.", CHAIN),
        ("It is speech. Nobody names a city. The answer is IDK.", ("It is speech.", "Nobody names a city.")),
        # The conclusion may take several sentences, or come to the same by a "therefore" before it.
        ("It barks. Therefore, it is a dog. The final answer is (A) dog", ("It barks.",)),
        ("It barks. Therefore, the most fitting description is: **(A) dog**", ("It barks.",)),
        ("It barks. Therefore it is loud. The answer is dog.", ("It barks.", "Therefore it is loud.")),
        ("It barks. The most fitting sound is: (A) dog. Please think before you respond.", ("It barks.",)),
        ("It barks. So the correct choice is A.\nI am sure of that.", ("It barks.",)),
        ("It barks twice. I would choose the dog.", ("It barks twice.",)),
        # No sentence says that it concludes: the last one is the answer, or the last that names its label.
        ("It barks. The animal is a dog.", ("It barks.",)),
        ("It is loud. This aligns with option (A). The others do not fit.", ("It is loud.",)),
        ("It is loud. This sound matches option A.", ("It is loud.",)),
        ("It barks. So it is a dog. It barks. So it is a dog. It", ("It barks.",)),
        ("It whistles. Thus it must be some bird.", ("It whistles.",)),
        # The answer comes first: what follows it did not lead to it.
        ("A\n\nIt barks. It is loud.", ()),
        ("The answer is dog. It barks.", ()),
        ("dog", ()),
        # Choices that are weighed one by one belong to the reasoning.
        (
            "It barks. Option (A) barks so. Option (B) meows. Option (D) moos. The answer is A.",
            ("It barks.", "Option (A) barks so.", "Option (B) meows.", "Option (D) moos."),
        ),
        ("It barks. The correct answer is not cat. It growls. The answer is dog.",
         ("It barks.", "The correct answer is not cat.", "It growls.")),
        # Wrappers.
        ("<Reasoning>It barks. It growls.</Reasoning><Conclusion>A</Conclusion>", ("It barks.", "It growls.")),
        ("<Reasoning>\nIt barks. So, the correct choice is A.\n</Reasoning>\n<A>", ("It barks.",)),
        ("<Reasoning>It barks.</Reasoning>, <Conclusion>A</Conclusion>", ("It barks.",)),
        (r"It barks. \boxed{A}", ("It barks.",)),
        ("It barks.\n**Conclusion:**\nA", ("It barks.",)),
        ("1. It barks.\n2. It growls.\nAnswer: A", ("1. It barks.", "2. It growls.")),
        # Hidden reasoning is the chain, whatever the visible reply says.
        ("<think>It barks. It growls.</think>It is a dog, I hear it. dog", ("It barks.", "It growls.")),
        ("It barks. A dog, then? The answer is dog. Wait, it purrs.</think>cat",
         ("It barks.", "A dog, then?", "The answer is dog.", "Wait, it purrs.")),
        ("<think>It barks. So the answer is dog.</think>dog", ("It barks.",)),
        # Refusals.
        ("I'm sorry, but I can't hear the clip. Please upload it again.", ()),
        ("It is noisy. I don't know which animal it is.", ("It is noisy.",)),
        ("<Reasoning>There is no audio, so I cannot tell.</Reasoning><Conclusion>-</Conclusion>", ()),
        # Cut off, or without any conclusion.
        ("It is loud. It is low. Therefore, the", ("It is loud.", "It is low.")),
        ("It is loud. It is low.", ("It is loud.", "It is low.")),
        ("", ()),
    ],
)  # fmt: skip
def test_chain_of(reply: str, chain: tuple[str, ...]) -> None:
    found, rest = chain_of(reply, CHOICES)
    assert found == chain
    if "think>" not in reply:
        assert rest == (reply.partition(chain[-1])[2] if chain else reply).strip()


def test_a_choice_of_several_sentences_is_not_cut() -> None:
    choices = ("No. She speaks with an accent.", "Yes. She speaks it well.")
    reply = "She speaks English. Therefore, the correct answer is: (A) No. She speaks with an accent."
    assert chain_of(reply, choices)[0] == ("She speaks English.",)


def test_reasoning_that_comes_apart_is_the_chain_and_the_reply_the_rest() -> None:
    assert chain_of(" dog ", CHOICES, "It barks.\nIt growls.") == (("It barks.", "It growls."), " dog ")


def test_the_chain_of_an_open_question() -> None:
    assert chain_of("A man speaks. He is calm. The answer is Oslo.", ()) == (
        ("A man speaks.", "He is calm."),
        "The answer is Oslo.",
    )


def test_the_last_sentence_of_a_chain_may_hold_line_breaks() -> None:
    assert chain_of("It is loud,\n  and it barks. The answer is dog.", CHOICES)[1] == "The answer is dog."


def test_real_replies(shared_data: Path) -> None:
    rows = [json.loads(line) for line in (shared_data / "replies" / "replies.jsonl").read_text("utf-8").splitlines()]
    thought = [row for row in rows if row["prompt"].startswith("chain of thought")]
    with_chain = without_conclusion = 0
    for row in thought:
        chain, rest = chain_of(row["reply"], tuple(row["choices"]))
        with_chain += bool(chain)
        without_conclusion += row["label"] == "choice" and not rest
        assert not any(re.search(r"(?i)\b(?:correct|final) answer is\b", sentence) for sentence in chain)
    assert with_chain > 0.8 * len(thought)
    # Replies that name a choice on the way and conclude nothing.
    assert without_conclusion < 0.01 * len(thought)


# --- interventions ---------------------------------------------------------------------------------------------------


def test_early() -> None:
    assert [chains.early(CHAIN, k) for k in range(3)] == [(), CHAIN[:1], CHAIN]
    for k in (-1, 3):
        with pytest.raises(ValueError, match="no first"):
            chains.early(CHAIN, k)


def test_with_cue() -> None:
    assert chains.with_cue(chains.joined(CHAIN)) == " ".join((*CHAIN, "The answer is"))
    assert chains.with_cue("") == "The answer is"


def test_mistaken_and_paraphrased() -> None:
    assert chains.mistaken(CHAIN, 2, "A cat.") == (CHAIN[0], "A cat.")
    assert chains.paraphrased(CHAIN, 1, ("It is a sound.", "Unused.")) == ("It is a sound.", CHAIN[1])
    for k in (0, 3):
        with pytest.raises(ValueError, match="chain of 2"):
            chains.mistaken(CHAIN, k, "A cat.")
    with pytest.raises(ValueError, match="1 rewordings for 2"):
        chains.paraphrased(CHAIN, 2, ("It is a sound.",))


@pytest.fixture(scope="module")
def mini_tokens() -> Callable[[str], int]:
    from transformers import AutoTokenizer

    with resources.as_file(resources.files("lalm_agent.models.mini")) as folder:
        tokenizer: Any = AutoTokenizer.from_pretrained(folder)
    return lambda text: len(tokenizer(text, add_special_tokens=False)["input_ids"])


def words(text: str) -> int:
    return len(text.split())


def pairs_of_letters(text: str) -> int:
    """A made tokenizer: a token is a space with two letters, or two letters, or one."""
    return len(re.findall(r" ?\S{1,2}|\s", text))


@pytest.mark.parametrize("where", FillerPlace)
@pytest.mark.parametrize("kind", FillerKind)
@pytest.mark.parametrize("share", [0.25, 0.5, 0.75, 1.0])
def test_filler_has_exactly_as_many_tokens(
    where: FillerPlace, kind: FillerKind, share: float, mini_tokens: Callable[[str], int]
) -> None:
    for tokens_of in (words, pairs_of_letters, mini_tokens):
        for seed in range(3):
            text = filler(CHAIN, share, where, kind, tokens_of, seed)
            assert tokens_of(chains.with_cue(text)) == tokens_of(chains.with_cue(chains.joined(CHAIN)))
            assert text == filler(CHAIN, share, where, kind, tokens_of, seed)
            own = chains.joined(CHAIN).split()
            kept = [word for word in text.split() if word in own]
            assert len(kept) == (0 if where is FillerPlace.WHOLE else len(own) - round(share * len(own)))


def test_where_filler_stands() -> None:
    dots = FillerKind.DOTS
    assert filler(CHAIN, 0.25, FillerPlace.HEAD, dots, words) == "... ... ... a sound. " + CHAIN[1]
    assert filler(CHAIN, 0.25, FillerPlace.TAIL, dots, words) == CHAIN[0] + " What is heard is dog ... ... ..."
    assert filler(CHAIN, 0.25, FillerPlace.WHOLE, dots, words) == " ".join(["..."] * 13)
    random_parts = {filler(CHAIN, 0.5, FillerPlace.RANDOM, dots, words, seed) for seed in range(5)}
    assert len(random_parts) > 1


@given(st.integers(0, 99), st.sampled_from([0.25, 0.5, 0.75]))
def test_words_between_random_filler_keep_their_place(seed: int, share: float) -> None:
    text = filler(CHAIN, share, FillerPlace.RANDOM, FillerKind.DOTS, pairs_of_letters, seed)
    old, new = chains.joined(CHAIN).split(), text.split()
    starts = []
    for word in (word for word in old if new.count(word) == 1 == old.count(word)):
        starts.append([pairs_of_letters(" ".join(part[: part.index(word)])) for part in (old, new)])
    assert [before for before, _ in starts] == [after for _, after in starts]


def test_filler_that_does_not_exist_is_refused_with_the_reason() -> None:
    own = set(chains.with_cue(chains.joined(CHAIN)).split())

    def doubled(text: str) -> int:
        """Every strange word is two tokens, so that one word cannot be replaced."""
        return sum(1 if word in own else 2 for word in text.split())

    with pytest.raises(NoIntervention, match=r"no filler of dots has as many tokens as 'The'"):
        filler(CHAIN, 0.01, FillerPlace.HEAD, FillerKind.DOTS, doubled)
    with pytest.raises(NoIntervention, match="empty"):
        filler((), 0.5, FillerPlace.HEAD, FillerKind.DOTS, words)
    for share in (0, 1.01):
        with pytest.raises(ValueError, match="share"):
            filler(CHAIN, share, FillerPlace.HEAD, FillerKind.DOTS, words)


@pytest.mark.parametrize(
    ("output", "text"),
    [
        ("A cat meows.", "A cat meows."),
        ('"A cat meows."\n', "A cat meows."),
        ("Here is the new sentence:\n**A cat meows.**\nI changed the animal.", "A cat meows."),
        ("New sentence: A cat meows.", "A cat meows."),
        ("<think>I change the animal.</think>A cat meows.", "A cat meows."),
    ],
)
def test_what_a_perturber_made(output: str, text: str) -> None:
    assert chains.perturbation("A dog barks.", output) == text


@pytest.mark.parametrize(
    ("output", "reason"),
    [
        ("", "nothing"),
        ('""', "nothing"),
        ("<think>hm", "nothing"),
        ("a dog barks", "changed nothing"),
        ("I'm sorry, but I can't help with that.", "refused"),
    ],
)
def test_a_perturbation_that_failed(output: str, reason: str) -> None:
    with pytest.raises(NoIntervention, match=reason):
        chains.perturbation("A dog barks.", output)


@given(st.lists(st.sampled_from("abc"), min_size=2, max_size=5).map(tuple), st.integers(0, 50))
def test_shuffled_is_another_order(chain: tuple[str, ...], seed: int) -> None:
    if len(set(chain)) < 2:
        with pytest.raises(NoIntervention, match="two different"):
            chains.shuffled(chain, seed)
        return
    order = chains.shuffled(chain, seed)
    assert order != chain
    assert sorted(order) == sorted(chain)
    assert order == chains.shuffled(chain, seed)


def chain(question: str, *parts: str, clip: str | None = None) -> Chain:
    return Chain(question=question, sentences=parts, reply="", status=Status.ANSWERED, choice=0, clip=clip)


def test_each_question_gets_another_s_chain() -> None:
    draw = random.Random(3)
    all_chains = [
        chain(f"q{i}", *(f"{i} {draw.random()}" for _ in range(draw.randint(0, 4))), clip=f"c{i // 2}")
        for i in range(60)
    ]
    choices = {one.question: 2 + i % 3 for i, one in enumerate(all_chains)}
    by_question = {one.question: one for one in all_chains}
    others = chains.other_chains(all_chains, choices, seed=1)
    assert others == chains.other_chains(all_chains[::-1], choices, seed=1)
    assert others != chains.other_chains(all_chains, choices, seed=2)
    assert list(others) == list(by_question)
    pairs = {one: by_question[other] for one, other in others.items() if other is not None}
    assert sorted(pairs) == sorted(one.question for one in all_chains if one.sentences)
    assert len({other.question for other in pairs.values()}) == len(pairs)
    for question, other in pairs.items():
        assert other.sentences != by_question[question].sentences
        assert choices[other.question] == choices[question]
        assert other.clip != by_question[question].clip
    same_length = sum(len(other.sentences) == len(by_question[one].sentences) for one, other in pairs.items())
    assert same_length > 0.9 * len(pairs)


def test_a_chain_that_says_the_same_is_no_other_chain() -> None:
    alike = [chain("a", "It barks."), chain("b", "it barks."), chain("c", "It purrs."), chain("d", "It moos.")]
    others = chains.other_chains(alike, dict.fromkeys("abcd", 4))
    assert {others["a"], others["b"]} == {"c", "d"}
    assert {others["c"], others["d"]} == {"a", "b"}
    assert chains.other_chains(alike[:2], {"a": 4, "b": 4}) == {"a": None, "b": None}
    assert chains.other_chains([alike[0], alike[2]], {"a": 4, "c": 2}) == {"a": None, "c": None}
