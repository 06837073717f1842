"""`serve/deploy/` against its sources: no container runs here, so names, paths, ports and flags are compared with them.

The flags go through the parser of a real tritonserver (the wheel's, 24.10), the gateway's calls are looked up in
Triton's protobuf service, metric names in its documentation, Kubernetes' objects in its schemas.
"""

import http.client
import http.server
import json
import os
import re
import select
import shutil
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import kubernetes_validate
import pytest
import yaml

from serve import Ports
from serve.server import LOOPBACK, Server, assemble_backends, claim, environment_of, find_wheel

ROOT = Path(__file__).parents[2]
DEPLOY = ROOT / "serve/deploy"
REPOSITORY = ROOT / "model_repository"
ADMIN_KEY = "0123abcd"
OPERATORS = {"shared-memory", "model-repository", "statistics", "trace", "logging"}

# In NVIDIA's container, but younger than the wheel (triton-inference-server/server, pull request 8174, April 2025).
FLAGS_NEWER_THAN_THE_WHEEL = {"--http-max-input-size"}

# triton-inference-server/server, docs/user_guide/metrics.md; the last is not there, but in what the wheel exports.
DOCUMENTED_METRICS = {
    *(f"nv_inference_{name}" for name in ("request_success", "request_failure", "count", "exec_count")),
    *(f"nv_inference_{part}_{kind}_us" for part in ("request", "queue") for kind in ("duration", "summary")),
    *(f"nv_inference_compute_{part}_duration_us" for part in ("input", "infer", "output")),
    *(f"nv_gpu_{name}" for name in ("power_usage", "power_limit", "utilization")),
    *(f"nv_{device}_memory_{size}_bytes" for device in ("gpu", "cpu") for size in ("total", "used")),
    *(f"nv_cache_{name}_per_model" for name in ("num_hits", "num_misses", "hit_duration", "miss_duration")),
    "nv_energy_consumption",
    "nv_cpu_utilization",
    "nv_inference_pending_request_count",
}


def _read(name):
    return (DEPLOY / name).read_text()


def _load(name):
    return yaml.safe_load(_read(name))


def _of_audio_encoder(pattern):
    return re.search(pattern, (REPOSITORY / "audio_encoder/config.pbtxt").read_text())[1]


def _engines():
    """Where ONNX Runtime keeps what TensorRT built."""
    return _of_audio_encoder('"trt_engine_cache_path" value: "(.+)"')


def _fingerprint():
    """The first 16 digits, as TensorRT's engines have them too."""
    return _of_audio_encoder(r'"fingerprint" value: \{ string_value: "(\w{16})')


def _release():
    return re.search(r"^ARG TRITON=(\d\d\.\d\d)$", _read("Dockerfile"), re.MULTILINE)[1]


# ---- start.sh


@pytest.fixture(scope="module")
def start(tmp_path_factory):
    """Run start.sh with a tritonserver that only prints its arguments."""
    folder = tmp_path_factory.mktemp("bin")
    stand_in = folder / "tritonserver"
    stand_in.write_text('#!/bin/sh\nprintf "%s\\n" "$@"\n')
    stand_in.chmod(0o755)

    def run(*arguments, **variables):
        environment = {"PATH": f"{folder}:{os.defpath}", **variables}
        return subprocess.run([DEPLOY / "start.sh", *arguments], env=environment, capture_output=True, text=True)

    return run


def _flags(process):
    assert process.returncode == 0, process.stderr
    return process.stdout.splitlines()


@pytest.mark.parametrize("tls", [{}, {"TRITON_TLS": "/tls"}])
def test_a_real_tritonserver_parses_the_flags(start, tls, tmp_path):
    wheel = find_wheel()
    flags = _flags(start("--allow-gpu-metrics=false", TRITON_ADMIN_KEY=ADMIN_KEY, **tls))
    known = [flag for flag in flags if flag.partition("=")[0] not in FLAGS_NEWER_THAN_THE_WHEEL]
    missing = tmp_path / "no_models"
    # The last of a repeated flag counts. It stops at the repository, before it listens anywhere.
    known = [flag for flag in known if not flag.startswith("--model-repository=")]
    command = [wheel.tritonserver, *known, f"--model-repository={missing}"]
    caches = f"--cache-directory={wheel.caches}"
    stopped = subprocess.run([*command, caches], env=environment_of(wheel), capture_output=True, text=True, timeout=60)
    output = stopped.stdout + stopped.stderr
    assert "Usage:" not in output  # what it prints at a flag or a value that it does not know
    assert str(missing) in output


def test_the_wheel_refuses_a_flag_that_does_not_exist():
    wheel = find_wheel()
    command = [wheel.tritonserver, "--model-repository=/missing", "--http-restricted-api=loging:key=value"]
    refused = subprocess.run(command, env=environment_of(wheel), capture_output=True, text=True, timeout=60)
    assert "Usage:" in refused.stdout + refused.stderr


