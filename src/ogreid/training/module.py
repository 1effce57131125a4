"""A network and its losses as Lightning trains them. Knows no metric and draws no picture."""

import logging
from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, TypeAlias

import lightning as L
import torch
from lightning.pytorch.trainer.states import TrainerFn
from lightning.pytorch.utilities.types import OptimizerLRSchedulerConfig
from torch import Tensor, nn

from ogreid.config import Evaluation, Loss, Optimizer, check
from ogreid.data.batch import CloudBatch
from ogreid.errors import InputError, collect_refusals, nearest_names
from ogreid.losses import IdentityHead, build_loss, last_norm
from ogreid.models import EXTRA, build_model, describe
from ogreid.ops.collectives import connected
from ogreid.registry import LOSSES, MODELS, OPTIMIZERS
from ogreid.training.memory import check_classifier
from ogreid.training.optimizers import build_optimizer, build_schedule, check_factors
from ogreid.training.views import embed_batch
from ogreid.training.weights import start_classifier, start_network

log = logging.getLogger(__name__)

if TYPE_CHECKING:
    ModelName: TypeAlias = str
    LossName: TypeAlias = str
    OptimizerName: TypeAlias = str
else:
    ModelName, LossName, OptimizerName = (Literal[tuple(one)] for one in (MODELS, LOSSES, OPTIMIZERS))


class EmbeddingBatch(NamedTuple):
    """What ``Trainer.predict`` gives for each batch.

    Attributes:
        embedding: (B, D) float32, normalized.
        identity: (B,) int64; -1 where it is not known.
        camera: (B,) int64; -1 where it is not known.
        index: (B,) int64, the row in its set.
        source: the crops' names.
    """

    embedding: Tensor
    identity: Tensor
    camera: Tensor
    index: Tensor  # type: ignore[assignment]  # hides tuple.index, which nobody calls on a batch
    source: tuple[str, ...] = ()


