/** Our own version, and the Flower releases whose wire we speak. */
export const trellisVersion = '0.1.0'
export const flowerGrpcVersion = '1.29.0'
export const flowerHttpVersion = '1.41.0'
/** Minor releases of Flower 1 whose Runtime API is the one that we speak. */
export const flowerRuntimeReleases = [39, 42] as const
/** Minor releases of Flower 1 whose SuperNodes and `flwr` work with our SuperLink. */
export const flowerReleases = [27, 42] as const
