# One image for training and for the MLflow UI:
#   docker build -t medpipe .
#   docker run -v "$PWD":"$PWD" -w "$PWD" -e PYTHONPATH="$PWD/src" medpipe        # dvc repro in the checkout
#   docker run -v "$PWD":"$PWD" -w "$PWD" -p 127.0.0.1:5000:5000 medpipe mlflow server --host 0.0.0.0 --port 5000 \
#     --workers 1 --backend-store-uri "sqlite:///$PWD/mlflow.db" --artifacts-destination "$PWD/mlartifacts"
# The checkout keeps its path inside: MLflow stores absolute ones.
FROM python:3.11-slim

RUN apt-get update && apt-get install --yes --no-install-recommends git make && rm -rf /var/lib/apt/lists/* \
    && git config --system --add safe.directory '*'

WORKDIR /opt/medpipe
COPY requirements.lock pyproject.toml README.md LICENSE ./
RUN pip install --no-cache-dir "$(sed -n 's/^\(uv==[^ ]*\).*/\1/p' requirements.lock)" \
    && uv pip sync --system --no-cache --require-hashes --compile-bytecode requirements.lock
COPY src src
RUN uv pip install --system --no-cache --no-deps --no-build-isolation --editable .

ENV NO_ALBUMENTATIONS_UPDATE=1 MLFLOW_DISABLE_TELEMETRY=true TF_CPP_MIN_LOG_LEVEL=2 \
    MLFLOW_SERVER_ENABLE_JOB_EXECUTION=false
CMD ["dvc", "repro"]
