import { join } from 'node:path'

/** The files that take longest, the longest first: beside them the seconds that each took in CI. */
export const slowest: readonly string[] = [
  'flows/soak', // 310, most of which it waits
  'interop/apps-under-python', // 553
  'interop/all-cells', // 532
  'interop/killed-python-superlink', // 540
  'interop/real-apps', // 410
  'interop/languages', // 370
  'interop/cli-side-by-side', // 341
  'interop/under-python-superlink', // 220
  'interop/silence-under-python', // 176
  'interop/faults-under-python', // 156
  // After eight others: it and `killed-python-superlink` both move 100 MB, which keeps a slow disk busy.
  'interop/faults-at-ours', // 416
  'flows/simulation', // 325
  'flows/package', // 249
  'faults/crash', // 232
  'faults/tls-abuse', // 199
  'faults/hostile-bodies', // 198
  'faults/restart', // 189
  'flows/demo', // 167
  'flows/guides', // 162
  'flows/cli', // 159
  'deploy/containers', // 155
  'engines/standby', // 150
  'flows/tls-reload', // 147
  'interop/http-traps', // 142
  'flows/training', // 139
  'deploy/fleet', // 119
  'faults/lost-machine', // 117
  'flows/operator', // 104
  'flows/cli-connections', // 103
  'flows/dashboard', // 101
  'interop/as-upstream', // 91
  'faults/crowd', // 89
  'interop/guides', // 86
  'interop/from-keys-to-certificates', // 82
  'interop/four-supernodes', // 71
  'interop/keys-at-ours', // 63
  'faults/client-app', // 53
  'interop/dependencies', // 51
  'interop/both-languages', // 51
  'interop/python-serverapp-restart', // 49
  'engines/object-flow', // 48
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
