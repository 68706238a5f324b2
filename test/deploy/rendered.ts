import { execFileSync } from 'node:child_process'
import { join, resolve } from 'node:path'
import { parseAllDocuments } from 'yaml'

/** Deployment files as a cluster would get them, made without one. */

const deploy = join(import.meta.dirname, '..', '..', 'deploy')
/** The folder of kubectl and helm. */
export const tools = process.env.TRELLIS_DEPLOY_TOOLS

/** For the option `skip` of a test: why it cannot run, or `false`. */
export const withoutTools = tools === undefined && 'npm test fetches kubectl and helm, which are not here'

export interface Resource {
  readonly apiVersion: string
  readonly kind: string
  readonly metadata: {
    readonly name: string
    readonly namespace?: string
    readonly labels?: Readonly<Record<string, string>>
    readonly annotations?: Readonly<Record<string, string>>
  }
  // Resources of many kinds: their schemas say what is in them.
  readonly [key: string]: unknown
}

export interface Container {
  readonly name: string
  readonly image: string
  readonly args: readonly string[]
  readonly env?: readonly EnvironmentVariable[]
  readonly ports?: readonly { readonly name: string; readonly containerPort: number }[]
  readonly volumeMounts: readonly VolumeMount[]
  readonly securityContext: Readonly<Record<string, unknown>>
  readonly resources?: { readonly limits?: { readonly memory?: string } }
  readonly startupProbe?: Probe
  readonly livenessProbe?: Probe
  readonly readinessProbe?: Probe
}

export interface EnvironmentVariable {
  readonly name: string
  readonly value?: string
  readonly valueFrom?: { readonly secretKeyRef: { readonly name: string; readonly key: string } }
}

export interface Probe {
  readonly httpGet: { readonly path: string; readonly port: string }
}

export interface VolumeMount {
  readonly name: string
  readonly mountPath: string
  readonly subPath?: string
  readonly readOnly?: boolean
}

export interface Volume {
  readonly name: string
  readonly projected?: { readonly defaultMode: number; readonly sources: readonly VolumeSource[] }
  readonly configMap?: { readonly name: string }
  readonly secret?: { readonly secretName: string; readonly defaultMode: number }
  readonly csi?: { readonly driver: string }
  readonly emptyDir?: object
}

export interface VolumeSource {
  readonly secret?: { readonly name: string; readonly items: readonly { key: string; path: string }[] }
  readonly configMap?: { readonly name: string; readonly items: readonly { key: string; path: string }[] }
}

export interface Pod {
  /** The StatefulSet. */
  readonly name: string
  readonly labels: Readonly<Record<string, string>>
  /** Volumes that outlive the pod. */
  readonly claims: readonly string[]
  readonly spec: {
    readonly securityContext: Readonly<Record<string, unknown>>
    readonly automountServiceAccountToken: boolean
    readonly serviceAccountName: string
    readonly containers: readonly Container[]
    readonly volumes: readonly Volume[]
  }
}

/** `kubectl kustomize` of a folder of `deploy/kubernetes`, or of another folder. */
export function kustomize(folder: string): Resource[] {
  return parse(
    execFileSync(join(tools as string, 'kubectl'), ['kustomize', resolve(deploy, 'kubernetes', folder)]).toString(),
  )
}

/** `helm template` of the chart with these values. Throws with what helm said. */
export function helmTemplate(values: object, release = 'trellis'): Resource[] {
  const chart = join(deploy, 'helm', 'trellis')
  const args = ['template', release, chart, '--namespace', 'trellis', '--values', '-']
  return parse(
    execFileSync(join(tools as string, 'helm'), args, { input: JSON.stringify(values), stdio: 'pipe' }).toString(),
  )
}

function parse(text: string): Resource[] {
  // Kubernetes reads YAML 1.1: 0440 is octal.
  return parseAllDocuments(text, { version: '1.1' })
    .map((document) => document.toJS() as Resource | null)
    .filter((resource) => resource !== null)
}

/** The pods of all StatefulSets. */
export function podsOf(resources: readonly Resource[]): Pod[] {
  return resources
    .filter(({ kind }) => kind === 'StatefulSet')
    .map(({ metadata, spec }) => {
      const { template, volumeClaimTemplates = [] } = spec as {
        template: { metadata: { labels: Record<string, string> }; spec: Pod['spec'] }
        volumeClaimTemplates?: { metadata: { name: string } }[]
      }
      const claims = volumeClaimTemplates.map((claim) => claim.metadata.name)
      return { name: metadata.name, labels: template.metadata.labels, spec: template.spec, claims }
    })
}

/** The arguments as a container gets them: `$(NAME)` is a variable of its environment, which stays if a Secret has its value. */
export function argumentsOf({ args, env = [] }: Container): string[] {
  const values = new Map(env.map(({ name, value, valueFrom }) => [name, valueFrom ? `$(${name})` : value]))
  return args.map((arg) =>
    arg.replace(/\$\(([A-Z_]+)\)/g, (whole, name: string) => {
      const value = values.get(name)
      if (value === undefined) throw new Error(`${whole} is not in the environment`)
      return value
    }),
  )
}
