/** Lengths of time, instants and states in the words of the page. */

/** `55 s`, `2 min`, `3 h 20 min`, `1 d 4 h`. */
export function lengthText(ms: number): string {
  const seconds = Math.max(0, Math.floor(ms / 1000))
  if (seconds < 90) return `${seconds} s`
  const minutes = Math.floor(seconds / 60)
  if (minutes < 60) return `${minutes} min`
  const hours = Math.floor(minutes / 60)
  if (hours < 24) return minutes % 60 === 0 ? `${hours} h` : `${hours} h ${minutes % 60} min`
  return hours % 24 === 0 ? `${Math.floor(hours / 24)} d` : `${Math.floor(hours / 24)} d ${hours % 24} h`
}

/** How long ago; empty for an instant that has not come. */
export function agoText(iso: string, now: number): string {
  const at = Date.parse(iso)
  return Number.isNaN(at) ? '' : `${lengthText(now - at)} ago`
}

export function bytesText(bytes: number): string {
  const units = ['B', 'KB', 'MB', 'GB', 'TB']
  let unit = 0
  let value = bytes
  for (; value >= 1024 && unit < units.length - 1; unit++) value /= 1024
  return `${unit > 0 && value < 10 ? value.toFixed(1) : Math.floor(value)} ${units[unit]}`
}

/** A sign beside each state, because some people cannot tell colours apart. */
const signs: Readonly<Record<string, string>> = {
  online: '●',
  offline: '○',
  running: '▲',
  pending: '◌',
  starting: '◌',
  completed: '✓',
  failed: '✗',
  stopped: '■',
  draining: '◐',
  blocked: '✗',
  unregistered: '–',
}

export function signOf(state: string): string {
  return signs[state] ?? '·'
}

/** A certificate: days left, or what is wrong. */
export function certificateText(
  { auth, certificateEnds, renewalFails }: { auth: string; certificateEnds: string; renewalFails: boolean },
  now: number,
): { text: string; level: 'good' | 'warn' | 'bad' } {
  if (auth !== 'certificate') return { text: 'key', level: 'good' }
  const left = Date.parse(certificateEnds) - now
  if (Number.isNaN(left)) return { text: 'certificate', level: 'good' }
  if (left <= 0) return { text: 'certificate has expired', level: 'bad' }
  const text = `certificate, ${lengthText(left)} left`
  if (renewalFails) return { text: `${text}, renewal fails`, level: 'bad' }
  return { text, level: left < 86_400_000 ? 'warn' : 'good' }
}
