# The service as one image: no build tools, no root, nothing written outside /var/lib/cds-service.
ARG BASE=docker.io/library/python:3.13.9-slim-bookworm

FROM ${BASE} AS build
WORKDIR /src
COPY requirements.txt requirements-build.txt ./
RUN python3 -m venv /opt/build && python3 -m venv --without-pip /opt/cds-service \
 && /opt/build/bin/pip install --no-cache-dir --require-hashes -r requirements-build.txt \
 && /opt/build/bin/pip --python /opt/cds-service/bin/python install --no-cache-dir \
      --require-hashes -r requirements.txt
COPY pyproject.toml README.md LICENSE ./
COPY cards cards
COPY fhir_fixtures fhir_fixtures
COPY cds_service cds_service
RUN /opt/build/bin/pip wheel --no-cache-dir --no-deps --no-build-isolation --wheel-dir /wheels . \
 && /opt/build/bin/pip --python /opt/cds-service/bin/python install --no-cache-dir --no-deps \
      /wheels/*.whl \
 && /opt/cds-service/bin/python -m compileall -q /opt/cds-service/lib

FROM ${BASE}
RUN mkdir -p /var/lib/cds-service /etc/cds-service && chown 10001:10001 /var/lib/cds-service
COPY --from=build /opt/cds-service /opt/cds-service
ENV PATH=/opt/cds-service/bin:$PATH PYTHONDONTWRITEBYTECODE=1 PYTHONUNBUFFERED=1
USER 10001:10001
WORKDIR /var/lib/cds-service
VOLUME /var/lib/cds-service
EXPOSE 8080
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=30s --timeout=3s --start-period=10s --retries=3 CMD ["python3", "-c", \
  "import urllib.request as u; u.urlopen('http://127.0.0.1:8080/health/ready', timeout=2)"]
ENTRYPOINT ["cds-service"]
CMD ["serve", "--host", "0.0.0.0", "--port", "8080", \
     "--config", "/etc/cds-service/clients.toml", "--state-dir", "/var/lib/cds-service"]
