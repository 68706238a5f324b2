import assert from 'node:assert/strict'
import { test } from 'node:test'
import { parser } from '@prometheus-io/lezer-promql'
import { Metrics } from '../../src/base/metrics.ts'
import { kustomize, type Resource, withoutTools } from './rendered.ts'

interface Rule {
  readonly alert: string
  readonly expr: string
  readonly for?: string
  readonly labels: Readonly<Record<string, string>>
  readonly annotations: Readonly<Record<string, string>>
}

test('alerts are PromQL over metrics and labels that our programs have', { skip: withoutTools }, async () => {
  const metrics = new Metrics()
  const { body } = await metrics.text()
  const rules = rulesOf(kustomize('overlays/cert-manager'))
  assert.ok(rules.length >= 8)
  const used = new Set<string>()
  for (const { alert, expr, labels, annotations } of rules) {
    assert.deepEqual(faultsOf(expr), [], `${alert}: ${expr}`)
    for (const name of textsOf(expr, 'VectorSelector')) {
      const metric = /^\w+/.exec(name)?.[0] as string
      assert.ok(metrics.names().includes(metric), `${alert}: ${metric}`)
      assert.ok(body.includes(`# TYPE ${metric} `), metric)
      used.add(metric)
    }
    const known = new Set([...metrics.labels(), 'namespace', 'pod'])
    const named = [...textsOf(expr, 'LabelName'), ...Object.values(annotations).flatMap(labelsIn)]
    for (const label of named) assert.ok(known.has(label), `${alert}: no metric has the label ${label}`)
    assert.match(labels.severity ?? '', /^(info|warning|critical)$/)
    assert.ok(annotations.summary && annotations.description, alert)
  }
  // Everything that runs out by itself has an alert.
  for (const name of [
    'trellis_certificate_expires_in_seconds',
    'trellis_crl_next_update_in_seconds',
    'trellis_storage_free_bytes',
    'trellis_storage_full',
  ])
    assert.ok(used.has(name), name)
})

test('what is no PromQL is found', () => {
  assert.notDeepEqual(faultsOf('sum by (pod (up) > 1'), [])
  assert.notDeepEqual(faultsOf('increase(up[10minutes])'), [])
})

function rulesOf(resources: readonly Resource[]): Rule[] {
  return resources
    .filter(({ kind }) => kind === 'PrometheusRule')
    .flatMap(({ spec }) => (spec as { groups: { rules: Rule[] }[] }).groups)
    .flatMap(({ rules }) => rules)
}

/** Where the parser found an error. */
function faultsOf(expr: string): number[] {
  const faults: number[] = []
  parser.parse(expr).iterate({ enter: ({ type, from }) => void (type.isError && faults.push(from)) })
  return faults
}

function textsOf(expr: string, node: string): string[] {
  const texts: string[] = []
  parser
    .parse(expr)
    .iterate({ enter: ({ name, from, to }) => void (name === node && texts.push(expr.slice(from, to))) })
  return texts
}

function labelsIn(annotation: string): string[] {
  return [...annotation.matchAll(/\$labels\.(\w+)/g)].map(([, label]) => label as string)
}
