import assert from 'node:assert/strict'
import { existsSync, readFileSync, writeFileSync } from 'node:fs'
import { join, relative } from 'node:path'
import { test } from 'node:test'
import { parseDocument } from 'yaml'
import { temporaryDirectory } from '../harness/directory.ts'
import { withoutOwnNetwork } from '../harness/own-network.ts'
import { readGuide } from '../harness/read-guide.ts'
import { containerfiles, stagesOf } from './containerfile.ts'
import { helmTemplate, kustomize, podsOf, type Resource, withoutTools } from './rendered.ts'
import { faultsOf } from './schemas.ts'
import { writeStandIns } from './stand-ins.ts'

const root = join(import.meta.dirname, '..', '..')
const guide = readFileSync(join(root, 'docs', 'guides', 'kubernetes.md'), 'utf8')

test('the guide names folders and images that are there', () => {
  const paths = [...guide.matchAll(/(?<![\w./])deploy\/[\w./-]*\w/g)].map(([path]) => path)
  assert.ok(paths.length >= 8)
  assert.deepEqual(
    paths.filter((path) => !existsSync(join(root, path))),
    [],
  )
  const targets = [...guide.matchAll(/(\w+)\.Containerfile --target (\w+)/g)]
  assert.ok(targets.length > 0)
  for (const [, file = '', target = ''] of targets) {
    assert.ok(containerfiles.includes(file as (typeof containerfiles)[number]), file)
    assert.ok(stagesOf(file).has(target), target)
  }
})

test('the guide names resources that the overlays make, or that it says how to make', { skip: withoutTools }, () => {
  const resources = ['cert-manager', 'openshift-service-ca', 'spiffe-csi'].flatMap((name) =>
    kustomize(`overlays/${name}`),
  )
  const names = new Set(resources.map(({ metadata }) => metadata.name))
  for (const { kind, spec } of resources)
    if (kind === 'Certificate') names.add((spec as { secretName: string }).secretName)
  for (const { name } of podsOf(resources)) names.add(`${name}-0`)
  const named = [...guide.matchAll(/\btrellis-[a-z][a-z0-9-]*/g)].map(([name]) => name)
  // Placeholders, a loop of the shell, the start of a pattern, and what the guide itself says how to make.
  const open = /^trellis-(supernode-|supernode|client-crl|database|bucket)$/
  assert.ok(named.length > 30)
  assert.deepEqual([...new Set(named.filter((name) => !names.has(name) && !open.test(name)))], [])
})

test('the patches that the guide shows for images, the address and the data work', { skip: withoutTools }, async () => {
  const blocks = [...guide.matchAll(/```yaml\n([\s\S]*?)```/g)].map(([, text = '']) => parseDocument(text).toJS())
  const changes = blocks.filter((block) => block.patches ?? block.images)
  assert.equal(changes.length, 3)
  using directory = temporaryDirectory()
  const overlays = join(root, 'deploy', 'kubernetes', 'overlays', 'cert-manager')
  // A site elsewhere is applied alone, which is where its address is patched.
  const folders = [overlays, join(overlays, 'sites', 'site-a'), overlays]
  const rendered = changes.map((change, index) => {
    const resources = [relative(directory.path, folders[index] as string)]
    writeFileSync(directory.file('kustomization.yaml'), JSON.stringify({ ...change, kind: 'Kustomization', resources }))
    return kustomize(directory.path)
  })
  for (const resources of rendered) assert.deepEqual(await faultsOf(resources), [])
  const text = rendered.map((resources) => JSON.stringify(podsOf(resources)))
  assert.match(text[0] as string, /registry\.example\.com\/trellis\/superexec:0\.1\.0-python/)
  assert.doesNotMatch(text[0] as string, /"trellis\//)
  assert.match(text[1] as string, /"SUPERLINK_ADDRESS","value":"fleet\.example\.com:9092"/)
  for (const { name, spec } of podsOf(rendered[2] as Resource[])) {
    const mounting = spec.containers.filter(({ volumeMounts }) => volumeMounts.some((mount) => mount.name === 'data'))
    assert.deepEqual(
      mounting.map((container) => container.name),
      name === 'trellis-superlink' ? [] : ['superexec'],
      name,
    )
  }
})

test('the values that the guide shows make a release', { skip: withoutTools }, () => {
  const values = /```yaml\n# my-values.yaml\n([\s\S]*?)```/.exec(guide)?.[1]
  assert.ok(values)
  assert.equal(podsOf(helmTemplate(parseDocument(values).toJS())).length, 3)
})

test('the commands of the guide can be pasted into a clone; without a cluster, kubectl, helm and stand-ins for podman and oc check arguments and files', {
  skip: withoutTools || withoutOwnNetwork,
}, async () => {
  using directory = temporaryDirectory()
  const said = await readGuide({
    ...{ guide: 'docs/guides/kubernetes.md', withFlwrHome: false },
    path: [writeStandIns(directory.file('bin'))],
    before: [{ text: `ln -s '${join(root, 'deploy')}' deploy` }],
  })
  for (const image of ['superlink', 'supernode', 'superexec'])
    assert.match(said, new RegExp(`image: registry.example.com/trellis/${image}:`))
})
