"""What ``make soak`` tried and lost: a line of ``soak.jsonl`` for each proof; docs/reliability.md is made of them."""

import json
import os
from pathlib import Path

RECORD = Path(os.environ.get("OGREID_SOAK", Path(__file__).parents[1] / "soak.jsonl"))


def record(proof: str, *, tried: int, lost: int, **more: int) -> None:
    """Add a line; several processes may, because a short line is written in one piece."""
    with RECORD.open("a", encoding="utf-8") as file:
        file.write(json.dumps({"proof": proof, "tried": tried, "lost": lost, **more}) + "\n")
