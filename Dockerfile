# The image for a Deployment, Knative and OpenFaaS. It serves HTTP on PORT (8080), or HTTPS (8443)
# with the certificate in ECI_PROFILE_TLS_DIR. It writes nothing and needs no shell.

# A whole reference, so that it can be a mirror's: any image with Python 3.10 or later on the PATH,
# with venv, and pip 22.3 or later.
ARG BASE=docker.io/library/python:3.13.16-slim-trixie

FROM ${BASE} AS build
# pip reads these. Without them: the index that the base's pip is configured for, or PyPI.
ARG PIP_INDEX_URL
ARG PIP_EXTRA_INDEX_URL
ARG PIP_TRUSTED_HOST
COPY requirements.txt /
RUN ["python", "-m", "venv", "--without-pip", "/venv"]
# Without dependencies, since all are pinned.
RUN ["python", "-m", "pip", "--python", "/venv", "install", "--no-deps", "--no-cache-dir", \
"--disable-pip-version-check", "-r", "requirements.txt"]
COPY handler /app/handler
# Now, for at run time there is nowhere to write it.
RUN ["python", "-m", "compileall", "-q", "/app"]

FROM ${BASE}
# What of the base's Python only those who write or install programs need: pip and what else is in
# site-packages (the function has those of /venv), the parts of the library that nothing here
# imports, and their commands.
RUN ["python", "-c", "import glob, os, shutil, sysconfig; \
lib, bin = sysconfig.get_path('stdlib'), sysconfig.get_path('scripts'); \
[shutil.rmtree(os.path.join(lib, name), ignore_errors=True) for name in \
('ensurepip', 'idlelib', 'lib2to3', 'pydoc_data', 'site-packages', 'test', 'tkinter', 'turtledemo')]; \
[os.unlink(path) for name in ('2to3*', 'idle*', 'pip*', 'pydoc*', 'python*-config') \
for path in glob.glob(os.path.join(bin, name))]"]
# The base comes without, and to compile what a start needs takes longer than the start.
RUN ["python", "-c", "import compileall, sysconfig; \
raise SystemExit(not compileall.compile_dir(sysconfig.get_path('stdlib'), quiet=1))"]
COPY --from=build /venv /venv
COPY --from=build /app /app
COPY LICENSE /app/
ENV PATH="/venv/bin:$PATH" \
    PYTHONDONTWRITEBYTECODE=1 \
    PYDANTIC_DISABLE_PLUGINS=__all__ \
    MALLOC_ARENA_MAX=1
WORKDIR /app
USER 65532:65532
EXPOSE 8080 8443
# Not functions-framework: it closes idle connections after 2 s, which a proxy in front would use.
CMD ["python", "-m", "handler.serve"]
# At the end, so that another revision changes no layer.
ARG VERSION=0.2.0.dev0
ARG REVISION=unknown
LABEL org.opencontainers.image.title="eci-profile" \
      org.opencontainers.image.description="A Kubernetes admission webhook that sends pods to virtual nodes by their labels" \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.revision="${REVISION}"
