import gzip
import pathlib

from mta.log_file.search import files_with


def test_the_log_and_the_files_that_it_was_moved_to_are_searched_without_case(tmp_path: pathlib.Path) -> None:
    log = tmp_path / "delivery.jsonl"
    log.write_bytes(b'{"recipient":"ben@x.test"}\n')
    (tmp_path / "delivery.jsonl.1").write_bytes(b"." * (1024 * 1024 - 4) + b"Anna@x.test")  # over the end of a block
    with gzip.open(tmp_path / "delivery.jsonl.2.gz", "wb") as packed:
        packed.write(b'{"recipient":"ANNA@X.test"}\n')
    (tmp_path / "delivery.jsonl.3.gz").write_bytes(b"no gzip")  # nobody knows what is in it
    (tmp_path / "other.jsonl").write_bytes(b"anna@x.test")
    found = [pathlib.Path(path).name for path in files_with(str(log), "anna@X.test")]
    assert found == ["delivery.jsonl.1", "delivery.jsonl.2.gz", "delivery.jsonl.3.gz"]
    assert files_with(str(tmp_path / "absent" / "delivery.jsonl"), "a@x.test") == ()
