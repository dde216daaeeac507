"""Questions that should be refused, made of others: what each family changes, and what it must not leave true."""

from collections import Counter
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lalm_agent.answers import parse, same_text
from lalm_agent.errors import UsageError
from lalm_agent.eval.benchmarks import load_benchmark
from lalm_agent.eval.benchmarks.probe import FAMILIES, MAKERS, Pool, Probe, make_probes, read_families, unfit_for
from lalm_agent.eval.items import Item
from lalm_agent.records import Status

WHICH, WHO = "Which animal is it?", "What is his job?"


def item(id_: str, gold: str | None, *wrong: str, question: str = WHICH, **groups: str) -> Item:
    choices = (*wrong[:1], *([gold] if gold else []), *wrong[1:])
    groups = {"modality": "sound", **groups}
    return Item(id_, f"{id_}.wav", question, choices, gold, tuple(groups.items()), content=f"all of {id_}")


CAT = item("cat", "cat", "dog", "cow", "pig")
JOB = item("job", "cook", "judge", "nurse", "guard", question=WHO, modality="speech")


def made(family: str, source: Item, *others: Item, missing: frozenset[str] = frozenset()) -> Probe | str:
    return MAKERS[family](source, Pool((source, *others), missing, 0))


def probe(family: str, source: Item, *others: Item) -> Probe:
    result = made(family, source, *others)
    assert isinstance(result, Probe), result
    return result


# --- the families ----------------------------------------------------------------------------------------------------


def test_the_right_choice_is_replaced_in_its_place_by_one_that_is_wrong_for_the_same_answer() -> None:
    result = probe("gold_removed", CAT, item("kitten", "cat", "sheep", "pig"), item("hen", "hen", "crow", "duck"))
    assert result.item.choices == ("dog", "sheep", "cow", "pig")
    assert (result.how, result.donor, result.item.gold) == ("replaced", "kitten", None)
    assert (result.item.audio, result.item.id) == ("cat.wav", "cat#gold_removed")


@pytest.mark.parametrize("same", ["The cat.", "cats"])
def test_a_replacement_is_not_read_as_the_right_choice(same: str) -> None:
    result = probe("gold_removed", CAT, item("kitten", "cat", same, "dog", "cow"))
    assert (result.how, result.item.choices) == ("left out", ("dog", "cow", "pig"))


def test_what_is_wrong_for_another_answer_replaces_nothing() -> None:
    lima = item("es", "Lima", "Bonn", "Oslo", "Rome", question="Where is it spoken?", attribute="Spanish")
    bonn = item("de", "Bonn", "Quito", "Oslo", "Rome", question="Where is it spoken?", attribute="German")
    assert probe("gold_removed", lima, bonn).how == "left out"
    also = item("es2", "Quito", "Graz", "Oslo", "Rome", question="Where is it spoken?", attribute="Spanish")
    assert "Graz" in probe("gold_removed", lima, bonn, also).item.choices


def test_two_choices_are_not_made_one_and_a_doubled_right_choice_goes_twice() -> None:
    assert "fewer than 3" in str(made("gold_removed", item("a", "cat", "dog")))
    doubled = Item("d", "d.wav", WHICH, ("cat", "dog", "cat", "cow", "pig"), "cat")
    assert probe("gold_removed", doubled).item.choices == ("dog", "cow", "pig")


def test_choices_of_another_modality_as_many_where_there_are() -> None:
    few = item("few", "left", "right", question="From which side?", modality="speech")
    result = probe("choices_swapped", CAT, few, JOB)
    assert (result.item.question, result.item.choices) == (WHICH, JOB.choices)
    assert (result.item.audio, result.item.modality, result.donor) == ("cat.wav", "sound", "job")
    assert probe("choices_swapped", CAT, few).how == "another number of choices"


def test_choices_like_its_own_are_not_taken() -> None:
    like = item("like", "judge", "the cats", "nurse", question=WHO, modality="speech")
    assert isinstance(made("choices_swapped", CAT, like), str)


