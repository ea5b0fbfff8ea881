"""`mmcore generate`: ask a trained run about a picture."""

from __future__ import annotations

from pathlib import Path

import click


@click.command()
@click.argument("run", type=click.Path(path_type=Path))
@click.argument("question")
@click.option(
    "--image",
    "images",
    multiple=True,
    type=click.Path(path_type=Path),
    help="A picture to look at; may be given several times, in order.",
)
@click.option(
    "--max-new-tokens",
    default=64,
    show_default=True,
    type=click.IntRange(min=1),
    help="Longest answer.",
)
@click.option("--temperature", default=0.0, show_default=True, help="0 takes the likeliest token.")
@click.option("--top-p", default=1.0, show_default=True, help="Share of probability drawn from.")
@click.option("--seed", default=0, show_default=True, help="Of what is drawn.")
@click.option("--device", default="auto", show_default=True, help="cpu, cuda, cuda:1, ...")
def command(
    run: Path,
    question: str,
    images: tuple[Path, ...],
    max_new_tokens: int,
    temperature: float,
    top_p: float,
    seed: int,
    device: str,
) -> None:
    """Ask the model of the folder RUN a QUESTION, and print its answer.

    \b
    mmcore generate runs/blip3-tiny --image page.png "What does it say?"
    """
    from mmcore.loading import load

    model = load(run, device=device)
    content = [{"type": "image", "path": str(image)} for image in images]
    content.append({"type": "text", "text": question})
    answer = model.generate(
        [{"role": "user", "content": content}],
        max_new_tokens=max_new_tokens,
        temperature=temperature,
        top_p=top_p,
        seed=seed,
    )
    click.echo(answer)
