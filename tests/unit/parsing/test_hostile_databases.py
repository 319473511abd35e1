"""Files that are damaged or made to hurt: a Database or a ConfigError, in time that their size bounds, nothing else.

The fuzz run takes seconds here; ``DUCO_NIGHTLY=1`` makes it a hundred times longer.
"""

from __future__ import annotations

import os
import random
import subprocess
import sys
import time
from collections.abc import Callable
from importlib.resources import files
from pathlib import Path

import pytest

from duco_workbench.catalog import contents
from duco_workbench.errors import ConfigError
from duco_workbench.parsing import Database, Decoder, load, load_text
from duco_workbench.parsing import bounds as limits

MUTANTS = 20_000 if os.environ.get("DUCO_NIGHTLY") else 200  # of each format
RUN = subprocess.run
HEAD = 'BO_ 1 M: 8 X\n SG_ S : 0|8@1+ (1,0) [0|0] "" X\n'
MUX = 'BO_ 1 M: 64 X\n SG_ M0 M : 0|8@1+ (1,0) [0|0] "" X\n'
KCD = """<NetworkDefinition xmlns="http://kayak.2codeornot2code.org/1.0"><Document/><Bus name="b">
<Message id="0x7B" name="M" length="8"><Signal name="S" offset="8" length="16"><Value slope="0.5" unit="V"/></Signal>
<Multiplex name="X" offset="0" length="8"><MuxGroup count="1"><Signal name="Y" offset="24"/></MuxGroup></Multiplex>
</Message></Bus></NetworkDefinition>"""
SYM = """FormatVersion=6.0 // a comment
Title="a"
{ENUMS}
Enum=Gear(0="off", 1="on")
{SIGNALS}
Sig=Speed unsigned 16 /u:rpm /f:0.125 /o:-5
{SEND}
[M]
ID=100h
Len=8
Var=Gear Gear 0,8
Sig=Speed 16
[N]
ID=101h
Len=8
Mux=one 0,8 1
Var=Inside signed 8,8 -m
"""
ARXML = """<AUTOSAR xmlns="http://autosar.org/schema/r4.0"><AR-PACKAGES><AR-PACKAGE><SHORT-NAME>P</SHORT-NAME><ELEMENTS>
<CAN-CLUSTER><SHORT-NAME>C</SHORT-NAME></CAN-CLUSTER><I-SIGNAL><SHORT-NAME>S</SHORT-NAME><LENGTH>8</LENGTH></I-SIGNAL>
</ELEMENTS></AR-PACKAGE></AR-PACKAGES></AUTOSAR>"""


def chain(depth: int, last: int) -> str:
    """A message whose multiplexers hang from one another, each below ``last + 1`` values."""
    names = "".join(f' SG_ M{i} m0M : {8 * i}|8@1+ (1,0) [0|0] "" X\n' for i in range(1, depth))
    return MUX + names + "".join(f"SG_MUL_VAL_ 1 M{i} M{i - 1} 0-{last};\n" for i in range(1, depth))


