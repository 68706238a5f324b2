import { mkdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import type { TestCa } from '../../test/harness/certificates.ts'
import { freePort } from '../../test/harness/free-port.ts'
import { start, type TestProgram } from '../../test/harness/program.ts'
import { writeApp } from '../../test/harness/write-app.ts'
import { observed } from '../fleet/observed-superlink.ts'
import type { MessageTransport } from '../fleet/simulated-fleet.ts'
import { pythonFlower } from '../python-flower.ts'
import { pythonApp, scaleClient, scaleServer } from './apps.ts'

/** Whose SuperLink a simulated fleet joins, and how its programs are started. */
export interface ScaleSystem {
  readonly bin: string
  /** By what its SuperNodes are known. */
  readonly credentials: 'certificates' | 'keys'
  /** How long a SuperNode waits after a response without a message: Flower's wait, ours hold the call. */
  readonly pollPauseMs: number
  readonly messages: MessageTransport
  /** Whether it loads `observe.mjs`. */
  readonly isObserved: boolean
  readonly environment: Readonly<Record<string, string>>
  startSuperlink(directory: string, ca: TestCa, options?: SuperlinkOptions): Promise<StartedSuperlink>
  /** Lines of a connection in the configuration of `flwr`. */
  connection(ca: TestCa): Promise<string>
  writeApp(folder: string, config: string): string
}

export interface SuperlinkOptions {
  readonly nodeOptions?: string
  /** Of an earlier start; otherwise the system chooses ports. */
  readonly addresses?: Pick<StartedSuperlink, 'fleetAddress' | 'controlAddress'>
}

export interface StartedSuperlink {
  readonly program: TestProgram
  readonly fleetAddress: string
  readonly controlAddress: string
}

/** Trellis with mutual TLS and a database file, unless other options say where its state is. */
export function trellisSystem(
  bin: string,
  messages: MessageTransport = 'whole',
  { state, environment = {} }: { state?: readonly string[]; environment?: Readonly<Record<string, string>> } = {},
): ScaleSystem {
  return {
    bin,
    credentials: 'certificates',
    pollPauseMs: 0,
    messages,
    isObserved: true,
    environment: {},
    async startSuperlink(directory, ca, { nodeOptions = '', addresses } = {}) {
      const { certfile, keyfile } = await ca.server()
      const { fleetAddress: fleet = '127.0.0.1:0', controlAddress: control = '127.0.0.1:0' } = addresses ?? {}
      const program = start(
        'flower-superlink',
        [
          ...['--ssl-ca-certfile', ca.certfile, '--ssl-certfile', certfile, '--ssl-keyfile', keyfile],
          '--ssl-require-client-auth',
          ...(state ?? ['--database', join(directory, 'state.db')]),
          ...['--fleet-api-address', fleet, '--control-api-address', control, '--port', '0'],
        ],
        { bin, cwd: directory, env: { ...environment, NODE_OPTIONS: `${observed.NODE_OPTIONS} ${nodeOptions}` } },
      )
      const [, fleetAddress = ''] = await program.line(/Starting Fleet API on (\S+)/)
      const [, controlAddress = ''] = await program.line(/Starting Control API on (\S+)/)
      return { program, fleetAddress, controlAddress }
    },
    async connection(ca) {
      const { certfile, keyfile } = await ca.issue('cli')
      return `root-certificates = "${ca.certfile}"\nclient-certificate = "${certfile}"\nclient-private-key = "${keyfile}"`
    },
    writeApp: (folder, config) => writeApp(folder, { server: scaleServer, client: scaleClient, config }),
  }
}

/** Python Flower 1.29 of an environment, with TLS, keys and a database file. */
export function pythonSystem(environment: string): ScaleSystem {
  const flower = pythonFlower(environment)
  const usual = { FLWR_TELEMETRY_ENABLED: '0', FLWR_DISABLE_UPDATE_CHECK: '1', ...flower.environment }
  return {
    bin: flower.bin,
    credentials: 'keys',
    pollPauseMs: 3000,
    messages: 'in-parts',
    isObserved: false,
    environment: usual,
    async startSuperlink(directory, ca) {
      const [fleet, control, runtime] = [await freePort(), await freePort(), await freePort()]
      const program = start(
        'flower-superlink',
        [
          ...(await flower.superlinkArguments(ca)),
          ...['--fleet-api-address', `127.0.0.1:${fleet}`, '--control-api-address', `127.0.0.1:${control}`],
          ...flower.runtimeAddress(runtime),
          ...['--database', join(directory, 'state.db')],
        ],
        { bin: flower.bin, cwd: directory, env: { ...usual, FLWR_HOME: join(directory, 'superlink-home') } },
      )
      await program.line(flower.ready)
      return { program, fleetAddress: `127.0.0.1:${fleet}`, controlAddress: `127.0.0.1:${control}` }
    },
    connection: flower.connection,
    writeApp(folder, config) {
      mkdirSync(join(folder, 'scaleapp'), { recursive: true })
      for (const [name, text] of Object.entries(pythonApp(config))) writeFileSync(join(folder, name), text)
      return folder
    },
  }
}
