"""Runs Flower's unmodified programs, each in a process of its own that is forked after the imports.

Listens on the socket whose path is its argument, and ends with all programs when standard input ends. A client connects
for each program. It sends a line of JSON {program, args, cwd, env}, and before it either an empty line with the streams
attached that the program gets from 0 on, or nothing if the request has {stdout, stderr}, two paths of files. It receives
{status} when the program has ended; a status below 0 is the number of a signal. The program gets each {signal} that the
client sends meanwhile, and is killed when the client hangs up.

The program `python` is the interpreter, for arguments such as those that our SuperExec gives it: `-c`, or the path of a
program of Flower.
"""
import fcntl
import gc
import importlib
import importlib.metadata
import json
import os
import selectors
import signal
import socket
import sys
import threading
import traceback
import types

ENTRY_POINTS = {point.name: point for point in importlib.metadata.entry_points(group="console_scripts")}
# What programs and the apps of tests import when they work.
IMPORTED_LATER = {
    "flwr-clientapp": ["flwr.app", "flwr.clientapp", "numpy"],
    "flwr-serverapp": ["flwr.app", "flwr.serverapp", "flwr.serverapp.strategy", "numpy"],
}

selector = selectors.DefaultSelector()
listener = socket.socket(socket.AF_UNIX)


class Client:
    def __init__(self, connection):
        self.connection = connection
        self.received = b""
        self.pid = None
        self.pidfd = None
        self.streams = []
        selector.register(connection, selectors.EVENT_READ, self.receive)

    def receive(self):
        try:
            data, streams, _, _ = socket.recv_fds(self.connection, 65536, 4)
        except ConnectionError:
            data, streams = b"", []
        self.streams += streams
        if not data:
            return self.hang_up()
        *lines, self.received = (self.received + data).split(b"\n")
        for line in filter(None, lines):
            message = json.loads(line)
            if "signal" in message:
                self.send_signal(message["signal"])
            else:
                self.start(message)

    def start(self, request):
        try:
            main = as_python(request) if request["program"] == "python" else load(request["program"])
            assert threading.active_count() == 1, "a process with threads cannot be forked"
        except Exception:
            # Tests with other programs go on.
            traceback.print_exc()
            return self.hang_up()
        gc.freeze()
        self.pid = os.fork()
        if self.pid == 0:
            streams, self.streams = self.streams, []
            become(request, streams, main)
        self.close_streams()
        self.pidfd = os.pidfd_open(self.pid)
        selector.register(self.pidfd, selectors.EVENT_READ, self.report_end)

    def close_streams(self):
        for stream in self.streams:
            os.close(stream)
        self.streams = []

    def send_signal(self, number):
        if self.pid is not None:
            os.kill(self.pid, number)

    def report_end(self):
        selector.unregister(self.pidfd)
        os.close(self.pidfd)
        self.pidfd = None
        _, status = os.waitpid(self.pid, 0)
        self.pid = None
        try:
            self.connection.sendall(json.dumps({"status": os.waitstatus_to_exitcode(status)}).encode() + b"\n")
        except OSError:
            pass  # The client has hung up.

    def hang_up(self):
        self.send_signal(signal.SIGKILL)
        self.close_streams()
        selector.unregister(self.connection)
        self.connection.close()


def clients():
    return {key.data.__self__ for key in selector.get_map().values() if hasattr(key.data, "__self__")}


def as_python(request):
    """What the interpreter would run with these arguments. What it imports is imported here, and only the first time."""
    args = request["args"]
    while args[0] == "-X":
        args = args[2:]
    if args[0] != "-c":
        request |= {"program": os.path.basename(args[0]), "args": args[1:]}
        return load(request["program"])
    _, code, *request["args"] = args
    for name in map(os.path.basename, request["args"]):
        if name in ENTRY_POINTS:
            load(name)
    return lambda: run_code(code)


def run_code(code):
    sys.argv[0] = "-c"
    sys.path[0] = ""
    sys.modules["__main__"] = types.ModuleType("__main__")
    exec(compile(code, "<string>", "exec"), vars(sys.modules["__main__"]))


def load(program):
    """Imports what the program imports. Only the first time takes long."""
    for name in IMPORTED_LATER.get(program, []):
        importlib.import_module(name)
    main = ENTRY_POINTS[program].load()
    gc.collect()
    return main


def become(request, streams, main):
    """This process is that program from here on. Nothing of the server stays open in it."""
    for client in clients():
        client.close_streams()
        client.connection.close()
        if client.pidfd is not None:
            os.close(client.pidfd)
    listener.close()
    selector.close()
    if not streams:
        files = [(os.devnull, os.O_RDONLY), *((request[name], os.O_WRONLY | os.O_CREAT) for name in ("stdout", "stderr"))]
        streams = [os.open(path, flags, 0o600) for path, flags in files]
    # None of them has the number that another one gets.
    streams = [fcntl.fcntl(stream, fcntl.F_DUPFD, 16) for stream in streams]
    for number, stream in enumerate(streams):
        os.dup2(stream, number)
        os.close(stream)
    os.environ.clear()
    os.environ.update(request["env"])
    os.chdir(request["cwd"])
    if "numpy.random" in sys.modules:
        sys.modules["numpy.random"].seed()
    program = os.path.join(sys.prefix, "bin", request["program"])
    sys.path[0] = os.path.dirname(program)
    sys.argv = [program, *request["args"]]
    sys.exit(main())


def accept():
    connection, _ = listener.accept()
    Client(connection)


def end_with_parent():
    if not os.read(0, 4096):
        for client in clients():
            client.send_signal(signal.SIGKILL)
        os._exit(0)


listener.bind(sys.argv[1])
listener.listen(128)
selector.register(listener, selectors.EVENT_READ, accept)
selector.register(0, selectors.EVENT_READ, end_with_parent)
while True:
    for key, _ in selector.select():
        key.data()
