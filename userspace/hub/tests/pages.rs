//! The pages in a real Chromium: `web/tests` has what is looked at.

use std::path::Path;
use std::process::Command;

#[test]
fn pages_show_what_was_sent() {
    let tests = Path::new(env!("CARGO_MANIFEST_DIR")).join("web/tests");
    let there = tests.join("node_modules/playwright-core").is_dir();
    assert!(there, "the tests of the pages lack their packages: run `cargo xtask setup --tests`");
    let mut node = Command::new("node");
    node.args(["--test", "pages.test.mjs", "access.test.mjs"])
        .current_dir(tests)
        .env("PODSCOPE_HUB", env!("CARGO_BIN_EXE_podscope-hub"));
    let status = node.status().unwrap_or_else(|error| panic!("cannot run node: {error}"));
    assert!(status.success(), "the tests above failed");
}
