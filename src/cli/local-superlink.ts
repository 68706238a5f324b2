import { randomUUID } from 'node:crypto'
import { closeSync, mkdirSync, openSync, readFileSync, readSync, unlinkSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { ended, startProgram } from '../base/child-program.ts'
import { systemClock } from '../base/clock.ts'
import { UsageError } from '../base/errors.ts'
import { environmentWithReport } from '../base/failure-report.ts'
import { Control } from '../gen/flwr/proto/control_pb.ts'
import { createChannel } from '../rpc/channel.ts'
import type { Output } from './output.ts'

/**
 * The SuperLink of this user that simulates runs on this machine. It is started when a command needs it, outlives the
 * command, and ends by itself when it was not used for a while; where it listens is in a file. Of several that are
 * started at the same time one stays: it holds the file.
 */

export interface LocalSuperlinkOptions {
  /** Flower's folder of this user. */
  readonly home: string
  /** Where its state is: on disk runs are still listed when it was away. */
  readonly kind: 'disk' | 'memory'
  /** Fingerprint of the programs that this command finds. */
  readonly programs: string
  readonly signal: AbortSignal
  readonly output: Output
}

const startMs = 30_000
const lookMs = 50
const probeMs = 2000
const idleMinutes = { disk: 10, memory: 60 } as const
/** A larger log begins again; one old one is kept. */
const logSizeMax = '16M'

export interface LocalSuperlink {
  /** The address of its Control API. */
  readonly address: string
  /** Headers that every call needs. */
  readonly headers: Readonly<Record<string, string>>
  readonly log: string
}

/** Returns the running local SuperLink, or starts one. Throws a UsageError that names the log if it does not start. */
export async function ensureLocalSuperlink(options: LocalSuperlinkOptions): Promise<LocalSuperlink> {
  const files = localFiles(options)
  const running = await probe(files.address, options.signal)
  if (running && !(await isOutdated(running, files, options))) return { ...running, log: files.log }
  makeFolder(files.folder)
  options.output.note(`Starting a local SuperLink; its log is ${files.log}`)
  const endsAt = systemClock.now() + startMs
  let start = launch(options, files)
  for (;;) {
    options.signal.throwIfAborted()
    await systemClock.sleep(lookMs, options.signal)
    const started = await probe(files.address, options.signal)
    if (started && started.pid !== running?.pid) return { ...started, log: files.log }
    if (systemClock.now() > endsAt) throw failure(files.log, `did not answer in ${startMs / 1000} s`)
    const reason = start.endReason()
    if (reason === undefined) continue
    // Another command was faster, and that SuperLink is about to respond; or an old one is about to end.
    if (!/is in use by another SuperLink/.test(reason)) throw failure(files.log, `did not start: ${reason}`)
    await systemClock.sleep(retryMs, options.signal)
    start = launch(options, files)
  }
}

const retryMs = 300

interface LocalFiles {
  readonly folder: string
  readonly log: string
  readonly address: string
  /** Which programs it finds: those on the PATH of the command that started it. */
  readonly programs: string
  readonly database: string
}

interface Running {
  readonly address: string
  readonly headers: Readonly<Record<string, string>>
  readonly pid: number
  /** Whether a run is under way. */
  readonly busy: boolean
}

function localFiles({ home, kind }: LocalSuperlinkOptions): LocalFiles {
  const folder = join(home, 'local-superlink')
  const name = kind === 'disk' ? 'trellis' : 'trellis-in-memory'
  return {
    folder,
    log: join(folder, `${name}.log`),
    address: join(folder, `${name}.address`),
    programs: join(folder, `${name}.programs`),
    // Flower's own local SuperLink keeps its state beside it, in another form.
    database: kind === 'disk' ? join(folder, `${name}.db`) : ':memory:',
  }
}

function makeFolder(folder: string): void {
  try {
    mkdirSync(folder, { recursive: true, mode: 0o700 })
  } catch (cause) {
    const { code } = cause as NodeJS.ErrnoException
    throw new UsageError(`${folder} cannot be made (${code}): check permissions, or set FLWR_HOME to another folder.`, {
      cause,
    })
  }
}

/**
 * Starts a SuperLink that lives on when this command ends. `endReason` returns why it has ended, in its own words: an earlier
 * SuperLink may still write to the log that they share. It returns `undefined` while the SuperLink runs.
 */
function launch({ kind, programs }: LocalSuperlinkOptions, files: LocalFiles): { endReason(): string | undefined } {
  writeFileSync(files.programs, programs, { mode: 0o600 })
  const log = openSync(files.log, 'a', 0o600)
  const failure = openNameless(join(files.folder, `failure-${randomUUID()}`))
  const args = [
    ...['--insecure', '--simulation', '--control-api-address', '127.0.0.1:0', '--port', '0'],
    ...['--database', files.database, '--address-file', files.address],
    ...['--output-file', files.log, '--log-max-size', logSizeMax],
    ...['--end-when-idle', String(idleMinutes[kind])],
  ]
  const child = startProgram('flower-superlink', args, {
    stdio: ['ignore', log, log, failure],
    detached: true,
    env: environmentWithReport(3),
  })
  closeSync(log)
  child.unref()
  let reason: string | undefined
  void ended(child).then((outcome) => {
    reason = readStart(failure) || `${outcome}.`
    closeSync(failure)
  })
  return { endReason: () => reason }
}

/** Opens a file that is gone when it is closed, by whatever end. */
function openNameless(path: string): number {
  const file = openSync(path, 'w+', 0o600)
  unlinkSync(path)
  return file
}

function readStart(file: number): string {
  const bytes = Buffer.alloc(reasonBytesMax)
  const text = bytes.toString('utf8', 0, readSync(file, bytes, 0, bytes.length, 0))
  return text.split('\n', 1)[0] ?? ''
}

const reasonBytesMax = 4096

/**
 * A SuperLink that was started in another Python environment would run apps there. When it has nothing to do it is ended,
 * and another one takes over its state; what is only in memory, or under way, stays.
 */
async function isOutdated(running: Running, files: LocalFiles, options: LocalSuperlinkOptions): Promise<boolean> {
  if (read(files.programs) === options.programs) return false
  if (running.busy || options.kind === 'memory') {
    const why = running.busy ? 'has a run under way' : 'would forget its runs'
    options.output.note(
      `The local SuperLink was started with another PATH and ${why}: Python apps run in the environment of then.`,
    )
    return false
  }
  if (!(running.pid > 1)) return false
  try {
    process.kill(running.pid, 'SIGTERM')
  } catch {
    // It has ended by itself in the meantime.
  }
  return true
}

/** Returns the SuperLink that the file names, if it responds and simulates. */
async function probe(file: string, signal: AbortSignal): Promise<Running | undefined> {
  const [address = '', pid = '', secret = ''] = read(file).split('\n')
  if (secret === '') return undefined
  const headers = { 'trellis-secret': secret }
  try {
    using channel = createChannel({ address, tls: 'insecure', component: 'flwr CLI', headers })
    const callOptions = { timeoutMs: probeMs, signal }
    const { message } = await channel.call(Control.method.listFederations, {}, callOptions)
    if (!message.federations.some(({ simulation }) => simulation)) return undefined
    const { message: newest } = await channel.call(Control.method.listRuns, { limit: runsLookedAt }, callOptions)
    const busy = Object.values(newest.runDict).some(({ status }) => status?.status !== 'finished')
    return { address, headers, pid: Number(pid), busy }
  } catch {
    return undefined
  }
}

/** Older ones are over, or have lasted for very long. */
const runsLookedAt = 100n

function read(file: string): string {
  try {
    return readFileSync(file, 'utf8')
  } catch {
    return ''
  }
}

function failure(log: string, what: string): UsageError {
  return new UsageError(`The local SuperLink ${what} Its log: ${log}`)
}
