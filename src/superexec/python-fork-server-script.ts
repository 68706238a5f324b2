/**
 * Reads a task from each line: its arguments, and a socket for its output. Reports each fork, and its end, on descriptor 3.
 * Ends with its input.
 * Random numbers must differ from fork to fork: Python's own are seeded anew by itself, those of numpy and PyTorch here.
 * With `keep`, the first fork that ends well tells which libraries it has imported, and with which environment variables;
 * never modules of the app itself.
 */
export const forkServerScript = `
import atexit, gc, importlib, json, os, select, signal, socket, sys, sysconfig
from importlib.metadata import entry_points

def serve():
    woken, wake = os.pipe()
    os.set_blocking(wake, False)
    signal.set_wakeup_fd(wake)
    signal.signal(signal.SIGCHLD, lambda *_: None)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    rest = report = b''
    reporter = None
    wanted = keep
    while True:
        ready, _, _ = select.select([0, woken] + ([] if reporter is None else [reporter]), [], [])
        if woken in ready:
            os.read(woken, 4096)
        if reporter is not None:
            # Before the end of the fork is told: then the next one finds what this one has imported.
            more, ended = read_all(reporter)
            report += more
            if ended or report.endswith(b'\\n'):
                os.close(reporter)
                reporter = None
                wanted = not import_like(report)
                report = b''
        while True:
            try:
                pid, status = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                break
            if pid == 0:
                break
            say(pid=pid, status=os.waitstatus_to_exitcode(status))
        if 0 not in ready:
            continue
        chunk = os.read(0, 65536)
        if not chunk:
            sys.exit(0)
        *lines, rest = (rest + chunk).split(b'\\n')
        for line in lines:
            pipe = os.pipe() if wanted and reporter is None else None
            pid = os.fork()
            if pid == 0:
                signal.set_wakeup_fd(-1)
                signal.signal(signal.SIGCHLD, signal.SIG_DFL)
                signal.signal(signal.SIGINT, signal.default_int_handler)
                for descriptor in (woken, wake, 3) + (() if reporter is None else (reporter,)):
                    os.close(descriptor)
                os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
                if pipe:
                    os.close(pipe[0])
                    atexit.register(tell_imports, pipe[1], set(sys.modules), dict(os.environ))
                task = json.loads(line)
                print_to(task['console'])
                return task['args']
            if pipe:
                reporter = pipe[0]
                os.set_blocking(reporter, False)
                os.close(pipe[1])
            say(pid=pid)

def print_to(path):
    for descriptor in (1, 2):
        try:
            with socket.socket(socket.AF_UNIX) as console:
                console.connect(path)
                os.dup2(console.fileno(), descriptor)
        except OSError:
            # Then it goes where the output of this process goes.
            pass

def read_all(descriptor):
    chunks = []
    while True:
        try:
            chunk = os.read(descriptor, 65536)
        except BlockingIOError:
            return b''.join(chunks), False
        if not chunk:
            return b''.join(chunks), True
        chunks.append(chunk)

def say(**words):
    os.write(3, (json.dumps(words) + '\\n').encode())

def tell_imports(descriptor, modules, environment):
    paths = sysconfig.get_paths()
    libraries = tuple(paths[kind] + os.sep for kind in ('purelib', 'platlib', 'stdlib', 'platstdlib'))
    names = [
        name for name, module in list(sys.modules.items())
        if name not in modules and str(getattr(module, '__file__', None)).startswith(libraries)
    ]
    changes = {name: value for name, value in os.environ.items() if environment.get(name) != value}
    with os.fdopen(descriptor, 'w') as out:
        out.write(json.dumps([names, changes]) + '\\n')

def import_like(report):
    if not report.endswith(b'\\n'):
        return False
    names, changes = json.loads(report)
    os.environ.update(changes)
    for name in names:
        try:
            importlib.import_module(name)
        except BaseException:
            # The app that needs it will say what is wrong.
            pass
    gc.collect()
    gc.freeze()
    return True

def seed():
    if 'numpy' in sys.modules:
        sys.modules['numpy'].random.seed()
    if 'torch' in sys.modules:
        sys.modules['torch'].seed()

program, keep = sys.argv[1], sys.argv[2] == 'keep'
entries = [one for one in entry_points(group='console_scripts') if one.name == os.path.basename(program)]
if not entries:
    sys.exit(1)
main = entries[0].load()
os.set_inheritable(3, False)
gc.collect()
gc.freeze()
arguments = serve()
seed()
sys.argv = [program, *arguments]
sys.exit(main())
`
