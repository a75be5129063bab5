"""Tables of numbers: read whole, each row by its name, and refused with the line that is wrong."""

import os
from pathlib import Path

import numpy as np
import pytest

from hdtrans.common.errors import UserError
from hdtrans.data.io.read import contents
from hdtrans.data.io.tables import is_table, read_row, read_table, split_row


def table(folder: Path, text: str, name: str = "train_points.csv") -> Path:
    """Write a table and return its path."""
    file = folder / name
    file.write_text(text, encoding="utf-8")
    return file


class TestRead:
    def test_rows_and_columns(self, tmp_path: Path) -> None:
        found = read_table(table(tmp_path, "name,x,y\nb/2.png,1,2.5\na,-3e2, 4 \n"))
        assert found.columns == ("x", "y") and list(found.rows) == ["b/2.png", "a"]
        assert found.rows["b/2.png"].dtype == np.float32
        assert found.rows["b/2.png"].tolist() == [1, 2.5] and found.rows["a"].tolist() == [-300, 4]

    def test_empty_cells_are_missing_numbers(self, tmp_path: Path) -> None:
        row = read_table(table(tmp_path, "name,x,y,z\na,,2, \n")).rows["a"]
        assert np.isnan(row).tolist() == [True, False, True] and row[1] == 2

    def test_a_byte_order_mark_quotes_and_empty_lines(self, tmp_path: Path) -> None:
        file = table(tmp_path, '\ufeffname,"x, left"\r\n"a, b",1\r\n\r\nc,2\r\n')
        found = read_table(file)
        assert found.columns == ("x, left",) and list(found.rows) == ["a, b", "c"]

    def test_tables_of_spreadsheets(self, tmp_path: Path) -> None:
        """Semicolons with decimal commas, tabs, and UTF-16 with its mark."""
        semicolons = read_table(table(tmp_path, "\ufeffname;x;y\r\na;1,5;\r\n'b, c';-2;3e1\r\n", "a.csv"))
        assert semicolons.columns == ("x", "y") and semicolons.rows["'b, c'"].tolist() == [-2, 30]
        assert semicolons.rows["a"][0] == 1.5 and np.isnan(semicolons.rows["a"][1])
        (tmp_path / "b.csv").write_bytes("name\tx\r\nü\t1.25\r\n".encode("utf-16"))
        tabs = read_table(tmp_path / "b.csv")
        assert tabs.columns == ("x",) and tabs.rows["ü"].tolist() == [1.25]
        commas = read_table(table(tmp_path, "name,x;y\na,1\n", "c.csv"))
        assert commas.columns == ("x;y",), "a comma goes first"

    def test_names_that_are_not_utf8(self, tmp_path: Path) -> None:
        (tmp_path / "a.csv").write_bytes(b"name,x\ncaf\xe9,1\n")
        name = os.fsdecode(b"caf\xe9")
        assert read_row(f"{tmp_path}/a.csv/{name}").tolist() == [1]

    def test_a_table_of_no_rows(self, tmp_path: Path) -> None:
        assert read_table(table(tmp_path, "name,x\n")).rows == {}

    def test_a_table_that_changes_is_read_again(self, tmp_path: Path) -> None:
        file = table(tmp_path, "name,x\na,1\n")
        assert read_table(file) is read_table(str(file)), "kept in memory"
        table(tmp_path, "name,x\na,2\n")
        os.utime(file, ns=(1, 1))
        assert read_table(file).rows["a"].tolist() == [2]


class TestRows:
    def test_a_row_by_its_path(self, tmp_path: Path) -> None:
        file = table(tmp_path, "name,x,y\nday/a.png,1,2\n")
        path = f"{file}/day/a.png"
        assert split_row(path) == (str(file), "day/a.png") and read_row(path).tolist() == [1, 2]
        assert contents(path) == np.array([1, 2], np.float32).tobytes()

    def test_a_row_can_be_written_to(self, tmp_path: Path) -> None:
        path = f"{table(tmp_path, 'name,x' + chr(10) + 'a,1' + chr(10))}/a"
        read_row(path)[0] = 9
        assert read_row(path).tolist() == [1]

    def test_endings_of_any_case(self, tmp_path: Path) -> None:
        file = table(tmp_path, "name,x\na,1\n", "P.CSV")
        assert is_table(file) and read_row(f"{file}/a").tolist() == [1]

    def test_folders_that_are_called_as_tables_are_none(self, tmp_path: Path) -> None:
        (tmp_path / "x.csv").mkdir()
        file = table(tmp_path / "x.csv", "name,x\na.csv/b,1\n", "y.csv")
        assert not is_table(tmp_path / "x.csv") and split_row(f"{tmp_path}/x.csv/1.png") == ("", "")
        assert split_row(f"{file}/a.csv/b") == (str(file), "a.csv/b") and read_row(f"{file}/a.csv/b").tolist() == [1]

    def test_no_row(self, tmp_path: Path) -> None:
        file = table(tmp_path, "name,x\na,1\n")
        with pytest.raises(UserError, match=r"train_points\.csv: has no row b$"):
            read_row(f"{file}/b")
        with pytest.raises(UserError, match=r"1\.png: a row of a table \(FILE\.csv/NAME\) is expected"):
            read_row(f"{tmp_path}/1.png")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "line 1: a header with a name and at least one number is expected"),
        ("name\na\n", "line 1: a header with a name and at least one number is expected"),
        ("name,x\na,1;5\n", "line 2: '1;5' is no number"),
        ("name\tx\na\t1,250\n", "line 2: '1,250' is no number"),
        ("name;x\na;1;5\n", "line 2: has 3 cells, but the header has 2"),
        ("name;x\na;1,2,3\n", "line 2: '1,2,3' is no number"),
        ("name,x,y\na,1,2\nb,1\n", "line 3: has 2 cells, but the header has 3"),
        ("name,x\na,1\nb,2\na,3\n", "line 4: the name a stands twice; keep one of the rows"),
        ("name,x\na,one\n", "line 2: 'one' is no number"),
        ("name,x\na,nan\n", "line 2: 'nan' is not finite; leave the cell empty for a missing number"),
        ("name,x\na,-inf\n", "line 2: '-inf' is not finite"),
        ("name,x\na,1e39\n", "line 2: '1e39' is not finite"),
        ("name,x\n,1\n", "line 2: the name is empty"),
    ],
)
def test_refused(tmp_path: Path, text: str, message: str) -> None:
    file = table(tmp_path, text)
    with pytest.raises(UserError) as caught:
        read_table(file)
    assert str(caught.value).startswith(f"{file}: {message}")


def test_no_text_and_no_file(tmp_path: Path) -> None:
    file = tmp_path / "x.csv"
    with pytest.raises(UserError, match=r"x\.csv: cannot be opened: No such file"):
        read_table(file)
    file.write_bytes(b"\xff\xd8\xff\xe0")
    with pytest.raises(UserError, match=r"x\.csv: line 1: a header with a name and at least one number is expected"):
        read_table(file)
    file.write_bytes(b"\xff\xfea")
    with pytest.raises(UserError, match=r"x\.csv: cannot be read as a CSV table in UTF-8: "):
        read_table(file)
