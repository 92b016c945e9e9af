"""An ONNX model as an object: session, checks and calibration. Knows nothing of Ray, routes or brokers."""
