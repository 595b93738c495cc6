# The bot, and the Postgres server that it runs by itself where DATABASE_URL is unset.
FROM rust:1-bookworm AS build
WORKDIR /src
COPY . .
ENV SQLX_OFFLINE=true
RUN cargo build --release --locked --package bytekeeper --bin bytekeeper

FROM debian:bookworm-slim
# One major version for as long as the data volume lives: another one can't read it.
# docs/hosting.md tells how to move. No cluster of Debian's own: the bot makes one in its volume.
RUN export DEBIAN_FRONTEND=noninteractive \
    && apt-get update \
    && apt-get install -y --no-install-recommends postgresql-common \
    && sed -i 's/^#create_main_cluster.*/create_main_cluster = false/' /etc/postgresql-common/createcluster.conf \
    && apt-get install -y --no-install-recommends postgresql-15 \
    && rm -rf /var/lib/apt/lists/*
# The ids are fixed, since they own the volume's files.
RUN groupadd --gid 10001 bytekeeper \
    && useradd --uid 10001 --gid 10001 --no-create-home --home-dir /var/lib/bytekeeper bytekeeper \
    && install -d -m 0700 -o bytekeeper -g bytekeeper /var/lib/bytekeeper
COPY --from=build /src/target/release/bytekeeper /usr/local/bin/bytekeeper
USER bytekeeper
WORKDIR /var/lib/bytekeeper
ENV DATA_DIR=/var/lib/bytekeeper
VOLUME /var/lib/bytekeeper
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=30s --timeout=5s --start-period=60s CMD ["bytekeeper", "health"]
ENTRYPOINT ["bytekeeper"]
