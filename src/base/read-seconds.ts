/** Returns a length of time that a peer has sent, or `undefined` unless it is finite and not negative: a database refuses NaN. */
export function readSeconds(value: unknown): number | undefined {
  const seconds = Number(value ?? Number.NaN)
  return Number.isFinite(seconds) && seconds >= 0 ? seconds : undefined
}
