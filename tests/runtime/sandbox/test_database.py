"""Opening the ledger's file: what is refused, and that each refusal says what to do."""

import multiprocessing
import sqlite3

import pytest

from runtime.sandbox.clock import Clock
from runtime.sandbox.database import Database, DatabaseUnusableError


def test_a_ledger_is_found_again_with_its_clock(tmp_path):
    database = Database(tmp_path / "ledger.db")
    advanced = Clock(database).advance(3600)
    database.close()
    database = Database(tmp_path / "ledger.db")
    assert Clock(database).now() >= advanced
    database.close()


def test_the_clock_does_not_go_back(tmp_path):
    database = Database(tmp_path / "ledger.db")
    with pytest.raises(ValueError, match="forward"):
        Clock(database).advance(-1)
    database.close()


def write_other_version(path):
    Database(path).close()
    with sqlite3.connect(path) as connection:
        connection.execute("PRAGMA user_version=3")
    connection.close()


def write_other_program(path):
    with sqlite3.connect(path) as connection:
        connection.execute("CREATE TABLE theirs (x)")
    connection.close()


@pytest.mark.parametrize(
    ("prepare", "says"),
    [
        (write_other_version, "schema version 3, this sandbox writes version 2"),
        (write_other_program, "another program"),
        (lambda path: path.write_bytes(b"this is no database at all" * 100), "not a usable sandbox ledger"),
        (lambda path: path.mkdir(), "Cannot open"),
    ],
)
def test_a_file_that_cannot_be_the_ledger_is_refused_and_left_as_it_is(tmp_path, prepare, says):
    path = tmp_path / "ledger.db"
    prepare(path)
    before = path.read_bytes() if path.is_file() else None
    with pytest.raises(DatabaseUnusableError, match=says) as refused:
        Database(path)
    assert str(path) in str(refused.value)
    assert "--database" in str(refused.value)
    assert (path.read_bytes() if path.is_file() else None) == before


def test_a_folder_that_is_not_there_is_named(tmp_path):
    with pytest.raises(DatabaseUnusableError, match=r"Cannot write beside .*nowhere"):
        Database(tmp_path / "nowhere" / "ledger.db")


def open_and_report(path, verdict):
    try:
        Database(path).close()
        verdict.put("opened")
    except DatabaseUnusableError as error:
        verdict.put(str(error))


def test_a_second_process_is_kept_out_and_told_who_has_it(tmp_path):
    database = Database(tmp_path / "ledger.db")
    context = multiprocessing.get_context("spawn")
    verdict = context.Queue()
    process = context.Process(target=open_and_report, args=(tmp_path / "ledger.db", verdict))
    process.start()
    said = verdict.get(timeout=60)
    process.join()
    database.close()
    assert "in use by another sandbox" in said
    assert f"process {multiprocessing.current_process().pid}" in said
    Database(tmp_path / "ledger.db").close()


def test_a_reader_sees_one_moment_and_holds_nobody_up(tmp_path):
    database = Database(tmp_path / "ledger.db")
    count = "SELECT count(*) AS number FROM settings"
    with database.snapshot() as reader:
        before = reader.execute(count).fetchone()["number"]
        with database.transaction() as writer:
            writer.execute("INSERT INTO settings VALUES ('other', 1)")
        assert reader.execute(count).fetchone()["number"] == before
    with database.snapshot() as reader:
        assert reader.execute(count).fetchone()["number"] == before + 1
        with pytest.raises(sqlite3.OperationalError, match="readonly"):
            reader.execute("DELETE FROM settings")
    database.close()
