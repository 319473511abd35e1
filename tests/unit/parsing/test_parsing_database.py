"""Loading databases: what is kept, what is left out and said, and what is refused in one sentence."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from duco_workbench.errors import ConfigError
from duco_workbench.parsing import load, load_text

GOOD = """VERSION ""
BU_: ECU
BO_ 2364540158 EEC1: 8 ECU
 SG_ Speed : 24|16@1+ (0.125,0) [0|8031.875] "rpm" Vector__XXX
 SG_ Gear : 0|4@1- (1,0) [-8|7] "" Vector__XXX
BO_ 256 Mux: 8 Vector__XXX
 SG_ Sel M : 0|8@1+ (1,0) [0|0] "" Vector__XXX
 SG_ In m3 : 15|16@0+ (1,0) [0|0] "" Vector__XXX
CM_ BO_ 256 "a message";
CM_ SG_ 2364540158 Speed "of the engine";
BA_DEF_ SG_ "SPN" INT 0 524287;
BA_DEF_ SG_ "SystemSignalLongSymbol" STRING;
BA_DEF_ BO_ "VFrameFormat" ENUM "StandardCAN","ExtendedCAN","reserved","J1939PG";
BA_DEF_DEF_ "SPN" 0;
BA_DEF_DEF_ "SystemSignalLongSymbol" "";
BA_DEF_DEF_ "VFrameFormat" "J1939PG";
BA_ "SPN" SG_ 2364540158 Speed 190;
BA_ "SystemSignalLongSymbol" SG_ 2364540158 Gear "Gear that is engaged, by the gearbox";
VAL_ 256 Sel 3 "three";
"""


def names(database: object) -> dict[str, list[str]]:
    return {m.name: [s.name for s in m.signals] for m in database.messages}  # type: ignore[attr-defined]


def test_what_a_catalog_needs_is_kept() -> None:
    eec1, mux = load_text(GOOD).messages
    assert (eec1.frame_id, eec1.is_extended, eec1.is_j1939, eec1.length) == (0x0CF004FE, True, True, 8)
    assert eec1.senders == ("ECU",)
    speed = next(s for s in eec1.signals if s.name == "Speed")
    assert (speed.spn, speed.unit, speed.scale, speed.minimum, speed.maximum) == (190, "rpm", 0.125, 0.0, 8031.875)
    assert speed.comment == "of the engine"
    gear = next(s for s in eec1.signals if s.name != "Speed")
    assert gear.name == gear.long_name == "Gear that is engaged, by the gearbox"
    assert (gear.spn, gear.is_signed) == (None, True)
    assert (mux.is_j1939, mux.comment) == (False, "a message")
    sel, inside = mux.signals
    assert (sel.is_multiplexer, dict(sel.choices)) == (True, {3: "three"})
    assert (inside.multiplexer_signal, inside.multiplexer_ids, inside.byte_order) == ("Sel", (3,), "big_endian")


@pytest.mark.parametrize(
    ("instead", "is_j1939"),
    [
        ('BA_DEF_DEF_ "VFrameFormat" "";\nBA_ "VFrameFormat" BO_ 2364540158 9;', False),
        ('BA_DEF_DEF_ "VFrameFormat" "ExtendedCAN";', False),
        ('BA_DEF_DEF_ "VFrameFormat" "";\nBA_ "VFrameFormat" BO_ 2364540158 3;', True),
        ('BA_DEF_ "ProtocolType" STRING;\nBA_ "ProtocolType" "J1939";', True),
        ("", False),
    ],
)
def test_j1939_is_what_the_file_says(instead: str, is_j1939: bool) -> None:
    text = GOOD.replace('BA_DEF_DEF_ "VFrameFormat" "J1939PG";', instead)
    assert text != GOOD
    assert load_text(text).messages[0].is_j1939 is is_j1939


@pytest.mark.parametrize(
    ("damage", "left_out", "kept"),
    [
        ('VAL_ 999 Nowhere 1 "x";\n', "VAL_ 999 Nowhere", 3),
        ('VAL_ 256 NoSuch 1 "x";\n', "VAL_ 256 NoSuch", 3),
        ("SIG_VALTYPE_ 999 Nowhere : 1;\n", "SIG_VALTYPE_ 999", 3),
        ('BA_ "Undefined" SG_ 2364540158 Speed 1;\n', 'BA_ "Undefined"', 3),
        ("FOO_BAR_ 1 2 3;\n", "FOO_BAR_", 3),
        ('BO_ 4096 Big: 8 X\n SG_ A : 0|8@1+ (1,0) [0|0] "" X\n', "BO_ 4096 Big", 3),
        ('BO_ 7 Broken 8 X\n SG_ A : 0|8@1+ (1,0) [0|0] "" X\n', "BO_ 7 Broken", 3),
        ('BO_ 7 Fine: 8 X\n SG_ A : 0|0@1+ (1,0) [0|0] "" X\n SG_ B : 0|8@1+ (1,0) [0|0] "" X\n', "SG_ A", 4),
        ('BO_ 7 Fine: 8 X\n SG_ A : 0|@1+ (1,0) [0|0] "" X\n SG_ B : 0|8@1+ (1,0) [0|0] "" X\n', "SG_ A", 4),
        ('BO_ 7 Giant: 99999999 X\n SG_ A : 0|8@1+ (1,0) [0|0] "" X\n', "BO_ 7 Giant", 3),
        ('BO_ 7 Fine: 8 X\n SG_ A : 0|99999999@1+ (1,0) [0|0] "" X\n SG_ B : 0|8@1+ (1,0) [0|0] "" X\n', "SG_ A", 4),
        ('CM_ SG_ 256 Sel "unfinished" "twice";\n', "CM_ SG_ 256 Sel", 3),
    ],
)
def test_what_cantools_refuses_is_left_out_and_said(damage: str, left_out: str, kept: int) -> None:
    at = GOOD.index("BO_ 256") if damage.startswith("BO_") else len(GOOD)
    database = load_text(GOOD[:at] + damage + GOOD[at:], name="some.dbc")
    assert {"EEC1", "Mux"} <= set(names(database))
    assert database.messages[0].is_j1939
    assert any(left_out in why for _, why in database.skipped), database.skipped
    assert all(where.startswith("some.dbc") for where, _ in database.skipped)
    if kept == 4:
        assert names(database)["Fine"] == ["B"]


def test_what_is_left_out_has_its_line() -> None:
    damaged = GOOD + 'VAL_ 999 Nowhere 1 "x";\n'
    where, _ = load_text(damaged, name="some.dbc").skipped[0]
    assert damaged.splitlines()[int(where.split(":")[1]) - 1].startswith("VAL_ 999")


def test_a_signal_without_receiver_is_mended() -> None:
    database = load_text(GOOD.replace('[0|8031.875] "rpm" Vector__XXX', '[0|8031.875] "rpm"'))
    assert len(database.messages[0].signals) == 2
    assert database.skipped == ()


@pytest.mark.parametrize(
    ("instead_of", "written"),
    [
        ("(0.125,0)", "(.125,0)"),
        ("Speed", "5_SEC_SPEED"),
        ("[0|8031.875]", "[1.#QNAN|1.#INF]"),
        ('VAL_ 256 Sel 3 "three";', 'VAL_ 256 Sel 3 "three"'),
        ('CM_ BO_ 256 "a message";', 'CM_ BO_ 256 "a\nBO_ 9 message;";'),
        ('VERSION ""', 'VERSION ""\nNS_ :\n\tNS_DESC_\n\tCM_\n\n\tBA_DEF_\nBS_: 500000:0,0;'),
        ("BU_: ECU", "// of no use\nBU_: ECU\n  TWO"),
    ],
)
def test_what_needs_no_leaving_out_is_read(instead_of: str, written: str) -> None:
    assert instead_of in GOOD
    database = load_text(GOOD.replace(instead_of, written))
    assert [len(m.signals) for m in database.messages] == [2, 2]
    assert database.skipped == ()
    assert dict(database.messages[1].signals[0].choices) == {3: "three"}


def test_an_id_without_bit_31_that_needs_it_is_read_with_it() -> None:
    database = load_text(GOOD.replace("2364540158", str(2364540158 - 2**31)), name="x")
    assert (database.messages[0].frame_id, database.messages[0].is_j1939) == (0x0CF004FE, True)
    ((where, why),) = database.skipped
    assert where == "x:3"
    assert "read as one of 29 bits" in why


def test_a_quote_that_is_never_closed_costs_one_statement() -> None:
    database = load_text(GOOD.replace('"of the engine";', '"of the engine;'), name="x")
    assert [where for where, _ in database.skipped] == ["x:10"]
    assert database.messages[1].signals[0].choices == {3: "three"}


def test_a_file_without_messages_is_an_empty_database() -> None:
    database = load_text('VERSION ""\nCM_ "IMPORT other.dbc"', name="x")
    assert (database.messages, database.skipped) == ((), (("x", "it defines no message"),))


def test_signals_that_are_no_numbers_are_left_out() -> None:
    odd = 'BO_ 7 Odd: 64 X\n SG_ Wide : 0|65@1+ (1,0) [0|0] "" X\n SG_ F : 80|24@1- (1,0) [0|0] "" X\n'
    at = GOOD.index("BO_ 256")
    database = load_text(GOOD[:at] + odd + GOOD[at:] + "SIG_VALTYPE_ 7 F : 1;\n", name="x")
    assert names(database)["Odd"] == []
    assert database.skipped == (
        ("x:7", 'SG_ Wide : 0|65@1+ (1,0) [0|0] "" X: 65 bits are too many for a number'),
        ("x:8", 'SG_ F : 80|24@1- (1,0) [0|0] "" X: a floating point number of 24 bits'),
    )


def test_of_two_messages_with_one_id_the_later_decodes(tmp_path: Path) -> None:
    first, second = tmp_path / "a.dbc", tmp_path / "b.DBC"
    first.write_text(GOOD)
    second.write_text('VERSION ""\nBO_ 256 Other: 1 X\n SG_ A : 0|8@1+ (1,0) [0|0] "" X\n')
    database = load(first, second)
    assert [m.name for m in database.messages] == ["EEC1", "Mux", "Other"]
    assert database.skipped == (("a.dbc:6", "Mux (0x100): Other of b.DBC:2 has the same id"),)


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "cp1252", "utf-16", "utf-16-le", "utf-16-be"])
def test_encodings(tmp_path: Path, encoding: str) -> None:
    path = tmp_path / "x.dbc"
    path.write_text(GOOD.replace('"rpm"', '"°C"'), encoding=encoding)
    assert {s.unit for s in load(path).messages[0].signals} == {"°C", ""}


def test_other_formats_load() -> None:
    kcd = """<NetworkDefinition xmlns="http://kayak.2codeornot2code.org/1.0"><Document/><Bus name="b">
    <Message id="0x7B" name="M" length="8"><Signal name="S" offset="8" length="16">
    <Value slope="0.5" unit="V"/></Signal></Message></Bus></NetworkDefinition>"""
    (message,) = load_text(kcd, "kcd").messages
    assert (message.frame_id, message.signals[0].scale, message.signals[0].unit) == (0x7B, 0.5, "V")
    with pytest.raises(ConfigError, match="DOCTYPE"):
        load_text('<?xml version="1.0"?><!DOCTYPE x [<!ENTITY a "b">]>' + kcd, "kcd")


@pytest.mark.parametrize(
    ("name", "content", "says"),
    [
        ("gone.dbc", None, "cannot be read: No such file"),
        ("x.txt", b"BO_ 1 A: 8 X\n", "must end in .dbc"),
        ("x.dbc", b"", "defines no message"),
        ("x.dbc", b"\x00\xff\x12random bytes" * 99, "defines no message"),
        ("x.dbc", b"BO_ 1 A" + b"(" * 500, "cannot be read as dbc"),
        ("x.kcd", b"<not xml", "cannot be read as kcd"),
        ("x.arxml", b"<a/>", "cannot be read as arxml"),
        ("x.sym", b"nothing", "cannot be read as sym"),
    ],
)
def test_a_file_that_is_no_database_is_one_sentence(
    tmp_path: Path, name: str, content: bytes | None, says: str
) -> None:
    path = tmp_path / name
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(ConfigError, match=says) as caught:
        load(path)
    assert name in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("overrides", "says"),
    [
        ({"EEC1.Nope": {"scale": 2.0}}, "no such signal"),
        ({"EEC1.Speed": {"factor": 2.0}}, "'factor' cannot be changed"),
        ({"EEC1.Speed": {"scale": "2"}}, "scale must be a number"),
        ({"EEC1.Speed": {"validity": "maybe"}}, "not one of none, j1939"),
        ({"EEC1.Speed": {"unit": 5}}, "unit must be text"),
    ],
)
def test_overrides_are_checked(overrides: dict[str, dict[str, object]], says: str) -> None:
    with pytest.raises(ConfigError, match=says):
        load_text(GOOD, overrides=overrides)


def test_the_fingerprint_is_that_of_text_and_overrides() -> None:
    plain = load_text(GOOD, name="a")
    assert plain.fingerprint == load_text(GOOD, name="b").fingerprint
    assert len({plain.fingerprint, load_text(GOOD + " ").fingerprint,
                load_text(GOOD, overrides={"EEC1.Speed": {"scale": 2}}).fingerprint}) == 3  # fmt: skip


def test_importing_the_package_costs_no_heavy_library() -> None:
    heavy = "cantools", "pandas", "polars", "asammdf", "numba"
    check = (
        "import sys, duco_workbench.parsing as p; p.load_text, p.Database;"
        f"print([m for m in {heavy!r} if m in sys.modules]);"
        "p.load_text('BO_ 1 M: 8 X');"
        "p.Decoder, p.thin; print([m for m in ('cantools', 'pandas', 'polars', 'asammdf') if m in sys.modules])"
    )
    out = subprocess.run([sys.executable, "-c", check], capture_output=True, text=True, check=True).stdout
    assert out.split("\n")[:2] == ["[]", "[]"]
