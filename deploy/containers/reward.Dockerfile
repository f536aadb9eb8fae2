# The reward service: environments and graders. No torch in it.
#
#   docker build -f deploy/containers/reward.Dockerfile -t tetrad-reward .
#
# BASE_IMAGE is any Debian or Ubuntu with Python 3.11 or 3.12 and its venv module.
ARG BASE_IMAGE=python:3.12-slim-bookworm

FROM ${BASE_IMAGE} AS builder
RUN python3 -m venv /opt/uv && /opt/uv/bin/pip install --no-cache-dir "uv>=0.9,<1"
# So that a proxy's own certificate counts, once it is in the base image or mounted.
ENV UV_SYSTEM_CERTS=1
WORKDIR /source
COPY pyproject.toml constraints.txt ./
COPY libs/wire libs/wire
COPY libs/transport libs/transport
COPY libs/config libs/config
COPY libs/telemetry libs/telemetry
COPY libs/runtime libs/runtime
COPY libs/weights libs/weights
COPY services/reward services/reward
RUN /opt/uv/bin/uv build --no-cache --all-packages --wheel --out-dir /wheels
ARG CONSTRAINTS=constraints.txt
# Extras, such as [math].
ARG EXTRAS=""
# All our wheels by path: nothing of ours is looked for in an index.
RUN /opt/uv/bin/uv venv --python "$(command -v python3)" /opt/tetrad \
    && /opt/uv/bin/uv pip install --no-cache --compile-bytecode --python /opt/tetrad/bin/python \
        --constraint "$CONSTRAINTS" "$(echo /wheels/tetrad_reward-*.whl)${EXTRAS}" /wheels/*.whl

FROM ${BASE_IMAGE}
RUN useradd --uid 10001 --create-home tetrad && install -d -o tetrad -g tetrad /outputs
COPY --from=builder /opt/tetrad /opt/tetrad
USER 10001:10001
WORKDIR /home/tetrad
ENV PATH=/opt/tetrad/bin:$PATH \
    PYTHONUNBUFFERED=1 \
    TETRAD_METRICS_HOST=0.0.0.0 \
    TETRAD_METRICS_PORT=9100
EXPOSE 9100
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=10s --timeout=5s --start-period=60s --retries=3 \
    CMD ["python3", "-c", "import urllib.request as r; r.urlopen('http://127.0.0.1:9100/healthz', timeout=3)"]
ENTRYPOINT ["tetrad-reward"]