def test_flags_newer_than_the_wheel_are_used_and_really_newer(start):
    wheel = find_wheel()
    listed = subprocess.run([wheel.tritonserver, "--help"], env=environment_of(wheel), capture_output=True, text=True)
    known = set(re.findall(r"^  (--[\w-]+)", listed.stdout + listed.stderr, re.MULTILINE))
    used = {flag.partition("=")[0] for flag in _flags(start(TRITON_ADMIN_KEY=ADMIN_KEY, TRITON_TLS="/tls"))}
    assert used - known == FLAGS_NEWER_THAN_THE_WHEEL


def test_models_are_fixed_and_operators_endpoints_are_behind_the_key(start):
    flags = _flags(start(TRITON_ADMIN_KEY=ADMIN_KEY))
    assert {"--model-control-mode=none", "--strict-readiness=true", "--exit-on-error=true"} <= {*flags}
    assert {"--disable-auto-complete-config", "--allow-sagemaker=false", "--allow-vertex-ai=false"} <= {*flags}
    for flag in ("--http-restricted-api", "--grpc-restricted-protocol"):
        [value] = [given.removeprefix(f"{flag}=") for given in flags if given.startswith(f"{flag}=")]
        endpoints, _, key = value.partition(":")
        assert {*endpoints.split(",")} == OPERATORS  # our client reads model-config: that stays open
        assert key == f"x-admin-key={ADMIN_KEY}"
    assert not any("ssl" in flag for flag in flags)


def test_tls_asks_for_a_certificate_of_the_client(start):
    flags = _flags(start(TRITON_ADMIN_KEY=ADMIN_KEY, TRITON_TLS="/tls"))
    assert {"--grpc-use-ssl-mutual=true", "--grpc-root-cert=/tls/ca.crt"} <= {*flags}


@pytest.mark.parametrize(("key", "message"), [("", "set it to a secret"), ("a=b", "letters and digits")])
def test_no_key_or_one_that_triton_would_split_does_not_start(start, key, message):
    refused = start(TRITON_ADMIN_KEY=key)
    assert refused.returncode != 0
    assert message in refused.stderr


@pytest.fixture
def start_in(tmp_path):
    """Begin a start.sh that keeps engines in a folder of ours; its server is ready when `tmp_path/ready` is there."""
    engines = tmp_path / "engines"
    engines.mkdir()
    script = tmp_path / "start.sh"
    script.write_text(_read("start.sh").replace(_engines(), str(engines)).replace("sleep 2", "sleep 0.05"))
    (tmp_path / "tritonserver").write_text("#!/bin/sh\necho started\nexec sleep 20\n")
    (tmp_path / "python3").write_text(f"#!/bin/sh\ntest -e {tmp_path}/ready\n")
    for name in ("tritonserver", "python3"):
        (tmp_path / name).chmod(0o755)
    environment = {"PATH": f"{tmp_path}:{os.defpath}", "TRITON_ADMIN_KEY": ADMIN_KEY}
    started = []

    def begin():
        command = ["sh", script]
        process = subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        started.append(process)
        return process

    yield begin
    for process in started:
        process.kill()
        process.wait()  # the loop that waits for "ready" ends with it
        process.communicate()


def _has_started(process, *, within_s):
    return bool(select.select([process.stdout], [], [], within_s)[0])


@pytest.mark.parametrize("end", ["ready", "killed"])
def test_servers_that_share_engines_start_one_after_another(start_in, tmp_path, end):
    first = start_in()
    assert _has_started(first, within_s=10)
    second = start_in()
    assert not _has_started(second, within_s=1)
    if end == "ready":
        (tmp_path / "ready").touch()
    else:
        first.kill()
        first.wait()
    assert _has_started(second, within_s=10)


def test_a_folder_of_engines_that_cannot_be_written_is_said(start):
    assert f"engines={_engines()}\n" in _read("start.sh")
    script = _read("start.sh").replace(_engines(), "/nowhere")
    environment = {"PATH": os.defpath, "TRITON_ADMIN_KEY": ADMIN_KEY}
    stopped = subprocess.run(["sh", "-c", script], env=environment, capture_output=True, text=True)
    assert "cannot write /nowhere" in stopped.stderr


ECHO_CONFIG = """
backend: "python"
max_batch_size: 4
input [ { name: "x" data_type: TYPE_FP32 dims: [ 1 ] } ]
output [ { name: "y" data_type: TYPE_FP32 dims: [ 1 ] } ]
dynamic_batching { }
instance_group [ { count: 1 kind: KIND_CPU } ]
"""
ECHO_MODEL = """
import triton_python_backend_utils as pb_utils

class TritonPythonModel:
    def execute(self, requests):
        inputs = [pb_utils.get_input_tensor_by_name(request, "x").as_numpy() for request in requests]
        return [pb_utils.InferenceResponse([pb_utils.Tensor("y", x)]) for x in inputs]
"""


