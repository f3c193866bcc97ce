"""``python -m tests.simulation --seeds N``: exits with 0 only if every schedule keeps the invariants."""

from __future__ import annotations

import argparse
import sys
import time

from tests.simulation.generate import generate
from tests.simulation.runner import Result, play, run_seeds, total


def main() -> int:
    """Run what the command line asks for."""
    options = _parse()
    if options.trace:
        return _show(options.seed if options.seed is not None else options.first)
    first, count = (options.first, options.seeds) if options.seed is None else (options.seed, 1)
    began = time.perf_counter()
    results = []
    for result in run_seeds(range(first, first + count), options.jobs):
        results.append(result)
        if result.failure:
            print(result.failure, end="\n\n", flush=True)
            if options.until_failure:
                break
    _sum_up(results, time.perf_counter() - began)
    return 1 if any(result.failure for result in results) else 0


def _parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.simulation", description=__doc__)
    parser.add_argument("--seeds", type=int, default=1000, metavar="N", help="how many schedules (1000)")
    parser.add_argument("--first", type=int, default=0, metavar="S", help="the first seed (0)")
    parser.add_argument("--seed", type=int, metavar="S", help="only this one")
    parser.add_argument(
        "--trace", action="store_true", help="show the schedule of --seed and all that happens in it"
    )
    parser.add_argument("--until-failure", action="store_true", help="stop at the first schedule that fails")
    parser.add_argument("--jobs", type=int, default=1, metavar="J", help="processes (1)")
    return parser.parse_args()


def _show(seed: int) -> int:
    schedule = generate(seed)
    print(schedule.as_python())
    outcome = play(schedule)
    print(*outcome.trace, sep="\n")
    print(outcome.detail or "every invariant holds")
    return 1 if outcome.invariant else 0


def _sum_up(results: list[Result], took: float) -> None:
    failed = sum(bool(result.failure) for result in results)
    pace = len(results) * 60 / took
    print(f"{len(results)} schedules, {failed} failed, {took:.1f} s ({pace:.0f} a minute)", file=sys.stderr)
    print(f"trace sha256={total(result.digest for result in results)}")


if __name__ == "__main__":
    sys.exit(main())
