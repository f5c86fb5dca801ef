"""What the journal knows of todos that wait."""

import time

from tests.chaos.journal import Accepted, Journal


def journal_of(*partitions: int, at: float) -> Journal:
    """One waiting todo for each partition, by the partition's name, acknowledged a second after another."""
    journal = Journal()
    for number, partition in enumerate(partitions):
        journal.accept(Accepted(f"{partition}", f"todo {partition}", at + number, partition, 0))
    return journal


def test_other_partitions_may_be_caught_up_without_one() -> None:
    journal = journal_of(0, 1, 2, at=100)
    assert not journal.is_caught_up(102, apart_from=1)
    assert journal.is_caught_up(99)

    journal.see(["0", "2"], 103)

    assert journal.is_caught_up(102, apart_from=1)
    assert not journal.is_caught_up(102, apart_from=2)
    assert not journal.is_caught_up(102)


def test_what_was_stored_is_counted_by_its_time() -> None:
    journal = journal_of(0, 1, at=100)
    journal.see(["0"], 110)
    journal.see(["1"], 120)

    assert (1, 2, 0) == (journal.seen_between(105, 115), journal.seen_between(105, 125), journal.seen_between(111, 119))


def test_the_longest_wait_is_that_of_the_oldest_todo() -> None:
    assert 0 == Journal().longest_wait()
    journal = journal_of(0, 1, at=time.time() - 1000)
    assert 1000 <= journal.longest_wait() < 1100

    journal.see(["0", "1"], time.time())
    assert 0 == journal.longest_wait()

    journal.unsee({"1"})  # the database came back without it: now it waits, and did not before
    assert 0 <= journal.longest_wait() < 100
