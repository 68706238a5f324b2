import type { Clock } from '../base/clock.ts'
import type { Role } from '../identity/caller.ts'
import type { ClientTrust } from '../identity/client-trust.ts'
import type { FileSet } from '../identity/file-set.ts'
import { type JudgementInput, judge } from '../identity/judge.ts'
import { listsAndOcsp, type OcspChecks, pairsToAsk } from '../identity/revocation/ocsp-checks.ts'
import type { ListenerOptions } from '../rpc/listener.ts'

export interface PeerJudgement {
  readonly trusted: FileSet<ClientTrust>
  readonly ocsp: OcspChecks | undefined
  readonly clock: Clock
  readonly requireCertificate: boolean
  readonly role: Role | undefined
}

/** Judges the peers of a listener by what is in use at that moment. */
export function createPeerJudge({
  trusted,
  ocsp,
  clock,
  requireCertificate,
  role,
}: PeerJudgement): Pick<ListenerOptions, 'judge' | 'learn'> {
  const input = (chain: readonly Uint8Array[]): JudgementInput => ({
    ...{ chain, ...trusted.current(), now: clock.now(), requireCertificate },
    ...(role ? { role } : {}),
  })
  return {
    judge(chain, when) {
      const asked = input(chain)
      return judge({ ...asked, revocation: listsAndOcsp(asked.revocation, when === 'new' ? ocsp : ocsp?.open) })
    },
    ...(ocsp ? { learn: (chain) => ocsp.learn(pairsToAsk(input(chain))) } : {}),
  }
}
