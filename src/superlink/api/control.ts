import { controlAccess } from '../../access/table.ts'
import { isoTimestamp } from '../../base/clock.ts'
import { DomainError } from '../../base/errors.ts'
import type { RunId } from '../../base/ids.ts'
import { limits } from '../../base/limits.ts'
import { mapInTurns } from '../../base/turns.ts'
import { Control } from '../../gen/flwr/proto/control_pb.ts'
import { isNistPublicKey } from '../../identity/node-key.ts'
import { userConfigFromWire } from '../../message/wire.ts'
import { defineService, type Service } from '../../rpc/service.ts'
import { eventScopeOf, getRunOf } from '../access/accounts.ts'
import { type ControlOwned, controlOwners } from '../access/owners.ts'
import type { SuperlinkContext } from '../context.ts'
import { followEvents } from '../events/follow-events.ts'
import { defaultFederation, describeFederation } from '../federations/federation.ts'
import { parseAdmission, setAdmission } from '../nodes/admission.ts'
import * as nodeStore from '../nodes/node-store.ts'
import { expireNodes, registerKey, unregisterNode } from '../nodes/nodes.ts'
import { followRunEvents } from '../runs/events.ts'
import { findWait } from '../runs/find-wait.ts'
import { stopRun } from '../runs/finish.ts'
import { followLog } from '../runs/logs.ts'
import { resumeRun } from '../runs/resume.ts'
import { findRun, runToView, toRun } from '../runs/run.ts'
import * as runStore from '../runs/run-store.ts'
import { ensureFabGiven, startRun } from '../runs/start.ts'
import { configureFederation } from '../simulation/federation-settings.ts'
import { accountOfCall, type ControlCallers, controlCallers, ensureStillSees } from './authenticate.ts'
import { callerToWire } from './caller-wire.ts'
import { nodeToWire } from './node-wire.ts'
import { describeRunNodes } from './run-nodes-wire.ts'
import { securityToWire } from './security-wire.ts'
import { unservedControlCalls } from './unserved-calls.ts'

