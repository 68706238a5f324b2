/**
 * The Rényi divergence of the Gaussian mechanism on a sample of fixed size (Wang, Balle and Kasiviswanathan, "Subsampled
 * Rényi Differential Privacy and Analytical Moments Accountant", 2019, theorem 27). Two data sets are neighbours if one node
 * of the same population has other data. An upper bound, as in Google's accountant.
 */

/** From this order on the moments are bounded by a simpler term, as in Google's accountant. */
const exactOrdersMax = 256

/** The divergences of one release at these orders, in which `rate` is the share of the nodes that take part. */
export function fixedSampleRdps(orders: readonly number[], noiseMultiplier: number, rate: number): number[] {
  if (rate === 1) return orders.map((order) => order / (2 * noiseMultiplier ** 2))
  const bound = new MomentBound(noiseMultiplier, rate)
  return orders.map((order) => {
    const [below, above] = [Math.floor(order), Math.ceil(order)]
    const share = order - below
    // Corollary 10: the cumulants are convex between whole orders.
    const cumulant = (1 - share) * bound.cumulant(below) + share * bound.cumulant(above)
    return cumulant / (order - 1)
  })
}

class MomentBound {
  readonly #sigma: number
  readonly #logRate: number
  readonly #cumulants = new Map<number, number>()
  readonly #moments = new Map<number, number>()

  constructor(sigma: number, rate: number) {
    this.#sigma = sigma
    this.#logRate = Math.log(rate)
  }

  /** Returns ln(1 + Σ over i from 2 of C(α, i) q^i bound(i)). */
  cumulant(order: number): number {
    const known = this.#cumulants.get(order)
    if (known !== undefined) return known
    let sum = order === 1 ? Number.NEGATIVE_INFINITY : 0
    let logBinomial = Math.log(order)
    for (let i = 2; i <= order; i++) {
      logBinomial += Math.log(order - i + 1) - Math.log(i)
      const term = this.#logBound(i, order) + i * this.#logRate + logBinomial
      sum = Math.max(sum, term) + Math.log1p(Math.exp(-Math.abs(sum - term)))
    }
    const cumulant = order === 1 ? 0 : sum
    this.#cumulants.set(order, cumulant)
    return cumulant
  }

  /** The smaller of two bounds: 2 e^(i (i - 1) / 2σ²), and 4 times the central moments of the ratio of the densities. */
  #logBound(i: number, order: number): number {
    const simple = Math.LN2 + (i * (i - 1)) / (2 * this.#sigma ** 2)
    if (i === 2) return Math.min(simple, 2 * Math.LN2 + this.#logMoment(2))
    if (order > exactOrdersMax) return simple
    const [lower, upper] = [2 * Math.floor(i / 2), 2 * Math.ceil(i / 2)]
    return Math.min(simple, 2 * Math.LN2 + (this.#logMoment(lower) + this.#logMoment(upper)) / 2)
  }

  #logMoment(n: number): number {
    const known = this.#moments.get(n)
    if (known !== undefined) return known
    const moment = logCentralMoment(n, 1 / this.#sigma)
    this.#moments.set(n, moment)
    return moment
  }
}

/** Fine enough: the trapezoid rule converges faster than any power for such densities. */
const step = 0.1
/** A normal density is below any double at this distance from a peak, also times the powers here. */
const reach = 40

/**
 * Returns ln E[(e^(μz - μ²/2) - 1)^n] for a normal z and even n. It is computed as an integral, because the sum of binomials
 * cancels in double precision. The integrand has two peaks, near 0 and near nμ.
 */
function logCentralMoment(n: number, mu: number): number {
  const right = n * mu
  const ranges: [number, number][] =
    right <= 2 * reach
      ? [[-reach, right + reach]]
      : [
          [-reach, reach],
          [right - reach, right + reach],
        ]
  const logs = ranges.flatMap(([from, to]) =>
    Array.from({ length: Math.ceil((to - from) / step) }, (_, index) => {
      const z = from + index * step
      return n * logAbsExpm1(mu * z - mu ** 2 / 2) - z ** 2 / 2
    }),
  )
  const largest = logs.reduce((most, log) => Math.max(most, log), Number.NEGATIVE_INFINITY)
  const sum = logs.reduce((total, log) => total + Math.exp(log - largest), 0)
  return largest + Math.log(sum * step) - Math.log(2 * Math.PI) / 2
}

/** Returns ln |e^x - 1|, also where e^x is larger than any double. */
function logAbsExpm1(x: number): number {
  return x > 1 ? x + Math.log1p(-Math.exp(-x)) : Math.log(Math.abs(Math.expm1(x)))
}
