"""Which files a split of a Hugging Face dataset lies in, found without a look into them."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path, PurePosixPath
from typing import Final

from mmcore.kit import store

SAVED, SAVED_SPLITS = "state.json", "dataset_dict.json"
"""By these files one knows what ``save_to_disk`` wrote: one split, or a folder for each."""

READERS: Final = {
    ".tar": "use = 'webdataset' reads tars",
    ".jsonl": "use = 'llava-json' reads conversations, 'captioned-folder' a metadata.jsonl",
    ".json": "use = 'llava-json' reads conversations",
    ".csv": "use = 'captioned-folder' reads a metadata.csv",
    **dict.fromkeys((".jpg", ".jpeg", ".png", ".webp"), "use = 'captioned-folder' reads pictures"),
}
"""Which source reads files whose rows cannot be counted without reading them."""

STREAMED: Final = (".parquet", ".arrow")
"""Files that know how many rows they have."""


def files_of(path: str, config: str, split: str, *, streaming: bool) -> list[str]:
    """The files of a split, in order.

    Raises:
        FileNotFoundError: there are none; says what would make some.
        ValueError: they are of a kind whose rows cannot be found.
    """
    path = store.local(path)
    if is_saved(path):
        return saved_files(path, split)
    if store.is_url(path) and not streaming:
        raise ValueError(f"path is {path!r}; a URL is read with streaming = true")
    return (streamed_files if streaming else prepared_files)(path, config, split)


def is_saved(path: str) -> bool:
    """Whether ``save_to_disk`` wrote this folder."""
    return any((Path(path) / name).exists() for name in (SAVED, SAVED_SPLITS))


def saved_files(path: str, split: str) -> list[str]:
    """The Arrow files of a folder that ``save_to_disk`` wrote, in order.

    Raises:
        FileNotFoundError: it has no such split; names those that it has.
    """
    folder = Path(path)
    if (folder / SAVED_SPLITS).exists():
        splits = json.loads((folder / SAVED_SPLITS).read_text(encoding="utf-8"))["splits"]
        if split not in splits:
            raise FileNotFoundError(_no_split(path, split, splits))
        folder /= split
    state = json.loads((folder / SAVED).read_text(encoding="utf-8"))
    if (held := state.get("_split")) not in (None, split):
        raise FileNotFoundError(_no_split(path, split, [held]))
    return [str(folder / file["filename"]) for file in state["_data_files"]]


def prepared_files(path: str, config: str, split: str) -> list[str]:
    """The Arrow files into which ``load_dataset`` turned a folder's or a named dataset's.

    Raises:
        FileNotFoundError: it did not, or there is no such split.
    """
    import datasets

    try:
        with _offline():
            builder = datasets.load_dataset_builder(path, config or None)
            dataset = builder.as_dataset(split=split)
    except (FileNotFoundError, ConnectionError) as error:
        streaming = "; or streaming = true reads its files as they are"
        raise FileNotFoundError(
            f"{path!r} was neither written by save_to_disk nor prepared by load_dataset on this "
            "machine, and nothing is fetched or copied while training runs; to prepare it, run "
            f'python -c "import datasets; datasets.load_dataset({_call(path, config)})"'
            f"{streaming if Path(path).is_dir() else ''}"
        ) from error
    except ValueError as error:  # of a split or configuration; names those that there are
        raise FileNotFoundError(f"{path!r}: {error}") from error
    assert isinstance(dataset, datasets.Dataset)
    return [file["filename"] for file in dataset.cache_files]


def streamed_files(path: str, config: str, split: str) -> list[str]:
    """The files of a split of a folder, or of a URL of one, as they are.

    Raises:
        FileNotFoundError: there is no such folder or split.
        ValueError: the files are of a kind whose rows cannot be counted without reading them
            all; says which source reads them.
    """
    if path.startswith("hf://") or not (store.is_url(path) or Path(path).is_dir()):
        name = path.removeprefix("hf://datasets/").removeprefix("hf://")
        raise FileNotFoundError(
            f"{path!r} is no folder, and nothing is fetched from the Hub while training runs; a "
            f"dataset of that name comes here with: hf download --repo-type dataset {name} "
            f"--local-dir data/{name.rpartition('/')[2]}"
        )
    try:
        by_split = _data_files(path, config)
    except FileNotFoundError as error:
        raise FileNotFoundError(f"no files of a dataset in {path!r}: {error}") from error
    if split not in by_split:
        raise FileNotFoundError(_no_split(path, split, by_split))
    files = by_split[split]
    for file in files:
        if not file.endswith(STREAMED):
            suffix = PurePosixPath(file).suffix.lower()
            other = READERS.get(suffix, "save it as parquet, or prepare it with load_dataset")
            raise ValueError(
                f"{file} cannot be streamed, for where its rows begin is only known once it was "
                f"read; wanted {' or '.join(STREAMED)} files; {other}"
            )
        if file.endswith(".arrow") and store.is_url(file):
            raise ValueError(f"{file} cannot be read from a URL; wanted it here, or as parquet")
    return files


def _data_files(path: str, config: str) -> dict[str, list[str]]:
    """Files of every split."""
    import datasets
    from datasets.data_files import DataFilesDict, get_data_patterns

    if store.is_url(path):
        if config:
            raise ValueError(f"config is {config!r}, which cannot be looked up at a URL ({path})")
        found = DataFilesDict.from_patterns(get_data_patterns(path), base_path=path)
    else:
        with _offline():
            found = datasets.load_dataset_builder(path, config or None).config.data_files
    return {str(name): [str(file) for file in files] for name, files in found.items()}


@contextmanager
def _offline() -> Iterator[None]:
    """Names of datasets are looked up in the cache alone."""
    import datasets

    before = datasets.config.HF_HUB_OFFLINE
    datasets.config.HF_HUB_OFFLINE = True
    try:
        yield
    finally:
        datasets.config.HF_HUB_OFFLINE = before


def _no_split(path: str, split: str, splits: object) -> str:
    listing = ", ".join(map(str, splits)) if isinstance(splits, list | dict) else splits
    return f"{path!r} has no split {split!r}; it has: {listing}"


def _call(path: str, config: str) -> str:
    return f"'{path}', '{config}'" if config else f"'{path}'"
