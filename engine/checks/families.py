"""The laws of families."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from multiprocessing.reduction import ForkingPickler

import numpy as np

from engine.artifact import Artifact
from engine.checks.artifacts import artifact_checks
from engine.data import Dataset
from engine.errors import FamilyError
from engine.family import Blending, Family
from engine.shares import blend_of
from engine.space import Candidate

__all__ = ["family_checks"]

FIDELITY = 0.05  # enough for a file; the laws hold for bad models too
SHARES = 0.75, 0.25  # of a mean
TOLERANCE = 1e-4


def family_checks() -> Iterator[tuple[str, Callable[[Family, Dataset], None]]]:
    """Yield the name and the function of each check; a function takes a family and data that it was made for."""
    yield "canonical_stays_inside_the_space", check_canonical_stays_inside_the_space
    yield "canonical_is_idempotent", check_canonical_is_idempotent
    yield "twins_have_one_size", check_twins_have_one_size
    yield "survives_the_way_to_a_worker", check_survives_the_way_to_a_worker
    yield "builds_the_size_it_promised", check_builds_the_size_it_promised
    yield "builds_the_same_file_again", check_builds_the_same_file_again
    yield "builds_good_artifacts", check_builds_good_artifacts
    yield "stops_when_told_to", check_stops_when_told_to
    yield "finishes_within_the_limit", check_finishes_within_the_limit
    yield "joins_files_to_their_mean", check_joins_files_to_their_mean


def check_canonical_stays_inside_the_space(family: Family, data: Dataset) -> None:  # noqa: ARG001
    """Random candidates, their neighbours, children and canonical forms lie in the space, and so does the portfolio."""
    for candidate in family.portfolio:
        family.space.check(candidate)
    rng = np.random.default_rng(1)
    for first, second in zip(_candidates(family, 50), _candidates(family, 50, seed=2), strict=True):
        for candidate in (first, family.space.mutate(first, rng, genes=2), family.space.cross(first, second, rng)):
            family.space.check(candidate)
            family.space.check(family.canonical(candidate))


def check_canonical_is_idempotent(family: Family, data: Dataset) -> None:  # noqa: ARG001
    """The canonical form of a canonical form is itself, with the same key."""
    for candidate in _candidates(family, 100):
        once = family.canonical(candidate)
        twice = family.canonical(once)
        if once != twice or once.key != twice.key:
            raise FamilyError(f"canonical must be idempotent, got {once} and then {twice}.")


def check_twins_have_one_size(family: Family, data: Dataset) -> None:  # noqa: ARG001
    """A candidate is predicted to be as large as its canonical form, which builds the same file."""
    for candidate in _candidates(family, 30):
        here, there = family.bytes(candidate), family.bytes(family.canonical(candidate))
        if here != there:
            raise FamilyError(f"bytes says {here} for {candidate} and {there} for its canonical form.")


def check_survives_the_way_to_a_worker(family: Family, data: Dataset) -> None:  # noqa: ARG001
    """Sent to another process, a family has the same space, canonical forms and sizes."""
    copy = ForkingPickler.loads(ForkingPickler.dumps(family))
    if copy.space != family.space:
        raise FamilyError("The space of a family changes on the way to a worker.")
    for candidate in _candidates(family, 10):
        if copy.canonical(candidate) != family.canonical(candidate) or copy.bytes(candidate) != family.bytes(candidate):
            raise FamilyError(f"canonical or bytes of {candidate} change on the way to a worker.")


def check_builds_the_size_it_promised(family: Family, data: Dataset) -> None:
    """Where bytes answers, it is the length of the file, to the byte; each file names who builds it alone."""
    for candidate in _candidates(family, 5):
        built = _build(family, candidate, data)
        if not built:
            raise FamilyError(f"build yields no file for {candidate}.")
        for owner, artifact in built:
            family.space.check(owner)
            promised = family.bytes(owner)
            if promised is not None and promised != artifact.size:
                raise FamilyError(f"bytes promises {promised} for {owner}; the file has {artifact.size}.")


def check_builds_the_same_file_again(family: Family, data: Dataset) -> None:
    """The same candidate, data and seed give the same bytes, whatever was built in between."""
    first, second = _candidates(family, 2)
    before = [artifact.sha256 for _, artifact in _build(family, first, data)]
    _build(family, second, data)
    again = [artifact.sha256 for _, artifact in _build(family, first, data)]
    if before != again:
        raise FamilyError(f"The same seed gives other files for {first}: {before} and then {again}.")


def check_builds_good_artifacts(family: Family, data: Dataset) -> None:
    """Each file keeps the laws of artifacts on validation rows."""
    inputs = {name: column[:20] for name, column in data.valid(0).inputs().items()}
    for candidate in _candidates(family, 3):
        for _, artifact in _build(family, candidate, data):
            width = artifact.outputs(inputs).shape[1]
            if width != data.signature.outputs:
                raise FamilyError(f"A file has {width} outputs for {data.signature.outputs} of the signature.")
            for _, check in artifact_checks():
                check(artifact, inputs)


def check_stops_when_told_to(family: Family, data: Dataset) -> None:
    """A trial whose first report is answered with False ends without an error; what it yields is sound."""
    candidate = _candidates(family, 1)[0]
    for owner, artifact in _build(family, candidate, data, goes_on=False):
        family.space.check(owner)
        if not artifact.size:
            raise FamilyError(f"A stopped trial of {owner} yields an empty file.")


def check_finishes_within_the_limit(family: Family, data: Dataset) -> None:
    """A finished winner is never larger than asked. Slow: it trains as long as for a user."""
    owner, artifact = _build(family, _candidates(family, 1)[0], data)[-1]
    finished = family.finish(owner, data, teachers=(), effort=1.0, max_bytes=artifact.size, seed=5, refit=False)
    if finished.size > artifact.size:
        raise FamilyError(f"finish was allowed {artifact.size} bytes for {owner} and wrote {finished.size}.")


def check_joins_files_to_their_mean(family: Family, data: Dataset) -> None:
    """Where a family makes means, the file of one answers with the weighted mean of what its members answer."""
    if not (isinstance(family, Blending) and family.means_of != "nothing"):
        return
    first, second = (_build(family, candidate, data)[-1] for candidate in _candidates(family, 2))
    if first[0] == second[0]:
        return
    inputs, files = data.valid(-1).inputs(), (first[1], second[1])
    mean = SHARES[0] * files[0].outputs(inputs) + SHARES[1] * files[1].outputs(inputs)
    blend = blend_of({first[0]: SHARES[0], second[0]: SHARES[1]})
    found = family.join(blend, data, files=files, answers=mean.astype(np.float32)).outputs(inputs)
    unit = np.maximum(1.0, np.abs(mean))
    if found.shape != mean.shape or float((np.abs(found - mean) / unit).max()) > TOLERANCE:
        raise FamilyError(f"The file of a mean of {first[0]} and {second[0]} does not answer with their mean.")


def _candidates(family: Family, count: int, *, seed: int = 1) -> list[Candidate]:
    rng = np.random.default_rng(seed)
    return [family.space.sample(rng) for _ in range(count)]


def _build(
    family: Family, candidate: Candidate, data: Dataset, *, goes_on: bool = True
) -> list[tuple[Candidate, Artifact]]:
    canonical = family.canonical(candidate)
    return list(
        family.build(canonical, data, fold=0, fidelity=FIDELITY, seed=5, report=lambda step, error: goes_on)  # noqa: ARG005
    )
