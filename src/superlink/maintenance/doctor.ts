import { existsSync, readFileSync, statfsSync, statSync } from 'node:fs'
import { availableParallelism, freemem, release, totalmem, type } from 'node:os'
import { dirname } from 'node:path'
import { systemClock } from '../../base/clock.ts'
import { errorText } from '../../base/errors.ts'
import { type OptionRow, type OptionValues, parseOptions, versionText } from '../../base/options.ts'
import { oneLine } from '../../base/printable.ts'
import type { Main } from '../../base/program.ts'
import type { Db } from '../../db/database.ts'
import { openPostgresReadOnly } from '../../db/postgres/read-only.ts'
import { isPostgresUrl, type PostgresTarget, parsePostgresUrl } from '../../db/postgres/target.ts'
import { openReadOnly } from '../../db/read-only.ts'
import { readCertificates } from '../../identity/tls-files.ts'
import { bucketOf } from '../../objects/bucket/open-bucket.ts'
import { parseSuperlinkConfig, type SuperlinkConfig } from '../config.ts'
import { besideState } from '../config-database.ts'
import type { StorageConfig } from '../config-storage.ts'
import { rows } from '../options.ts'
import { lastLines } from './last-lines.ts'

const summary =
  'Print what a bug report needs, without secrets: give the options of the SuperLink. It may run meanwhile.'

/** `flower-superlink doctor`: facts about program, machine, configuration, certificates and stored state, for a bug report. */
export const doctorCommand: Main = async (argv) => {
  const values = parseOptions('flower-superlink doctor', summary, rows, argv)
  if (!values) return 0
  for await (const line of examine(values, argv)) process.stdout.write(`${oneLine(line)}\n`)
  return 0
}

/** Yields the report line by line. A part that cannot be read is a line that says why; the others follow. */
export async function* examine(values: OptionValues, argv: readonly string[]): AsyncGenerator<string> {
  yield* section('Program', programLines())
  yield* section('Options', optionLines(values))
  const { config, problem } = readConfig(argv)
  yield* section('Configuration', problem === undefined ? warningsOf(config) : [`Rejected: ${problem}`])
  yield* section('Certificates', certificateLines(values))
  if (!config) return
  yield* section('Stored state', await listSafely(() => stateLines(config)))
  yield* section('Log', await listSafely(async () => logLines(config.log.file)))
}

function warningsOf(config: SuperlinkConfig | undefined): readonly string[] {
  const warnings = config?.warnings ?? []
  return warnings.length > 0 ? warnings : ['Accepted, without a warning.']
}

function* section(title: string, lines: readonly string[]): Generator<string> {
  yield `## ${title}`
  for (const line of lines.length > 0 ? lines : ['(none)']) yield withoutPasswords(line)
  yield ''
}

/** Leaves out what stands before the host of a URL, and its query: each can be a password. */
function withoutPasswords(line: string): string {
  return line.replaceAll(/\/\/[^/\s]*@/g, '//***@').replaceAll(/(\/\/[^\s?]*\?)\S+/g, '$1***')
}

function programLines(): string[] {
  return [
    ...versionText.split('\n'),
    `Node ${process.version}, OpenSSL ${process.versions.openssl}, SQLite ${process.versions.sqlite}`,
    `${type()} ${release()} ${process.arch}, ${availableParallelism()} CPUs, ${megabytes(totalmem())} memory, ${megabytes(freemem())} free`,
    `Open files allowed: ${openFilesMax()}; user ${process.getuid?.() === 0 ? 'is' : 'is not'} root`,
    `Time: ${new Date().toISOString()}`,
  ]
}

function openFilesMax(): string {
  try {
    return /^Max open files\s+(\S+)/m.exec(readFileSync('/proc/self/limits', 'utf8'))?.[1] ?? 'unknown'
  } catch {
    return 'unknown'
  }
}

/** Returns the options that were given: names of files, addresses and modes. The path of a webhook is often its secret. */
function optionLines(values: OptionValues): string[] {
  const flagOf = new Map(rows.map((row) => [attributeOf(row), row.flags.split(' ')[0] ?? '']))
  return Object.entries(values)
    .filter(([name, value]) => value !== undefined && rows.find((row) => attributeOf(row) === name)?.default !== value)
    .map(([name, value]) => {
      const flag = flagOf.get(name) ?? name
      if (name === 'webhook') return `${flag} ${originOf(String(value))}/***`
      if (name === 'database') return `${flag} ${databaseText(String(value).trim())}`
      // A password in a URL is rejected, and not repeated here.
      return value === true ? flag : `${flag} ${String(value).replace(/(:\/\/[^/@]*):[^/@]*@/, '$1:…@')}`
    })
}

function originOf(url: string): string {
  return URL.canParse(url) ? new URL(url).origin : '***'
}

