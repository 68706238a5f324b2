import { existsSync, readFileSync, writeFileSync } from 'node:fs'
import { parseArgs } from 'node:util'
import { prepareHaproxy } from '../../scripts/haproxy.ts'
import { preparePostgres } from '../../scripts/postgres.ts'
import { pythonEnvironment } from '../harness/python-flower.ts'
import { runCrashes } from './crashes.ts'
import { drawKills, type Kill, victims, victimsOfSeveral } from './plan.ts'
import type { SeveralSuperlinks } from './several-superlinks.ts'
import { OneSuperlink, type SuperlinksOptions } from './superlinks.ts'

/**
 * `npm run test:crash -- --kills 200 --seed 7` kills programs of a small fleet and checks what was promised. What was killed is
 * written to a file; `--replay` repeats that of such a file, or of a seed. `--superlinks 3` kills several SuperLinks on one
 * PostgreSQL database behind HAProxy, both of which it starts.
 */
const { values } = parseArgs({
  options: {
    kills: { type: 'string', default: '20' },
    seed: { type: 'string', default: String(Date.now() % 1e6) },
    superlinks: { type: 'string', default: '1' },
    replay: { type: 'string' },
    history: { type: 'string', default: 'crash-history.json' },
  },
})
const seed = values.replay !== undefined && !existsSync(values.replay) ? values.replay : values.seed
const recorded =
  values.replay !== undefined && existsSync(values.replay)
    ? (JSON.parse(readFileSync(values.replay, 'utf8')) as Kill[])
    : undefined
const kills = recorded?.length ?? Number(values.kills)
const python = pythonEnvironment('1.41')
const count = Number(values.superlinks)
console.log(
  `${kills} kills ${recorded ? `of ${values.replay}` : `with seed ${seed}`}${python ? '' : ', without Python apps'}`,
)
const plan = (recorded ?? drawKills(Number(seed), count > 1 ? victimsOfSeveral : victims))[Symbol.iterator]()
const startedAt = performance.now()
const say = (line: string): void => console.log(`${Math.round((performance.now() - startedAt) / 1000)} s: ${line}`)
let several: SeveralSuperlinks | undefined
const startSuperlinks = async (options: SuperlinksOptions) => {
  if (count === 1) return OneSuperlink.start(options)
  several = await (await loadSeveral()).start(count, options)
  return several
}
// Many kills while the same runs are active: starting and checking runs costs more than a kill.
const { history, faults } = await runCrashes({ kills, plan, python, say, startSuperlinks, roundsTimes: 2 })
writeFileSync(values.history, `${JSON.stringify(history, undefined, 1)}\n`)
if (several) console.log(takeoverText(several.takeoversMs))
const failed = faults.length > 0
console.log(
  failed
    ? `${faults.length} faults after ${history.length} kills; seed ${seed}, history in ${values.history}:\n${faults.join('\n')}`
    : `${history.length} of ${history.length} kills survived; seed ${seed}`,
)
process.exit(failed ? 1 : 0)

/** Where PostgreSQL and HAProxy are must be known before the files are loaded that start them. */
async function loadSeveral(): Promise<typeof SeveralSuperlinks> {
  Object.assign(process.env, preparePostgres(), prepareHaproxy())
  const { withoutBalancer } = await import('../harness/balanced-superlinks.ts')
  if (withoutBalancer) throw new Error(withoutBalancer)
  return (await import('./several-superlinks.ts')).SeveralSuperlinks
}

function takeoverText(takeoversMs: readonly number[]): string {
  const sorted = takeoversMs.toSorted((a, b) => a - b)
  const at = (share: number): string => `${Math.round(sorted[Math.ceil(sorted.length * share) - 1] ?? Number.NaN)} ms`
  return `${sorted.length} takeovers, from the end of a SuperLink to the first served call: median ${at(0.5)}, 90 % within ${at(0.9)}, at most ${at(1)}`
}
