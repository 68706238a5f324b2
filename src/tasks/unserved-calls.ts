import { DomainError } from '../base/errors.ts'
import { flowerGrpcVersion, flowerRuntimeReleases, isRelease, trellisVersion } from '../base/version.ts'
import type { CallHead } from '../rpc/call.ts'
import type { UnservedCalls } from '../rpc/service.ts'

/** What programs of Flower may ask of the Runtime service that is not for us, and which releases of them we work for. */

const agents = (): DomainError =>
  new DomainError(
    'unsupported',
    'Trellis runs ServerApps and ClientApps, not agents, models, connectors or automations.',
  )

/** How SuperExecs of 1.35 to 1.38 ask for work. */
const older = (): DomainError => versionMismatch('is older than 1.39 and newer than 1.29')

export const unservedRuntimeCalls: UnservedCalls = {
  CreateTask: agents,
  PushTaskMessage: agents,
  PullTaskMessage: agents,
  RecordTaskUsage: agents,
  GetRunSeriesEvents: agents,
  GetCompactedContexts: agents,
  PutCompactedContext: agents,
  StartAutomation: agents,
  GetConnector: agents,
  PullPendingTasks: older,
  ClaimTask: older,
}

/**
 * Throws `version-mismatch` for SuperExecs and app processes of a release that asks for tasks in another way. Programs that
 * do not say their release are let in, as upstream does.
 */
export function checkRuntimeRelease(call: CallHead): void {
  const [version] = call.header('flwr-package-version')
  if (version !== undefined && !isRelease(version, flowerRuntimeReleases))
    throw versionMismatch(`is ${version.slice(0, 40)}`)
}

/** ServerAppIo and ClientAppIo are those of 1.29, whose programs do not say their release; 1.30 changed them. */
export function checkAppioRelease(call: CallHead): void {
  const [version] = call.header('flwr-package-version')
  if (version !== undefined) throw versionMismatch(`is ${version.slice(0, 40)} and asks over gRPC`)
}

function versionMismatch(theirs: string): DomainError {
  const [first, last] = flowerRuntimeReleases
  return new DomainError(
    'version-mismatch',
    `The Flower of this program ${theirs}. Trellis ${trellisVersion} runs apps for SuperExecs of Flower ${flowerGrpcVersion} and 1.${first} to 1.${last}.`,
  )
}
