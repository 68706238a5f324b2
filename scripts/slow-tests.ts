import { join } from 'node:path'

/** The files that take longest, the longest first: what their tests took together in CI, in seconds, is beside them. */
export const slowest: readonly string[] = [
  'interop/all-cells', // 531
  'interop/apps-under-python', // 496
  'interop/killed-python-superlink', // 460
  'interop/faults-at-ours', // 274
  'interop/cli-side-by-side', // 218
  'interop/languages', // 168
  'interop/four-supernodes', // 153
  'faults/hostile-bodies', // 222
  'flows/package', // 152
  'flows/cli', // 150
  'flows/simulation', // 141
  'flows/guides', // 141
  'interop/http-traps', // 137
  'interop/faults-under-python', // 132
  'interop/silence-under-python', // 129
  'faults/restart', // 125
  'interop/real-apps', // 175
  'deploy/containers', // 118
  'flows/training', // 114
  'faults/crash', // 108
  'deploy/fleet', // 82
  'interop/guides', // 119
  'interop/dependencies', // 108
  'interop/under-python-superlink', // 107
  'interop/as-upstream', // 103
  'faults/tls-abuse', // 91
  'interop/from-keys-to-certificates', // 84
  'engines/object-flow', // 70
  'flows/tls-reload', // 70
  'interop/keys-at-ours', // 70
  'flows/demo', // 109
  'flows/soak', // 56
  'faults/crowd', // 38
]

/** These files in the order in which they should start: one that starts late and runs for long ends alone. */
export function slowestFirst(files: readonly string[]): string[] {
  const rank = (file: string): number => {
    const index = slowest.findIndex((name) => file.endsWith(join('test', `${name}.test.ts`)))
    return index < 0 ? slowest.length : index
  }
  return files.toSorted((one, other) => rank(one) - rank(other))
}
