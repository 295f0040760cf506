/**
 * The tree that the metadata service answers from: a pure projection of one snapshot. `Pieces` only spares work.
 */
import type { Environment } from '../model/environment.ts'
import { uuidText } from '../model/uuid.ts'
import type { Asker } from './asker.ts'
import { versionBytes } from './digest.ts'
import { hostNumber, linkedEnvironments } from './host.ts'
import { serviceKey } from './neighbourhood.ts'
import { type Parts, partsOf, type StackPiece } from './parts.ts'
import type { ContainerPiece, Pieces } from './pieces.ts'
import { type Choice, targetsOf } from './prometheus.ts'
import type { Dict, List } from './value.ts'
import { hostIn, ofContainers, serviceIn, stackIn, type Version } from './versions.ts'
import { type Scope, seenBy, viewKey } from './view.ts'

/** What one version shows to everybody who has the same view. */
interface Shape {
  readonly shared: Dict
  readonly stacks: readonly { readonly piece: StackPiece; readonly shape: StackShape }[]
  readonly hosts: ReadonlyMap<string, Dict>
}

/** What askers with one key see, in each version once somebody asked. */
interface View {
  readonly parts: Parts
  readonly version: string
  readonly shapes: Map<Version, Shape>
  readonly targets: Map<Choice, List>
}

export interface TreeOptions {
  /** What containers see. */
  readonly scope?: Scope
  /** The tree before this one: views of equal content are taken over. */
  readonly former?: Tree | undefined
}

export const treeOf = (environment: Environment, pieces: Pieces, options: TreeOptions = {}): Tree => {
  // What nobody asked for since the last change is forgotten; snapshots that show the same ask for nothing.
  if (options.former?.isChange !== false) pieces.turn()
  return new Tree(partsOf(environment, pieces), options)
}

export class Tree {
  readonly revision: number
  /** A digest of everything that the tree shows: it changes with the content and only then. */
  readonly version: string
  /** Whether it shows something else than the tree before. */
  readonly isChange: boolean
  readonly #parts: Parts
  readonly #scope: Scope
  readonly #views: Map<string, View>
  readonly #roots = new Map<Version, Map<unknown, Dict>>()

