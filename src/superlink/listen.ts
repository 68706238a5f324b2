import { LogThrottle } from '../base/log-throttle.ts'
import type { Metrics } from '../base/metrics.ts'
import type { AuditLog } from '../identity/audit.ts'
import type { Role } from '../identity/caller.ts'
import { tlsSourceOf } from '../identity/tls-reload.ts'
import { formatAddress, hostOf } from '../rpc/address.ts'
import type { BodyBudget } from '../rpc/body-budget.ts'
import { countRefusedRequests } from '../rpc/count-refused-requests.ts'
import type { Drain } from '../rpc/drain.ts'
import type { Site } from '../rpc/http-door.ts'
import type { Interceptor } from '../rpc/interceptor.ts'
import { type Listener, type ListenerOptions, startListener } from '../rpc/listener.ts'
import type { Service } from '../rpc/service.ts'
import { countPeers, tellConnections } from '../rpc/tls-metrics.ts'
import { auditCalls } from './api/audit-calls.ts'
import type { SuperlinkConfig } from './config.ts'
import type { SuperlinkContext } from './context.ts'
import type { Credentials } from './credentials.ts'
import { createPeerJudge } from './peer-judge.ts'

/** Returns a function that starts a listener of the SuperLink with its certificates, judge, audit log and metrics. */
export function createListen(
  config: SuperlinkConfig,
  { server, staple, clients: trusted, ocsp }: Credentials,
  ctx: SuperlinkContext,
  metrics: Metrics,
  { audit, ...shared }: { audit: AuditLog; interceptors: readonly Interceptor[]; bodyBudget: BodyBudget; drain: Drain },
) {
  const throttle = new LogThrottle(ctx.clock)
  const { clients } = config
  return async (
    name: string,
    address: string,
    services: readonly Service[],
    /** What peers must be; `undefined` where those with and without certificates come in. */
    role: Role | undefined,
    site?: Site,
  ): Promise<Listener> => {
    const options: ListenerOptions = {
      name,
      address,
      services,
      bodyBudget: shared.bodyBudget,
      drain: shared.drain,
      interceptors: [auditCalls(name, audit), countRefusedRequests(metrics, name), ...shared.interceptors],
      log: ctx.log,
      ...(server ? { tls: tlsSourceOf(server) } : {}),
      ...(site ? { site } : {}),
      ...(staple ? { staple: () => staple.current() } : {}),
      ...(clients.mode === 'none' || !trusted
        ? {}
        : {
            clientAuth: clients.mode,
            ...createPeerJudge({
              trusted,
              ocsp,
              clock: ctx.clock,
              requireCertificate: role !== undefined && clients.mode === 'require',
              role,
            }),
            onJudged: ({ peer, remoteAddress }) => {
              const refused = peer.kind === 'refused'
              // Apps have no certificate: each of their calls carries a token.
              if (peer.kind === 'anonymous') return
              audit({
                listener: name,
                method: 'connect',
                peerAddress: remoteAddress,
                peer,
                decision: refused ? 'refuse' : 'allow',
              })
              const fields = refused && throttle.admit(`${peer.reason} ${peer.identity} ${hostOf(remoteAddress)}`)
              if (fields)
                ctx.log.warn(`Refused a peer of the ${name}: ${peer.sentence}`, {
                  reason: peer.reason,
                  peer: remoteAddress,
                  identity: peer.identity,
                  ...fields,
                })
            },
          }),
    }
    const listener = await startListener({ ...options, ...countPeers(metrics, options) })
    tellConnections(metrics, name, listener, ctx.clock)
    ctx.log.info(`Flower Deployment Runtime: Starting ${name} on ${formatAddress(listener.address)}`)
    return listener
  }
}
