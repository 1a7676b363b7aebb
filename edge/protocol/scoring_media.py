"""The Content-Type of a scoring request, compared as MLflow's server compares it: exactly."""

from __future__ import annotations

from typing import Literal

from edge.errors import UnsupportedMedia

Format = Literal["json", "csv"]

JSON = "application/json"
CSV = "text/csv"
PARQUET = "application/vnd.apache.parquet"
_FORMATS: dict[str, Format] = {JSON: "json", CSV: "csv"}
_SHOWN_CHARACTERS = 80


def read(content_type: str | None) -> Format:
    """The format that a Content-Type names; raises `UnsupportedMedia`.

    Names and parameters are case-sensitive, quotes are not removed, the only parameter is
    `charset` and its only value UTF-8. The last of several `charset` parameters counts.
    """
    if content_type is None:
        raise UnsupportedMedia(f"Content-Type is missing, expected {JSON} or {CSV}")
    media_type, *pairs = (part.strip() for part in content_type.split(";"))
    parameters = dict(_parameter(pair) for pair in pairs)
    if parameters.get("charset", "utf-8").lower() != "utf-8":
        raise UnsupportedMedia("the charset of the Content-Type is not supported, expected utf-8")
    unknown = sorted(set(parameters) - {"charset"})
    if unknown:
        names = ", ".join(_shown(name) for name in unknown)
        raise UnsupportedMedia(f"unknown parameters of the Content-Type: {names}")
    if media_type == PARQUET:
        raise UnsupportedMedia(f"{PARQUET} is not supported here, send {JSON} or {CSV}")
    if media_type not in _FORMATS:
        shown = _shown(media_type)
        raise UnsupportedMedia(f"the Content-Type is {shown}, expected {JSON} or {CSV}")
    return _FORMATS[media_type]


def _parameter(pair: str) -> tuple[str, str]:
    name, _, value = pair.partition("=")
    return name, value


def _shown(text: str) -> str:
    return ascii(text[:_SHOWN_CHARACTERS])
