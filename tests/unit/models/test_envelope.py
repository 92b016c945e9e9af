"""The protobuf envelope: there and back, on the wire as published, and generated from what is committed."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from models.envelope import Envelope
from models.errors import BadValue

ROOT = Path(__file__).parents[3]
PROTO = "models/proto/message_envelope.proto"
TEXT = st.text(st.characters(exclude_categories=["Cs"]))


@given(
    st.builds(
        Envelope,
        message_type=TEXT.filter(bool),
        user_id=TEXT,
        payload=st.binary(),
        timestamp_ns=st.integers(-(2**63), 2**63 - 1),
        service_source=TEXT,
        correlation_id=TEXT,
    )
)
def test_an_envelope_survives_the_wire(envelope: Envelope) -> None:
    """Whatever the fields hold, decoding gives back what was encoded."""
    assert Envelope.decode(envelope.encode()) == envelope


def test_the_wire_form_is_pinned() -> None:
    """Field numbers and types, byte by byte: changing them would break every foreign reader."""
    envelope = Envelope(
        message_type="hub.signal/1",
        user_id="u1",
        payload=b"{}",
        timestamp_ns=300,
        service_source="fanout",
        correlation_id="c",
    )
    wire = b"\x0a\x0chub.signal/1\x12\x02u1\x1a\x02{}\x20\xac\x02\x2a\x06fanout\x32\x01c"

    assert envelope.encode() == wire


@pytest.mark.parametrize("data", [b"\xff\xff", b"not protobuf", b""])
def test_what_is_no_envelope_is_refused(data: bytes) -> None:
    """Noise, and an envelope without a type, which no reader could use."""
    with pytest.raises(BadValue):
        Envelope.decode(data)


def test_the_generated_code_is_that_of_the_schema(tmp_path: Path) -> None:
    """Somebody who edits the schema regenerates the code, too."""
    arguments = ["-I", ".", f"--python_out={tmp_path}", f"--pyi_out={tmp_path}", PROTO]
    subprocess.run([sys.executable, "-m", "grpc_tools.protoc", *arguments], cwd=ROOT, check=True)

    for suffix in ("_pb2.py", "_pb2.pyi"):
        name = PROTO.replace(".proto", suffix)
        assert (tmp_path / name).read_text() == (ROOT / name).read_text()
