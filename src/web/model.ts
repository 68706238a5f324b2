/** What `flwr dashboard` sends to its page as JSON. Ids are texts, because JavaScript's numbers do not hold them. */

export interface NodeView {
  readonly id: string
  readonly name: string
  readonly status: string
  /** 'open' | 'draining' | 'blocked' */
  readonly admission: string
  readonly identity: string
  readonly organization: string
  /** 'certificate' | 'key' | '' */
  readonly auth: string
  /** Since when it has its status; ISO 8601, or empty. */
  readonly since: string
  readonly certificateEnds: string
  readonly renewalFails: boolean
  /** Name and release of its program; empty if it does not say. */
  readonly release: string
  /** Its last heartbeat; ISO 8601, or empty. */
  readonly lastContact: string
  /** How long the last reply took; 0 if that is not known. */
  readonly lastReplySeconds: number
}

export interface RunView {
  readonly id: string
  readonly app: string
  readonly status: string
  readonly subStatus: string
  readonly details: string
  readonly owner: string
  /** Of the certificate that started it; or empty. */
  readonly organization: string
  readonly federation: string
  readonly fabHash: string
  readonly pendingAt: string
  readonly runningAt: string
  readonly finishedAt: string
  readonly bytesSent: number
  readonly bytesReceived: number
  readonly clientSeconds: number
  readonly waitingFor: string
  readonly waitingSince: string
  readonly remedy: string
  readonly config: Readonly<Record<string, string>>
}

export interface SecurityState {
  /** 'own' or 'ca'. */
  readonly certificates: readonly { readonly kind: string; readonly subject: string; readonly ends: string }[]
  readonly lists: readonly { readonly issuer: string; readonly due: string }[]
  readonly refusals: readonly {
    readonly reason: string
    readonly count: number
    readonly lastAt: string
    /** The last peer; empty for callers that are no admin. */
    readonly peer: string
    readonly sentence: string
  }[]
}

export interface FleetState {
  readonly superlink: string
  /** The page shows no buttons that change something: a wall screen. */
  readonly readOnly: boolean
  /** The SuperLink's time at the last look; empty before the first. */
  readonly at: string
  /** Set while the SuperLink does not respond, or refuses the caller. */
  readonly problem: { readonly sentence: string; readonly since: string } | undefined
  readonly nodes: readonly NodeView[]
  readonly runs: readonly RunView[]
  /** Absent if the SuperLink is one of Flower's. */
  readonly security: SecurityState | undefined
  /** There are older runs than these. */
  readonly moreRuns: boolean
}

/** What the nodes of a run do and did. Instants are epoch milliseconds. */
export interface RunNodesState {
  /** Those whose replies are missing first, then the slowest. */
  readonly nodes: readonly {
    readonly id: string
    readonly name: string
    readonly replies: number
    readonly failures: number
    readonly lastSeconds: number
    readonly meanSeconds: number
    /** What it does with a message that it has not answered; empty if there is none. */
    readonly state: string
  }[]
  /** The newest first. */
  readonly phases: readonly PhaseView[]
}

/** The replies to messages that were sent together, e.g. those of one round's training. */
export interface PhaseView {
  readonly label: string
  readonly startedAt: number
  readonly endedAt: number
  /** The slowest first. */
  readonly spans: readonly NodeSpan[]
  /** How many quicker replies are left out. */
  readonly more: number
}

export interface NodeSpan {
  readonly id: string
  readonly name: string
  readonly askedAt: number
  /** 0: the message was never fetched. */
  readonly fetchedAt: number
  readonly repliedAt: number
  readonly failed: boolean
}

/** One event of a run: `trellis.progress`, `trellis.replies`, or one of the app's own. */
export interface RunEventView {
  readonly id: string
  readonly at: string
  readonly event: string
  /** JSON */
  readonly data: string
}
