import { getPriority, setPriority } from 'node:os'

/** Loaded into test files that compute: the programs of other tests, some of which have time limits of Flower, go first. */
setPriority(Math.max(getPriority(), 5))