@pytest.mark.parametrize(
    ("text", "where", "why"),
    [
        ("BO_ 1 M: 99999999 X\n", "x:1", "over 1785 bytes"),
        ("BO_ 1 M: 99999999999999999999 X\n", "x:1", "cannot be read as BO_"),
        (HEAD.replace("0|8@", "0|99999999@"), "x:2", "ends after 1785 bytes"),
        (HEAD.replace("(1,0)", "(1e999,0)"), "x:2", "not a finite number"),
        (HEAD.replace("(1,0)", f"(1{'0' * 350},0)"), "x:2", "not a finite number"),
        (HEAD.replace("(1,0)", f"(1{'0' * 9999},0)"), "x:2", "cannot be read as SG_"),
        (HEAD + 'BA_DEF_ BO_ "A" INT 0 1;\nBA_ "A" BO_ 1 1e99999999;\n', "x:4", "cannot be read as BA_"),
        (HEAD + 'VAL_ 1 S 1 "\0";\nVAL_ 1 S 2 "two"\0;\n', "x:4", "cannot be read as VAL_"),
        (HEAD + "\0\0junk\0\n", "x:3", "no statement begins so"),
        (HEAD + 'CM_ "never closed\n', "x:3", "cannot be read as CM_"),
        (MUX + ' SG_ S m0 : 8|8@1+ (1,0) [0|0] "" X\nSG_MUL_VAL_ 1 S M0 0-4294967295;\n', "x:1", "too many values"),
        (chain(2, 0).replace("0-0", "99999999999999999999-99999999999999999999"), "x:3", "for no value of M0"),
        (chain(40, 0), "x:1", "nest more than 16 deep"),
        (chain(12, 9), "x:1", "too many combinations"),
        (MUX + ' SG_ M0 m0M : 8|8@1+ (1,0) [0|0] "" X\nSG_MUL_VAL_ 1 M0 M0 0-0;\n', "x:", ""),
        (HEAD.replace("BO_ 1 ", "BO_ 4294967295 "), "x:1", "more than 29 bits"),
        (' SG_ S : 0|8@1+ (1,0) [0|0] "" X\n' + HEAD, "x:1", "no message that can be read stands before"),
    ],
)
def test_what_a_statement_asks_for_is_bounded(text: str, where: str, why: str) -> None:
    database = load_text(text + "BO_ 7 Other: 8 X\n", name="x")
    assert "Other" in [m.name for m in database.messages]
    assert not why or any(place == where and why in reason for place, reason in database.skipped), database.skipped
    Decoder(database)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        (HEAD + HEAD.splitlines()[1] * 9 + " " * (limits.MAX_LINE + 1), r"x:3: a line of over 1,048,576 characters"),
        (
            "BO_ 1 M: 8 X\n" + ' SG_ S : 0|8@1+ (1,0) [0|0] "" X\n' * 1_000_000,
            r"x \w+ larger|x:200002: more than 200,0",
        ),
        ("".join(f"BO_ {i} M: 8 X\n" for i in range(60_000)), r"x:50001: more than 50,000 messages"),
        (HEAD + "VAL_ 1 S\n" + '1 "x"\n' * 600_000 + ";", r"x:3: more than 500,000 names"),
        (HEAD + "SG_\n" * 20_000, r"x:10003: more than 10,000 damaged statements"),
        ("x" * ((32 << 20) + 1), r"larger than 32 MiB"),
    ],
)
def test_a_file_that_is_too_much_is_refused_with_its_line(text: str, says: str) -> None:
    with pytest.raises(ConfigError, match=says):
        load_text(text, name="x")


@pytest.mark.parametrize(
    "text",
    [
        "garbage \x01 junk\n" * 500_000,
        HEAD + 'CM_ "' + "x\n" * 4_000_000,
        HEAD + 'CM_ "\n' * 100_000,
        HEAD + 'CM_ BO_ 1 "' + '\\"\n' * 2_000_000,
        HEAD + 'CM_ BO_ 1 "' + "\\\n" * 2_000_000,
        HEAD + " SG_ S" + "\n" * 4_000_000 + "x",
        HEAD + " SG_ S" + " " * 1_000_000 + "x",
        HEAD + 'VAL_ 9 a 1 "x";\n' * 200_000,
        ("BO_" + "\n" * 300) * 9_000 + HEAD,
    ],
)
def test_time_grows_with_the_size_of_a_file_only(text: str) -> None:
    """A byte of it costs no more than ten of an ordinary file; what grew with the square would cost thousands."""
    ordinary = files("canmatrix").joinpath("j1939.dbc").read_text("cp1252")
    said, seconds = notes(text)
    assert len(said) <= limits.MAX_NOTES + 2
    assert max(map(len, said), default=0) < 1000
    assert seconds / len(text) < 10 * notes(ordinary)[1] / len(ordinary)


def notes(text: str, kind: str = "dbc") -> tuple[list[str], float]:
    """What was said of a text, and the processor time reading it took."""
    began = time.process_time()
    try:
        said = [why for _, why in load_text(text, kind, "x").skipped]
    except ConfigError as error:
        said = [str(error)]
    return said, time.process_time() - began


def test_a_file_of_sixty_megabytes_is_refused_unread(tmp_path: Path) -> None:
    path = tmp_path / "x.dbc"
    with path.open("wb") as file:
        file.truncate(60 << 20)
    with pytest.raises(ConfigError, match="larger than 32 MiB"):
        load(path)


