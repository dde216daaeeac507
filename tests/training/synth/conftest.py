import pytest

from lalm_agent.errors import UsageError
from lalm_agent.training.synth.requirements import require_synth


@pytest.fixture(scope="session")
def engines() -> None:
    """espeak-ng, FluidSynth and a soundfont, or no test."""
    try:
        require_synth()
    except UsageError as error:
        pytest.skip(f"{error.message}: {error.hint}")
