import type { Control } from '../../gen/flwr/proto/control_pb.ts'
import type { Fleet } from '../../gen/flwr/proto/fleet_pb.ts'

/** Who may call what. A new RPC without a row does not compile. */
export type FleetMethod = 'joining-node' | 'node'

export const fleetAccess = {
  registerNode: 'joining-node',
  activateNode: 'joining-node',
  deactivateNode: 'node',
  unregisterNode: 'node',
  sendNodeHeartbeat: 'node',
  pullMessages: 'node',
  pushMessages: 'node',
  getRun: 'node',
  getFab: 'node',
  pushObject: 'node',
  pullObject: 'node',
  confirmMessageReceived: 'node',
} as const satisfies Record<keyof typeof Fleet.method, FleetMethod>

/**
 * Calls that change what others see are written to the audit log. What a node does all the time (heartbeats, objects) is
 * not: the reply that the objects belong to is.
 */
export const auditedMethods: ReadonlySet<keyof typeof Fleet.method | keyof typeof Control.method> = new Set([
  'registerNode',
  'activateNode',
  'deactivateNode',
  'unregisterNode',
  'pushMessages',
  'startRun',
  'stopRun',
  'createFederation',
  'archiveFederation',
  'addNodeToFederation',
  'removeNodeFromFederation',
  'removeAccountFromFederation',
  'createInvitation',
  'acceptInvitation',
  'rejectInvitation',
  'revokeInvitation',
  'configureSimulationFederation',
])