class ReIDModule(L.LightningModule):
    """Backbone, identity classifier and pair loss.

    The classifier is made when training starts, as wide as the data module's ``num_identities``. A checkpoint holds
    the arguments below, so that ``load_from_checkpoint`` rebuilds network and classifier.

    Args:
        model: a name of ``ogreid.registry.MODELS``, or any module ``(xyz, rgb) -> (B, D)`` with xyz (B, N, 3) meters
            and rgb (B, N, 3) in [-0.5, 0.5].
        model_options: arguments of the named network, for example ``{"k": 8}``.
        loss: added to the cross-entropy of the classifier: ``ce`` (nothing), ``circle``, ``triplet``, or any module
            ``(embedding, identity) -> scalar``.
        loss_options: arguments of the named loss, for example ``{"margin": 0.3}``.
        dropout: before the classifier.
        label_smoothing: of the cross-entropy.
        neck: BNNeck: the pair loss gets the embedding before the network's last ``BatchNorm1d``, cross-entropy and
            evaluation the one after it. Source: Luo et al., Bag of tricks, CVPR workshops 2019, section 3.5.
        weights: trained weights that the backbone starts from: a run folder, a ``.ckpt`` file, the ``state_dict`` of a
            backbone or a released folder. The classifier starts from them, too, where it was trained on the same
            stores; otherwise it is new.
        freeze: parts of the network that keep their weights and statistics, for example ``["stages.0"]``.
        optimizer: ``adam``, ``adamw`` or ``sgd``.
        lr: learning rate at the start of the cosine.
        lr_warmup: epochs over which the learning rate rises to the cosine.
        lr_factors: part of the module to a factor of its learning rate, for example ``{"network": 0.1}``.
        weight_decay: L2 term; decoupled in ``adamw``.
        amsgrad: keep the largest second moment, in ``adam`` and ``adamw``.
        momentum: of ``sgd``.
        min_lr_ratio: last learning rate of the cosine, as a fraction of ``lr``.
        loss_warmup: epochs over which the *loss* is multiplied by a ramp from 0.1 to 1, as in the released code.
        scales: at which a cloud is embedded in evaluation; the embeddings are summed and normalized.
        mirror: embed the mirrored cloud or crop, too; the embeddings are summed and normalized.
        compile: compile the network with torch.
        num_identities: classes; the data module's where it is not given.

    Raises:
        InputError: an unknown name or option, with the nearest ones; a value out of its range; weights that are not
            those of the network.

    Example:
        >>> ReIDModule("ognet", loss="circle", lr=8e-4).hparams["model"]
        'ognet'
    """

    def __init__(
        self,
        model: ModelName | nn.Module = "ognet",
        *,
        model_options: dict[str, Any] | None = None,
        loss: LossName | nn.Module = "circle",
        loss_options: dict[str, Any] | None = None,
        dropout: float = 0.7,
        label_smoothing: float = 0.0,
        neck: bool = False,
        weights: str | Path | None = None,
        freeze: Sequence[str] = (),
        optimizer: OptimizerName = "adam",
        lr: float = 1e-3,
        lr_warmup: float = 0.0,
        lr_factors: dict[str, float] | None = None,
        weight_decay: float = 5e-4,
        amsgrad: bool = True,
        momentum: float = 0.9,
        min_lr_ratio: float = 0.01,
        loss_warmup: int = 10,
        scales: Sequence[float] = (1.0, 1.1),
        mirror: bool = False,
        compile: bool = False,
        num_identities: int | None = None,
    ) -> None:
        super().__init__()
        self.optimizer_config = check(
            Optimizer(
                optimizer,
                lr=lr,
                lr_warmup=lr_warmup,
                lr_factors=dict(lr_factors or {}),
                weight_decay=weight_decay,
                amsgrad=amsgrad,
                momentum=momentum,
                min_lr_ratio=min_lr_ratio,
                loss_warmup=loss_warmup,
                compile=compile,
            )
        )
        limited = {key: value for key, value in (loss_options or {}).items() if key in Loss.__dataclass_fields__}
        check(Loss(dropout=dropout, label_smoothing=label_smoothing, **limited))
        self.scales = tuple(check(Evaluation(scales=list(scales))).scales)
        given: dict[str, object] = {"model": model, "loss": loss}
        for own in (name for name, value in given.items() if value is None):  # in the checkpoint of a user's own module
            raise InputError(f"the {own} was a module of your own: give load_from_checkpoint(path, {own}=...) one, too")
        self.network = build_model(model, **model_options or {}) if isinstance(model, str) else model
        self.pair_loss = build_loss(loss, **loss_options or {}) if isinstance(loss, str) else loss
        name, options = describe(self.network) or (None, {})
        self.save_hyperparameters(ignore=["model", "loss", "weights"])
        changed = {"model": name, "model_options": options, "loss": loss if isinstance(loss, str) else None}
        lists = {"freeze": list(freeze), "scales": list(self.scales), "lr_factors": dict(lr_factors or {})}
        self.save_hyperparameters(changed | lists | {"loss_options": dict(loss_options or {})})
        self.neck = last_norm(self.network) if neck else None
        parts = dict(self.network.named_modules())
        for part in freeze:
            if part not in parts:
                raise InputError(f"model.freeze: the network has no part {part!r}; {nearest_names(part, parts)}")
            parts[part].requires_grad_(False)
        check_factors(lr_factors or {}, [*(name for name, _ in self.named_parameters()), "head.classifier"])
        self.weights = None if weights is None else start_network(self.network, weights)
        self.weights_record = self.weights and self.weights.record
        self.head: IdentityHead | None = None
        if num_identities is not None and (width := _width(self.network)) is not None:
            self.add_head(num_identities, width)

    def forward(self, xyz: Tensor, rgb: Tensor, **extra: Tensor) -> Tensor:
        """Embedding (B, D) at one scale, not normalized; ``extra`` as the network takes it."""
        return self.network(xyz, rgb, **extra)  # type: ignore[no-any-return]

    def setup(self, stage: str) -> None:
        """Compare the network's inputs with the data module's before anything is computed.

        Raises:
            InputError: a network on crops gets clouds, or one on points gets crops; a store lacks what it needs.
        """
        extra = getattr(self.network, "extra", ())
        if extra and (require := getattr(self._data, "require", None)):
            require(extra)
        wants, gets = getattr(self.network, "inputs", None), getattr(self._data_config, "inputs", None)
        if wants is not None and gets is not None and (wants == "crop") != (gets == "crop"):
            kind, choice = ("crops", "crop") if wants == "crop" else ("points", "scene")
            name = type(self.network).__name__
            raise InputError(f"{name} reads {kind}, got data.inputs={gets}; set data.inputs={choice}")

    def configure_model(self) -> None:
        """Build the classifier when training starts, and compile the network where the settings say so.

        Raises:
            InputError: the number of identities is not known, or the classifier does not fit into memory.
        """
        trainer = self._trainer
        if trainer is None or trainer.state.fn != TrainerFn.FITTING:
            return
        count = self.hparams["num_identities"] or getattr(self._data, "num_identities", None)
        if not count:
            raise InputError("the data module says no num_identities; give ReIDModule(num_identities=...)")
        if self.head is None:
            width = _width(self.network) or self._probe_width()
            check_classifier(width, count, trainer.strategy.root_device.type)
            head = self.add_head(count, width)
            if self.weights is not None:
                start_classifier(head, self.weights, getattr(self._data_config, "train", ()))
        if self.optimizer_config.compile and self.network._compiled_call_impl is None:
            self.network.compile()

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Build the classifier of the checkpoint where there is none yet."""
        self.weights_record = checkpoint.get("weights")
        weight = checkpoint["state_dict"].get("head.classifier.weight")
        if self.head is None and weight is not None:
            self.add_head(*weight.shape)

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """What the training started from travels with it."""
        checkpoint["weights"] = self.weights_record

    def training_step(self, batch: CloudBatch, batch_idx: int) -> Tensor:
        """Cross-entropy plus pair loss, multiplied by the ramp."""
        with collect_refusals([]) as refused:
            terms = self.losses(batch)
        total = torch.stack(list(terms.values())).sum() * (torch.nan if refused else 1)
        logged = {"train/loss": total} | {f"train/{name}": value for name, value in terms.items()}
        # sync_dist: the mean over all processes, not the value of the first one.
        self.log_dict(logged, on_step=True, on_epoch=False, sync_dist=True, batch_size=len(batch.index))
        return total * self._ramp()

    def losses(self, batch: CloudBatch) -> dict[str, Tensor]:
        """The terms that are summed: ``cross_entropy``, and the pair loss under its name."""
        assert self.head is not None
        before, embedding = self._before_and_after_neck(batch)
        terms = {"cross_entropy": self.head.cross_entropy(embedding, batch.identity)}
        if self.hparams["loss"] != "ce":
            terms[self.hparams["loss"] or "pair"] = self.pair_loss(before, batch.identity)
        return terms

    def _before_and_after_neck(self, batch: CloudBatch) -> tuple[Tensor, Tensor]:
        """The embedding twice, the first time before the last BatchNorm where there is a neck."""
        if self.neck is None:
            embedding = self(batch.xyz, batch.rgb, **batch.extra)
            return embedding, embedding
        before: list[Tensor] = []
        hook = self.neck.register_forward_pre_hook(lambda _, inputs: before.append(inputs[0]))
        try:
            embedding = self(batch.xyz, batch.rgb, **batch.extra)
        finally:
            hook.remove()
        return before[0], embedding

    def on_train_epoch_start(self) -> None:
        """Frozen parts are in evaluation mode, so that their BatchNorms keep their statistics."""
        for part in self.hparams["freeze"]:
            self.network.get_submodule(part).eval()

    def validation_step(self, batch: CloudBatch, batch_idx: int, dataloader_idx: int = 0) -> Tensor:
        """Normalized embedding (B, D), for the evaluation callbacks.

        Where there are other processes, clouds that are refused become NaN, which the metric refuses on all of them.
        """
        alone: AbstractContextManager[list[str]] = nullcontext([])
        with collect_refusals([]) if connected() else alone as refused:
            embedding = embed_batch(self.network, batch, self.scales, mirror=self.hparams["mirror"])
        if refused:
            log.warning(refused[0])
            embedding = torch.full_like(embedding, torch.nan)
        return embedding

    def test_step(self, batch: CloudBatch, batch_idx: int, dataloader_idx: int = 0) -> Tensor:
        """The same as in validation."""
        return self.validation_step(batch, batch_idx, dataloader_idx)

    def predict_step(self, batch: CloudBatch, batch_idx: int, dataloader_idx: int = 0) -> EmbeddingBatch:
        """Normalized embeddings with identities, cameras and sources, on the CPU."""
        embedding = self.validation_step(batch, batch_idx, dataloader_idx)
        columns = embedding.cpu(), batch.identity.cpu(), batch.camera.cpu(), batch.index.cpu()
        return EmbeddingBatch(*columns, source=batch.source)

    def configure_optimizers(self) -> OptimizerLRSchedulerConfig:
        """The optimizer, and a cosine after the warm-up of the learning rate."""
        trainer, config = self.trainer, self.optimizer_config
        optimizer, epochs = build_optimizer(self, config), max(trainer.max_epochs or 1, 1)

        def steps_per_epoch() -> float:
            return max(1.0, trainer.num_training_batches / trainer.accumulate_grad_batches)

        schedule = build_schedule(optimizer, config, epochs, steps_per_epoch)
        interval = "step" if config.lr_warmup else "epoch"
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": schedule, "interval": interval, "name": "lr"}}

    @property
    def _data(self) -> object:
        """The trainer's data module: ours, or another one that says ``num_identities``."""
        return getattr(self._trainer, "datamodule", None)

    @property
    def _data_config(self) -> object:
        return getattr(self._data, "config", None)

    def add_head(self, num_identities: int, width: int | None = None) -> IdentityHead:
        """A new classifier; training does this by itself.

        Args:
            num_identities: classes.
            width: D; the network's own ``width`` where it is not given.
        """
        width = width or _width(self.network) or self._probe_width()
        options = {name: self.hparams[name] for name in ("dropout", "label_smoothing")}
        self.head = IdentityHead(width, num_identities, **options).to(self.device)
        self.hparams["num_identities"] = num_identities
        return self.head

    def _probe_width(self) -> int:
        """D of a network that does not say it: one forward of two clouds of noise."""
        points = getattr(self._data_config, "num_points", 1024)
        training, parameter = self.network.training, next(self.network.parameters(), torch.zeros(()))
        xyz, rgb = torch.rand(2, 2, points, 3, device=parameter.device) - 0.5
        with torch.no_grad():
            extra = {name: rgb[..., : EXTRA[name]] for name in getattr(self.network, "extra", ())}
            width = int(self.network.eval()(xyz, rgb, **extra).shape[1])
        self.network.train(training)
        return width

    def _ramp(self) -> float:
        """0.1 -> 1 over the first epochs, on the *loss* as in the released code; under Adam nearly nothing."""
        whole = self.optimizer_config.loss_warmup * self.trainer.num_training_batches
        return min(1.0, 0.1 + 0.9 * self.trainer.global_step / whole) if whole else 1.0


def _width(network: nn.Module) -> int | None:
    width = getattr(network, "width", None)
    return width if isinstance(width, int) else None
