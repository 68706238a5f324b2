/**
 * Versions of Python packages and conditions on them, as PEP 440 defines them and Python's `packaging` 25 applies them. Flower
 * compares the versions that an app names with it.
 */

export interface PythonVersion {
  readonly epoch: bigint
  readonly release: readonly bigint[]
  /** `a`, `b` or `rc`, with a number. */
  readonly pre: readonly [string, bigint] | undefined
  readonly post: bigint | undefined
  readonly dev: bigint | undefined
  readonly local: readonly (string | bigint)[] | undefined
}

/** `>=1.29`, or `==1.29.*`. */
export interface Specifier {
  readonly operator: string
  readonly version: string
}

const suffixes =
  '(?:[-_.]?(?<pre>alpha|beta|preview|pre|a|b|c|rc)[-_.]?(?<preNumber>[0-9]*))?' +
  '(?:-(?<postDash>[0-9]+)|[-_.]?(?<post>post|rev|r)[-_.]?(?<postNumber>[0-9]*))?' +
  '(?:[-_.]?(?<dev>dev)[-_.]?(?<devNumber>[0-9]*))?'
const local = '(?:\\+(?<local>[a-z0-9]+(?:[-_.][a-z0-9]+)*))?'
const start = 'v?(?:(?<epoch>[0-9]+)!)?(?<release>[0-9]+(?:\\.[0-9]+)*)'
const anyVersion = new RegExp(`^\\s*${start}${suffixes}${local}\\s*$`, 'i')
const publicVersion = new RegExp(`^${start}${suffixes}$`, 'i')
const prefixVersion = new RegExp(`^${start}\\.\\*$`, 'i')
const letters: Readonly<Record<string, string>> = { alpha: 'a', beta: 'b', c: 'rc', pre: 'rc', preview: 'rc' }

/** Returns `undefined` for a text that is no version. */
export function parseVersion(text: string): PythonVersion | undefined {
  const groups = anyVersion.exec(text)?.groups
  if (!groups) return undefined
  const letter = groups.pre?.toLowerCase()
  const number = (digits: string | undefined): bigint => BigInt(digits || 0)
  const isPost = groups.postDash !== undefined || groups.post !== undefined
  return {
    epoch: number(groups.epoch),
    release: (groups.release as string).split('.').map(BigInt),
    pre: letter === undefined ? undefined : [letters[letter] ?? letter, number(groups.preNumber)],
    post: isPost ? number(groups.postDash ?? groups.postNumber) : undefined,
    dev: groups.dev === undefined ? undefined : number(groups.devNumber),
    local: groups.local
      ?.toLowerCase()
      .split(/[-_.]/)
      .map((part) => (/^[0-9]+$/.test(part) ? BigInt(part) : part)),
  }
}

/** Whether a condition with this operator may name this version. */
export function isSpecifier({ operator, version }: Specifier): boolean {
  if (operator === '===') return true
  if (operator === '==' || operator === '!=') return anyVersion.test(version) || prefixVersion.test(version)
  const groups = publicVersion.exec(version)?.groups
  return groups !== undefined && (operator !== '~=' || (groups.release as string).includes('.'))
}

/** Less than, equal to or greater than 0, as in `sort`. */
export function compareVersions(one: PythonVersion, other: PythonVersion): number {
  return compareLists(sortKey(one), sortKey(other))
}

/**
 * Whether the version meets all conditions. A pre-release meets none unless one of them names a pre-release itself.
 */
export function satisfies(version: PythonVersion, specifiers: readonly Specifier[]): boolean {
  if (isPrerelease(version) && !specifiers.some(admitsPrereleases)) return false
  return specifiers.every((one) => meets(version, one))
}

function admitsPrereleases({ operator, version }: Specifier): boolean {
  const named = operator === '!=' ? undefined : parseVersion(version)
  return named !== undefined && isPrerelease(named)
}

