//! libFuzzer over one target, whose name stands in `FUZZ_TARGET`. Started by `cargo xtask fuzz`.
#![no_main]
#![expect(
    unsafe_code,
    reason = "libFuzzer calls exported functions, which its macro defines"
)]

use std::sync::LazyLock;

use mulgil_fuzz::Target;

static TARGET: LazyLock<&'static Target> = LazyLock::new(|| {
    let name = std::env::var("FUZZ_TARGET").expect("FUZZ_TARGET names a target");
    Target::find(&name).expect("FUZZ_TARGET names a target that exists")
});

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    TARGET.execute(bytes);
});
