"""A session answers calibrated forecasts, refuses bad input by name and cannot reach other files."""

from __future__ import annotations

import math
import threading
import time
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime as ort
import pytest
from numpy.typing import NDArray
from onnx import TensorProto, helper

from inference.session import Session
from models.card import ModelCard
from models.errors import BadShape, BadValue, CardRejected, InferenceFailed, InputError, TooLarge
from models.task import CONTEXT_FEATURES, INTERVAL_LEVELS, WINDOW
from tests.unit.inference import tiny


def session_of(model: bytes, **changes: Any) -> Session:
    """A session of these bytes."""
    return Session(model, ModelCard.model_validate(tiny.card_of(model, **changes)))


@pytest.fixture(scope="module")
def session() -> Session:
    """The tiny model."""
    return session_of(tiny.artefact())


def test_forecasts_apply_the_cards_calibration(session: Session) -> None:
    """Quantiles, interval and probability follow from location, scale and the card, written out by hand."""
    window = tiny.window(3)

    forecasts = session.run(window, tiny.context(3), level=0.50)

    for row, forecast in zip(window, forecasts, strict=True):
        location = float(row.sum(dtype=np.float64))
        assert forecast.q50 == pytest.approx(location, abs=1e-9)
        assert (forecast.lower, forecast.upper) == pytest.approx((location - 1e-4, location + 1e-4), abs=1e-9)
        assert (forecast.q05, forecast.q95) == pytest.approx((location - 5e-4, location + 5e-4), abs=1e-9)
        assert forecast.prob_up == pytest.approx(1 / (1 + math.exp(-2000 * location)), abs=1e-5)
        assert (forecast.level, forecast.in_distribution) == (0.50, True)


@pytest.mark.parametrize("level", INTERVAL_LEVELS)
def test_intervals_grow_with_the_level(session: Session, level: float) -> None:
    """Every calibrated level can be asked for, by its own multiplier."""
    (forecast,) = session.run(tiny.window(), tiny.context(), level=level)

    multiplier = 1 + INTERVAL_LEVELS.index(level)
    assert forecast.upper - forecast.lower == pytest.approx(2 * multiplier * tiny.SCALE, rel=1e-5)


def test_an_unknown_level_is_refused(session: Session) -> None:
    """The error lists the calibrated levels."""
    with pytest.raises(BadValue, match=r"0\.42.*0\.50, 0\.60") as caught:
        session.run(tiny.window(), tiny.context(), level=0.42)
    assert caught.value.field == "interval_level"


@pytest.mark.parametrize(("ratio", "inside"), [(0.49, False), (0.5, True), (2.0, True), (2.01, False)])
def test_context_outside_the_domain_is_marked(session: Session, ratio: float, *, inside: bool) -> None:
    """A forecast outside what training saw is answered, and says so."""
    context = tiny.context()
    context[0, CONTEXT_FEATURES.index("vol_ratio")] = ratio

    (forecast,) = session.run(tiny.window(), context, level=0.9)

    assert forecast.in_distribution is inside


def with_value(values: NDArray[np.float32], value: float) -> NDArray[np.float32]:
    """A copy with one value changed."""
    changed = values.copy()
    changed[-1, 3] = value
    return changed


@pytest.mark.parametrize(
    ("window", "context", "error", "field"),
    [
        (tiny.window()[:, :-1], tiny.context(), BadShape, "window"),
        (tiny.window()[0], tiny.context(), BadShape, "window"),
        (tiny.window().astype(np.float64), tiny.context(), BadShape, "window"),
        (tiny.window(0), tiny.context(0), BadShape, "window"),
        (tiny.window(2), tiny.context(1), BadShape, "context"),
        (tiny.window(), tiny.context()[:, 1:], BadShape, "context"),
        (with_value(tiny.window(2), math.nan), tiny.context(2), BadValue, "window"),
        (with_value(tiny.window(2), math.inf), tiny.context(2), BadValue, "window"),
        (tiny.window(2), with_value(tiny.context(2), -math.inf), BadValue, "context"),
        (tiny.window(257), tiny.context(257), TooLarge, "window"),
    ],
)
def test_bad_input_is_refused_by_name(
    session: Session,
    *,
    window: NDArray[np.float32],
    context: NDArray[np.float32],
    error: type[InputError],
    field: str,
) -> None:
    """The error's type and field say what was wrong with which tensor."""
    with pytest.raises(error) as caught:
        session.run(window, context, level=0.9)
    assert caught.value.field == field


def test_a_bad_value_names_row_and_column(session: Session) -> None:
    """So that the caller finds it."""
    with pytest.raises(BadValue, match=r"window\[1\]\[3\] was nan"):
        session.run(with_value(tiny.window(2), math.nan), tiny.context(2), level=0.9)


