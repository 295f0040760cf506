#!/usr/bin/env node
// Writes a file from the services of the environment, now and after every change, and runs a command then:
//   render.mjs TEMPLATE.mjs FILE [COMMAND …]
// TEMPLATE.mjs exports `render(services)`, which returns the text. METADATA_URL is where the service is.
import { spawnSync } from 'node:child_process'
import { renameSync, writeFileSync } from 'node:fs'
import { resolve } from 'node:path'
import { pathToFileURL } from 'node:url'
import { MetadataClient } from 'drover/metadata'

const [template = '', file = '', command, ...args] = process.argv.slice(2)
const { render } = await import(pathToFileURL(resolve(template)))
const onRetry = (error) => console.error(String(error))
const metadata = new MetadataClient({ url: process.env.METADATA_URL, onRetry })

let written
for await (const services of metadata.watch('/services')) {
  const text = render(services)
  if (text === written) continue
  writeFileSync(`${file}.new`, text)
  renameSync(`${file}.new`, file)
  written = text
  const status = command === undefined ? 0 : spawnSync(command, args, { stdio: 'inherit' }).status
  if (status !== 0) console.error(`${command} failed; ${file} is written, and the next change tries again`)
}
