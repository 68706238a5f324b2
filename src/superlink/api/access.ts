import { Control } from '../../gen/flwr/proto/control_pb.ts'
import { Fleet } from '../../gen/flwr/proto/fleet_pb.ts'

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
 * Calls that change what others see are written to the audit log; refusals of every call are. What a node does all the time
 * (heartbeats, objects) is no change: the reply that the objects belong to is. Apps act for a run whose start is there.
 */
const fleetChanges = {
  registerNode: true,
  activateNode: true,
  deactivateNode: true,
  unregisterNode: true,
  sendNodeHeartbeat: false,
  pullMessages: false,
  pushMessages: true,
  getRun: false,
  getFab: false,
  pushObject: false,
  pullObject: false,
  confirmMessageReceived: false,
} as const satisfies Record<keyof typeof Fleet.method, boolean>

const controlChanges = {
  startRun: true,
  stopRun: true,
  streamLogs: false,
  streamRunEvents: false,
  listRuns: false,
  getLoginDetails: false,
  getAuthTokens: true,
  pullArtifacts: false,
  registerNode: true,
  unregisterNode: true,
  listNodes: false,
  listFederations: false,
  showFederation: false,
  createFederation: true,
  archiveFederation: true,
  addNodeToFederation: true,
  removeNodeFromFederation: true,
  removeAccountFromFederation: true,
  createInvitation: true,
  listInvitations: false,
  acceptInvitation: true,
  rejectInvitation: true,
  revokeInvitation: true,
  configureSimulationFederation: true,
} as const satisfies Record<keyof typeof Control.method, boolean>

/** Whether a call of this service, by its local name, changes what others see. */
export function changesState(service: string, method: string): boolean {
  const changes: Readonly<Record<string, boolean>> =
    service === Fleet.typeName ? fleetChanges : service === Control.typeName ? controlChanges : {}
  return changes[method] === true
}
