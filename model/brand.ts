/**
 * Branded primitives: a value that was parsed once carries the proof in its type.
 * Only the parser of a brand casts to it.
 */
declare const brand: unique symbol

export type Branded<Base, Name extends string> = Base & { readonly [brand]: Name }
