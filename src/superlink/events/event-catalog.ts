/**
 * Everything that a SuperLink reports as an event, and the fields of each type. Types, JSON Schema and reference page are made
 * from this table. Types and fields are never renamed or removed: receivers are written by others.
 */

interface Field {
  readonly type: 'string' | 'integer'
  readonly description: string
  readonly pattern?: string
  readonly enum?: readonly string[]
}

const id = '^[0-9]{1,20}$'

export const eventFields = {
  sentence: { type: 'string', description: 'what happened, as one sentence for people' },
  run: { type: 'string', pattern: id, description: 'id of the run; a text, because it has 64 bits' },
  app: { type: 'string', description: 'publisher and name of the app' },
  version: { type: 'string', description: 'version of the app' },
  federation: { type: 'string', description: 'federation of the run' },
  account: { type: 'string', description: 'account that owns the run' },
  result: { type: 'string', enum: ['completed', 'failed', 'stopped'], description: 'how the run ended' },
  details: { type: 'string', description: 'why, if there is more to say' },
  node: { type: 'string', pattern: id, description: 'id of the SuperNode; a text, because it has 64 bits' },
  name: { type: 'string', description: 'name of the SuperNode: as registered, or the identity of its certificate' },
  identity: { type: 'string', description: 'identity in the certificate' },
  organization: { type: 'string', description: 'organisation in the certificate' },
  authentication: {
    type: 'string',
    enum: ['certificate', 'key', 'none'],
    description: 'how the SuperNode proves which one it is',
  },
  cause: {
    type: 'string',
    enum: ['left', 'silent', 'certificate-refused', 'blocked', 'unregistered'],
    description: 'why the SuperNode is offline',
  },
  admission: {
    type: 'string',
    enum: ['open', 'draining', 'blocked'],
    description: 'what operators let the SuperNode do',
  },
  kind: {
    type: 'string',
    enum: ['server', 'ca', 'node', 'crl'],
    description: 'certificate of the SuperLink, of a client CA or of a SuperNode; or a revocation list',
  },
  subject: { type: 'string', description: 'subject of the certificate, or issuer of the list' },
  serial: { type: 'string', description: 'serial number of the certificate in hexadecimal digits' },
  expires: { type: 'string', description: 'when it expires, or when the next list is due (RFC 3339)' },
  daysLeft: { type: 'integer', description: 'whole days until then; negative once it has expired' },
  files: { type: 'string', description: 'set of TLS files' },
  reason: { type: 'string', description: 'code of the refusal; see refusals.md' },
  address: { type: 'string', description: 'host of the last peer' },
  count: { type: 'integer', description: 'refusals of this peer for this reason since the last such event' },
} as const satisfies Readonly<Record<string, Field>>

type FieldName = keyof typeof eventFields

interface TypeRow {
  readonly when: string
  readonly required: readonly FieldName[]
  readonly optional?: readonly FieldName[]
}

export const eventTypes = {
  'run.started': {
    when: 'a run was created, by flwr run or flwr run --resume',
    required: ['sentence', 'run', 'app', 'version', 'federation', 'account', 'organization'],
  },
  'run.finished': {
    when: 'a run has ended',
    required: ['sentence', 'run', 'result'],
    optional: ['details'],
  },
  'node.registered': {
    when: 'the SuperLink knows a SuperNode for the first time',
    required: ['sentence', 'node', 'authentication'],
    optional: ['name', 'identity', 'organization'],
  },
  'node.online': {
    when: 'a SuperNode has joined, or is heard of again',
    required: ['sentence', 'node', 'authentication'],
    optional: ['name', 'identity', 'organization'],
  },
  'node.offline': {
    when: 'a SuperNode has left, or is not heard of any more',
    required: ['sentence', 'node', 'cause'],
    optional: ['name', 'identity', 'organization'],
  },
  'node.unregistered': {
    when: 'a SuperNode was removed for good',
    required: ['sentence', 'node'],
    optional: ['name', 'identity', 'organization'],
  },
  'node.admission': {
    when: 'an operator drains, blocks or opens a SuperNode',
    required: ['sentence', 'node', 'admission'],
    optional: ['name', 'identity', 'organization'],
  },
  'certificate.expiring': {
    when: '30, 14, 7, 3 and 1 days before a certificate expires, and when it has expired; for a revocation list, when the next one is overdue. If the SuperLink is down then, at its next start',
    required: ['sentence', 'kind', 'subject', 'expires', 'daysLeft'],
    optional: ['node', 'serial'],
  },
  'certificate.renewed': {
    when: 'a SuperNode shows a newer certificate, or the certificate of the SuperLink was replaced',
    required: ['sentence', 'kind', 'subject', 'serial', 'expires'],
    optional: ['node', 'organization'],
  },
  'certificate.renewal-failing': {
    when: 'files with certificates have changed and are not good: the last good ones stay in use',
    required: ['sentence', 'files', 'details'],
  },
  'certificate.revoked': {
    when: 'a peer was refused because its certificate is revoked; once for each certificate and start of the SuperLink',
    required: ['sentence', 'reason', 'serial'],
    optional: ['identity', 'organization', 'address'],
  },
  'peer.refused': {
    when: 'a connection or call was refused; at most one event a minute for each reason and peer',
    required: ['sentence', 'reason', 'count', 'address'],
    optional: ['identity', 'organization'],
  },
} as const satisfies Readonly<Record<string, TypeRow>>

export type EventType = keyof typeof eventTypes

type ValueOf<Name extends FieldName> = (typeof eventFields)[Name] extends { readonly enum: readonly (infer V)[] }
  ? V
  : (typeof eventFields)[Name]['type'] extends 'integer'
    ? number
    : string

type OptionalOf<Type extends EventType> = (typeof eventTypes)[Type] extends {
  readonly optional: readonly (infer Name extends FieldName)[]
}
  ? Name
  : never

export type EventData<Type extends EventType> = {
  readonly [Name in (typeof eventTypes)[Type]['required'][number]]: ValueOf<Name>
} & { readonly [Name in OptionalOf<Type>]?: ValueOf<Name> | undefined }

/** The JSON Schema (draft 2020-12) of an event as programs receive it: the envelope is that of CloudEvents 1.0. */
export function eventSchema(): object {
  return {
    $schema: 'https://json-schema.org/draft/2020-12/schema',
    title: 'An event of a Trellis SuperLink',
    type: 'object',
    required: ['specversion', 'id', 'source', 'type', 'time', 'sequence', 'datacontenttype', 'data'],
    properties: {
      specversion: { const: '1.0', description: 'release of CloudEvents' },
      id: { type: 'string', description: 'unique; the same if the event is delivered again' },
      source: { const: eventSource },
      type: { enum: Object.keys(eventTypes) },
      time: { type: 'string', description: 'when it happened (RFC 3339, UTC)' },
      sequence: {
        type: 'string',
        pattern: id,
        description: 'position among the events of this SuperLink: a later event has a higher number',
      },
      datacontenttype: { const: 'application/json' },
      data: { type: 'object' },
    },
    allOf: Object.entries<TypeRow>(eventTypes).map(([type, { when, required, optional = [] }]) => ({
      if: { properties: { type: { const: type } } },
      // biome-ignore lint/suspicious/noThenProperty: a keyword of JSON Schema
      then: {
        description: when,
        properties: {
          data: {
            type: 'object',
            required,
            properties: Object.fromEntries([...required, ...optional].map((name) => [name, eventFields[name]])),
          },
        },
      },
    })),
  }
}

export const eventSource = '/trellis/superlink'
