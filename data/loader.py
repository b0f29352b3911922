"""The order of training prompts: endless, seeded, prefetched, and resumable to the prompt."""

from __future__ import annotations

import hashlib
import json
import logging
from collections import deque
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import numpy as np

from data.audio import AudioError
from data.records import Example, IntArray, Prompt

logger = logging.getLogger(__name__)


class CursorError(ValueError):
    """A saved position that does not belong to these examples or this seed."""


@dataclass(frozen=True, slots=True)
class _Draw:
    """One example of the stream, on its way to a prompt."""

    example: Example
    epoch: int
    next_position: int
    num_left_out: int
    """Examples that were passed over on the way to this one."""
    prompt: Future[Prompt]


def usable_prompts(
    examples: Iterable[Example], build: Callable[[Example], Prompt], bad_clips: str
) -> Iterator[Prompt]:
    """Yield the prompts of examples in their order, each built when it is asked for.

    Args:
        build: From `data.prompts.prompt_function`.
        bad_clips: As `data.bad_clips`: an example whose clip cannot be used is left out with a line
            in the log (`skip`), or an error.

    Raises:
        AudioError: As `build`; names the example.
    """
    for example in examples:
        try:
            prompt = build(example)
        except AudioError as error:
            if bad_clips != "skip":
                raise unusable(example, error) from error
            logger.warning("left out example %r: %s", example.id, error)
            continue
        yield prompt


def usable_in_threads(
    pool: ThreadPoolExecutor,
    examples: Sequence[Example],
    build: Callable[[Example], Prompt],
    bad_clips: str,
) -> list[Prompt]:
    """Return what `usable_prompts` yields, built in the threads of a pool."""
    lists = pool.map(lambda example: list(usable_prompts([example], build, bad_clips)), examples)
    return [prompt for prompts in lists for prompt in prompts]


def unusable(example: Example, error: AudioError) -> AudioError:
    """Return the error of an example that was found unusable while a run was going on."""
    return AudioError(
        f"example {example.id!r}: {error}. Or go on without it: the same command with "
        "data.bad_clips=skip; `launch/dataset.py check` finds all such clips"
    )


def manifest_digest(examples: Sequence[Example]) -> str:
    """Return a sha256 in hex over the ids, labels and clip paths of the examples, in order."""
    digest = hashlib.sha256()
    quote = json.encoder.encode_basestring_ascii
    for example in examples:
        # json.dumps of the three, at a quarter of its time.
        row = f"[{quote(example.id)}, {quote(example.label)}, {quote(example.audio)}]\n"
        if example.others:
            row = f"{json.dumps([example.id, example.label, example.audio, *example.others])}\n"
        digest.update(row.encode("ascii"))
    return digest.hexdigest()


def balanced_order(labels: Sequence[str], generator: np.random.Generator) -> IntArray:
    """Return an order of rows in which each label has its turn.

    Of K labels, rows 0 to K - 1 of the order have one each, the next K again, in a drawn order each
    time. A label's rows are drawn without replacement until all have come, then anew.

    Args:
        labels: [N] of the rows.

    Returns:
        [N] row numbers; of frequent labels some are missing, of rare ones some come repeatedly.
    """
    rows: dict[str, list[int]] = {}
    for row, label in enumerate(labels):
        rows.setdefault(label, []).append(row)
    groups = [np.array(members, dtype=np.int64) for members in rows.values()]
    decks: list[list[int]] = [[] for _ in groups]
    order: list[int] = []
    while len(order) < len(labels):
        for number in generator.permutation(len(groups)):
            if not decks[number]:
                decks[number] = generator.permutation(groups[number]).tolist()
            order.append(decks[number].pop())
    return np.array(order[: len(labels)], dtype=np.int64)


