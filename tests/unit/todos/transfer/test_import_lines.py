"""Every line of a file is a todo, or says what is wrong with it; a bad line costs no other one."""

import io
import tracemalloc
from pathlib import Path
from uuid import UUID, uuid4

import pytest
from hypothesis import given
from hypothesis import strategies as st

from todos.transfer.imports.lines import Line, RejectedLine, UnusableFile, check_line, read_lines
from todos.transfer.imports.physical import MAX_LINE_BYTES, FilePosition

START = FilePosition()
HEADING = b"title,description,id,created_at\n"


def read(
    data: bytes, file_format: str = "csv", *, ignore_unknown: bool = False, start: FilePosition = START
) -> list[Line]:
    return list(read_lines(io.BytesIO(data), file_format, ignore_unknown=ignore_unknown, start=start))


def fields(data: bytes, file_format: str = "csv") -> list[dict[str, object]]:
    return [line.fields for line in read(data, file_format)]


def faults(data: bytes, file_format: str = "csv") -> dict[int, dict[str, str]]:
    """By line, of those that cannot be a todo."""
    checked = [check_line(line, UUID(int=1)) for line in read(data, file_format)]
    return {line.number: line.errors for line in checked if isinstance(line, RejectedLine)}


# --- What is read


@pytest.mark.parametrize("bom", [b"", b"\xef\xbb\xbf"])
@pytest.mark.parametrize("end", [b"\n", b"\r\n"])
def test_csv_with_or_without_bom_and_with_either_end_of_line(bom: bytes, end: bytes) -> None:
    data = bom + end.join([b"title,description", "Einkäufe,".encode(), b'"two, three","a\r\n""b"""', b"last,one"])
    assert fields(data) == [
        {"title": "Einkäufe", "description": ""},
        {"title": "two, three", "description": 'a\r\n"b"'},
        {"title": "last", "description": "one"},
    ]


@pytest.mark.parametrize("bom", [b"", b"\xef\xbb\xbf"])
def test_json_lines(bom: bytes) -> None:
    data = bom + '{"title": "Einkäufe"}\n\n{"title": "two", "description": null}\r\n{"title": "last"}'.encode()
    assert fields(data, "jsonl") == [{"title": "Einkäufe"}, {"title": "two", "description": None}, {"title": "last"}]
    assert [line.number for line in read(data, "jsonl")] == [1, 3, 4]


def test_empty_cells_are_no_id_and_no_time_but_an_empty_description() -> None:
    (line,) = read(HEADING + b"a,,,\n")
    assert line.fields == {"title": "a", "description": "", "id": None, "created_at": None}
    assert not isinstance(check_line(line, uuid4()), RejectedLine)


def test_the_columns_of_an_export_are_known_and_blank_lines_are_none() -> None:
    data = b"id,title,description,owner,is_done,created_at,stored_at,updated_at\n\n\r\n,a,,,true,,,\n"
    (line,) = read(data)
    assert (line.number, line.fields["title"], line.fields["is_done"]) == (4, "a", "true")


def test_an_apostrophe_in_front_of_a_formula_is_taken_away() -> None:
    assert fields(b"title,description\n'=1+1,'twas\n") == [{"title": "=1+1", "description": "'twas"}]


@pytest.mark.parametrize(
    ("heading", "message"),
    [
        (b"", "is empty; the first line must name the columns"),
        (b"name\n", "line 1 has no column title, only 'name'"),
        (
            b"title,due\n",
            "column 'due': unknown; known are title, description, owner, id, created_at; --ignore-unknown",
        ),
        (b"title,title\n", "line 1 names the column 'title' twice"),
        (b'"title\n', "line 1: a quote is opened and not closed"),
        (b"title,\xe9\n", "line 1: must be UTF-8"),
        ("title\n".encode("utf-16"), "line 1: must be UTF-8"),
    ],
)
def test_a_csv_file_whose_heading_is_unusable_is_refused_at_once(heading: bytes, message: str) -> None:
    with pytest.raises(UnusableFile, match=message):
        read_lines(io.BytesIO(heading), "csv", ignore_unknown=False, start=START)


def test_unknown_columns_can_be_left_out() -> None:
    assert [{"title": "a"}] == [line.fields for line in read(b"due,title\nsoon,a\n", ignore_unknown=True)]
    (line,) = read(b'{"due": "soon", "title": "a"}', "jsonl", ignore_unknown=True)
    assert line.errors == {}


# --- What is rejected


LONG = b"x" * 256


