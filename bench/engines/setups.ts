import { join } from 'node:path'
import { prepareObjectServers } from '../../scripts/object-servers.ts'
import { preparePostgres } from '../../scripts/postgres.ts'
import { start, type TestProgram } from '../../test/harness/program.ts'

/** Where a SuperLink keeps its state and large objects, and how many others stand by. */
export interface Setup {
  readonly title: string
  readonly database: 'sqlite' | 'postgres'
  readonly objects: 'files' | 'bucket'
  readonly superlinks: number
}

export const setups: readonly Setup[] = [
  { title: 'SQLite', database: 'sqlite', objects: 'files', superlinks: 1 },
  { title: 'PostgreSQL', database: 'postgres', objects: 'files', superlinks: 1 },
  { title: 'PostgreSQL, 1 standby', database: 'postgres', objects: 'files', superlinks: 2 },
  { title: 'PostgreSQL, 2 standbys', database: 'postgres', objects: 'files', superlinks: 3 },
  { title: 'PostgreSQL and S3', database: 'postgres', objects: 'bucket', superlinks: 1 },
]

/** The servers that setups need. */
export class Engines implements AsyncDisposable {
  readonly #stack: AsyncDisposableStack
  readonly #createDatabase: (name: string) => Promise<string>
  readonly #bucketUrl: (prefix: string) => string
  readonly environment: Readonly<Record<string, string>>
  #databases = 0

  private constructor(
    parts: {
      createDatabase: (name: string) => Promise<string>
      bucketUrl: (prefix: string) => string
      environment: Readonly<Record<string, string>>
    },
    stack: AsyncDisposableStack,
  ) {
    this.#createDatabase = parts.createDatabase
    this.#bucketUrl = parts.bucketUrl
    this.environment = parts.environment
    this.#stack = stack
  }

  /** Throws if this machine has no PostgreSQL or S3 server. */
  static async start(directory: string): Promise<Engines> {
    // The modules of the servers read these variables when they are loaded.
    Object.assign(process.env, preparePostgres(), await prepareObjectServers())
    const { PostgresServer, withoutPostgres } = await import('../../test/harness/postgres.ts')
    const { ObjectServer, objectServerKeys, withoutObjectServers } = await import('../../test/harness/object-server.ts')
    const missing = withoutPostgres || withoutObjectServers
    if (missing) throw new Error(`The engines cannot be measured: ${missing}`)
    await using stack = new AsyncDisposableStack()
    const postgres = stack.use(await PostgresServer.start({ durable: true }))
    const bucket = stack.use(await ObjectServer.start(join(directory, 's3')))
    const environment = {
      AWS_ACCESS_KEY_ID: objectServerKeys.accessKeyId,
      AWS_SECRET_ACCESS_KEY: objectServerKeys.secretAccessKey,
    }
    const createDatabase = async (name: string): Promise<string> => {
      await postgres.sql(`CREATE DATABASE ${name}`)
      return postgres.url(name)
    }
    return new Engines({ createDatabase, bucketUrl: (prefix) => bucket.url(prefix), environment }, stack.move())
  }

  /** The options of a SuperLink with an empty database. */
  async optionsOf({ database, objects }: Setup, directory: string): Promise<string[]> {
    const name = `engine_${++this.#databases}`
    const state = database === 'sqlite' ? join(directory, 'state.db') : await this.#createDatabase(name)
    const storage = objects === 'bucket' ? ['--storage', this.#bucketUrl(name)] : []
    return ['--database', state, '--storage-dir', join(directory, 'objects'), ...storage]
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.#stack.disposeAsync()
  }
}

/** Starts a SuperLink that waits for the end of the one with these options. */
export async function startStandby(bin: string, options: readonly string[]): Promise<TestProgram> {
  const anyPorts = ['--fleet-api-address', '127.0.0.1:0', '--control-api-address', '127.0.0.1:0', '--port', '0']
  const standby = start('flower-superlink', ['--insecure', ...options, ...anyPorts], { bin })
  await standby.line(/this one is a standby/)
  return standby
}
