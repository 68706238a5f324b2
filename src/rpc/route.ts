import type { DescService } from '@bufbuild/protobuf'

/** `fleet/pull-messages`: a method's name over HTTP, below the prefix of its generation. */
export function routeOf(method: { readonly name: string; readonly parent: Pick<DescService, 'name'> }): string {
  const name = method.name.replace(/(?<=[a-z0-9])(?=[A-Z])/g, '-').toLowerCase()
  return `${method.parent.name.toLowerCase()}/${name}`
}

/** Path of a route in Flower's HTTP generation. */
export function httpPath(route: string): string {
  return `/v1/${route}`
}

/** Path of a route in the REST transport of Flower 1.29, which has the Fleet API alone. */
export function restPath(route: string): string {
  return `${restPrefix}${route}`
}

export function isRestPath(path: string): boolean {
  return path.startsWith(restPrefix)
}

const restPrefix = '/api/v0/'

/** Returns every path that a route is served at. */
export function servedPaths(route: string): string[] {
  return route.startsWith('fleet/') ? [httpPath(route), restPath(route)] : [httpPath(route)]
}
