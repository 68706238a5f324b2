/** Our own version, and the Flower releases whose wire we speak. */
export const trellisVersion = '0.1.0'
export const flowerGrpcVersion = '1.29.0'
export const flowerHttpVersion = '1.41.0'
/** Minor releases of Flower 1 whose Runtime API is the one that we speak. */
export const flowerRuntimeReleases = [39, 43] as const
/** Minor releases of Flower 1 whose SuperNodes and `flwr` work with our SuperLink. */
export const flowerReleases = [27, 43] as const

/** What a program of Flower should know whose release we do not know; `undefined` where all is well, or none is said. */
export function releaseWarning(version: string | undefined): string | undefined {
  if (version === undefined || isRelease(version, flowerReleases)) return undefined
  const [first, last] = flowerReleases
  return `This is Flower ${version.slice(0, 40)}; Trellis ${trellisVersion} was made for Flower 1.${first} to 1.${last}, so what is new may not work.`
}

/** Whether a release of Flower 1 is this minor one or a later one. */
export function isReleaseFrom(version: string, first: number): boolean {
  return isRelease(version, [first, Number.POSITIVE_INFINITY])
}

/** Whether a release of Flower 1 is between these two minor ones. */
export function isRelease(version: string, [first, last]: readonly [number, number]): boolean {
  const [, minor = ''] = /^1\.(\d{1,4})\b/.exec(version) ?? []
  return minor !== '' && Number(minor) >= first && Number(minor) <= last
}
