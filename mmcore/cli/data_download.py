"""`mmcore data download`: pictures that a dataset names by links, fetched into prepared shards."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import attrs
import click

from mmcore.cli.fetch import sized
from mmcore.cli.layout import columns

if TYPE_CHECKING:
    from mmcore.downloading import Record


@click.command()
@click.argument("source")
@click.argument("published", metavar="INPUT")
@click.option(
    "-o", "--out", "folder", required=True, metavar="OUT", type=click.Path(path_type=Path),
    help="Folder of the prepared shards.",
)  # fmt: skip
@click.option("--links", "column", metavar="COLUMN", help="The links' column, if not the usual.")
@click.option(
    "--processes",
    type=click.IntRange(1),
    show_default=True,
    default=4,
    help="Processes that fetch.",
)
@click.option(
    "--threads",
    type=click.IntRange(1),
    show_default=True,
    default=64,
    help="Threads of each process.",
)
@click.option(
    "--timeout",
    type=click.IntRange(1),
    show_default=True,
    default=10,
    help="Seconds without a byte.",
)
@click.option(
    "--retries", type=click.IntRange(0), show_default=True, default=1, help="After a failed try."
)
@click.option(
    "--resize-mode",
    type=click.Choice(["no", "keep_ratio", "keep_ratio_largest"]),
    default="no",
    show_default=True,
    help="Keep the bytes as they come (no), or make larger pictures smaller, by their shorter or "
    "longer side; then all become JPEG.",
)
@click.option(
    "--image-size",
    type=click.IntRange(1),
    show_default=True,
    default=1024,
    help="That side, in pixels.",
)
@click.option(
    "--image-max-bytes",
    type=click.IntRange(1),
    show_default=True,
    default=16_000_000,
    help="Larger pictures are left out.",
)
@click.option("--user-agent-token", metavar="TOKEN", default="", help="Added to the user agent.")
@click.option(
    "--ignore-opt-outs", is_flag=True, help="Fetch what X-Robots-Tag keeps from AI or indexing."
)
@click.option(
    "--part-rows",
    type=click.IntRange(1),
    show_default=True,
    default=20_000,
    help="Rows of one file of OUT.",
)
@click.option(
    "--max-dead-share", type=click.FloatRange(0, 1), show_default=True, default=0.9,
    help="Stop where more links of a part are dead.",
)  # fmt: skip
@click.option("--img2dataset", "program", metavar="PATH", help="An img2dataset installed by you.")
def command(
    source: str,
    published: str,
    folder: Path,
    column: str | None,
    processes: int,
    threads: int,
    timeout: int,
    retries: int,
    resize_mode: str,
    image_size: int,
    image_max_bytes: int,
    user_agent_token: str,
    ignore_opt_outs: bool,
    part_rows: int,
    max_dead_share: float,
    program: str | None,
) -> None:
    """Fetch the pictures that the files INPUT of SOURCE name by links, into OUT.

    INPUT is the dataset as it is published: a path, or a pattern in quotes. OUT gets the same rows
    with the pictures' bytes beside them, which SOURCE reads. Typed again, the command goes on where
    it was cut off. Links are fetched with img2dataset, in an environment of its own.
    """
    from mmcore.cli.display_download import DownloadDisplay
    from mmcore.downloading import Fetching, Plan, download, installed, links_of, provided

    links = links_of(source)
    if column:
        links = attrs.evolve(links, column=column)
    plan = Plan(
        source=source,
        links=links,
        pattern=published,
        folder=folder,
        fetching=Fetching(
            processes=processes,
            threads=threads,
            timeout=timeout,
            retries=retries,
            resize_mode=resize_mode,  # type: ignore[arg-type]
            image_size=image_size,
            user_agent_token=user_agent_token,
            ignore_opt_outs=ignore_opt_outs,
        ),
        part_rows=part_rows,
        max_bytes=image_max_bytes,
        max_dead_share=max_dead_share,
    )

    def say(text: str) -> None:
        click.echo(text, err=True)

    plan.shards()  # a misspelt pattern is told before anything is installed
    img2dataset = installed(program) if program else provided(say)
    with DownloadDisplay() as display:
        records = download(plan, img2dataset, display)
    _report(folder, records)


def _report(folder: Path, records: Mapping[str, Record]) -> None:
    from mmcore.downloading import FILE, total

    counts = total(records.values())
    files = "1 file" if len(records) == 1 else f"{len(records):,} files"
    size = sized(counts.picture_bytes)
    click.echo(f"{counts.rows:,} rows in {files} of {folder}, with {size} of pictures")
    rows = [("links", f"{counts.links:,}", ""), _share("alive", counts.alive, counts.links)]
    rows += [_share(f"dead: {cause}", n, counts.links) for cause, n in counts.dead.items()]
    click.echo(columns([(label, count.rjust(11), share) for label, count, share in rows]))
    click.echo(f"counted file by file in {folder / FILE}")


def _share(label: str, count: int, links: int) -> tuple[str, str, str]:
    return label, f"{count:,}", f"{count / links:7.2%}" if links else ""
