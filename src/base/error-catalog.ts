import type { ErrorRow } from './error-row.ts'
import { nodeErrors } from './node-errors.ts'

export type { ErrorRow } from './error-row.ts'
export type { WireStatus } from './wire-status.ts'

/** Every refusal that a peer can see. Facts of the numbers and texts: `http-apis.md` 2.2 and `control-api-and-cli.md` 1.4. */
const catalog = {
  internal: { status: 'internal', sentence: 'Internal server error.' },
  unavailable: { status: 'unavailable', sentence: 'Temporarily unavailable. Try again.', showsDetail: true },
  'storage-full': {
    status: 'unavailable',
    sentence: 'The disk of the server is full, so nothing of this call was stored: its operator must free some space.',
    retryAfterSeconds: 5,
  },
  'quota-reached': {
    status: 'unavailable',
    sentence: 'A quota of the SuperLink leaves no room.',
    showsDetail: true,
    retryAfterSeconds: 5,
  },
  'storage-unavailable': {
    status: 'unavailable',
    sentence:
      'The object store of the server does not respond as it should, so this call had no effect: try again. Its operator finds the reason in its log.',
    retryAfterSeconds: 5,
  },
  'unknown-method': { status: 'unimplemented', sentence: 'Unknown method.', showsDetail: true },
  unsupported: { status: 'unimplemented', sentence: 'Not supported by this SuperLink.', showsDetail: true },
  'invalid-request': { status: 'invalid-argument', sentence: 'Invalid request.', showsDetail: true },
  'invalid-payload': { status: 'invalid-argument', number: 1003, sentence: 'Invalid protobuf payload.' },
  'content-type': {
    status: 'invalid-argument',
    httpStatus: 415,
    number: 1002,
    sentence: 'Unsupported Content-Type.',
  },
  'message-too-large': { status: 'resource-exhausted', sentence: 'Message too large.', showsDetail: true },
  'request-too-slow': { status: 'deadline-exceeded', sentence: 'Request too slow.', showsDetail: true },
  'deadline-exceeded': { status: 'deadline-exceeded', sentence: 'Deadline exceeded' },
  'too-many-bytes': {
    status: 'resource-exhausted',
    sentence: 'Too many bytes at the same time.',
    showsDetail: true,
    retryAfterSeconds: 5,
  },
  crowded: { status: 'unavailable', sentence: 'Crowded. Try again.', showsDetail: true, retryAfterSeconds: 5 },
  'too-many-calls': { status: 'unavailable', sentence: 'Too many calls.', showsDetail: true },

  // Identity of the caller
  'certificate-refused': {
    status: 'unauthenticated',
    number: 1008,
    sentence: 'Certificate refused.',
    showsDetail: true,
  },
  'no-certificate': {
    status: 'unauthenticated',
    number: 1008,
    sentence: 'No certificate.',
    showsDetail: true,
    refusesPeer: true,
  },
  'role-not-granted': {
    status: 'permission-denied',
    number: 9,
    sentence: 'Role not granted.',
    showsDetail: true,
    refusesPeer: true,
  },
  'too-many-connections': { status: 'resource-exhausted', sentence: 'Too many connections.', showsDetail: true },
  'node-of-another-identity': {
    status: 'permission-denied',
    number: 9,
    sentence: 'Node of another identity.',
    showsDetail: true,
    refusesPeer: true,
  },
  'identity-in-use': {
    status: 'permission-denied',
    number: 9,
    sentence: 'Identity in use.',
    showsDetail: true,
    refusesPeer: true,
  },
  'node-authentication-missing': {
    status: 'unauthenticated',
    sentence: 'Missing authentication metadata',
    httpSentence: 'Invalid SuperNode authentication',
  },
  'node-signature-invalid': {
    status: 'unauthenticated',
    sentence: 'Invalid signature',
    httpSentence: 'Invalid SuperNode authentication',
  },
  'node-timestamp-invalid': {
    status: 'unauthenticated',
    sentence: 'Invalid timestamp',
    httpSentence: 'Invalid SuperNode authentication',
  },
  'node-id-invalid': {
    status: 'unauthenticated',
    sentence: 'Invalid node ID',
    httpSentence: 'Invalid SuperNode authentication',
  },
  'not-of-this-task': {
    status: 'unauthenticated',
    number: 1008,
    sentence: 'Authentication failed.',
    showsDetail: true,
  },
  'token-invalid': { status: 'unauthenticated', number: 1008, sentence: 'Authentication failed.' },
  'version-mismatch': {
    status: 'failed-precondition',
    number: 1001,
    sentence: 'Runtime version compatibility check failed.',
    showsDetail: true,
  },

  ...nodeErrors,

  // Runs
  'run-not-found': { status: 'not-found', number: 16, sentence: 'Run ID not found', httpSentence: 'Run ID not found.' },
  'run-of-another-account': {
    status: 'permission-denied',
    number: 9,
    sentence: 'Run of another account.',
    showsDetail: true,
    refusesPeer: true,
  },
  'admin-required': {
    status: 'permission-denied',
    number: 9,
    sentence: 'Role admin required.',
    showsDetail: true,
    refusesPeer: true,
  },
  'too-many-runs': { status: 'failed-precondition', sentence: 'Too many runs have not finished.', showsDetail: true },
  'run-not-resumable': {
    status: 'failed-precondition',
    sentence: 'The run cannot be resumed',
    httpSentence: 'The run cannot be resumed.',
    showsDetail: true,
  },
  'checkpoint-too-large': {
    status: 'resource-exhausted',
    sentence: 'The checkpoint is too large',
    httpSentence: 'The checkpoint is too large.',
    showsDetail: true,
  },
  'run-finished': {
    status: 'failed-precondition',
    number: 18,
    sentence: 'Run is already finished',
    httpSentence: 'Run is already finished.',
    showsDetail: true,
  },
  'run-not-running': {
    status: 'permission-denied',
    number: 2007,
    sentence: 'Run is not running.',
    httpSentence: 'The current run status does not allow this Fleet API operation.',
    showsDetail: true,
  },
  'message-of-another': {
    status: 'permission-denied',
    number: 9,
    sentence: 'Message of another receiver.',
    showsDetail: true,
    refusesPeer: true,
  },
  'too-many-messages': { status: 'failed-precondition', sentence: 'Too many messages.', showsDetail: true },
  'message-source-mismatch': {
    status: 'permission-denied',
    number: 2011,
    sentence: 'Message source node ID does not match the authenticated SuperNode.',
  },
  'run-not-visible': { status: 'permission-denied', number: 2008, sentence: 'Failed to get run.', showsDetail: true },
  'fab-not-visible': { status: 'permission-denied', number: 2009, sentence: 'Failed to get FAB.', showsDetail: true },
  'run-config-invalid': {
    status: 'failed-precondition',
    number: 15,
    sentence: 'Invalid run configuration.',
    showsDetail: true,
  },
  'simulation-invalid': {
    status: 'failed-precondition',
    number: 15,
    sentence: 'Invalid simulation settings.',
    showsDetail: true,
  },
  'fab-invalid': { status: 'failed-precondition', number: 14, sentence: 'Invalid FAB.', showsDetail: true },
  'object-malformed': { status: 'failed-precondition', sentence: 'Malformed object.', showsDetail: true },
  'task-state': {
    status: 'failed-precondition',
    number: 3002,
    sentence: 'The task is not in the right state.',
    showsDetail: true,
  },
  'task-forbidden': {
    status: 'permission-denied',
    number: 3005,
    sentence: 'This task may not do that.',
    showsDetail: true,
  },
  'unexpected-node-id': {
    status: 'failed-precondition',
    number: 3004,
    sentence: 'Unexpected node ID.',
    showsDetail: true,
  },
  'message-count-invalid': {
    status: 'invalid-argument',
    number: 3013,
    sentence: 'Invalid number of messages or message object trees.',
    showsDetail: true,
  },
  'message-run-mismatch': {
    status: 'permission-denied',
    number: 3014,
    sentence: "Message run ID does not match the authenticated task's run ID.",
  },

  // Federations
  'no-federation-management': {
    status: 'unimplemented',
    number: 1,
    sentence: 'SuperLink does not support federation management.',
  },
  'federation-not-found': {
    status: 'not-found',
    number: 2,
    sentence: 'Federation not found, archived, or you cannot perform this action.',
  },
  'federation-not-specified': {
    status: 'failed-precondition',
    number: 12,
    sentence: 'No federation specified. You must specify a federation to perform this action.',
  },
  'federation-not-member': {
    status: 'failed-precondition',
    number: 26,
    sentence: 'Federation does not exist or you are not a member of it.',
    showsDetail: true,
  },
  'no-account-authentication': {
    status: 'unimplemented',
    number: 19,
    sentence: 'ControlServicer initialized without account authentication',
    httpSentence: 'ControlServicer initialized without account authentication.',
  },
  'no-artifact-provider': {
    status: 'unimplemented',
    number: 20,
    sentence: 'ControlServicer initialized without artifact provider',
    httpSentence: 'ControlServicer initialized without artifact provider.',
  },
} as const satisfies Record<string, ErrorRow>

export type ErrorCode = keyof typeof catalog
export const errorCatalog: Readonly<Record<ErrorCode, ErrorRow>> = catalog

/** The row of a reason for which a peer is refused; those that have none of their own are about the certificate. */
export function refusalRow(reason: string): ErrorRow {
  return errorCatalog[isErrorCode(reason) ? reason : 'certificate-refused']
}

function isErrorCode(reason: string): reason is ErrorCode {
  return Object.hasOwn(errorCatalog, reason)
}
