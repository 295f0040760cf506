/**
 * Turns Node's compile cache on: in the folder of NODE_COMPILE_CACHE where that is set, else inside node_modules,
 * which whoever can write to could change the code itself. Never in a folder that others can make.
 */
import { enableCompileCache, findPackageJSON } from 'node:module'
import { dirname, join } from 'node:path'

const root = dirname(findPackageJSON(import.meta.url) ?? import.meta.filename)
const folder = process.env.NODE_COMPILE_CACHE ?? join(root, 'node_modules/.cache/drover')

enableCompileCache(folder)
// Threads look here.
process.env.NODE_COMPILE_CACHE = folder