@pytest.fixture(scope="module")
def hardened(start, tmp_path_factory):
    """A real tritonserver with the flags of start.sh, all ports on loopback, and two models that return their input."""
    wheel, folder = find_wheel(), tmp_path_factory.mktemp("hardened")
    assemble_backends(folder / "backends", python_backend=wheel.python_backend, stub=wheel.stub)
    for name in ("plain", "cached"):
        (folder / "models" / name / "1").mkdir(parents=True)
        config = ECHO_CONFIG + ("response_cache { enable: true }" if name == "cached" else "")
        (folder / "models" / name / "config.pbtxt").write_text(config)
        (folder / "models" / name / "1/model.py").write_text(ECHO_MODEL)
    flags = _flags(start(TRITON_ADMIN_KEY=ADMIN_KEY))
    known = [flag for flag in flags if flag.partition("=")[0] not in FLAGS_NEWER_THAN_THE_WHEEL]
    ports = claim(Ports(0, 0, 0))
    command = [
        *(wheel.tritonserver, *(flag for flag in known if not flag.startswith("--model-repository="))),
        *(f"--model-repository={folder}/models", f"--backend-directory={folder}/backends"),
        f"--cache-directory={wheel.caches}",
        *(f"--{door}-address={LOOPBACK}" for door in vars(ports)),
        *(f"--{door}-port={port}" for door, port in vars(ports).items()),
    ]
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen(command, env=environment_of(wheel), stdout=log, stderr=log)
    try:
        server = Server(process, ports=ports, repository=folder, workspace=folder)
        give_up = time.monotonic() + 60
        while not server.is_ready():
            assert server.is_alive(), (folder / "log").read_text()
            assert time.monotonic() < give_up
            time.sleep(0.05)
        yield server
    finally:
        process.terminate()  # not kill: its models are processes of their own
        process.wait(60)


def test_a_real_tritonserver_opens_operators_endpoints_to_the_key_only(hardened):
    def status(method, path, **headers):
        connection = http.client.HTTPConnection(LOOPBACK, hardened.ports.http, timeout=10)
        connection.request(method, path, headers=headers)
        return connection.getresponse().status

    endpoints = [
        ("GET", "/v2/systemsharedmemory/status"),
        ("GET", "/v2/cudasharedmemory/status"),
        ("POST", "/v2/repository/index"),
        ("GET", "/v2/trace/setting"),
        ("GET", "/v2/logging"),
        ("GET", "/v2/models/stats"),
    ]
    assert {status(*endpoint) for endpoint in endpoints} == {403}
    assert {status(*endpoint, **{"x-admin-key": "guess"}) for endpoint in endpoints} == {403}
    opened = {endpoint: status(*endpoint, **{"x-admin-key": ADMIN_KEY}) for endpoint in endpoints}
    assert 403 not in opened.values()
    assert opened["POST", "/v2/repository/index"] == 200
    assert status("GET", "/v2") == 200
    assert status("POST", "/v2/repository/models/other/load", **{"x-admin-key": ADMIN_KEY}) in {400, 503}  # mode none


def test_a_real_tritonserver_exports_the_metrics_of_dashboard_and_autoscaler(hardened):
    body = json.dumps({"inputs": [{"name": "x", "datatype": "FP32", "shape": [1, 1], "data": [1.0]}]})
    for model in ("plain", "cached"):
        connection = http.client.HTTPConnection(LOOPBACK, hardened.ports.http, timeout=10)
        connection.request("POST", f"/v2/models/{model}/infer", body)  # needs no key
        assert json.loads(connection.getresponse().read())["outputs"][0]["data"] == [1.0]
    connection = http.client.HTTPConnection(LOOPBACK, hardened.ports.metrics, timeout=10)
    connection.request("GET", "/metrics")
    metrics = connection.getresponse().read().decode()
    exported = {*re.findall(r"^(nv_\w+)[{ ]", metrics, re.MULTILINE)}
    assert {name for name in _metrics_used() if not name.startswith("nv_gpu_")} <= exported
    # As the dashboard says of its quantiles.
    assert {*re.findall(r'nv_inference_request_summary_us\{model="(\w+)"', metrics)} == {"plain"}
    assert 'quantile="0.99"' in metrics


def test_the_same_over_grpc(hardened):
    from tritonclient import grpc

    client = grpc.InferenceServerClient(f"{LOOPBACK}:{hardened.ports.grpc}")
    key = {"triton-grpc-protocol-x-admin-key": ADMIN_KEY}
    calls = (
        client.get_model_repository_index,
        client.get_system_shared_memory_status,
        client.get_inference_statistics,
        client.get_trace_settings,
        client.get_log_settings,
    )
    for call in calls:
        with pytest.raises(grpc.InferenceServerException, match="This protocol is restricted"):
            call(client_timeout=10)
    for call in calls:
        call(headers=key, client_timeout=10)
    assert client.is_server_ready(client_timeout=10)
    client.close()


