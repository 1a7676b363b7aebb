"""What may be shown of an answer while it grows, whatever the tokens and stop strings."""

from __future__ import annotations

import codecs
import itertools

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from edge.engine.scripted import ByteTokenizer
from edge.generation import TokenLogprob
from edge.text import Assembler, Marker

TOKENIZER = ByteTokenizer()


class Chunks:
    """A tokenizer whose token `i` stands for `pieces[i]`: bytes, cut wherever a test likes."""

    def __init__(self, pieces):
        self.pieces = pieces

    def decode(self, ids):
        return b"".join(self.pieces[token] for token in ids).decode("utf-8", "replace")

    def stream(self):
        decoder = codecs.getincrementaldecoder("utf-8")("replace")
        return lambda token: decoder.decode(self.pieces[token])


def cut(raw, places):
    """`raw` in pieces, cut at `places` (some of which may be the same: empty pieces)."""
    edges = [0, *sorted(place % (len(raw) + 1) for place in places), len(raw)]
    return [raw[start:end] for start, end in itertools.pairwise(edges)]


def first_stop(text, stops):
    """The text up to the stop string that is complete first, and whether there is one.

    Reads character by character, as a reader of the stream would: of the stop strings that are
    complete at the same character, the one that starts first wins.
    """
    for end in range(1, len(text) + 1):
        starts = [text[:end].find(stop) for stop in stops if stop in text[:end]]
        if starts:
            return text[: min(starts)], True
    return text, False


def run(pieces, stops, with_logprobs=False):
    """Push every piece until stopped; returns the shown pieces, entries and the assembler."""
    source = Chunks(pieces)
    assembler = Assembler(source.stream(), source.decode, stops)
    shown, entries = [], []
    for token in range(len(pieces)):
        offset = assembler.length
        entry = TokenLogprob(token, "", pieces[token], -1.0, (), offset) if with_logprobs else None
        piece = assembler.push(token, entry)
        shown.append(piece.text)
        entries += piece.logprobs
        if assembler.is_stopped:
            return shown, entries, assembler
    piece = assembler.finish()
    return [*shown, piece.text], [*entries, *piece.logprobs], assembler


# Few letters, so that stop strings and their beginnings turn up often; some of several bytes.
TEXTS = st.text(alphabet="ab\n<é€😀", max_size=40)
STOPS = st.lists(st.text(alphabet="ab\n<é€😀", min_size=1, max_size=5), max_size=4)
PLACES = st.lists(st.integers(0, 1000), max_size=30)


def cut_by_characters(text, places):
    """Pieces that end with whole characters, so that the order of completion is defined."""
    return [piece.encode() for piece in cut(text, places)]


@settings(max_examples=500)
@given(TEXTS, STOPS)
@example("aab", ["ab"])
@example("abab<", ["abb", "bab<"])
@example("aaab", ["aab", "aaaa"])
def test_character_by_character_the_answer_ends_at_the_first_stop_string(text, stops):
    wanted, is_stopped = first_stop(text, stops)
    shown, _, assembler = run([character.encode() for character in text], stops)
    assert "".join(shown) == assembler.text == wanted
    assert assembler.is_stopped == is_stopped


@settings(max_examples=500)
@given(TEXTS, STOPS, PLACES)
def test_however_the_bytes_are_cut_no_stop_string_is_shown(text, stops, places):
    raw = text.encode()
    shown, _, assembler = run(cut(raw, places), stops)
    whole = "".join(shown)
    assert text.startswith(whole)
    assert not any(stop in whole for stop in stops)
    if not any(stop in text for stop in stops):
        assert whole == text
        assert not assembler.is_stopped
    else:
        assert assembler.is_stopped
        assert any(text.startswith(whole + stop) for stop in stops)


@settings(max_examples=300)
@given(TEXTS, STOPS, PLACES)
def test_every_piece_is_text_that_stays(text, stops, places):
    """Nothing that was shown is taken back: each prefix of the pieces is a prefix of the end."""
    wanted, _ = first_stop(text, stops)
    shown, _, _ = run(cut_by_characters(text, places), stops)
    so_far = ""
    for piece in shown:
        so_far += piece
        assert "\ufffd" not in piece
        assert text.startswith(so_far)
        assert len(so_far) <= max(len(wanted), len(text))


@settings(max_examples=300)
@given(TEXTS, PLACES)
def test_without_stop_strings_nothing_is_held_back_but_split_characters(text, places):
    pieces = cut(text.encode(), places)
    shown, _, _ = run(pieces, [])
    read = b""
    for piece, said in zip(pieces, shown, strict=False):
        read += piece
        so_far = "".join(shown[: shown.index(said) + 1]) if said else None
        assert so_far is None or text.startswith(so_far)
    assert "".join(shown) == text


