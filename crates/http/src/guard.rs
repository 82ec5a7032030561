//! Refuses what a foreign web page could send: DNS rebinding and cross-site requests.
//!
//! A page on the internet can make the browser of an operator send requests to `127.0.0.1`. Two
//! things give it away, and neither needs a login:
//!
//! - **Host.** With DNS rebinding the page's own name resolves to 127.0.0.1, so the request counts as
//!   same-origin for the browser, but `Host` carries that name. Only loopback names and the configured
//!   ones are answered.
//! - **Origin, Sec-Fetch-Site.** A cross-site request carries the page's origin, or says so itself.
//!   Browsers leave `Origin` out of some GET requests, so both are looked at, for all methods.
//!
//! A client that is no browser sends neither of the second kind, and is not disturbed.

use std::net::{Ipv4Addr, Ipv6Addr};

use http::{HeaderMap, HeaderName, Uri, header, uri};

/// Why a request is not answered.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum GuardRefusal {
    /// It is for another host, or one cannot tell for which.
    #[error("{0}")]
    Host(String),
    /// A page of another origin sent it.
    #[error("{0}")]
    Origin(String),
}

/// The names beside loopback that a server answers to.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Hosts(Vec<String>);

impl Hosts {
    /// Takes names or addresses without a port; an IPv6 address with or without brackets.
    #[must_use]
    pub fn new(names: impl IntoIterator<Item = String>) -> Self {
        let plain = |name: String| unbracketed(&name.to_ascii_lowercase()).to_owned();
        Self(names.into_iter().map(plain).collect())
    }

    /// Whether requests for this host are answered.
    #[must_use]
    pub fn allow(&self, host: &str) -> bool {
        let host = unbracketed(host);
        is_loopback(host) || self.0.iter().any(|known| known.eq_ignore_ascii_case(host))
    }
}

fn unbracketed(host: &str) -> &str {
    host.strip_prefix('[')
        .and_then(|host| host.strip_suffix(']'))
        .unwrap_or(host)
}

/// Whether `host` can only mean this machine. Only the plain spellings count: a browser writes no other.
fn is_loopback(host: &str) -> bool {
    let v4 = || {
        host.parse::<Ipv4Addr>()
            .is_ok_and(|address| address.is_loopback())
    };
    let v6 = || {
        host.parse::<Ipv6Addr>()
            .is_ok_and(|address| address.is_loopback())
    };
    host.eq_ignore_ascii_case("localhost") || v4() || v6()
}

/// Checks a request's target and headers.
///
/// # Errors
///
/// [`GuardRefusal`].
pub fn verdict(hosts: &Hosts, target: &Uri, headers: &HeaderMap) -> Result<(), GuardRefusal> {
    let host = host(target, headers)?;
    if !hosts.allow(host.host()) {
        return Err(GuardRefusal::Host(format!("\"{}\"", host.host())));
    }
    check_origin(&host, headers)?;
    check_fetch_site(headers)
}

/// The one header of this name; two of them are somebody's trick.
fn only<'a>(headers: &'a HeaderMap, name: &HeaderName) -> Result<Option<&'a str>, GuardRefusal> {
    let refused = || GuardRefusal::Host(format!("more than one or a garbled {name}"));
    let mut values = headers.get_all(name).iter();
    let first = values
        .next()
        .map(|value| value.to_str().map_err(|_garbled| refused()));
    if values.next().is_some() {
        Err(refused())
    } else {
        first.transpose()
    }
}

/// The host that the request is for: from `Host`, and from the target where it is a whole URL.
fn host(target: &Uri, headers: &HeaderMap) -> Result<uri::Authority, GuardRefusal> {
    let refused = |why: &str| GuardRefusal::Host(why.to_owned());
    let header = only(headers, &header::HOST)?.ok_or_else(|| refused("no Host header"))?;
    let host: uri::Authority = header
        .parse()
        .map_err(|_bad| refused("a garbled Host header"))?;
    if host.as_str().contains('@') {
        return Err(refused("a garbled Host header"));
    }
    match target.authority() {
        Some(authority) if !authority.as_str().eq_ignore_ascii_case(host.as_str()) => {
            Err(refused("Host and target differ"))
        }
        _ => Ok(host),
    }
}

fn check_origin(host: &uri::Authority, headers: &HeaderMap) -> Result<(), GuardRefusal> {
    let Some(origin) = only(headers, &header::ORIGIN)? else {
        return Ok(());
    };
    let same = origin
        .split_once("://")
        .filter(|(scheme, _)| *scheme == "http" || *scheme == "https")
        .and_then(|(scheme, rest)| Some((scheme, rest.parse::<uri::Authority>().ok()?)))
        .is_some_and(|(scheme, origin)| {
            let default = if scheme == "https" { 443 } else { 80 };
            let port = |authority: &uri::Authority| authority.port_u16().unwrap_or(default);
            origin.host().eq_ignore_ascii_case(host.host()) && port(&origin) == port(host)
        });
    if same {
        Ok(())
    } else {
        Err(GuardRefusal::Origin(format!("\"{origin}\"")))
    }
}

fn check_fetch_site(headers: &HeaderMap) -> Result<(), GuardRefusal> {
    static FETCH_SITE: HeaderName = HeaderName::from_static("sec-fetch-site");
    match only(headers, &FETCH_SITE)? {
        None | Some("same-origin" | "none") => Ok(()),
        Some(other) => Err(GuardRefusal::Origin(format!("sec-fetch-site: {other}"))),
    }
}

#[cfg(test)]
mod tests;