def test_the_largest_batch_is_within_the_limit_on_requests(start):
    [limit] = [flag for flag in _flags(start(TRITON_ADMIN_KEY=ADMIN_KEY)) if flag.startswith("--http-max-input-size=")]
    samples = int(_of_audio_encoder(r'"waveform" data_type: TYPE_FP32 dims: \[ (\d+) \]'))
    rows = int(_of_audio_encoder(r"max_batch_size: (\d+)"))
    assert 4 * samples * rows < int(limit.partition("=")[2]) == 64 * 2**20
    assert "client_max_body_size 64m;" in _read("gateway/nginx.conf")


# ---- healthy.py


def _healthy_in_the_image():
    return re.search(r"^COPY --chmod=755 serve/deploy/healthy.py (\S+)$", _read("Dockerfile"), re.MULTILINE)[1]


@pytest.fixture
def stand_in():
    """A Triton of 2026 on loopback, as far as a probe sees it: `statuses` by path, 200 for the others."""

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            self.send_response(server.statuses.get(self.path, 200))
            self.end_headers()

        def log_message(self, *_):
            pass

    with http.server.ThreadingHTTPServer((LOOPBACK, 0), Handler) as server:
        server.statuses = {}
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield server
        server.shutdown()


def _probe(tmp_path, *, port):
    """compose's check of that port, with a process of ours for `kill 1`: its exit code, and the signal ours got."""
    probe = tmp_path / "healthy.py"
    assert _read("healthy.py").count("8000") == 1
    probe.write_text(_read("healthy.py").replace("8000", str(port)))
    kind, command = _load("compose.yaml")["services"]["triton-gpu"]["healthcheck"]["test"]
    assert kind == "CMD-SHELL"
    command = command.replace("$$", "$").replace(f"python3 {_healthy_in_the_image()}", f"{sys.executable} {probe}")
    with subprocess.Popen(["sleep", "60"]) as first:
        checked = subprocess.run(["sh", "-c", command.replace("kill 1;", f"kill {first.pid};")], capture_output=True)
        try:
            return checked.returncode, -first.wait(0.2)
        except subprocess.TimeoutExpired:
            first.kill()
            return checked.returncode, None


@pytest.mark.parametrize(
    ("not_ready", "healthy", "ended_by"),
    [
        (None, 0, None),
        ("/v2/health/ready", 1, None),  # starts or stops: patience
        ("/v2/models/audio_embedding/ready", 1, signal.SIGTERM),
        ("/v2/models/text_tokenizer/ready", 1, signal.SIGTERM),
    ],
)
def test_a_server_is_ended_where_only_a_models_process_died(stand_in, tmp_path, not_ready, healthy, ended_by):
    stand_in.statuses[not_ready] = 503
    assert _probe(tmp_path, port=stand_in.server_port) == (healthy, ended_by)


def test_a_server_that_does_not_answer_is_not_healthy_and_not_ended(tmp_path):
    assert _probe(tmp_path, port=claim(Ports(0, 0, 0)).http) == (1, None)


def test_a_real_tritonserver_is_healthy(shipped, tmp_path):
    assert _probe(tmp_path, port=shipped.ports.http) == (0, None)


def test_every_python_model_is_asked_for_its_process():
    configs = {config.parent.name: config.read_text() for config in REPOSITORY.glob("*/config.pbtxt")}
    python = sorted(name for name, text in configs.items() if 'backend: "python"' in text)
    assert f"PYTHON_MODELS = {tuple(python)}".replace("'", '"') in _read("healthy.py")


# ---- image


def test_the_image_has_what_the_models_import_and_starts_what_is_there():
    dockerfile = _read("Dockerfile")
    allowed = {line[1:] for line in _read("Dockerfile.dockerignore").splitlines() if line.startswith("!")}
    copied = {source for source, _ in re.findall(r"^COPY (?:--chmod=755 )?(\S+) (\S+)$", dockerfile, re.MULTILINE)}
    assert copied == allowed
    assert all((ROOT / source).exists() for source in copied)
    pins = dict(re.findall(r"^([\w-]+)==([^\s;]+)", (ROOT / "constraints.txt").read_text(), re.MULTILINE))
    packages = re.search(r"--constraint \S+ (.+) \\$", dockerfile, re.MULTILINE)[1].split()
    assert packages == ["tokenizers", "av", "soxr"]
    assert pins.keys() >= {*packages}
    imported = {
        name
        for model in REPOSITORY.glob("*/1/**/*.py")
        for name in re.findall(r"^(?:import|from) (\w+)", model.read_text(), re.MULTILINE)
    }
    assert imported - sys.stdlib_module_names - {"triton_python_backend_utils"} <= {"numpy", *packages}
    assert "COPY --chmod=755 model_repository /models\n" in dockerfile
    assert f"install -d -o 1000 -g 1000 {_engines()}\n" in dockerfile
    assert f"EXPOSE {' '.join(map(str, vars(Ports()).values()))}\n" in dockerfile
    assert "USER 1000:1000" in dockerfile
    assert os.access(DEPLOY / "start.sh", os.X_OK)
    script = re.search(r"^COPY --chmod=755 serve/deploy/start.sh (\S+)$", dockerfile, re.MULTILINE)[1]
    assert f'CMD ["{script}"]\n' in dockerfile