DOCTYPE = '<?xml version="1.0"?>\n<!DOCTYPE x [<!ENTITY a "b"><!ENTITY c "&a;&a;">]>\n'


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-16-be", "cp1252"])
@pytest.mark.parametrize("kind", ["kcd", "arxml"])
def test_xml_with_a_doctype_is_refused(tmp_path: Path, encoding: str, kind: str) -> None:
    path = tmp_path / f"x.{kind}"
    declared = DOCTYPE.replace("?>", f' encoding="{encoding}"?>')
    path.write_bytes((declared + KCD).encode(encoding))
    with pytest.raises(ConfigError, match=rf"x.{kind}:2 .*DOCTYPE"):
        load(path)


@pytest.mark.parametrize(
    ("kind", "text", "says"),
    [
        ("kcd", "<a>\n" * 500, "x:101 .*nests over 100 deep"),
        ("kcd", KCD.replace('length="8">', 'length="99999999">', 1), "x:2 .*size of 99999999"),
        ("kcd", KCD.replace('offset="8"', 'offset="99999999999999999999"'), "x:2 .*a size of"),
        ("kcd", KCD.replace('slope="0.5"', 'slope="&a;"'), "x:2 .*undefined entity"),
        ("arxml", ARXML.replace("<LENGTH>8<", "<LENGTH>99999999999<"), "x:2 .*a size of"),
        ("sym", SYM.replace("Len=8", "Len=99999999", 1), "x:10: Len=99999999"),
        ("sym", SYM.replace("unsigned 16", "unsigned 99999999"), "x:6: Sig=Speed"),
        ("sym", SYM.replace("Gear 0,8", "Gear 0,99999999"), "x:11: Var=Gear"),
        ("sym", SYM.replace("Mux=one 0,8", "Mux=one 99999999,8"), "x:16: Mux=one"),
    ],
)
def test_what_other_formats_ask_for_is_bounded(kind: str, text: str, says: str) -> None:
    with pytest.raises(ConfigError, match=says):
        load_text(text, kind, "x")


def test_what_other_formats_leave_out_has_its_line() -> None:
    never = load_text(KCD.replace('count="1"', f'count="{1 << 64}"'), "kcd", "x")
    assert never.skipped == (("x:2", "M.Y: is there for no value of X"),)
    nameless = load_text(KCD.replace('name="Y" ', ""), "kcd", "x")
    assert nameless.skipped == (("x:2", "M: it, or a signal of it, has no name"),)
    wide = load_text(KCD.replace('length="16"', 'length="65"'), "kcd", "x")
    assert wide.skipped == (("x:2", "M.S: 65 bits are too many for a number"),)


def test_a_value_that_is_no_number_has_no_name() -> None:
    database = load_text(SYM.replace("1=", "1e999="), "sym", "x")
    assert [dict(s.choices) for s in database.messages[0].signals] == [{0: "off"}, {}]


def limited(name: str, most: int, text: str, monkeypatch: pytest.MonkeyPatch) -> str:
    """What reading apart says when the reader sets one limit lower."""
    lower = (
        f"import sys; from duco_workbench.catalog import contents as c; c.LIMITS[{name!r}] = {most}; sys.exit(c.main())"
    )

    def run(arguments: list[str], **more: object) -> object:
        return RUN([sys.executable, "-c", lower, *arguments[3:]], **more)  # type: ignore[call-overload]

    monkeypatch.setattr(subprocess, "run", run)
    with pytest.raises(ConfigError) as caught:
        contents.read_apart(text, "dbc", "x")
    return str(caught.value)


@pytest.mark.skipif(sys.platform != "linux", reason="other platforms limit less")
def test_the_reader_holds_itself_to_memory_and_time(monkeypatch: pytest.MonkeyPatch) -> None:
    text = "".join(f"BO_ {i} M: 8 X\n" + ' SG_ S : 0|8@1+ (1,0) [0|0] "" X\n' * 9 for i in range(1, 20_000))
    assert "over 2 GB of memory" in limited("RLIMIT_AS", 150 << 20, text, monkeypatch)
    assert "of processor time" in limited("RLIMIT_CPU", 1, text, monkeypatch)
    monkeypatch.undo()
    monkeypatch.setattr(contents, "TIMEOUT_S", 0.01)
    with pytest.raises(ConfigError, match="took over"):
        contents.read_apart(text, "dbc", "x")


