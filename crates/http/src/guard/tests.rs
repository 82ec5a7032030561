//! What a browser, a rebinding page and an honest client send, and what becomes of it.

use http::HeaderValue;

use super::*;

fn ask(target: &str, headers: &[(&'static str, &str)]) -> Result<(), String> {
    let hosts = Hosts::new(["broker.example".to_owned(), "[2001:db8::7]".to_owned()]);
    let mut map = HeaderMap::new();
    for (name, value) in headers {
        map.append(*name, HeaderValue::from_str(value).unwrap());
    }
    verdict(&hosts, &target.parse().unwrap(), &map).map_err(|refusal| match refusal {
        GuardRefusal::Host(_) => "host".to_owned(),
        GuardRefusal::Origin(_) => "origin".to_owned(),
    })
}

fn ask_host(host: &str) -> Result<(), String> {
    ask("/api/v1/topics", &[("host", host)])
}

const HOST: Result<(), &str> = Err("host");
const ORIGIN: Result<(), &str> = Err("origin");

fn same(answer: &Result<(), String>, wanted: Result<(), &str>) -> bool {
    *answer == wanted.map_err(str::to_owned)
}

#[test]
fn loopback_and_configured_hosts_are_answered() {
    for host in [
        "localhost",
        "LocalHost:15672",
        "127.0.0.1",
        "127.0.0.1:1",
        "127.255.3.4:15672",
        "[::1]",
        "[::1]:15672",
        "broker.example",
        "Broker.Example:80",
        "[2001:db8::7]:15672",
    ] {
        assert!(same(&ask_host(host), Ok(())), "{host}");
    }
}

#[test]
fn a_rebinding_page_is_refused_by_its_own_name() {
    for host in [
        "evil.example",
        "evil.example:15672",
        "127.0.0.1.evil.example",
        "localhost.evil.example",
        "evil.example.localhost",
        "localhost.",
        "0.0.0.0",
        "0.0.0.0:15672",
        "[::]",
        "127.1",
        "2130706433",
        "0x7f.0.0.1",
        "[::ffff:127.0.0.1]",
        "192.168.1.2",
        "notbroker.example",
        "user@localhost",
        "localhost@evil.example",
        "localhost, evil.example",
        "",
        ":15672",
    ] {
        assert!(same(&ask_host(host), HOST), "{host}");
    }
}

#[test]
fn no_host_two_hosts_and_another_target_are_refused() {
    assert!(same(&ask("/", &[]), HOST));
    assert!(same(
        &ask("/", &[("host", "localhost"), ("host", "evil.example")]),
        HOST
    ));
    assert!(same(
        &ask("http://evil.example/", &[("host", "localhost")]),
        HOST
    ));
    assert!(same(
        &ask("http://localhost/", &[("host", "localhost")]),
        Ok(())
    ));
}

#[test]
fn an_origin_must_be_the_host() {
    let ask = |origin| ask("/", &[("host", "localhost:15672"), ("origin", origin)]);
    assert!(same(&ask("http://localhost:15672"), Ok(())));
    assert!(same(&ask("http://LOCALHOST:15672"), Ok(())));
    for origin in [
        "null",
        "",
        "http://localhost",
        "http://localhost:3000",
        "http://127.0.0.1:15672",
        "http://evil.example",
        "https://evil.example:15672",
        "file://",
        "localhost:15672",
        "chrome-extension://localhost:15672",
    ] {
        assert!(same(&ask(origin), ORIGIN), "{origin}");
    }
}

#[test]
fn a_default_port_may_be_left_out() {
    let ask = |host, origin| ask("/", &[("host", host), ("origin", origin)]);
    assert!(same(&ask("localhost", "http://localhost"), Ok(())));
    assert!(same(&ask("localhost:80", "http://localhost"), Ok(())));
    assert!(same(
        &ask("broker.example", "https://broker.example"),
        Ok(())
    ));
    assert!(same(
        &ask("broker.example:80", "https://broker.example"),
        ORIGIN
    ));
}

#[test]
fn requests_that_a_browser_calls_cross_site_are_refused() {
    let ask = |site| ask("/", &[("host", "localhost"), ("sec-fetch-site", site)]);
    assert!(same(&ask("same-origin"), Ok(())));
    assert!(same(&ask("none"), Ok(())));
    for site in ["cross-site", "same-site", "CROSS-SITE", "", "something-new"] {
        assert!(same(&ask(site), ORIGIN), "{site}");
    }
}
