import assert from 'node:assert/strict'
import { spawnSync } from 'node:child_process'
import { writeFileSync } from 'node:fs'
import { describe, test } from 'node:test'
import { MixedFleet } from '../harness/mixed-fleet.ts'
import { countingClientPython, countingServerPython, writeMixedApp } from '../harness/python-apps.ts'
import { type Maker, withoutPython } from '../harness/python-flower.ts'

const needsSshKeygen = spawnSync('ssh-keygen', ['-?']).error ? 'ssh-keygen is not installed' : false
const releases = ['1.29', '1.41'] as const
const makers: readonly Maker[] = [...releases, 'trellis']

/** Whether a script that reads the one document can read the other: every key is there, with a value of the same kind. */
function missing(ours: unknown, theirs: unknown, at = '$'): string[] {
  if (Array.isArray(theirs) && Array.isArray(ours))
    return theirs.length > 0 && ours.length > 0 ? missing(ours[0], theirs[0], `${at}[0]`) : []
  if (isObject(theirs) && isObject(ours))
    return Object.entries(theirs).flatMap(([key, value]) =>
      key in ours ? missing(ours[key], value, `${at}.${key}`) : [`${at}.${key}`],
    )
  return kind(ours) === kind(theirs) ? [] : [`${at}: ${kind(ours)}, theirs ${kind(theirs)}`]
}

const isObject = (value: unknown): value is Record<string, unknown> => typeof value === 'object' && value !== null
const kind = (value: unknown): string =>
  value === null ? 'null' : Array.isArray(value) ? 'array' : isObject(value) ? 'object' : typeof value

describe("one SuperLink of ours, asked by Flower's flwr of both releases and by ours", {
  skip: withoutPython || needsSshKeygen,
}, async () => {
  await test('documents of ours have every key of theirs; exit statuses are the same', async (context) => {
    await using fleet = await MixedFleet.create({ superlink: 'trellis', python: '1.41' })
    await fleet.startSupernode('trellis')
    await fleet.startSupernode('trellis')
    const app = writeMixedApp(fleet.directory.file('testapp'), {
      server: { language: 'python', source: countingServerPython },
      client: { language: 'python', source: countingClientPython },
      config: 'rounds = 1\npause-ms = 0',
    })
    const run = await fleet.flwr('trellis', ['run', app, '--stream'])
    assert.equal(run.status, 0, run.said)
    const [, runId = ''] = /Successfully started run (\d+)/.exec(run.said) ?? []
    writeFileSync(fleet.directory.file('no-key.pub'), 'nothing')
    const keys = new Map(makers.map((maker) => [maker, `${fleet.createKey(`key-${maker}`)}.pub`]))

    /** A word in capitals stands for something of each maker's own. */
    const ask = (line: string): Promise<Awaited<ReturnType<MixedFleet['flwr']>>[]> =>
      Promise.all(
        makers.map((maker) => {
          const words = line.split(' ').map((word) => ({ APP: app, RUN: runId, KEY: keys.get(maker) })[word] ?? word)
          return fleet.flwr(maker, words)
        }),
      )

    for (const line of [
      'run APP',
      'ls',
      'ls --run-id RUN',
      'ls --run-id 5',
      'supernode register KEY',
      'supernode ls',
      'supernode unregister 5',
      'federation list',
      'federation list --federation @none/default',
      'federation list --federation @a/b',
      'federation create somewhere --description x',
      'federation archive @none/default',
      'federation add-supernode 5 @none/default',
      'federation remove-account @none/default someone',
      'federation invite list',
      'federation invite create someone @none/default',
      'stop RUN',
      'config list',
    ]) {
      await context.test(`flwr ${line} --format json`, async () => {
        const answers = await ask(`${line} --format json`)
        const ours = answers.at(-1)
        for (const [index, release] of releases.entries()) {
          const theirs = answers[index]
          const documents = [ours, theirs].map((answer) => JSON.parse(answer?.stdout ?? ''))
          assert.equal(theirs?.status, 0, `${release} said ${theirs?.said}`)
          assert.equal(ours?.status, documents[0].success === false ? 1 : 0, `ours said ${ours?.said}`)
          assert.deepEqual(missing(documents[0], documents[1]), [], `${release} said ${theirs?.stdout}`)
          assert.equal(documents[0].success, documents[1].success, release)
        }
      })
    }

    for (const line of [
      'ls no-such-connection',
      'ls --no-such-option',
      'ls --run-id 5',
      'no-such-command',
      'supernode',
      'run no-such-folder',
      'run APP --federation nonsense',
      'build --app no-such-folder',
      'install no-such.fab',
      'log RUN --show',
      'stop abc',
      'stop 5',
      'pull 5',
      'login',
      'supernode register no-such-file',
      'supernode register no-key.pub',
      'federation archive @none/default',
    ]) {
      await context.test(`the status of flwr ${line}`, async () => {
        const answers = await ask(line)
        const statuses = answers.map(({ status }) => status)
        const said = answers.map((answer, index) => `${makers[index]}: ${answer.said}`).join('\n')
        assert.deepEqual(statuses, [statuses.at(-1), statuses.at(-1), statuses.at(-1)], said)
        assert.doesNotMatch(answers.at(-1)?.said ?? '', /^\s+at /m)
      })
    }
  })
})
