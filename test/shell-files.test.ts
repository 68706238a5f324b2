import assert from 'node:assert/strict'
import { spawnSync } from 'node:child_process'
import { readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { test } from 'node:test'
import { listPrograms, withCommands } from '../scripts/command-tree.ts'

/** The completions and man pages that `npm run gen` makes work in real shells. */

const share = join(import.meta.dirname, '..', 'share')
const file = (shell: string): string => join(share, 'completions', `trellis.${shell}`)
const isThere = (program: string): boolean => spawnSync(program, ['--version']).error === undefined
const unless = (program: string): string | false => !isThere(program) && `${program} is not installed`

test('bash offers commands, options and values where they belong', { skip: unless('bash') }, () => {
  const complete = (...words: readonly string[]): string =>
    `COMP_WORDS=(${words.map((word) => `'${word}'`).join(' ')}); COMP_CWORD=${words.length - 1}; _trellis; echo "\${COMPREPLY[*]}"`
  const cases: readonly (readonly [line: readonly string[], offered: RegExp])[] = [
    [['flwr', 'sup'], /^supernode$/],
    [['flwr', 'supernode', 'un'], /^unregister unblock$/],
    [['flwr', 'supernode', 'ls', '--w'], /^--wide$/],
    [['/opt/trellis/bin/flwr', 'run', 'app', 'fleet', '--st'], /^--stream$/],
    [['flwr', 'ls', '--format', 'j'], /^json$/],
    [['flower-superlink', '--isolation', ''], /^subprocess process$/],
    [['flower-superlink', 'back'], /^backup$/],
    [['flower-supernode', '--log-f'], /^--log-format --log-file$/],
    [['flower-superexec', '--root-certificates', `${share}/comp`], /\/share\/completions$/],
    [['flwr', 'nothing-known', 'x'], /^$/],
  ]
  const script = [`. '${file('bash')}'`, ...cases.map(([line]) => complete(...line))].join('\n')
  const { stdout, stderr } = spawnSync('bash', ['--norc', '-c', script], { encoding: 'utf8' })
  assert.equal(stderr, '')
  const offers = stdout.split('\n')
  for (const [place, [line, offered]] of cases.entries()) assert.match(offers[place] ?? '', offered, line.join(' '))
})

for (const shell of ['zsh', 'fish'])
  test(`${shell} can read its completions`, { skip: unless(shell) }, () => {
    const { status, stderr } = spawnSync(shell, ['-n', file(shell)], { encoding: 'utf8' })
    assert.equal(`${status} ${stderr}`, '0 ')
  })

test('each program has a man page with all its options, and groff has nothing against it', async () => {
  const programs = await listPrograms()
  const folder = join(share, 'man', 'man1')
  assert.deepEqual(readdirSync(folder).toSorted(), programs.map(({ path }) => `${path}.1`).toSorted())
  const { man } = JSON.parse(readFileSync(join(share, '..', 'package.json'), 'utf8'))
  assert.deepEqual(man, programs.map(({ path }) => `share/man/man1/${path}.1`).toSorted(), 'package.json installs them')
  for (const program of programs) {
    const text = readFileSync(join(folder, `${program.path}.1`), 'utf8').replaceAll('\\-', '-')
    for (const { options } of withCommands(program))
      for (const { flags } of options) assert.ok(text.includes(`\n.B ${flags}\n`), `${program.path}: ${flags}`)
  }
  if (!isThere('groff')) return
  const pages = programs.map(({ path }) => join(folder, `${path}.1`))
  const { stderr } = spawnSync('groff', ['-man', '-Tutf8', '-ww', '-z', ...pages], { encoding: 'utf8' })
  assert.equal(stderr, '')
})
