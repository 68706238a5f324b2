import { parseOptions } from '../../src/base/options.ts'
import { rows as superexecRows } from '../../src/superexec/config.ts'
import { rows as superlinkRows } from '../../src/superlink/options.ts'
import { rows as supernodeRows } from '../../src/supernode/config.ts'
import { argumentsOf, type Container, type Pod, podsOf, type Resource } from './rendered.ts'

/** What schemas do not say: rules of this project for what it deploys. Each returns sentences about what is wrong. */

const programs = {
  superlink: { name: 'flower-superlink', rows: superlinkRows },
  supernode: { name: 'flower-supernode', rows: supernodeRows },
  superexec: { name: 'flower-superexec', rows: superexecRows },
} as const

/** The program that a container runs, by the image: its entry point. */
export function programOf(image: string): (typeof programs)[keyof typeof programs] {
  const name = image.split('/').at(-1)?.split(/[:@]/)[0] as keyof typeof programs
  return programs[name]
}

/** Arguments that a program does not know, or would refuse. */
export function argumentFaults(pod: Pod): string[] {
  return pod.spec.containers.flatMap((container) => {
    const where = `${pod.name} ${container.name}`
    const program = programOf(container.image)
    if (!program) return [`${where}: no program is known for the image ${container.image}`]
    try {
      const values = parseOptions(program.name, '', program.rows, argumentsOf(container))
      return values ? pathFaults(pod, container, where) : [`${where} only prints help`]
    } catch (error) {
      return [`${where}: ${error instanceof Error ? error.message : String(error)}`]
    }
  })
}

/** Files in arguments that no volume brings, and files to write where nothing can be written. */
function pathFaults(pod: Pod, container: Container, where: string): string[] {
  return argumentsOf(container).flatMap((arg) => {
    const path = /^--[a-z-]+=(\/.*)$/.exec(arg)?.[1]
    if (path === undefined) return []
    // A folder may be the mount itself.
    const mount = container.volumeMounts.find(({ mountPath }) => `${path}/`.startsWith(`${mountPath}/`))
    if (!mount) return [`${where}: ${arg} is in no volume`]
    const volume = pod.spec.volumes.find(({ name }) => name === mount.name)
    const file = path.slice(mount.mountPath.length + 1)
    const items = volume?.projected?.sources.flatMap(({ secret, configMap }) => (secret ?? configMap)?.items ?? [])
    if (items && !items.some((item) => item.path === file)) return [`${where}: the volume ${mount.name} has no ${file}`]
    if (/^--(database|audit-log|log-file|storage-dir)=/.test(arg) && mount.readOnly)
      return [`${where}: ${arg} is in a volume that cannot be written`]
    return []
  })
}

/** What the Pod Security Standard "restricted" asks for, a read-only root file system, and files that can be renewed. */
export function hardeningFaults(pod: Pod): string[] {
  const { securityContext, automountServiceAccountToken, containers, volumes } = pod.spec
  const { claims } = pod
  const faults: string[] = []
  const expect = (holds: boolean, what: string): void => void (holds || faults.push(`${pod.name}: ${what}`))
  expect(securityContext.runAsNonRoot === true, 'may run as root')
  expect((securityContext.seccompProfile as { type: string } | undefined)?.type === 'RuntimeDefault', 'has no seccomp')
  expect(automountServiceAccountToken === false, 'gets a token of the API server')
  for (const container of containers) {
    const own = container.securityContext as {
      allowPrivilegeEscalation?: boolean
      readOnlyRootFilesystem?: boolean
      capabilities?: { drop?: string[]; add?: string[] }
    }
    expect(own.allowPrivilegeEscalation === false, `${container.name} may gain privileges`)
    expect(own.readOnlyRootFilesystem === true, `${container.name} may write its root file system`)
    expect(own.capabilities?.drop?.join() === 'ALL' && !own.capabilities.add, `${container.name} keeps capabilities`)
    expect(
      container.volumeMounts.every((mount) => mount.subPath === undefined),
      `${container.name} mounts a subPath, which is never renewed`,
    )
    expect(
      container.volumeMounts.some(({ mountPath }) => mountPath === '/tmp'),
      `${container.name} has no /tmp to write to`,
    )
    expect(
      container.startupProbe !== undefined && container.livenessProbe !== undefined,
      `${container.name} has no probes`,
    )
    for (const { name } of container.volumeMounts)
      expect(
        [...claims, ...volumes.map((volume) => volume.name)].includes(name),
        `${container.name} mounts ${name}, which is no volume`,
      )
  }
  for (const { name, projected, secret } of volumes)
    expect(
      [projected, secret].every((source) => !source || (source.defaultMode & 0o007) === 0),
      `all users may read the volume ${name}`,
    )
  return faults
}