def test_the_release_is_one_without_the_published_vulnerabilities_and_the_same_everywhere():
    assert _release() >= "26.07"
    mount = _container()["volumeMounts"][-1]
    assert mount == {"name": "engines", "mountPath": _engines(), "subPathExpr": f"{_release()}/$(NODE_NAME)"}
    assert _load("k8s/kustomization.yaml")["images"][0]["newTag"] == f"{_fingerprint()}-{_release()}"


# ---- compose


def test_only_the_gateway_is_reachable_from_outside():
    services = _load("compose.yaml")["services"]
    published = {name: port for name, service in services.items() for port in service.get("ports", [])}
    assert {name for name, port in published.items() if not port.startswith("127.0.0.1:")} == {"gateway"}
    for name in ("triton-gpu", "triton-cpu"):
        assert services[name]["networks"] == {"inside": {"aliases": ["triton"]}}
        assert services[name]["read_only"]
        assert "image" not in services[name]  # by default a project's own
        assert services[name]["cap_drop"] == ["ALL"]
        assert f"engines:{_engines()}" in services[name]["volumes"]
    assert services["triton-gpu"]["profiles"] == ["gpu"]
    assert services["triton-cpu"]["profiles"] == ["cpu"]
    assert _load("compose.yaml")["networks"]["inside"] == {"internal": True}


def test_every_path_that_compose_mounts_is_there_or_a_secret():
    compose = _load("compose.yaml")
    mounts = [mount for service in compose["services"].values() for mount in service.get("volumes", [])]
    sources = [mount.split(":")[0] for mount in mounts]
    assert all((DEPLOY / source).exists() for source in sources if source.startswith("./"))
    assert {source for source in sources if not source.startswith("./")} == {*compose["volumes"]}
    assert {Path(secret["file"]).parts[0] for secret in compose["secrets"].values()} == {"secrets"}
    assert "/serve/deploy/secrets/" in (ROOT / ".gitignore").read_text().splitlines()
    assert {*re.findall(r"/run/secrets/(\w+)", _read("gateway/nginx.conf"))} == {*compose["secrets"]}
    build = compose["services"]["triton-gpu"]["build"]
    assert (DEPLOY / build["context"] / build["dockerfile"]).exists()


def test_prometheus_and_grafana_find_each_other_and_the_dashboard():
    [job] = _load("prometheus/prometheus.yaml")["scrape_configs"]
    assert job["static_configs"] == [{"targets": [f"triton:{Ports().metrics}"]}]
    [source] = _load("grafana/provisioning/datasources/prometheus.yaml")["datasources"]
    dashboard = json.loads(_read("grafana/dashboards/musicsearch.json"))
    uids = {target["datasource"]["uid"] for panel in dashboard["panels"] for target in panel["targets"]}
    assert uids == {source["uid"]}
    [provider] = _load("grafana/provisioning/dashboards/musicsearch.yaml")["providers"]
    mounts = _load("compose.yaml")["services"]["grafana"]["volumes"]
    assert f"./grafana/dashboards:{provider['options']['path']}:ro" in mounts


def _metrics_used():
    files = [path for path in DEPLOY.rglob("*") if path.suffix in {".json", ".yaml"}]
    return {name for path in files for name in re.findall(r"\bnv_\w+", path.read_text())}


def test_every_metric_is_one_that_triton_documents():
    assert _metrics_used() <= DOCUMENTED_METRICS
    panels = [panel["title"] for panel in json.loads(_read("grafana/dashboards/musicsearch.json"))["panels"]]
    assert {"Latency, mean", "Batch size, mean", "Queue time, mean", "GPU use"} <= {*panels}
    assert "Response cache, share of hits" in panels


def test_the_dashboard_tells_the_old_model_from_the_new_one():
    [label] = _load("k8s/kustomization.yaml")["labels"][0]["pairs"].keys() - {"app"}
    label = label.replace("-", "_")  # as Prometheus writes it
    panels = json.loads(_read("grafana/dashboards/musicsearch.json"))["panels"]
    targets = [target for panel in panels for target in panel["targets"] if "nv_inference_" in target["expr"]]
    assert {*re.findall(r"by \(([^)]*)\)", "".join(target["expr"] for target in targets))} == {f"model, {label}"}
    assert all("{{" + label + "}}" in target["legendFormat"] for target in targets)
    assert f"podTargetLabels: [{label.replace('_', '-')}]" in _read("README.md")


# ---- gateway


def _calls():
    return {*re.search(r"GRPCInferenceService/\((\S+)\)\$", _read("gateway/nginx.conf"))[1].split("|")}


