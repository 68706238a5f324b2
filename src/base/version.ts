/** Our own version, and the Flower releases whose wire we speak. */
export const trellisVersion = '0.1.0'
export const flowerGrpcVersion = '1.29.0'
export const flowerHttpVersion = '1.41.0'
