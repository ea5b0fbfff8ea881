"""Stands for img2dataset: answers from a folder instead of the web, in the files that it writes.

Beside ``WEB`` (a JSON file: address to what is there) it notes every call. What is there: hex of
bytes; ``"error: MESSAGE"``; ``"lost"`` for no answer at all. The keys ``hang``, ``crash`` and
``cut`` make it wait for ever, end with an error, or leave out its last batch; a batch with the key
``drip`` never ends, and its tar is cut in the last member.
"""

import io
import json
import math
import os
import pathlib
import sys
import tarfile
import time

import pyarrow as pa
import pyarrow.parquet as pq


def main():
    links = sys.argv[1]
    said = dict(word.removeprefix("--").split("=", 1) for word in sys.argv[2:])
    place = pathlib.Path(os.environ["WEB"])
    web = json.loads(place.read_text())
    rows = pq.read_table(links).to_pylist()
    with place.with_suffix(".calls").open("a") as calls:
        calls.write(json.dumps({"said": said, "urls": [row["url"] for row in rows]}) + "\n")
    out = pathlib.Path(said["output_folder"])
    out.mkdir()
    size = int(said["number_sample_per_shard"])
    batches = math.ceil(len(rows) / size)
    urls = [row["url"] for row in rows]
    stuck = urls.index(web["drip"]) // size if "drip" in web else None
    for batch in sorted(range(batches), key=lambda one: one == stuck):  # the others do not wait
        if web.get("hang"):
            place.with_suffix(".pid").write_text(str(os.getpid()))
            time.sleep(600)
        if web.get("crash"):
            sys.exit("no space left, says the fake")
        if not (web.get("cut") and batch == batches - 1):
            write(out / f"{batch:05}", batch, rows[batch * size : (batch + 1) * size], web, said)


def write(stem, batch, rows, web, said):
    digits = math.ceil(math.log10(int(said["number_sample_per_shard"])))
    (column,) = json.loads(said["save_additional_columns"])
    table = []
    with tarfile.open(f"{stem}.tar", "w") as tar:
        for number, row in reversed(list(enumerate(rows))):
            key = f"{10**digits * batch + number:0{digits + 5}d}"
            found = web.get(row["url"], "error: HTTP Error 404: Not Found")
            if found == "lost":
                continue
            failed = found.startswith("error: ")
            table.append(
                {
                    column: row[column],
                    "url": row["url"],
                    "key": key,
                    "status": "failed_to_download" if failed else "success",
                    "error_message": found.removeprefix("error: ") if failed else None,
                }
            )
            if not failed:
                add(tar, f"{key}.jpg", bytes.fromhex(found))
                add(tar, f"{key}.json", json.dumps(table[-1]).encode())
    if any(web.get("drip") == row["url"] for row in rows):
        os.truncate(f"{stem}.tar", os.path.getsize(f"{stem}.tar") - int(web["cut_off"]))
        time.sleep(600)
    schema = pa.schema(
        {
            column: pa.int64(),
            **dict.fromkeys(["url", "key", "status", "error_message"], pa.string()),
        }
    )
    pq.write_table(pa.Table.from_pylist(table, schema), f"{stem}.parquet")
    pathlib.Path(f"{stem}_stats.json").write_text(json.dumps({"count": len(rows)}))


def add(tar, name, data):
    member = tarfile.TarInfo(name)
    member.size, member.mtime = len(data), time.time()  # a fraction: an extended header, as theirs
    tar.addfile(member, io.BytesIO(data))


if __name__ == "__main__":
    main()
