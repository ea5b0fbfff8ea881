"""What goes wrong with data, and what happens then: three kinds of faults.

- **This row** cannot be used: a ``Rejection`` (interfaces). It is counted by its reason, written
  to ``rejected.jsonl`` with its key, and the run goes on. A damaged picture, a row without a
  caption, a picture's file that is not there, the row in which a tar was cut.
- **The run** cannot go on: a ``DataFault`` with source, shard, row and path. A shard that is
  missing, damaged, or lacks a column; a fault in a source's code; a worker that died.
- **The machine** is at fault, and perhaps only for a moment: a disk or a store that does not
  answer. ``patiently`` tries again, each time after a longer wait; what does not go away is a
  ``MachineFault``, which stops the run as a ``DataFault`` that says how often it was tried. It is
  never a rejection, for nothing is known of the row.
"""

from __future__ import annotations

import logging
import random
import time
from collections.abc import Callable
from typing import Final, TypeVar

import attrs

from mmcore.data.transient import is_transient

Result = TypeVar("Result")

LOG: Final = logging.getLogger("mmcore.data")


class DataFault(RuntimeError):
    """A shard that cannot be read, or code that failed on a row; the message says where."""


class EmptySource(ValueError):
    """A source whose shards hold no rows at all."""


class MachineFault(RuntimeError):
    """A fault of disk, network or store that did not go away; the message says how often it was
    tried."""


@attrs.frozen
class Patience:
    """How often, and how long, the machine is waited for.

    Attributes:
        tries: in all.
        first_wait: seconds before the second try; doubled before every further one.
        sleep: waits for so many seconds.
        chance: between 0 and 1; waits are half to one and a half times as long, lest many
            processes come back at once.
    """

    tries: int = 6
    first_wait: float = 1.0
    sleep: Callable[[float], object] = time.sleep
    # Of its own, for what training draws must not depend on the machine's faults.
    chance: Callable[[], float] = random.SystemRandom().random

    def pause(self, what: str, error: Exception, tried: int) -> None:
        """Wait before the next try.

        Raises:
            MachineFault: there is none.
        """
        found = f"{type(error).__name__}: {error}"
        if tried >= self.tries:
            raise MachineFault(f"{found}; tried {tried} times") from error
        wait = self.first_wait * 2 ** (tried - 1) * (0.5 + self.chance())
        LOG.warning("%s: %s; try %d of %d in %.1f s", what, found, tried + 1, self.tries, wait)
        self.sleep(wait)


PATIENCE = Patience()
"""Half a minute in six tries, beside the tries that a store's driver makes by itself."""


def patiently(what: str, act: Callable[[], Result]) -> Result:
    """The result of ``act``, which is tried again where the machine fails.

    Args:
        what: what is read, for messages.

    Raises:
        MachineFault: it failed in all tries.
        Exception: any other fault of ``act``, at once.
    """
    tried = 0
    while True:
        try:
            return act()
        except Exception as error:
            if isinstance(error, MachineFault) or not is_transient(error):
                raise
            tried += 1
            PATIENCE.pause(what, error, tried)


def describe(error: Exception) -> str:
    """An error in one line."""
    found = str(error)
    return found if isinstance(error, MachineFault) else f"{type(error).__name__}: {found}"
