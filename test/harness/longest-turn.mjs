// Loaded into a program of ours (NODE_OPTIONS=--import): measures the longest turn of its event loop, in processor time of
// the main thread, so the load of the machine adds nothing. SIGUSR2 prints the longest one since the last time.
import { writeSync } from 'node:fs'
import { isMainThread } from 'node:worker_threads'

if (isMainThread) {
  let longestMs = 0
  let looks = 0
  let last = process.threadCpuUsage()
  const look = () => {
    const now = process.threadCpuUsage()
    longestMs = Math.max(longestMs, (now.user - last.user + now.system - last.system) / 1000)
    last = now
  }
  // A timer that is due fires once in each turn: between two of its calls there is one long turn at most.
  setInterval(look, 1).unref()
  process.on('SIGUSR2', () => {
    look()
    looks += 1
    writeSync(2, `longest turn ${looks}: ${longestMs.toFixed(1)} ms\n`)
    longestMs = 0
  })
}
