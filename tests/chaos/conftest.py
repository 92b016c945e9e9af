"""The whole hub on Apache Kafka, as in the e2e tier; here it is hurt more often and for longer."""

from tests.e2e.conftest import hub

__all__ = ["hub"]
