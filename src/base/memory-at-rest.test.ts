import assert from 'node:assert/strict'
import { test } from 'node:test'
import { giveBackMemory, type OwnMemory } from './memory-at-rest.ts'

const MiB = 1024 * 1024

interface Look {
  readonly workShare: number
  readonly reservedMiB: number
  readonly usedMiB?: number
}

/** Returns at which looks, counted from 1, memory was given back, and at which other parts of the program freed theirs. */
async function observe(looks: readonly Look[]): Promise<{ given: number[]; rests: number[] }> {
  const seen: { given: number[]; rests: number[] } = { given: [], rests: [] }
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
    giveBack: () => void seen.given.push(number),
    [Symbol.dispose]() {},
  }
  await giveBackMemory({ clock, onRest: () => void seen.rests.push(number) }, stop.signal, memory)
  return seen
}

test('a program gives memory back when it is at rest, and again only after it has grown', async () => {
  const { given, rests } = await observe([
    { workShare: 0.9, reservedMiB: 200 },
    { workShare: 0.1, reservedMiB: 200 },
    { workShare: 0.1, reservedMiB: 201 },
    { workShare: 0.8, reservedMiB: 260 },
    { workShare: 0.1, reservedMiB: 260 },
  ])
  assert.deepEqual(given, [2, 5])
  assert.deepEqual(rests, given)
})

test('a large heap is not collected at once: the program would respond to nothing meanwhile', async () => {
  const { given, rests } = await observe([{ workShare: 0.1, reservedMiB: 900, usedMiB: 600 }])
  assert.deepEqual(given, [])
  assert.deepEqual(rests, [1])
})
