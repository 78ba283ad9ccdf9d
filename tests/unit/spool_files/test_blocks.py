from hypothesis import given
from hypothesis import strategies as st

from mta.model.entries import Entry
from mta.spool_files.blocks import (
    BATCH,
    batch_block,
    block_size,
    entries_of,
    head_block,
    last_of,
    next_batch,
    read_block,
)

ids = st.from_regex(r"[0-9]{1,13}-[0-9]{1,5}", fullmatch=True)
entries = st.lists(
    st.tuples(st.sampled_from(("", "0", "255")), st.builds(Entry, ids, st.binary(max_size=300), st.binary(max_size=8)))
)


@given(entries)
def test_a_batch_is_read_as_it_was_written(batch):
    raw = batch_block(batch)
    block = read_block(memoryview(raw), 0)
    assert (block.kind, block.end, block_size(raw)) == (BATCH, len(raw), len(raw))
    assert entries_of(block.payload) == batch


@given(entries, st.data())
def test_no_batch_that_is_cut_or_changed_is_taken_for_one(batch, data):
    raw = bytearray(batch_block(batch))
    cut = data.draw(st.integers(0, len(raw) - 1))
    assert read_block(memoryview(raw[:cut]), 0) is None
    raw[data.draw(st.integers(0, len(raw) - 1))] ^= 1 << data.draw(st.integers(0, 7))
    assert read_block(memoryview(raw), 0) is None


@given(entries, st.binary(max_size=200))
def test_the_next_whole_batch_is_found_behind_rubbish(batch, rubbish):
    raw = batch_block(batch)
    assert next_batch(memoryview(rubbish + raw), 0) in range(len(rubbish) + 1)
    assert next_batch(memoryview(rubbish + raw), len(rubbish)) == len(rubbish)
    assert next_batch(memoryview(rubbish + BATCH + raw[:-1]), len(rubbish)) == -1


def test_a_head_names_the_newest_entries():
    raw = head_block({"0": "5-1"})
    assert last_of(read_block(memoryview(raw), 0).payload) == {"0": "5-1"}
