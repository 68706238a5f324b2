import { execFileSync } from 'node:child_process'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'

/** Fails when `src/gen` is not what `proto/` gives. */
const directory = mkdtempSync(join(tmpdir(), 'trellis-gen-'))
try {
  execFileSync('buf', ['generate', '--output', directory], { stdio: 'inherit' })
  execFileSync('diff', ['-r', join(directory, 'src', 'gen'), 'src/gen'], { stdio: 'inherit' })
} catch {
  process.stderr.write('The generated code is not what the proto files give: run npm run gen.\n')
  process.exitCode = 1
} finally {
  rmSync(directory, { recursive: true, force: true })
}
