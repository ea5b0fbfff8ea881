"""The closing tables say what changed and what luck would have got, within 80 columns."""

from rich.console import Console

from mmcore.evaluation.table import final_table, stage_table
from mmcore.interfaces import Evaluation, KindScore


def evaluation(after, accuracy, low, high):
    score = KindScore("which picture", 70, accuracy, low, high, 0.2)
    return Evaluation("exact-answer", "pretrain-anyres", after, 5, (score,))


HISTORY = [evaluation("", 0.1, 0.05, 0.15), evaluation("pretrain-anyres", 0.6, 0.48, 0.695)]


def printed(table):
    console = Console(width=80, record=True, file=open("/dev/null", "w"))  # noqa: SIM115
    console.print(table)
    return console.export_text()


def test_before_and_after_with_their_intervals():
    text = printed(stage_table(HISTORY, ["pretrain-anyres", "other"]))
    row = next(line for line in text.splitlines() if "which picture" in line)
    assert row.split() == [
        "pretrain-anyres", "which", "picture", "10", "[5,", "15]", "60", "[48,", "70]", "yes",
    ]  # fmt: skip
    assert "…" not in text


def test_the_last_result_beside_what_luck_gets():
    text = printed(final_table(HISTORY))
    row = next(line for line in text.splitlines() if "which picture" in line)
    assert row.split()[3:] == ["70", "60", "[48,", "70]", "20", "yes"]
    assert "…" not in text
