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
  'flows/simulation', // 141
  'flows/guides', // 141
  'interop/http-traps', // 137
  'interop/faults-under-python', // 132
  'interop/silence-under-python', // 129
  'faults/restart', // 125
  'interop/real-apps', // 123
  'interop/guides', // 119
  'interop/dependencies', // 108
  'interop/under-python-superlink', // 107
  'faults/hostile-bodies', // 103
  'interop/as-upstream', // 103
  'faults/tls-abuse', // 91
  'interop/from-keys-to-certificates', // 84
  'flows/cli', // 70
  'flows/tls-reload', // 70
  'interop/keys-at-ours', // 70
  'flows/training', // 68
  'flows/package', // 67
  'flows/demo', // 67
]

/** These files in the order in which they should start: one that starts late and runs for long ends alone. */
export function slowestFirst(files: readonly string[]): string[] {
  const rank = (file: string): number => {
    const index = slowest.findIndex((name) => file.endsWith(join('test', `${name}.test.ts`)))
    return index < 0 ? slowest.length : index
  }
  return files.toSorted((one, other) => rank(one) - rank(other))
}
