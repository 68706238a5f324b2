import type { NodeInfo } from '../gen/flwr/proto/node_pb.ts'
import { float, type Json } from './output.ts'
import { type Column, table } from './table.ts'
import { durationText, instantText, secondsBetween, sinceText } from './units.ts'

/** Returns the table of `flwr supernode ls`. */
export function nodeTable(nodes: readonly NodeInfo[], now: string, width: number): string {
  if (nodes.length === 0) return 'There are no SuperNodes.'
  const certificates = nodes.some((node) => node.authMethod === 'certificate')
  const named = nodes.some((node) => node.name)
  const tagged = nodes.some((node) => Object.keys(node.tags).length > 0)
  const header: Column[] = [
    { title: 'Node ID', isId: true },
    ...(named ? [{ title: 'Name' }] : []),
    { title: 'Owner', rank: 5 },
    { title: 'Status', styleOf: nodeStyle },
    { title: 'Elapsed', rank: 4 },
    { title: width === Number.POSITIVE_INFINITY ? 'Status Changed @' : 'Changed', rank: 3 },
  ]
  if (certificates)
    header.push(
      { title: 'Identity', rank: named ? 2 : 0 },
      { title: 'Organization', rank: 6 },
      { title: 'Auth', rank: 7 },
      { title: 'Serial', rank: 8 },
      { title: 'Certificate Expires', rank: 1 },
    )
  if (tagged) header.push({ title: 'Tags', rank: 9 })
  const rows = nodes.map((node) => [
    node.nodeId.toString(),
    ...(named ? [node.name ?? ''] : []),
    node.ownerName,
    admissionText(node),
    node.status === 'online' ? durationText(secondsBetween(node.lastActivatedAt, now)) : '',
    sinceText(changedAt(node), now, width),
    ...(certificates
      ? [
          node.identity ?? '',
          node.organization ?? '',
          node.authMethod ?? '',
          node.certificateSerial ?? '',
          expiryText(node, now, width),
        ]
      : []),
    ...(tagged ? [tagsText(node)] : []),
  ])
  return table(header, rows, width)
}

function nodeStyle(status: string): 'green' | 'red' | 'yellow' {
  if (/blocked|unregistered/.test(status)) return 'red'
  return status === 'online' ? 'green' : 'yellow'
}

/** E.g. `gpu=a100, region=eu`. */
function tagsText({ tags }: NodeInfo): string {
  return Object.entries(tags)
    .map(([key, value]) => `${key}=${value}`)
    .toSorted()
    .join(', ')
}

/** E.g. `online (draining)`. */
function admissionText({ status, admission = 'open' }: NodeInfo): string {
  return admission === 'open' ? status : `${status} (${admission})`
}

function changedAt(node: NodeInfo): string | undefined {
  if (node.status === 'online') return node.lastActivatedAt
  if (node.status === 'offline') return node.lastDeactivatedAt
  return node.status === 'unregistered' ? node.unregisteredAt : undefined
}

function expiresAt({ certificateNotAfter }: NodeInfo): string | undefined {
  return certificateNotAfter === undefined ? undefined : new Date(certificateNotAfter * 1000).toISOString()
}

function expiryText(node: NodeInfo, now: string, width: number): string {
  const at = expiresAt(node)
  if (at === undefined) return ''
  const seconds = secondsBetween(now, at)
  const when = seconds > 0 ? `in ${durationText(seconds)}` : 'expired'
  const renewal = node.renewalFailing ? ', renewal fails' : ''
  return width === Number.POSITIVE_INFINITY ? `${instantText(at)} (${when}${renewal})` : `${when}${renewal}`
}

/** Whole days; negative once it has expired. */
function daysLeft(node: NodeInfo, now: string): number | null {
  const at = expiresAt(node)
  return at === undefined ? null : Math.floor(secondsBetween(now, at) / 86_400)
}

/** Returns a SuperNode as `--format json` writes it. */
export function nodeToJson(node: NodeInfo, now: string): Json {
  return {
    'node-id': node.nodeId.toString(),
    'owner-aid': node.ownerAid,
    'owner-name': node.ownerName,
    status: node.status,
    'created-at': instantText(node.registeredAt),
    'online-at': instantText(node.lastActivatedAt),
    'online-elapsed': float(secondsBetween(node.lastActivatedAt, now)),
    'offline-at': instantText(node.lastDeactivatedAt),
    'deleted-at': instantText(node.unregisteredAt),
    name: node.name ?? null,
    admission: node.admission ?? null,
    location: node.location ?? null,
    tags: { ...node.tags },
    identity: node.identity ?? null,
    organization: node.organization ?? null,
    'auth-method': node.authMethod ?? null,
    'certificate-serial': node.certificateSerial ?? null,
    'certificate-expires-at': instantText(expiresAt(node)),
    'certificate-days-left': daysLeft(node, now),
    'certificate-renewal': node.renewalFailing ? 'failing' : null,
  }
}
