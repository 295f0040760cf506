/**
 * Turns Node's compile cache on: in the folder of NODE_COMPILE_CACHE where that is set, else inside node_modules,
 * which whoever can write to could change the code itself. Never in a folder that others can make.
 */
import { enableCompileCache } from 'node:module'
import { join } from 'node:path'

const folder = process.env.NODE_COMPILE_CACHE ?? join(import.meta.dirname, '../node_modules/.cache/drover')

enableCompileCache(folder)
// Threads look here.
process.env.NODE_COMPILE_CACHE = folder
