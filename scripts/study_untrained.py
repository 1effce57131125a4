"""How well untrained networks of the study separate identities, and how large their first gradients are.

python scripts/study_untrained.py quick_deep quick_ognet quick_dgcnn

For each: mAP of the untrained network on its first test set (BatchNorm with batch statistics, since there are no
running ones yet), that of random embeddings, and the norm of the first batch's gradient over the norm of the weights,
in the first and in the last part before the embedding.
"""

import argparse
from collections import defaultdict
from collections.abc import Sequence

import torch
from torch import Tensor

from ogreid import ReIDDataModule, ReIDModule, config
from ogreid.retrieval import evaluate_retrieval
from ogreid.training.train import build_data, build_module


def describe(name: str, settings: Sequence[str] = ()) -> str:
    experiment = config.load(f"study/{name}", ["data.transfer=[]", *settings])
    torch.manual_seed(experiment.seed)
    data, module = build_data(experiment), build_module(experiment).train()
    data.prepare_data()
    data.setup("fit")
    module.add_head(data.num_identities)
    untrained, chance = mean_average_precision(module, data)
    first, *_, last = gradients(module, data).items()
    parts = ", ".join(f"{part} {ratio:.1e}" for part, ratio in (first, last))
    return f"{name}: untrained mAP {untrained:.2f} (chance {chance:.2f}); gradient / weight: {parts}"


@torch.no_grad()
def mean_average_precision(module: ReIDModule, data: ReIDDataModule) -> tuple[float, float]:
    """Percent, of the network in batches that mix the identities, and of random embeddings."""
    batches = [data.on_after_batch_transfer(batch, 0) for batch in data.val_dataloader()[0]]
    xyz, rgb, identity, camera = (torch.cat([batch[i] for batch in batches]) for i in range(4))
    order = torch.randperm(len(xyz), generator=torch.Generator().manual_seed(0))
    embedding = torch.cat([module(xyz[part], rgb[part]) for part in order.split(64)])[order.argsort()]
    queries = data.evaluation_sets[0].num_queries

    def score(embedding: Tensor) -> float:
        columns = (torch.nn.functional.normalize(embedding), identity, camera)
        halves = [column[:queries] for column in columns] + [column[queries:] for column in columns]
        return 100 * evaluate_retrieval(*halves).mean_average_precision

    return score(embedding), score(torch.randn(len(xyz), 64))


def gradients(module: ReIDModule, data: ReIDDataModule) -> dict[str, float]:
    """Norm of the gradient over the norm of the weights, for each numbered part of the network."""
    batch = data.augmented(next(iter(data.training_loader(0))), 0, 0)
    torch.stack(list(module.losses(batch).values())).sum().backward()
    squares: defaultdict[str, list[float]] = defaultdict(lambda: [0.0, 0.0])
    for name, parameter in module.network.named_parameters():
        if parameter.grad is not None and name.split(".")[1].isdigit():
            sums = squares[".".join(name.split(".")[:2])]
            sums[0] += parameter.grad.square().sum().item()
            sums[1] += parameter.detach().square().sum().item()
    return {part: (gradient / weight) ** 0.5 for part, (gradient, weight) in squares.items()}


def main() -> None:
    parser = argparse.ArgumentParser(description="Networks of the study before training.")
    parser.add_argument("experiment", nargs="+", help="for example quick_deep")
    for name in parser.parse_args().experiment:
        print(describe(name), flush=True)


if __name__ == "__main__":
    main()
