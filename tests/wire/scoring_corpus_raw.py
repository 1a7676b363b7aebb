"""Requests that are put to MLflow's own server and to the appliance: raw JSON, CSV and HTTP."""

from __future__ import annotations

import gzip
from collections.abc import Iterator

from tests.wire.exchange import Call

RECORDS = b'{"dataframe_records": [{"prompt": "a"}]}'

JSON_TEXTS = [
    '{"dataframe_records":[{"prompt":"a"}],"dataframe_records":[{"prompt":"b"}]}',
    '{"dataframe_records":[{"prompt":"a","prompt":"b"}]}',
    '{"prompt":"a","prompt":"b"}',
    *(' {"prompt":"a"} ', '\n\t{"prompt":\n"a"}\r\n', '{"prompt":"a"}x', '{"prompt":"a",}'),
    *("{'prompt':'a'}", '{prompt:"a"}', '// c\n{"prompt":"a"}', '{"prompt":"a"}{"prompt":"b"}'),
    *("null", "{}", "[]", '""', "0", "1.5", "-0", "NaN", "", "   ", "\ufeff", '{"":"a"}'),
    *('{"prompt":NaN}', '{"prompt":Infinity}', '{"prompt":1e999}', '{"prompt":-0.0}'),
    *('{"prompt":01}', '{"prompt":.5}', '{"prompt":+1}', '{"prompt":"\n"}', '{"prompt":"\\x41"}'),
    *('{"prompt":"\\u00"}', '{"prompt":"\\u0041"}', '{"prompt":"a\\/b"}', '{"Prompt":"a"}'),
    *('\ufeff{"prompt":"a"}', '\ufeff\ufeff{"prompt":"a"}', ' \ufeff{"prompt":"a"}'),
    *('{"prompt":"\\ud83e\\udd8a"}', '{"prompt":"\\ud83e"}', '{"inputs":["x\\udd8a"]}'),
    *('\0{"prompt":"a"}', '{"prompt":"a"}\0', '{"prompt ":"a"}', '{"params":{}}'),
    '{"dataframe_records":[{"prompt":"a"}],"params":{"max_tokens":1,"max_tokens":2}}',
    '{"dataframe_records":[{"prompt":"a"}],"x":' + "[" * 500 + "]" * 500 + "}",
    '{"instances":["a"],"inputs":["b"]}',
    '{"dataframe_records":[{"prompt":"\\ud83e"}]}',
    '{"instances":["a"],"other":1,"signature_name":"x"}',
]
CSV_TEXTS = [
    *("prompt\na\n", "prompt\na", "prompt", "prompt\n", "\n", "", "\n\nprompt\na\n"),
    *("prompt\n\na\n\nb\n", "prompt\n   \na\n", "prompt\r\na\r\nb\r\n", "prompt\ra\rb"),
    *('prompt\n"a,b"\n', 'prompt\n"a""b"\n', 'prompt\n"multi\nline"\n', 'prompt\n"open\n'),
    *('prompt\n"a" \n', "prompt\na \n", " prompt\na\n", "prompt \na\n", '"prompt"\n"a"\n'),
    *("Prompt\na\n", "prompt,x\na,1\n", "x,prompt\n1,a\n", "prompt,x\na\n", "prompt,x\na,\n"),
    *("prompt\na,b\n", "prompt\na,b\nc,d\n", "prompt\na,b,c\nd\n", "prompt\na\nb,c\n"),
    *("prompt,x\na,b,c\nd,e,f\n", "prompt,x\na,b\nc,d,e\n", ",prompt\n0,a\n1,b\n"),
    *("prompt,prompt\na,b\n", "prompt,\na,\n", "prompt;x\na;b\n", "prompt\tx\na\tb\n"),
    *(
        "prompt\nNA\n",
        "prompt\nnan\nNone\nN/A\n",
        'prompt\n""\n',
        "prompt\n''\n",
        "prompt\n -NaN\n",
    ),
    *("prompt\nTrue\n", "prompt\n1\n2\n", "prompt\n1.0\n", "prompt\n1e5\n", "prompt\n007\n"),
    *("\ufeffprompt\na\n", '\ufeff"prompt"\na\n', "prompt\n\ufeffa\n", "prompt\n日本\n🦊\n"),
    *("prompt\na\0b\n", 'prompt\n"NA"\n', "prompt\n#a\n", "#prompt\na\n", "prompt\n'a,b'\n"),
    *('prompt\n\\"a\\"\n', "prompt\nboom\n", 'prompt\na"b\n', 'prompt\n"a"b\n', 'prompt\n"a""\n'),
    *('prompt\n"a\nb\r\nc"\n', "prompt,x\n,b\n", "prompt\n \n", "prompt\n,\n", "prompt\na,\n"),
    *("question\na\n", "prompt\nx\u2028y\n", "prompt\nx\x0by\x85z\n", 'prompt\n""""\n'),
    *('x,prompt\n1, "a"\n', '"prompt\n"\na\n', "prompt\n" + "x" * 140_000 + "\n", "prompt,x\n"),
    *("prompt,x,y\n1,2,3,4\n", "prompt\n,a\n,b\n", "prompt\na\n,", '{"prompt":"a"}'),
    "prompt\n" + "a\n" * 100,
]
CONTENT_TYPES = [
    *(None, "", "application/json", "application/json ", "application/json;charset=utf-8"),
    *("application/json; charset=UTF-8", 'application/json; charset="utf-8"'),
    *("application/json; Charset=utf-8", "application/json; charset = utf-8"),
    *("application/json; charset=utf8", "application/json; charset=", "application/json; charset"),
    *("application/json; charset=latin1; charset=utf-8", "application/json; charset=utf-8;"),
    *("application/json; boundary=x", "application/json;;", "application/JSON", "text/json"),
    *("application/json, text/csv", "application/jsonl", "application/*", "*/*", "json", ";"),
    *("text/csv", "TEXT/CSV", "text/csv; charset=utf-8", "text/csv; header=present"),
    *("text/csv;charset=utf-16", "application/x-www-form-urlencoded", "multipart/form-data"),
    *("application/vnd.apache.parquet", "application/x-parquet", "text/plain; charset=latin1"),
]
PATHS = ["/ping", "/health", "/version", "/invocations", "/nope", "/ping/x", "/PING", "/ping?x=1"]
METHODS = ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "BREW"]


