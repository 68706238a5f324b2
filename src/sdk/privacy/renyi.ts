/**
 * Rényi divergences of the Gaussian mechanism, and of the one in which each node takes part with a probability (Mironov,
 * Talwar and Zhang, "Rényi Differential Privacy of the Sampled Gaussian Mechanism", 2019).
 */

/** The divergence of one release without sampling: α / 2σ². */
export function gaussianRdp(order: number, noiseMultiplier: number): number {
  return order / (2 * noiseMultiplier ** 2)
}

/** The divergence of one release in which each node takes part with probability `rate`. */
export function sampledGaussianRdp(order: number, noiseMultiplier: number, rate: number): number {
  if (rate === 0) return 0
  if (rate === 1) return gaussianRdp(order, noiseMultiplier)
  const terms = Number.isInteger(order)
    ? wholeOrderTerms(order, noiseMultiplier, rate)
    : fractionalOrderTerms(order, noiseMultiplier, rate)
  return terms ? Math.max(0, logOfSum(terms) / (order - 1)) : Number.POSITIVE_INFINITY
}

/** Section 3.3: the sum over k of C(α, k) (1 - q)^(α - k) q^k exp((k² - k) / 2σ²). */
function wholeOrderTerms(order: number, sigma: number, rate: number): number[] {
  const [logRate, logRest] = [Math.log(rate), Math.log1p(-rate)]
  let logBinomial = 0
  return Array.from({ length: order + 1 }, (_, k) => {
    if (k > 0) logBinomial += Math.log(order - k + 1) - Math.log(k)
    return logBinomial + k * logRate + (order - k) * logRest + (k * k - k) / (2 * sigma ** 2)
  })
}

/** Terms below e^-30 of the sum are left out, as in Google's accountant. */
const negligible = 30
/** An order that needs more terms is left out, as there. */
const termsMax = 1000

/**
 * The same for orders with a fraction: two series, one for each side of the point where both densities are equal. From
 * some term on their signs alternate; as in Google's accountant all are added, which gives an upper bound.
 */
function fractionalOrderTerms(order: number, sigma: number, rate: number): number[] | undefined {
  const [logRate, logRest] = [Math.log(rate), Math.log1p(-rate)]
  const equal = sigma ** 2 * Math.log(1 / rate - 1) + 0.5
  const terms: number[] = []
  let logBinomial = 0
  let total = Number.NEGATIVE_INFINITY
  for (let i = 0; i < termsMax; i++) {
    const j = order - i
    const belowErfc = logHalfErfc((i - equal) / (Math.SQRT2 * sigma))
    const aboveErfc = logHalfErfc((equal - j) / (Math.SQRT2 * sigma))
    const below = logBinomial + i * logRate + j * logRest + (i * i - i) / (2 * sigma ** 2) + belowErfc
    const above = logBinomial + j * logRate + i * logRest + (j * j - j) / (2 * sigma ** 2) + aboveErfc
    const [lastBelow, lastAbove] = terms.slice(-2)
    terms.push(below, above)
    total = logOfSum([total, below, above])
    const isDecreasing = lastBelow !== undefined && lastAbove !== undefined && below < lastBelow && above < lastAbove
    if (isDecreasing && Math.max(below, above) < total - negligible) return terms
    logBinomial += Math.log(Math.abs(order - i)) - Math.log(i + 1)
  }
  return undefined
}

/** The logarithm of a sum of numbers by their logarithms: the numbers themselves leave the range of doubles. */
function logOfSum(logs: readonly number[]): number {
  const largest = logs.reduce((most, log) => Math.max(most, log), Number.NEGATIVE_INFINITY)
  return largest + Math.log(logs.reduce((total, log) => total + Math.exp(log - largest), 0))
}

/** ln(erfc(x) / 2), also where erfc(x) is smaller than any double. */
export function logHalfErfc(x: number): number {
  if (x < 0) return Math.log1p(-Math.exp(logHalfErfc(-x)))
  return x < 2 ? Math.log((1 - erfSeries(x)) / 2) : -x * x - Math.log(2 * Math.sqrt(Math.PI) * erfcFraction(x))
}

/** erf x = 2 / √π e^(-x²) Σ 2^n x^(2n + 1) / (2n + 1)!! */
function erfSeries(x: number): number {
  let term = x
  let sum = x
  for (let n = 1; term > sum * 1e-17; n++) {
    term *= (2 * x * x) / (2 * n + 1)
    sum += term
  }
  return (2 / Math.sqrt(Math.PI)) * Math.exp(-x * x) * sum
}

/** The continued fraction x + (1/2) / (x + (2/2) / (x + (3/2) / …)), from its end: erfc x = e^(-x²) / √π divided by it. */
function erfcFraction(x: number): number {
  let fraction = x
  for (let n = 200; n > 0; n--) fraction = x + n / 2 / fraction
  return fraction
}
