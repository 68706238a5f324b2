import { isMainThread } from 'node:worker_threads'

/**
 * Loaded into each test file by `test.ts`. Ends a file that still runs after half an hour, for example because it keeps a
 * handle open: `--test-timeout` limits single tests only. The status makes the file fail, under its name.
 */
const limitMs = Number(process.env.TEST_FILE_LIMIT_MS ?? 30 * 60_000)

if (isMainThread)
  setTimeout(() => {
    process.stderr.write(`${process.argv[1]} has not ended after ${limitMs / 1000} s: it is stopped.\n`)
    process.exit(1)
  }, limitMs).unref()
