//! `docs/settings.md` is the table of settings, as a page for users.

use mulgil_admin::settings::markdown;

#[test]
fn the_page_for_users_is_this_table() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/settings.md");
    if std::env::var_os("UPDATE").is_some() {
        std::fs::write(path, markdown()).unwrap();
    }
    let page = std::fs::read_to_string(path).unwrap();
    assert!(
        page == markdown(),
        "docs/settings.md is old: run the test with UPDATE=1"
    );
}