def json_texts() -> Iterator[Call]:
    """JSON as text: duplicate keys, white space, byte order marks, other encodings."""
    for text in JSON_TEXTS:
        for model in ("echo", "echo_params"):
            yield Call(f"{model}: {text[:80]!a}", text.encode("utf-8"), model)
    for encoding in ("utf-16", "utf-16-le", "utf-32", "latin-1"):
        yield Call(f"JSON in {encoding}", '{"prompt": "é"}'.encode(encoding))
    for body in (b'{"prompt":"\xff\xfe"}', b'{"prompt":"\xc0\x80"}', b'{"prompt":"\xed\xa0\x80"}'):
        yield Call(f"JSON {body!r}", body)


def csv_texts() -> Iterator[Call]:
    """CSV as text."""
    for text in CSV_TEXTS:
        for model in ("echo", "echo_params"):
            yield Call(f"{model}: csv {text[:60]!a}", text.encode(), model, content_type="text/csv")
    for encoding in ("utf-16", "latin-1"):
        yield Call(f"CSV in {encoding}", "prompt\né\n".encode(encoding), content_type="text/csv")


def exchanges() -> Iterator[Call]:
    """Media types, methods, paths, headers."""
    for media in CONTENT_TYPES:
        yield Call(f"JSON as {media}", RECORDS, content_type=media)
        yield Call(f"CSV as {media}", b"prompt\na\n", content_type=media)
    for method in METHODS:
        for path in PATHS:
            body = RECORDS if method in ("POST", "PUT", "PATCH") else None
            yield Call(f"{method} {path}", body, method=method, path=path)
    packed = gzip.compress(RECORDS, mtime=0)
    for name, body, headers in [
        ("chunked", RECORDS, {"Transfer-Encoding": "chunked"}),
        ("chunked and empty", b"", {"Transfer-Encoding": "chunked"}),
        ("gzip", packed, {"Content-Encoding": "gzip"}),
        ("no gzip at all", RECORDS, {"Content-Encoding": "gzip"}),
        ("accept", RECORDS, {"Accept": "text/csv, application/xml"}),
        ("compressed answer", RECORDS, {"Accept-Encoding": "gzip"}),
        ("origin", RECORDS, {"Origin": "http://elsewhere.example"}),
        ("no body", None, {}),
    ]:
        yield Call(name, body, headers=headers)
