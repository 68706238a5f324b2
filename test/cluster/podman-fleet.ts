import { spawn } from 'node:child_process'
import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { identityOf } from '../deploy/container.ts'
import { startOrDispose } from '../deploy/fleet.ts'
import { Issuers } from '../deploy/issuers.ts'
import { PodVolumes } from '../deploy/pod-volumes.ts'
import { argumentsOf, type Container, type Pod, podsOf, type Resource } from '../deploy/rendered.ts'
import { eventually, TestProgram } from '../harness/program.ts'
import { containersEnvironment, podman } from './containers.ts'
import { type NetworkSpace, PodNetwork } from './pod-network.ts'

/** A container of a pod that podman runs. */
export interface RunningContainer {
  /** The pod and the container, as a person would name them. */
  readonly title: string
  /** Podman's name. */
  readonly name: string
  readonly pod: Pod
  readonly container: Container
  readonly program: TestProgram
}

/** The pods of rendered resources in containers: podman does what kubelet does with their specification. */
export class PodmanFleet implements AsyncDisposable {
  readonly #resources: readonly Resource[]
  readonly #folder: string
  readonly #network = new PodNetwork()
  readonly #spaces = new Map<string, NetworkSpace>()
  readonly #person = this.#network.connect('person')
  readonly #volumes: PodVolumes
  /** Podman's names of all containers. */
  readonly #names: string[] = []
  readonly issuers: Issuers
  readonly containers: RunningContainer[] = []
  /** The SuperLink's certificate from OpenShift's service CA has no shorter name. */
  readonly controlAddress = 'trellis-superlink.trellis.svc:9093'

  constructor(resources: readonly Resource[], folder: string) {
    this.#resources = resources
    this.#folder = folder
    this.issuers = new Issuers(resources)
    this.#volumes = new PodVolumes(resources, folder, this.issuers)
  }

  /** Starts all containers at once, and returns when every probe succeeds. */
  async start(): Promise<void> {
    await this.issuers.issueAll()
    const pods = podsOf(this.#resources)
    for (const pod of pods) this.#spaces.set(pod.name, this.#network.connect(pod.name.replace(/^trellis-/, '')))
    this.#writeHosts(pods)
    for (const pod of pods) {
      const volumes = this.#volumes.create(pod)
      for (const container of pod.spec.containers) this.#startContainer(pod, container, volumes)
    }
    for (const running of this.containers)
      await eventually(`${running.title} is ready`, () => this.#isReady(running), 600_000)
  }

  #isReady(running: RunningContainer): boolean {
    if (running.program.hasEnded) throw new Error(`${running.title} ended:\n${running.program.said}`)
    return this.probe(running).every((status) => status === 200)
  }

  /** Returns the statuses of the container's probes, requested from outside of its pod. */
  probe({ pod, container }: RunningContainer): number[] {
    const { startupProbe, livenessProbe, readinessProbe, ports = [] } = container
    return [startupProbe, livenessProbe, readinessProbe]
      .filter((probe) => probe !== undefined)
      .map(({ httpGet }) => {
        const port = ports.find(({ name }) => name === httpGet.port)?.containerPort
        return this.#network.status(
          this.#person,
          `http://${this.#spaces.get(pod.name)?.address}:${port}${httpGet.path}`,
        )
      })
  }

