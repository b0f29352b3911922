"""Text files of any encoding: read as their writer meant them, or refused with file and line."""

from __future__ import annotations

from pathlib import Path

import pytest

from annotate.corpora.texts import read_csv, read_lines, read_text
from configs.errors import UserError

# In one language each: what a short transcript looks like.
ENGLISH = (
    "I\u2019d rather not.",
    "Don\u2019t go \u2013 please…",
    "“Hello,” she said.",
    "\u2018Fine,\u2019 he said.",
)
GERMAN = ("Wie schön!", "Größe und Übermut", "Fünf Männer hören zu")
FRENCH = ("c\u2019est déjà là", "voilà", "élève", "été", "façade", "où êtes-vous?")
SPANISH = ("aquí", "María", "mañana", "el día", "¿Qué pasa?", "país", "adiós")
POLISH = ("się", "zażółć gęślą", "łódź", "mój Bóg")
CZECH = ("člověk", "příliš žluťoučký", "mám tě rád")
TURKISH = ("göğüs", "şimdi değil", "İstanbul", "çok güzel")
RUSSIAN = ("привет мама", "мама мыла раму", "так нельзя", "ушли все спать ночью")
CHINESE = (
    "0001_000001\t他说这个很好的。\t快乐\n",
    "我们今天去北京看电影吧\uff0c你来不来\uff1f",
    "你好",
)
TAIWAN = ("他說這個很好", "我們今天去台北看電影吧", "a你好")
JAPANESE = ("今日は天気がいいですね", "東京都新宿区西新宿一丁目大天生気本日", "アイウ")
KOREAN = ("안녕하세요 오늘은 날씨가 좋네요", "사랑해요", "기쁨 슬픔 분노 중립 놀람")
OTHERS = ("καλημέρα", "τι κάνεις", "שלום", "مرحبا", "สวัสดี", "naïve café")
TEXTS = (
    *(*ENGLISH, *GERMAN, *FRENCH, *SPANISH, *POLISH, *CZECH, *TURKISH, *RUSSIAN),
    *(*CHINESE, *TAIWAN, *JAPANESE, *KOREAN, *OTHERS),
)
CODECS = (
    *("utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-16-be", "utf-32", "cp1252", "latin-1"),
    *("mac_roman", "cp850", "cp437", "cp1250", "iso-8859-2", "cp1254", "cp1257", "cp1251"),
    *("koi8-r", "cp866", "gb18030", "big5", "shift_jis", "euc_jp", "euc_kr", "cp1253", "cp1255"),
    *("cp1256", "cp874", "cp1258"),
)


def written(tmp_path: Path, content: bytes) -> Path:
    path = tmp_path / "texts.txt"
    path.write_bytes(content)
    return path


@pytest.mark.parametrize("codec", CODECS)
def test_no_encoding_is_ever_read_as_another(tmp_path: Path, codec: str):
    for text in TEXTS:
        # Without a line end, Chinese in UTF-16 may be letters of ASCII.
        for end in ("\n",) if codec in ("utf-16-le", "utf-16-be") else ("", "\n"):
            try:
                content = (text + end).encode(codec)
            except UnicodeEncodeError:
                continue
            try:
                found = read_text(written(tmp_path, content))
            except UserError as error:
                assert "texts.txt:" in str(error)
                assert not codec.startswith("utf-8")
            else:
                assert found == text + end


@pytest.mark.parametrize(
    ("codec", "text"),
    [
        *((codec, "clip_1\thappy\tI can\u2019t\nclip_2\tsad\tété\n") for codec in CODECS[:6]),
        *((codec, CHINESE[0]) for codec in CODECS[:6]),
        *(("cp1252", text) for text in ("I\u2019d rather not.", *ENGLISH[1:], *GERMAN)),
        *(("gb18030", text) for text in CHINESE[:2]),
    ],
)
def test_what_is_clear_is_read(tmp_path: Path, codec: str, text: str):
    assert read_text(written(tmp_path, text.encode(codec))) == text