/** A URL that is wrong may have a password anywhere. */
function databaseText(name: string): string {
  if (!/^[\w+.-]+:\/\//.test(name) || name.startsWith('sqlite:///')) return name
  try {
    if (isPostgresUrl(name)) return parsePostgresUrl(name, {}).label
  } catch {
    // Rejected: the configuration says why.
  }
  return `${name.split(':')[0]}://***`
}

function attributeOf({ flags }: OptionRow): string {
  const name = (flags.split(' ')[0] ?? '').replace(/^--/, '')
  return name.replaceAll(/-(.)/g, (_, letter: string) => letter.toUpperCase())
}

function readConfig(argv: readonly string[]): { config?: SuperlinkConfig | undefined; problem?: string } {
  try {
    return { config: parseSuperlinkConfig(argv) }
  } catch (error) {
    return { problem: errorText(error) }
  }
}

/** Subjects and dates of the certificates, and the permissions of the files; of a key nothing but its file. */
function certificateLines(values: OptionValues): string[] {
  const lines: string[] = []
  for (const [flag, name] of [
    ['--ssl-certfile', 'sslCertfile'],
    ['--ssl-ca-certfile', 'sslCaCertfile'],
    ['--ssl-client-ca-certfile', 'sslClientCaCertfile'],
  ] as const) {
    const path = values[name]
    if (typeof path !== 'string') continue
    lines.push(`${flag}: ${fileText(path)}`)
    try {
      for (const { subject, issuerText, serial, notBefore, notAfter } of readCertificates({ flag, path }))
        lines.push(
          `  ${subject.text}, issued by ${issuerText}, serial ${serial}, ${instant(notBefore)} to ${instant(notAfter)}`,
        )
    } catch (error) {
      lines.push(`  ${errorText(error)}`)
    }
  }
  for (const [flag, name] of [
    ['--ssl-keyfile', 'sslKeyfile'],
    ['--ssl-client-policy', 'sslClientPolicy'],
    ['--superexec-auth-secret-file', 'superexecAuthSecretFile'],
  ] as const) {
    const path = values[name]
    if (typeof path === 'string') lines.push(`${flag}: ${fileText(path)}`)
  }
  return lines
}

async function stateLines({ database, storage }: SuperlinkConfig): Promise<string[]> {
  const objects = besideState(database, storage ? 'object-cache' : 'objects')
  const bucketLines = storage ? await listSafely(() => linesOfBucket(storage, objects)) : []
  if (database.engine === 'postgres') {
    const ofObjects = objects === undefined ? [] : [`Objects: ${fileText(objects)}`]
    return [...(storage ? bucketLines : ofObjects), ...(await listSafely(() => postgresLines(database.target)))]
  }
  if (database.engine === 'memory' || objects === undefined) return ['In memory.']
  const { path } = database
  const lines = [`Database: ${fileText(path)}`, `Log of changes: ${fileText(`${path}-wal`)}`, ...bucketLines]
  for (const place of [dirname(path), objects])
    if (existsSync(place)) lines.push(`Free where ${place} is: ${freeText(place)}`)
  await using db = openReadOnly(path)
  for (const [what, counts] of Object.entries(await countRows(db.read))) lines.push(`${what}: ${counts}`)
  return lines
}

/** A SuperLink may be using it: reading takes no lock. */
async function postgresLines(target: PostgresTarget): Promise<string[]> {
  await using db = await openPostgresReadOnly(target)
  const counts = Object.entries(await countRows(db.read)).map(([what, text]) => `${what}: ${text}`)
  return [`Database: ${target.label}, a server of PostgreSQL ${db.release}`, ...counts]
}

async function linesOfBucket(storage: StorageConfig, copies: string | undefined): Promise<string[]> {
  const { label } = storage.target
  const lines = [`Large objects: ${label}, with copies in ${copies ?? 'a temporary folder'}`]
  using bucket = bucketOf({ ...storage, sleep: (ms) => systemClock.sleep(ms) })
  try {
    await bucket.probe('get')
    return [...lines, 'The bucket responds.']
  } catch (error) {
    return [...lines, errorText(error)]
  }
}

async function countRows(read: Db): Promise<Record<string, string>> {
  const byStatus = async (table: 'node' | 'task', column: 'status'): Promise<string> => {
    const found = await read
      .selectFrom(table)
      .select(({ fn }) => [column, fn.countAll<number>().as('count')])
      .groupBy(column)
      .execute()
    return found.map(({ status, count }) => `${count} ${status}`).join(', ') || 'none'
  }
  const messages = await read
    .selectFrom('message')
    .select(({ fn }) => ['state', fn.countAll<number>().as('count')])
    .groupBy('state')
    .execute()
  const objects = await read
    .selectFrom('object')
    .select(({ fn }) => [fn.countAll<number>().as('count')])
    .executeTakeFirst()
  return {
    SuperNodes: await byStatus('node', 'status'),
    Tasks: await byStatus('task', 'status'),
    Messages: messages.map(({ state, count }) => `${count} ${state}`).join(', ') || 'none',
    Objects: String(objects?.count ?? 0),
  }
}

function logLines(file: string | undefined): readonly string[] {
  return file === undefined ? ['Standard error only: add its last lines yourself.'] : lastLines(file, logLinesShown)
}

const logLinesShown = 200

async function listSafely(list: () => Promise<readonly string[]>): Promise<readonly string[]> {
  try {
    return await list()
  } catch (error) {
    return [errorText(error)]
  }
}

function fileText(path: string): string {
  try {
    const { size, mode, mtimeMs } = statSync(path)
    return `${path}, ${size} bytes, mode ${(mode & 0o777).toString(8)}, changed ${instant(mtimeMs)}`
  } catch (error) {
    return `${path}: ${(error as NodeJS.ErrnoException).code}`
  }
}

function freeText(path: string): string {
  const { bavail, bsize, blocks } = statfsSync(path)
  return `${megabytes(bavail * bsize)} of ${megabytes(blocks * bsize)}`
}

function megabytes(bytes: number): string {
  return `${Math.round(bytes / 1e6)} MB`
}

function instant(at: number): string {
  return new Date(at).toISOString().slice(0, 19).concat('Z')
}
