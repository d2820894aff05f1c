//! Prometheus names, by the OpenTelemetry-to-Prometheus rules.