@pytest.mark.parametrize(
    ("codec", "text"),
    [
        ("cp1252", "être"),  # or Polish, in which the byte is another letter
        ("cp1252", "pa\u2019s"),  # or the Spanish word for a country, from a Mac
        ("gb18030", "你好"),  # too short to tell from Korean or Cyrillic
        ("shift_jis", JAPANESE[0]),
        ("koi8-r", RUSSIAN[3]),
    ],
)
def test_what_could_be_either_is_refused_with_its_line(tmp_path: Path, codec: str, text: str):
    path = written(tmp_path, b"a line\nanother\n" + text.encode(codec))
    with pytest.raises(UserError, match=r"texts\.txt:3: .*not in UTF-8.*convert it: iconv -f"):
        read_text(path)
    assert read_text(path, encodings=[codec]).endswith(text)


def test_a_nul_byte_makes_no_utf_16_of_other_text(tmp_path: Path):
    for content in (b"one\nabc\0def\n", b"one\nd\xe9j\0 vu\n"):
        with pytest.raises(UserError, match=r"texts\.txt:2: holds a NUL byte"):
            read_text(written(tmp_path, content))


def test_a_given_encoding_that_does_not_fit_is_refused(tmp_path: Path):
    path = written(tmp_path, b"\xff\xff\n")
    with pytest.raises(UserError, match=r"texts\.txt:1: .*tried Unicode, gb18030"):
        read_text(path, encodings=["gb18030"])
    with pytest.raises(UserError, match="tried Unicode, cp1252"):
        read_text(written(tmp_path, b"caf\x81\n"), encodings=["cp1252"])
    with pytest.raises(UserError, match=r"cannot be read .*put it back"):
        read_text(tmp_path / "nothing.txt", remedy="put it back")


def test_lines_end_at_line_ends_alone(tmp_path: Path):
    path = written(tmp_path, "one\r\ntwo\x0bstill\u2028two\r\rfour\n\n".encode())
    assert list(read_lines(path)) == [(1, "one"), (2, "two\x0bstill\u2028two"), (4, "four")]


def test_tables_with_the_quotes_of_real_ones(tmp_path: Path):
    # As in MELD: doubled quotes, curly ones bare, commas and line ends in quotes, a \x92 of the
    # archive; as in the labels of MSP-Podcast: no quotes, and empty fields at the end.
    content = (
        "Sr No.,Utterance,Speaker\r\n"
        '1,"Oh, he""s lost it. He""s totally lost it.",Phoebe\r\n'
        "2,“So what\u2019s it like” she asked,Ross\r\n"
        '3,"That\x92s it, ""really"".",Joey\r\n'
        '4,"two\nlines",Monica\r\n'
        '5,Ross"s sister,Rachel\r\n'
        "6,,\r\n"
        "7\r\n"
    )
    rows = list(read_csv(written(tmp_path, content.encode()), ["Utterance"]))
    assert [row["Utterance"] for _, row in rows] == [
        'Oh, he"s lost it. He"s totally lost it.',
        "“So what\u2019s it like” she asked",
        'That\x92s it, "really".',
        "two\nlines",
        'Ross"s sister',
        "",
        "",
    ]
    assert [number for number, _ in rows] == [2, 3, 4, 6, 7, 8, 9]
    assert [row["Speaker"] for _, row in rows[-2:]] == ["", ""]


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("a,b\n1,2,3\n", r"txt:2: has 3 fields and the table has 2 columns; put fields that hold"),
        ('a,b\n1,"2\n', r"txt:2: is no CSV"),
        ("a,a\n1,2\n", r"txt:1: has the column 'a' twice"),
        ("a,c\n1,2\n", r"txt:1: has no column b"),
        ("\n", "is empty"),
    ],
)
def test_tables_that_are_none(tmp_path: Path, content: str, said: str):
    with pytest.raises(UserError, match=said):
        list(read_csv(written(tmp_path, content.encode()), ["a", "b"]))


def test_empty_fields_after_the_last_column_are_no_data(tmp_path: Path):
    # Spreadsheets write them where a column beside the table was once used.
    rows = list(read_csv(written(tmp_path, b"a,b\n1,2,,\n"), ["a", "b"]))
    assert rows == [(2, {"a": "1", "b": "2"})]
