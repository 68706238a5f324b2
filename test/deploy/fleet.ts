import { join } from 'node:path'
import type { TestProgram } from '../harness/program.ts'
import { startContainer } from './container.ts'
import { Issuers } from './issuers.ts'
import { type FleetIssuers, PodVolumes } from './pod-volumes.ts'
import { argumentsOf, type Container, type Pod, type Probe, podsOf, type Resource } from './rendered.ts'

export interface FleetOptions {
  /** By default this machine issues what Certificates ask for. */
  readonly issuers?: FleetIssuers
  /** The name or address of this machine by which SuperNodes and `flwr` reach the SuperLink. */
  readonly host?: string
}

/** The pods of rendered resources, running on this machine: without a cluster, with what controllers would bring. */
export class Fleet implements AsyncDisposable {
  readonly #stack = new AsyncDisposableStack()
  readonly #resources: readonly Resource[]
  readonly #folder: string
  readonly #volumes: PodVolumes
  readonly issuers: FleetIssuers
  readonly #host: string
  /** What each container's probes ask, and where. */
  readonly probed: { container: string; health: string; probes: readonly Probe[] }[] = []
  readonly programs = new Map<string, TestProgram>()
  fleetAddress = ''
  controlAddress = ''

  constructor(
    resources: readonly Resource[],
    folder: string,
    { issuers = new Issuers(resources), host = '127.0.0.1' }: FleetOptions = {},
  ) {
    this.#resources = resources
    this.#folder = folder
    this.issuers = issuers
    this.#host = host
    this.#volumes = new PodVolumes(resources, folder, issuers)
  }

  async start(): Promise<void> {
    await this.issuers.issueAll()
    const pods = podsOf(this.#resources)
    for (const { name, spec } of pods)
      if (spec.volumes.some(({ csi }) => csi)) await this.issuers.issueSvid(name, spec.serviceAccountName)
    for (const pod of pods.filter(({ name }) => name.includes('superlink'))) await this.#startPod(pod)
    await Promise.all(pods.filter(({ name }) => !name.includes('superlink')).map((pod) => this.#startPod(pod)))
  }

  /** Renews a certificate, and lets kubelet write it into the volumes of the pods that mount it. */
  renew(secretName: string): Promise<void> {
    return this.#volumes.renew(secretName)
  }

  async #startPod(pod: Pod): Promise<void> {
    const volumes = this.#volumes.create(pod)
    let appAddress = ''
    for (const container of pod.spec.containers) {
      const args = this.#localArguments(container, appAddress)
      const folder = join(this.#folder, pod.name, 'roots', container.name)
      const program = this.#stack.use(startContainer(container, { pod, volumes, args, folder }))
      this.programs.set(`${pod.name}/${container.name}`, program)
      const said = async (what: string): Promise<string> =>
        (await program.line(new RegExp(`${what} (?:on )?([\\d.]+:\\d+)`)))[1] as string
      if (container.name === 'superlink') {
        this.controlAddress = this.#reached(await said('Starting Control API'))
        this.fleetAddress = this.#reached(await said('Starting Fleet API'))
        appAddress = await said('Starting ServerAppIo API')
      }
      if (container.name === 'supernode') appAddress = await said('Runtime API')
      const health = await said('health server')
      const { startupProbe, livenessProbe, readinessProbe } = container
      const probes = [startupProbe, livenessProbe, readinessProbe].filter((probe) => probe !== undefined)
      this.probed.push({ container: `${pod.name} ${container.name}`, health, probes })
    }
  }

  #reached(address: string): string {
    return address.replace(/^[^:]+/, this.#host)
  }

  /** The container's own arguments, with ports that the system chooses: pods share this machine's loopback interface. */
  #localArguments(container: Container, appAddress: string): string[] {
    const changed = argumentsOf(container).map((arg) => {
      const [flag] = arg.split('=')
      if (flag === '--superlink') return `${flag}=${this.fleetAddress}`
      if (flag === '--runtime-api-address') return `${flag}=${appAddress}`
      if (flag === '--port') return `${flag}=0`
      return flag?.endsWith('-address') ? `${flag}=127.0.0.1:0` : arg
    })
    if (container.name !== 'superlink') return changed
    return [...changed, '--fleet-api-address=127.0.0.1:0', '--control-api-address=127.0.0.1:0', '--port=0']
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#stack.disposeAsync()
  }
}

export function startFleet(resources: readonly Resource[], folder: string, options: FleetOptions = {}): Promise<Fleet> {
  return startOrDispose(new Fleet(resources, folder, options))
}

/** Starts all programs of a fleet. If one of them fails, the others are stopped. */
export async function startOrDispose<T extends AsyncDisposable & { start(): Promise<void> }>(fleet: T): Promise<T> {
  try {
    await fleet.start()
    return fleet
  } catch (error) {
    await fleet[Symbol.asyncDispose]()
    throw error
  }
}
