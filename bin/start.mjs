// An import of a module of Node reads all that it exports, which loads further ones: a tenth of a start.
const { existsSync } = process.getBuiltinModule('node:fs')
const { enableCompileCache } = process.getBuiltinModule('node:module')
const { join } = process.getBuiltinModule('node:path')

// This file is JavaScript so that the compile cache is enabled before the first TypeScript: loading what strips types takes
// longer than the rest of a short program. Without a writable cache folder programs only start a little slower.
enableCompileCache()
const source = join(import.meta.dirname, '..', 'src', 'start.ts')
// A packed release holds compiled code; the repository runs as it is.
await import(existsSync(source) ? source : '../dist/start.js')
