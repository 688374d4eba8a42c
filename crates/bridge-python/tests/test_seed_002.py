"""The page on memory of PyTorch models, without panther: the same calls, names and arguments.

Where the page's layers are panther's, they are `torch.nn.Linear`; where it names a GPU, it is the host.
"""

import subprocess
import sys
import time
from unittest.mock import patch

import pytest

torch = pytest.importorskip("torch")

from arraybridge.training import (  # noqa: E402
    AdaptiveBatchTrainer,
    CheckpointedSequential,
    DistributedSketchedModel,
    MemoryEfficientSketchedModel,
    MemoryMonitor,
    MemoryProfiler,
    PlacedSequential,
    StreamingInference,
    layer_memory,
    place_layers,
    train_with_mixed_precision,
)


@pytest.fixture(autouse=True)
def seed():
    torch.manual_seed(0)


def test_torch_is_imported_when_it_is_used():
    code = """
import sys
from arraybridge.training import MemoryMonitor, MemoryProfiler
_, taken = MemoryProfiler().profile_operation(lambda: bytearray(50_000_000), "bytes")
assert 40 < taken["cpu"] < 60 and taken["gpu_allocated"] == 0, taken
assert "torch" not in sys.modules
from arraybridge.training import CheckpointedSequential
assert "torch" in sys.modules
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


# Memory profiling and analysis.


def test_memory_profiler(capsys):
    profiler = MemoryProfiler()
    assert set(profiler.baseline_memory) == {"cpu", "gpu_allocated", "gpu_cached"}

    def test_sklinear_memory():
        layer = torch.nn.Linear(4096, 2048)
        x = torch.randn(512, 4096)
        return layer(x)

    output, memory_usage = profiler.profile_operation(test_sklinear_memory, "SKLinear Forward Pass")
    assert output.shape == (512, 2048)
    assert set(memory_usage) == {"cpu", "gpu_allocated", "gpu_cached"}
    printed = capsys.readouterr().out.splitlines()
    assert printed[:2] == ["", "SKLinear Forward Pass Memory Usage:"]
    assert [line.split(":")[0] for line in printed[2:]] == [
        "  CPU",
        "  GPU Allocated",
        "  GPU Cached",
    ]

    kept, memory_usage = profiler.profile_operation(lambda: torch.ones(10_000_000))
    assert 35 < memory_usage["cpu"] < 80
    with pytest.raises(KeyError):
        profiler.profile_operation(lambda: {}["nothing"])


@pytest.mark.parametrize(
    ("in_features", "out_features", "sketch_size"),
    [(1024, 512, 256), (2048, 1024, 512), (4096, 2048, 1024)],
)
def test_analyze_layer_memory_components(in_features, out_features, sketch_size):
    sketched = torch.nn.Sequential(
        torch.nn.Linear(in_features, sketch_size, bias=False),
        torch.nn.Linear(sketch_size, out_features),
    )
    found = layer_memory(sketched, in_features, out_features, sketch_size, batch_size=128)
    parameters = in_features * sketch_size + sketch_size * out_features + out_features
    assert found["parameters"] == parameters
    assert found["parameters_mb"] == parameters * 4 / 1024**2
    assert 20 < found["reduction"] < 30
    assert found["input_mb"] == 128 * in_features * 4 / 1024**2
    assert found["output_mb"] == 128 * out_features * 4 / 1024**2
    assert found["sketch_mb"] == 128 * sketch_size * 4 / 1024**2


# Memory-efficient training.


def test_gradient_checkpointing():
    layer_sizes = [1024, 512, 256, 128, 64]
    sketch_ratios = [0.5, 0.5, 0.5, 0.5]
    sketches = []

    def layer(in_features, out_features, sketch_size):
        sketches.append(sketch_size)
        return torch.nn.Linear(in_features, out_features)

    model = MemoryEfficientSketchedModel(
        layer_sizes, sketch_ratios, checkpoint_segments=2, layer=layer
    )
    assert sketches == [512, 256, 128, 64]
    assert [len(segment) for segment in model.segments] == [3, 4]
    assert len(list(model.parameters())) == 8

    x = torch.randn(64, 1024, requires_grad=True)
    y = torch.randn(64, 64)
    optimizer = torch.optim.Adam(model.parameters())
    criterion = torch.nn.MSELoss()
    optimizer.zero_grad()
    output = model(x)
    loss = criterion(output, y)
    loss.backward()
    optimizer.step()
    assert output.shape == (64, 64) and x.grad.abs().sum() > 0
    assert criterion(model(x), y) < loss


def test_checkpoints_compute_the_same_and_keep_less():
    layers = [torch.nn.Sequential(torch.nn.Linear(64, 64), torch.nn.Tanh()) for _ in range(10)]
    plain, model = torch.nn.Sequential(*layers), CheckpointedSequential(layers, 4)
    assert [len(segment) for segment in model.segments] == [2, 2, 2, 4]

    def gradients(module):
        module.zero_grad()
        kept = []
        x = torch.ones(8, 64, requires_grad=True)
        with torch.autograd.graph.saved_tensors_hooks(
            lambda tensor: kept.append(tensor.nbytes) or tensor, lambda tensor: tensor
        ):
            module(x).sum().backward()
        return [x.grad, *(one.grad for one in module.parameters())], len(kept)

    (expected, all_kept), (found, few_kept) = gradients(plain), gradients(model)
    assert all(torch.equal(one, other) for one, other in zip(expected, found))
    model.eval()
    assert torch.equal(model(torch.ones(8, 64)), plain(torch.ones(8, 64)))
    assert all_kept > 0 and few_kept >= 0


def test_checkpointed_layers_run_again_in_the_backward_pass():
    calls = []
    layer = torch.nn.Linear(4, 4)
    layer.register_forward_hook(lambda *_: calls.append(1))
    model = CheckpointedSequential([layer, torch.nn.Tanh(), torch.nn.Linear(4, 4)], 1)
    loss = model(torch.randn(2, 4)).sum()
    assert len(calls) == 1
    loss.backward()
    assert len(calls) == 2
    with torch.no_grad():
        model(torch.randn(2, 4))
    assert len(calls) == 3
    with pytest.raises(ValueError, match="segments"):
        CheckpointedSequential([layer], 0)
    with pytest.raises(ValueError, match="1 sketch_ratios for 2 layers"):
        MemoryEfficientSketchedModel([4, 4, 4], [0.5])


# Mixed precision.


def test_mixed_precision_as_on_the_page(capsys):
    from arraybridge.training import GradScaler, autocast

    device = "cuda" if torch.cuda.is_available() else "cpu"
    lower = torch.float16 if device == "cuda" else torch.bfloat16
    model = torch.nn.Sequential(
        torch.nn.Linear(64, 32), torch.nn.ReLU(), torch.nn.Linear(32, 10)
    ).to(device)
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-2)
    scaler = GradScaler()
    x, y = torch.randn(128, 64, device=device), torch.randint(0, 10, (128,), device=device)
    losses = []
    model.train()
    for batch_idx in range(40):
        optimizer.zero_grad()
        with autocast():
            output = model(x)
            loss = torch.nn.functional.cross_entropy(output, y)
        assert (output.dtype, loss.dtype) == (lower, torch.float32)
        scaler.scale(loss).backward()
        scaler.step(optimizer)
        scaler.update()
        losses.append(loss.item())
        if batch_idx % 20 == 0:
            print(f"Epoch 0, Batch {batch_idx}, Loss: {loss.item():.4f}")
    assert losses[-1] < losses[0] / 2
    assert scaler.get_scale() == 65536 and isinstance(scaler, torch.amp.GradScaler)
    assert all(one.dtype == torch.float32 for one in model.parameters())
    assert len(capsys.readouterr().out.splitlines()) == 2


def test_a_step_with_infinite_gradients_is_skipped_and_the_scale_halved():
    from arraybridge.training import GradScaler

    weight = torch.nn.Parameter(torch.ones(3))
    optimizer = torch.optim.SGD([weight], lr=1.0)
    scaler = GradScaler(init_scale=1024.0, backoff_factor=0.5, device="cpu")
    scaler.scale(weight.sum() * torch.inf).backward()
    scaler.step(optimizer)
    scaler.update()
    assert weight.tolist() == [1, 1, 1] and scaler.get_scale() == 512
    optimizer.zero_grad()
    scaler.scale(weight.sum()).backward()
    scaler.step(optimizer)
    assert weight.tolist() == [0, 0, 0]


def test_autocast_takes_the_arguments_of_torch_cuda_amp():
    from arraybridge.training import autocast

    a = torch.randn(4, 4)
    with autocast(enabled=False, device_type="cpu"):
        assert (a @ a).dtype == torch.float32
    with autocast(True, torch.bfloat16, False, device_type="cpu"):
        assert (a @ a).dtype == torch.bfloat16

    @autocast(device_type="cpu")
    def product(one):
        return one @ one

    assert product(a).dtype == torch.bfloat16 and (a @ a).dtype == torch.float32


def test_training_with_mixed_precision(capsys):
    model = torch.nn.Linear(20, 3)
    x = torch.randn(64, 20)
    y = x[:, :3].argmax(1)
    means = train_with_mixed_precision(model, lambda: (x, y), epochs=5, batches=41)
    assert len(means) == 5 and means == sorted(means, reverse=True)
    lines = capsys.readouterr().out.splitlines()
    assert [line.partition(", Loss: ")[0] for line in lines[:4]] == [
        "Epoch 0, Batch 0",
        "Epoch 0, Batch 20",
        "Epoch 0, Batch 40",
        "Epoch 1, Batch 0",
    ]
    # With nothing said, it is the page's model and data.
    [mean] = train_with_mixed_precision(epochs=1, batches=2)
    assert 2 < mean < 3


# Dynamic batch size.


def trainer_and_loader(rows=600, loader_batch=512, **arguments):
    from torch.utils.data import DataLoader, TensorDataset

    data = TensorDataset(torch.randn(rows, 20), torch.randint(0, 3, (rows,)))
    model = torch.nn.Linear(20, 3)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01)
    trainer = AdaptiveBatchTrainer(model, optimizer, **arguments)
    return trainer, DataLoader(data, batch_size=loader_batch)


def test_the_search_finds_the_largest_batch_that_fits():
    trainer, loader = trainer_and_loader()
    assert (trainer.min_batch_size, trainer.max_batch_size) == (8, 512)
    assert (trainer.current_batch_size, trainer.max_memory_mb) == (32, 8000)
    assert trainer.find_optimal_batch_size(loader) == 512
    assert trainer.current_batch_size == 512

    for limit in (8, 137, 511):
        tried = []
        forward = trainer.model.forward

        def within(x, limit=limit, tried=tried, forward=forward):
            tried.append(len(x))
            if len(x) > limit:
                raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB")
            return forward(x)

        # To collect garbage takes long with PyTorch in the program.
        with patch.object(trainer.model, "forward", within), patch("gc.collect"):
            assert trainer._find_optimal_batch_size(loader) == limit
        assert len(tried) <= 9 and tried[0] == 260


def test_a_limit_that_nothing_keeps_gives_the_smallest_batch():
    trainer, loader = trainer_and_loader(max_memory_mb=0)
    assert trainer.find_optimal_batch_size(loader) == 8


def test_no_batch_is_larger_than_the_loaders():
    trainer, loader = trainer_and_loader(loader_batch=100)
    assert trainer.find_optimal_batch_size(loader) == 100


def test_other_errors_come_through():
    trainer, loader = trainer_and_loader()
    trainer.model = torch.nn.Linear(19, 3)
    with pytest.raises(RuntimeError, match="shape"):
        trainer.find_optimal_batch_size(loader)


def test_an_epoch_is_trained(capsys):
    trainer, loader = trainer_and_loader(rows=600)
    first = trainer.train_epoch(loader)
    for _ in range(3):
        last = trainer.train_epoch(loader)
    assert 0 < last < first
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "Using batch size: 512"
    assert lines[1].startswith("Batch 0, Loss: ") and lines[1].endswith(" MB")

    by_mean, loader = trainer_and_loader(criterion=lambda output, y: output.square().mean())
    assert by_mean.train_epoch(loader) > 0


# Large models.


def test_layers_are_placed_as_on_the_page():
    for layers in range(1, 12):
        for devices in range(1, layers + 1):
            each = layers // devices
            assert place_layers(layers, devices) == [
                min(layer // each, devices - 1) for layer in range(layers)
            ]
    # Where the page divides by zero.
    assert place_layers(2, 4) == [0, 1]
    with pytest.raises(ValueError, match="devices"):
        place_layers(3, 0)


def test_a_model_on_several_devices():
    devices = ["cpu"] * 4
    layer_configs = [
        {"in_features": 4096, "out_features": 2048, "sketch_size": 1024},
        {"in_features": 2048, "out_features": 1024, "sketch_size": 512},
        {"in_features": 1024, "out_features": 512, "sketch_size": 256},
        {"in_features": 512, "out_features": 256, "sketch_size": 128},
    ]
    model = DistributedSketchedModel(layer_configs, devices)
    x = torch.randn(32, 4096)
    output = model(x)
    assert (output.shape, output.device) == ((32, 256), x.device)
    y = x
    for index, layer in enumerate(model.layers):
        y = layer(y)
        y = torch.relu(y) if index < 3 else y
    assert torch.equal(output, y)


def test_each_layer_is_on_its_device():
    model = PlacedSequential(
        [torch.nn.Linear(4, 4), torch.nn.ReLU(), torch.nn.Linear(4, 2)], ["cpu", "meta"], None
    )
    assert [str(device) for device in model.layer_devices] == ["cpu", "meta", "meta"]
    assert [one.device.type for one in model.parameters()] == ["cpu", "cpu", "meta", "meta"]
    seen = []
    for layer in model.layers:
        layer.register_forward_hook(lambda _layer, _x, y: seen.append(y.device.type))
    # From "meta" there is no way back: that is what the result's way home fails with.
    with pytest.raises(NotImplementedError, match="meta"):
        model(torch.randn(3, 4))
    assert seen == ["cpu", "meta", "meta"]
    with pytest.raises(ValueError, match="devices is empty"):
        PlacedSequential([torch.nn.Linear(4, 4)], [])


def test_streaming_inference():
    model = torch.nn.Linear(1024, 10)
    inference_engine = StreamingInference(model, chunk_size=500)
    large_input = torch.randn(10000, 1024)
    predictions = inference_engine.predict_large_batch(large_input)
    assert predictions.shape == (10000, 10) and not predictions.requires_grad
    assert not model.training
    with torch.no_grad():
        assert torch.allclose(predictions, model(large_input), atol=1e-5)


def test_streaming_takes_any_number_of_rows():
    model = torch.nn.Linear(4, 2)
    for rows in (0, 1, 3, 7, 10):
        x = torch.randn(rows, 4)
        found = StreamingInference(model, 3).predict_large_batch(x)
        assert torch.allclose(found, model(x))
    with pytest.raises(ValueError, match="chunk_size is 0"):
        StreamingInference(model, 0)
    with pytest.raises(ValueError, match="a row for each"):
        StreamingInference(torch.nn.Flatten(0), 3).predict_large_batch(torch.randn(5, 4))


def test_streaming_makes_chunks_smaller_where_memory_runs_out():
    model, sizes = torch.nn.Linear(4, 2), []
    forward = model.forward

    def little(x):
        sizes.append(len(x))
        if len(x) > 30:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return forward(x)

    x = torch.randn(100, 4)
    with patch.object(model, "forward", little):
        found = StreamingInference(model, 100).predict_large_batch(x)
    assert torch.allclose(found, model(x))
    assert sizes == [100, 50, 25, 25, 25, 25]

    with patch.object(model, "forward", side_effect=RuntimeError("something else")):
        with pytest.raises(RuntimeError, match="something else"):
            StreamingInference(model).predict_large_batch(x)
    with patch.object(model, "forward", side_effect=MemoryError):
        with pytest.raises(MemoryError):
            StreamingInference(model).predict_large_batch(x)


# Memory monitoring.


def test_memory_monitor(capsys, tmp_path):
    monitor = MemoryMonitor(interval=0.01)
    assert (monitor.monitoring, monitor.memory_log, monitor.time_log) == (False, [], [])
    monitor.start_monitoring()
    kept = torch.ones(10_000_000)
    time.sleep(0.1)
    monitor.stop_monitoring()
    del kept
    assert not monitor.monitoring
    assert len(monitor.memory_log) == len(monitor.time_log) >= 3
    assert monitor.time_log == sorted(monitor.time_log) and min(monitor.memory_log) > 1
    assert monitor.recording.series["process"]["max"] > 2**20

    path = tmp_path / "memory.svg"
    monitor.plot_memory_usage(path=str(path))
    assert path.read_text().startswith("<svg") and "Memory Usage Over Time" in path.read_text()
    lines = capsys.readouterr().out.splitlines()
    assert lines[:2] == ["", "Memory Statistics:"]
    assert lines[2] == f"  Maximum: {max(monitor.memory_log):.2f} MB"
    assert lines[3].startswith("  Average: ")
    assert lines[4] == f"  Final: {monitor.memory_log[-1]:.2f} MB"


def test_without_matplotlib_the_recording_is_the_picture():
    with MemoryMonitor(0.01) as monitor:
        with patch.dict(sys.modules, matplotlib=None):
            with pytest.warns(UserWarning, match="matplotlib is not installed"):
                assert monitor.plot_memory_usage()._repr_svg_().startswith("<svg")


def test_with_matplotlib_it_is_shown():
    class Recorder:
        def __init__(self):
            self.calls = []

        def __getattr__(self, name):
            return lambda *arguments, **named: self.calls.append((name, arguments, named))

    pyplot = Recorder()
    module = type(sys)("matplotlib")
    module.pyplot = pyplot
    with MemoryMonitor(0.01) as monitor:
        time.sleep(0.02)
    with patch.dict(sys.modules, {"matplotlib": module, "matplotlib.pyplot": pyplot}):
        assert monitor.plot_memory_usage() is None
    assert [name for name, *_ in pyplot.calls][-1] == "show"
    assert ("title", ("Memory Usage Over Time",), {}) in pyplot.calls
    [(_, drawn, _)] = [call for call in pyplot.calls if call[0] == "plot"]
    assert drawn == (monitor.time_log, monitor.memory_log, "b-")


def test_a_monitor_stops_at_once_and_only_when_it_runs():
    monitor = MemoryMonitor(interval=60)
    with pytest.raises(RuntimeError, match="does not run"):
        monitor.stop_monitoring()
    with pytest.raises(RuntimeError, match="nothing was recorded"):
        monitor.plot_memory_usage()
    monitor.start_monitoring()
    with pytest.raises(RuntimeError, match="runs already"):
        monitor.start_monitoring()
    start = time.monotonic()
    monitor.stop_monitoring()
    assert time.monotonic() - start < 5
    with pytest.raises(ValueError, match="interval"):
        MemoryMonitor(interval=0)
