// An agent on a TypeScript SDK, run by a Node in whose folder it is installed: `client.mjs URL PACKAGE [auto]`.
// PACKAGE is @modelcontextprotocol/client, or @modelcontextprotocol/sdk of the older era.
import { createRequire } from 'node:module'
import { pathToFileURL } from 'node:url'

const [url, name, mode] = process.argv.slice(2)
const require = createRequire(pathToFileURL(process.cwd() + '/package.json'))
const load = path => import(pathToFileURL(require.resolve(path)))
const older = name.endsWith('/sdk')
const { Client } = await load(older ? `${name}/client/index.js` : name)
const { StreamableHTTPClientTransport } = await load(older ? `${name}/client/streamableHttp.js` : name)

const client = new Client({ name: 'agent', version: '1' }, mode ? { versionNegotiation: { mode } } : {})
await client.connect(new StreamableHTTPClientTransport(new URL(url)))
const text = answer => answer.content[0].text
console.log((await client.listTools()).tools.map(tool => tool.name).join(' '))
console.log(text(await client.callTool({ name: 'add', arguments: { a: 1, b: 2 } })))
console.log(text(await client.callTool({ name: 'count', arguments: { to: 5 } })))
console.log((await client.readResource({ uri: 'note://one' })).contents[0].text)
await client.close()