  /** The user of the pods. */
  get user(): number {
    return identityOf(podsOf(this.#resources)[0] as Pod).user
  }

  /** Runs `flwr` of an image as the user of the pods, with a folder at its own path, outside of the pods. */
  async flwr(image: string, folder: string, args: readonly string[]): Promise<Ended> {
    const [pod] = podsOf(this.#resources) as [Pod]
    const program = this.#run(`trellis-${process.pid}-person-${this.#names.length}`, image, args, [
      ...this.#confinement(pod, this.#person),
      ...['--rm', '--entrypoint=flwr', `--volume=${folder}:${folder}`, `--workdir=${folder}`, '--tmpfs=/tmp'],
      ...[`--env=FLWR_HOME=${join(folder, 'home')}`, '--env=NO_COLOR=1'],
    ])
    const status = await program.end(600_000)
    await program.heard()
    return { status, stdout: program.stdout, said: program.said }
  }

  #startContainer(pod: Pod, container: Container, volumes: ReadonlyMap<string, string>): void {
    const { env = [], image, volumeMounts, resources } = container
    const memory = /^(\d+)([MG])i$/.exec(resources?.limits?.memory ?? '')
    if (!memory) throw new Error(`${pod.name} ${container.name} has no limit of memory in Mi or Gi`)
    const name = `trellis-${process.pid}-${pod.name}-${container.name}`
    const program = this.#run(name, image, argumentsOf(container), [
      ...this.#confinement(pod, this.#spaces.get(pod.name) as NetworkSpace),
      `--memory=${memory[1]}${memory[2]?.toLowerCase()}`,
      ...env.map((variable) => `--env=${variable.name}=${variable.value}`),
      ...volumeMounts.map((mount) => {
        const from = volumes.get(mount.name)
        if (from === undefined) throw new Error(`The volume ${mount.name} is missing`)
        return `--volume=${from}:${mount.mountPath}${mount.readOnly ? ':ro' : ''}`
      }),
    ])
    this.containers.push({ title: `${pod.name} ${container.name}`, name, pod, container, program })
  }

  /** What the security contexts of all our pods ask for: test/deploy checks that they do. */
  #confinement(pod: Pod, space: NetworkSpace): string[] {
    const { user, primaryGroup, group } = identityOf(pod)
    return [
      ...[`--user=${user}:${primaryGroup}`, `--group-add=${group}`, '--passwd=false'],
      ...['--read-only', '--read-only-tmpfs=false', '--cap-drop=ALL', '--security-opt=no-new-privileges'],
      ...[`--network=ns:${space.path}`, '--no-hosts', `--volume=${this.#hosts}:/etc/hosts:ro`],
    ]
  }

  #run(name: string, image: string, args: readonly string[], options: readonly string[]): TestProgram {
    this.#names.push(name)
    const all = ['run', `--name=${name}`, '--pull=never', ...options, `localhost/${image}`, ...args]
    return new TestProgram(
      name,
      spawn('podman', all, { env: containersEnvironment(), stdio: ['ignore', 'pipe', 'pipe'] }),
    )
  }

  get #hosts(): string {
    return join(this.#folder, 'hosts')
  }

  /** The names of Services lead to the pod that each selects, as a cluster's name server and proxy do. */
  #writeHosts(pods: readonly Pod[]): void {
    const lines = this.#resources
      .filter(({ kind }) => kind === 'Service')
      .map(({ metadata: { name, namespace }, spec }) => {
        const selector = Object.entries((spec as { selector: Record<string, string> }).selector)
        const pod = pods.find(({ labels }) => selector.every(([key, value]) => labels[key] === value))
        if (!pod) throw new Error(`The Service ${name} selects no pod`)
        return `${this.#spaces.get(pod.name)?.address} ${name} ${name}.${namespace} ${name}.${namespace}.svc`
      })
    writeFileSync(this.#hosts, ['127.0.0.1 localhost', ...lines, ''].join('\n'))
  }

  async [Symbol.asyncDispose](): Promise<void> {
    if (this.#names.length > 0) podman('rm', '--force', '--ignore', '--time=0', ...this.#names)
    for (const { program } of this.containers) await program[Symbol.asyncDispose]()
    this.#network[Symbol.dispose]()
  }
}

interface Ended {
  readonly status: number | NodeJS.Signals | null
  readonly stdout: string
  readonly said: string
}

export function startPodmanFleet(resources: readonly Resource[], folder: string): Promise<PodmanFleet> {
  return startOrDispose(new PodmanFleet(resources, folder))
}
