"""Hand-made reports of a transfer study and of the methods."""

from collections.abc import Callable

import pytest

from lalm_agent.eval.runs.records import DataIdentity
from lalm_agent.training.lora.recipe import Recipe
from lalm_agent.training.transfer.design import SOURCES, Arm, Labels, StudyIdentity, StudySpec
from lalm_agent.training.transfer.schema import (
    Cell,
    CellFigures,
    ContentRow,
    Mean,
    RgiMean,
    StudyReport,
    TransferClaim,
)

PAIRS = [(source, target) for source in SOURCES for target in SOURCES if source != target]


def mean(value: float) -> Mean:
    return Mean(value=value, low=value - 0.01, high=value + 0.01)


def rgi(value: float) -> dict[str, RgiMean]:
    mean_rgi = RgiMean(
        d_con=mean(0.1),
        d_hum=mean(0.2),
        value=value,
        kind="finite",
        low=value - 0.1,
        low_kind="finite",
        high=None,
        high_kind="+inf",
        undefined_share=0.0,
        by_seed=(value,),
        kinds=("finite",),
        pooled=value,
        pooled_kind="finite",
    )
    return {name: mean_rgi for name in ("strict", "equation", "table")}


def cell(source: str, target: str, rej: float, strict: float) -> Cell:
    figures = CellFigures(
        acc=mean(0.5),
        tru=mean(0.6),
        rej=mean(rej),
        rel=mean(0.55),
        rel_minus_null=mean(0.0),
        coverage=mean(1 - rej),
        acc_answered=mean(0.5),
        rgi=rgi(strict),
        n_refused=(10, 10, 10),
        n_unparsed=(0, 0, 0),
        n_failed=(0, 0, 0),
        null_p=(0.5, 0.5, 0.5),
        null_p_combined=1.0,
        matched=None,
        n_unanswerable=0,
        refused_unanswerable=None,
    )
    runs = tuple(f"runs/{source}-kn-{seed}" for seed in range(3))
    return Cell(
        source=source,
        arm=str(Arm.KN),
        target=target,
        n=500,
        n_clips=500,
        excluded=0,
        seeds=(0, 1, 2),
        runs=runs,
        blank=None,
        figures=figures,
    )


def claim(source: str, target: str, p: float | None, claimed: bool, beats: bool | None = False) -> TransferClaim:
    return TransferClaim(
        source=source,
        target=target,
        claimed=claimed,
        text="transfer claimed: yes" if claimed else "not claimed: the controls are not there",
        p=p,
        p_holm=p,
        contrasts=(),
        null_p_combined=None,
        beats_matched_coverage=beats,
    )


def spec(seeds: tuple[int, ...] = (0, 1, 2), tried: int | None = 4) -> StudySpec:
    labels = Labels(
        run="b" * 16,
        bank_sha256="c" * 64,
        k=5,
        n=5,
        rule="kn",
        share=None,
        target="gold",
        refusals="fixed",
        scorer="rule",
        hold_out=0.2,
        rows=None,
    )
    identity = StudyIdentity(
        model="mini",
        revision=None,
        weights_sha256="a" * 64,
        labels=labels,
        data=DataIdentity(name="synth", sha256="d" * 64),
        own_data=False,
        preset="mini",
        recipe=Recipe(),
        arms=tuple(Arm),
        max_new_tokens=64,
    )
    return StudySpec(
        schema=1,
        study_id=identity.short_hash,
        created="2026-01-31T10:00:00+00:00",
        identity=identity,
        seeds=seeds,
        limit=None,
        also={},
        forgetting=0,
        tried=tried,
        sessions=(),
    )


Make = Callable[..., StudyReport]


@pytest.fixture
def study_of() -> Make:
    """A report: claimed pairs, p by pair (0.5 where none is given), seeds."""

    def make(
        claimed: tuple[tuple[str, str], ...] = (),
        p: dict[tuple[str, str], float | None] | None = None,
        seeds: tuple[int, ...] = (0, 1, 2),
        beats: bool | None = False,
    ) -> StudyReport:
        values = p or {}
        claims = tuple(
            claim(*pair, values.get(pair, 0.01 if pair in claimed else 0.5), pair in claimed, beats) for pair in PAIRS
        )
        cells = tuple(
            cell(source, target, 0.6 if source == target else 0.1, 0.4 if source == target else 0.2)
            for source in SOURCES
            for target in SOURCES
        )
        content = tuple(
            ContentRow(
                target=target,
                arm=str(Arm.KN),
                sources=tuple(source for source in SOURCES if source != target),
                n=500 if target != "total" else 1500,
                acc=mean(0.51),
                tru=mean(0.62),
                rel=mean(0.58),
                rgi=rgi(0.33),
            )
            for target in (*SOURCES, "total")
        )
        return StudyReport(
            schema=1,
            study=spec(seeds),
            resamples=2000,
            seed=0,
            level=0.95,
            scorer="rule",
            baseline_run="runs/baseline",
            baseline=(),
            cells=cells,
            claims=claims,
            content=content,
            sets=(),
        )

    return make
