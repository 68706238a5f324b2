import { type ChildProcess, spawn } from 'node:child_process'
import { createInterface } from 'node:readline'
import type { Readable } from 'node:stream'
import { ended } from '../base/child-program.ts'
import type { StartedApp } from './started-app.ts'

/**
 * Starts ClientApps of a Python environment in a hundredth of a second instead of one: a process that has imported Flower,
 * and never an app, forks for each task. What runs in the fork is the program that the environment itself would start, with
 * the same arguments, so the release of Flower does not matter.
 */
export class PythonForkServer {
  readonly #server: ChildProcess
  readonly #forks = new Map<number, Fork>()
  readonly #unborn: Fork[] = []
  readonly #idleMs: number
  #idleTimer: NodeJS.Timeout | undefined
  #hasForked = false
  #open = true
  /** It ended before it forked anything: this environment cannot be used like that. */
  hasFailed = false

  constructor(options: { interpreter: string; program: string; idleMs: number }) {
    this.#idleMs = options.idleMs
    this.#server = spawn(options.interpreter, ['-c', script, options.program], {
      stdio: ['pipe', 'inherit', 'inherit', 'pipe'],
    })
    this.#server.stdin?.on('error', () => {})
    const words = createInterface({ input: this.#server.stdio[3] as Readable })
    words.on('line', (line) => this.#hear(JSON.parse(line)))
    void ended(this.#server).then((outcome) => this.#lost(outcome))
  }

  /**
   * Answers `undefined` when this server is no more: then another one has to be started. `alone` starts the program without
   * it, should it end before it has forked.
   */
  start(args: readonly string[], alone: () => StartedApp): StartedApp | undefined {
    if (!this.#open) return undefined
    clearTimeout(this.#idleTimer)
    const fork = new Fork(alone)
    this.#unborn.push(fork)
    this.#server.stdin?.write(`${JSON.stringify(args)}\n`)
    return fork
  }

  /** Its forks live on: whoever started them ends them. */
  close(): void {
    this.#open = false
    clearTimeout(this.#idleTimer)
    this.#server.stdin?.end()
  }

  #hear({ pid, status }: { pid: number; status?: number }): void {
    if (status === undefined) {
      // Forks are told in the order in which they were asked for.
      const fork = this.#unborn.shift()
      this.#hasForked = true
      fork?.born(pid)
      if (fork) this.#forks.set(pid, fork)
      return
    }
    this.#forks.get(pid)?.end(status < 0 ? `ended by signal ${-status}` : `exit status ${status}`)
    this.#forks.delete(pid)
    if (this.#forks.size + this.#unborn.length > 0) return
    this.#idleTimer = setTimeout(() => this.close(), this.#idleMs)
  }

  /** Nobody tells any more how the forks end: they are ended. */
  #lost(outcome: string): void {
    this.close()
    this.hasFailed = !this.#hasForked
    for (const fork of this.#unborn.splice(0)) fork.startAlone()
    for (const fork of this.#forks.values()) {
      fork.kill('SIGKILL')
      fork.end(`lost its parent: ${outcome}`)
    }
    this.#forks.clear()
  }
}

class Fork implements StartedApp {
  readonly ended: Promise<string>
  readonly #resolve: (outcome: string) => void
  pid: number | undefined
  isOver = false
  #wanted: 'SIGTERM' | 'SIGKILL' | undefined
  readonly #alone: () => StartedApp

  constructor(alone: () => StartedApp) {
    this.#alone = alone
    const { promise, resolve } = Promise.withResolvers<string>()
    this.ended = promise
    this.#resolve = resolve
  }

  born(pid: number): void {
    this.pid = pid
    if (this.#wanted) this.kill(this.#wanted)
  }

  startAlone(): void {
    if (this.#wanted) {
      this.end('ended before it was started')
      return
    }
    const app = this.#alone()
    if (app.pid !== undefined) this.born(app.pid)
    void app.ended.then((outcome) => this.end(outcome))
  }

  kill(signal: 'SIGTERM' | 'SIGKILL'): void {
    this.#wanted = signal
    if (this.pid === undefined || this.isOver) return
    try {
      process.kill(this.pid, signal)
    } catch {
      // It has ended; that is told in a moment.
    }
  }

  end(outcome: string): void {
    this.isOver = true
    this.#resolve(outcome)
  }
}

/**
 * Reads the arguments of a task from each line; tells of each fork, and of its end, on descriptor 3. Ends with its input.
 * Random numbers must differ from fork to fork: Python's own are seeded anew by itself, numpy's here.
 */
const script = `
import gc, json, os, select, signal, sys
from importlib.metadata import entry_points

def serve():
    woken, wake = os.pipe()
    os.set_blocking(wake, False)
    signal.set_wakeup_fd(wake)
    signal.signal(signal.SIGCHLD, lambda *_: None)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    rest = b''
    while True:
        ready, _, _ = select.select([0, woken], [], [])
        if woken in ready:
            os.read(woken, 4096)
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
            pid = os.fork()
            if pid == 0:
                signal.set_wakeup_fd(-1)
                signal.signal(signal.SIGCHLD, signal.SIG_DFL)
                signal.signal(signal.SIGINT, signal.default_int_handler)
                for descriptor in (woken, wake, 3):
                    os.close(descriptor)
                os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
                return json.loads(line)
            say(pid=pid)

def say(**words):
    os.write(3, (json.dumps(words) + '\\n').encode())

program = sys.argv[1]
entries = [one for one in entry_points(group='console_scripts') if one.name == os.path.basename(program)]
if not entries:
    sys.exit(1)
main = entries[0].load()
os.set_inheritable(3, False)
gc.collect()
gc.freeze()
arguments = serve()
if 'numpy' in sys.modules:
    sys.modules['numpy'].random.seed()
sys.argv = [program, *arguments]
sys.exit(main())
`