@settings(max_examples=300)
@given(st.binary(max_size=40), PLACES, STOPS)
def test_broken_utf8_becomes_replacement_characters(raw, places, stops):
    """Models can say any bytes; the text is that of the bytes, and ends at a stop string."""
    pieces = cut(raw, places)
    shown, _, assembler = run(pieces, stops)
    text = raw.decode("utf-8", "replace")
    whole = "".join(shown)
    assert text.startswith(whole)
    assert not any(stop in whole for stop in stops)
    if not assembler.is_stopped:
        assert whole == text


@settings(max_examples=400)
@given(TEXTS, STOPS, PLACES)
def test_log_probabilities_come_in_order_and_none_is_lost(text, stops, places):
    pieces = cut(text.encode(), places)
    shown, entries, assembler = run(pieces, stops, with_logprobs=True)
    ids = [entry.id for entry in entries]
    assert ids == list(range(len(ids)))
    if not assembler.is_stopped:
        assert len(ids) == len(pieces)
    else:
        end = len("".join(shown))
        assert all(entry.offset < end for entry in entries)


@settings(max_examples=300)
@given(TEXTS, STOPS, PLACES)
def test_log_probabilities_never_run_ahead_of_their_text(text, stops, places):
    """An entry goes out with the text of its token, not while that is held back."""
    pieces = cut_by_characters(text, places)
    source = Chunks(pieces)
    assembler = Assembler(source.stream(), source.decode, stops)
    shown = 0
    for token, raw in enumerate(pieces):
        entry = TokenLogprob(token, raw.decode(), raw, -1.0, (), assembler.length)
        piece = assembler.push(token, entry)
        shown += len(piece.text)
        for released in piece.logprobs:
            assert released.offset < shown
        if assembler.is_stopped:
            break


def test_the_text_before_a_stop_string_is_shown_at_once():
    source = Chunks([b"abc<", b"e", b"nd>later"])
    assembler = Assembler(source.stream(), source.decode, ["<end>"])
    assert assembler.push(0).text == "abc"
    assert assembler.push(1).text == ""
    assert assembler.push(2).text == ""
    assert assembler.is_stopped
    assert assembler.text == "abc"
    assert assembler.finish().text == ""


def test_what_only_looked_like_a_stop_string_is_shown_later():
    source = Chunks([b"a<en", b"ter>"])
    assembler = Assembler(source.stream(), source.decode, ["<end>"])
    assert [assembler.push(0).text, assembler.push(1).text] == ["a", "<enter>"]


def test_a_stop_string_inside_one_token_cuts_it():
    source = Chunks([b"one STOP two STOP"])
    assembler = Assembler(source.stream(), source.decode, ["STOP"])
    assert assembler.push(0).text == "one "


def test_the_earlier_of_two_stop_strings_in_one_token_wins():
    source = Chunks([b"x bb aa"])
    assembler = Assembler(source.stream(), source.decode, ["aa", "bb"])
    assert assembler.push(0).text == "x "


def test_an_answer_may_start_with_its_stop_string():
    shown, _, assembler = run([b"\n", b"more"], ["\n"])
    assert shown == [""]
    assert assembler.is_stopped


def test_held_back_text_comes_out_at_the_end():
    shown, entries, _ = run([b"a", b"<", b"e"], ["<end>"], with_logprobs=True)
    assert shown == ["a", "", "", "<e"]
    assert [entry.id for entry in entries] == [0, 1, 2]


def test_half_a_character_at_the_end_is_shown_as_such():
    shown, _, _ = run([b"a", "é".encode()[:1]], [])
    assert shown == ["a", "", "\ufffd"]


def test_a_stop_string_that_only_the_end_completes():
    """U+FFFD as a stop string: the broken character is known only when the answer ends."""
    shown, _, assembler = run([b"ab", "é".encode()[:1]], ["\ufffd"])
    assert "".join(shown) == "ab"
    assert assembler.is_stopped


def test_empty_stop_strings_mean_nothing():
    shown, _, assembler = run([b"ab"], ["", ""])
    assert "".join(shown) == "ab"
    assert not assembler.is_stopped


def test_an_answer_without_tokens():
    shown, entries, assembler = run([], ["x"])
    assert shown == [""]
    assert (entries, assembler.length, assembler.text) == ([], 0, "")


@pytest.mark.parametrize("text", ["plain", "€uro and 😀", "\u0301combining"])
def test_the_byte_tokenizer_end_to_end(text):
    ids = [int(token) for token in TOKENIZER.encode(text)]
    assembler = Assembler(TOKENIZER.stream(), TOKENIZER.decode, ["never"])
    shown = "".join(assembler.push(token).text for token in ids) + assembler.finish().text
    assert shown == text
    assert assembler.length == len(text)


# Markers

