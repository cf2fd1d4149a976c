# The images of docker-compose.yml: a stage for each. It needs nothing that only BuildKit has.

# The broker, with its users, and a folder for its store that a user without privileges may write to.
FROM nats:2.15-alpine AS nats
RUN mkdir /data && chown 10001:10001 /data
COPY nats/nats.conf /etc/nats/nats-server.conf
COPY nats/users.conf /etc/nats/users.conf
USER 10001:10001


# The proxy, with the configuration that `cargo stack` uses too.
FROM nginx:1.30-alpine AS nginx
COPY nginx /etc/nginx/hasty
USER nginx
EXPOSE 8080
CMD ["nginx", "-e", "stderr", "-c", "/etc/nginx/hasty/compose.conf"]


# What decides which dependencies there are, and stubs in place of all sources. The next stage takes only this
# stage's result, so it comes from the cache until a manifest has changed.
FROM rust:1-slim-bookworm AS manifests
WORKDIR /hasty
COPY . .
RUN find . -type f ! -name Cargo.toml ! -name Cargo.lock ! -path ./.cargo/config.toml -delete \
 && find . -mindepth 1 -type d -empty -delete \
 # A target that is named in a manifest would be missed; none is needed for the dependencies.
 && for manifest in $(find . -mindepth 2 -name Cargo.toml); do \
      awk '/^\[/ { skip = /^\[\[(bin|bench|example|test)\]\]/ } !skip' "$manifest" >/tmp/manifest && cp /tmp/manifest "$manifest" \
      && mkdir -p "${manifest%/*}/src" && touch "${manifest%/*}/src/lib.rs" || exit 1; \
    done \
 && for service in api-service job-service hasty; do echo 'fn main() {}' >$service/src/main.rs || exit 1; done


FROM rust:1-slim-bookworm AS dependencies
WORKDIR /hasty
COPY --from=manifests /hasty .
RUN cargo build --release --locked --package api-service --package job-service --package hasty


FROM dependencies AS build
COPY shared-events shared-events
COPY service-kit service-kit
COPY api-service api-service
COPY job-service job-service
COPY clients/rust clients/rust
COPY hasty hasty
# The stubs are younger than the sources, which cargo would take for already built.
RUN find shared-events service-kit api-service job-service clients hasty -name '*.rs' -exec touch {} + \
 && cargo build --release --locked --package api-service --package job-service --package hasty \
 && strip --strip-debug target/release/api-service target/release/job-service target/release/hasty


FROM debian:bookworm-slim AS service
USER 10001:10001


FROM service AS api-service
COPY --from=build /hasty/target/release/api-service /usr/local/bin/
ENV API_ADDR=0.0.0.0:8000
EXPOSE 8000
HEALTHCHECK --interval=10s --timeout=5s --start-period=30s --retries=3 CMD ["api-service", "healthcheck"]
ENTRYPOINT ["api-service"]
CMD ["serve"]


FROM service AS job-service
COPY --from=build /hasty/target/release/job-service /usr/local/bin/
ENV WORKER_HEALTH_ADDR=127.0.0.1:8001
HEALTHCHECK --interval=10s --timeout=5s --start-period=30s --retries=3 CMD ["job-service", "healthcheck"]
ENTRYPOINT ["job-service"]
CMD ["serve"]


# The command line, for `docker compose run --rm top`.
FROM service AS hasty
COPY --from=build /hasty/target/release/hasty /usr/local/bin/
ENTRYPOINT ["hasty"]
CMD ["top"]