def test_the_gateway_passes_on_calls_that_exist_and_those_of_our_client():
    from tritonclient.grpc import service_pb2

    service = service_pb2.DESCRIPTOR.services_by_name["GRPCInferenceService"]
    assert service.full_name == "inference.GRPCInferenceService"
    assert _calls() <= {*service.methods_by_name}
    assert _calls() >= {"ModelConfig", "ModelInfer"}
    assert not any(word in call for call in _calls() for word in ("Repository", "Shared", "Trace", "Log", "Stream"))


def test_the_gateway_passes_on_the_models_that_are_for_callers():
    public = {*re.search(r"/v2/models/\(([\w|]+)\)", _read("gateway/nginx.conf"))[1].split("|")}
    served = {config.parent.name for config in REPOSITORY.glob("*/config.pbtxt")}
    assert served - {"text_tokenizer"} == public  # a step of text_embedding


def test_the_gateway_knows_triton_by_its_name_and_ports_and_hides_the_operators_key():
    conf = _read("gateway/nginx.conf")
    upstreams = dict(re.findall(r"upstream (\S+) \{\s+zone \S+ \w+;\s+server (\S+) resolve;", conf))  # a zone is needed
    assert upstreams == {"triton-http": f"triton:{Ports().http}", "triton-grpc": f"triton:{Ports().grpc}"}
    assert {*re.findall(r"_pass (\S+);", conf)} == {"http://triton-http", "grpc://triton-grpc"}
    for location in re.findall(r"location [^{]+\{([^}]+_pass [^}]+)\}", conf):
        assert re.search(r'x-admin-key "";', location)
    [published] = _load("compose.yaml")["services"]["gateway"]["ports"]
    assert f"listen {published.split(':')[1]} ssl;" in conf
    assert conf.count("{") == conf.count("}")


def test_the_gateway_tells_triton_that_every_body_is_binary():
    conf = _read("gateway/nginx.conf")
    locations = re.findall(r"location [^{]+\{([^}]+proxy_pass [^}]+)\}", conf)
    assert len(locations) == conf.count("proxy_pass") == 2
    assert all("proxy_set_header Content-Type application/octet-stream;" in location for location in locations)


def test_only_the_gateways_own_health_needs_no_key():
    conf = _read("gateway/nginx.conf")
    [admitted] = re.findall(r"map \$uri \$admitted \{([^}]+)\}", conf)
    assert admitted.split() == ["default", "$caller;", "/healthz", "anyone;"]
    assert re.search(r'if \(\$admitted = ""\) \{\s+return 401;', conf)
    assert re.search(r"location = /healthz \{\s+return 200;\s+\}", conf)  # answered here: Triton is not asked


def test_what_callers_upload_at_once_fits_the_gateways_memory():
    conf = _read("gateway/nginx.conf")
    keys = {zone: key for key, zone in re.findall(r"limit_conn_zone (\S+) zone=(\w+):", conf)}
    limits = dict(re.findall(r"limit_conn (\w+) (\d+);", conf))
    assert keys == {"uploads": "$caller", "all_uploads": "$server_port"}
    assert int(limits["uploads"]) < int(limits["all_uploads"])
    at_once = int(limits["all_uploads"])
    largest_mb = int(re.search(r"client_max_body_size (\d+)m;", conf)[1])
    [tmpfs] = _load("compose.yaml")["services"]["gateway"]["tmpfs"]
    assert re.search(r"location = /v2/health/ready \{\s+client_max_body_size 1k;", conf)  # without a limit_conn
    assert at_once * largest_mb <= 1024 * int(re.fullmatch(r"/tmp:size=(\d+)g", tmpfs)[1])


def test_the_gateway_waits_longer_than_a_file_may_wait_in_the_queue():
    queue_us = int(
        re.search(r"timeout_microseconds: (\d+)", (REPOSITORY / "audio_embedding/config.pbtxt").read_text())[1]
    )
    assert int(re.search(r"proxy_read_timeout (\d+)s;", _read("gateway/nginx.conf"))[1]) >= 2 * queue_us / 1e6


# ---- Kubernetes


def _promised():
    """The oldest and the newest Kubernetes that README.md names."""
    return re.search(r"\bKubernetes (1\.\d+) to (1\.\d+)\b", _read("README.md")).groups()


def _refusal(manifest, *, version):
    """What that Kubernetes' schema of its type says against it, or that there is none of its API version."""
    try:
        kubernetes_validate.validate(manifest, version, strict=True)
    except (kubernetes_validate.ValidationError, kubernetes_validate.SchemaNotFoundError) as error:
        return error.message
    return None


def _manifests():
    names = [*_load("k8s/kustomization.yaml")["resources"], "once.yaml"]
    return [manifest for name in names for manifest in yaml.safe_load_all(_read(f"k8s/{name}"))]


def _manifest(kind):
    [manifest] = [manifest for manifest in _manifests() if manifest["kind"] == kind]
    return manifest


def _pod():
    return _manifest("Deployment")["spec"]["template"]["spec"]


def _container():
    [container] = _pod()["containers"]
    return container


