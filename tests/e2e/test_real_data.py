"""The example with real sentence embeddings, and the recall it must reach.

HOLDFAST_DATA names the folder; by default it is the one the example itself looks for. HOLDFAST_DATA_ROWS
stores only the first rows, for a quick look with an unoptimised build.
"""

import os
from pathlib import Path

import pytest
import real_embeddings

FOLDER = Path(os.environ.get("HOLDFAST_DATA", real_embeddings.DEFAULT_FOLDER))


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_recall_on_real_embeddings_with_and_without_filters(server, shared_client, new_name, monkeypatch, capsys):
    if not FOLDER.is_dir():
        pytest.skip(
            f"no folder {FOLDER}: set HOLDFAST_DATA to one with base_f16.npy, query_f32.npy and attributes.parquet"
        )
    rows = os.environ.get("HOLDFAST_DATA_ROWS")
    if rows:
        load = real_embeddings.load

        def first_rows(folder):
            data = load(folder)
            data.base = data.base[: int(rows)]
            data.columns = {name: values[: int(rows)] for name, values in data.columns.items()}
            return data

        monkeypatch.setattr(real_embeddings, "load", first_rows)
    name = new_name("c")
    try:
        lines = real_embeddings.run(server.uri, FOLDER, name)
    finally:
        if shared_client.has_collection(name):
            shared_client.drop_collection(name)
    unfiltered, *filtered = lines
    assert unfiltered.filter == "" and unfiltered.recall >= 0.98, unfiltered
    assert [round(m.kept, 2) > 0 for m in filtered] == [True] * 3
    for measured, share in zip(filtered, (0.5, 0.1, 0.01), strict=True):
        assert share / 1.6 <= measured.kept <= share * 1.6, (
            f"the filter keeps {measured.kept:.2%}, not about {share:.0%}"
        )
        assert measured.recall >= 0.95, measured


def test_the_example_says_how_to_bring_your_own_data(tmp_path):
    with pytest.raises(real_embeddings.NoData, match="bringing your own"):
        real_embeddings.load(tmp_path)
