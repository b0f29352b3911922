#!/usr/bin/env python
"""Who works when in a step, and who waits for whom: strictly on-policy and pipelined, as a picture.

python benchmarks/timeline.py [--quick] [--clip 1.6] [--steps 4] [--output timeline.png]
                              [key=value ...]

The job of `benchmarks/step.py`, a core each for engine and learner. What is drawn is the work of
the actors as the driver sees it: completions from the first request to the last group, scores from
the first group to the last score, updates, and weight syncs. The table has the share of the time
in which the engine and the learner had nothing to do.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

sys.path[0] = str(Path(__file__).resolve().parents[1])

import matplotlib.pyplot as plt

from benchmarks.options import Option, parse_options
from benchmarks.setup import tiny_run
from benchmarks.step import NUM_WARMUP_STEPS, Job
from benchmarks.timing import print_machine, print_table
from launch.cluster import connect

LANES = ("sampling", "scoring", "update", "sync")
COLOURS = ("#3b6ea8", "#d98a3d", "#5d9e5d", "#a05195")
"""Steps, in turn."""

OPTIONS = {
    "clip": Option(1.6, "clip length in seconds"),
    "steps": Option(4, "steps that are drawn", quick=2),
    "output": Option("timeline.png", "where the picture goes"),
}


class Span(NamedTuple):
    """Work of one kind, in seconds of a monotonic clock."""

    lane: str
    start: float
    end: float


class Recorder:
    """Notes the work of a job's actors."""

    def __init__(self, job: Job) -> None:
        self.spans: list[Span] = []
        self._engine_free = 0.0
        # The objects of the job stay what they are but for the calls that are watched.
        job.engines.generate = self._sampling(job.engines.generate)
        job.rewards.score = self._scoring(job.rewards.score)
        job.learner.update = self._call("update", job.learner.update)
        job.learner.send_weights = self._call("sync", job.learner.send_weights)

    def _call(self, lane: str, call: Callable[..., Any]) -> Callable[..., Any]:
        def watched(*args: Any) -> Any:
            start = time.perf_counter()
            result = call(*args)
            self.spans.append(Span(lane, start, time.perf_counter()))
            return result

        return watched

    def _sampling(self, generate: Callable[..., Iterator[Any]]) -> Callable[..., Iterator[Any]]:
        def watched(*args: Any, **options: Any) -> Iterator[Any]:
            call_start = time.perf_counter()
            groups = generate(*args, **options)

            def passed_on() -> Iterator[Any]:
                yield from groups
                end = time.perf_counter()
                # An engine takes one request after another.
                self.spans.append(Span("sampling", max(call_start, self._engine_free), end))
                self._engine_free = end

            return passed_on()

        return watched

    def _scoring(self, score: Callable[..., Iterator[Any]]) -> Callable[..., Iterator[Any]]:
        def watched(groups: Iterable[Any], weights: Any) -> Iterator[Any]:
            began: list[float] = []

            def arriving() -> Iterator[Any]:
                for group in groups:
                    began.append(time.perf_counter())
                    yield group

            yield from score(arriving(), weights)
            self.spans.append(Span("scoring", began[0], time.perf_counter()))

        return watched


def numbered(spans: Iterable[Span]) -> list[tuple[int, Span]]:
    """Return each span of a run with its step: every lane has one of each, in order."""
    lanes: dict[str, list[Span]] = {}
    for span in sorted(spans, key=lambda span: span.start):
        lanes.setdefault(span.lane, []).append(span)
    return [pair for lane in lanes.values() for pair in enumerate(lane)]


def draw(panels: dict[str, tuple[float, float, list[tuple[int, Span]]]], output: Path) -> None:
    """Draw a panel for each way, all with the same seconds per inch.

    Args:
        panels: title -> (first moment, last moment, steps and their spans).
    """
    longest = max(end - start for start, end, _ in panels.values())
    figure, axes = plt.subplots(len(panels), 1, figsize=(9, 1.9 * len(panels)), sharex=True)
    for axis, (title, (start, end, spans)) in zip(axes, panels.items(), strict=True):
        for place, lane in enumerate(LANES):
            for number, span in spans:
                if span.lane != lane:
                    continue
                left, width = span.start - start, span.end - span.start
                colour = COLOURS[number % len(COLOURS)]
                axis.broken_barh([(left, width)], (-place - 0.4, 0.8), facecolors=colour)
        axis.axvline(end - start, color="grey", linewidth=0.8, linestyle=":")
        axis.set_yticks([-place for place in range(len(LANES))], LANES)
        axis.set_xlim(0, longest * 1.01)
        axis.set_title(title, loc="left", fontsize=10)
        axis.spines[["top", "right"]].set_visible(False)
    axes[-1].set_xlabel("seconds; each step has a colour of its own")
    figure.tight_layout()
    figure.savefig(output, dpi=150)


def busy_s(spans: Iterable[Span], start: float, end: float) -> float:
    """Return the seconds between two moments that at least one of the spans covers."""
    total, reached = 0.0, start
    for span in sorted(spans, key=lambda span: span.start):
        left, right = max(span.start, reached), min(span.end, end)
        total += max(0.0, right - left)
        reached = max(reached, right)
    return total


parse = partial(parse_options, __doc__, OPTIONS)


def main() -> None:
    """Measure, print and draw."""
    parsed = parse()
    print_machine()
    cores = ("rollout.num_engines=1", "rollout.cpu_threads=1", "learner.cpu_threads=1")
    job_of = ("train.prompts_per_step=8", "rollout.max_completion_tokens=64")
    with tiny_run(*cores, *job_of, *parsed.overrides) as (config, builder):
        connect(config)
        job = Job(config, builder)
        recorder = Recorder(job)
        panels, rows = {}, []
        for staleness, name in ((0, "strictly on-policy"), (1, "pipelined, max_staleness 1")):
            ends = [time.perf_counter()]
            for _ in job.run(parsed.clip, staleness, NUM_WARMUP_STEPS + parsed.steps + 1):
                ends.append(time.perf_counter())
            # Neither the warm-up nor the last step, after which nothing is sampled.
            start, end = ends[NUM_WARMUP_STEPS], ends[-2]
            steps = numbered(span for span in recorder.spans if span.start >= ends[0])
            shown = [(n, span) for n, span in steps if start < span.end and span.start < end]
            panels[name] = (start, end, shown)
            spans = [span for _, span in shown]
            idle = [
                1 - busy_s([s for s in spans if s.lane in lanes], start, end) / (end - start)
                for lanes in (("sampling", "sync"), ("update", "sync"))
            ]
            seconds = (end - start) / parsed.steps
            rows.append([name, f"{seconds:.3f}", *[f"{share:.0%}" for share in idle]])
        job.close()
    print_table(["", "s a step", "engine idle", "learner idle"], rows)
    draw(panels, Path(parsed.output))


if __name__ == "__main__":
    main()
