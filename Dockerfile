# The service on PostgreSQL or on an embedded SQLite file in /data, with the signing key beside it:
#   docker build -t posts . && docker run --rm -p 127.0.0.1:8080:8080 -v posts-data:/data posts
# Settings are given as variables rather than as arguments, so that the health check below sees the same ones.

FROM rust:1-bookworm AS build
# OpenSSL for the feature `tls`. rust:1-bookworm has these today; nothing promises it.
RUN apt-get update \
    && apt-get install -y --no-install-recommends libssl-dev pkg-config \
    && rm -rf /var/lib/apt/lists/*
WORKDIR /build
COPY . .
# The caches outlive the build: after a change to the sources the dependencies are not compiled again. The two
# sources are touched because cargo goes by the time of a file, and another checkout's may be older than what is in
# the cache. What is in a cache is no part of the image, hence the copy.
RUN --mount=type=cache,target=/usr/local/cargo/registry \
    --mount=type=cache,target=/build/target \
    touch src/lib.rs src/main.rs \
    && cargo build --release --locked --features tls \
    && cp target/release/posts /usr/local/bin/posts

# The same Debian release as above: the program is linked to its C library and its OpenSSL.
FROM debian:bookworm-slim
RUN apt-get update \
    && apt-get install -y --no-install-recommends ca-certificates libssl3 \
    && rm -rf /var/lib/apt/lists/*
# A fixed number, so that who mounts a folder or a secret knows whom to let read it.
RUN groupadd --gid 10001 posts \
    && useradd --uid 10001 --gid 10001 --no-create-home --home-dir /data --shell /usr/sbin/nologin posts \
    && install -d -o posts -g posts -m 700 /data
COPY --from=build /usr/local/bin/posts /usr/local/bin/posts

LABEL org.opencontainers.image.title="posts" \
      org.opencontainers.image.description="A JSON REST service over /posts" \
      org.opencontainers.image.licenses="Apache-2.0 OR MIT"

ENV POSTS_BIND=0.0.0.0:8080 \
    POSTS_DATA_DIR=/data
EXPOSE 8080
# By number: an orchestrator that refuses root can then tell that this is not root.
USER 10001:10001
VOLUME /data
# Where SQLite finds a place for temporary files when the rest of the file system is read-only.
WORKDIR /data
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=10s --timeout=6s --start-period=30s --retries=3 CMD ["posts", "health"]
ENTRYPOINT ["posts"]
