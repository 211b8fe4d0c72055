"""Requests that nobody sends by mistake."""

import json

from small_service import picture, uri


def values():
    """(name, a row as JSON, what its error says)."""
    image = json.dumps(uri(picture(9)))
    whole = f'{{"image": {image}, "age": 45, "sex": "male"}}'
    for age, said in {
        "NaN": "age is no finite",
        "-Infinity": "age is no finite",
        "1e999": "age is no finite",
        "9" * 400: "age is no finite",
        "-1": "age is '-1'",
        "121": "age is '121'",
        "true": "age is 'True'",
        '"old"': "age is 'old'",
        "[45]": "age is a list",
        '{"a": 1}': "age is an object",
        '"' + "9" * 300 + '"': "age is a text of 300",
        '"1e400"': "age is '1e400'",
        '"0x10"': "age is '0x10'",
        '"4\\u00005"': "which is no text",
        '"\\ud800"': "which is no text",
        '"<script>"': "age is '<script>'",
        '"45; DROP TABLE"': "age is",
        '"١٢٣٤"': "age is",
    }.items():
        yield f"age {age[:20]}", whole.replace("45", age), said
    for sex, said in {
        '"M"': "sex is 'M', must be",
        "1": "sex is '1'",
        "NaN": "sex is no finite",
        "[]": "sex is a list",
        '["male"]': "a list",
        '"' + "m" * 5000 + '"': "a text of 5000",
        '"mal"': "sex is 'mal'",
        '"\\u202emale"': "sex is",
        "false": "sex is 'False'",
        '"../../etc/passwd"': "sex is",
        '"${jndi:ldap://x}"': "sex is",
        '"{{7*7}}"': "sex is '{{7",
    }.items():
        yield f"sex {sex[:20]}", whole.replace('"male"', sex), said
    for path in (
        "/etc/passwd",
        "../../etc/passwd",
        "file:///etc/passwd",
        "http://127.0.0.1/",
        "C:\\\\x.png",
        "\\\\\\\\host\\\\share",
        "~/.ssh/id_rsa",
        "/dev/zero",
        "/proc/self/mem",
        "x" * 50_000,
        "",
        " ",
        "data",
        "data:",
        "data:image/png,x",
        "data:;base64,@",
        "data:;base64,",
        "data:text/html;base64,PGI+",
        "data:image/png;base64,AAAA",
        "data:image/png;base64;charset=x,AAAA",
        "a\\u0000b.png",
        "\\ud83d",
        "DATA:IMAGE/PNG;BASE64,=",
        "cine.dcm#3",
    ):
        yield f"image {path[:20]}", whole.replace(image, f'"{path}"'), "image"
    for value in ("null", "1", "true", "1.5"):
        yield f"image {value}", whole.replace(image, value), "image is"
    for value in ("[]", "{}", '[{"image": 1}]'):
        yield f"image {value}", whole.replace(image, value), "image is (a list|an object)"
    for name, text in {"number": "7", "text": '"x"', "null": "null", "list": "[1]", "truth": "true"}.items():
        yield f"row is a {name}", text, "row is"
    yield "age twice", whole.replace('"age": 45', '"age": 45, "age": 46'), "'age' stands there twice"
    yield "image twice", whole.replace('{"image"', '{"image": 1, "image"'), "'image' stands there twice"
    yield "another field", whole.replace('{"image"', '{"label": 1, "image"'), "'label': the model reads no such field"
    yield "a field that does not print", whole.replace('{"image"', '{"\\ud800\\u001b[31m": 1, "image"'), "no such field"
    yield "__proto__", whole.replace('{"image"', '{"__proto__": {}, "image"'), "'__proto__': the model reads no such"
    yield (
        "image_root",
        whole.replace('{"image"', '{"image_root": "/", "image"'),
        "'image_root': the model reads no such",
    )
    yield "no age", whole.replace('"age": 45, ', ""), "age is not there"
    yield "no field", "{}", "image is not there"
    yield "case", whole.replace('"age"', '"AGE"'), "'AGE': the model reads no such field"


