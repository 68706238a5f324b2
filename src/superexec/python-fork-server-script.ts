import { pythonWorkerScript } from './python-worker-script.ts'

/**
 * Reads a task from each line: its run, its arguments, and a socket for its output. Forks for it, or hands it to a process
 * that has ended a task of the same run well and waits. Reports each task's process, and the end of the task, on descriptor
 * 3. A line that names a socket for frames starts a worker (`python-worker-script.ts`). A line that names a socket for lines
 * starts a server like this one, which reads its lines there. A line can also name a run that has ended: processes that wait
 * for its next task end. Ends with its input.
 * What runs in a fork is the program of the environment, as it is. Three things are taken from it in a process that may
 * wait: the timer that ends a process some seconds after its program has ended, a second watch over the SuperExec, and
 * signal handlers of tasks that are over.
 * Random numbers must differ from fork to fork: Python's own are seeded anew by itself, those of numpy and PyTorch here.
 * At the server of one run the first task that ends well tells which libraries it has imported, and with which environment
 * variables; never modules of the app itself.
 */
export const forkServerScript = `
import atexit, ctypes, gc, importlib, json, os, select, signal, socket, struct, sys, sysconfig, time, types
from importlib.metadata import entry_points

# How long a process waits for the next task of its run, and how many tasks it runs at most.
IDLE_SECONDS, TASKS_MAX = 60, 1000

class Worker:
    def __init__(self, pid, run, line):
        self.pid, self.run, self.line = pid, run, line
        self.heard = b''
        self.busy, self.idle_since = True, 0.0

def serve():
    woken, wake = os.pipe()
    os.set_blocking(wake, False)
    signal.set_wakeup_fd(wake)
    signal.signal(signal.SIGCHLD, lambda *_: None)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    rest = b''
    workers = []
    at_work = set()
    wanted = keep
    while True:
        ready, _, _ = select.select([0, woken] + [worker.line for worker in workers], [], [], IDLE_SECONDS / 4)
        if woken in ready:
            os.read(woken, 4096)
        # Before the end of a process is told: then the next one finds what this one has imported.
        for worker in workers[:]:
            report, ended = hear(worker)
            if report is not None and worker.busy:
                if wanted:
                    import_like(report['names'], report['changes'])
                    wanted = False
                if report['waits']:
                    worker.busy, worker.idle_since = False, time.monotonic()
                    at_work.discard(worker.pid)
                    say(pid=worker.pid, status=0)
            if ended or not worker.busy and time.monotonic() - worker.idle_since > IDLE_SECONDS:
                forget(workers, worker)
        while True:
            try:
                pid, status = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                break
            if pid == 0:
                break
            for worker in workers[:]:
                if worker.pid == pid:
                    forget(workers, worker)
            if pid in at_work:
                at_work.discard(pid)
                say(pid=pid, status=os.waitstatus_to_exitcode(status))
        if 0 not in ready:
            continue
        chunk = os.read(0, 65536)
        if not chunk:
            sys.exit(0)
        *lines, rest = (rest + chunk).split(b'\\n')
        for line in lines:
            task = json.loads(line)
            if 'ended' in task:
                for worker in workers[:]:
                    if worker.run in task['ended'] and not worker.busy:
                        forget(workers, worker)
                continue
            worker = None if 'frames' in task else hand_over(workers, task, line)
            if worker is None:
                ours, its = socket.socketpair()
                pid = os.fork()
                if pid == 0:
                    signal.set_wakeup_fd(-1)
                    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
                    signal.signal(signal.SIGINT, signal.default_int_handler)
                    for descriptor in (woken, wake, 3):
                        os.close(descriptor)
                    for other in workers:
                        other.line.close()
                    ours.close()
                    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
                    return task, its
                its.close()
                ours.setblocking(False)
                worker = Worker(pid, task['run'], ours)
                workers.append(worker)
            at_work.add(worker.pid)
            say(pid=worker.pid)

def forget(workers, worker):
    worker.line.close()
    workers.remove(worker)

def hand_over(workers, task, line):
    for worker in workers:
        if not worker.busy and worker.run == task['run']:
            try:
                worker.line.sendall(line + b'\\n')
            except OSError:
                # It is about to be found dead.
                continue
            worker.busy = True
            return worker
    return None

def hear(worker):
    while True:
        try:
            chunk = worker.line.recv(65536)
        except BlockingIOError:
            ended = False
            break
        except OSError:
            chunk = b''
        if not chunk:
            ended = True
            break
        worker.heard += chunk
    if not worker.heard.endswith(b'\\n'):
        return None, ended
    report, worker.heard = json.loads(worker.heard), b''
    return report, ended

def print_to(path):
    for descriptor in (1, 2):
        try:
            with socket.socket(socket.AF_UNIX) as console:
                console.connect(path)
                os.dup2(console.fileno(), descriptor)
        except OSError:
            # Then it goes where the output of this process goes.
            pass

def serve_run(task):
    print_to(task['console'])
    with socket.socket(socket.AF_UNIX) as pipe:
        pipe.connect(task['server'])
        os.dup2(pipe.fileno(), 0)
        os.dup2(pipe.fileno(), 3, inheritable=False)

def set_title(words):
    # Overwrites the arguments in memory: that is where Linux reads what ps and pgrep show.
    with open('/proc/self/stat', 'rb') as stat:
        fields = stat.read().rpartition(b')')[2].split()
    start, end = int(fields[45]), int(fields[46])
    title = b''.join(os.fsencode(word) + b'\\0' for word in words)[:end - start]
    ctypes.memset(start, 0, end - start)
    ctypes.memmove(start, title, len(title))

def say(**words):
    os.write(3, (json.dumps(words) + '\\n').encode())

def tell(line, **words):
    try:
        line.sendall((json.dumps(words) + '\\n').encode())
    except OSError:
        # The server has ended, and this process ends as well when it asks for the next task.
        pass

def read_line(line):
    request = b''
    while not request.endswith(b'\\n'):
        chunk = line.recv(65536)
        if not chunk:
            return b''
        request += chunk
    return request

def imports_since(modules, environment):
    paths = sysconfig.get_paths()
    libraries = tuple(paths[kind] + os.sep for kind in ('purelib', 'platlib', 'stdlib', 'platstdlib'))
    names = [
        name for name, module in list(sys.modules.items())
        if name not in modules and str(getattr(module, '__file__', None)).startswith(libraries)
    ]
    return names, {name: value for name, value in os.environ.items() if environment.get(name) != value}

def import_like(names, changes):
    os.environ.update(changes)
    for name in names:
        try:
            importlib.import_module(name)
        except BaseException:
            # The app that needs it will say what is wrong.
            pass
    gc.collect()
    gc.freeze()

def seed():
    if 'numpy' in sys.modules:
        sys.modules['numpy'].random.seed()
    if 'torch' in sys.modules:
        sys.modules['torch'].seed()

class NoTimer:
    def __init__(self, **_):
        pass
    def start(self):
        pass

def watch_leaving(left):
    # Flower's ClientApp leaves through one function. If it is not there, no process waits for a second task.
    runtime = sys.modules.get('flwr.supernode.runtime.run_clientapp')
    leave = getattr(runtime, 'flwr_exit', None)
    module = sys.modules.get(getattr(leave, '__module__', None))
    if not hasattr(module, 'threading'):
        return
    module.threading = types.SimpleNamespace(Thread=NoTimer)
    def note_and_leave(code, *args, **kwargs):
        left.append(code)
        leave(code, *args, **kwargs)
    runtime.flwr_exit = note_and_leave

def without_parent(args):
    at = args.index('--parent-pid') if '--parent-pid' in args else len(args)
    return args[:at] + args[at + 2:]

def join_trace(task):
    if 'trace' in task:
        os.environ['TRACEPARENT'] = task['trace']

def run_tasks(task, line):
    join_trace(task)
    before = set(sys.modules), dict(os.environ)
    signals = signal.SIGINT, signal.SIGTERM, signal.SIGQUIT
    handlers = [signal.getsignal(number) for number in signals]
    left = []
    if task['again']:
        watch_leaving(left)
    args = task['args']
    for count in range(1, TASKS_MAX + 1):
        print_to(task['console'])
        sys.argv = [program, *args]
        left.clear()
        try:
            outcome = main()
        except SystemExit as end:
            outcome = end.code
        # A signal, or an error of the app, ends the process too.
        waits = left == [0] and count < TASKS_MAX
        names, changes = imports_since(*before) if keep and count == 1 else ([], {})
        if not waits:
            if outcome in (0, None):
                tell(line, names=names, changes=changes, waits=False)
            sys.exit(outcome)
        for number, handler in zip(signals, handlers):
            signal.signal(number, handler)
        nowhere = os.open(os.devnull, os.O_WRONLY)
        for descriptor in (1, 2):
            os.dup2(nowhere, descriptor)
        os.close(nowhere)
        tell(line, names=names, changes=changes, waits=True)
        request = read_line(line)
        if not request:
            atexit._run_exitfuncs()
            os._exit(0)
        task = json.loads(request)
        join_trace(task)
        args = without_parent(task['args'])

${pythonWorkerScript}
keep, programs = False, sys.argv[1:]
entries = {one.name: one for one in entry_points(group='console_scripts')}
names = [os.path.basename(program) for program in programs]
if not entries.keys() >= set(names):
    sys.exit(1)
mains = {program: entries[name].load() for program, name in zip(programs, names)}
os.set_inheritable(3, False)
gc.collect()
gc.freeze()
first, line = serve()
while 'server' in first:
    serve_run(first)
    keep = True
    first, line = serve()
program = first.get('program', programs[0])
main = mains[program]
seed()
if 'title' in first:
    set_title(first['title'])
if 'frames' in first:
    run_messages(first, line)
run_tasks(first, line)
`
