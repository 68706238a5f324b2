import assert from 'node:assert/strict'
import { test } from 'node:test'
import { giveBackMemory, type OwnMemory } from './memory-at-rest.ts'

const MiB = 1024 * 1024

interface Look {
  readonly workShare: number
  readonly reservedMiB: number
  readonly connections?: number
}

interface Seen {
  readonly collected: number[]
  readonly rests: number[]
  readonly trimmed: number[]
}

/** Returns at which looks, counted from 1, garbage was collected, other parts of the program freed memory, and it was given back. */
async function observe(looks: readonly Look[]): Promise<Seen> {
  const seen: Seen = { collected: [], rests: [], trimmed: [] }
  const stop = new AbortController()
  let number = 0
  const look = (): Look => looks[number - 1] ?? { workShare: 1, reservedMiB: 0 }
  const clock = {
    async sleep(): Promise<void> {
      number += 1
      if (number > looks.length) stop.abort()
    },
  }
  const memory: OwnMemory = {
    workShare: () => look().workShare,
    reservedBytes: () => look().reservedMiB * MiB,
    collect() {
      seen.collected.push(number)
      return 40 * MiB
    },
    trim: () => void seen.trimmed.push(number),
  }
  const connections = (): number => look().connections ?? 0
  await giveBackMemory({ clock, connections, onRest: () => void seen.rests.push(number) }, stop.signal, memory)
  return seen
}

test('a program gives memory back when it is at rest, and again only after it has grown', async () => {
  const seen = await observe([
    { workShare: 0.9, reservedMiB: 200 },
    { workShare: 0.05, reservedMiB: 200 },
    { workShare: 0.05, reservedMiB: 201 },
    { workShare: 0.05, reservedMiB: 202 },
    { workShare: 0.8, reservedMiB: 260 },
    { workShare: 0.05, reservedMiB: 260 },
    { workShare: 0.7, reservedMiB: 260 },
    { workShare: 0.05, reservedMiB: 260 },
  ])
  assert.deepEqual(seen, { collected: [2, 6], rests: [2, 6], trimmed: [3, 8] })
})

test('garbage of thousands of connections is not collected at once: the program would respond to nothing meanwhile', async () => {
  const seen = await observe([
    { workShare: 0.05, reservedMiB: 100, connections: 500 },
    { workShare: 0.05, reservedMiB: 900, connections: 9_000 },
    { workShare: 0.05, reservedMiB: 920, connections: 1_000 },
  ])
  assert.deepEqual(seen, { collected: [1, 3], rests: [1, 2, 3], trimmed: [2, 3] })
})
