/**
 * Powers, exponentials and logarithms, rounded correctly: computed with 256 bits after the point. JavaScript's own differ
 * from those of the C library, which Python uses and which is wrong in the last bit only once in many thousand numbers.
 * They are slow (some ten microseconds), so they are for factors, not for arrays.
 */

const precision = 256n
const one = 1n << precision
/** What the errors of a computation can add up to, in units of its last bit. */
const slack = 1n << 40n

/** Returns base ** exponent. */
export function power(base: number, exponent: number): number {
  const native = base ** exponent
  // Everything special is the same everywhere; a negative base has a result for whole exponents only.
  if (!Number.isFinite(base) || !Number.isFinite(exponent) || base === 0 || exponent === 0 || Number.isNaN(native))
    return native
  if (Math.abs(exponent * Math.log2(Math.abs(base))) > 1100) return native
  const magnitude = rounded(...exponentialOf(product(logarithmOf(Math.abs(base)), exponent)))
  return native < 0 || Object.is(native, -0) ? -magnitude : magnitude
}

/** Returns e ** value. */
export function exponential(value: number): number {
  if (!Number.isFinite(value) || Math.abs(value) > 760 || value === 0) return Math.exp(value)
  return rounded(...exponentialOf(product(one, value)))
}

/** The natural logarithm. */
export function logarithm(value: number): number {
  if (!(value > 0) || !Number.isFinite(value) || value === 1) return Math.log(value)
  const fixed = logarithmOf(value)
  return fixed < 0n ? -rounded(-fixed, 0) : rounded(fixed, 0)
}

/** A positive double as mantissa * 2 ** exponent, with a whole mantissa. */
function partsOf(value: number): [mantissa: bigint, exponent: number] {
  const bits = new DataView(new ArrayBuffer(8))
  bits.setFloat64(0, value)
  const raw = bits.getBigUint64(0)
  const biased = Number((raw >> 52n) & 0x7ffn)
  const fraction = raw & 0xfffffffffffffn
  return biased === 0 ? [fraction, -1074] : [fraction | (1n << 52n), biased - 1075]
}

/** A fixed-point number times a double. */
function product(fixed: bigint, factor: number): bigint {
  if (factor === 0) return 0n
  const [mantissa, exponent] = partsOf(Math.abs(factor))
  const whole = fixed * (factor < 0 ? -mantissa : mantissa)
  return exponent >= 0 ? whole << BigInt(exponent) : whole >> BigInt(-exponent)
}

/** ln x = 2 artanh((x - 1) / (x + 1)), for a mantissa from 1 to 2. */
function logarithmOf(value: number): bigint {
  const [mantissa, exponent] = partsOf(value)
  const bits = mantissa.toString(2).length
  const fixed = (mantissa << precision) >> BigInt(bits - 1)
  return 2n * artanh(((fixed - one) << precision) / (fixed + one)) + BigInt(exponent + bits - 1) * logarithmOf2
}

function artanh(z: bigint): bigint {
  const square = (z * z) >> precision
  let sum = 0n
  let power = z
  for (let n = 1n; power !== 0n; n += 2n) {
    sum += power / n
    power = (power * square) / one
  }
  return sum
}

const logarithmOf2 = 2n * artanh(one / 3n)

/** e ** x = 2 ** k * e ** r, where the rest r is below ln 2 and its series converges quickly. */
function exponentialOf(fixed: bigint): [fixed: bigint, exponent: number] {
  let k = fixed / logarithmOf2
  if (fixed < 0n) k -= 1n
  const rest = fixed - k * logarithmOf2
  let sum = 0n
  let term = one
  for (let n = 1n; term !== 0n; n += 1n) {
    sum += term
    term = ((term * rest) >> precision) / n
  }
  return [sum, Number(k)]
}

/** The double nearest to a positive fixed-point number times 2 ** exponent; halfway, the even one. */
function rounded(fixed: bigint, exponent: number): number {
  const top = fixed.toString(2).length - 1
  // The exponent of the number, and how many bits a double has there: fewer than 53 below the normal range.
  const scale = top - Number(precision) + exponent
  const bits = Math.min(53, scale + 1075)
  if (bits < 0) return 0
  const dropped = BigInt(top + 1 - bits)
  const half = 1n << (dropped - 1n)
  let kept = fixed >> dropped
  const rest = fixed - (kept << dropped)
  const isHalf = rest - half < slack && half - rest < slack
  if (isHalf ? (kept & 1n) === 1n : rest > half) kept += 1n
  const unit = scale - bits + 1
  // In two steps: neither factor leaves the range, and the product is exact.
  return Number(kept) * 2 ** Math.max(unit, -1000) * 2 ** Math.min(0, unit + 1000)
}
