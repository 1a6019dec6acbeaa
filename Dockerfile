# Builds both programs, and an image that holds nothing else of the build.
#
# The base images can be pinned by digest: --build-arg RUST_DIGEST=@sha256:... --build-arg DEBIAN_DIGEST=@sha256:...
# (`docker buildx imagetools inspect debian:bookworm-slim` prints the digest.)
ARG RUST_DIGEST=
ARG DEBIAN_DIGEST=

FROM rust:1.95-slim-bookworm${RUST_DIGEST} AS build
# The programs carry the list of their dependencies: `cargo audit bin` reads it. A debug build of the tool is quicker to make.
RUN cargo install cargo-auditable --version 0.7.7 --locked --debug --quiet
WORKDIR /src
COPY . .
RUN --mount=type=cache,target=/usr/local/cargo/registry \
    --mount=type=cache,target=/src/target \
    packaging/compile /out

FROM debian:bookworm-slim${DEBIAN_DIGEST}
COPY --from=build /out/ /usr/local/bin/
COPY demo.sh /usr/local/bin/demo
USER 65534:65534
EXPOSE 8080
# Other containers cannot reach 127.0.0.1 of this one.
ENV SERVER_LISTEN=0.0.0.0:8080
# An echo that comes back: "healthy" is what a client would call so.
HEALTHCHECK --interval=3s --timeout=2s --retries=3 \
    CMD ["sh", "-c", "echo healthy | loadgen talk --timeout 1s 127.0.0.1:8080 | grep -q HEALTHY"]
# SIGTERM, which docker sends, is what the server drains on.
CMD ["server"]
