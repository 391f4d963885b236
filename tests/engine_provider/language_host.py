"""A language host that knows no program: for commands of the engine that only ask it which plugins are needed.

`pulumi import` is one. Pulumi's own host comes with its installer; no module or wheel has it. The engine starts this
one, reads its port from standard output, and ends it.
"""

from concurrent.futures import ThreadPoolExecutor

import grpc
from pulumi.automation._server import LanguageServer
from pulumi.runtime.proto import language_pb2_grpc


def main() -> None:
    """Serve until it is ended."""
    server = grpc.server(ThreadPoolExecutor(4))
    language_pb2_grpc.add_LanguageRuntimeServicer_to_server(LanguageServer(lambda: None), server)
    print(server.add_insecure_port("127.0.0.1:0"), flush=True)
    server.start()
    server.wait_for_termination()


if __name__ == "__main__":
    main()
