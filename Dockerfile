# The images of FaceGate: Python, the pinned dependencies and the gateway, on nothing else. Their root file systems are put
# together from what they really load, so they hold no shell, no package manager, no installer and no compiler.
#
#   the last stage       the gateway, for production: `make image`
#   --target sandbox     the same with the stand-in for the vendor and what decodes its photos, for a trial:
#                        `make image-sandbox`
#
# BASE may be any image of Debian or Ubuntu with Python 3.11 or newer. The digest is that of the image for all platforms.
ARG BASE=docker.io/library/python:3.13.14-slim-bookworm@sha256:67a1e1f215ccda113cfc024e8639049257e88f273898f595b61476d128d387e8

FROM ${BASE} AS python
ENV PIP_CACHE_DIR=/var/cache/pip PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_COMPILE=1 PIP_ROOT_USER_ACTION=ignore \
    PYTHONDONTWRITEBYTECODE=1

# --- Dependencies: this layer changes with the pins alone -----------------------------------------------------------
FROM python AS dependencies
RUN python3 -m venv --without-pip /opt/facegate
# Copied, not mounted: some builders take a layer from their cache although a mounted file has changed.
COPY requirements/runtime.txt /requirements/
RUN --mount=type=cache,target=/var/cache/pip \
    python3 -m pip --python /opt/facegate/bin/python install --quiet --no-deps --only-binary :all: --require-hashes \
      -r /requirements/runtime.txt
COPY scripts/image/no_core_dumps.py /usr/local/share/facegate/
# Bytecode is made here, since the container cannot write any; it is never compared with its source again.
RUN python3 /usr/local/share/facegate/no_core_dumps.py /opt/facegate/bin/python \
    && /opt/facegate/bin/python -m compileall -q -j 0 --invalidation-mode unchecked-hash /opt/facegate/lib

FROM dependencies AS sandbox-dependencies
COPY requirements/sandbox.txt /requirements/
RUN --mount=type=cache,target=/var/cache/pip \
    python3 -m pip --python /opt/facegate/bin/python install --quiet --no-deps --only-binary :all: --require-hashes \
      -r /requirements/sandbox.txt \
    && /opt/facegate/bin/python -m compileall -q -j 0 --invalidation-mode unchecked-hash /opt/facegate/lib

# --- The gateway ----------------------------------------------------------------------------------------------------
FROM dependencies AS application
COPY requirements/build.txt /requirements/
RUN --mount=type=cache,target=/var/cache/pip \
    python3 -m venv --without-pip /opt/build \
    && python3 -m pip --python /opt/build/bin/python install --quiet --no-deps --only-binary :all: --require-hashes \
      -r /requirements/build.txt
WORKDIR /source
COPY . .
RUN /opt/build/bin/python -m hatchling build -t wheel -d /wheel \
    && python3 -m pip --python /opt/facegate/bin/python install --quiet --no-deps --no-index --no-cache-dir \
      /wheel/*.whl \
    && /opt/facegate/bin/python -P -c 'import gateway.app, gateway.cli.client, gateway.cli.serve' \
    && python3 scripts/image/overlay.py /opt/facegate/bin/python facegate /overlay --without gateway/sandbox/

FROM sandbox-dependencies AS sandbox-application
COPY --from=application /wheel /wheel
COPY scripts/image/overlay.py /usr/local/share/facegate/
RUN python3 -m pip --python /opt/facegate/bin/python install --quiet --no-deps --no-index --no-cache-dir /wheel/*.whl \
    && /opt/facegate/bin/python -P -c 'import gateway.sandbox.server' \
    && python3 /usr/local/share/facegate/overlay.py /opt/facegate/bin/python facegate /overlay

# --- What Python and the libraries load from the system ---------------------------------------------------------------
FROM dependencies AS system
COPY scripts/image/root.py /usr/local/share/facegate/
RUN python3 /usr/local/share/facegate/root.py /opt/facegate /root-fs

FROM sandbox-dependencies AS sandbox-system
COPY scripts/image/root.py /usr/local/share/facegate/
RUN python3 /usr/local/share/facegate/root.py /opt/facegate /root-fs

# --- Their lists of contents, CycloneDX: `make sbom` -----------------------------------------------------------------
FROM application AS contents
COPY --from=system /root-fs/var/lib/dpkg/status.d /status.d
RUN python3 scripts/image/sbom.py /opt/facegate /status.d > /facegate.cdx.json

FROM sandbox-application AS sandbox-contents
COPY scripts/image/sbom.py /usr/local/share/facegate/
COPY --from=sandbox-system /root-fs/var/lib/dpkg/status.d /status.d
RUN python3 /usr/local/share/facegate/sbom.py /opt/facegate /status.d > /facegate.cdx.json

FROM scratch AS sbom
COPY --from=contents /facegate.cdx.json /

# --- The images -----------------------------------------------------------------------------------------------------
FROM scratch AS settings
ENV PATH=/opt/facegate/bin LANG=C.UTF-8 PYTHONDONTWRITEBYTECODE=1 PYTHONUNBUFFERED=1 PYTHONSAFEPATH=1 \
    SSL_CERT_FILE=/etc/ssl/certs/ca-certificates.crt
# By number, so that Kubernetes can see that it is not root.
USER 65532:65532
STOPSIGNAL SIGTERM
ENTRYPOINT ["facegate"]
CMD ["--help"]
# `make image` adds the version and the revision: as arguments here, some builders would take them from their cache.
LABEL org.opencontainers.image.licenses="Apache-2.0"

FROM settings AS sandbox
COPY --from=sandbox-system /root-fs /
COPY --from=sandbox-dependencies /opt/facegate /opt/facegate
COPY --from=sandbox-application /overlay /
COPY --from=sandbox-contents /facegate.cdx.json /usr/share/facegate/
EXPOSE 8080
LABEL org.opencontainers.image.title="FaceGate's sandbox" \
      org.opencontainers.image.description="FaceGate with a stand-in for the vendor, for trials"

FROM settings AS gateway
COPY --from=system /root-fs /
COPY --from=dependencies /opt/facegate /opt/facegate
COPY --from=application /overlay /
COPY --from=contents /facegate.cdx.json /usr/share/facegate/
EXPOSE 50051 50052 9464
LABEL org.opencontainers.image.title="FaceGate" \
      org.opencontainers.image.description="A gRPC gateway to a face search service"