@pytest.mark.parametrize(
    ("row", "errors"),
    [
        (b",,,", {"title": "String should have at least 1 character"}),
        (LONG + b",,,", {"title": "String should have at most 255 characters"}),
        (b"a,%s,," % (LONG * 40), {"description": "String should have at most 10000 characters"}),
        (b"a\0b,,,", {"title": "must not contain the character U+0000"}),
        (b"caf\xe9,,,", {"title": "must be UTF-8"}),
        (b"\xed\xa0\x80,,,yesterday", {"title": "must be UTF-8", "created_at": "Input should be a valid datetime"}),
        (b"a,,4711,", {"id": "Input should be a valid UUID"}),
        (b"a,,00000000-0000-0000-0000-000000000000,", {"id": "must not be the nil UUID"}),
        (b"a,,,2026-02-30T08:00:00Z", {"created_at": "Input should be a valid datetime"}),
        (b"a,,,2026-02-03T08:00:00", {"created_at": "Input should have timezone info"}),
        (b"a,,,1969-12-31T23:00:00Z", {"created_at": "Input should be greater than or equal to 1970-01-01"}),
        (b"a,b", {"line": "has 2 cells, but the heading has 4"}),
        (b"a,b,,,", {"line": "has 5 cells, but the heading has 4"}),
        (b'"a,,,', {"line": "a quote is opened and not closed"}),
        (b'"a"b,,,', {"line": "is not CSV: ',' expected after '\"'"}),
        (b'5" pipe,,,', {"line": "a quote is inside a cell"}),
        (b"a\rb,,,", {"line": "is not CSV: new-line character seen in unquoted field"}),
        (b"x" * (MAX_LINE_BYTES + 1), {"line": "longer than 1,048,576 bytes"}),
    ],
)
def test_a_bad_line_of_csv_says_why_and_costs_no_other(row: bytes, errors: dict[str, str]) -> None:
    found = faults(HEADING + b"first,,,\n" + row + b"\nlast,,,\n")
    assert [3] == list(found)
    assert errors.keys() == found[3].keys()
    for field, message in errors.items():
        assert found[3][field].startswith(message), found


@pytest.mark.parametrize(
    ("row", "errors"),
    [
        (b"title", {"line": "must be valid JSON"}),
        (b'{"title": "a"', {"line": "must be valid JSON"}),
        (b'{"title": "a"} {}', {"line": "must be valid JSON"}),
        (b"[" * 100_000, {"line": "must be valid JSON"}),
        (b'["title"]', {"line": "must be a JSON object"}),
        (b'{"title": "caf\xe9"}', {"line": "must be UTF-8"}),
        (b"{}", {"title": "Field required"}),
        (b'{"title": null}', {"title": "Input should be a valid string"}),
        (b'{"title": 7}', {"title": "Input should be a valid string"}),
        (b'{"title": {"a": 1}}', {"title": "must be neither an array nor an object"}),
        (b'{"title": "\\u0000"}', {"title": "must not contain the character U+0000"}),
        (b'{"title": "\\ud800"}', {"title": "must not contain lone surrogates"}),
        (b'{"title": "a", "created_at": 7}', {"created_at": "Input should be a valid datetime"}),
        (b'{"title": "a", "name": "b"}', {"name": "unknown; known are title, description, owner, id, created_at"}),
        (b'{"title": "%s"}' % (b"x" * MAX_LINE_BYTES), {"line": "longer than 1,048,576 bytes"}),
    ],
)
def test_a_bad_line_of_json_says_why_and_costs_no_other(row: bytes, errors: dict[str, str]) -> None:
    found = faults(b'{"title": "first"}\n' + row + b'\n{"title": "last"}\n', "jsonl")
    assert {2: errors} == found


def test_a_quote_that_is_never_closed_costs_its_own_line_however_long_the_file_is() -> None:
    rows = [b'"open,,,', *(b"todo %d,,," % number for number in range(50_000)), b'"late,,,', b'"a\nb",,,']
    lines = read(HEADING + b"\n".join(rows))
    assert [2, 50_003] == [line.number for line in lines if line.errors]
    assert 50_000 + 3 == len(lines)
    assert "a\nb" == lines[-1].fields["title"]


def test_the_rest_of_a_broken_quoted_text_is_no_todo() -> None:
    """Its last line, read by itself, would look like one."""
    assert [2, 3] == list(faults(b'title,description\n"He said "hi" to\nme, and left"\nlast,\n'))


# --- Where to continue


@given(st.lists(st.sampled_from([b"a,b", b'"a\nb",c', b"", b"bad", b'"open', "ä,ö".encode()]), min_size=1))
def test_reading_can_go_on_behind_every_line(rows: list[bytes]) -> None:
    data = b"\xef\xbb\xbftitle,description\n" + b"\r\n".join(rows)
    lines = read(data)
    for count, line in enumerate(lines, start=1):
        assert lines[count:] == read(data, start=line.end)


@pytest.mark.slow
def test_a_line_of_a_gigabyte_is_not_read_into_memory(tmp_path: Path) -> None:
    path = tmp_path / "todos.jsonl"
    with path.open("wb") as file:
        file.truncate(1 << 30)
    tracemalloc.start()
    try:
        with path.open("rb") as source:
            (line,) = read_lines(source, "jsonl", ignore_unknown=False, start=START)
        assert (line.errors, line.end) == ({"line": "longer than 1,048,576 bytes"}, FilePosition(1, 1 << 30))
        assert tracemalloc.get_traced_memory()[1] < 8 * MAX_LINE_BYTES
    finally:
        tracemalloc.stop()


# --- Ids


def test_the_id_of_a_line_is_the_same_in_every_run_and_another_for_every_line() -> None:
    data = HEADING + b"same,,,\nsame,,,\nown,,7f3c1c1e-5d0f-4c57-9d1c-3f1f0a1e9a11,\n"
    one, other = (
        [event.id for line in read(data) if not isinstance(event := check_line(line, UUID(int=number)), RejectedLine)]
        for number in (1, 2)
    )
    again = [event.id for line in read(data) if not isinstance(event := check_line(line, UUID(int=1)), RejectedLine)]
    assert one == again
    assert len({*one, *other}) == 5
    assert one[2] == other[2] == UUID("7f3c1c1e-5d0f-4c57-9d1c-3f1f0a1e9a11")
