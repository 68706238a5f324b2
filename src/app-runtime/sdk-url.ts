import { extname } from 'node:path'

/** Where `trellis-fl` is found: in the repository or, compiled, in a packed release. */
export const sdkUrl = new URL(`../sdk/index${extname(import.meta.filename)}`, import.meta.url).href
