/** `SIGHUP`: files have changed. `SIGUSR1`: log files were moved away. */
type OperatorSignal = 'SIGHUP' | 'SIGUSR1'

const listeners: Record<OperatorSignal, Set<() => void>> = { SIGHUP: new Set(), SIGUSR1: new Set() }
const tell: Record<OperatorSignal, () => void> = {
  SIGHUP: () => listeners.SIGHUP.forEach((listener) => void listener()),
  SIGUSR1: () => listeners.SIGUSR1.forEach((listener) => void listener()),
}

/** Calls back at each such signal until disposed. */
export function onOperatorSignal(signal: OperatorSignal, listener: () => void): Disposable {
  const registered = listeners[signal]
  if (registered.size === 0) process.on(signal, tell[signal])
  registered.add(listener)
  return {
    [Symbol.dispose]() {
      registered.delete(listener)
      if (registered.size === 0) process.off(signal, tell[signal])
    },
  }
}