MARK = "<<|"
# The letters of the marker and of whitespace turn up often.
MARKED_TEXTS = st.text(alphabet="ab<| \n", max_size=30)
MARKED_STOPS = st.lists(st.text(alphabet="ab< \n", min_size=1, max_size=3), max_size=2)


def run_marked(pieces, stops=(), is_leading=False):
    """(text shown, text beyond, the assembler) of an answer with a marker."""
    source = Chunks([piece.encode() for piece in pieces])
    assembler = Assembler(source.stream(), source.decode, stops, Marker(MARK, is_leading))
    shown, beyond = "", ""
    for token in range(len(pieces)):
        piece = assembler.push(token)
        shown, beyond = shown + piece.text, beyond + piece.beyond
        if assembler.is_stopped:
            return shown, beyond, assembler
    piece = assembler.finish()
    return shown + piece.text, beyond + piece.beyond, assembler


def cut_text(text, places):
    edges = [0, *sorted(place % (len(text) + 1) for place in places), len(text)]
    return [text[start:end] for start, end in itertools.pairwise(edges)]


@settings(max_examples=500)
@given(MARKED_TEXTS, MARKED_TEXTS, PLACES)
@example("a<<", "<|", [])
@example("a \n", "x", [])
def test_text_gives_way_at_the_marker(before, after, places):
    text = before + MARK + after
    at = text.index(MARK)
    shown, beyond, assembler = run_marked(cut_text(text, places))
    assert shown == text[:at].rstrip()
    assert shown + beyond == text
    assert assembler.is_marked
    assert assembler.text == shown


@settings(max_examples=500)
@given(MARKED_TEXTS.filter(lambda text: MARK not in text), MARKED_STOPS, PLACES)
def test_without_the_marker_all_is_as_without_one(text, stops, places):
    pieces = cut_text(text, places)
    shown, beyond, assembler = run_marked(pieces, stops)
    plain, _, reference = run([piece.encode() for piece in pieces], stops)
    assert beyond == ""
    assert not assembler.is_marked
    assert assembler.is_stopped == reference.is_stopped
    if not any(stop in text for stop in stops):
        assert shown == "".join(plain) == text
    else:
        assert any(text.startswith(shown + stop) for stop in stops)


@settings(max_examples=300)
@given(MARKED_TEXTS, MARKED_TEXTS, st.sampled_from("ab"), PLACES)
def test_stop_strings_end_the_text_and_nothing_beyond(before, after, stop, places):
    text = before + MARK + after
    content = text[: text.index(MARK)].rstrip()
    shown, beyond, assembler = run_marked(cut_text(text, places), [stop])
    if stop in content:
        assert assembler.is_stopped
        assert (shown, beyond) == (content[: content.index(stop)], "")
    else:
        assert not assembler.is_stopped
        assert shown == content
        assert shown + beyond == text


@settings(max_examples=300)
@given(st.sampled_from(["", " ", "a", "\n"]), MARKED_TEXTS, PLACES)
def test_a_leading_marker_counts_at_the_very_beginning(before, after, places):
    text = before + MARK + after
    shown, beyond, assembler = run_marked(cut_text(text, places), is_leading=True)
    assert (shown, beyond) == ((text, "") if before else ("", text))
    assert assembler.is_marked == (not before)


def test_what_only_looked_like_the_marker_is_shown():
    shown, beyond, _ = run_marked(["a <", "<", "b", " <<"])
    assert (shown, beyond) == ("a <<b <<", "")
    assert run_marked(["<", "<"], is_leading=True)[:2] == ("<<", "")


def test_a_stop_string_within_what_could_be_the_marker_ends_the_text_at_last():
    shown, _, assembler = run_marked(["ab<"], ["<"])
    assert (shown, assembler.is_stopped) == ("ab", True)
    shown, beyond, assembler = run_marked(["ab<", "<|c"], ["<"])
    assert (shown, beyond, assembler.is_stopped) == ("ab", "<<|c", False)


def test_whitespace_before_the_marker_stops_nothing():
    for pieces in (["a\n\n<<|x"], list("a\n\n<<|x")):
        shown, beyond, assembler = run_marked(pieces, ["\n\n"])
        assert (shown, beyond, assembler.is_stopped) == ("a", "\n\n<<|x", False)


def test_log_probabilities_belong_to_the_text_alone():
    pieces = [b"a", b"b ", b"<<", b"|x", b"y"]
    source = Chunks(pieces)
    assembler = Assembler(source.stream(), source.decode, [], Marker(MARK))
    entries = []
    for token, raw in enumerate(pieces):
        entry = TokenLogprob(token, raw.decode(), raw, -1.0, (), assembler.length)
        entries += assembler.push(token, entry).logprobs
    entries += assembler.finish().logprobs
    assert [entry.id for entry in entries] == [0, 1]
