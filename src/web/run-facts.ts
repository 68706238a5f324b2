import type { RunView } from './model.ts'
import type { curvesOf } from './run-series.ts'
import { bytesText, lengthText } from './words.ts'

/** What a run has used, whose it is, and its configuration: names and values, without those that are empty. */
export function runFacts(run: RunView, curves: ReturnType<typeof curvesOf>): [name: string, value: string][] {
  const config: [string, string][] = Object.entries(run.config).map(([key, value]) => [`Configuration: ${key}`, value])
  const facts: [string, string][] = [
    ['Privacy spent', privacyText(curves)],
    ['Received from SuperNodes', bytesText(run.bytesReceived)],
    ['Sent to SuperNodes', bytesText(run.bytesSent)],
    ['Time of ClientApps', lengthText(run.clientSeconds * 1000)],
    ['Owner', [run.owner, run.organization].filter((text) => text !== '').join(', ')],
    ['Federation', run.federation],
    ['Hash of the app', run.fabHash],
    ...config,
  ]
  return facts.filter(([, value]) => value !== '')
}

/** Strategies with a privacy budget report what was spent with the metrics of training. */
function privacyText(curves: ReturnType<typeof curvesOf>): string {
  const last = (metric: string) => curves.find(({ name }) => name.endsWith(` privacy-${metric}`))?.points.at(-1)
  const [epsilon, delta] = [last('epsilon'), last('delta')]
  if (!epsilon || !delta) return ''
  const most = last('epsilon-max')
  const ofMost = most ? ` of ${most[1]}` : ''
  return `epsilon ${epsilon[1].toPrecision(4)}${ofMost} at delta ${delta[1]}, after round ${epsilon[0]}`
}
