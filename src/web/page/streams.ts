import { useEffect, useState } from 'preact/hooks'
import type { FleetState, NodeView, RunEventView, RunNodesState, RunView } from '../model.ts'
import { emptySeries, type RunSeries, withEvents } from '../run-series.ts'
import { followStream } from './follow-stream.ts'

/** The fleet as it is now. While the program behind the page does not respond, `lost` has the reason, which may be empty. */
export function useFleet(): { fleet: FleetState | undefined; lost: string | undefined } {
  const [fleet, setFleet] = useState<FleetState>()
  const [lost, setLost] = useState<string>()
  useEffect(
    () =>
      followStream('/api/fleet', {
        onOpen: () => setLost(undefined),
        onLost: setLost,
        on: {
          fleet: (data) => setFleet((before) => sameParts(before, data as FleetState)),
          time: (data) => setFleet((before) => before && { ...before, at: (data as { at: string }).at }),
        },
      }),
    [],
  )
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
    return followStream(`/api/runs/${id}`, {
      // The program starts from the first event whenever the browser connects again.
      onOpen: () => {
        known = emptySeries()
        setProblem('')
      },
      onLost: (reason) => setProblem((before) => reason || before),
      on: {
        events: (data) => {
          known = withEvents(known, data as RunEventView[])
          setSeries({ ...known })
          setProblem('')
        },
        nodes: (data) => setNodes(data as RunNodesState),
        problem: (data) => setProblem((data as { sentence: string }).sentence),
        end: () => setEnded(true),
      },
    })
  }, [id])
  return { series, nodes, problem, ended }
}

/** The curves of several runs, in the order of the ids, which do not change while a view is open. */
export function useRuns(ids: readonly string[]): { series: readonly RunSeries[]; problem: string } {
  const [series, setSeries] = useState<readonly RunSeries[]>(() => ids.map(emptySeries))
  const [problem, setProblem] = useState('')
  useEffect(() => {
    let known = ids.map(emptySeries)
    return followStream(`/api/curves/${ids.join(',')}`, {
      onOpen: () => {
        known = ids.map(emptySeries)
        setProblem('')
      },
      onLost: (reason) => setProblem((before) => reason || before),
      on: {
        events: (data) => {
          const { run, events } = data as { run: string; events: RunEventView[] }
          known = known.map((one, index) => (ids[index] === run ? { ...withEvents(one, events) } : one))
          setSeries(known)
          setProblem('')
        },
        problem: (data) => setProblem((data as { sentence: string }).sentence),
      },
    })
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
