// Loaded into a program (NODE_OPTIONS=--import): prints when it ends which memory it needed at most, and how many modules it loaded.
import { writeSync } from 'node:fs'
import { registerHooks } from 'node:module'

const modules = new Set()
registerHooks({
  load(url, context, next) {
    if (!url.startsWith('node:')) modules.add(url)
    return next(url, context)
  },
})
process.on('exit', () => {
  const megabytes = process.resourceUsage().maxRSS / 1024
  writeSync(2, `probe: ${JSON.stringify({ modules: modules.size, megabytes })}\n`)
})
