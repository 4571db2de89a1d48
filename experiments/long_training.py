"""A training of hours in pieces: its state is written after every epoch, and the next call goes on from there."""

from __future__ import annotations

import math
import os
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import final

import numpy as np
import torch
from torch import Tensor

from compression.nets.device import Precision
from compression.nets.distill import loss_gradient, loss_of, targets_of
from compression.nets.flat import flattened
from compression.nets.network import Network
from compression.nets.train import Batches, Examples, Recipe
from engine.errors import StudyError

__all__ = ["Epoch", "LongTraining"]

EVALUATION_BATCH = 250
NORMALISATION_BATCHES = 64
RISE = 0.05  # share of the training in which the learning rate rises
EPOCHS_APART = 2**20  # of the seeds of two trainings: no epoch of one has the order of an epoch of the other


@final
@dataclass(frozen=True)
class Epoch:
    """What an epoch came to.

    Args:
        number: From 1 on.
        loss: Mean over its batches.
        error: On the validation rows, of the network as it is trained: with weights on their grid once they are.
        is_quantized: Whether they are.
        seconds: Of the clock.
        processor_seconds: Of this process.
    """

    number: int
    loss: float
    error: float
    is_quantized: bool
    seconds: float
    processor_seconds: float


@final
class LongTraining:
    """A network with its optimiser, which may be put aside after any epoch; a call on the same state goes on.

    AdamW; the rate rises over the first twentieth and falls along a cosine. Whether it was cut changes nothing: the
    order of rows and their augmentation follow from the seed and the number of the epoch.

    Args:
        network: Fresh, with its first weights; it is changed.
        examples: To learn from.
        recipe: Its epochs, rows a step, rate, decay, smoothing, augmentation, and `quantize_at`.
        seed: Of order and augmentation.
        dtype: Of products and convolutions; weights, their gradients and the optimiser stay in float32.
        state: An npz file, read where it exists, written after every epoch.
    """

    def __init__(
        self, network: Network, examples: Examples, recipe: Recipe, *, seed: int, dtype: torch.dtype, state: Path
    ) -> None:
        self.network, self._examples, self._recipe = network, examples, recipe
        self._seed, self._state = seed, state
        self._precision = Precision(torch.device("cpu"), dtype)
        self._epochs = math.ceil(recipe.epochs)
        self._quantize_at = int(recipe.quantize_at * self._epochs)
        self._batches(0).lay_out(network).train()
        parameters = list(network.parameters())
        parts = [[p for p in parameters if (p.dim() > 1) == is_weight] for is_weight in (True, False)]
        self._flat = [flattened(part)[0] for part in parts]
        groups = [
            {"params": [flat], "weight_decay": decay}
            for flat, decay in zip(self._flat, (recipe.weight_decay, 0.0), strict=True)
        ]
        self._optimiser = torch.optim.AdamW(groups, lr=recipe.learning_rate, fused=True)
        self.done = self._read() if state.exists() else 0

    def epochs(self, valid: Examples) -> Iterator[Epoch]:
        """Train epoch after epoch; what an epoch gave is on disk when it is told.

        Raises:
            StudyError: If the loss is no longer a finite number.
        """
        while self.done < self._epochs:
            start, processor = time.monotonic(), time.process_time()
            is_quantized = self.done >= self._quantize_at
            self.network.quantize(is_quantized)
            loss = self._epoch()
            self.done += 1
            self._write()
            error = self.error(valid)
            spent = time.monotonic() - start, time.process_time() - processor
            yield Epoch(self.done, loss, error, is_quantized, *spent)

    @torch.no_grad()
    def error(self, rows: Examples) -> float:
        """Return the share of rows with a wrong label, of the network as it is."""
        self.network.eval()
        self.network.show()
        wrong = 0
        for x, y in zip(torch.split(rows.x, EVALUATION_BATCH), torch.split(rows.y, EVALUATION_BATCH), strict=True):
            with self._precision.forward():
                wrong += int((self.network(x.float()).argmax(1) != y).sum())
        self.network.train()
        return wrong / len(rows)

    @torch.no_grad()
    def finished(self) -> Network:
        """Return the network on its grid, its normalisations measured anew in float32, as the file computes."""
        self.network.quantize()
        self.network.train()
        batches = self._batches(self._epochs)
        norms = [unit.normalisation for unit in self.network.units.values() if unit.normalisation is not None]
        for number in range(min(NORMALISATION_BATCHES, math.ceil(len(self._examples) / batches.rows))):
            for norm in norms:
                norm.momentum = 1 / (number + 1)
            self.network(batches.next()[0])
        return self.network.eval()

    def _epoch(self) -> float:
        batches = self._batches(self.done)
        steps = len(self._examples) // batches.rows
        total = 0.0
        for step in range(steps):
            self._set_rate(self.done * steps + step, self._epochs * steps)
            x, labels, _, _ = batches.next()
            self.network.show()
            with self._precision.forward():
                outputs = self.network(x)
            answers = outputs.float()
            targets = targets_of(labels, answers.shape[1], soft=None, smoothing=self._recipe.smoothing, share=0)
            for flat in self._flat:
                assert flat.grad is not None
                flat.grad.zero_()
            torch.autograd.backward(answers, loss_gradient(answers, targets, None, None))
            self.network.pass_gradients()
            self._optimiser.step()
            total += float(loss_of(answers.detach(), targets, None, None))
        if not math.isfinite(total):
            raise StudyError(f"The training diverged in epoch {self.done + 1}: the loss was {total / steps}.")
        return total / steps

    def _set_rate(self, step: int, total: int) -> None:
        rise = max(1, round(RISE * total))
        share = (step + 1) / rise if step < rise else 0.5 * (1 + math.cos(math.pi * (step - rise) / (total - rise)))
        for group in self._optimiser.param_groups:
            group["lr"] = self._recipe.learning_rate * share

    def _batches(self, epoch: int) -> Batches:
        return Batches(self._examples, self._recipe, self._seed * EPOCHS_APART + epoch)

    def _tensors(self) -> dict[str, Tensor]:
        """Return all that changes in an epoch, by name: weights, normalisations, and the moments of the optimiser."""
        tensors = dict(self.network.state_dict())
        for number, flat in enumerate(self._flat):
            tensors |= {f"optimiser.{number}.{name}": value for name, value in self._optimiser.state[flat].items()}
        return tensors

    def _write(self) -> None:
        arrays = {name: tensor.detach().numpy() for name, tensor in self._tensors().items()}
        part = self._state.with_suffix(".part")
        with part.open("wb") as file:
            np.savez(file, allow_pickle=False, epoch=np.array(self.done), **arrays)
        os.replace(part, self._state)

    def _read(self) -> int:
        for flat in self._flat:
            moments = {name: torch.zeros_like(flat.detach()) for name in ("exp_avg", "exp_avg_sq")}
            self._optimiser.state[flat] = {"step": torch.zeros(()), **moments}
        with np.load(self._state, allow_pickle=False) as arrays, torch.no_grad():
            for name, tensor in self._tensors().items():
                tensor.copy_(torch.from_numpy(arrays[name]))
            return int(arrays["epoch"])
