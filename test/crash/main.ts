import { parseArgs } from 'node:util'
import { runCrashes } from './crashes.ts'

/** `npm run test:crash -- --kills 200 --seed 7`: kills programs of a small fleet at random and checks what was promised. */
const { values } = parseArgs({
  options: { kills: { type: 'string', default: '20' }, seed: { type: 'string', default: String(Date.now() % 1e6) } },
})
const [kills, seed] = [Number(values.kills), Number(values.seed)]
console.log(`${kills} kills with seed ${seed}`)
const { survived, history } = await runCrashes({ kills, seed, say: (line) => console.log(line) })
console.log(`${survived} of ${history.length} kills survived; seed ${seed}`)
process.exit(survived === history.length ? 0 : 1)
