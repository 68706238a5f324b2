import { agoText } from '../web/words.ts'

/** Lengths of time, sizes and instants as people read them. */

/** `55s`, `2m 5s`, `3h 20m`, `1d 4h`. */
export function durationText(seconds: number): string {
  const whole = Math.floor(seconds)
  if (whole < 90) return `${whole}s`
  if (whole < 3600) return `${Math.floor(whole / 60)}m ${whole % 60}s`
  if (whole < 86_400) return `${Math.floor(whole / 3600)}h ${Math.floor((whole % 3600) / 60)}m`
  return `${Math.floor(whole / 86_400)}d ${Math.floor((whole % 86_400) / 3600)}h`
}

/** 1024-based: `512 B`, `1.5 KB`, `20 MB`. */
export function bytesText(bytes: number): string {
  const units = ['B', 'KB', 'MB', 'GB', 'TB']
  let unit = 0
  let value = bytes
  while (value >= 1024 && unit < units.length - 1) {
    value /= 1024
    unit += 1
  }
  return `${unit > 0 && value < 10 ? value.toFixed(1) : Math.floor(value)} ${units[unit]}`
}

/** `2026-11-25 10:20:30Z`, or `N/A` for an instant that has not come. */
export function instantText(iso: string | undefined): string {
  return iso ? `${iso.slice(0, 19).replace('T', ' ')}Z` : 'N/A'
}

/**
 * Returns how long ago an instant was: `3 min ago`. In a table of unbounded width, for a file or with `--wide`, it returns the
 * instant itself. Empty for an instant that has not come.
 */
export function sinceText(iso: string | undefined, now: string, width: number): string {
  if (!iso || width === Number.POSITIVE_INFINITY) return instantText(iso)
  return agoText(iso, Date.parse(now))
}

/** Seconds from one instant to another; 0 when either has not come. */
export function secondsBetween(from: string | undefined, to: string | undefined): number {
  if (!from || !to) return 0
  return (Date.parse(to) - Date.parse(from)) / 1000
}
