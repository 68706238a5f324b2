import { randomBytes } from 'node:crypto'

declare const brand: unique symbol
type Branded<Name extends string> = bigint & { readonly [brand]: Name }

/** Unsigned 64-bit ids. They exceed 2^53, so they are never JavaScript numbers. */
export type NodeId = Branded<'NodeId'>
export type RunId = Branded<'RunId'>
export type TaskId = Branded<'TaskId'>
export type SeriesId = Branded<'SeriesId'>

/** The SuperLink's own node id, on both wires. */
export const superlinkNodeId = 1n as NodeId

/** A random id from 2 to 2^64 - 1: 0 means "none" on the wire and 1 is the SuperLink. */
export function randomId<Id extends bigint>(): Id {
  for (;;) {
    const id = randomBytes(8).readBigUInt64LE()
    if (id > 1n) return id as Id
  }
}
