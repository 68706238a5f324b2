import assert from 'node:assert/strict'
import { spawn, spawnSync } from 'node:child_process'
import { chmodSync, existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, test } from 'node:test'
import { eventually } from '../../test/harness/program.ts'
import { createLogger } from '../base/log.ts'
import { AppConsole } from './app-console.ts'
import { findPythonEnvironment } from './python-environment.ts'
import { PythonForkServer } from './python-fork-server.ts'
import { endApp, type StartedApp, startedApp } from './started-app.ts'

const skip = spawnSync('python3', ['--version']).status === 0 ? false : 'there is no python3 here'
const folder = mkdtempSync(join(tmpdir(), 'trellis-forks-'))
after(() => rmSync(folder, { recursive: true }))

/** An environment whose `flwr-clientapp` does what its first argument says. */
const application = `
import os, random, sys, time
from flwr.supernode.runtime import run_clientapp
imported = os.getpid()
loaded = 0
already = None
def main():
    global already
    already = 'wsgiref.validate' in sys.modules, os.environ.get('LIBRARY_SETTING')
    what, file = sys.argv[1], sys.argv[2]
    with open(file, 'a') as out:
        out.write(f'{os.getpid()} {os.getppid()} {imported} {random.random()} {os.path.basename(sys.argv[0])}\\n')
    if 'TRACEPARENT' in os.environ:
        with open(file + '-trace', 'a') as out:
            out.write(f'{os.getpid()} ' + os.environ['TRACEPARENT'] + '\\n')
    if what == 'leave':
        import signal
        global loaded
        loaded += 1
        # As Flower does: its next task must not find this.
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        with open(file + '-left', 'a') as out:
            out.write(f'{os.getpid()} {loaded} {sys.argv[4:]}\\n')
        run_clientapp.flwr_exit(int(sys.argv[3]))
    if what == 'library':
        os.environ['LIBRARY_SETTING'] = 'x'
        import wsgiref.validate
        with open(file + '-library', 'a') as out:
            out.write(f'{already}\\n')
    if what == 'spin':
        import signal
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        while True:
            time.sleep(0.05)
    if what == 'print':
        os.mkfifo(sys.argv[3])
        print('printed for', sys.argv[3])
        os.system('echo a child of it >&2')
        # Until the test opens it.
        open(sys.argv[3]).close()
    return 3 if what == 'fail' else 0
`
mkdirSync(join(folder, 'fake-1.0.dist-info'))
writeFileSync(join(folder, 'fake-1.0.dist-info', 'METADATA'), 'Name: fake\nVersion: 1.0\n')
writeFileSync(
  join(folder, 'fake-1.0.dist-info', 'entry_points.txt'),
  '[console_scripts]\nflwr-clientapp = fake_application:main\n',
)
writeFileSync(join(folder, 'fake_application.py'), application)
/** How Flower's ClientApp leaves: a timer ends the process if the program does not. This one does not wait. */
const leaving = `
import os, sys, threading
def flwr_exit(code):
    threading.Thread(target=lambda: os._exit(9), daemon=True).start()
    sys.exit(code)
`
const runtime = join(folder, 'flwr', 'supernode', 'runtime')
mkdirSync(runtime, { recursive: true })
writeFileSync(join(folder, 'flwr', 'leaving.py'), leaving)
writeFileSync(join(runtime, 'run_clientapp.py'), 'from flwr.leaving import flwr_exit\n')
// What a server inherits, as an environment inherits its packages.
process.env.PYTHONPATH = folder

const notes = join(folder, 'notes')
const lines = (): string[][] =>
  readFileSync(notes, 'utf8')
    .trim()
    .split('\n')
    .map((line) => line.split(' '))
const printed: string[] = []
const log = createLogger({ format: 'text', sinks: [{ write: (line) => printed.push(line) }] })
const run = (args: string[], alone: () => StartedApp = never, runId = 1n) => ({
  runId,
  args,
  again: true,
  owner: { app: 'ClientApp', runId } as const,
  alone,
})
const never = () => {
  throw new Error('It should have forked')
}
const open = ({ interpreter = 'python3', program = 'flwr-clientapp' } = {}): PythonForkServer => {
  const options = { interpreter, programs: [join(folder, program)], idleMs: 60_000 }
  return PythonForkServer.open(options, new AppConsole(log), { app: 'Python', runId: undefined })
}

