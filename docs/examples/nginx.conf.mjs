// A file for /etc/nginx/conf.d/: one upstream and one server for each site.
import { sitesOf } from './sites.mjs'

const site = ({ name, host, servers }) => `upstream ${name} {
${servers.map(({ address }) => `  server ${address};`).join('\n')}
}

server {
  listen 8080;
  server_name ${host};
  location / {
    proxy_pass http://${name};
    proxy_set_header Host $host;
    proxy_set_header X-Forwarded-For $proxy_add_x_forwarded_for;
  }
}
`

export const render = (services) => sitesOf(services).map(site).join('\n')
