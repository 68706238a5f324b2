const listeners = new Set<() => void>()

/** Calls back at each SIGHUP until disposed: operators' way of saying that files have changed. */
export function onHangup(listener: () => void): Disposable {
  if (listeners.size === 0) process.on('SIGHUP', tellAll)
  listeners.add(listener)
  return {
    [Symbol.dispose]() {
      listeners.delete(listener)
      if (listeners.size === 0) process.off('SIGHUP', tellAll)
    },
  }
}

function tellAll(): void {
  for (const listener of listeners) listener()
}