function meets(version: PythonVersion, { operator, version: text }: Specifier): boolean {
  if (operator === '===') return format(version) === text.toLowerCase()
  if (text.endsWith('.*')) {
    const isPart = hasPrefix(version, parseVersion(text.slice(0, -2)) as PythonVersion)
    return operator === '==' ? isPart : !isPart
  }
  const named = parseVersion(text) as PythonVersion
  const withoutLocal = { ...version, local: undefined }
  switch (operator) {
    case '==':
      return compareVersions(named.local ? version : withoutLocal, named) === 0
    case '!=':
      return compareVersions(named.local ? version : withoutLocal, named) !== 0
    case '<=':
      return compareVersions(withoutLocal, named) <= 0
    case '>=':
      return compareVersions(withoutLocal, named) >= 0
    case '~=':
      return (
        compareVersions(withoutLocal, named) >= 0 &&
        hasPrefix(version, { ...named, release: named.release.slice(0, -1) })
      )
    case '<':
      // A pre-release of the version that is named is not meant.
      return (
        compareVersions(version, named) < 0 && !(isPrerelease(version) && !isPrerelease(named) && isOf(version, named))
      )
    case '>': {
      const isMore = version.local !== undefined || (version.post !== undefined && named.post === undefined)
      return compareVersions(version, named) > 0 && !(isMore && isOf(version, named))
    }
    default:
      throw new Error(`Unknown operator ${operator}`)
  }
}

function isPrerelease({ pre, dev }: PythonVersion): boolean {
  return pre !== undefined || dev !== undefined
}

/** Whether both are of the same release. */
function isOf(one: PythonVersion, other: PythonVersion): boolean {
  const key = ({ epoch, release }: PythonVersion): SortKey => [epoch, ...withoutZeros(release)]
  return compareLists(key(one), key(other)) === 0
}

function hasPrefix({ epoch, release }: PythonVersion, prefix: PythonVersion): boolean {
  return epoch === prefix.epoch && prefix.release.every((part, index) => part === (release[index] ?? 0n))
}

type SortKey = readonly (bigint | number | string | SortKey)[]

/** A release comes after its pre-releases and before its post-releases; a development release before what it leads to. */
function sortKey({ epoch, release, pre, post, dev, local: labels }: PythonVersion): SortKey {
  const [least, greatest] = [Number.NEGATIVE_INFINITY, Number.POSITIVE_INFINITY]
  const isDevelopmentOfRelease = pre === undefined && post === undefined && dev !== undefined
  return [
    epoch,
    withoutZeros(release),
    pre ?? (isDevelopmentOfRelease ? [least] : [greatest]),
    post ?? least,
    dev ?? greatest,
    labels === undefined ? least : [...labels.map((one) => (typeof one === 'bigint' ? [one, ''] : [least, one]))],
  ]
}

function withoutZeros(release: readonly bigint[]): readonly bigint[] {
  return release.slice(0, release.findLastIndex((part) => part !== 0n) + 1)
}

/** Item by item; of two lists that begin alike the longer one is greater, and a list is greater than none. */
function compareLists(one: SortKey, other: SortKey): number {
  for (const [index, item] of one.entries()) {
    const against = other[index]
    if (against === undefined) return 1
    const order = compareItems(item, against)
    if (order !== 0) return order
  }
  return one.length < other.length ? -1 : 0
}

function compareItems(one: SortKey[number], other: SortKey[number]): number {
  if (Array.isArray(one) && Array.isArray(other)) return compareLists(one, other)
  if (Array.isArray(one)) return 1
  if (Array.isArray(other)) return -1
  if (typeof one !== 'string' && typeof other === 'string') return one === Number.POSITIVE_INFINITY ? 1 : -1
  if (typeof one === 'string' && typeof other !== 'string') return other === Number.POSITIVE_INFINITY ? -1 : 1
  if (one === other) return 0
  return (one as bigint) < (other as bigint) ? -1 : 1
}

/** The version in its normal form, e.g. `1.29rc1` for `v1.29-RC.1`. */
function format({ epoch, release, pre, post, dev, local: labels }: PythonVersion): string {
  return [
    epoch === 0n ? '' : `${epoch}!`,
    release.join('.'),
    pre?.join('') ?? '',
    post === undefined ? '' : `.post${post}`,
    dev === undefined ? '' : `.dev${dev}`,
    labels === undefined ? '' : `+${labels.join('.')}`,
  ].join('')
}
