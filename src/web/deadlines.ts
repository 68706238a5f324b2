import type { NodeView, SecurityState } from './model.ts'

/** Something that ends by itself. */
export interface Deadline {
  readonly what: string
  readonly name: string
  /** Epoch milliseconds. */
  readonly at: number
  /** Why it may not be renewed in time. */
  readonly trouble: string
}

/** Certificates and revocation lists by their ends, the first first. */
export function listDeadlines(security: SecurityState | undefined, nodes: readonly NodeView[]): Deadline[] {
  const kinds: Readonly<Record<string, string>> = { own: 'SuperLink', ca: 'CA' }
  const trusted = (security?.certificates ?? []).map(({ kind, subject, ends }) => ({
    what: kinds[kind] ?? kind,
    name: subject,
    at: Date.parse(ends),
    trouble: '',
  }))
  const lists = (security?.lists ?? []).map(({ issuer, due }) => ({
    what: 'Revocation list',
    name: issuer,
    at: Date.parse(due),
    trouble: '',
  }))
  const known = nodes.filter(({ auth, status }) => auth === 'certificate' && status !== 'unregistered')
  const certificates = known.map((node) => ({
    what: 'SuperNode',
    name: node.name || node.identity,
    at: Date.parse(node.certificateEnds),
    trouble: node.renewalFails ? 'its renewal fails: the certificate in its files is not good' : '',
  }))
  return [...trusted, ...lists, ...certificates].filter(({ at }) => !Number.isNaN(at)).sort((a, b) => a.at - b.at)
}

const hourMs = 3_600_000

/** How urgent it is. What is renewed by itself has some hours left when something is wrong. */
export function levelOf({ at, trouble, what }: Deadline, now: number): 'good' | 'warn' | 'bad' {
  const left = at - now
  if (left <= 0 || trouble !== '') return 'bad'
  return left < (what === 'CA' ? 30 * 24 : 4) * hourMs ? 'warn' : 'good'
}

/** Where on a line from an hour to a year, from 0 to 1: each step is as long for hours as for months. */
export function placeOf(leftMs: number): number {
  const [from, to] = [Math.log(hourMs), Math.log(365 * 24 * hourMs)]
  return Math.min(1, Math.max(0, (Math.log(Math.max(leftMs, 1)) - from) / (to - from)))
}