class PromptLoader:
    """Batches of prompts without end, the next one prepared in threads while one is in use.

    The stream is the epochs one after another; epoch e is the permutation that numpy's
    `Generator(PCG64([seed, e]))` draws. A batch may span two epochs, and then hold an example
    twice. What is prefetched does not count as used: the saved position is that of the batches
    handed out.
    """

    def __init__(
        self,
        examples: Sequence[Example],
        build: Callable[[Example, int], Prompt],
        *,
        prompts_per_step: int,
        seed: int,
        num_workers: int,
        bad_clips: str = "error",
        left_out: Collection[str] = (),
        stream: int = 0,
        balance: str = "none",
    ) -> None:
        """Make a loader at the start of epoch 0.

        Args:
            examples: all rows, those that are left out too: the order is drawn over all of them, so
                that a row which is mended or left out later moves no other.
            build: example and epoch in which it is drawn -> prompt; called in threads.
            prompts_per_step: P, prompts of a batch.
            bad_clips: on an `AudioError`, stop with it (`error`), or draw the next example instead
                and count (`skip`).
            left_out: ids of examples that are never drawn, only counted.
            stream: number of an order; each is another one of the same seed.
            balance: as `data.balance`: with `label` an epoch is as long as without, in the order of
                `balanced_order`.

        Raises:
            ValueError: fewer examples to draw than a batch needs.
        """
        num_drawn = sum(example.id not in left_out for example in examples)
        if num_drawn < prompts_per_step:
            raise ValueError(
                f"the training split has {num_drawn} rows and a step needs {prompts_per_step} "
                "prompts; lower train.prompts_per_step or add rows"
            )
        self._examples = list(examples)
        self._left_out = frozenset(left_out)
        self._build = build
        self._prompts_per_step = prompts_per_step
        self._seed = seed
        self._stream = stream
        self._labels = [example.label for example in examples] if balance == "label" else None
        self._skip = bad_clips == "skip"
        self._digest = manifest_digest(examples)
        self._pool = ThreadPoolExecutor(num_workers, thread_name_prefix="prompts")
        self._ahead: deque[_Draw] = deque()
        self._num_skipped = 0
        self._go_to(0, 0)

    @property
    def num_skipped(self) -> int:
        """Examples that were left out when their turn came, since this loader was made."""
        return self._num_skipped

    def next_batch(self, num_prompts: int | None = None) -> list[Prompt]:
        """Return the next P prompts, or `num_prompts`, and start on P after them.

        Raises:
            AudioError: a clip cannot be used and bad clips stop the run, or as many clips in a row
                were left out as there are examples; names the example.
        """
        batch: list[Prompt] = []
        skipped_in_a_row = 0
        while len(batch) < (num_prompts or self._prompts_per_step):
            self._draw_ahead()
            draw = self._ahead.popleft()
            self._epoch, self._position = draw.epoch, draw.next_position
            self._num_skipped += draw.num_left_out
            try:
                batch.append(draw.prompt.result())
                skipped_in_a_row = 0
            except AudioError as error:
                skipped_in_a_row += 1
                if not self._skip or skipped_in_a_row >= len(self._examples):
                    raise unusable(draw.example, error) from error
                self._num_skipped += 1
                logger.warning("left out example %r: %s", draw.example.id, error)
        self._draw_ahead()
        return batch

    def state_dict(self) -> dict[str, Any]:
        """Return the position after the last batch: {seed, epoch, position, manifest}, all JSON."""
        return {
            "seed": self._seed,
            "epoch": self._epoch,
            "position": self._position,
            "manifest": self._digest,
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go to a saved position: the same batches follow that followed it then.

        Raises:
            CursorError: the position was saved with other examples or another seed, or is none.
        """
        if state.keys() != self.state_dict().keys():
            raise CursorError(f"the saved data position has the keys {sorted(state)}")
        if state["manifest"] != self._digest:
            raise CursorError(
                "the training rows changed since the checkpoint (ids, labels, clips or their "
                f"order): digest {self._digest[:12]}, saved {str(state['manifest'])[:12]}; "
                "restore the manifest (data.bad_clips=skip leaves out rows that cannot be used) or "
                "start a new run"
            )
        if state["seed"] != self._seed:
            raise CursorError(
                f"the checkpoint was made with seed {state['seed']} and the run has "
                f"{self._seed}; set seed back or start a new run"
            )
        epoch, position = state["epoch"], state["position"]
        if not (isinstance(epoch, int) and epoch >= 0) or not (
            isinstance(position, int) and 0 <= position <= len(self._examples)
        ):
            raise CursorError(f"the saved data position is impossible: {dict(state)}")
        for draw in self._ahead:
            draw.prompt.cancel()
        self._go_to(epoch, position)

    def close(self) -> None:
        """Stop the threads; prompts that nobody took are dropped."""
        self._pool.shutdown(wait=True, cancel_futures=True)
        self._ahead.clear()

    def _go_to(self, epoch: int, position: int) -> None:
        self._epoch, self._position = epoch, position
        self._draw_epoch, self._draw_position = epoch, position
        self._order = self._permutation(epoch)
        self._ahead.clear()

    def _permutation(self, epoch: int) -> IntArray:
        # numpy fills seeds up with zeros: the first stream is that of [seed, epoch].
        seeds = [self._seed, epoch, self._stream]
        generator = np.random.Generator(np.random.PCG64(seeds))
        if self._labels is not None:
            return balanced_order(self._labels, generator)
        return generator.permutation(len(self._examples))

    def _draw_ahead(self) -> None:
        """Keep one batch of prompts in the making."""
        num_left_out = 0
        while len(self._ahead) < self._prompts_per_step:
            if self._draw_position == len(self._examples):
                self._draw_epoch, self._draw_position = self._draw_epoch + 1, 0
                self._order = self._permutation(self._draw_epoch)
            example = self._examples[self._order[self._draw_position]]
            self._draw_position += 1
            if example.id in self._left_out:
                num_left_out += 1
                continue
            prompt = self._pool.submit(self._build, example, self._draw_epoch)
            self._ahead.append(
                _Draw(example, self._draw_epoch, self._draw_position, num_left_out, prompt)
            )
            num_left_out = 0
