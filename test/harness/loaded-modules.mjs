import { registerHooks } from 'node:module'

/** Preloaded into a program with `--import`: at its end it writes a line on standard error for each module that was loaded. */
const loaded = []
registerHooks({
  load(url, context, nextLoad) {
    if (url.startsWith('file:')) loaded.push(url)
    return nextLoad(url, context)
  },
})
process.on('exit', () => process.stderr.write(loaded.map((url) => `loaded ${url}\n`).join('')))