test('tasks run in forks of one process that has imported the program, and their ends are told', { skip }, async () => {
  rmSync(notes, { force: true })
  using server = open()
  const outcomes = ['good', 'fail', 'good'].map((what) => server.start(run([what, notes]))?.ended)
  assert.deepEqual(await Promise.all(outcomes), ['exit status 0', 'exit status 3', 'exit status 0'])
  const [pids, parents, imported, random, names] = [0, 1, 2, 3, 4].map(
    (index) => new Set(lines().map((line) => line[index])),
  )
  assert.equal(pids?.size, 3)
  assert.equal(parents?.size, 1)
  assert.deepEqual(imported, parents)
  assert.equal(random?.size, 3, 'forks must not draw the same random numbers')
  assert.deepEqual(names, new Set(['flwr-clientapp']))
})

test('what the first app of a run has imported is there for its next ones, and for no other run', {
  skip,
}, async () => {
  rmSync(notes, { force: true })
  rmSync(`${notes}-library`, { force: true })
  using environment = open()
  const ofRun = environment.forRun(1n, { app: 'Python', runId: 1n })
  for (const server of [ofRun, ofRun, environment, environment])
    assert.equal(await server?.start(run(['library', notes]))?.ended, 'exit status 0')
  const found = readFileSync(`${notes}-library`, 'utf8').trim().split('\n')
  assert.deepEqual(found, ['(False, None)', "(True, 'x')", '(False, None)', '(False, None)'])
  const [first, second, third] = lines()
  assert.equal(first?.[1], second?.[1])
  assert.notEqual(first?.[1], third?.[1], 'a run has a server of its own')
  assert.equal(first?.[2], third?.[1], 'which begins with the imports of the environment')
  ofRun?.close()
  await ofRun?.ended
  assert.equal(await environment.start(run(['good', notes]))?.ended, 'exit status 0')
})

test('a fork shows the title that it is given as its command', { skip }, async () => {
  rmSync(notes, { force: true })
  using server = open()
  const title = ['python3', '-X', 'shown', 'flwr-clientapp']
  const app = server.start({ ...run(['spin', notes]), title })
  assert.ok(app)
  const shown = (): string => readFileSync(`/proc/${app.pid}/cmdline`, 'utf8').replace(/\0+$/, '')
  await eventually('the title', () => app.pid !== undefined && shown() === title.join('\0'))
  endApp(app)
  await app.ended
})

/** Processes of the tasks that left, how many tasks each had seen, and the rest of their arguments. */
const left = (): string[][] =>
  readFileSync(`${notes}-left`, 'utf8')
    .trim()
    .split('\n')
    .map((line) => line.split(' '))
const leave = (code: number, more: string[] = []): string[] => ['leave', notes, String(code), ...more]
const isAlive = (pid: string | undefined): boolean => existsSync(`/proc/${pid}`)

test('a process that has ended a task well runs the next one of its run, and only of its run', { skip }, async () => {
  rmSync(`${notes}-left`, { force: true })
  using server = open()
  const args = leave(0, ['--parent-pid', '1', '--more'])
  for (const runId of [1n, 1n, 2n, 1n])
    assert.equal(await server.start(run(args, never, runId))?.ended, 'exit status 0')
  assert.equal(await server.start(run(args))?.ended, 'exit status 0')
  const [first, second, other, third, fourth] = left()
  const [pid, otherPid] = [first?.[0], other?.[0]]
  assert.notEqual(otherPid, pid)
  assert.deepEqual(first, [pid, '1', "['--parent-pid',", "'1',", "'--more']"])
  // One watch over the parent is enough.
  assert.deepEqual(
    [second, third, fourth].map((words) => words?.join(' ')),
    [2, 3, 4].map((n) => `${pid} ${n} ['--more']`),
  )
  server.endRuns([1n])
  await eventually('the end of the process that waits', () => !isAlive(pid))
  assert.ok(isAlive(otherPid))
  server.close()
  await eventually('the end of the other one', () => !isAlive(otherPid))
})

test('each task has a trace of its own, also in a process that has run another one', { skip }, async () => {
  rmSync(`${notes}-trace`, { force: true })
  using server = open()
  for (const parent of ['first', 'second']) {
    const trace = { parent, ended() {} }
    assert.equal(await server.start({ ...run(leave(0)), trace })?.ended, 'exit status 0')
  }
  const [first, second] = readFileSync(`${notes}-trace`, 'utf8').trim().split('\n')
  const [pid] = first?.split(' ') ?? []
  assert.deepEqual([first, second], [`${pid} first`, `${pid} second`])
})

