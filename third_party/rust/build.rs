//! Leaves the path of Wasmtime's C headers (its build script generates one of them) where tools/setup looks for it.
use std::{env, fs, path::Path};

fn main() {
    let headers = env::var("DEP_WASMTIME_C_API_INCLUDE").expect("wasmtime-c-api-impl names its include directory");
    let out = env::var("OUT_DIR").expect("cargo sets OUT_DIR");
    // OUT_DIR is target/<profile>/build/<package>/out.
    let profile = Path::new(&out).ancestors().nth(3).expect("OUT_DIR lies inside the target directory");
    fs::write(profile.join("wasmtime-include.path"), headers).expect("the target directory is writable");
    println!("cargo:rerun-if-changed=build.rs");
}
