import { join } from 'node:path'
import type { TestProgram } from '../harness/program.ts'
import { ProjectedVolume } from '../harness/projected-volume.ts'
import { identityOf, startContainer, writableFolder } from './container.ts'
import { Issuers } from './issuers.ts'
import { argumentsOf, type Container, type Pod, type Probe, podsOf, type Resource, type Volume } from './rendered.ts'

/** The pods of rendered resources, running on this machine: without a cluster, with what controllers would bring. */
export class Fleet implements AsyncDisposable {
  readonly #stack = new AsyncDisposableStack()
  readonly #resources: readonly Resource[]
  readonly #folder: string
  readonly #volumes = new Map<string, { volume: Volume; written: ProjectedVolume }>()
  readonly issuers: Issuers
  /** What each container's probes ask, and where. */
  readonly probed: { container: string; health: string; probes: readonly Probe[] }[] = []
  readonly programs = new Map<string, TestProgram>()
  fleetAddress = ''
  controlAddress = ''

  constructor(resources: readonly Resource[], folder: string) {
    this.#resources = resources
    this.#folder = folder
    this.issuers = new Issuers(resources)
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
  async renew(secretName: string): Promise<void> {
    await this.issuers.renew(secretName)
    for (const { volume, written } of this.#volumes.values()) written.swap(this.#filesOf(volume))
  }

  async #startPod(pod: Pod): Promise<void> {
    const volumes = new Map([
      ...pod.claims.map((name) => [name, writableFolder(join(this.#folder, pod.name, 'volumes', name))] as const),
      ...pod.spec.volumes.map((volume) => [volume.name, this.#layOut(pod, volume)] as const),
    ])
    let appAddress = ''
    for (const container of pod.spec.containers) {
      const args = this.#localArguments(container, appAddress)
      const folder = join(this.#folder, pod.name, 'roots', container.name)
      const program = this.#stack.use(startContainer(container, { pod, volumes, args, folder }))
      this.programs.set(`${pod.name}/${container.name}`, program)
      const said = async (what: string): Promise<string> =>
        (await program.line(new RegExp(`${what} (?:on )?([\\d.]+:\\d+)`)))[1] as string
      if (container.name === 'superlink') {
        this.controlAddress = await said('Starting Control API')
        this.fleetAddress = await said('Starting Fleet API')
        appAddress = await said('Starting ServerAppIo API')
      }
      if (container.name === 'supernode') appAddress = await said('Runtime API')
      const health = await said('health server')
      const { startupProbe, livenessProbe, readinessProbe } = container
      const probes = [startupProbe, livenessProbe, readinessProbe].filter((probe) => probe !== undefined)
      this.probed.push({ container: `${pod.name} ${container.name}`, health, probes })
    }
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

  #layOut(pod: Pod, volume: Volume): string {
    const path = join(this.#folder, pod.name, 'volumes', volume.name)
    if (volume.emptyDir) return writableFolder(path)
    const { group } = identityOf(pod)
    const files = volume.csi ? (this.issuers.secrets.get(`SVID of ${pod.name}`) ?? {}) : this.#filesOf(volume)
    const written = new ProjectedVolume(path, files, {
      group,
      mode: volume.projected?.defaultMode ?? 0o644,
    })
    if (!volume.csi) this.#volumes.set(path, { volume, written })
    return path
  }

  #filesOf({ projected, configMap }: Volume): Record<string, string> {
    if (configMap) return { ...this.#configMap(configMap.name) }
    const files: Record<string, string> = {}
    for (const source of projected?.sources ?? []) {
      const data = source.secret
        ? this.issuers.secrets.get(source.secret.name)
        : this.#configMap(source.configMap?.name as string)
      for (const { key, path } of (source.secret ?? source.configMap)?.items ?? []) files[path] = data?.[key] as string
    }
    return files
  }

  /** One that was rendered, else the bundle of the CA of that name, as a person or trust-manager makes it. */
  #configMap(name: string): Readonly<Record<string, string>> {
    const rendered = this.#resources.find(({ kind, metadata }) => kind === 'ConfigMap' && metadata.name === name)
    if (rendered?.metadata.annotations?.['service.beta.openshift.io/inject-cabundle'])
      return { 'service-ca.crt': this.issuers.serviceCaPem }
    if (rendered) return rendered.data as Record<string, string>
    return { 'ca.crt': this.issuers.secrets.get(name)?.['tls.crt'] as string }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#stack.disposeAsync()
  }
}

export async function startFleet(resources: readonly Resource[], folder: string): Promise<Fleet> {
  const fleet = new Fleet(resources, folder)
  try {
    await fleet.start()
    return fleet
  } catch (error) {
    await fleet[Symbol.asyncDispose]()
    throw error
  }
}
