import { join } from 'node:path'

/** The files that take longest, the longest first: beside them the seconds that each took in CI. */
export const slowest: readonly string[] = [
  'interop/all-cells', // 565
  'interop/killed-python-superlink', // 540
  'interop/apps-under-python', // 500
  'interop/languages', // 292
  'interop/cli-side-by-side', // 278
  // Later than `killed-python-superlink`, because both move 100 MB, which keeps a slow disk busy.
  'interop/faults-at-ours', // 327
  'flows/simulation', // 351
  'flows/guides', // 220
  'faults/restart', // 219
  'faults/crash', // 200
  'faults/lost-machine', // 120
  'faults/hostile-bodies', // 217
  'flows/package', // 204
  'interop/real-apps', // 185
  'faults/tls-abuse', // 180
  'interop/silence-under-python', // 167
  'interop/http-traps', // 156
  'interop/faults-under-python', // 132
  'flows/demo', // 153
  'flows/cli', // 152
  'interop/four-supernodes', // 127
  'deploy/fleet', // 122
  'deploy/containers', // 121
  'interop/guides', // 119
  'flows/tls-reload', // 116
  'interop/dependencies', // 108
  'interop/under-python-superlink', // 107
  'interop/as-upstream', // 103
  'interop/from-keys-to-certificates', // 100
  'engines/standby', // 100
  'flows/training', // 97
  'flows/operator', // 89
  'flows/cli-connections', // 84
  'flows/dashboard', // 76
  'engines/object-flow', // 70
  'interop/keys-at-ours', // 70
  'faults/crowd', // 71
  'flows/soak', // 60
  'faults/client-app', // 53
  'flows/tls-check', // 39
]

/** These files in the order in which they should start: one that starts late and runs for long ends alone. */
export function slowestFirst(files: readonly string[]): string[] {
  const rank = (file: string): number => {
    const index = slowest.findIndex((name) => file.endsWith(join('test', `${name}.test.ts`)))
    return index < 0 ? slowest.length : index
  }
  return files.toSorted((one, other) => rank(one) - rank(other))
}