def test_one_modality_lends_choices_on_another_subject_only() -> None:
    near, far = (
        item(name, "red", "blue", "green", question="Which colour?", track=name) for name in ("Animal", "Colour")
    )
    source = item("x", "cat", "dog", "cow", track="Animal")
    assert isinstance(made("choices_swapped", source, near), str)
    assert probe("choices_swapped", source, near, far).donor == "Colour"


def test_a_clip_of_the_same_modality_is_one_for_which_every_choice_is_known_to_be_wrong() -> None:
    hen = item("hen", "hen", "dog", "cat", "cow")
    assert isinstance(made("clip_swapped", CAT, hen), str), "whether the hen's clip holds a pig is not known"
    result = probe("clip_swapped", CAT, hen, item("hen2", "hen", "pig", "owl"))
    assert result.item.audio in ("hen.wav", "hen2.wav")
    assert (result.how, result.item.choices) == ("same modality", CAT.choices)
    # Two answers may be right for one clip: another answer that is none of the choices is no proof.
    tenor = item("t", "tenor", "alto", question="Which voice?", attribute="male")
    mezzo = item("m", "mezzo", "bass", question="Which voice?", attribute="female")
    assert isinstance(made("clip_swapped", tenor, mezzo), str)


def test_a_clip_of_another_modality_brings_what_is_said_about_it() -> None:
    meowing = replace(CAT, groups=(*CAT.groups, ("attribute", "meowing"), ("difficulty", "easy")))
    result = probe("clip_swapped", meowing, replace(JOB, groups=(*JOB.groups, ("difficulty", "hard"))))
    assert (result.item.audio, result.item.content) == ("job.wav", "all of job")
    assert dict(result.item.groups) == {"difficulty": "easy", "modality": "speech"}
    assert (result.item.question, result.item.choices) == (CAT.question, CAT.choices)
    assert isinstance(made("clip_swapped", CAT, item("s", "a cat", "a cow", question=WHO, modality="speech")), str)


@pytest.mark.parametrize("family", ["choices_swapped", "clip_swapped", "wrong_modality"])
def test_a_question_with_a_word_of_the_other_modality_is_of_both(family: str) -> None:
    talks = item("talks", "cat", "dog", "cow", question="Which animal is heard while the man speaks?")
    assert isinstance(made(family, talks, JOB), str)
    assert isinstance(made(family, JOB, talks), str)
    mix = item("mix", "cook", "judge", "nurse", question=WHO, modality="mix-sound-speech")
    assert isinstance(made(family, CAT, mix), str)


def test_a_question_of_another_modality_is_put_to_the_clip() -> None:
    result = probe("wrong_modality", CAT, JOB)
    assert (result.item.question, result.item.choices) == (WHO, JOB.choices)
    assert (result.item.audio, result.item.modality, result.item.content) == ("cat.wav", "sound", "all of cat")
    assert result.item.id == "cat#wrong_modality"
    assert isinstance(made("wrong_modality", CAT, item("s", "pig", "cats", question=WHO, modality="speech")), str)


def test_a_missing_clip_is_not_silenced() -> None:
    result = probe("silenced", CAT)
    assert (result.item.choices, result.item.content) == (CAT.choices, "silence")
    assert isinstance(made("silenced", CAT, missing=frozenset({"cat.wav"})), str)


@pytest.mark.parametrize(
    ("unfit", "said"),
    [
        (item("a", None, "x", "y"), "right answer"),
        (Item("a", "a.wav", WHICH, (), "cat"), "no choices"),
        (item("a", "cat", "dog", question="Which animal is not heard?"), "absent"),
        (item("a", "cat", "dog", question="Which animal isn’t heard?"), "absent"),
        (item("a", "cat", "Silence"), "absent"),
        (item("a", "0", "1"), "absent"),
        (item("a", "cat", "I am unsure."), "refusal"),
        (item("a", "cat", ""), "empty"),
    ],
)
def test_a_question_of_which_no_probe_is_made(unfit: Item, said: str) -> None:
    assert said in str(unfit_for(unfit))
    assert make_probes((unfit, CAT, JOB)).unfit == {unfit_for(unfit): 1}


