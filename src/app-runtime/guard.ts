import { Worker } from 'node:worker_threads'

/**
 * Ends this process when its parent is gone, even while the app keeps the main thread busy: an app that computes for an
 * hour without a pause must not outlive the program that started it. Runs in a thread of its own for that reason. The end of
 * the parent is recognised as by `watchParent`: its id alone would remain until the process is reaped.
 */
export function guardParent(parentPid: number | undefined): void {
  if (parentPid === undefined) return
  const worker = new Worker(script, {
    eval: true,
    workerData: { parentPid, isChild: process.ppid === parentPid, ownPid: process.pid },
    resourceLimits: { maxOldGenerationSizeMb: 16, maxYoungGenerationSizeMb: 4 },
  })
  worker.unref()
}

/** The first signal lets the app report; the second is for those that do not listen. */
const script = `
const { workerData: { parentPid, isChild, ownPid } } = require('node:worker_threads')
function isGone() {
  if (isChild) return process.ppid !== parentPid
  try {
    process.kill(parentPid, 0)
    return false
  } catch (error) {
    return error.code === 'ESRCH'
  }
}
let gone = 0
setInterval(() => {
  if (!isGone()) return
  gone += 1
  if (gone === 1) process.kill(ownPid, 'SIGTERM')
  else if (gone > 15) process.kill(ownPid, 'SIGKILL')
}, 200)
`
