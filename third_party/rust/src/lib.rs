//! One static library for the C tree: the C API of Wasmtime as it is, and Ed25519 verification (`ed25519.rs`).
//! A panic aborts the process (Cargo.toml), so none can unwind into C.
pub use wasmtime_c_api::*;

mod ed25519;
