import assert from 'node:assert/strict'
import { execFileSync } from 'node:child_process'
import { chmodSync, mkdirSync, readdirSync, readFileSync, statSync, writeFileSync } from 'node:fs'
import { join, relative } from 'node:path'
import { test } from 'node:test'
import { nodes, train, trainApp, writeCoordinator } from '../deploy/coordinator.ts'
import { kustomize, type Resource } from '../deploy/rendered.ts'
import { temporaryDirectory } from '../harness/directory.ts'
import { countingClientPython, countingServerPython, writeMixedApp } from '../harness/python-apps.ts'
import { podman } from './containers.ts'
import { version } from './images.ts'
import { type PodmanFleet, startPodmanFleet } from './podman-fleet.ts'

/** Overlays, with the user and the groups of their pods, and the languages of the apps that they run. */
const overlays = [
  { overlay: 'cert-manager', user: 49_999, primaryGroup: 49_999, group: 49_999, python: true },
  // OpenShift gives each namespace a user and a group, which have no names in the image.
  { overlay: 'openshift-service-ca', user: 1_000_680_000, primaryGroup: 0, group: 1_000_680_000, python: false },
] as const

for (const { overlay, user, primaryGroup, group, python } of overlays)
  test(`the images run as the overlay ${overlay} says`, async (t) => {
    using directory = temporaryDirectory()
    const resources = python ? withPython(overlay, directory) : kustomize(`overlays/${overlay}`)
    await using fleet = await startPodmanFleet(resources, directory.path)
    const flwr = writePerson(fleet, directory)

    await t.test('all probes succeed from outside of the pods', () => {
      assert.equal(fleet.containers.length, 6)
      for (const running of fleet.containers) assert.deepEqual([...new Set(fleet.probe(running))], [200], running.title)
    })

    await t.test(`each program is process 1 of user ${user}, without capabilities and with a filter of calls`, () => {
      for (const { title, name } of fleet.containers) {
        const pid = podman('inspect', '--format={{.State.Pid}}', name)
        const status = readFileSync(`/proc/${pid}/status`, 'utf8')
        const value = (key: string): string | undefined => new RegExp(`^${key}:\\s*(.*)$`, 'm').exec(status)?.[1]
        assert.match(value('Uid') as string, new RegExp(`^${user}\t${user}\t`), title)
        assert.match(value('Gid') as string, new RegExp(`^${primaryGroup}\t${primaryGroup}\t`), title)
        assert.ok(value('Groups')?.split(' ').includes(String(group)), title)
        assert.match(value('NSpid') as string, /\t1$/, title)
        for (const set of ['CapInh', 'CapPrm', 'CapEff', 'CapBnd', 'CapAmb']) assert.match(value(set) as string, /^0+$/)
        assert.equal(value('NoNewPrivs'), '1', title)
        assert.equal(value('Seccomp'), '2', title)
      }
    })

    await t.test('nothing can be written but /tmp and the volumes that a manifest mounts to be written', () => {
      const script = 'for folder in / /app /opt/trellis /etc /var/tmp /app/certificates; do'
      const tried = `${script} touch "$folder/x" 2>/dev/null && echo "$folder"; done; touch /tmp/x && echo /tmp`
      for (const { title, name } of fleet.containers)
        assert.equal(podman('exec', name, 'sh', '-c', tried), '/tmp', title)
    })

    await t.test('a coordinator trains an app in TypeScript with both sites over mutual TLS', async () => {
      await train(flwr, directory, { rounds: 3, pauseMs: 0 })
      assert.deepEqual([...(await nodes(flwr)).keys()].sort(), ['site-a', 'site-b'])
    })

    if (python)
      await t.test('a coordinator trains an app in Python', () => trainApp(flwr, writePythonApp(directory), 2))

    await t.test('other users of its volume cannot read what the SuperLink stores', () => {
      const state = join(directory.path, 'trellis-superlink', 'volumes', 'state')
      const files = readdirSync(state, { recursive: true, encoding: 'utf8' })
      assert.ok(files.includes('state.db') && files.includes('audit.jsonl'), files.join())
      for (const file of readdirSync(state)) assert.equal(statSync(join(state, file)).mode & 0o007, 0, file)
    })

    await t.test('every program ends with status 0 after SIGTERM', async () => {
      for (const { program } of fleet.containers) program.kill('SIGTERM')
      for (const { title, program } of fleet.containers)
        assert.equal(await program.end(), 0, `${title}:\n${program.said}`)
    })
  })

type Directory = ReturnType<typeof temporaryDirectory>

/** An overlay whose SuperExecs have the image with Python, as section 1 of the guide to Kubernetes names it. */
function withPython(overlay: string, directory: Directory): Resource[] {
  mkdirSync(directory.file('overlay'))
  const below = join(import.meta.dirname, '..', '..', 'deploy', 'kubernetes', 'overlays', overlay)
  const kustomization = {
    ...{ apiVersion: 'kustomize.config.k8s.io/v1beta1', kind: 'Kustomization' },
    resources: [relative(directory.file('overlay'), below)],
    images: [{ name: 'trellis/superexec', newTag: `${version}-python` }],
  }
  writeFileSync(directory.file('overlay/kustomization.yaml'), JSON.stringify(kustomization))
  return kustomize(directory.file('overlay'))
}

function writePythonApp(directory: Directory): string {
  return writeMixedApp(directory.file('python-app'), {
    server: { language: 'python', source: countingServerPython },
    client: { language: 'python', source: countingClientPython },
    config: 'nodes = 2\nrounds = 2',
  })
}

/** Returns `flwr` of a coordinator, run from the image of a SuperExec as a job in the cluster would. */
function writePerson(fleet: PodmanFleet, directory: Directory): (...args: string[]) => ReturnType<PodmanFleet['flwr']> {
  const { serviceCaPem, secrets } = fleet.issuers
  writeCoordinator(fleet, serviceCaPem || (secrets.get('trellis-superlink-ca')?.['tls.crt'] as string), directory)
  const [first] = fleet.containers.filter(({ container }) => container.name === 'superexec')
  if (!first) throw new Error('No container runs a SuperExec')
  chmodSync(directory.path, 0o755)
  execFileSync('chown', ['-R', String(fleet.user), directory.file('home')])
  return (...args) => fleet.flwr(first.container.image, directory.path, args)
}
