import { DomainError } from '../../base/errors.ts'
import { flowerReleases, trellisVersion } from '../../base/version.ts'
import type { UnservedCalls } from '../../rpc/service.ts'

/** What programs of Flower may ask a SuperLink for that ours does not do: each answer says so in a sentence for its user. */

const unsupported = (sentence: string) => (): DomainError => new DomainError('unsupported', sentence)

const agents = unsupported(
  'This SuperLink runs ServerApps and ClientApps, not agents, models, connectors or automations: flwr chat and the like need one of Flower.',
)
const apps = unsupported('This SuperLink keeps no list of apps: start one from its folder with flwr run FOLDER.')

export const unservedControlCalls: UnservedCalls = {
  ListRunSeries: agents,
  GetRunSeries: agents,
  UpdateRunSeriesDescription: agents,
  ListRunSeriesEvents: agents,
  StartAutomation: agents,
  ListAutomations: agents,
  StopAutomation: agents,
  ListConnectors: agents,
  DisconnectConnector: agents,
  BeginConnectorOAuth: agents,
  CompleteConnectorOAuth: agents,
  ListApps: apps,
  ListAppAssociations: apps,
  AddApp: apps,
  RemoveApp: apps,
  SetFederationIcon: () => new DomainError('no-federation-management'),
  RefreshAuthTokens: () => new DomainError('no-account-authentication'),
}

/** How SuperNodes before 1.27 join. */
const older = (): DomainError =>
  new DomainError(
    'version-mismatch',
    `The Flower of this SuperNode is older than 1.${flowerReleases[0]}. Trellis ${trellisVersion} works with Flower 1.${flowerReleases[0]} to 1.${flowerReleases[1]}.`,
  )

export const unservedFleetCalls: UnservedCalls = {
  CreateNode: older,
  DeleteNode: older,
  Ping: older,
  PullTaskIns: older,
  PushTaskRes: older,
}
