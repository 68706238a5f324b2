import { useEffect, useState } from 'preact/hooks'
import type { FleetState, NodeView, RunEventView, RunNodesState, RunView } from '../model.ts'
import { emptySeries, type RunSeries, withEvents } from '../run-series.ts'

/** The fleet as it is now; `lost` while the program behind the page does not respond. */
export function useFleet(): { fleet: FleetState | undefined; lost: boolean } {
  const [fleet, setFleet] = useState<FleetState>()
  const [lost, setLost] = useState(false)
  useEffect(() => {
    const source = new EventSource('/api/fleet')
    source.addEventListener('open', () => setLost(false))
    source.addEventListener('error', () => setLost(true))
    source.addEventListener('fleet', ({ data }) => setFleet((before) => sameParts(before, JSON.parse(data))))
    source.addEventListener('time', ({ data }) => {
      const { at } = JSON.parse(data) as { at: string }
      setFleet((before) => before && { ...before, at })
    })
    return () => source.close()
  }, [])
  return { fleet, lost }
}

interface FollowedRun {
  readonly series: RunSeries
  /** `undefined` before the first look, and always if the SuperLink is one of Flower's. */
  readonly nodes: RunNodesState | undefined
  readonly problem: string
  readonly ended: boolean
}

/** The events of a run as curves, from its start, and its nodes as they are now. */
export function useRun(id: string): FollowedRun {
  const [series, setSeries] = useState(emptySeries)
  const [nodes, setNodes] = useState<RunNodesState>()
  const [problem, setProblem] = useState('')
  const [ended, setEnded] = useState(false)
  useEffect(() => {
    let known = emptySeries()
    setSeries(known)
    setNodes(undefined)
    setEnded(false)
    setProblem('')
    const source = new EventSource(`/api/runs/${id}`)
    // The program starts from the first event whenever the browser connects again.
    source.addEventListener('open', () => {
      known = emptySeries()
    })
    source.addEventListener('events', ({ data }) => {
      known = withEvents(known, JSON.parse(data) as RunEventView[])
      setSeries({ ...known })
      setProblem('')
    })
    source.addEventListener('nodes', ({ data }) => setNodes(JSON.parse(data) as RunNodesState))
    source.addEventListener('problem', ({ data }) => setProblem((JSON.parse(data) as { sentence: string }).sentence))
    source.addEventListener('end', () => {
      setEnded(true)
      source.close()
    })
    return () => source.close()
  }, [id])
  return { series, nodes, problem, ended }
}

/** The curves of several runs, in the order of the ids, which do not change while a view is open. */
export function useRuns(ids: readonly string[]): { series: readonly RunSeries[]; problem: string } {
  const [series, setSeries] = useState<readonly RunSeries[]>(() => ids.map(emptySeries))
  const [problem, setProblem] = useState('')
  useEffect(() => {
    let known = ids.map(emptySeries)
    const source = new EventSource(`/api/curves/${ids.join(',')}`)
    source.addEventListener('open', () => {
      known = ids.map(emptySeries)
    })
    source.addEventListener('events', ({ data }) => {
      const { run, events } = JSON.parse(data) as { run: string; events: RunEventView[] }
      known = known.map((one, index) => (ids[index] === run ? { ...withEvents(one, events) } : one))
      setSeries(known)
      setProblem('')
    })
    source.addEventListener('problem', ({ data }) => setProblem((JSON.parse(data) as { sentence: string }).sentence))
    source.addEventListener('end', () => source.close())
    return () => source.close()
  }, [])
  return { series, problem }
}

/** Keeps the objects of nodes and runs that have not changed, so that their rows need not be drawn again. */
function sameParts(before: FleetState | undefined, now: FleetState): FleetState {
  if (!before) return now
  return { ...now, nodes: keepSame(before.nodes, now.nodes), runs: keepSame(before.runs, now.runs) }
}

function keepSame<T extends NodeView | RunView>(before: readonly T[], now: readonly T[]): readonly T[] {
  const known = new Map(before.map((one) => [one.id, one]))
  return now.map((one) => {
    const old = known.get(one.id)
    return old && JSON.stringify(old) === JSON.stringify(one) ? old : one
  })
}
