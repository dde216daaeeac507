"""Published data files, known by their SHA-256: figures of two versions of a file are not comparable."""

_SAKURA = "SAKURA, github.com/ckyang1124/SAKURA at a1fdb14e"
_SAKURA_PART = (
    "SAKURA, a subset of 834 of the 2,000 clips as FLAC, drawn from github.com/ckyang1124/SAKURA at a1fdb14e: "
    "not comparable with published figures"
)

KNOWN: dict[str, str] = {
    "9f18fda99f8dbc2bc5ecd6323fb5063309f54969810b5c6f1caeb3b8d904cf1c": (
        "MMAU test-mini v05.15.25; the paper used an earlier file"
    ),
    "1c9a343e7bebf1037482b935c54eacd43cc63df7b2c668724b5560caf1f84fad": (
        "MMAR-meta.jsonl, github.com/ddlBoJack/MMAR at 3bce090a"
    ),
    "bb8c25eff0aa82b1d451c880b858cd2cd27f3e1549f86de531b22adebb8b0d2c": _SAKURA,
    "914c511ff75c2150c821f37178ffb11a38288e3c91c0d48d3f06f8e189413078": _SAKURA,
    "6af9166b29a93193e7c01aca4087a49e323c058f0f440f68e2f8592517605632": _SAKURA,
    "4fbc78c259139428cf94068645bb0806c07481cd63764a882c67f46e8a4a22b5": _SAKURA,
    "b4df68e96d25cae5f30f984ea9d9c7e38b4cf53d98abb973bd3a781d1c0a1bab": _SAKURA,
    "3ebe06357b186a1704aac3a2899567190f7f5b6aec17ba862e964444f43b44b2": _SAKURA,
    "db4db2e0be892baa6bf903287cc507a41af174116005a4b17275c94ad4f46647": _SAKURA,
    "c90091cc799415e61b574043b3b7e3defbc9a1f3dc090f1942520e5e09cff8ad": _SAKURA,
    "8c6a045f7c1f2d58186b9d45a0857250b2050c04bc315de2effa61c9a9fedc96": _SAKURA_PART,
    "b5414a5a84e16666092ac42567d7bcd42fc54d959683789e008a5df9bd5d2d24": _SAKURA_PART,
    "e3fa9fc6f9f0b28cd51e11054cae1564a335f57baa3ccdc8d2db32b63ae6ae9e": _SAKURA_PART,
    "cc248d0c687da460b529f451cc36201dbcc5b52d0be8c35fd3857bb8a8f799a5": _SAKURA_PART,
    "df13aaed62c072528d9a54f66afad99f855e9f4a980dbf98f2491cc73dc90a40": _SAKURA_PART,
    "f1860655470d03c7bbd1dfb4f4b3f2349d138685748984165d1907205b669f92": _SAKURA_PART,
    "ac6e81acbe9ec26ef7e6dbb03ccb66d2d6bf957ecbb6562ba41e5b83b25aad56": _SAKURA_PART,
    "377fe1f7a860cb72b5230a93ef1c41a3cd20f8b10ae2d4156317db2302bdff22": _SAKURA_PART,
}
"""Hexadecimal SHA-256 of a file's bytes -> what it is known as. SAKURA has a csv and a json for each track."""


def version_of(hashes: list[str]) -> str | None:
    """What a benchmark of these files is known as; None unless all of them are known as the same thing."""
    names = {KNOWN.get(sha256) for sha256 in hashes}
    return names.pop() if len(names) == 1 else None
