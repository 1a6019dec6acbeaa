# Builds both programs, and an image that holds nothing else of the build.
FROM rust:1.95-slim-bookworm AS build
WORKDIR /src
COPY . .
RUN --mount=type=cache,target=/usr/local/cargo/registry \
    --mount=type=cache,target=/src/target \
    cargo build --release --locked --bins -p server -p loadgen \
    && install -D -t /out target/release/server target/release/loadgen

FROM debian:bookworm-slim
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
