"""Classify the images of requests."""
from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np

from openatac.data.images.decoding import decode, read_size
from openatac.inference.gate_maps import GateMap
from openatac.inference.predictor import Predictor, probabilities
from openatac.serving.batching import Batcher
from openatac.serving.request_limits import LIMITS, Limits, Refusal
from openatac.system.cores import allowed_processors


class Classifier:
    """Answers requests: decodes images in one thread per processor, and runs them in batches.

    Parameters
    ----------
    predictor : Predictor
        Runs the batches, of up to its ``batch_size`` images.
    gates : callable, optional
        Maps an input to its gate maps; see `openatac.inference.gate_maps.open_gates`.
    limits : Limits
    """

    def __init__(self, predictor: Predictor, gates: Callable[[np.ndarray], list[GateMap]] | None = None,
                 limits: Limits = LIMITS) -> None:
        self.predictor = predictor
        self.gates = gates
        self.limits = limits
        self._batcher = Batcher(predictor.network, predictor.batch_size)
        self._decoders = ThreadPoolExecutor(len(allowed_processors()), 'decoder')

    async def classify(self, data: bytes, top: int, with_gates: bool) -> dict[str, Any]:
        """Return the most probable classes of an image file, and its gate maps on request, for JSON.

        Raises
        ------
        BadImageError
            If it is damaged, or not an image.
        Refusal
            If it has too many pixels, or gate maps are not available.
        OpenatacError
            If the network fails.
        """
        if with_gates and not self.gates:
            raise Refusal(422, 'there are no gate maps: they need MXNet and the symbol form of an export '
                               'with gates; leave out gates')
        loop = asyncio.get_running_loop()
        image = await loop.run_in_executor(self._decoders, self._to_input, data)
        outputs = await asyncio.wrap_future(self._batcher.submit(image))
        scores = probabilities(outputs[None], ['the image'])[0]
        answer: dict[str, Any] = {'predictions': [
            prediction.for_json() for prediction in self.predictor.best(scores, top)]}
        if with_gates and self.gates:
            maps = await loop.run_in_executor(self._batcher.thread, self.gates, image)
            answer['gates'] = [{'stage': stage, 'values': values.astype(float).round(4).tolist()}
                               for stage, values in maps]
        return answer

    def _to_input(self, data: bytes) -> np.ndarray:
        height, width = read_size(data)
        if width * height > self.limits.pixels:
            raise Refusal(413, f'the image has {width} x {height} pixels, more than the '
                               f'{self.limits.pixels:,} allowed: send a smaller one')
        return self.predictor.transform(decode(data))
