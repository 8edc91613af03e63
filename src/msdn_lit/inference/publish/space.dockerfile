# The page of the model {{ name }}.
#   docker build --tag {{ name }} . && docker run --rm --publish {{ port }}:{{ port }} {{ name }}
# Then open http://localhost:{{ port }}. If its address has another name: docker run --env ALLOW_HOST=NAME ...
FROM python:{{ python }}-slim
RUN useradd --create-home --uid 1000 user
USER user
ENV PATH=/home/user/.local/bin:$PATH PYTHONUNBUFFERED=1
WORKDIR /home/user/app
COPY --chown=user requirements.txt {{ wheel }} ./
RUN pip install --no-cache-dir --user --requirement requirements.txt
COPY --chown=user bundle bundle
{% if has_samples %}
COPY --chown=user samples samples
{% endif %}
EXPOSE {{ port }}
HEALTHCHECK --start-period=60s CMD ["python", "-c", "from urllib.request import urlopen; urlopen('http://127.0.0.1:{{ port }}/model')"]
# A Space sets SPACE_HOST and shows the page in a frame of huggingface.co.
CMD exec msdn app bundle/{{ name }}{{ " --samples samples" if has_samples }} --host 0.0.0.0 --port {{ port }} --allow-host "${SPACE_HOST:-localhost}" --allow-host "${ALLOW_HOST:-localhost}" --allow-frame https://huggingface.co
