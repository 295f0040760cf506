/**
 * What `drover dns explain` says of a name: made by the daemon, shown by the command line.
 */
export interface ExplainedContainer {
  readonly name: string
  readonly host: string
  readonly address: string | null
  readonly given: boolean
  readonly why: string
}

export interface Explained {
  readonly name: string
  readonly asker: string
  readonly search: readonly string[]
  /** One sentence: what decides. */
  readonly rule: string
  /** The name of ours that it comes to; null when it is none. */
  readonly found: string | null
  /** What the asker gets: a line for each record, or one that says that there is none. */
  readonly answer: readonly string[]
  readonly containers: readonly ExplainedContainer[]
}
