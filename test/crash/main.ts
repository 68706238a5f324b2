import { existsSync, readFileSync, writeFileSync } from 'node:fs'
import { parseArgs } from 'node:util'
import { pythonEnvironment } from '../harness/python-flower.ts'
import { runCrashes } from './crashes.ts'
import { drawKills, type Kill } from './plan.ts'

/**
 * `npm run test:crash -- --kills 200 --seed 7` kills programs of a small fleet and checks what was promised. What was killed is
 * written to a file; `--replay` repeats that of such a file, or of a seed.
 */
const { values } = parseArgs({
  options: {
    kills: { type: 'string', default: '20' },
    seed: { type: 'string', default: String(Date.now() % 1e6) },
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
console.log(
  `${kills} kills ${recorded ? `of ${values.replay}` : `with seed ${seed}`}${python ? '' : ', without Python apps'}`,
)
const plan = (recorded ?? drawKills(Number(seed)))[Symbol.iterator]()
const say = (line: string): void => console.log(line)
const { history, faults } = await runCrashes({ kills, plan, python, say })
writeFileSync(values.history, `${JSON.stringify(history, undefined, 1)}\n`)
const failed = faults.length > 0
console.log(
  failed
    ? `${faults.length} faults after ${history.length} kills; seed ${seed}, history in ${values.history}:\n${faults.join('\n')}`
    : `${history.length} of ${history.length} kills survived; seed ${seed}`,
)
process.exit(failed ? 1 : 0)
