import { spawnSync } from 'node:child_process'
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { gunzipSync } from 'node:zlib'
import { Ajv } from 'ajv'
import type { Resource } from './rendered.ts'

/**
 * Checks resources against the schemas of their kinds twice: by the validators of kubernetes-models (types, required
 * keys, formats, patterns), and as literals of its TypeScript types (unknown keys and values that are none of a choice,
 * at any depth, which validators let pass because an API server may know more).
 */

const root = join(import.meta.dirname, '..', '..')
const packages: Readonly<Record<string, string>> = {
  'cert-manager.io': '@kubernetes-models/cert-manager',
  'trust.cert-manager.io': '@kubernetes-models/cert-manager',
  'monitoring.coreos.com': '@kubernetes-models/prometheus-operator',
}

/** Sentences about what is wrong, each with the resource's kind and name; empty when all is well. */
export async function faultsOf(resources: readonly Resource[]): Promise<string[]> {
  const routes = resources.filter(isOpenshift)
  const others = resources.filter((resource) => !isOpenshift(resource))
  const validated = await Promise.all(others.map(validate))
  return [...validated.flat(), ...checkTypes(others), ...routes.flatMap(checkOpenshift)]
}

const isOpenshift = ({ apiVersion }: Resource): boolean => apiVersion.includes('.openshift.io/')
const title = ({ kind, metadata }: Resource): string => `${kind} ${metadata.name}`

/** The module that has class and types of a kind. */
function moduleOf({ apiVersion, kind }: Resource): string {
  const group = apiVersion.includes('/') ? (apiVersion.split('/')[0] as string) : ''
  return `${packages[group] ?? 'kubernetes-models'}/${apiVersion}/${kind}`
}

async function validate(resource: Resource): Promise<string[]> {
  try {
    const module = (await import(moduleOf(resource))) as Record<string, new (data: unknown) => { validate(): void }>
    const Model = module[resource.kind]
    if (!Model) return [`${title(resource)}: there is no such kind`]
    new Model(resource).validate()
    return []
  } catch (error) {
    return [`${title(resource)}: ${error instanceof Error ? error.message : String(error)}`]
  }
}

function checkTypes(resources: readonly Resource[]): string[] {
  // Inside the repository, where the packages are found.
  mkdirSync(join(root, '.cache'), { recursive: true })
  const folder = mkdtempSync(join(root, '.cache', 'deploy-check-'))
  try {
    const lines = resources.map(
      (resource, index) =>
        `import type { I${resource.kind} as K${index} } from '${moduleOf(resource)}'; export const r${index}: K${index} = ${JSON.stringify(resource)}`,
    )
    const file = join(folder, 'resources.ts')
    writeFileSync(file, `${lines.join('\n')}\n`)
    const compiler = join(root, 'node_modules', '.bin', 'tsc')
    const options = ['--ignoreConfig', '--noEmit', '--strict', '--skipLibCheck', '--pretty', 'false']
    const modules = ['--module', 'nodenext', '--target', 'esnext', '--types', '']
    const { stdout, error } = spawnSync(compiler, [...options, ...modules, file], { encoding: 'utf8', timeout: 60_000 })
    if (error) throw error
    return stdout
      .split('\n')
      .filter((line) => line !== '' && !line.startsWith(' '))
      .map((line) => {
        const [, number, message = line] = /resources\.ts\((\d+),\d+\): (.*)$/.exec(line) ?? []
        const resource = resources[Number(number) - 1]
        return resource ? `${title(resource)}: ${message}` : line
      })
  } finally {
    rmSync(folder, { recursive: true, force: true })
  }
}

interface Schema {
  properties?: Record<string, Schema>
  additionalProperties?: unknown
  items?: Schema
  required?: string[]
  [key: string]: unknown
}

function checkOpenshift(resource: Resource): string[] {
  const compressed = readFileSync(join(process.env.TRELLIS_DEPLOY_TOOLS as string, 'openshift-openapi-spec.json.gz'))
  const { definitions } = JSON.parse(gunzipSync(compressed).toString()) as { definitions: Record<string, Schema> }
  const [group = '', version] = resource.apiVersion.split('/')
  const name = `com.github.openshift.api.${group.split('.')[0]}.${version}.${resource.kind}`
  if (!definitions[name]) return [`${title(resource)}: there is no such kind`]
  for (const schema of Object.values(definitions)) close(schema)
  // The cluster writes the status.
  const kind = definitions[name] as Schema
  kind.required = (kind.required ?? []).filter((key) => key !== 'status')
  const ajv = new Ajv({ strict: false, validateFormats: false })
  const check = ajv.compile({ $ref: `#/definitions/${name}`, definitions })
  if (check(resource)) return []
  return (check.errors ?? []).map(
    ({ instancePath, message, params }) => `${title(resource)}: ${instancePath} ${message} ${JSON.stringify(params)}`,
  )
}

/** Keys that a schema does not name are faults. */
function close(schema: Schema): void {
  if (schema.properties && schema.additionalProperties === undefined) schema.additionalProperties = false
  for (const property of Object.values(schema.properties ?? {})) close(property)
}