test('a process whose task failed, or that may run one task only, ends with it', { skip }, async () => {
  rmSync(`${notes}-left`, { force: true })
  using server = open()
  assert.equal(await server.start(run(leave(3)))?.ended, 'exit status 3')
  // Nothing is taken from this one, so its timer may be faster.
  assert.match((await server.start({ ...run(leave(0)), again: false })?.ended) ?? '', /exit status [09]/)
  assert.equal(await server.start(run(leave(0)))?.ended, 'exit status 0')
  assert.equal(new Set(left().map(([pid]) => pid)).size, 3)
})

test('a process that dies while it waits is not missed', { skip }, async () => {
  rmSync(`${notes}-left`, { force: true })
  using server = open()
  assert.equal(await server.start(run(leave(0)))?.ended, 'exit status 0')
  const pid = Number(left()[0]?.[0])
  // The handler that the task left behind would ignore it.
  process.kill(pid, 'SIGTERM')
  await eventually('its end', () => !isAlive(String(pid)))
  assert.equal(await server.start(run(leave(0)))?.ended, 'exit status 0')
  assert.notEqual(left()[1]?.[0], String(pid))
})

test('the output of each fork names its run, and comes when it is written', { skip }, async () => {
  using server = open()
  const seen = [join(folder, 'seen-1'), join(folder, 'seen-2')]
  const ends = seen.map((file, index) => server.start(run(['print', notes, file], never, BigInt(index + 1)))?.ended)
  const expected = seen.flatMap((file, index) => [
    `INFO :      [ClientApp, run ${index + 1}] printed for ${file}\n`,
    `INFO :      [ClientApp, run ${index + 1}] a child of it\n`,
  ])
  await eventually('their output', () => expected.every((line) => printed.includes(line)))
  for (const file of seen) writeFileSync(file, '')
  assert.deepEqual(await Promise.all(ends), ['exit status 0', 'exit status 0'])
})

test('a fork that does not listen is ended', { skip }, async () => {
  rmSync(notes, { force: true })
  using server = open()
  const app = server.start(run(['spin', notes]))
  assert.ok(app)
  await eventually('the process id', () => app.pid !== undefined)
  endApp(app)
  assert.match(await app.ended, /ended by signal (9|15)/)
  assert.equal(app.isOver, true)
})

test('an app whose environment is still being imported can be ended', async () => {
  const interpreter = join(folder, 'slow-python')
  writeFileSync(interpreter, '#!/bin/sh\nexec cat >/dev/null\n', { mode: 0o755 })
  using server = open({ interpreter })
  const app = server.start(run([]))
  assert.ok(app)
  app.kill('SIGTERM')
  assert.equal(app.isOver, false)
  app.kill('SIGKILL')
  assert.equal(await app.ended, 'ended before it was started')
})

test('an environment that cannot be used like that starts each program by itself', { skip }, async () => {
  using server = open({ program: 'flwr-unknown' })
  const app = server.start(run([], () => startedApp(spawn('true'))))
  assert.equal(await app?.ended, 'exit status 0')
  assert.equal(server.hasFailed, true)
  assert.equal(server.start(run([])), undefined)
})

test('Python programs are found on PATH behind programs of the same name that are none', () => {
  const [ours, theirs] = [join(folder, 'ours'), join(folder, 'theirs')]
  for (const [bin, text] of [
    [ours, '#!/bin/sh\nexec node\n'],
    [theirs, '#!/x/bin/python3\nimport sys\n'],
  ] as const) {
    mkdirSync(bin)
    writeFileSync(join(bin, 'flwr-clientapp'), text)
    writeFileSync(join(bin, 'python3'), '')
    chmodSync(join(bin, 'flwr-clientapp'), 0o755)
  }
  const found = findPythonEnvironment(undefined, `${ours}:${join(folder, 'nothing')}:${theirs}`)
  assert.equal(found?.program('flwr-serverapp'), join(theirs, 'flwr-serverapp'))
  assert.equal(found?.interpreter, join(theirs, 'python3'))
  assert.equal(findPythonEnvironment(undefined, ours), undefined)
  assert.equal(findPythonEnvironment('/e/bin/python')?.program('flwr-clientapp'), '/e/bin/flwr-clientapp')
})
