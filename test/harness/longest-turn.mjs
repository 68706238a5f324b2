// Loaded into a program of ours (NODE_OPTIONS=--import): measures the longest turn of its event loop, in processor time of
// the main thread, so the load of the machine adds nothing; and the most memory at the end of a turn, without files that are
// mapped into it. SIGUSR2 prints both since the last time, then collects garbage, if it may, and prints what memory is left.
import { openSync, readSync, writeSync } from 'node:fs'
import { isMainThread } from 'node:worker_threads'

if (isMainThread) {
  let longestMs = 0
  let mostBytes = 0
  let looks = 0
  let last = process.threadCpuUsage()
  const sizes = openSync('/proc/self/statm')
  const text = Buffer.alloc(128)
  const memory = () => {
    const [, resident, shared] = text.toString('latin1', 0, readSync(sizes, text, 0, text.length, 0)).split(' ')
    return (resident - shared) * 4096
  }
  const look = () => {
    const now = process.threadCpuUsage()
    longestMs = Math.max(longestMs, (now.user - last.user + now.system - last.system) / 1000)
    mostBytes = Math.max(mostBytes, memory())
    last = process.threadCpuUsage()
  }
  // A timer that is due fires once in each turn: between two of its calls there is one long turn at most.
  setInterval(look, 1).unref()
  process.on('SIGUSR2', () => {
    look()
    looks += 1
    const most = mostBytes
    globalThis.gc?.()
    mostBytes = memory()
    writeSync(2, `look ${looks}: ${longestMs.toFixed(1)} ms, most ${most}, left ${mostBytes}\n`)
    longestMs = 0
    last = process.threadCpuUsage()
  })
}
