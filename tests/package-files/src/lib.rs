//! Nothing but its tests: the program on files that Python packages bring.

// The tests use them.
use {arraybridge as _, bridge_cli as _, serde_json as _, tempfile as _};
