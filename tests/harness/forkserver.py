"""A process that has imported what its children need, and forks one for each command that it is asked to run.

    python tests/harness/forkserver.py SOCKET [MODULE ...]

Only the standard library is used: the clients' environments run this file, too. A request is one line of JSON with the three standard
streams as file descriptors beside it (SCM_RIGHTS):

    {"module": "tests.guarded_hub", "arguments": ["serve"], "environment": {...}, "folder": "/..."}   or "code" instead of "module"

The answer is the child's process id in a line, and, when it has ended, its exit status in another (negative: the signal). The process ends,
and its children with it, when its standard input does.
"""

import atexit
import gc
import importlib
import json
import os
import runpy
import selectors
import signal
import socket
import sys
import threading
import time
import traceback
import types
from contextlib import suppress
from typing import Any

_LONGEST_REQUEST = 1 << 20


class ForkServer:
    """One thread, so that a child inherits no lock that another thread holds."""

    def __init__(self, path: str) -> None:
        self._listener = socket.socket(socket.AF_UNIX)
        self._listener.bind(path)
        self._listener.listen(64)
        self._callers: dict[int, socket.socket] = {}
        self._wake, woken = socket.socketpair()
        for end in (self._wake, woken):
            end.setblocking(False)
        self._woken = woken
        signal.signal(signal.SIGCHLD, lambda number, frame: None)
        signal.set_wakeup_fd(woken.fileno())
        signal.signal(signal.SIGINT, signal.SIG_IGN)

    def serve(self) -> dict[str, Any] | None:
        """The request, in each child; None in the parent, at the end."""
        with selectors.DefaultSelector() as selector:
            for source in (self._listener, self._wake, sys.stdin):
                selector.register(source, selectors.EVENT_READ)
            while True:
                for key, _ in selector.select():
                    if key.fileobj is sys.stdin:
                        self._end()
                        return None
                    if key.fileobj is self._wake:
                        self._reap()
                    elif request := self._fork():
                        return request

    def _fork(self) -> dict[str, Any] | None:
        caller, _ = self._listener.accept()
        line, streams = _receive(caller)
        child = os.fork()
        if child == 0:
            self._become(caller, streams)
            request: dict[str, Any] = json.loads(line)
            return request
        for stream in streams:
            os.close(stream)
        self._callers[child] = caller
        _say(caller, child)
        return None

    def _become(self, caller: socket.socket, streams: list[int]) -> None:
        """As a process that was just started: no socket of the parent's, and the usual signals."""
        signal.set_wakeup_fd(-1)
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        signal.signal(signal.SIGINT, signal.default_int_handler)
        for end in (self._listener, self._wake, self._woken, caller, *self._callers.values()):
            end.close()
        for number, stream in enumerate(streams):
            os.dup2(stream, number)
            os.close(stream)

    def _reap(self) -> None:
        with suppress(BlockingIOError):
            self._wake.recv(4096)
        with suppress(ChildProcessError):
            while (ended := os.waitpid(-1, os.WNOHANG))[0]:
                caller = self._callers.pop(ended[0])
                _say(caller, os.waitstatus_to_exitcode(ended[1]))
                caller.close()

    def _end(self) -> None:
        for child in self._callers:
            with suppress(ProcessLookupError):
                os.kill(child, signal.SIGKILL)


def _receive(caller: socket.socket) -> tuple[bytes, list[int]]:
    line, streams, _, _ = socket.recv_fds(caller, _LONGEST_REQUEST, 3)
    while not line.endswith(b"\n"):
        more = caller.recv(_LONGEST_REQUEST)
        assert more, "the caller is gone"
        line += more
    return line, streams


def _say(caller: socket.socket, number: int) -> None:
    with suppress(BrokenPipeError, ConnectionResetError):  # nobody waits for it
        caller.sendall(b"%d\n" % number)


def _run(request: dict[str, Any]) -> int:
    """The exit status."""
    os.environ.clear()
    os.environ.update(request["environment"])
    time.tzset()
    os.chdir(request["folder"])
    try:
        if "code" in request:
            sys.argv = ["-c", *request["arguments"]]
            sys.modules["__main__"] = types.ModuleType("__main__")
            exec(compile(request["code"], "<string>", "exec"), sys.modules["__main__"].__dict__)
        else:
            sys.argv = [request["module"], *request["arguments"]]
            runpy.run_module(request["module"], run_name="__main__", alter_sys=True)
    except SystemExit as exit:
        if isinstance(exit.code, str):
            sys.stderr.write(exit.code + "\n")
        return exit.code if isinstance(exit.code, int) else int(exit.code is not None)
    except BaseException:  # noqa: BLE001  what the interpreter does with it, too
        traceback.print_exc()
        return 1
    return 0


def _end(status: int) -> None:
    """As the interpreter ends, but for the modules, which take a tenth of a second to be taken apart."""
    threading._shutdown()  # type: ignore[attr-defined]
    atexit._run_exitfuncs()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(status)


def main() -> None:
    path, *modules = sys.argv[1:]
    sys.path[0] = ""  # as for `python -c` and `python -m`, and not the folder of this file
    for module in modules:
        importlib.import_module(module)
    server = ForkServer(path)
    sys.stdout.write("ready\n")
    sys.stdout.flush()
    gc.freeze()  # the children's collections leave alone what is shared with them
    request = server.serve()
    if request is not None:
        _end(_run(request))


if __name__ == "__main__":
    main()
