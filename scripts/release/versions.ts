/** Places that name the version of the release, compared with `package.json`. */

/** Reads a file of the repository by its path. */
export type Read = (path: string) => string

/** What each file says, found by a pattern whose first group is the version. */
const places: readonly (readonly [path: string, pattern: RegExp])[] = [
  ['package-lock.json', /^ {2}"version": "([^"]+)"/gm],
  ['packages/sdk/package.json', /^ {2}"version": "([^"]+)"/gm],
  ['src/base/version.ts', /trellisVersion = '([^']+)'/g],
  ['deploy/helm/trellis/Chart.yaml', /^(?:version|appVersion): "?([^"\n]+)/gm],
  ...[
    'deploy/helm/trellis/values.yaml',
    'deploy/kubernetes/base/superlink/statefulset.yaml',
    'deploy/kubernetes/base/supernode/statefulset.yaml',
    'deploy/containers/node.Containerfile',
    'deploy/containers/python.Containerfile',
    'docs/guides/kubernetes.md',
  ].map((path) => [path, /trellis\/super(?:link|node|exec):([\w.]+)/g] as const),
  ['CHANGELOG.md', /^(?:[^#].*\n|\n|# .*\n)*## (\S+)/g],
]

export function versionOf(read: Read): string {
  return JSON.parse(read('package.json')).version
}

/** Returns a sentence for each place that names another version, or none. */
export function versionFaults(read: Read): string[] {
  const version = versionOf(read)
  return places.flatMap(([path, pattern]) => {
    const found = [...read(path).matchAll(pattern)].map(([, named = '']) => named)
    if (found.length === 0) return [`${path} names no version: it should be ${version}.`]
    const others = new Set(found.filter((named) => named !== version))
    return [...others].map((named) => `${path} names ${named}, and package.json ${version}: change one of them.`)
  })
}

/** Returns why this version cannot be published yet, or `undefined`: its section of the changelog has no date. */
export function unreleased(read: Read): string | undefined {
  const [, heading = ''] = /^## (.*)$/m.exec(read('CHANGELOG.md')) ?? []
  if (/\(\d{4}-\d{2}-\d{2}\)$/.test(heading)) return undefined
  return `CHANGELOG.md has the heading "${heading}": put the date of the release in parentheses.`
}
