"""Attribute tables of own datasets: CSV and YAML in many forms, errors, and hostile content."""

import numpy as np
import pytest

from msdn_lit.data.benchmarks.attribute_table import read_attribute_table
from msdn_lit.errors import DataError


def test_yaml_is_read_like_csv(tmp_path):
    (tmp_path / "attributes.csv").write_text(
        "class,a,é\nzebra,1,0.5\ncat,0.25,-3\n", encoding="utf-8"
    )
    from_csv = read_attribute_table(tmp_path)
    (tmp_path / "attributes.csv").unlink()
    (tmp_path / "attributes.yaml").write_text(
        "zebra: {a: 1, é: 0.5}\ncat:\n  é: -3\n  a: 0.25\n", encoding="utf-8"
    )
    from_yaml = read_attribute_table(tmp_path)
    assert from_yaml.class_names == from_csv.class_names == ("cat", "zebra")
    assert from_yaml.attribute_names == from_csv.attribute_names == ("a", "é")
    assert from_yaml.values_CK.tolist() == from_csv.values_CK.tolist() == [[0.25, -3], [1, 0.5]]


@pytest.mark.parametrize(
    "text",
    [
        "\ufeffclass,a,b\nx,1,2\ny,3,-4e-1\n",
        "class,a,b\r\nx,1,2\r\n\r\ny,3,-.4\r\n",
        '# note\n"class", a ,"b"\n#,\n x ,1,2\ny,3,-0.4\n,,\n',
    ],
)
def test_csv_of_several_programs(tmp_path, text):
    (tmp_path / "attributes.csv").write_bytes(text.encode())
    table = read_attribute_table(tmp_path)
    assert (table.class_names, table.attribute_names) == (("x", "y"), ("a", "b"))
    np.testing.assert_allclose(table.values_CK, [[1, 2], [3, -0.4]], rtol=1e-6)


# The same table as other programs save it.
_SPREADSHEETS = {
    "empty columns and rows": "class,a,b,,,\nx,1,2,,,\ny,3,-0.4,,,\n,,,,,\n",
    "empty cells beyond some rows": "class,a,b\nx,1,2,,\ny,3,-0.4\n",
    "sep=,": "sep=,\r\nclass,a,b\r\nx,1,2\r\ny,3,-0.4\r\n",
    "sep=;": "sep=;\nclass;a;b\nx;1;2\ny;3;-0,4\n",
    "quoted sep": '"sep=,",,\nclass,a,b\nx,1,2\ny,3,-0.4\n',
    "sep=|": "sep=|\nclass|a|b\nx|1|2\ny|3|-0.4\n",
    "quoted comments": '"# One row per class, one column per attribute",,\n# b,,\n'
    "class,a,b\nx,1,2\ny,3,-0.4\n",
    "semicolons": "class;a;b\nx;1;2\ny;3;-0.4\n",
    "decimal commas": "class;a;b\nx;1,0;2\ny;3;-0,4\n",
    "quoted, semicolons": '"class";"a";"b"\n"x";1;2\n"y";3;-0,4\n',
    "decimal commas with three digits": "class;a;b\nx;1,000;2,00\ny;3;-0,400\n",
    "tabs": "class\ta\tb\nx\t1\t2\ny\t3\t-0,4\n",
    "hard spaces": "class,a,b\nx\xa0,\xa01,2\xa0\ny,3,-0.4\n",
    "CR alone": "class,a,b\rx,1,2\ry,3,-0.4\r",
}


@pytest.mark.fault("tables")
@pytest.mark.parametrize("name", _SPREADSHEETS)
@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
def test_tables_of_spreadsheet_programs(tmp_path, name, encoding):
    (tmp_path / "attributes.csv").write_bytes(_SPREADSHEETS[name].encode(encoding))
    table = read_attribute_table(tmp_path)
    assert (table.class_names, table.attribute_names) == (("x", "y"), ("a", "b"))
    np.testing.assert_allclose(table.values_CK, [[1, 2], [3, -0.4]], rtol=1e-6)


