import { isNotStored } from '../../base/full-disk.ts'
import type { NodeId } from '../../base/ids.ts'
import { limits } from '../../base/limits.ts'
import type { AfterCommit, Database, Db } from '../../db/database.ts'
import { heartbeatPatience, type Node } from './node.ts'
import * as nodeStore from './node-store.ts'

interface Known {
  node: Node
  /** Whether its last heartbeat is not in the database yet. */
  isUnwritten: boolean
}

/**
 * The nodes that call, in memory: each call of a node asks for its row, and each heartbeat changes nothing but a date. These
 * dates are written together, every few seconds; a crash loses the last ones, and a start gives every node a whole
 * period. Everything else that changes a node goes through `update`, which forgets what is known once it is committed.
 */
export class KnownNodes {
  readonly #db: Database
  readonly #nodes = new Map<NodeId, Known>()
  /** Counts changes, so that a row that was read before one is not kept after it. */
  #changes = 0
  #timer: NodeJS.Timeout | undefined
  #written: Promise<void> = Promise.resolve()

  constructor(db: Database) {
    this.#db = db
  }

  /** The node as it is now, its last heartbeat included. */
  async find(nodeId: NodeId): Promise<Node | undefined> {
    const known = this.#nodes.get(nodeId)
    if (known) return known.node
    const changes = this.#changes
    const node = await nodeStore.find(this.#db.read, nodeId)
    if (node && changes === this.#changes) this.#keep(node)
    return node
  }

  /**
   * A node is alive. Returns false, and does nothing, if more changes than the date: then the heartbeat is a transaction.
   */
  beat(nodeId: NodeId, intervalMs: number, now: number): boolean {
    const known = this.#nodes.get(nodeId)
    if (known?.node.status !== 'online' || known.node.heartbeatIntervalMs !== intervalMs) return false
    if ((known.node.onlineUntil ?? 0) <= now) return false
    known.node = { ...known.node, onlineUntil: now + heartbeatPatience * intervalMs }
    known.isUnwritten = true
    this.#timer ??= setTimeout(() => void this.flush().catch(() => {}), limits.heartbeatsWrittenEveryMs).unref()
    return true
  }

  /** Until when the node of this row is online: a later heartbeat may not have been written yet. */
  onlineUntil({ nodeId, onlineUntil = 0 }: Node): number {
    return Math.max(onlineUntil, this.#nodes.get(nodeId)?.node.onlineUntil ?? 0)
  }

  /**
   * When the node of this row last sent a heartbeat; `undefined` if it never did. It follows from `onlineUntil`: after a start
   * of the SuperLink, or a time with a full disk, it is that instant until the node sends the next.
   */
  lastSeenAt(node: Node): number | undefined {
    const until = this.onlineUntil(node)
    return until === 0 ? undefined : until - heartbeatPatience * node.heartbeatIntervalMs
  }

  /** Changes a node within a transaction. */
  async update(tx: Db, afterCommit: AfterCommit, nodeId: NodeId, change: nodeStore.NodeChange): Promise<void> {
    await nodeStore.update(tx, nodeId, change)
    afterCommit(() => {
      this.#changes += 1
      this.#nodes.delete(nodeId)
    })
  }

  /**
   * Forgets what is known, after a time in which the database was out of reach: a change may have been committed without the
   * response, so without its effects. Call it when every online node has been given a whole period: unwritten heartbeats are lost.
   */
  forgetAll(): void {
    this.#changes += 1
    this.#nodes.clear()
  }

  /** Resolves when all heartbeats that came before are written. If nothing can be stored for now, they are written later. */
  async flush(): Promise<void> {
    clearTimeout(this.#timer)
    this.#timer = undefined
    const written = this.#written.then(() => this.#write())
    // A failure is reported to this caller alone: the next write is tried all the same.
    this.#written = written.catch(() => {})
    await written
  }

  async #write(): Promise<void> {
    const written = [...this.#nodes.values()].filter(({ isUnwritten }) => isUnwritten)
    if (written.length === 0) return
    const beats = written.map((known) => ({ known, node: known.node }))
    try {
      await this.#db.transaction((tx) =>
        nodeStore.prolong(
          tx,
          beats.map(({ node }) => node),
        ),
      )
    } catch (error) {
      if (!isNotStored(error)) throw error
      return
    }
    for (const { known, node } of beats) if (known.node === node) known.isUnwritten = false
  }

  #keep(node: Node): void {
    if (this.#nodes.size >= limits.knownNodesMax) this.#dropOldest()
    this.#nodes.set(node.nodeId, { node, isUnwritten: false })
  }

  #dropOldest(): void {
    for (const [nodeId, { isUnwritten }] of this.#nodes) {
      if (isUnwritten) continue
      this.#nodes.delete(nodeId)
      return
    }
  }
}
