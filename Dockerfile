# Three images, each one static program on nothing else:
#   docker build --target hello-server|hello-client|netpol .
# For several architectures: docker buildx build --platform linux/amd64,linux/arm64 …

FROM rust:1.95-slim-bookworm AS build
WORKDIR /src
COPY . .
ARG CARGO_TARGET_DIR=/src/target
# The target is named, so that build scripts and macros are not made static. Packed relocations
# are a tenth of a static program with address space randomisation. Where it was built is kept out.
RUN --mount=type=cache,target=/usr/local/cargo/registry \
    --mount=type=cache,target=/src/target \
    target=$(uname -m)-unknown-linux-gnu && \
    export RUSTFLAGS="-C target-feature=+crt-static -C link-arg=-Wl,-z,pack-relative-relocs \
      --remap-path-prefix=$CARGO_TARGET_DIR=/target --remap-path-prefix=/usr/local/cargo=/cargo \
      --remap-path-prefix=/src=/" && \
    cargo build --locked --profile image --target "$target" --bins \
      -p hello-server -p hello-client -p netpol && \
    mkdir /out && \
    for program in hello-server hello-client netpol; do \
      cp "$CARGO_TARGET_DIR/$target/image/$program" /out/ || exit 1; \
    done

# The unit tests of what the images hold: docker build --target test .
FROM build AS test
RUN --mount=type=cache,target=/usr/local/cargo/registry \
    --mount=type=cache,target=/src/target \
    cargo test --locked -p hello-server -p hello-client -p hello-common -p netpol

FROM scratch AS program
ARG REVISION=unknown
LABEL org.opencontainers.image.version="1.0.0" \
      org.opencontainers.image.revision="$REVISION" \
      org.opencontainers.image.licenses="Apache-2.0"
USER 9999:9999

FROM program AS hello-server
LABEL org.opencontainers.image.title="hello-server" \
      org.opencontainers.image.description="Answers every HTTP request with a greeting, its version and its hostname"
COPY --from=build /out/hello-server /hello-server
EXPOSE 8080
HEALTHCHECK --interval=5s --timeout=3s CMD ["/hello-server", "--health-check"]
ENTRYPOINT ["/hello-server"]

FROM program AS hello-client
LABEL org.opencontainers.image.title="hello-client" \
      org.opencontainers.image.description="Polls a URL and says how each poll ended"
COPY --from=build /out/hello-client /hello-client
# Its log says how it is.
HEALTHCHECK NONE
ENTRYPOINT ["/hello-client"]

FROM program AS netpol
LABEL org.opencontainers.image.title="netpol" \
      org.opencontainers.image.description="What Kubernetes NetworkPolicies mean, checked and enforced with no cluster"
COPY --from=build /out/netpol /netpol
# Only `netpol enforce` has a health: compose.yaml checks it.
HEALTHCHECK NONE
# By name, so that `docker compose exec policy netpol …` finds it too.
ENV PATH=/
ENTRYPOINT ["/netpol"]
