//! What both services are built on: settings, telemetry, MongoDB access, group commit, shutdown.
