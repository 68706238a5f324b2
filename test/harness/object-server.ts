import { spawn } from 'node:child_process'
import { mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { freePort } from './free-port.ts'
import { TestProgram } from './program.ts'

const programs = { versitygw: process.env.TRELLIS_VERSITYGW, rclone: process.env.TRELLIS_RCLONE }

/** Why tests with S3 servers are skipped. */
export const withoutObjectServers: string | false =
  programs.versitygw === undefined || programs.rclone === undefined ? 'versitygw or rclone is not here' : false

export const objectServerKeys = { accessKeyId: 'trellis-test', secretAccessKey: 'wrench anvil kettle' } as const

export interface ObjectServerOptions {
  /** `versitygw` keeps the rules of S3; `rclone` has no conditional writes and checks no hashes. */
  readonly kind?: 'versitygw' | 'rclone'
  readonly tls?: { readonly certfile: string; readonly keyfile: string }
}

/** An S3 server of a test with a bucket `models`, over a folder. */
export class ObjectServer implements AsyncDisposable {
  readonly port: number
  readonly #folder: string
  readonly #options: ObjectServerOptions
  #program: TestProgram | undefined

  private constructor(folder: string, port: number, options: ObjectServerOptions) {
    this.#folder = folder
    this.port = port
    this.#options = options
    for (const name of ['attributes', 'buckets/models']) mkdirSync(join(folder, name), { recursive: true })
  }

  static async start(folder: string, options: ObjectServerOptions = {}): Promise<ObjectServer> {
    const server = new ObjectServer(folder, await freePort(), options)
    await server.start()
    return server
  }

  async start(): Promise<void> {
    this.#program = this.#spawn()
    await this.#program.line(/Listening|Starting s3 server on/)
  }

  /** The value of `--storage`. */
  url(prefix: string, port = this.port): string {
    const scheme = this.#options.tls ? 'https' : 'http'
    return `s3://models/${prefix}?endpoint=${scheme}://127.0.0.1:${port}`
  }

  /** Paths of everything in the bucket, below it. */
  stored(): string[] {
    return readdirSync(this.#bucket, { recursive: true, withFileTypes: true })
      .filter((entry) => entry.isFile())
      .map((entry) => join(entry.parentPath, entry.name).slice(this.#bucket.length + 1))
      .filter((path) => !path.startsWith('.'))
      .sort()
  }

  read(path: string): Buffer {
    return readFileSync(join(this.#bucket, path))
  }

  write(path: string, bytes: Uint8Array): void {
    mkdirSync(join(this.#bucket, path, '..'), { recursive: true })
    writeFileSync(join(this.#bucket, path), bytes)
  }

  async stop(): Promise<void> {
    this.#program?.child.kill('SIGKILL')
    await this.#program?.end()
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.stop()
  }

  get #bucket(): string {
    return join(this.#folder, 'buckets', 'models')
  }

  #spawn(): TestProgram {
    const { kind = 'versitygw', tls } = this.#options
    const program = programs[kind]
    if (program === undefined) throw new Error(`${kind} is not here`)
    const { accessKeyId, secretAccessKey } = objectServerKeys
    const address = `127.0.0.1:${this.port}`
    const args =
      kind === 'versitygw'
        ? [this.#folder, address, ...(tls ? [tls.certfile, tls.keyfile] : [])]
        : [
            'serve',
            's3',
            join(this.#folder, 'buckets'),
            '--addr',
            address,
            '--auth-key',
            `${accessKeyId},${secretAccessKey}`,
          ]
    const child = spawn(program, args, {
      cwd: this.#folder,
      stdio: ['ignore', 'pipe', 'pipe'],
      env: { ...process.env, ROOT_ACCESS_KEY: accessKeyId, ROOT_SECRET_KEY: secretAccessKey },
    })
    return new TestProgram(kind, child)
  }
}
