import assert from 'node:assert/strict'
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { test } from 'node:test'
import { parser } from '@prometheus-io/lezer-promql'
import { Metrics } from '../../src/base/metrics.ts'
import { createWebhookMetrics } from '../../src/superlink/events/webhook.ts'
import { WorkMetrics } from '../../src/superlink/work-metrics.ts'
import { helmTemplate, kustomize, type Resource, withoutTools } from './rendered.ts'

const dashboardFile = join(import.meta.dirname, '../../deploy/kubernetes/components/monitoring/grafana-dashboard.json')

interface Dashboard {
  readonly panels: readonly {
    readonly id: number
    readonly title: string
    readonly targets?: readonly { expr: string }[]
  }[]
  readonly templating: { readonly list: readonly { readonly query: string | { readonly query: string } }[] }
}

interface Rule {
  readonly alert: string
  readonly expr: string
  readonly for?: string
  readonly labels: Readonly<Record<string, string>>
  readonly annotations: Readonly<Record<string, string>>
}

/** What can be asked of our programs: names of series, and labels. */
async function everything(): Promise<{ series: ReadonlySet<string>; labels: ReadonlySet<string>; body: string }> {
  const metrics = new Metrics()
  new WorkMetrics(metrics)
  createWebhookMetrics(metrics)
  metrics.watchProcess()
  const { body } = await metrics.text()
  const series = new Set(metrics.names())
  for (const [, name] of body.matchAll(/^# TYPE (\w+) histogram$/gm)) {
    series.delete(name as string)
    for (const part of ['bucket', 'count', 'sum']) series.add(`${name}_${part}`)
  }
  return { series, labels: new Set([...metrics.labels(), 'namespace', 'pod', 'le']), body }
}

/** Checks a query; returns the names of its series. */
function seriesOf(expr: string, where: string, { series, labels }: Awaited<ReturnType<typeof everything>>): string[] {
  assert.deepEqual(faultsOf(expr), [], `${where}: ${expr}`)
  for (const label of textsOf(expr, 'LabelName')) assert.ok(labels.has(label), `${where}: no metric has ${label}`)
  return textsOf(expr, 'VectorSelector').map((selector) => {
    const name = /^\w+/.exec(selector)?.[0] as string
    assert.ok(series.has(name), `${where}: ${name}`)
    return name
  })
}

test('alerts are PromQL over metrics and labels that our programs have', { skip: withoutTools }, async () => {
  const known = await everything()
  const rules = rulesOf(kustomize('overlays/cert-manager'))
  assert.ok(rules.length >= 8)
  const used = new Set<string>()
  for (const { alert, expr, labels, annotations } of rules) {
    for (const name of seriesOf(expr, alert, known)) used.add(name)
    for (const label of Object.values(annotations).flatMap(labelsIn))
      assert.ok(known.labels.has(label), `${alert}: no metric has the label ${label}`)
    assert.match(labels.severity ?? '', /^(info|warning|critical)$/)
    assert.ok(annotations.summary && annotations.description, alert)
  }
  // Everything that runs out by itself has an alert, and so has a run that stands still.
  for (const name of [
    'trellis_certificate_expires_in_seconds',
    'trellis_crl_next_update_in_seconds',
    'trellis_storage_free_bytes',
    'trellis_storage_full',
    'trellis_message_oldest_seconds',
  ])
    assert.ok(used.has(name), name)
})

test('the queries of the dashboard for Grafana ask for metrics and labels that our programs have', async () => {
  const known = await everything()
  const { panels, templating } = JSON.parse(readFileSync(dashboardFile, 'utf8')) as Dashboard
  const queries = panels.flatMap(({ title, targets = [] }) => targets.map(({ expr }) => ({ title, expr })))
  assert.ok(queries.length >= 25)
  const used = new Set(queries.flatMap(({ title, expr }) => seriesOf(expr, title, known)))
  const ours = [...known.series].filter((name) => name.startsWith('trellis_') && !/_(sum|bucket)$/.test(name))
  const shown = (name: string): boolean => used.has(name) || used.has(name.replace(/_count$/, '_bucket'))
  // Shown by alerts, because they are no curve.
  assert.deepEqual(ours.filter((name) => !shown(name)).sort(), notInDashboard)
  assert.equal(new Set(panels.map(({ id }) => id)).size, panels.length)
  for (const { query } of templating.list)
    if (typeof query !== 'string')
      seriesOf(/^label_values\((.*), \w+\)$/.exec(query.query)?.[1] ?? '', 'variable', known)
})

const notInDashboard = [
  'trellis_ocsp_questions_total',
  'trellis_storage_full',
  'trellis_tls_files_good',
  'trellis_tls_reloads_total',
  'trellis_webhook_attempts_total',
  'trellis_webhook_dead_total',
  'trellis_webhook_waiting',
]

test('chart and overlay bring the same dashboard', { skip: withoutTools }, () => {
  const text = readFileSync(dashboardFile, 'utf8')
  const content = (resources: readonly Resource[]): unknown => {
    const found = resources.find(({ metadata }) => metadata.labels?.grafana_dashboard === '1')
    return JSON.parse((found as unknown as { data: { 'trellis.json': string } }).data['trellis.json'])
  }
  assert.deepEqual(content(kustomize('overlays/cert-manager')), JSON.parse(text))
  assert.deepEqual(content(helmTemplate({ monitoring: { enabled: true } })), JSON.parse(text))
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
