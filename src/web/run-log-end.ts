/** So much of the end of a log is kept. */
export const logCharactersMax = 500_000

/** Returns the end of a log, from the start of a line if there is one. */
export function endOfLog(text: string): string {
  if (text.length <= logCharactersMax) return text
  const end = text.slice(-logCharactersMax)
  return end.slice(end.indexOf('\n') + 1)
}
