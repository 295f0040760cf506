/**
 * The image of the lab: busybox, made from Debian's busybox-static without a registry. Every applet is a link,
 * so that `wget`, `httpd`, `ping` and `nslookup` are there.
 */
import { copyFileSync, existsSync, mkdirSync, symlinkSync } from 'node:fs'
import { join } from 'node:path'
import { must } from './command.ts'
import { image } from './layout.ts'

/** The tar file of the image's file system, made once per lab. */
export async function imageArchive(folder: string): Promise<string> {
  const archive = join(folder, 'image.tar')
  if (existsSync(archive)) return archive
  const tree = join(folder, 'image')
  for (const name of ['bin', 'etc', 'proc', 'sys', 'dev', 'tmp', 'root', 'www'])
    mkdirSync(join(tree, name), { recursive: true })
  copyFileSync('/bin/busybox', join(tree, 'bin', 'busybox'))
  const applets = (await must(['/bin/busybox', '--list'])).split('\n')
  for (const applet of applets) {
    if (applet !== 'busybox') symlinkSync('busybox', join(tree, 'bin', applet))
  }
  await must(['tar', '-C', tree, '-cf', archive, '.'])
  return archive
}

export async function importImage(docker: string, archive: string): Promise<void> {
  const there = await must(['docker', '-H', docker, 'images', '-q', image])
  if (there === '') await must(['docker', '-H', docker, 'import', '-c', 'CMD ["sh"]', archive, image])
}
