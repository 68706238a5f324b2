"""Runs many commands of Flower's unmodified `flwr`, each in a process of its own that was forked after the imports.

Reads a command as a line of JSON from standard input: {id, args, cwd, env, stdout, stderr}, the last two paths of files.
Writes {id, pid} when it runs and {id, status} when it has ended; a status below 0 is the number of a signal.
"""
import gc
import json
import os
import signal
import sys

from flwr.cli.app import app


def report(**news):
    os.write(1, (json.dumps(news) + "\n").encode())


def become(command):
    """This process is that command from here on."""
    for number, path in ((1, command["stdout"]), (2, command["stderr"])):
        file = os.open(path, os.O_WRONLY | os.O_CREAT, 0o600)
        os.dup2(file, number)
        os.close(file)
    null = os.open(os.devnull, os.O_RDONLY)
    os.dup2(null, 0)
    os.close(null)
    os.environ.clear()
    os.environ.update(command["env"])
    os.chdir(command["cwd"])
    sys.argv = ["flwr", *command["args"]]
    sys.exit(app())


def main():
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    # Else the end of each command would look at every object of the imports.
    gc.collect()
    gc.freeze()
    for line in sys.stdin:
        command = json.loads(line)
        if os.fork() != 0:
            continue
        # Waits for the command, so that many can run at the same time.
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        pid = os.fork()
        if pid == 0:
            become(command)
        report(id=command["id"], pid=pid)
        _, status = os.waitpid(pid, 0)
        report(id=command["id"], status=os.waitstatus_to_exitcode(status))
        os._exit(0)


main()
