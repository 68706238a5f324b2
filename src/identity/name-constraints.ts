import type * as pkijs from 'pkijs'
import { type Element, elementAt, elementsIn, hexOf, tags } from './revocation/der.ts'

/** What a CA may vouch for by the names of its certificates (RFC 5280 section 4.2.1.10). */
export interface NameConstraints {
  /** A name of a type that is here must be within one of them. */
  readonly permitted: readonly Subtree[]
  /** A name within one of these is not good. */
  readonly excluded: readonly Subtree[]
  /** Why they cannot be applied: then the CA vouches for no certificate. */
  readonly fault: string | undefined
}

export interface Subtree {
  readonly type: NameType
  /** As {@link ConstrainedNames} has the names of that type. */
  readonly base: string
}

type NameType = 'email' | 'dns' | 'uri' | 'ip' | 'directory' | 'other'

/** The names of a certificate, as constraints see them. */
export interface ConstrainedNames {
  readonly emails: readonly string[]
  readonly dns: readonly string[]
  readonly uris: readonly string[]
  /** Bytes as hexadecimal. */
  readonly ips: readonly string[]
  /** DER of names, as hexadecimal: of the subject, and of alternative names of that type. */
  readonly directories: readonly string[]
  /** Whether there are names of types that we do not compare. */
  readonly hasOthers: boolean
}

const types: ReadonlyMap<number, NameType> = new Map([
  [1, 'email'],
  [2, 'dns'],
  [4, 'directory'],
  [6, 'uri'],
  [7, 'ip'],
])

export function readNameConstraints(value: pkijs.NameConstraints): NameConstraints {
  const read = (trees: readonly pkijs.GeneralSubtree[] = []): Subtree[] => trees.map(readSubtree)
  const permitted = read(value.permittedSubtrees)
  const excluded = read(value.excludedSubtrees)
  const ranges = [...(value.permittedSubtrees ?? []), ...(value.excludedSubtrees ?? [])].some(
    ({ minimum, maximum }) => minimum !== 0 || maximum !== undefined,
  )
  const isEmpty = permitted.length + excluded.length === 0
  const fault = isEmpty
    ? 'they are empty'
    : ranges
      ? 'they have minimum or maximum'
      : faultIn([...permitted, ...excluded])
  return { permitted, excluded, fault }
}

function readSubtree({ base }: pkijs.GeneralSubtree): Subtree {
  const type = types.get(base.type) ?? 'other'
  if (type === 'ip') return { type, base: Buffer.from(base.value.valueBlock.valueHexView).toString('hex') }
  if (type === 'directory')
    return {
      type,
      base: Buffer.from((base.value as pkijs.RelativeDistinguishedNames).toSchema().toBER()).toString('hex'),
    }
  return { type, base: type === 'other' ? '' : String(base.value) }
}

/** A constraint that can be read in two ways constrains nothing reliably. */
function faultIn(subtrees: readonly Subtree[]): string | undefined {
  for (const { type, base } of subtrees) {
    if (type === 'dns' && base !== '' && !isHostName(base)) return `'${base}' is not a host name`
    if (type === 'uri' && !isHostName(base.replace(/^\./, ''))) return `'${base}' is not a host name`
    if (type === 'email' && !isHostName(base.replace(/^(?:[^@]*@|\.)/, '')))
      return `'${base}' is neither mailbox nor host`
    if (type === 'ip' && !isAddressRange(base)) return 'an address range in them has no proper mask'
  }
  return undefined
}

/** How many comparisons one certificate is worth. */
const comparisonsMax = 20_000

/** The name that the constraints are against, in words; `undefined` when they are against none. */
export function constraintFault(constraints: NameConstraints, names: ConstrainedNames): string | undefined {
  if (constraints.fault !== undefined) return `its name constraints cannot be applied: ${constraints.fault}`
  const all: readonly (readonly [NameType, readonly string[]])[] = [
    ['email', names.emails],
    ['dns', names.dns],
    ['uri', names.uris],
    ['ip', names.ips],
    ['directory', names.directories],
  ]
  const count = all.reduce((sum, [, list]) => sum + list.length, 0)
  if (count * (constraints.permitted.length + constraints.excluded.length) > comparisonsMax)
    return 'has more names and constraints than are compared'
  const constrainsOthers = [...constraints.permitted, ...constraints.excluded].some(({ type }) => type === 'other')
  if (constrainsOthers && names.hasOthers) return 'has names of a type that cannot be compared'
  for (const [type, list] of all) {
    const permitted = constraints.permitted.filter((tree) => tree.type === type)
    const excluded = constraints.excluded.filter((tree) => tree.type === type)
    if (permitted.length === 0 && excluded.length === 0) continue
    for (const name of list) {
      const isOut = permitted.length > 0 && !permitted.some(({ base }) => isWithin(type, name, base, 'permitted'))
      if (isOut || excluded.some(({ base }) => isWithin(type, name, base, 'excluded')))
        return type === 'directory' ? 'has a name that they do not allow' : `has the name '${shown(type, name)}'`
    }
  }
  return undefined
}

