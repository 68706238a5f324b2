import type { ErrorRow } from './error-row.ts'

/** The rows of the error catalogue about SuperNodes: how they join, and what operators do with them. */
export const nodeErrors = {
  'nodes-register-by-cli': {
    status: 'failed-precondition',
    number: 2001,
    sentence: 'SuperNode authentication is enabled. All SuperNodes must be registered via the CLI.',
  },
  'nodes-unregister-by-cli': {
    status: 'failed-precondition',
    number: 2002,
    sentence: 'SuperNode authentication is enabled. All SuperNodes must be unregistered via the CLI.',
  },
  'heartbeat-interval-invalid': {
    status: 'invalid-argument',
    number: 2003,
    sentence: 'Invalid heartbeat interval',
    httpSentence: 'Invalid heartbeat interval.',
  },
  'public-key-in-use': {
    status: 'failed-precondition',
    number: 23,
    sentence: 'Public key already in use',
    httpSentence: 'Public key already in use.',
  },
  'node-label-invalid': {
    status: 'invalid-argument',
    number: 45,
    sentence: 'Invalid SuperNode location.',
    showsDetail: true,
  },
  'public-key-invalid': {
    status: 'failed-precondition',
    number: 22,
    sentence: 'The provided public key is not valid',
    httpSentence: 'The provided public key is not valid.',
  },
  'node-not-registered': {
    status: 'failed-precondition',
    number: 2004,
    sentence: 'No SuperNode found with the given public key.',
    httpSentence: 'Failed to activate SuperNode.',
  },
  'node-not-activated': {
    status: 'failed-precondition',
    number: 2004,
    sentence: 'SuperNode could not be activated.',
    httpSentence: 'Failed to activate SuperNode.',
    showsDetail: true,
  },
  'node-not-deactivated': {
    status: 'failed-precondition',
    number: 2005,
    sentence: 'SuperNode could not be deactivated.',
    httpSentence: 'Failed to deactivate SuperNode.',
    showsDetail: true,
  },
  'node-not-owned': {
    status: 'not-found',
    number: 24,
    sentence: 'Node ID not found for account',
    httpSentence: 'Node ID not found for account.',
  },
  'node-blocked': {
    status: 'permission-denied',
    number: 9,
    sentence: 'SuperNode blocked.',
    showsDetail: true,
    refusesPeer: true,
  },
} as const satisfies Record<string, ErrorRow>
