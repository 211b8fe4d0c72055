# Images for training, for the MLflow server and for what is served; compose.yaml runs them together.
#   docker build --target train -t medpipe .                       # --build-arg GPU=1: with CUDA's wheels
#   docker run -v "$PWD":"$PWD" -w "$PWD" medpipe        # dvc repro in the checkout
#   docker build --target serve -t medpipe-serve .
#   docker run -p 127.0.0.1:8000:8000 -e MLFLOW_TRACKING_URI=... medpipe-serve models:/skin-classifier@champion
# The checkout keeps its path inside: MLflow stores absolute ones.
FROM python:3.11-slim AS python
WORKDIR /opt/medpipe
COPY requirements*.lock pyproject.toml README.md LICENSE ./
RUN pip install --no-cache-dir "$(sed -n 's/^\(uv==[^ ]*\).*/\1/p' requirements.lock)"
ENV MLFLOW_DISABLE_TELEMETRY=true

FROM python AS train
ARG GPU=0
RUN apt-get update && apt-get install --yes --no-install-recommends git make && rm -rf /var/lib/apt/lists/* \
    && git config --system --add safe.directory '*'
RUN uv pip sync --system --no-cache --require-hashes --compile-bytecode \
    "$([ "$GPU" = 1 ] && echo requirements-gpu.lock || echo requirements.lock)"
COPY src src
RUN uv pip install --system --no-cache --no-deps --no-build-isolation --editable .
ENV NO_ALBUMENTATIONS_UPDATE=1 TF_CPP_MIN_LOG_LEVEL=2 MLFLOW_SERVER_ENABLE_JOB_EXECUTION=false
CMD ["dvc", "repro"]

FROM python AS web
RUN uv pip sync --system --no-cache --require-hashes --compile-bytecode requirements-ui.lock && useradd --create-home medpipe
WORKDIR /home/medpipe

FROM web AS ui
USER medpipe
ENV MLFLOW_SERVER_ENABLE_JOB_EXECUTION=false
EXPOSE 5000
HEALTHCHECK --start-period=60s CMD ["python", "-c", "import urllib.request; urllib.request.urlopen('http://127.0.0.1:5000/health')"]
ENTRYPOINT ["mlflow", "server", "--host", "0.0.0.0", "--port", "5000"]

FROM web AS app
COPY src /opt/medpipe/src
RUN uv pip install --system --no-cache --no-deps /opt/medpipe
USER medpipe
EXPOSE 8501
HEALTHCHECK --start-period=30s CMD ["python", "-c", "import urllib.request; urllib.request.urlopen('http://127.0.0.1:8501/_stcore/health')"]
CMD ["python", "-m", "medpipe.app", "--server.port=8501", "--server.address=0.0.0.0"]

FROM python AS serve
RUN uv pip sync --system --no-cache --require-hashes --compile-bytecode requirements-serve.lock
COPY src src
RUN uv pip install --system --no-cache --no-deps . && useradd --create-home medpipe
USER medpipe
WORKDIR /home/medpipe
EXPOSE 8000
HEALTHCHECK --start-period=30s CMD ["python", "-c", "import urllib.request; urllib.request.urlopen('http://127.0.0.1:8000/health')"]
ENTRYPOINT ["medpipe", "serve", "--host", "0.0.0.0", "--port", "8000"]
