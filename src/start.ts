import type { Main } from './base/program.ts'

/** Starts one of the programs by its name, for `bin/start.mjs`. `bin/NAME` puts the right Node in front of that. */
const programs: Readonly<Record<string, () => Promise<{ main: Main }>>> = {
  'flower-superlink': () => import('./superlink/main.ts'),
  'flower-supernode': () => import('./supernode/main.ts'),
  'flower-superexec': () => import('./superexec/main.ts'),
  'flwr-serverapp': () => import('./app-runtime/serverapp-main.ts'),
  'flwr-clientapp': () => import('./app-runtime/clientapp-main.ts'),
  'flwr-simulation': () => import('./cli/simulation-main.ts'),
  'flower-simulation': () => import('./cli/simulation-main.ts'),
  flwr: () => import('./cli/main.ts'),
}

const [name = '', ...argv] = process.argv.slice(2)
const load = programs[name]
if (!load) throw new Error(`There is no program '${name}'.`)
const { drainOutput } = await import('./base/drain-output.ts')
const { runProgram } = await import('./base/program.ts')
const { main } = await load()
const status = await runProgram(main, argv)
await drainOutput()
process.exit(status)
