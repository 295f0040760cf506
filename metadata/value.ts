/**
 * The values that a metadata tree is made of: what JSON can say, and two kinds of "nothing here" that Rancher's
 * clients see as `null` in JSON but as something to descend into (a trailing slash) in text listings.
 */
export class Nil {
  readonly of: 'list' | 'map'
  constructor(of: 'list' | 'map') {
    this.of = of
  }
}

/** An absent list: `null` in JSON, `key/` in listings, `[]` in YAML. */
export const nilList = new Nil('list')
/** An absent map: `null` in JSON, `key/` in listings, `{}` in YAML. */
export const nilMap = new Nil('map')

export type Scalar = null | boolean | number | string
export type List = readonly Value[]
export type Dict = { readonly [key: string]: Value }
export type Value = Scalar | Nil | List | Dict

export const isList = (value: Value): value is List => Array.isArray(value)

export const isDict = (value: Value): value is Dict =>
  typeof value === 'object' && value !== null && !Array.isArray(value) && !(value instanceof Nil)

/** Whether a listing shows a slash behind it. */
export const isBranch = (value: Value): boolean => typeof value === 'object' && value !== null

/** The own value of a key; never what objects inherit. */
export const entryOf = (dict: Dict, key: string): Value | undefined =>
  Object.hasOwn(dict, key) ? dict[key] : undefined

/** Where a UTF-16 code unit stands among code points: surrogates are parts of the highest. */
const rank = (unit: number): number => (unit >= 0xe000 ? unit - 0x800 : unit >= 0xd800 ? unit + 0x2000 : unit)

/** Order of code points, which is that of UTF-8 bytes, in which Go sorts keys. */
export function byBytes(one: string, other: string): number {
  const length = Math.min(one.length, other.length)
  for (let at = 0; at < length; at++) {
    const difference = rank(one.charCodeAt(at)) - rank(other.charCodeAt(at))
    if (difference !== 0) return difference
  }
  return one.length - other.length
}

export const sortedKeys = (dict: Dict): readonly string[] => Object.keys(dict).sort(byBytes)