/** The Control API: what `flwr` asks for. */
export function createControlService(ctx: SuperlinkContext): Service {
  const now = (): string => isoTimestamp(ctx.clock.now())
  const describe = (row: runStore.RunRow) => runToView(toRun(row), ctx.progress.waits.find(row.run_id as RunId))
  const noManagement = (): never => {
    throw new DomainError('no-federation-management')
  }

  return defineService<typeof Control, ControlCallers, typeof controlAccess, ControlOwned>(Control, {
    access: controlAccess,
    callers: controlCallers(ctx),
    owners: controlOwners(ctx),
    unserved: unservedControlCalls,
    handlers: {
      async startRun(request, _call, caller) {
        if (request.appSpec !== '') {
          throw new DomainError(
            'unsupported',
            'This SuperLink does not fetch apps from Flower Hub: run the app from a folder.',
          )
        }
        // Flower answers an oversized FAB with neither run id nor error, and its clients know that.
        if ((request.fab?.content.length ?? 0) > limits.fabBytesMax) return {}
        if (request.resumeRunId !== undefined) {
          const run = await getRunOf(ctx.db.read, caller, request.resumeRunId as RunId)
          return { ...(await resumeRun(ctx, run, caller)), federation: run.federation }
        }
        const federation = request.federation === '' ? defaultFederation.name : request.federation
        if (federation !== defaultFederation.name) throw new DomainError('federation-not-found')
        const { runId, seriesId } = await startRun(ctx, {
          fab: ensureFabGiven(request.fab?.content),
          overrides: userConfigFromWire(request.overrideConfig),
          federation,
          simulation: request.overrideFederationConfig,
          owner: caller,
        })
        return { runId, seriesId, federation }
      },
      stopRun: async (_request, _call, _caller, { runId }) => ({ success: await stopRun(ctx, runId) }),
      streamLogs: (request, call, _caller, run) =>
        followLog(
          ctx,
          run.runId,
          request.afterTimestamp,
          call.signal,
          () => ensureStillSees(ctx, call, run),
          call.makeRoom,
        ),
      async *streamRunEvents(request, call, _caller, run) {
        const afterId = request.afterTaskEventId ?? 0n
        const check = (): void => ensureStillSees(ctx, call, run)
        for await (const taskEvent of followRunEvents(ctx, run.runId, afterId, call.signal, check)) yield { taskEvent }
      },
      showRunNodes: (_request, _call, _caller, run) => describeRunNodes(ctx, run.runId),
      async listRuns(request, _call, _caller, { owners, runId }) {
        await ctx.traffic.flush()
        if (runId !== undefined) {
          const run = await findRun(ctx.db.read, runId)
          if (!run) throw new DomainError('run-not-found')
          return { runDict: { [run.runId.toString()]: runToView(run, await findWait(ctx, run)) }, now: now() }
        }
        const rows = await runStore.list(ctx.db.read, {
          owners,
          limit: countOf(request.limit),
          skip: countOf(request.skip),
        })
        return {
          runDict: Object.fromEntries(rows.map((row) => [row.run_id.toString(), describe(row)])),
          now: now(),
        }
      },
      async registerNode(request, _call, caller) {
        if (ctx.requireCertificates) {
          throw new DomainError(
            'unsupported',
            'Not needed and nothing was changed: this SuperLink knows SuperNodes by certificates of its client CA, not by registered keys.',
          )
        }
        if (!isNistPublicKey(request.publicKey)) throw new DomainError('public-key-invalid')
        const publicKey = Buffer.from(request.publicKey).toString('latin1')
        return { nodeId: await registerKey(ctx, publicKey, caller, request) }
      },
      async unregisterNode(_request, _call, _caller, node) {
        await unregisterNode(ctx, node.nodeId)
        return {}
      },
      async setNodeAdmission(request, _call, _caller, node) {
        await setAdmission(ctx, node, parseAdmission(request.admission))
        return {}
      },
      async *streamEvents(request, call) {
        // Asked again before each page: the policy may have changed since the call began.
        const scope = () => eventScopeOf(accountOfCall(ctx, call))
        const options = { after: Number(request.afterSequence), follows: request.follow, scope }
        for await (const { oldest, events } of followEvents(ctx, options, call.signal)) {
          const shown = events.map(({ position, json }) => ({ sequence: BigInt(position), json }))
          yield { oldestSequence: BigInt(oldest), events: shown }
        }
      },
      showSecurity: async (_request, _call, caller) => securityToWire(ctx.security, caller, ctx.clock.now()),
      showCaller: (_request, _call, caller) => callerToWire(caller, ctx.clock.now()),
      async listNodes(_request, _call, caller) {
        await expireNodes(ctx)
        // Under mutual TLS nodes own themselves: every user of the Control API sees the fleet.
        const nodes = await nodeStore.list(ctx.db.read, caller.certificate ? undefined : caller.id)
        return {
          nodesInfo: await mapInTurns(nodes, (node) =>
            nodeToWire(node, {
              live: ctx.liveNodes,
              lastSeenAt: ctx.knownNodes.lastSeenAt(node),
              lastReplySeconds: ctx.progress.work.lastReplySecondsOf(node.nodeId),
            }),
          ),
          now: now(),
        }
      },
      listFederations: async () => ({ federations: [await describeFederation(ctx)] }),
      async showFederation(request, _call, caller, { owners }) {
        if (request.federationName !== defaultFederation.name) {
          throw new DomainError(
            'federation-not-member',
            `Federation '${request.federationName}' does not exist or you are not a member of it.`,
          )
        }
        const nodes = await nodeStore.list(ctx.db.read, caller.certificate ? undefined : caller.id)
        const runs = await runStore.list(ctx.db.read, { owners })
        return {
          federation: {
            ...(await describeFederation(ctx)),
            members: [{ account: { id: caller.id, name: caller.name }, role: 'owner' }],
            nodes: nodes.map((node) => nodeToWire(node, { live: ctx.liveNodes })),
            runs: runs.map((row) => runToView(toRun(row))),
          },
          now: now(),
        }
      },
      getLoginDetails: () => ({ authnType: 'noop' }),
      getAuthTokens() {
        throw new DomainError('no-account-authentication')
      },
      pullArtifacts() {
        throw new DomainError('no-artifact-provider')
      },
      createFederation: noManagement,
      archiveFederation: noManagement,
      addNodeToFederation: noManagement,
      removeNodeFromFederation: noManagement,
      removeAccountFromFederation: noManagement,
      createInvitation: noManagement,
      listInvitations: noManagement,
      acceptInvitation: noManagement,
      rejectInvitation: noManagement,
      revokeInvitation: noManagement,
      async configureSimulationFederation(request) {
        const federationName = request.federationName || defaultFederation.name
        if (!ctx.simulation || federationName !== defaultFederation.name) throw new DomainError('federation-not-found')
        await configureFederation(ctx, ctx.simulation.machine, federationName, request.config)
        return { federationName }
      },
    },
  })
}

function countOf(value: bigint | undefined): number | undefined {
  return value === undefined ? undefined : Number(value < Number.MAX_SAFE_INTEGER ? value : Number.MAX_SAFE_INTEGER)
}
