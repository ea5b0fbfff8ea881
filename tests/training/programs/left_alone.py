"""A program of one of two ranks, of which the second fails while the first waits for it."""

from __future__ import annotations

import sys

from mmcore.cli.errors import exit_code
from mmcore.training import lost_ranks
from mmcore.training.agreement import check_agreement
from mmcore.training.ranks import RanksError, barrier, distributed


def main() -> None:
    with distributed() as world:
        check_agreement({"the checkpoint to start from": "step-00000004"})
        try:
            check_agreement({"runs/mini/": "missing" if world.rank else "there"})
        except RanksError as error:
            print(error, flush=True)
        if world.rank == 1:
            raise ValueError("the disk of rank 1 is full")
        barrier()


if __name__ == "__main__":
    lost_ranks.AFTER_YOU_SECONDS = 0.1
    try:
        main()
    except Exception as error:
        sys.exit(exit_code(error) or 99)
