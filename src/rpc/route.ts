import type { DescService } from '@bufbuild/protobuf'

/** `fleet/pull-messages`: a method's name in the HTTP generation, below `/v1/`. */
export function routeOf(method: { readonly name: string; readonly parent: Pick<DescService, 'name'> }): string {
  const name = method.name.replace(/(?<=[a-z0-9])(?=[A-Z])/g, '-').toLowerCase()
  return `${method.parent.name.toLowerCase()}/${name}`
}
