"""Starting and stopping: loopback only, nothing left behind, and one clear reason when it cannot start."""

import contextlib
import fcntl
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from serve import Ports, ServeError, Server, running_server
from serve.__main__ import main
from serve.server import claim

SHIPPED = Path(__file__).parents[2] / "model_repository"
FREE = ["--http-port=0", "--grpc-port=0", "--metrics-port=0"]
STOPPED_S = 90.0  # a stop may take STOP_TIMEOUT_S, and the machine may have other things to do


def processes_naming(text: str) -> dict[int, str]:
    """pid -> command line of the live processes whose command line holds `text` (zombies have none)."""
    found = {}
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        with contextlib.suppress(OSError):
            command = path.read_bytes().replace(b"\0", b" ").decode(errors="replace")
            if text in command:
                found[int(path.parent.name)] = command
    return found


def wait_until(condition: Callable[[], object], *, timeout_s: float = STOPPED_S) -> None:
    give_up = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < give_up, "timed out"
        time.sleep(0.05)


class Command:
    """`python -m serve` in a temporary folder of its own, so that all it leaves behind can be told apart."""

    def __init__(self, temporary: Path, *arguments: str | Path) -> None:
        temporary.mkdir()
        self.temporary = temporary
        self.process = subprocess.Popen(
            [sys.executable, "-m", "serve", *arguments],
            env=os.environ | {"TMPDIR": str(temporary)},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def wait_until_ready(self) -> str:
        lines = []
        for line in self.process.stdout:
            lines.append(line)
            if line.startswith("MusicSearch("):
                return "".join(lines)
        raise AssertionError(self.process.stderr.read())

    def tritonserver(self) -> int:
        return next(pid for pid, command in self.processes().items() if "bin/tritonserver" in command)

    def processes(self) -> dict[int, str]:
        return processes_naming(f"{self.temporary}/")

    def workspace(self) -> Path:
        return next(self.temporary.iterdir())


@pytest.fixture
def serve(tmp_path: Path, triton: Server) -> Iterator[Callable[..., Command]]:
    """Start `python -m serve`; `triton` is here for its skip where the wheel is absent."""
    started = []

    def start(*arguments: str | Path) -> Command:
        started.append(Command(tmp_path / f"temporary{len(started)}", *arguments))
        return started[-1]

    yield start
    for command in started:
        for pid in [command.process.pid, *command.processes()]:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        command.process.communicate()
        for workspace in command.temporary.iterdir():  # a killed tritonserver leaves its shared memory
            for segment in Path("/dev/shm").glob(f"{workspace.name}*"):
                segment.unlink()


def assert_nothing_left(command: Command, workspace: Path) -> None:
    assert command.processes() == {}
    assert list(command.temporary.iterdir()) == []
    assert list(Path("/dev/shm").glob(f"{workspace.name}*")) == []


def test_the_table_shows_each_model_and_how_to_connect(serve, tiny_repository: Path) -> None:
    printed = serve("--repository", tiny_repository, *FREE).wait_until_ready()
    rows = [line.split() for line in printed.splitlines()]
    assert " ".join(rows[1]) == "audio_encoder onnxruntime 8 waveform FP32 [16000] embedding FP32 [16]"
    assert [row[0] for row in rows[1:5]] == ["audio_encoder", "text_embedding", "text_encoder", "text_tokenizer"]
    assert 'MusicSearch("library", encoder="grpc://127.0.0.1:' in printed


def test_only_loopback_is_listened_on(triton: Server) -> None:
    sockets = set()
    for descriptor in Path(f"/proc/{triton.pid}/fd").iterdir():
        with contextlib.suppress(OSError):
            sockets.add(os.readlink(descriptor))
    listening = set()
    for table in ("tcp", "tcp6"):
        for row in Path(f"/proc/{triton.pid}/net/{table}").read_text().splitlines()[1:]:
            _, local, _, state, *_, inode = row.split()[:10]
            if state == "0A" and f"socket:[{inode}]" in sockets:  # 0A: TCP_LISTEN
                address, port = local.split(":")
                listening.add((address, int(port, 16)))
    loopback = {"0100007F", "0000000000000000FFFF00000100007F"}  # 127.0.0.1 and ::ffff:127.0.0.1, little-endian words
    assert {address for address, _ in listening} <= loopback
    assert {port for _, port in listening} == set(vars(triton.ports).values())


@pytest.mark.parametrize("option", ["--host", "--http-address", "--grpc-address", "--metrics-address"])
def test_no_argument_exposes_it(option: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stopped:
        main([option, "0.0.0.0"])
    assert stopped.value.code == 2
    error = capsys.readouterr().err
    assert f"{option} 0.0.0.0: this server listens on 127.0.0.1 only, because its Triton release has" in error


def test_check_calls_each_model_once(serve, tiny_repository: Path, tmp_path: Path) -> None:
    repository = shutil.copytree(tiny_repository, tmp_path / "with_audio_embedding")
    model = shutil.copytree(SHIPPED / "audio_embedding", repository / "audio_embedding") / "config.pbtxt"
    config = model.read_text().replace('"160000"', '"16000"')
    model.write_text(re.sub(r"\d\d+ \] \},  # unit L2 norm", "16 ] },  # unit L2 norm", config))
    command = serve("--check", "--repository", repository)
    printed = command.process.communicate()[0]
    rows = {name: (float(ms), answer) for name, ms, answer in (row.split(None, 2) for row in printed.splitlines()[1:])}
    assert {name: answer for name, (_, answer) in rows.items()} == {
        "audio_embedding": "embedding [16], window_embeddings [1, 16], window_start_s [1]",
        "audio_encoder": "embedding [1, 16]",
        "text_embedding": "token_count [1, 1], embedding [1, 16]",
        "text_encoder": "embedding [1, 16]",
        "text_tokenizer": "input_ids [1, 16], attention_mask [1, 16], token_count [1, 1]",
    }
    assert command.process.returncode == 0
    assert command.processes() == {}


def test_check_tells_which_model_failed_and_why(serve, tiny_repository: Path, tmp_path: Path) -> None:
    repository = shutil.copytree(tiny_repository, tmp_path / "strict")
    config = repository / "text_tokenizer/config.pbtxt"
    config.write_text(config.read_text().replace('"8192"', '"3"'))
    command = serve("--check", "--repository", repository)
    printed = command.process.communicate()[0]
    failed = [line.split()[0] for line in printed.splitlines() if "FAILED: " in line]
    assert failed == ["text_embedding", "text_tokenizer"]
    assert "input 'text', row 0: 15 bytes, expected at most 3 (max_text_bytes)" in printed
    assert command.process.returncode == 1


def test_a_served_repository_is_locked_so_that_no_export_replaces_it(triton: Server, tiny_repository: Path) -> None:
    descriptor = os.open(tiny_repository, os.O_RDONLY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)  # a second server is welcome
        with pytest.raises(BlockingIOError):
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    finally:
        os.close(descriptor)


def test_serving_writes_nothing_into_the_repository(triton: Server, tiny_repository: Path) -> None:
    assert triton.is_ready()
    assert sorted(str(path.relative_to(tiny_repository)) for path in tiny_repository.rglob("*") if path.is_file()) == [
        "MODEL_CARD.md",
        "audio_encoder/1/model.onnx",
        "audio_encoder/config.pbtxt",
        "parity.json",
        "text_embedding/1/.gitkeep",
        "text_embedding/config.pbtxt",
        "text_encoder/1/model.onnx",
        "text_encoder/config.pbtxt",
        "text_tokenizer/1/model.py",
        "text_tokenizer/1/tokenizer.json",
        "text_tokenizer/config.pbtxt",
    ]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_stops_it_with_nothing_left(serve, tiny_repository: Path, number: signal.Signals) -> None:
    command = serve("--repository", tiny_repository, *FREE)
    command.wait_until_ready()
    workspace = command.workspace()
    assert len(command.processes()) >= 4  # tritonserver and a process for each of the three models
    assert list(Path("/dev/shm").glob(f"{workspace.name}*"))
    command.process.send_signal(number)
    time.sleep(0.5)
    command.process.send_signal(number)  # an impatient second one changes nothing
    assert command.process.wait(STOPPED_S) == 0
    assert_nothing_left(command, workspace)


def test_a_signal_while_loading_stops_it_with_nothing_left(serve, tiny_repository: Path) -> None:
    command = serve("--repository", tiny_repository, *FREE)
    wait_until(lambda: any("bin/tritonserver" in text for text in command.processes().values()))
    workspace = command.workspace()
    command.process.send_signal(signal.SIGTERM)
    assert command.process.wait(STOPPED_S) == 0
    assert_nothing_left(command, workspace)


def test_when_it_is_killed_triton_stops_and_the_next_start_sweeps(serve, tiny_repository: Path) -> None:
    command = serve("--repository", tiny_repository, *FREE)
    command.wait_until_ready()
    workspace = command.workspace()
    command.process.kill()
    wait_until(lambda: not command.processes())

    (Path("/dev/shm") / f"{workspace.name}left").touch()  # as a killed tritonserver leaves them
    script = f"""
import serve
with serve.running_server({str(tiny_repository)!r}, ports=serve.Ports(0, 0, 0)): pass
"""
    environment = os.environ | {"TMPDIR": str(command.temporary)}
    subprocess.run([sys.executable, "-c", script], env=environment, check=True)
    assert_nothing_left(command, workspace)


def test_the_workspace_of_a_live_server_is_not_swept(serve, tiny_repository: Path) -> None:
    command = serve("--repository", tiny_repository, *FREE)
    command.wait_until_ready()
    before = sorted(path.name for path in command.workspace().iterdir())
    environment = os.environ | {"TMPDIR": str(command.temporary)}
    subprocess.run([sys.executable, "-c", "from serve.server import _sweep; _sweep()"], env=environment, check=True)
    assert sorted(path.name for path in command.workspace().iterdir()) == before


def test_when_triton_is_killed_it_says_so_and_leaves_nothing(serve, tiny_repository: Path) -> None:
    command = serve("--repository", tiny_repository, *FREE)
    command.wait_until_ready()
    workspace = command.workspace()
    os.kill(command.tritonserver(), signal.SIGKILL)
    assert command.process.wait(STOPPED_S) == 1
    assert "tritonserver died" in command.process.stderr.read()
    wait_until(lambda: not command.processes())
    assert_nothing_left(command, workspace)


def test_what_dies_is_started_again_on_the_same_ports_but_not_for_ever(serve, tiny_repository: Path) -> None:
    command = serve("--repository", tiny_repository, *FREE, "--restart")
    printed = command.wait_until_ready()
    for _ in range(2):
        former = command.tritonserver()
        os.kill(former, signal.SIGKILL)
        assert command.wait_until_ready() == printed
        assert command.tritonserver() != former
    os.kill(command.tritonserver(), signal.SIGKILL)
    assert command.process.wait(STOPPED_S) == 1
    said = command.process.stderr.read()
    assert said.count("tritonserver died") == 3
    assert "gave up after 3 deaths in 60 s" in said
    assert not command.processes()


@pytest.mark.parametrize("model", ["text_tokenizer", "audio_encoder"])  # Python's backend, and ours on it
def test_when_the_process_of_a_model_dies_it_stops_and_says_which(serve, tiny_repository: Path, model: str) -> None:
    command = serve("--repository", tiny_repository, *FREE)
    command.wait_until_ready()
    workspace = command.workspace()
    stub = next(pid for pid, text in command.processes().items() if f"repository/{model}/" in text)
    os.kill(stub, signal.SIGKILL)
    assert command.process.wait(STOPPED_S) == 1
    assert f"a process of the model {model} died" in command.process.stderr.read()
    assert_nothing_left(command, workspace)


def test_a_port_in_use_is_named(serve, tiny_repository: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        command = serve("--repository", tiny_repository, "--http-port=0", f"--grpc-port={port}", "--metrics-port=0")
        assert command.process.wait(STOPPED_S) == 2
    assert f"grpc port {port} cannot be used (Address already in use)" in command.process.stderr.read()


def test_two_equal_ports_are_refused() -> None:
    free = claim(Ports(0, 0, 0)).http
    with pytest.raises(ServeError, match=rf"two ports are equal \(http {free}, grpc {free}, metrics 0\)"):
        claim(Ports(http=free, grpc=free, metrics=0))


@pytest.mark.parametrize("port", ["abc", "65536", "1.5"])
def test_what_is_no_port_is_said(port: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stopped:
        main(["--http-port", port])
    assert stopped.value.code == 2
    assert f"--http-port: '{port}' is not a port: expected 0 to 65535" in capsys.readouterr().err


def test_without_the_wheel_it_says_what_to_install(tiny_repository: Path) -> None:
    command = [sys.executable, "-S", "-m", "serve", "--repository", tiny_repository]  # -S: no site-packages
    stopped = subprocess.run(command, capture_output=True, text=True, cwd=Path(__file__).parents[2])
    assert stopped.returncode == 2
    assert "pip install 'musicsearch[serve]'" in stopped.stderr


def test_a_temporary_folder_that_a_shell_would_split_is_refused(tiny_repository: Path, tmp_path: Path) -> None:
    spaced = tmp_path / "two words"
    spaced.mkdir()
    command = [sys.executable, "-m", "serve", "--repository", tiny_repository, *FREE]
    stopped = subprocess.run(command, capture_output=True, text=True, env=os.environ | {"TMPDIR": str(spaced)})
    assert stopped.returncode == 2
    assert "set TMPDIR to another" in stopped.stderr
    assert list(spaced.iterdir()) == []


def test_a_folder_without_models_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ServeError, match=r"is not a model repository: expected <model>/config\.pbtxt"):
        running_server(tmp_path).__enter__()


def break_graph(repository: Path) -> None:
    (repository / "text_encoder/1/model.onnx").write_bytes(b"not a graph")


def break_input_name(repository: Path) -> None:
    config = repository / "audio_encoder/config.pbtxt"
    config.write_text(config.read_text().replace('"waveform"', '"wave"'))


def break_syntax(repository: Path) -> None:
    (repository / "audio_encoder/config.pbtxt").write_text("nam: 1")


def setting(line: str, *, instead_of: str = "", model: str = "audio_encoder") -> Callable[[Path], None]:
    """Put a line into a model's configuration, at its end or in the place of another."""

    def change(repository: Path) -> None:
        config = repository / model / "config.pbtxt"
        text = config.read_text()
        assert instead_of in text
        config.write_text(text.replace(instead_of, line) if instead_of else f"{text}{line}\n")

    return change


def parameter(key: str, value: str) -> str:
    return f'parameters {{ key: "{key}" value: {{ string_value: "{value}" }} }}'


NPU = 'optimization { execution_accelerators { cpu_execution_accelerator [ { name: "npu" } ] } }'
A_WINDOW = "dims: [ 16000 ]"


def remove_a_step(repository: Path) -> None:
    shutil.rmtree(repository / "text_encoder")


def remove_whom_a_model_calls(repository: Path) -> None:
    (repository / "audio_encoder").rename(repository / "audio_embedding")


def remove_the_vocabulary(repository: Path) -> None:
    (repository / "text_tokenizer/1/tokenizer.json").unlink()


def cut_the_vocabulary(repository: Path) -> None:
    os.truncate(repository / "text_tokenizer/1/tokenizer.json", 100)


def copy_as(name: str, model: str, *, repository: Path, to: Path, change: Callable[[Path], object]) -> None:
    """Put a changed copy of a model under another name into the repository `to`."""
    with tempfile.TemporaryDirectory() as temporary:
        folder = shutil.copytree(repository / model, Path(temporary) / model)
        change(Path(temporary))
        setting(f'name: "{name}"', instead_of=f'name: "{model}"', model=model)(Path(temporary))
        shutil.move(folder, to / name)


def refused(command: Command) -> str:
    """What it says, once it has ended and left nothing."""
    assert command.process.wait(STOPPED_S) == 2
    assert list(command.temporary.iterdir()) == []
    assert command.processes() == {}
    return command.process.stderr.read()


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (break_graph, "'text_encoder' .*broken/text_encoder/1/model.onnx failed:Protobuf parsing failed"),
        (break_syntax, r'no field named "nam"\.\n.*broken/audio_encoder/config\.pbtxt'),
        (remove_a_step, "ensemble text_embedding contains models that are not available or ambiguous: text_encoder"),
        (remove_whom_a_model_calls, "broken has audio_embedding but not audio_encoder, which audio_embedding calls"),
    ],
)
def test_a_broken_model_is_named_with_tritons_own_reason(
    serve, tiny_repository: Path, tmp_path: Path, damage: Callable[[Path], None], message: str
) -> None:
    broken = shutil.copytree(tiny_repository, tmp_path / "broken")
    damage(broken)
    error = refused(serve("--repository", broken, *FREE))
    assert re.search(message, error), error
    assert len(error.splitlines()) <= 3


BROKEN: list[tuple[str, Callable[[Path], None], str]] = [  # model, damage, and what is said of it after its name
    ("audio_encoder", break_input_name, r" .* config.pbtxt declares 'wave' tensor\(float\), but the graph has"),
    ("audio_encoder", setting(NPU), " .*unknown Execution Accelerator 'npu' is requested"),
    *(
        ("audio_encoder", setting(parameter(key, value)), f" .*parameter {key} is '?{value}'?, expected {expected}")
        for key, value, expected in [
            ("intra_op_thread_count", "two", "a whole number"),
            ("inter_op_thread_count", "", "a whole number"),
            ("intra_op_thread_count", "99999999999", "a whole number of 32 bits"),
            ("execution_mode", "2", "0 or 1"),
            ("enable_mem_arena", "maybe", "true or false"),
            ("enable_mem_pattern", "2", "true or false"),
        ]
    ),
    *(
        (model, setting(new, instead_of=old, model=model), f" .*declares {declared}, but the graph has {graph}")
        for model, old, new, declared, graph in [
            ("audio_encoder", A_WINDOW, "dims: [ 8000 ]", r"'waveform' as .*\[8000\]", r"\[-1, 16000\]"),
            ("audio_encoder", A_WINDOW, "dims: [ -1 ]", r"'waveform' as .*\[-1\]", r"\[-1, 16000\]"),
            ("audio_encoder", A_WINDOW, "dims: [ 1, 16000 ]", r"'waveform' as .*\[1, 16000\]", r"\[-1, 16000\]"),
            ("audio_encoder", "max_batch_size: 8", "max_batch_size: 0", r"'waveform' as \[16000\]", r"\[-1, 16000\]"),
            ("text_encoder", "dims: [ 16 ]", "dims: [ -1 ]", r"'embedding' as .*\[-1\]", r"\[-1, 16\]"),
        ]
    ),
    *(
        (
            "text_tokenizer",
            damage,
            rf".*cannot read the tokenizer .*/models/text_tokenizer_\d+/1/tokenizer.json: {reason}",
        )
        for damage, reason in [(remove_the_vocabulary, "No such file"), (cut_the_vocabulary, "EOF while parsing")]
    ),
]


@pytest.fixture(scope="module")
def said_of_broken(triton: Server, tiny_repository: Path, tmp_path_factory: pytest.TempPathFactory) -> list[list[str]]:
    """Of each of `BROKEN`, the lines that name it, where all of them lie in one repository."""
    folder = tmp_path_factory.mktemp("broken")
    (folder / "models").mkdir()
    names = [f"{model}_{number}" for number, (model, _, _) in enumerate(BROKEN, start=100)]
    for name, (model, damage, _) in zip(names, BROKEN, strict=True):
        copy_as(name, model, repository=tiny_repository, to=folder / "models", change=damage)
    lines = refused(Command(folder / "temporary", "--repository", folder / "models", *FREE)).splitlines()
    assert len(lines) <= 1 + 2 * len(BROKEN)  # as of one, at most
    return [[line for line in lines if f"'{name}'" in line] for name in names]


@pytest.mark.parametrize("place", range(len(BROKEN)))
def test_of_many_broken_models_each_is_named_with_its_reason(said_of_broken: list[list[str]], place: int) -> None:
    model, _, message = BROKEN[place]
    assert any(re.search(f"'{model}_{100 + place}'{message}", line) for line in said_of_broken[place]), said_of_broken


def test_what_the_cpp_backend_takes_is_taken(tiny_repository: Path, tmp_path: Path, triton: Server) -> None:
    variants = {
        "audio_encoder": [
            *(setting(parameter("intra_op_thread_count", value)) for value in ("1024", "-1", " +1", "2 cores", "0x2")),
            setting(parameter("inter_op_thread_count", "-7")),
            setting(parameter("execution_mode", "1")),
            setting(parameter("enable_mem_arena", "OFF")),
            setting(parameter("enable_mem_pattern", "False")),
            setting(parameter("share_session_between_instances", "1")),
            setting(parameter("of_the_models_user", "maybe")),
        ],
        "text_encoder": [setting("dims: [ 7 ]", instead_of="dims: [ -1 ]", model="text_encoder")],
    }

    def unbatch(repository: Path) -> None:
        setting("max_batch_size: 0", instead_of="max_batch_size: 8")(repository)
        setting("dims: [ -1, 16 ]", instead_of="dims: [ 16 ]")(repository)
        setting("dims: [ 3, 16000 ]", instead_of=A_WINDOW)(repository)

    copy_as("unbatched", "audio_encoder", repository=tiny_repository, to=tmp_path, change=unbatch)
    for model, changes in variants.items():
        for number, change in enumerate(changes):
            copy_as(f"{model}_{number}", model, repository=tiny_repository, to=tmp_path, change=change)
    names = {folder.name for folder in tmp_path.iterdir()}
    assert len(names) == 1 + sum(map(len, variants.values()))
    with running_server(tmp_path, ports=Ports(0, 0, 0)) as server:
        assert {model["name"] for model in server.models()} == names
        assert [model["max_batch_size"] for model in server.models()].count(0) == 1


def test_a_configuration_written_for_gpus_is_served_as_it_is(
    tiny_repository: Path, tmp_path: Path, triton: Server
) -> None:
    repository = shutil.copytree(tiny_repository, tmp_path / "for_gpus")
    with (repository / "audio_encoder/config.pbtxt").open("a") as config:
        config.write(
            "optimization { execution_accelerators { gpu_execution_accelerator: [\n"
            '  { name: "tensorrt" parameters { key: "trt_engine_cache_enable" value: "1" } }, { name: "cuda" } ] } }\n'
            'parameters { key: "intra_op_thread_count" value: { string_value: "1" } }\n'
            'model_warmup [ { name: "one" batch_size: 1 inputs { key: "waveform"\n'
            "  value: { data_type: TYPE_FP32 dims: [ 16000 ] zero_data: true } } } ]\n"
        )
    with running_server(repository, ports=Ports(0, 0, 0)) as server:
        audio_encoder = server.models()[0]
    assert [(group["kind"], group["count"]) for group in audio_encoder["instance_group"]] == [("KIND_CPU", 1)]
