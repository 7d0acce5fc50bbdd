"""An HTTP/1.1 answer, taken apart as its bytes come in.

llhttp (by `httptools`) does the grammar: it refuses bare CR or LF and two statements of a body's length. What it leaves
open is decided here: sizes, versions, codings, folded lines, and whether the connection may carry another request after
this answer. Knows no connection and no clock.
"""

from __future__ import annotations

import httptools

# Proxies and content networks on the way add headers of their own, sometimes more than a hundred.
MAX_HEAD_BYTES = 32 * 1024
MAX_HEADERS = 500

# All that is not body: heads, interim answers, chunk sizes, trailers.
MAX_FRAMING_BYTES = 64 * 1024

_START = b"HTTP/1."


class _Refused(Exception):
    """Raised in a callback of the parser, to stop it."""


class Answer:
    """The final answer to one request; interim ones (1xx) are passed over.

    `has_head` says that `code` and `headers` are there; `complete` that the body has ended; `refused` that the bytes are
    no answer that we take. `chunks` are the pieces of the body that nobody has read yet.
    """

    __slots__ = (
        "_ambiguous",
        "_framing_bytes",
        "_head_bytes",
        "_header_count",
        "_keep_alive",
        "_line_ended",
        "_odd",
        "_parser",
        "_start",
        "_surplus",
        "_until_close",
        "chunks",
        "code",
        "complete",
        "has_head",
        "headers",
        "refused",
    )

    def __init__(self) -> None:
        self.code = 0
        self.headers: list[tuple[bytes, bytes]] = []
        self.chunks: list[bytes] = []
        self.has_head = self.complete = self.refused = False
        self._keep_alive = self._ambiguous = self._surplus = self._until_close = self._line_ended = self._odd = False
        self._start = b""
        self._head_bytes = self._header_count = self._framing_bytes = 0
        self._parser: httptools.HttpResponseParser | None = httptools.HttpResponseParser(self)
        # Control characters in a header that we do not read are no reason to lose an answer. What else this lets through
        # is refused below: folded lines, NUL, space before a colon.
        self._parser.set_dangerous_leniencies(lenient_headers=True)

    @property
    def leaves_connection_clean(self) -> bool:
        """Whether the next bytes on the connection can only be the answer to the next request."""
        return self.complete and self._keep_alive and not (self.refused or self._ambiguous or self._surplus)

    @property
    def began(self) -> bool:
        """Whether any byte came."""
        return bool(self._start)

    @property
    def is_odd(self) -> bool:
        """Whether this was not the one plain HTTP 200 of a search: an error, an interim answer before it, a trailer.

        A peer, or a proxy in front of it, that had trouble with a request may answer it a second time.
        """
        return self._odd or self.code != 200

    def feed(self, data: bytes) -> None:
        """Takes what came in, at least one byte."""
        parser = self._parser
        if parser is None or self.refused:
            return
        if len(self._start) < len(_START):
            # llhttp knows other protocols too, and skips empty lines.
            self._start = (self._start + data)[: len(_START)]
            if not _START.startswith(self._start):
                self.refused = True
                return
        self._framing_bytes += len(data)
        try:
            self._parse(parser, memoryview(data), self._parse_head(parser, data))
        except httptools.HttpParserUpgrade:
            self._surplus = True
        except httptools.HttpParserError:
            self.refused = True
        if self._framing_bytes > MAX_FRAMING_BYTES:
            self.refused = True

    def end(self) -> None:
        """The peer sends no more: the end of a body that has no length."""
        if self.has_head and self._until_close and not self.refused:
            self.complete = True

    def drop(self) -> None:
        """Lets go of the parser, which refers back to this object, so that the answer is freed at once."""
        self._parser = None

    def _parse_head(self, parser: httptools.HttpResponseParser, data: bytes) -> int:
        """Feeds the lines up to the end of the head; returns where that is in `data`."""
        view = memoryview(data)
        at = 0
        while not self.has_head and at < len(data):
            # A folded line, which the parser would join to the one before it: other readers take it for another header.
            if self._line_ended and data[at] in b" \t":
                raise httptools.HttpParserError
            end = data.find(b"\n", at) + 1
            self._line_ended = end > 0
            end = end or len(data)
            self._head_bytes += end - at
            if self._head_bytes > MAX_HEAD_BYTES:
                raise httptools.HttpParserError
            parser.feed_data(view[at:end])
            at = end
        return at

    def _parse(self, parser: httptools.HttpResponseParser, view: memoryview, at: int) -> None:
        """Feeds what comes after the head."""
        if at == len(view):
            return
        # The last byte goes alone: an answer that is complete before it has something behind it. The parser does not say
        # where an answer ended.
        self._surplus |= self.complete
        parser.feed_data(view[at:-1])
        self._surplus |= self.complete
        parser.feed_data(view[-1:])

    # --- what the parser calls; after `complete` it is about surplus bytes ---

    def on_header(self, name: bytes, value: bytes) -> None:
        """A header or a trailer."""
        if self.complete:
            return
        self._header_count += 1
        if self._header_count > MAX_HEADERS or b" " in name or b"\t" in name or b"\0" in value:
            raise _Refused
        if self.has_head:
            self._odd = True
        else:
            self.headers.append((name, value))

    def on_headers_complete(self) -> None:
        """The end of a head, interim or final."""
        if self.complete:
            return
        assert self._parser is not None
        self.code = self._parser.get_status_code()
        version = self._parser.get_http_version()
        if version not in ("1.1", "1.0") or self.code < 100:
            raise _Refused
        lengths = [value for name, value in self.headers if name.lower() == b"content-length"]
        codings = [value.strip().lower() for name, value in self.headers if name.lower() == b"transfer-encoding"]
        if codings and (codings != [b"chunked"] or version == "1.0"):
            raise _Refused
        bodiless = self.code < 200 or self.code in (204, 304)
        # Some readers would wait for the body that such a head announces, or take the next answer for it.
        self._ambiguous |= bodiless and bool(lengths or codings)
        self._until_close = not (bodiless or lengths or codings)
        self._keep_alive = version == "1.1" and self.code != 101 and self._parser.should_keep_alive()
        self.has_head = not self._is_interim()

    def on_body(self, piece: bytes) -> None:
        """A piece of the body, without its framing."""
        if not self.complete:
            self._framing_bytes -= len(piece)
            self.chunks.append(piece)

    def on_message_complete(self) -> None:
        """The end of an answer, interim or final."""
        if not self._is_interim():
            self.complete = True
        elif not self.complete:
            self._odd = True
            self.headers.clear()
            self._head_bytes = self._header_count = 0

    def _is_interim(self) -> bool:
        # 101 is final: nothing that follows it would be HTTP.
        return self.code < 200 and self.code != 101
