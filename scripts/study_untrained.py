"""What a network of the study tells of people before it has learnt, and how strong its first gradients are.

python scripts/study_untrained.py quick_deep quick_ognet quick_dgcnn

For each: mAP of the untrained network on the first set that it is judged on (every BatchNorm by its batch, since it has
gathered nothing yet), that of chance, and the norm of the first batch's gradient over the norm of the weights, in its
first and in its last part before the embedding.
"""

import argparse
from collections import defaultdict
from collections.abc import Sequence

import lightning as L
import torch
from torch import Tensor, nn

from ogreid import config
from ogreid.data.batch import CloudBatch
from ogreid.training.checkpoint import build_module
from ogreid.data.module import ReIDDataModule, RetrievalSet
from ogreid.data.transforms import to_network
from ogreid.training.module import ReIDModule
from ogreid.retrieval import evaluate_retrieval


def told(name: str, settings: Sequence[str] = ()) -> str:
    """One line of the answer."""
    experiment = config.load(f"study/{name}", ["data.transfer=[]", *settings])
    L.seed_everything(experiment.seed, verbose=False)
    data = ReIDDataModule(experiment.data, experiment.seed)
    data.prepare_data()
    data.setup("fit")
    module = build_module(experiment, data.identities).train()
    judged = data.retrieval_sets[0]
    found = mean_average_precision(embeddings(module, data, judged), judged)
    chance = mean_average_precision(torch.randn(len(judged.rows), 64), judged)
    first, *_, last = gradients(module, data).items()
    parts = ", ".join(f"{part} {ratio:.1e}" for part, ratio in (first, last))
    return f"{name}: untrained mAP {found:.2f} (chance {chance:.2f}); gradient / weight: {parts}"


@torch.no_grad()
def embeddings(module: ReIDModule, data: ReIDDataModule, judged: RetrievalSet) -> Tensor:
    """(Q + G, D), in batches that mix the people."""
    order = torch.randperm(len(judged.rows), generator=torch.Generator().manual_seed(0))
    made = []
    for part in order.split(64):
        xyz, rgb = (torch.from_numpy(array) for array in judged.store.raw(judged.rows[part.numpy()]))
        batch = to_network(CloudBatch(xyz, rgb, part, part, part), data.num_points)
        made.append(module(batch.xyz, batch.rgb))
    return torch.cat(made)[order.argsort()]


def mean_average_precision(embedding: Tensor, judged: RetrievalSet) -> float:
    """Percent, by the trapezoid."""
    unit, rows, queries = nn.functional.normalize(embedding), judged.store.rows[judged.rows], judged.queries
    asked, gallery = rows[:queries], rows[queries:]
    by = (unit[:queries], asked["identity"], asked["camera"], unit[queries:], gallery["identity"], gallery["camera"])
    return 100 * evaluate_retrieval(*by).mean_average_precision


def gradients(module: ReIDModule, data: ReIDDataModule) -> dict[str, float]:
    """Norm of the gradient over the norm of the weights, for each part that is one of several alike."""
    assert module.loss is not None
    batch = data.augmented(next(iter(data.training_loader(0))), 0, 0)
    torch.stack(list(module.loss(module(batch.xyz, batch.rgb), batch.identity).values())).sum().backward()
    squares: defaultdict[str, list[float]] = defaultdict(lambda: [0.0, 0.0])
    for name, parameter in module.network.named_parameters():
        if parameter.grad is not None and name.split(".")[1].isdigit():
            of = squares[".".join(name.split(".")[:2])]
            of[0] += parameter.grad.square().sum().item()
            of[1] += parameter.detach().square().sum().item()
    return {part: (gradient / weight) ** 0.5 for part, (gradient, weight) in squares.items()}


def main() -> None:
    parser = argparse.ArgumentParser(description="Networks of the study before they have learnt.")
    parser.add_argument("experiment", nargs="+", help="for example quick_deep")
    for name in parser.parse_args().experiment:
        print(told(name), flush=True)


if __name__ == "__main__":
    main()
