/**
 * Part of the script of the fork server. A fork that is a worker executes the messages of one run, one after the other,
 * until its SuperExec closes the connection. It receives each message with its context as a frame and sends the reply and
 * the context as a frame: no calls, and no new process.
 * It uses what Flower's own `flwr-clientapp` uses, under the names that its module has. If one is missing, the worker says
 * so before it takes a message, and Flower's own program runs the messages.
 */
export const pythonWorkerScript = `
def send_frame(pipe, *parts):
    head = [len(parts)] + [len(part) for part in parts]
    pipe.sendall(struct.pack('>%dI' % len(head), *head))
    for part in parts:
        pipe.sendall(part)

def read_exactly(pipe, count):
    content = bytearray(count)
    rest = memoryview(content)
    while rest:
        got = pipe.recv_into(rest)
        if got == 0:
            return None
        rest = rest[got:]
    return bytes(content)

def read_frame(pipe):
    head = read_exactly(pipe, 4)
    if head is None:
        return None
    count, = struct.unpack('>I', head)
    lengths = read_exactly(pipe, 4 * count)
    if lengths is None:
        return None
    parts = [read_exactly(pipe, length) for length in struct.unpack('>%dI' % count, lengths)]
    return None if None in parts else parts

class MessageRunner:
    def __init__(self, parent_pid):
        runtime = importlib.import_module('flwr.supernode.runtime.run_clientapp')
        serde = importlib.import_module('flwr.common.serde')
        wire = importlib.import_module('flwr.proto.message_pb2')
        self.wire_message, self.wire_context = wire.Message, wire.Context
        self.message_from, self.message_to = serde.message_from_proto, serde.message_to_proto
        self.context_from, self.context_to = serde.context_from_proto, serde.context_to_proto
        self.install, self.loader = runtime.install_from_fab, runtime.get_load_client_app_fn
        self.Message, self.Error, self.ErrorCode = runtime.Message, runtime.Error, runtime.ErrorCode
        self.load_code = self.ErrorCode.LOAD_CLIENT_APP_EXCEPTION
        self.raised_code = self.ErrorCode.CLIENT_APP_RAISED_EXCEPTION
        self.LoadError, self.log = runtime.LoadClientAppError, runtime.log
        # Since Flower 1.41 libraries can ask which task they work for.
        self.identity = getattr(runtime, 'TaskIdentity', None)
        self.apps, self.fab = {}, b''
        runtime.start_parent_process_monitor(parent_pid)

    def app(self, about, fab):
        key = about['fab_hash']
        self.fab = fab or self.fab
        if key not in self.apps:
            self.install(self.fab, skip_prompt=True)
            load = self.loader(default_app_ref='', app_path=None, multi_app=True)
            self.apps[key] = load(about['fab_id'], about['fab_version'], key)
        return self.apps[key]

    def answer(self, about, context, message, fab=b''):
        about = json.loads(about)
        join_trace(about)
        context = self.context_from(self.wire_context.FromString(context))
        message = self.message_from(self.wire_message.FromString(message))
        if self.identity is not None:
            self.identity.task_id = int(about['task_id'])
            self.identity.run_id, self.identity.node_id = context.run_id, context.node_id
        details = ''
        started = time.monotonic()
        try:
            reply = self.app(about, fab)(message=message, context=context)
        except Exception as error:
            details, code = str(type(error)) + ":<'" + str(error) + "'>", self.raised_code
            if isinstance(error, self.LoadError):
                details, code = 'An exception was raised when attempting to load \`ClientApp\`', self.load_code
            self.log(40, '%s raised an exception', 'ClientApp', exc_info=error)
            reply = self.Message(self.Error(code=code, reason=details), reply_to=message)
        outcome = {'details': details, 'seconds': time.monotonic() - started}
        return [
            json.dumps(outcome).encode(),
            self.context_to(context).SerializeToString(),
            self.message_to(reply).SerializeToString(),
        ]

def run_messages(task, line):
    join_trace(task)
    before = set(sys.modules), dict(os.environ)
    print_to(task['console'])
    sys.argv = [program]
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    pipe = socket.socket(socket.AF_UNIX)
    pipe.connect(task['frames'])
    try:
        runner = MessageRunner(task['parent'])
    except (ImportError, AttributeError, TypeError) as missing:
        send_frame(pipe, json.dumps({'unsupported': str(missing)}).encode())
        sys.exit(0)
    send_frame(pipe, json.dumps({'ready': True}).encode())
    count = 0
    while True:
        parts = read_frame(pipe)
        if parts is None:
            atexit._run_exitfuncs()
            os._exit(0)
        send_frame(pipe, *runner.answer(*parts))
        count += 1
        if keep and count == 1:
            names, changes = imports_since(*before)
            tell(line, names=names, changes=changes, waits=False)
`