def test_a_changed_artefact_is_refused() -> None:
    """The hash on the card decides, before anything is parsed."""
    card = ModelCard.model_validate(tiny.card_of(tiny.artefact()))

    with pytest.raises(CardRejected, match="sha256") as caught:
        Session(tiny.artefact() + b"\0", card)
    assert caught.value.field == "sha256"


def test_garbage_does_not_load() -> None:
    """Bytes that are no model are refused though their hash is right."""
    with pytest.raises(CardRejected, match="does not load"):
        session_of(b"no model")


def test_a_graph_cannot_read_other_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Tensors kept outside the artefact are refused, even when the file lies in the current directory."""
    weights = np.ones((WINDOW, 1), np.float32)
    (tmp_path / "weights.bin").write_bytes(weights.tobytes())
    monkeypatch.chdir(tmp_path)
    product = (
        tiny.node("MatMul", ["window", "weights"], "sums"),
        tiny.node("Squeeze", ["sums", "axis"], "location"),
    )
    model = onnx.load_from_string(
        tiny.artefact((*product, *tiny.NODES[1:]), constants=(tiny.constant("weights", weights),))
    )
    outside = next(item for item in model.graph.initializer if item.name == "weights")
    outside.ClearField("raw_data")
    outside.data_location = TensorProto.EXTERNAL
    outside.external_data.append(onnx.StringStringEntryProto(key="location", value="weights.bin"))
    ort.InferenceSession(
        model.SerializeToString(), providers=["CPUExecutionProvider"]
    )  # loads without the guard

    with pytest.raises(CardRejected, match="does not load"):
        session_of(model.SerializeToString())


def test_a_forecast_that_is_no_distribution_is_a_failure() -> None:
    """A scale of zero or an infinite location is never answered."""
    flat = (*tiny.NODES[:2], tiny.node("Mul", ["nothing", "zero"], "scale"), tiny.NODES[3])
    broken = (tiny.node("Div", ["one_each", "zero"], "location"), *tiny.NODES[1:])
    first = tiny.node("ReduceMax", ["window"], "one_each", axes=[1], keepdims=0)

    with pytest.raises(InferenceFailed, match="scale <= 0"):
        session_of(tiny.artefact(flat)).run(tiny.window(), tiny.context(), level=0.9)
    with pytest.raises(InferenceFailed, match="not finite"):
        session_of(tiny.artefact((first, *broken))).run(tiny.window(), tiny.context(), level=0.9)


def test_a_call_can_be_ended_from_outside() -> None:
    """`terminate` stops a graph that would run for ever."""
    session = session_of(endless())
    options = ort.RunOptions()

    def stop() -> None:
        options.terminate = True

    timer = threading.Timer(0.2, stop)
    timer.start()
    started = time.monotonic()
    with pytest.raises(InferenceFailed):
        session.run(tiny.window(), tiny.context(), level=0.9, options=options)
    timer.join()
    assert time.monotonic() - started < 10


def endless() -> bytes:
    """A loop whose condition never becomes false, before the tiny model."""
    kind = helper.make_tensor_value_info
    body = helper.make_graph(
        [tiny.node("Identity", ["go"], "go_on"), tiny.node("Abs", ["value"], "next")],
        "body",
        [
            kind("turn", TensorProto.INT64, []),
            kind("go", TensorProto.BOOL, []),
            kind("value", TensorProto.FLOAT, None),
        ],
        [kind("go_on", TensorProto.BOOL, []), kind("next", TensorProto.FLOAT, None)],
    )
    loop = tiny.node("Loop", ["", "true", "logit_up_"], "logit_up", body=body)
    last = tiny.node("Mul", ["location", "thousand"], "logit_up_")
    return tiny.artefact((*tiny.NODES[:3], last, loop), constants=(tiny.constant("true", np.array(True)),))


def test_one_session_serves_several_threads(session: Session) -> None:
    """Concurrent calls give the answers of calls one after another."""
    windows = [tiny.window(2, seed=seed) for seed in range(40)]
    alone = [session.run(window, tiny.context(2), level=0.9) for window in windows]
    together: dict[int, Any] = {}

    def work(first: int) -> None:
        for index in range(first, 40, 4):
            together[index] = session.run(windows[index], tiny.context(2), level=0.9)

    threads = [threading.Thread(target=work, args=(first,)) for first in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert [together[index] for index in range(40)] == alone


def test_loading_takes_no_thread_pool() -> None:
    """A session adds no thread to the process: replicas decide how many run."""
    before = _threads()

    sessions = [session_of(tiny.artefact()) for _ in range(3)]
    for session in sessions:
        session.run(tiny.window(), tiny.context(), level=0.9)

    assert _threads() <= before  # threads of earlier tests may still be ending


def _threads() -> int:
    return len(list(Path("/proc/self/task").iterdir()))