def test_a_platform_without_limits_still_reads() -> None:
    check = (
        "import sys; sys.modules['resource'] = None; from duco_workbench.catalog import contents as c; c.limit();"
        "from duco_workbench.parsing import load_text; print(len(load_text('BO_ 1 M: 8 X').messages))"
    )
    assert subprocess.run([sys.executable, "-c", check], capture_output=True, text=True, check=True).stdout == "1\n"


def flip(text: str, r: random.Random) -> str:
    at = r.randrange(len(text))
    return text[:at] + chr(r.choice((0, 10, 34, 59, r.randrange(32, 127), r.randrange(256), 0x663))) + text[at + 1 :]


def cut(text: str, r: random.Random) -> str:
    return text[: r.randrange(len(text))]


def drop(text: str, r: random.Random) -> str:
    at = r.randrange(len(text))
    return text[:at] + text[at + r.randrange(1, 40) :]


def double(text: str, r: random.Random) -> str:
    at = r.randrange(len(text))
    return text[: at + r.randrange(400)] + text[at:]


def shuffle(text: str, r: random.Random) -> str:
    lines = text.splitlines(keepends=True)
    at = r.randrange(len(lines))
    part = lines[at : at + 12]
    r.shuffle(part)
    return "".join(lines[:at] + part + lines[at + 12 :])


def inflate(text: str, r: random.Random) -> str:
    """A number blown up."""
    digits = [i for i, c in enumerate(text) if c.isdigit()] or [0]
    at = r.choice(digits)
    number = r.choice(("99999999", "-1", "4294967295", "1e999", "18446744073709551616", "9" * 500, "0", ".", "0-65535"))
    return text[:at] + number + text[at + 1 :]


CHANGES: tuple[Callable[[str, random.Random], str], ...] = (flip, flip, cut, drop, double, shuffle, inflate, inflate)


def seeds() -> list[tuple[str, str]]:
    whole = files("canmatrix").joinpath("j1939.dbc").read_text("cp1252")
    nested = chain(4, 3) + 'VAL_ 1 M0 1 "one" 2 "two";\nSIG_VALTYPE_ 1 M1 : 1;\nCM_ BO_ 1 "a\nb";\nBO_TX_BU_ 1 : A,B;\n'
    return [("dbc", whole[:6000] + whole[-6000:]), ("dbc", nested), ("kcd", KCD), ("sym", SYM), ("arxml", ARXML)]


@pytest.mark.parametrize("number", range(5))
def test_fuzzed_files_are_read_or_refused(number: int) -> None:
    kind, text = seeds()[number]
    r = random.Random(number)
    read = refused = 0
    longest = 1000 * max(notes(text, kind)[1], 0.001)  # seconds: a fuzzed number may ask for that much more
    for _ in range(MUTANTS):
        mutant = text
        for _ in range(r.choice((1, 1, 2, 5, 20))):
            mutant = r.choice(CHANGES)(mutant or text, r)
        began = time.process_time()
        try:
            database = load_text(mutant, kind, "x")
        except ConfigError:
            refused += 1
        else:
            read += 1
            check_loaded(database)
        assert time.process_time() - began < longest, mutant
    print(f"{kind}: {read} read, {refused} refused")
    assert read + refused == MUTANTS


def check_loaded(database: Database) -> None:
    """Every note has its place; the decoder takes what was loaded."""
    assert all(where.startswith("x") and why for where, why in database.skipped)
    for m in database.messages:
        assert 0 <= m.length <= limits.MAX_MESSAGE_BYTES
        assert 0 <= m.frame_id < (1 << 29 if m.is_extended else 1 << 11)
        assert all(s.start >= 0 and s.length > 0 and s.end_bit <= 8 * limits.MAX_MESSAGE_BYTES for s in m.signals)
    Decoder(database)