def bodies():
    """(name, content type, body, status, what the message says)."""
    sound = json.dumps({"rows": [{"image": uri(picture(9)), "age": 45, "sex": "male"}]}).encode()
    kind = "application/json"
    for name, body, status, said in (
        ("nothing", b"", 400, "no JSON"),
        ("cut", sound[:-5], 400, "no JSON"),
        ("latin", b'{"rows": "\xe9"}', 400, "no UTF-8"),
        ("utf16", sound.decode().encode("utf-16"), 400, "no UTF-8"),
        ("bom", b"\xef\xbb\xbf" + sound, 400, "no JSON"),
        ("deep lists", b'{"rows": ' + b"[" * 200_000, 400, "nested too deeply"),
        ("deep objects", b'{"a":' * 100_000, 400, "nested too deeply|no JSON"),
        ("null", b"null", 422, "wanted"),
        ("list", b"[]", 422, "wanted"),
        ("number", b"1", 422, "wanted"),
        ("rows twice", b'{"rows": [], "rows": []}', 400, "'rows' stands there twice"),
        ("no rows", b'{"rows": []}', 422, "rows: 0"),
        ("rows no list", b'{"rows": {}}', 422, "wanted"),
        ("more keys", b'{"rows": [1], "params": {}}', 422, "wanted"),
        ("dataframe", b'{"dataframe_records": []}', 422, "wanted"),
        ("many rows", json.dumps({"rows": [1] * 9}).encode(), 422, "rows: 9"),
        ("a million rows", b'{"rows": [' + b"1," * 400_000 + b"1]}", 422, "rows: 400001"),
        ("comments", b'{"rows": [] /* */}', 400, "no JSON"),
        ("single quotes", b"{'rows': []}", 400, "no JSON"),
        ("trailing", sound + b"x", 400, "no JSON"),
        ("zeros", b"\0" * 1000, 400, "no JSON"),
        ("too large", b"x" * 2_000_000, 413, "more than"),
        ("50 MB", bytes(50_000_000), 413, "more than"),
    ):
        yield name, kind, body, status, said
    for other in (
        "text/plain",
        "application/x-www-form-urlencoded",
        "",
        "application/json; charset=utf-7 x",
        "x" * 500,
    ):
        if not other.startswith("application/json"):
            yield f"type {other[:20]}", other, sound, 415, "content-type"
    form = "multipart/form-data; boundary=b"
    part = b'--b\r\nContent-Disposition: form-data; name="%s"%s\r\n\r\n%s\r\n'
    image, rest = (
        part % (b"image", b'; filename="../../x.png"', picture(9)),
        part % (b"age", b"", b"4")
        + part
        % (
            b"sex",
            b"",
            b"male",
        ),
    )
    for name, kind, body, status, said in (
        ("no boundary", "multipart/form-data", image, 400, "form"),
        ("no end", form, image[:-9], (400, 422), ""),
        ("empty form", form, b"--b--\r\n", 422, "rows: 0"),
        ("no form", form, b"xyz", (400, 422), ""),
        ("no age", form, image + part % (b"sex", b"", b"male") + b"--b--\r\n", 422, "age: 0 times"),
        ("two ages", form, image + rest + part % (b"age", b"", b"5") + b"--b--\r\n", 422, "age: 2 times"),
        ("image as text", form, part % (b"image", b"", b"/etc/passwd") + rest + b"--b--\r\n", 422, "image: a text"),
        ("another field", form, image + part % (b"x", b"", b"1") + b"--b--\r\n", 422, "'x': the model reads no such"),
        ("another file", form, image + part % (b"age", b'; filename="a"', b"1") + b"--b--\r\n", 422, "'age': a file"),
        ("no name", form, b"--b\r\n\r\nx\r\n--b--\r\n", 400, "form"),
        ("many fields", form, rest * 200 + b"--b--\r\n", 400, "form"),
        ("many files", form, image * 50 + b"--b--\r\n", 400, "form"),
        ("long text", form, part % (b"age", b"", b"9" * 5000) + b"--b--\r\n", 400, "form"),
        ("many headers", form, b"--b\r\n" + b"X-Y: z\r\n" * 5000 + b"\r\nx\r\n--b--\r\n", 400, ""),
    ):
        yield name, kind, body, status, said


def raw():
    """(name, bytes on the wire, the statuses that may come). Where None may, the connection may be closed unsaid."""
    end = b" HTTP/1.1\r\nHost: x\r\n"
    for path in (
        b"/../../../../etc/passwd",
        b"/%2e%2e/%2e%2e/etc/passwd",
        b"//etc/passwd",
        b"/predict/../../x",
        b"/predict%00",
        b"/static/..%5c..%5c",
        b"/" + b"a" * 5000,
        b"/\xff",
        b"/%ff%fe",
        b"/model?x=" + b"y" * 5000,
    ):
        yield f"path {path[:20]!r}", b"GET " + path + end + b"\r\n", {400, 404} if b"model" not in path else {200}
    for method in (b"DELETE", b"PUT", b"TRACE", b"CONNECT", b"FOO"):
        yield f"method {method!r}", method + b" /predict" + end + b"\r\n", {400, 404, 405}
    post = b"POST /predict" + end + b"Content-Type: application/json\r\n"
    yield from (
        ("no head", b"\r\n\r\n\r\nGARBAGE\r\n\r\n", {400}),
        ("zeros", b"\0" * 100 + b"\r\n\r\n", {400}),
        ("tls", b"\x16\x03\x01\x02\x00\x01\x00", {400, 408}),
        ("length of letters", post + b"Content-Length: ten\r\n\r\n", {400}),
        ("length below 0", post + b"Content-Length: -5\r\n\r\n", {400}),
        ("two lengths", post + b"Content-Length: 2\r\nContent-Length: 3\r\n\r\n{}", {400}),
        ("a huge length", post + b"Content-Length: 99999999999999999999\r\n\r\n", {400, 413}),
        ("length and chunks", post + b"Content-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", {400}),
        ("bad chunks", post + b"Transfer-Encoding: chunked\r\n\r\nZZZ\r\n", {400, None}),
        ("unknown encoding", post + b"Transfer-Encoding: rot13\r\n\r\n", {400, 501}),
        ("a long header", b"GET /health" + end + b"X: " + b"y" * 100_000 + b"\r\n\r\n", {200, 400, 431}),
        ("many headers", b"GET /health" + end + b"X: y\r\n" * 20_000 + b"\r\n", {200, 400, 431}),
        ("header without name", b"GET /health" + end + b": y\r\n\r\n", {400}),
        ("folded header", b"GET /health" + end + b"X: y\r\n z\r\n\r\n", {200, 400}),
        ("websocket", b"GET /predict" + end + b"Connection: upgrade\r\nUpgrade: websocket\r\n\r\n", {400, 404, 405}),
        ("no version", b"GET /health HTTP\r\n\r\n", {400}),
        ("slow head", b"GET /hea", {408}),
        ("slow body", post + b"Content-Length: 100\r\n\r\n{", {408}),
        ("slow chunks", post + b"Transfer-Encoding: chunked\r\n\r\n1\r\n{\r\n", {408}),
        ("forwarded", b"GET /health" + end + b"X-Forwarded-For: 127.0.0.1\r\nX-Forwarded-Host: evil\r\n\r\n", {200}),
    )