def test_every_manifest_is_as_kubernetes_defines_it():
    for version in _promised():
        for manifest in _manifests():
            assert _refusal(manifest, version=version) is None


@pytest.mark.parametrize(
    ("written", "instead", "said"),
    [
        ("failureThreshold: 240", "failureTreshold: 240", "'failureTreshold' was unexpected"),
        ("failureThreshold: 240", 'failureThreshold: "240"', "'240' is not of type 'integer'"),
        ("apiVersion: apps/v1", "apiVersion: apps/v1beta2", "apps/v1beta2"),
        ("apiVersion: apps/v1", "apiVersion: apps.example.com/v1", "apps.example.com/v1"),
    ],
)
def test_a_manifest_is_refused_for_a_misspelt_field_a_wrong_type_or_a_wrong_version(written, instead, said):
    text = _read("k8s/deployment.yaml")
    assert text.count(written) == 1
    for version in _promised():
        assert said in _refusal(yaml.safe_load(text.replace(written, instead)), version=version)


def test_the_kustomization_has_every_manifest_and_carries_the_model_in_name_label_and_tag():
    kustomization = _load("k8s/kustomization.yaml")
    others = {"kustomization.yaml", "once.yaml", "prometheus-adapter.yaml"}
    assert {*kustomization["resources"]} == {path.name for path in (DEPLOY / "k8s").iterdir()} - others
    assert kustomization["nameSuffix"] == f"-{_fingerprint()}"
    [labels] = kustomization["labels"]
    assert labels["includeSelectors"]
    assert labels["pairs"]["musicsearch-model"] == _fingerprint()
    assert "model" not in labels["pairs"]  # a label of Triton's metrics
    assert kustomization["images"][0]["name"] == _container()["image"]


def test_a_fingerprint_of_digits_alone_stays_a_text():
    digits = "1234567890123456"
    kustomization = yaml.safe_load(_read("k8s/kustomization.yaml").replace(_fingerprint(), digits))
    assert kustomization["nameSuffix"] == f"-{digits}"
    assert kustomization["labels"][0]["pairs"]["musicsearch-model"] == digits
    assert kustomization["images"][0]["newTag"] == f"{digits}-{_release()}"


def test_pods_may_run_on_nodes_that_are_kept_for_gpus_and_be_drained_from_them():
    assert _container()["resources"]["limits"].keys() >= {"nvidia.com/gpu"}
    assert {"key": "nvidia.com/gpu", "operator": "Exists", "effect": "NoSchedule"} in _pod()["tolerations"]
    assert _manifest("PodDisruptionBudget")["spec"]["unhealthyPodEvictionPolicy"] == "AlwaysAllow"


@pytest.fixture(scope="module")
def rendered():
    """What `kubectl apply -k` would send."""
    if not shutil.which("kubectl"):
        pytest.skip("kubectl renders the kustomization")
    kustomized = subprocess.run(["kubectl", "kustomize", DEPLOY / "k8s"], capture_output=True, text=True)
    if 'unknown field "labels"' in kustomized.stderr:
        pytest.skip("this kubectl is too old to render the kustomization, as Debian 12's is")
    assert kustomized.returncode == 0, kustomized.stderr
    return [*yaml.safe_load_all(kustomized.stdout)]


def test_rendered_every_object_is_as_kubernetes_defines_it(rendered):
    assert len(rendered) == len(_load("k8s/kustomization.yaml")["resources"])
    for version in _promised():
        for manifest in rendered:
            assert _refusal(manifest, version=version) is None


def test_rendered_every_selector_asks_for_this_model(rendered):
    manifests = {manifest["kind"]: manifest["spec"] for manifest in rendered}
    wanted = _load("k8s/kustomization.yaml")["labels"][0]["pairs"]
    assert manifests["Service"]["selector"] == wanted
    assert manifests["NetworkPolicy"]["podSelector"] == {"matchLabels": wanted}
    for kind in ("Deployment", "PodDisruptionBudget"):
        assert manifests[kind]["selector"] == {"matchLabels": wanted}
    assert manifests["Deployment"]["template"]["metadata"]["labels"] == wanted
    assert manifests["HorizontalPodAutoscaler"]["scaleTargetRef"]["name"] == f"triton-{_fingerprint()}"
    from_gateway, from_monitoring = manifests["NetworkPolicy"]["ingress"]
    assert "matchLabels" not in from_gateway["from"][0]["podSelector"]
    assert [port["port"] for port in from_monitoring["ports"]] == [Ports().metrics]


def test_ports_and_probes_are_tritons():
    assert {port["name"]: port["containerPort"] for port in _container()["ports"]} == vars(Ports())
    assert _container()["startupProbe"]["httpGet"] == {"path": "/v2/health/ready", "port": "http"}
    for probe in ("readinessProbe", "livenessProbe"):
        assert _container()[probe]["exec"] == {"command": ["python3", _healthy_in_the_image()]}
    annotations = _manifest("Deployment")["spec"]["template"]["metadata"]["annotations"]
    assert annotations["prometheus.io/port"] == str(Ports().metrics)


