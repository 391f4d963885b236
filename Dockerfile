# One file, two images from the same layers:
#   docker build .                every program of the Kubernetes stack, e.g. python -m runtime.operator
#   docker build --target fly .   the same with the Fly.io agent as its command (what fly.toml builds)
# The final stages run no command of their own, so any base that has a `python` of 3.11 or newer on its PATH will do.
# The default is a tag, for trying it out. `make image` and a stack without a sandbox want a digest:
# --build-arg BASE_IMAGE=python:3.12-slim@sha256:...
ARG BASE_IMAGE=python:3.12-slim
# Where pip runs; needs `python3 -m pip` of the base's own Python version. A private index or a directory of wheels is
# pip's own configuration (PIP_INDEX_URL, PIP_FIND_LINKS, pip.conf) in this image, which the final image does not inherit.
ARG BUILDER_IMAGE=${BASE_IMAGE}

FROM ${BASE_IMAGE} AS base

FROM ${BUILDER_IMAGE} AS builder
# The official Python images ship their standard library as source only, and a read-only root keeps it so: each start
# would compile it anew, three quarters of the CPU time of a start. A file that does not compile stays source.
RUN stdlib=$(python3 -c 'import sysconfig; print(sysconfig.get_path("stdlib"))') \
 && { PYTHONHASHSEED=0 python3 -m compileall -q -j 1 -x site-packages --invalidation-mode unchecked-hash "$stdlib" || true; } \
 && mkdir -p "/build/stdlib$stdlib" \
 && cp -r "$stdlib/." "/build/stdlib$stdlib" \
 && find /build/stdlib ! -type d ! -name '*.pyc' -exec rm {} +
COPY requirements/runtime.txt /build/runtime.txt
# Only wheels whose hashes are on file; no compiler is needed and none of a dependency's code runs while building.
# uvloop is for the Fly agent alone.
# Unchecked-hash bytecode carries no source time, so two builds agree byte for byte; the read-only root file system of
# the pods could not hold bytecode written later. One worker: the order of work is the order of the result.
RUN python3 -m pip install --require-hashes --only-binary=:all: --no-compile --no-cache-dir --no-input \
      --disable-pip-version-check --root-user-action=ignore --target=/build/app/lib -r /build/runtime.txt \
 && rm -rf /build/app/lib/bin \
 && PYTHONHASHSEED=0 python3 -m compileall -q -j 1 --invalidation-mode unchecked-hash -s /build -p / /build/app \
 && mkdir /build/fly && mv /build/app/lib/uvloop* /build/fly/
# The accounts of the base plus ours; the images name the user by number, so that `runAsNonRoot` can check it.
COPY --from=base /etc/passwd /etc/group /build/etc/
RUN echo 'agent:x:10001:10001:agent:/workspace:/usr/sbin/nologin' >> /build/etc/passwd \
 && echo 'agent:x:10001:' >> /build/etc/group \
 && mkdir -p /build/writable
# Last, so that a change of the sources repeats nothing of the above.
COPY runtime /build/app/runtime
RUN PYTHONHASHSEED=0 python3 -m compileall -q -j 1 --invalidation-mode unchecked-hash \
      -s /build -p / /build/app/runtime

FROM ${BASE_IMAGE} AS programs
ARG BASE_IMAGE
ARG VERSION=0.1.0
ARG REVISION=unknown
LABEL org.opencontainers.image.title="purpleflea-runtime" \
      org.opencontainers.image.description="Pays AI agents exactly once: operator, payroll, metrics server, MCP proxy, agents" \
      org.opencontainers.image.licenses="MIT" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.revision="${REVISION}" \
      org.opencontainers.image.base.name="${BASE_IMAGE}"
COPY --from=builder /build/etc/passwd /build/etc/group /etc/
# The only two places a program may write to; pods mount an emptyDir or a volume over them.
COPY --from=builder --chown=10001:10001 /build/writable /workspace
COPY --from=builder --chown=10001:10001 /build/writable /data
COPY --from=builder /build/stdlib /
COPY --from=builder /build/app/lib /app/lib
COPY --from=builder /build/app/runtime /app/runtime
# PYTHONSAFEPATH: a file that an agent leaves in its working directory is never imported.
ENV PYTHONPATH=/app:/app/lib \
    PYTHONSAFEPATH=1 \
    PYTHONUNBUFFERED=1 \
    PYTHONDONTWRITEBYTECODE=1
WORKDIR /workspace
USER 10001:10001
STOPSIGNAL SIGTERM
# No HEALTHCHECK: probes are the platform's (Kubernetes probes, Fly checks), and Kubernetes ignores the image's.

FROM programs AS fly
LABEL org.opencontainers.image.title="purpleflea-fly-agent"
COPY --from=builder /build/fly /app/lib
EXPOSE 8080 9091
CMD ["python", "-m", "runtime.agent"]

# Last, so that it is what a build without a target makes. Every manifest names its own command.
FROM programs AS runtime
CMD ["python", "-m", "runtime.operator"]
