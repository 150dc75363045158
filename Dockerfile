# The image for a Deployment, Knative and OpenFaaS. It serves HTTP on PORT (8080), or HTTPS (8443)
# with the certificate in ECI_PROFILE_TLS_DIR. It writes nothing and needs no shell.
ARG PYTHON=3.13.16-slim-trixie

FROM python:${PYTHON} AS build
COPY requirements.txt /
RUN ["python", "-m", "venv", "/venv"]
RUN ["/venv/bin/pip", "install", "--no-cache-dir", "--disable-pip-version-check", "-r", "requirements.txt"]
COPY handler /app/handler
# Now, for at run time there is nowhere to write it.
RUN ["python", "-m", "compileall", "-q", "/app"]

FROM python:${PYTHON}
ARG VERSION
LABEL org.opencontainers.image.version="${VERSION}"
# The base comes without, and to compile what a start needs takes longer than the start.
RUN ["python", "-m", "compileall", "-q", "-x", "site-packages|idlelib|tkinter|lib2to3", "/usr/local/lib"]
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
