#!/bin/sh
# Start tritonserver in the container: the one place for its flags. More flags may follow as arguments.
#
#   TRITON_ADMIN_KEY  required; `openssl rand -hex 32`. Opens the endpoints that are for operators only. Letters
#                     and digits: Triton splits the flag at "," ":" and "=".
#   TRITON_TLS        a folder with tls.crt, tls.key and ca.crt: gRPC then takes only TLS clients with a certificate of
#                     that CA. Triton has no TLS for HTTP: leave port 8000 to the health checks, behind a
#                     NetworkPolicy or unpublished.
set -eu
: "${TRITON_ADMIN_KEY:?set it to a secret: openssl rand -hex 32}"

case $TRITON_ADMIN_KEY in
*[!0-9A-Za-z]*) echo "start.sh: TRITON_ADMIN_KEY may hold letters and digits only: openssl rand -hex 32" >&2; exit 2 ;;
esac

# Endpoints that change the server or show other callers' work. Health, metadata, model configuration (our client reads
# it) and inference stay open. Triton answers 403 without the key; in gRPC UNAVAILABLE, which looks like a server that
# is away.
operators=shared-memory,model-repository,statistics,trace,logging

if [ -n "${TRITON_TLS:-}" ]; then
    set -- --grpc-use-ssl-mutual=true --grpc-server-cert="$TRITON_TLS/tls.crt" \
        --grpc-server-key="$TRITON_TLS/tls.key" --grpc-root-cert="$TRITON_TLS/ca.crt" "$@"
fi

# Models: what is in the image at the start and nothing else, exactly as their files say; one that fails stops the
# server; ready means every model is.
set -- --model-repository=/models \
    --model-control-mode=none \
    --disable-auto-complete-config \
    --exit-on-error=true \
    --strict-readiness=true "$@"

# Doors: HTTP requests up to 64 MiB, which holds the largest batch of windows (41 MB). Triton has no such flag for gRPC
# (2 GB): the gateway limits it. A gRPC client stays on one server as long as its connection lasts: after five minutes it is
# asked to reconnect, which spreads the load over new replicas; calls under way get a minute to finish.
set -- --http-max-input-size=67108864 \
    --http-restricted-api="$operators:x-admin-key=$TRITON_ADMIN_KEY" \
    --grpc-restricted-protocol="$operators:x-admin-key=$TRITON_ADMIN_KEY" \
    --grpc-max-connection-age=300000 \
    --grpc-max-connection-age-grace=60000 \
    --allow-sagemaker=false \
    --allow-vertex-ai=false "$@"

# Working: 64 MiB of cached responses are tens of thousands of texts at 1 KB an embedding. Quantiles of latency, beside the
# sums that Triton always counts. Time stamps that log collectors know. At the end, 30 s for requests in flight.
set -- --cache-config=local,size=67108864 \
    --metrics-config=summary_latencies=true \
    --log-format=ISO8601 \
    --exit-timeout-secs=30 "$@"

# TensorRT's engines. ONNX Runtime writes one in place: half an engine, or one that two servers wrote at once, would fail
# this start and all later ones. So servers that share the folder (pods of one node with several GPUs) start one after
# another, and the second loads what the first built. The lock ends when the server is ready, or with it.
engines=/tmp/musicsearch-tensorrt
ready='import urllib.request; urllib.request.urlopen("http://127.0.0.1:8000/v2/health/ready", timeout=5)'
if [ -w "$engines" ]; then
    exec 9>"$engines/lock"
    flock 9 || echo "start.sh: $engines cannot be locked: start only one server there at a time" >&2
    (while kill -0 $$ && ! python3 -c "$ready"; do sleep 2; done 2>/dev/null; flock -u 9) & # $$ becomes tritonserver's
else
    echo "start.sh: user $(id -u) cannot write $engines: each start on a GPU will build its engine, for minutes" >&2
fi

exec tritonserver "$@"
