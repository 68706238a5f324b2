import { spawn, spawnSync } from 'node:child_process'
import { generateKeyPairSync } from 'node:crypto'
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { get } from 'node:https'
import { join } from 'node:path'
import { issue } from '../../src/identity/pki.ts'
import { tools } from '../deploy/rendered.ts'
import { validFor } from '../harness/certificates.ts'
import { freePort } from '../harness/free-port.ts'
import { eventually, TestProgram } from '../harness/program.ts'
import { clusterPrograms } from './cluster-programs.ts'
import { customKinds } from './custom-kinds.ts'

/** Where etcd keeps its data: in memory, because it syncs each write, and the API server waits at most 34 s for it. */
export const etcdFolders = { parent: '/dev/shm', made: /^trellis-etcd-(\d+)-/ } as const

export interface Said {
  readonly status: number | null
  readonly stdout: string
  readonly stderr: string
}

/** A real API server on this machine, with etcd, and without the controllers and nodes of a cluster. */
export class ApiServer implements AsyncDisposable {
  readonly #stack = new AsyncDisposableStack()
  readonly #folder: string

  constructor(folder: string) {
    this.#folder = folder
  }

  get kubeconfig(): string {
    return join(this.#folder, 'kubeconfig.json')
  }

  async start(): Promise<void> {
    const etcdAddress = `http://127.0.0.1:${await freePort()}`
    const peerAddress = `http://127.0.0.1:${await freePort()}`
    const data = mkdtempSync(join(etcdFolders.parent, `trellis-etcd-${process.pid}-`))
    this.#stack.defer(() => rmSync(data, { recursive: true, force: true }))
    this.#run(
      ...[clusterPrograms.etcd, '--data-dir', data, '--listen-client-urls', etcdAddress],
      ...['--advertise-client-urls', etcdAddress, '--listen-peer-urls', peerAddress],
      ...['--initial-advertise-peer-urls', peerAddress, '--initial-cluster', `default=${peerAddress}`],
    )
    const port = await freePort()
    const files = await this.#writeCredentials(port)
    this.#run(
      ...[clusterPrograms.apiServer, `--etcd-servers=${etcdAddress}`, `--secure-port=${port}`],
      ...['--bind-address=127.0.0.1', '--advertise-address=127.0.0.1', '--endpoint-reconciler-type=none'],
      ...[`--tls-cert-file=${files.certificate}`, `--tls-private-key-file=${files.key}`],
      ...[`--client-ca-file=${files.ca}`, '--authorization-mode=RBAC', '--service-cluster-ip-range=10.0.0.0/24'],
      ...[`--service-account-key-file=${files.accounts}`, `--service-account-signing-key-file=${files.accounts}`],
      // By default it gives up after a minute, which the first description of all kinds takes on a busy machine.
      ...['--service-account-issuer=https://kubernetes.default.svc', '--request-timeout=10m'],
      // Without kube-controller-manager no namespace gets its default service account.
      '--disable-admission-plugins=ServiceAccount',
    )
    const ca = readFileSync(files.ca)
    await eventually('the API server is ready', () => isReady(port, ca), 600_000)
  }

  /** Runs kubectl as an administrator; `input` is its standard input. */
  kubectl(args: readonly string[], input?: string | object): Said {
    // On a busy machine the first description of all kinds takes longer than kubectl's default of 32 s.
    return this.#tool('kubectl', ['--request-timeout=5m', ...args], input)
  }

  helm(args: readonly string[], input?: string | object): Said {
    return this.#tool('helm', args, input)
  }

  /** As `kubectl`, and throws with what it printed unless it succeeds. */
  ensure(args: readonly string[], input?: string | object): string {
    const { status, stdout, stderr } = this.kubectl(args, input)
    if (status !== 0) throw new Error(`kubectl ${args.join(' ')} ended with ${status}:\n${stdout}${stderr}`)
    return stdout
  }

  /** Creates the kinds of cert-manager, and those of other operators that our files use. */
  async createKinds(): Promise<void> {
    for (const file of [clusterPrograms.definitions, '-'])
      this.ensure(['create', '--validate=false', '-f', file], customKinds)
    await eventually('every kind is established', () => this.#kindsAreEstablished(), 600_000)
    // helm waits 32 s at most for this description, which the server makes when it is first asked for.
    this.ensure(['get', '--raw=/openapi/v2'])
  }

  /** Starts cert-manager's controllers. */
  startCertManager(): TestProgram {
    return this.#run(clusterPrograms.certManager, this.kubeconfig)
  }

  /** `kubectl wait` fails for a kind whose conditions the server has not written yet. */
  #kindsAreEstablished(): boolean {
    const { items } = JSON.parse(this.ensure(['get', 'crd', '-o=json'])) as {
      items: { status?: { conditions?: { type: string; status: string }[] | null } }[]
    }
    return items.every(({ status }) =>
      status?.conditions?.some((condition) => condition.type === 'Established' && condition.status === 'True'),
    )
  }

  #tool(name: 'kubectl' | 'helm', args: readonly string[], input: string | object | undefined): Said {
    return spawnSync(join(tools as string, name), args, {
      ...(input === undefined ? {} : { input: typeof input === 'string' ? input : JSON.stringify(input) }),
      encoding: 'utf8',
      // Caches of discovery stay in this test's folder.
      env: { PATH: process.env.PATH, KUBECONFIG: this.kubeconfig, HOME: this.#folder },
      maxBuffer: 64 * 1024 * 1024,
      timeout: 300_000,
    })
  }

  #run(program: string, ...args: string[]): TestProgram {
    const child = spawn(program, args, { cwd: this.#folder, stdio: ['ignore', 'pipe', 'pipe'] })
    return this.#stack.use(new TestProgram(program, child))
  }

  async #writeCredentials(port: number): Promise<Readonly<Record<'ca' | 'certificate' | 'key' | 'accounts', string>>> {
    const folder = join(this.#folder, 'api-server')
    mkdirSync(folder)
    const write = (name: string, text: string): string => {
      writeFileSync(join(folder, name), text, { mode: 0o600 })
      return join(folder, name)
    }
    const ca = await issue({ ...validFor(1), commonName: 'Cluster CA', ca: true })
    const server = await issue(
      { ...validFor(1), commonName: 'kube-apiserver', ips: ['127.0.0.1'], usages: ['server'] },
      ca,
    )
    const admin = await issue(
      { ...validFor(1), commonName: 'admin', organization: 'system:masters', usages: ['client'] },
      ca,
    )
    const base64 = (text: string): string => Buffer.from(text).toString('base64')
    const config = {
      ...{ apiVersion: 'v1', kind: 'Config', 'current-context': 'test' },
      clusters: [
        {
          name: 'test',
          cluster: {
            server: `https://127.0.0.1:${port}`,
            'certificate-authority-data': base64(ca.certificatePem),
          },
        },
      ],
      users: [
        {
          name: 'admin',
          user: {
            'client-certificate-data': base64(admin.certificatePem),
            'client-key-data': base64(admin.keyPem),
          },
        },
      ],
      contexts: [{ name: 'test', context: { cluster: 'test', user: 'admin' } }],
    }
    writeFileSync(this.kubeconfig, JSON.stringify(config), { mode: 0o600 })
    const { privateKey } = generateKeyPairSync('rsa', { modulusLength: 2048 })
    return {
      ca: write('ca.crt', ca.certificatePem),
      certificate: write('server.crt', server.certificatePem),
      key: write('server.key', server.keyPem),
      accounts: write('accounts.key', privateKey.export({ type: 'pkcs8', format: 'pem' }).toString()),
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#stack.disposeAsync()
  }
}

export async function startApiServer(folder: string): Promise<ApiServer> {
  const server = new ApiServer(folder)
  try {
    await server.start()
    return server
  } catch (error) {
    await server[Symbol.asyncDispose]()
    throw error
  }
}

/** Requests the page that needs no certificate. */
function isReady(port: number, ca: Buffer): Promise<boolean> {
  return new Promise((resolve) => {
    const request = get({ host: '127.0.0.1', port, path: '/readyz', ca, agent: false }, (response) => {
      response.resume()
      resolve(response.statusCode === 200)
    })
    request.on('error', () => resolve(false))
  })
}
