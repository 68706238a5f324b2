/**
 * Gives back the memory of large buffers that nothing uses any more, e.g. models of earlier rounds, at a moment when a program
 * waits. V8 would keep them until as many new ones have been made.
 */

/** Fewer bytes in buffers are left to V8. */
const bufferBytesMin = 64 * 1024 * 1024
/** A collection looks at all objects on the heap at once, 20 ms for 25 MB. A larger heap is left to V8, which does it in steps. */
const heapBytesMax = 96 * 1024 * 1024

/** Collects all garbage if there are large buffers. Does nothing in a program that was not started by `bin/node.sh`. */
export function collectLargeGarbage(gc: (() => void) | undefined = globalThis.gc): void {
  if (!gc) return
  const { arrayBuffers, heapUsed } = process.memoryUsage()
  if (arrayBuffers >= bufferBytesMin && heapUsed <= heapBytesMax) gc()
}