def test_families_by_name() -> None:
    assert read_families("silenced, gold_removed,silenced") == ("silenced", "gold_removed")
    for text in ("silence", ""):
        with pytest.raises(UsageError):
            read_families(text)


# --- all together ----------------------------------------------------------------------------------------------------


MANY = tuple(
    item(f"{name}{at}", gold, *(word for word in words.split() if word != gold), question=question, modality=modality)
    for name, modality, question, words in (
        ("a", "sound", WHICH, "cat dog cow pig"),
        ("b", "speech", WHO, "cook judge nurse guard"),
    )
    for at, gold in enumerate(words.split() * 5)
)


def test_every_source_once_the_families_in_turn_and_all_by_the_seed() -> None:
    result = make_probes(MANY, seed=3)
    counts = Counter(p.family for p in result.probes)
    assert counts == dict.fromkeys(FAMILIES, 8)
    assert len({p.source.id for p in result.probes}) == len(result.probes) == len(MANY)
    assert {p.family for p in result.probes[:5]} == set(FAMILIES)
    assert make_probes(MANY, seed=3) == result
    assert [p.source.id for p in make_probes(MANY, seed=4).probes] != [p.source.id for p in result.probes]
    assert Counter(p.family for p in make_probes(MANY, ("silenced", "clip_swapped"), 3).probes) == {
        "silenced": 3,
        "clip_swapped": 3,
    }


WORDS = ("cat", "the cat", "Cats", "dog", "a dog barking", "two", "2", "cook", "a cook", "cow", "pig", "red", "No")
ITEMS = st.lists(
    st.tuples(
        st.sampled_from((WHICH, WHO, "How many?")),
        st.lists(st.sampled_from(WORDS), min_size=2, max_size=5, unique=True),
        st.integers(0, 4),
        st.sampled_from(("sound", "music", "speech", "mix-sound-speech")),
        st.sampled_from(("Animal", "Person")),
    ),
    min_size=2,
    max_size=14,
)


@given(ITEMS, st.integers(0, 3))
def test_where_the_clip_stays_its_answer_is_no_choice(
    rows: list[tuple[str, list[str], int, str, str]], seed: int
) -> None:
    items = tuple(
        Item(str(n), f"{n // 2}.wav", question, tuple(choices), choices[gold % len(choices)], groups)
        for n, (question, choices, gold, modality, track) in enumerate(rows)
        for groups in [(("modality", modality), ("track", track))]
    )
    result = make_probes(items, seed=seed)
    assert len({each.source.id for each in result.probes}) == len(result.probes)
    for made_probe in result.probes:
        source, new = made_probe.source, made_probe.item
        assert (source.answerable, new.answerable) == (True, False)
        assert len(set(new.choices)) > 1
        if made_probe.family in ("gold_removed", "choices_swapped", "wrong_modality"):
            assert new.audio == source.audio
            assert not any(same_text(choice, source.gold or "") for choice in new.choices)
            added = [choice for choice in new.choices if choice not in source.choices]
            assert not any(parse(choice, (source.gold or "",)).status is Status.ANSWERED for choice in added)
        if made_probe.family == "clip_swapped":
            assert new.audio != source.audio
            assert (new.question, new.choices) == (source.question, source.choices)


def test_sakura_and_mmau_give_every_family_that_their_clips_allow(shared_data: Path) -> None:
    sakura = load_benchmark("sakura", shared_data / "sakura")
    probes = make_probes(sakura.items).probes
    assert min(Counter(p.family for p in probes).values()) > 300
    language = [p for p in probes if p.how == "same modality" and dict(p.item.groups)["track"] == "Language"]
    heard = {item.audio: dict(item.groups)["attribute"] for item in sakura.items}
    spoken = [p for p in language if dict(p.item.groups)["hop"] == "single"]
    assert spoken
    assert not any(heard[p.item.audio] in p.item.choices for p in spoken)
    mmau = load_benchmark("mmau", shared_data / "mmau")
    counts = Counter(p.family for p in make_probes(mmau.items, missing={item.audio for item in mmau.items}).probes)
    assert counts.keys() == set(FAMILIES) - {"silenced"}
    assert min(counts.values()) > 200
