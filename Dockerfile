# For a machine without a GPU. The default PyTorch build brings its CUDA libraries, so the image takes several GB.
#   docker build -t msdn-lit . && docker run --rm -v "$PWD:/workspace" msdn-lit doctor
FROM python:3.11-slim
WORKDIR /opt/msdn-lit
COPY pyproject.toml constraints.txt README.md LICENSE ./
COPY src src
COPY conf conf
RUN pip install --no-cache-dir --constraint constraints.txt ".[tensorboard,sweeps,wandb,app,figures,export,backbone]"
ENV MSDN_DATA_DIR=/workspace/data MSDN_FEATURE_DIR=/workspace/data/features MSDN_LOG_DIR=/workspace/logs
WORKDIR /workspace
ENTRYPOINT ["msdn"]