  constructor(parts: Parts, { scope = 'environment', former }: TreeOptions) {
    this.revision = parts.environment.revision
    this.#parts = parts
    this.#scope = scope
    const whole = viewOf(parts, former === undefined ? undefined : former.#views.get(everything))
    this.version = whole.version
    this.isChange = former?.version !== whole.version
    this.#views = new Map([[everything, whole]])
  }

  /** The root as `asker` sees it in one version of the contract; the same object for the same asker. */
  root(name: Version, asker: Asker): Dict {
    const roots = this.#roots.get(name) ?? new Map<unknown, Dict>()
    this.#roots.set(name, roots)
    const key = asker.is === 'container' ? asker.record : asker.is
    const known = roots.get(key)
    if (known !== undefined) return known
    const view = this.#view(asker)
    const shape = view.shapes.get(name) ?? shapeOf(view.parts, view.version, name)
    view.shapes.set(name, shape)
    const root = { ...shape.shared, ...selfOf(this.#parts, shape, name, asker) }
    roots.set(key, root)
    return root
  }

  /** What Prometheus may scrape, as `asker` sees it. */
  targets(asker: Asker, choice: Choice): List {
    const { parts, targets } = this.#view(asker)
    const pieces = [...parts.stacks, parts.alone].flatMap(({ containers }) => containers)
    const records = pieces.map(({ record }) => record)
    const list = targets.get(choice) ?? targetsOf(parts.environment, records, choice)
    targets.set(choice, list)
    return list
  }

  #view(asker: Asker): View {
    const key = viewKey(this.#scope, asker) ?? everything
    const view = this.#views.get(key) ?? viewOf(seenBy(this.#parts, asker), undefined)
    this.#views.set(key, view)
    return view
  }
}

/** No key of a single view. */
const everything = ''

function viewOf(parts: Parts, former: View | undefined): View {
  const version = versionHash(parts)
  const same = former?.version === version
  return { parts, version, shapes: same ? former.shapes : new Map(), targets: new Map() }
}

function versionHash({ environment, pieces, hosts, stacks, alone, network }: Parts): string {
  const { settings, self } = environment
  const digestOf = (containers: readonly ContainerPiece[], dicts: readonly Dict[]): string =>
    [...dicts.map((dict) => pieces.digest(dict)), ...containers.map(({ digest }) => digest)].join('\n')
  const parts = [
    ...stacks.map((stack) =>
      pieces.digestOnce(stack, () => {
        const bases = stack.services.map(({ base }) => base)
        return digestOf(stack.containers, [stack.base, ...bases])
      }),
    ),
    pieces.digestOnce(alone, () => digestOf(alone.containers, [])),
  ]
  const dicts = [network, ...hosts.map(({ base }) => base)].map((dict) => pieces.digest(dict))
  return uuidText(versionBytes([settings.name, settings.uuid, self, ...dicts, ...parts].join('\n')))
}

/** What one version shows of a stack. */
interface StackShape {
  readonly stack: Dict
  readonly services: readonly Dict[]
  readonly containers: readonly Dict[]
}

function stackShapeOf(pieces: Pieces, piece: StackPiece, name: Version): StackShape {
  const { chunks } = pieces
  const shown = piece.services.map(({ service, base, members }) => {
    const id = serviceKey(service.stack, service.primary, service.name)
    const dicts = members.map((member) => member.in(name))
    const containers = pieces.part(`${ofContainers(name)} containers of ${id}`, dicts, () =>
      chunks.segment(dicts),
    )
    const make = (): Dict => serviceIn(name, base, containers)
    return { containers, service: pieces.part(`${name} service ${id}`, [base, containers], make) }
  })
  const services = chunks.segment(shown.map(({ service }) => service))
  const stack = stackIn(name, piece.base, services)
  return { stack, services, containers: chunks.joined(shown.map(({ containers }) => containers)) }
}

function shapeOf(parts: Parts, version: string, name: Version): Shape {
  const { environment, pieces } = parts
  const { chunks } = pieces
  const stacks = parts.stacks.map((piece) => ({
    piece,
    shape: pieces.part(`${name} shape of stack ${piece.base.name}`, [piece], () =>
      stackShapeOf(pieces, piece, name),
    ),
  }))
  const hosts = new Map(
    parts.hosts.map(({ host, base }) => {
      const make = (): Dict => hostIn(name, base, hostNumber(host))
      return [host.record.id, pieces.part(`${name} host ${host.record.id}`, [base], make)]
    }),
  )
  const alone = pieces.part(`${name} shape outside`, [parts.alone], () =>
    chunks.segment(parts.alone.containers.map((container) => container.in(name))),
  )
  const shared = {
    containers: chunks.joined([...stacks.map(({ shape }) => shape.containers), alone]),
    ...(name === 'v3' ? { environments: linkedEnvironments } : {}),
    hosts: [...hosts.values()],
    name: environment.settings.name.toLowerCase(),
    networks: [parts.network],
    region_name: null,
    services: chunks.joined(stacks.map(({ shape }) => shape.services)),
    stacks: stacks.map(({ shape }) => shape.stack),
    uuid: environment.settings.uuid,
    version,
  }
  return { shared, stacks, hosts }
}

/** `self`: nothing for somebody who cannot be told apart. */
function selfOf(parts: Parts, shape: Shape, name: Version, asker: Asker): { readonly self?: Dict } {
  if (asker.is === 'ambiguous') return {}
  const { environment } = parts
  if (asker.is === 'host') {
    const host = shape.hosts.get(environment.self)
    return host === undefined ? {} : { self: { host } }
  }
  const { record } = asker
  const { stack, service, sidekick } = record
  const host = shape.hosts.get(record.host)
  const found = shape.stacks.find(({ piece }) => piece.base.name === stack)
  const at = found?.piece.services.findIndex(
    ({ service: each }) => each.primary === service && each.name === (sidekick ?? service),
  )
  const own = at === undefined ? undefined : found?.shape.services[at]
  return {
    self: {
      container: parts.pieceOf(record).in(name),
      ...(host === undefined ? {} : { host }),
      ...(own === undefined || found === undefined ? {} : { service: own, stack: found.shape.stack }),
    },
  }
}
