"""Where people may not be shown (``runs.pictures=false``), a step that went wrong does not show them either."""

from pathlib import Path

import pytest
import torch

from ogreid import fit
from ogreid.training.train import reproduce
from ogreid.errors import InputError
from test_training import place, run  # noqa: F401 - a fixture

pytestmark = pytest.mark.thorough


@pytest.mark.usefixtures("place")
def test_a_bad_step_is_kept_without_its_clouds_until_they_are_asked_for():
    told = ("ops.backend=plain", "trainer.max_epochs=1", "optimizer.lr=1e37")
    with pytest.raises(InputError, match=r"without its clouds \(runs\.pictures=false\)") as caught:
        run(*told, "runs.pictures=false")
    (folder,) = Path("runs/small").iterdir()
    again = f"--resume {folder} runs.pictures=true"
    assert str(caught.value).endswith(again) and "\n" not in str(caught.value)
    kept = folder / "checkpoints" / "bad-step-1.ckpt"
    assert not {"xyz", "rgb"} & torch.load(kept, weights_only=True)["bad"].keys()
    with pytest.raises(InputError, match=f"kept without its clouds .* python -m ogreid.fit {again}"):
        reproduce.main([str(kept)])
    with pytest.raises(InputError, match="kept with its batch, repeat it"):
        fit.main(again.split())
    assert torch.load(kept, weights_only=True)["bad"]["rgb"].shape == (8, 64, 3)