def test_a_pod_has_time_to_start_and_to_finish_what_it_is_doing(start):
    deadline_s = _manifest("Deployment")["spec"]["progressDeadlineSeconds"]
    startup = _container()["startupProbe"]
    assert startup["periodSeconds"] * startup["failureThreshold"] < deadline_s
    [flag] = [flag for flag in _flags(start(TRITON_ADMIN_KEY=ADMIN_KEY)) if flag.startswith("--exit-timeout-secs=")]
    exit_s = int(flag.partition("=")[2])
    pre_stop_s = int(_container()["lifecycle"]["preStop"]["exec"]["command"][1])
    # Triton waits so long for requests, and so long again for models to unload.
    assert _pod()["terminationGracePeriodSeconds"] >= pre_stop_s + 2 * exit_s
    assert int(_load("compose.yaml")["services"]["triton-gpu"]["stop_grace_period"].removesuffix("s")) >= 2 * exit_s


def test_a_pods_memory_holds_full_queues_beside_what_it_needs_anyway(start):
    [flag] = [flag for flag in _flags(start(TRITON_ADMIN_KEY=ADMIN_KEY)) if flag.startswith("--cache-config=")]
    windows = int(_of_audio_encoder(r"max_queue_size: (\d+)")) * int(_of_audio_encoder(r"max_batch_size: (\d+)"))
    files = (REPOSITORY / "audio_embedding/config.pbtxt").read_text()
    largest_file = int(re.search(r'"max_audio_bytes" value: \{ string_value: "(\d+)"', files)[1])
    queues = 4 * windows * int(_of_audio_encoder(r"dims: \[ (\d+) \]"))
    queues += largest_file * int(re.search(r"max_queue_size: (\d+)", files)[1])
    shared = {volume["name"]: volume for volume in _pod()["volumes"]}["shm"]["emptyDir"]["sizeLimit"]
    needed_anyway = int(_container()["resources"]["requests"]["memory"].removesuffix("Gi")) * 2**30
    in_memory = queues + int(shared.removesuffix("Gi")) * 2**30 + int(flag.rpartition("=")[2]) + needed_anyway
    assert in_memory <= int(_container()["resources"]["limits"]["memory"].removesuffix("Gi")) * 2**30


def test_the_pod_meets_the_restricted_standard_of_its_namespace():
    assert _manifest("Namespace")["metadata"]["labels"] == {"pod-security.kubernetes.io/enforce": "restricted"}
    assert _pod()["securityContext"]["runAsNonRoot"]
    assert _pod()["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    security = _container()["securityContext"]
    assert security["allowPrivilegeEscalation"] is False
    assert security["capabilities"] == {"drop": ["ALL"]}
    assert security["readOnlyRootFilesystem"]
    assert {kind for volume in _pod()["volumes"] for kind in volume} == {"name", "emptyDir", "persistentVolumeClaim"}
    assert {mount["name"] for mount in _container()["volumeMounts"]} == {volume["name"] for volume in _pod()["volumes"]}
    claim = _manifest("PersistentVolumeClaim")["metadata"]["name"]
    assert _pod()["volumes"][-1]["persistentVolumeClaim"]["claimName"] == claim


def test_the_autoscaler_asks_for_the_adapters_metric_and_not_below_the_wait_on_purpose():
    [rule] = _load("k8s/prometheus-adapter.yaml")["rules"]["custom"]
    [metric] = _manifest("HorizontalPodAutoscaler")["spec"]["metrics"]
    assert metric["pods"]["metric"]["name"] == rule["name"]["as"]
    target_us = 1000 * int(metric["pods"]["target"]["averageValue"].removesuffix("k"))
    configs = [config.read_text() for config in REPOSITORY.glob("*/config.pbtxt")]
    delays_us = [int(us) for config in configs for us in re.findall(r"max_queue_delay_microseconds: (\d+)", config)]
    assert target_us >= 4 * max(delays_us)
    assert rule["seriesQuery"].startswith("nv_inference_queue_duration_us{")
    assert rule["metricsQuery"].count("(") == rule["metricsQuery"].count(")")


def test_no_pod_reaches_out_and_only_gateway_and_monitoring_reach_in():
    policy = _manifest("NetworkPolicy")["spec"]
    assert policy["egress"] == []
    assert {*policy["policyTypes"]} == {"Ingress", "Egress"}
    assert policy["podSelector"]["matchLabels"]  # kustomize adds the model to this, but to an empty selector nothing
    [callers] = policy["ingress"][0]["from"]
    [expression] = callers["podSelector"]["matchExpressions"]
    assert expression["values"] == ["musicsearch-gateway", "musicsearch-indexer"]
    assert "`app: musicsearch-indexer`" in _read("README.md")  # who re-indexes is told
    ports = [[port["port"] for port in rule["ports"]] for rule in policy["ingress"]]
    assert ports == [[Ports().http, Ports().grpc], [Ports().metrics]]
