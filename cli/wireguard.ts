#!/usr/bin/env node
/**
 * The executable `drover-wireguard NAME`: a drop-in for `wireguard-go NAME`, and what the daemon starts as its
 * tunnel process. Loads the tunnel and nothing else, so that it is back soon after a crash.
 */
import './compile-cache.ts'

const { tunnelMain } = await import('../tunnel/userspace/main.ts')

process.exitCode = await tunnelMain(process.argv.slice(2), process.env)