@pytest.mark.fault("tables")
@pytest.mark.parametrize(("yes", "no"), [("TRUE", "FALSE"), ("yes", "No"), ("WAHR", "FALSCH")])
@pytest.mark.parametrize("form", ["csv", "yaml"])
def test_words_for_one_and_zero(tmp_path, yes, no, form):
    csv = f"class,a,b\nx,{yes},50\ny, {no} ,20\nz,1,-3\n"
    yaml = f"x: {{a: {yes}, b: 50}}\ny: {{a: {no}, b: 20}}\nz: {{a: 1, b: -3}}"
    (tmp_path / f"attributes.{form}").write_text({"csv": csv, "yaml": yaml}[form])
    assert read_attribute_table(tmp_path).values_CK.tolist() == [[1, 50], [0, 20], [1, -3]]


@pytest.mark.fault("tables")
@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            "class;a;b\nx;1.000,5;1\ny;1;0,5\n",
            "'a' of 'x' has a point, other numbers have commas: .*found '1.000,5'",
        ),
        (
            "class;a;b\nx;0.5;1\ny;1;0,5\n",
            "'a' of 'x' has a point, other numbers have commas: .*found '0.5'",
        ),
        ("class;a;b\nx;1.000,5;1\ny;1;2\n", "'a' of 'x' is not a valid number.*'1.000,5'"),
        ("class;a;b\nx;1,000;1\ny;1;2\n", "'a' of 'x' is not a valid number.*'1,000'"),
        (
            "class,a,b\nx,TRUE,1\ny,30,2\n",
            "'a' has words and numbers: expected 1 for TRUE and 0 for FALSE, or numbers alone, "
            "found TRUE and 30",
        ),
        (
            "class,x;y\nz,1;2\n",
            "two characters can separate the columns. Begin the file with a line sep=, or sep=;",
        ),
        ("class,a,,b\nx,1,,2\n", "wrong attribute names: expected each once, found '' 1 times"),
        ("class,a,b,,\nx,1,2,,3\n", "wrong attribute names: .*found '' 2 times"),
        ("Animals,,\nclass,a,b\nx,1,2\n", "wrong attribute names: .*found '' 2 times"),
    ],
)
def test_unclear_csv(tmp_path, text, message):
    (tmp_path / "attributes.csv").write_text(text)
    with pytest.raises(DataError, match=message) as caught:
        read_attribute_table(tmp_path)
    assert "\n" not in str(caught.value)


def test_yaml_names_stay_texts(tmp_path):
    (tmp_path / "attributes.yaml").write_text(
        "no: {on: 1, 007: 2}\n1.50: {on: 3, 007: 4}\n2020-01-01: {007: 6, on: 5}"
    )
    table = read_attribute_table(tmp_path)
    assert (table.class_names, table.attribute_names) == (
        ("1.50", "2020-01-01", "no"),
        ("on", "007"),
    )
    assert table.values_CK.tolist() == [[3, 4], [5, 6], [1, 2]]


def test_code_in_yaml_does_not_run(tmp_path):
    trace = tmp_path / "trace"
    text = f"a: {{x: !!python/object/apply:os.mkdir ['{trace}'], y: 1}}\nb: {{x: 1, y: 2}}"
    (tmp_path / "attributes.yaml").write_text(text)
    with pytest.raises(
        DataError, match=r"'x' of 'a' is not a valid number: .*found 'a nested value'"
    ):
        read_attribute_table(tmp_path)
    assert not trace.exists()


def test_nested_aliases_are_not_expanded(tmp_path):
    nest = "".join(f"l{n}: &l{n} [{', '.join([f'*l{n - 1}'] * 10)}]\n" for n in range(1, 40))
    (tmp_path / "attributes.yaml").write_text(f"l0: &l0 [x]\n{nest}")
    with pytest.raises(DataError, match=r"attributes.yaml has a wrong structure"):
        read_attribute_table(tmp_path)