/** Secrets, ConfigMaps and Issuers that nothing makes; `given` are those that a person or a controller brings. */
export function referenceFaults(resources: readonly Resource[], given: readonly string[]): string[] {
  const made = new Set([...given, ...resources.map(({ kind, metadata }) => `${kind} ${metadata.name}`)])
  for (const resource of resources.filter(({ kind }) => kind === 'Certificate'))
    made.add(`Secret ${(resource.spec as { secretName: string }).secretName}`)
  for (const { metadata } of resources.filter(({ kind }) => kind === 'Service')) {
    const secret = metadata.annotations?.['service.beta.openshift.io/serving-cert-secret-name']
    if (secret) made.add(`Secret ${secret}`)
  }
  // trust-manager writes a ConfigMap of the same name.
  for (const { metadata } of resources.filter(({ kind }) => kind === 'Bundle')) made.add(`ConfigMap ${metadata.name}`)
  const inVariables = podsOf(resources).flatMap((pod) =>
    pod.spec.containers
      .flatMap(({ env = [] }) => env)
      .flatMap(({ valueFrom }) => (valueFrom ? [`Secret ${valueFrom.secretKeyRef.name}`] : [])),
  )
  const wanted = podsOf(resources).flatMap((pod) =>
    pod.spec.volumes.flatMap(({ projected, configMap, secret }) => [
      ...(configMap ? [`ConfigMap ${configMap.name}`] : []),
      ...(secret ? [`Secret ${secret.secretName}`] : []),
      ...(projected?.sources ?? []).flatMap((source) => [
        ...(source.secret ? [`Secret ${source.secret.name}`] : []),
        ...(source.configMap ? [`ConfigMap ${source.configMap.name}`] : []),
      ]),
    ]),
  )
  const issuers = resources
    .filter(({ kind }) => kind === 'Certificate')
    .map(({ spec }) => `Issuer ${(spec as { issuerRef: { name: string } }).issuerRef.name}`)
  return [...new Set([...wanted, ...inVariables, ...issuers])]
    .filter((name) => !made.has(name))
    .map((name) => `nothing makes ${name}`)
}

/** Selectors that select no pod, and services whose port no container has. */
export function selectorFaults(resources: readonly Resource[]): string[] {
  const pods = podsOf(resources)
  return resources.flatMap((resource) => {
    const spec = (resource.spec ?? {}) as {
      selector?: Record<string, unknown>
      podSelector?: { matchLabels?: Record<string, string> }
      ports?: { targetPort: string }[]
    }
    const selectors: Readonly<Record<string, unknown>> = {
      Service: spec.selector,
      PodDisruptionBudget: spec.selector?.matchLabels,
      PodMonitor: spec.selector?.matchLabels,
      StatefulSet: spec.selector?.matchLabels,
      NetworkPolicy: spec.podSelector?.matchLabels,
    }
    if (!(resource.kind in selectors)) return []
    const title = `${resource.kind} ${resource.metadata.name}`
    const labels = Object.entries((selectors[resource.kind] ?? {}) as Record<string, string>)
    if (labels.length === 0) return [`${title} selects everything`]
    const selected = pods.filter((pod) => labels.every(([name, value]) => pod.labels[name] === value))
    if (selected.length === 0) return [`${title} selects no pod`]
    if (['StatefulSet', 'NetworkPolicy'].includes(resource.kind) && selected.length > 1)
      return [`${title} selects pods of others`]
    const ports = new Set(
      selected.flatMap((pod) => pod.spec.containers).flatMap((one) => (one.ports ?? []).map((port) => port.name)),
    )
    return (resource.kind === 'Service' ? (spec.ports ?? []) : [])
      .filter(({ targetPort }) => !ports.has(targetPort))
      .map(({ targetPort }) => `${title}: no container has the port ${targetPort}`)
  })
}

interface CertificateSpec {
  readonly isCA?: boolean
  readonly commonName?: string
  readonly usages: readonly string[]
  readonly dnsNames?: readonly string[]
  readonly duration: string
  readonly renewBefore: string
  readonly privateKey: { readonly rotationPolicy: string }
}

/** Certificates that our programs would refuse, and ones that live long or are renewed late. */
export function certificateFaults(resources: readonly Resource[]): string[] {
  return resources
    .filter(({ kind }) => kind === 'Certificate')
    .flatMap(({ metadata, spec }) => {
      const { isCA, commonName, usages, dnsNames, duration, renewBefore, privateKey } = spec as CertificateSpec
      const faults: string[] = []
      const expect = (holds: boolean, what: string): void => void (holds || faults.push(`${metadata.name}: ${what}`))
      expect(hours(renewBefore) < hours(duration), 'is renewed before it is issued')
      if (isCA) {
        expect(usages.includes('cert sign'), 'is a CA that may not sign')
        return faults
      }
      expect(hours(duration) <= 72, `lives ${duration}`)
      expect(hours(renewBefore) * 4 >= hours(duration), 'leaves little time when a renewal fails')
      expect(privateKey.rotationPolicy === 'Always', 'keeps its key')
      const server = usages.includes('server auth')
      const client = usages.includes('client auth')
      expect(usages.includes('digital signature'), 'has no digital signature')
      expect(server !== client, 'is for servers and clients at once, or for neither')
      if (server) expect((dnsNames ?? []).length > 0, 'names no host')
      else expect(commonName !== undefined, 'has no identity')
      return faults
    })
}

const hours = (duration: string): number => Number(/^(\d+)h$/.exec(duration)?.[1] ?? Number.NaN)
