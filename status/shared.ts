/**
 * Names that more than one item carries. Pure.
 */
/** Each such name with the places where it is, sorted; in the order of their first item. */
export function shared<T>(
  items: Iterable<T>,
  nameOf: (item: T) => string,
  whereOf: (item: T) => string,
): [string, string[]][] {
  const where = new Map<string, Set<string>>()
  for (const item of items) where.set(nameOf(item), (where.get(nameOf(item)) ?? new Set()).add(whereOf(item)))
  return [...where]
    .filter(([, places]) => places.size > 1)
    .map(([name, places]) => [name, [...places].sort()])
}
