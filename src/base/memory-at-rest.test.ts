import assert from 'node:assert/strict'
import { test } from 'node:test'
import { giveBackMemory, type OwnMemory } from './memory-at-rest.ts'

const MiB = 1024 * 1024

interface Look {
  readonly workShare: number
  readonly reservedMiB: number
  readonly usedMiB?: number
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
    usedBytes: () => (look().usedMiB ?? 40) * MiB,
    collect: () => void seen.collected.push(number),
    trim: () => void seen.trimmed.push(number),
    [Symbol.dispose]() {},
  }
  await giveBackMemory({ clock, onRest: () => void seen.rests.push(number) }, stop.signal, memory)
  return seen
}

test('a program gives memory back when it is at rest, and again only after it has grown', async () => {
  const seen = await observe([
    { workShare: 0.9, reservedMiB: 200 },
    { workShare: 0.1, reservedMiB: 200 },
    { workShare: 0.1, reservedMiB: 201 },
    { workShare: 0.1, reservedMiB: 202 },
    { workShare: 0.8, reservedMiB: 260 },
    { workShare: 0.1, reservedMiB: 260 },
    { workShare: 0.7, reservedMiB: 260 },
    { workShare: 0.1, reservedMiB: 260 },
  ])
  assert.deepEqual(seen, { collected: [2, 6], rests: [2, 6], trimmed: [3, 8] })
})

test('a large heap is not collected at once: the program would respond to nothing meanwhile', async () => {
  const large = { workShare: 0.1, reservedMiB: 900, usedMiB: 600 }
  assert.deepEqual(await observe([large, large]), { collected: [], rests: [1], trimmed: [2] })
})
