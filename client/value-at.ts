/**
 * The type of what is at a path of the contract: `/self/container/name` is a string. Computed by the compiler from
 * the shapes of objects.ts; there is no code here.
 */
import type { Root } from './objects.ts'

/** What one segment leads to: an element, a property, the value of a map; null leads nowhere. */
type Step<From, Segment extends string> = unknown extends From
  ? unknown
  : From extends readonly (infer Item)[]
    ? Item
    : From extends object
      ? Segment extends keyof From
        ? Exclude<From[Segment], undefined>
        : string extends keyof From
          ? From[Segment & keyof From]
          : unknown
      : never

type Walk<From, Path extends string> = Path extends ''
  ? From
  : Path extends `${infer Segment}/${infer Rest}`
    ? Walk<Step<From, Segment>, Rest>
    : Step<From, Path>

/** `unknown` for paths that the compiler does not know, or that the contract leaves open. */
export type ValueAt<Path extends string> = string extends Path
  ? unknown
  : Path extends `/${infer Rest}`
    ? Walk<Root, Rest>
    : never
