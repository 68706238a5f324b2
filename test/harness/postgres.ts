import { execFileSync, spawn, spawnSync } from 'node:child_process'
import { chmodSync, chownSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir, userInfo } from 'node:os'
import { join } from 'node:path'
import pg from 'pg'
import { freePort } from './free-port.ts'
import { TestProgram } from './program.ts'

const bin = process.env.TRELLIS_POSTGRES

/** Libraries of a server that was unpacked rather than installed. */
const environment = { ...process.env, LD_LIBRARY_PATH: process.env.TRELLIS_POSTGRES_LIBRARIES }

/** PostgreSQL does not run as root. */
const owner = process.getuid?.() === 0 ? findPostgresUser() : undefined

function findPostgresUser(): { uid: number; gid: number } {
  const idOf = (flag: string, name: string): number => Number(execFileSync('id', [flag, name], { encoding: 'utf8' }))
  for (const name of ['postgres', 'nobody']) {
    try {
      return { uid: idOf('-u', name), gid: idOf('-g', name) }
    } catch {
      // There is no such user.
    }
  }
  throw new Error(`PostgreSQL does not run as ${userInfo().username}, and there is no other user.`)
}

/** Why tests with PostgreSQL are skipped. In CI, PostgreSQL that is there must run. */
export const withoutPostgres = ((): string | false => {
  if (bin === undefined) return 'PostgreSQL is not installed'
  const initdb = join(bin, 'initdb')
  const asOwner = { env: environment, cwd: '/', ...owner }
  // Of a clone in a private folder, for instance, other users than root see nothing.
  if (spawnSync('test', ['-x', initdb], asOwner).status !== 0)
    return `${initdb} is not visible for the user that tests start PostgreSQL as`
  const { status, stderr } = spawnSync(initdb, ['--version'], { ...asOwner, encoding: 'utf8' })
  if (status === 0) return false
  const reason = `${initdb} does not run: ${stderr}`
  if (process.env.CI === 'true') throw new Error(reason)
  return reason
})()

export interface PostgresOptions {
  /** Whether commits outlive a power cut, which costs time that most tests need not spend. */
  readonly durable?: boolean
  /** More lines of `postgresql.conf` and, instead of trust, `pg_hba.conf`. */
  readonly settings?: readonly string[]
  readonly admits?: readonly string[]
  /** Files for the folder of the server, by name. */
  readonly files?: Readonly<Record<string, string>>
}

/** A PostgreSQL server of a test, on a port of loopback. Its user `trellis` may do everything. */
export class PostgresServer implements AsyncDisposable {
  readonly port: number
  readonly #folder: string
  #program: TestProgram

  private constructor(folder: string, port: number) {
    this.#folder = folder
    this.port = port
    this.#program = this.#spawn()
  }

  static async start(options: PostgresOptions = {}): Promise<PostgresServer> {
    await using onFailure = new AsyncDisposableStack()
    const folder = mkdtempSync(join(tmpdir(), 'trellis-pg-'))
    onFailure.defer(() => rmSync(folder, { recursive: true, force: true }))
    if (owner) chownSync(folder, owner.uid, owner.gid)
    const data = join(folder, 'data')
    const init = ['-D', data, '-U', 'trellis', '-A', 'trust', '-E', 'UTF8', '--locale', 'C', '--no-sync']
    execFileSync(join(bin as string, 'initdb'), init, {
      cwd: folder,
      stdio: ['ignore', 'ignore', 'pipe'],
      env: environment,
      ...owner,
    })
    const port = await freePort()
    const write = (name: string, text: string): void => {
      const path = join(data, name)
      writeFileSync(path, text)
      if (owner) chownSync(path, owner.uid, owner.gid)
      chmodSync(path, 0o600)
    }
    for (const [name, text] of Object.entries(options.files ?? {})) write(name, text)
    if (options.admits) write('pg_hba.conf', `${['local all all trust', ...options.admits].join('\n')}\n`)
    write(
      'postgresql.auto.conf',
      [
        `port = ${port}`,
        "listen_addresses = '127.0.0.1'",
        `unix_socket_directories = '${folder}'`,
        'shared_buffers = 32MB',
        'max_connections = 200',
        'jit = off',
        ...(options.durable ? [] : ['fsync = off', 'synchronous_commit = on', 'full_page_writes = off']),
        ...(options.settings ?? []),
      ].join('\n'),
    )
    const server = onFailure.use(new PostgresServer(folder, port))
    await server.#ready()
    onFailure.move()
    return server
  }

  get socketFolder(): string {
    return this.#folder
  }

  url(database = 'postgres', host = '127.0.0.1'): string {
    return `postgres://trellis@${host}:${this.port}/${database}`
  }

  /** Runs statements as an administrator. */
  async sql(text: string, database = 'postgres'): Promise<Record<string, unknown>[]> {
    const client = new pg.Client({ host: this.#folder, port: this.port, user: 'trellis', database })
    await client.connect()
    try {
      return (await client.query(text)).rows ?? []
    } finally {
      await client.end()
    }
  }

  /** Ends the server at once, as the end of the machine would. */
  async kill(): Promise<void> {
    this.#program.kill('SIGQUIT')
    await this.#program.end()
  }

  async restart(): Promise<void> {
    this.#program = this.#spawn()
    await this.#ready()
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.kill()
    rmSync(this.#folder, { recursive: true, force: true })
  }

  async #ready(): Promise<void> {
    await this.#program.line(/database system is ready to accept connections/)
  }

  #spawn(): TestProgram {
    const args = ['-D', join(this.#folder, 'data')]
    const child = spawn(join(bin as string, 'postgres'), args, {
      cwd: this.#folder,
      stdio: ['ignore', 'pipe', 'pipe'],
      env: environment,
      ...owner,
    })
    return new TestProgram('postgres', child)
  }
}