def test_equal_rows_are_reported(tmp_path):
    (tmp_path / "attributes.csv").write_text("class,a,b\nx,1,2\ny,3,4\nz,0.5,1\n")
    with pytest.warns(UserWarning, match=r"no model can distinguish x and z: equal attributes"):
        read_attribute_table(tmp_path)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            "",
            "attributes.csv is empty: expected a name for each attribute and a row for each class",
        ),
        ("class\nx\n", "is empty: .*found 0 attributes, 1 classes"),
        ("class,a\n", "is empty: .*found 1 attributes, 0 classes"),
        (
            "class,a,b\nx,1\n",
            "the row of 'x' is wrong: expected 3 columns as in the header, found 2",
        ),
        (
            "class,a,b\nx,1,2,3\n",
            "the row of 'x' is wrong: expected 3 columns as in the header, found 4",
        ),
        ("class,a,b\nx,1,2\nx,1,3\n", "wrong class names: expected each once, found 'x' 2 times"),
        ("class,a,a\nx,1,2\n", "wrong attribute names: expected each once, found 'a' 2 times"),
        ("class,a,\nx,1,2\n", "wrong attribute names: expected each once, found '' 1 times"),
        ("class,a\n,1\n", "wrong class names: expected each once, found '' 1 times"),
        (
            "class,a,b\nx,1,many\n",
            "'b' of 'x' is not a valid number: expected e.g. 1 or 0.25, found 'many'",
        ),
        ("class,a,b\nx,1,\n", "'b' of 'x' is not a valid number: .*found ''"),
        ('class,a,b\nx,1,"0,5"\n', "'b' of 'x' is not a valid number: .*found '0,5'"),
        ("class,a,b\nx,nan,1\n", "'a' of 'x' is not a valid number: .*found 'nan'"),
        ("class,a,b\nx,1,-inf\n", "'b' of 'x' is not a valid number: .*found '-inf'"),
        ("class,a,b\nx,1,1e99\n", "'b' of 'x' is not a valid number: .*found '1e99'"),
        ("class,a,b\nx,1,1\ny,0,-0\n", "classes without any attribute: found y"),
        ('class,a\n"x,1\n', "is not a CSV file"),
    ],
)
def test_wrong_csv(tmp_path, text, message):
    (tmp_path / "attributes.csv").write_text(text)
    with pytest.raises(DataError, match=message):
        read_attribute_table(tmp_path)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "has a wrong structure: expected a mapping of classes to mappings"),
        ("{}", "is empty"),
        ("x: {}", "is empty"),
        ("[x, y]", "has a wrong structure"),
        ("x: 1", "has a wrong structure"),
        ("x: {a: 1", "is not a YAML file"),
        ("x: \x00", "is not a YAML file"),
        ("[" * 5000, "is not a YAML file"),
        ("x: {a: 1}\nx: {a: 2}", "wrong class names: expected each once, found 'x' 2 times"),
        (
            "x: {a: 1, a: 2}",
            "'x' has other attributes: expected those of 'x', once each, found a difference in a",
        ),
        (
            "x: {a: 1, b: 1}\ny: {a: 2}",
            "'y' has other attributes: expected those of 'x', .*difference in b",
        ),
        (
            "x: {a: 1, b: 1}\ny: {a: 2, c: 1, a: 1}",
            "'y' has other attributes: .*difference in a, b, c",
        ),
        ("x: {a: maybe}", "'a' of 'x' is not a valid number: .*found 'maybe'"),
        ("x: {a: }", "'a' of 'x' is not a valid number: .*found ''"),
        ("x: {a: .nan}", "'a' of 'x' is not a valid number"),
        ("x: {a: [1]}", "'a' of 'x' is not a valid number: .*a nested value"),
    ],
)
def test_wrong_yaml(tmp_path, text, message):
    (tmp_path / "attributes.yaml").write_text(text)
    with pytest.raises(DataError, match=message):
        read_attribute_table(tmp_path)
