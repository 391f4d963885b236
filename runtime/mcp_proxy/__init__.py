"""The MCP sidecar: an agent talks to localhost, the sidecar keeps the key and the rules.

http_server                 HTTP/1.1 towards the agent; towards the upstreams it is `runtime.http1`
message                     one JSON-RPC message, read strictly; the errors that the sidecar itself answers with
tools                       what is known of the published tools: which are safe, which spend, which take the key
rules, budgets              what may be called and spent, and what already was; written down before it is sent
cache, breaker, upstream    lists, outages, and what may be sent again
proxy                       one exchange, from the agent's request to its log line
"""
