// Loaded into a program of ours (NODE_OPTIONS=--import) whose clock shall go wrong by TEST_CLOCK_OFFSET_MS.
const offset = Number(process.env.TEST_CLOCK_OFFSET_MS)
const now = Date.now
const RightDate = Date
Date.now = () => now() + offset
globalThis.Date = class extends RightDate {
  constructor(...parts) {
    super(...(parts.length === 0 ? [now() + offset] : parts))
  }
}
