# The HTTP server (docs/serving.md), for CPUs:
#   docker build -t xpose .
# For NVIDIA GPUs, with PyTorch:
#   docker build -t xpose-cuda --build-arg EXTRAS=serve,torch .
FROM python:3.12-slim

ARG EXTRAS=serve
ENV PYTHONDONTWRITEBYTECODE=1 \
    PYTHONUNBUFFERED=1 \
    PIP_NO_CACHE_DIR=1 \
    PIP_DISABLE_PIP_VERSION_CHECK=1

WORKDIR /app
COPY pyproject.toml README.md LICENSE NOTICE ./
COPY src ./src
# hadolint ignore=DL3013
RUN python -m pip install ".[${EXTRAS}]" \
    && rm -rf /app \
    && useradd --uid 10001 --no-create-home --shell /usr/sbin/nologin xpose

WORKDIR /
USER 10001
EXPOSE 8000
HEALTHCHECK --interval=10s --timeout=3s --start-period=60s CMD ["python", "-c", "import urllib.request; urllib.request.urlopen('http://127.0.0.1:8000/readyz', timeout=2)"]
ENTRYPOINT ["xpose", "serve", "--host", "0.0.0.0", "--port", "8000"]
