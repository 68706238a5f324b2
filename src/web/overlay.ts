import type { RunView } from './model.ts'
import { curvesOf, type RunSeries } from './run-series.ts'

export interface ComparedRun {
  readonly id: string
  readonly series: RunSeries
}

/** A metric in all the runs that report it. `run` is the place of a run in the comparison: its style is the same in every chart. */
export interface OverlaidCurve {
  readonly name: string
  readonly lines: readonly { readonly run: number; readonly points: readonly (readonly [number, number])[] }[]
}

/** Puts the same metric of several runs together, by the names of the metrics. */
export function overlaidCurves(runs: readonly ComparedRun[]): OverlaidCurve[] {
  const byName = new Map<string, OverlaidCurve['lines'][number][]>()
  for (const [run, { series }] of runs.entries())
    for (const { name, points } of curvesOf(series)) byName.set(name, [...(byName.get(name) ?? []), { run, points }])
  return [...byName].map(([name, lines]) => ({ name, lines })).sort((a, b) => (a.name < b.name ? -1 : 1))
}

/** Returns e.g. `@hospital/pneumonia==3.0.0 …123456`: runs of the same app differ by the end of their ids. */
export function comparedName(id: string, run: Pick<RunView, 'app'> | undefined): string {
  const end = id.length > 6 ? `…${id.slice(-6)}` : id
  return run ? `${run.app} ${end}` : `run ${end}`
}

/** Returns the keys of the configuration in which the runs differ, each with its value in every run; empty where a run has none. */
export function differingConfig(
  runs: readonly (Pick<RunView, 'config'> | undefined)[],
): { readonly key: string; readonly values: readonly string[] }[] {
  const keys = new Set(runs.flatMap((run) => Object.keys(run?.config ?? {})))
  return [...keys]
    .toSorted()
    .map((key) => ({ key, values: runs.map((run) => configValue(run?.config ?? {}, key)) }))
    .filter(({ values }) => new Set(values).size > 1)
}

/** A key such as `constructor` must not find what every object inherits. */
function configValue(config: RunView['config'], key: string): string {
  return Object.hasOwn(config, key) ? (config[key] ?? '') : ''
}
