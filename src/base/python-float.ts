/** As Python's `str(float)`: always with a point or an exponent of at least two digits. */
export function pythonFloat(value: number): string {
  if (Number.isNaN(value)) return 'nan'
  if (!Number.isFinite(value)) return value > 0 ? 'inf' : '-inf'
  const magnitude = Math.abs(value)
  if (magnitude !== 0 && (magnitude >= 1e16 || magnitude < 1e-4)) {
    return value.toExponential().replace(/e([+-])(\d)$/, 'e$10$2')
  }
  const text = String(value)
  return text.includes('.') || text.includes('e') ? text : `${Object.is(value, -0) ? '-0' : text}.0`
}

/** As Python's `%.6g` with that many digits: no zeros at the end, and an exponent only for large and small numbers. */
export function pythonGeneral(value: number, digits = 6): string {
  if (!Number.isFinite(value)) return pythonFloat(value)
  const [mantissa = '', exponent = '0'] = value.toExponential(digits - 1).split('e')
  const power = Number(exponent)
  if (power < -4 || power >= digits) {
    const sign = power < 0 ? '-' : '+'
    return `${withoutZeros(mantissa)}e${sign}${String(Math.abs(power)).padStart(2, '0')}`
  }
  return withoutZeros(value.toFixed(digits - 1 - power))
}

function withoutZeros(text: string): string {
  return text.includes('.') ? text.replace(/\.?0+$/, '') : text
}

/** As Python's `%.4f` with that many digits: a number exactly halfway is rounded to the even digit, not up. */
export function pythonFixed(value: number, digits: number): string {
  if (!Number.isFinite(value)) return pythonFloat(value)
  const scaled = Math.abs(value) * 10 ** digits
  const below = Math.floor(scaled)
  // A double that is halfway in decimals has few binary digits, so that scaling it is exact.
  if (scaled - below !== 0.5 || below % 2 === 1) return value.toFixed(digits)
  return `${value < 0 ? '-' : ''}${(below / 10 ** digits).toFixed(digits)}`
}
