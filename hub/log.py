"""Log lines: text for people, JSON for machines; and one line a request."""

import json
import logging
import sys
import time
from datetime import UTC, datetime
from typing import Literal

_EXTRAS = ("request_id", "method", "path", "status", "milliseconds", "user", "address")


class TextFormatter(logging.Formatter):
    def __init__(self) -> None:
        super().__init__("%(asctime)s %(levelname)-7s %(message)s", "%H:%M:%S")


class JsonFormatter(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        line: dict[str, object] = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
        }
        line |= {name: getattr(record, name) for name in _EXTRAS if hasattr(record, name)}
        if record.exc_info:
            line["exception"] = self.formatException(record.exc_info)
        return json.dumps(line, ensure_ascii=False)


def set_up(kind: Literal["text", "json"], level: str = "INFO") -> None:
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(JsonFormatter() if kind == "json" else TextFormatter())
    # What no line shows need not be found out for each (Logging HOWTO, "Optimization").
    logging.logThreads = logging.logMultiprocessing = logging.logProcesses = False
    logging._srcfile = None
    logging.basicConfig(handlers=[handler], level=level, force=True)


def log_request(log: logging.Logger, method: str, path: str, status: int, started: float, request_id: str, address: str) -> None:
    """`path` is without the query: queries carry the signatures of action URLs."""
    milliseconds = round((time.perf_counter() - started) * 1000, 1)
    shown = path.encode("unicode_escape").decode("ascii")[:300]
    extra = {"request_id": request_id, "method": method, "path": shown, "status": status, "milliseconds": milliseconds, "address": address}
    log.info("%s %s %d %.1f ms", method, shown, status, milliseconds, extra=extra)