const shown = (type: NameType, name: string): string =>
  type === 'ip' ? `address ${name}` : name.length > 100 ? `${name.slice(0, 100)}…` : name

/** In doubt a name is outside what is permitted, and inside what is excluded. */
function isWithin(type: NameType, name: string, base: string, list: 'permitted' | 'excluded'): boolean {
  const doubt = list === 'excluded'
  switch (type) {
    case 'dns':
      return isDnsWithin(name, base, doubt)
    case 'email':
      return isEmailWithin(name, base, doubt)
    case 'uri':
      return isUriWithin(name, base, doubt)
    case 'ip':
      return isIpWithin(name, base)
    case 'directory':
      return isDirectoryWithin(name, base, doubt)
    default:
      return doubt
  }
}

function isDnsWithin(name: string, base: string, doubt: boolean): boolean {
  if (base === '') return true
  const host = name.toLowerCase()
  const constraint = base.toLowerCase()
  if (!host.startsWith('*.')) return isHostName(host) ? isSameOrBelow(host, constraint) : doubt
  // A pattern stands for many names: permitted when all are within, excluded when one could be.
  const rest = host.slice(2)
  if (!isHostName(rest)) return doubt
  return isSameOrBelow(rest, constraint) || (doubt && constraint.endsWith(`.${rest}`))
}

function isEmailWithin(name: string, base: string, doubt: boolean): boolean {
  const [local, host, ...more] = name.split('@')
  if (local === undefined || local === '' || host === undefined || more.length > 0 || !isHostName(host)) return doubt
  const at = base.lastIndexOf('@')
  if (at >= 0) return local === base.slice(0, at) && host.toLowerCase() === base.slice(at + 1).toLowerCase()
  return isHostWithin(host, base)
}

function isUriWithin(name: string, base: string, doubt: boolean): boolean {
  // Names without a host, and those whose host is an address, cannot be compared.
  const host = /^[a-z][a-z0-9+.-]*:\/\/(?:[^/?#@]*@)?([^/?#:@[\]]+)(?::\d*)?(?:[/?#]|$)/i.exec(name)?.[1]
  if (host === undefined || !isHostName(host) || /^[\d.]+$/.test(host)) return doubt
  return isHostWithin(host, base)
}

/** A host stands for itself, one with a point before it for what is below. */
function isHostWithin(host: string, base: string): boolean {
  const constraint = base.toLowerCase()
  return constraint.startsWith('.') ? host.toLowerCase().endsWith(constraint) : host.toLowerCase() === constraint
}

function isSameOrBelow(host: string, constraint: string): boolean {
  return host === constraint || host.endsWith(`.${constraint}`)
}

/** Address and mask, one after the other. */
function isAddressRange(base: string): boolean {
  if (base.length !== 16 && base.length !== 64) return false
  const mask = BigInt(`0x${base.slice(base.length / 2)}`)
    .toString(2)
    .padStart(base.length * 2, '0')
  return /^1*0*$/.test(mask)
}

function isIpWithin(name: string, base: string): boolean {
  if (name.length * 2 !== base.length) return false
  const mask = BigInt(`0x${base.slice(name.length)}`)
  return (BigInt(`0x${name}`) & mask) === (BigInt(`0x${base.slice(0, name.length)}`) & mask)
}

/** The constraint's parts are the first of the name's. */
function isDirectoryWithin(name: string, base: string, doubt: boolean): boolean {
  const [parts, first] = [partsOf(name), partsOf(base)]
  if (!parts || !first) return doubt
  return first.length <= parts.length && first.every((part, index) => part === parts[index])
}

const stringTags: ReadonlySet<number> = new Set([0x0c, 0x13, 0x16])

/** Parts of a name in their order, such that the same ones look the same; `undefined` where that cannot be told. */
function partsOf(nameHex: string): string[] | undefined {
  const der = Buffer.from(nameHex, 'hex')
  try {
    return [...elementsIn(der, elementAt(der, 0, der.length))].map((set) =>
      [...elementsIn(der, set)]
        .map((attribute) => attributeText(der, attribute))
        .sort()
        .join(' + '),
    )
  } catch {
    return undefined
  }
}

/** Letters may be written large or small, in several encodings, and with more spaces than one. */
function attributeText(der: Buffer, attribute: Element): string {
  const [type, value] = elementsIn(der, attribute)
  if (type?.tag !== tags.oid || !value) throw new Error('not an attribute')
  const text = stringTags.has(value.tag)
    ? der.subarray(value.from, value.to).toString('utf8').trim().replace(/\s+/g, ' ').toLowerCase()
    : `${value.tag} ${hexOf(der, value)}`
  return `${hexOf(der, type)} ${text}`
}

/** Labels of letters, digits and hyphens; no point at the end. */
export function isHostName(text: string): boolean {
  return (
    text.length <= 253 &&
    /^[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?(?:\.[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?)*$/i.test(text)
  )
}
