//! Signature version 4: whether a request comes from somebody who knows a secret (IAM user guide, "AWS Signature
//! Version 4 for API requests").
//!
//! In a header, or in the query of a URL that was signed in advance. All that AWS's clients sign is checked: the
//! body, the headers that they name, `Host` among them, and the time, within 15 minutes.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use hmac::{Hmac, Mac as _};
use http::{HeaderMap, Method, Uri};
use sha2::{Digest as _, Sha256};

use crate::digest::hex;
use crate::fault::{Fault, Kind};

const ALGORITHM: &str = "AWS4-HMAC-SHA256";
const SERVICE: &str = "sqs";
/// How far a clock may be wrong, seconds.
const SKEW_SECONDS: i64 = 15 * 60;
/// Longest time for which a URL may be signed, seconds: a week.
const EXPIRES_MAX: i64 = 7 * 24 * 60 * 60;
/// Most headers that are signed.
const SIGNED_MAX: usize = 50;

/// Access keys: ids and their secrets.
#[derive(Clone, Default)]
pub struct Keys(Arc<BTreeMap<String, String>>);

impl fmt::Debug for Keys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.0.keys()).finish()
    }
}

impl FromIterator<(String, String)> for Keys {
    fn from_iter<T: IntoIterator<Item = (String, String)>>(keys: T) -> Self {
        Self(Arc::new(keys.into_iter().collect()))
    }
}

impl Keys {
    /// Whether nobody has to sign.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

/// A request, as far as it is signed.
#[derive(Clone, Copy, Debug)]
pub struct Signed<'a> {
    /// Its method.
    pub method: &'a Method,
    /// What it is for.
    pub uri: &'a Uri,
    /// Its headers.
    pub headers: &'a HeaderMap,
    /// Its body.
    pub body: &'a [u8],
}

fn fault(kind: Kind, message: impl Into<String>) -> Fault {
    Fault::new(kind, message)
}

fn incomplete(what: &str) -> Fault {
    let message = format!("Authorization requires {what}.");
    fault(Kind::IncompleteSignature, message)
}

/// What somebody says that they signed with, and what they signed.
struct Claim {
    key: String,
    date: String,
    region: String,
    service: String,
    signed: Vec<String>,
    signature: String,
    /// When, as it is signed.
    time: String,
    /// For how long, if a URL was signed in advance.
    expires: Option<i64>,
}

impl Claim {
    /// Reads the claim of a request; none without any.
    fn read(request: Signed<'_>, query: &[(String, String)]) -> Result<Option<Self>, Fault> {
        let in_query = |name: &str| {
            let found = query.iter().find(|(known, _)| known == name);
            found.map(|(_, value)| value.clone())
        };
        if in_query("X-Amz-Algorithm").is_some_and(|algorithm| algorithm == ALGORITHM) {
            let need = |name: &str| {
                in_query(name).ok_or_else(|| incomplete(&format!("'{name}' parameter")))
            };
            let expires = need("X-Amz-Expires")?.parse::<i64>().ok();
            let expires = expires.filter(|seconds| (1..=EXPIRES_MAX).contains(seconds));
            let expires = expires.ok_or_else(|| incomplete("an expiry of up to a week"))?;
            return Self::of(
                &need("X-Amz-Credential")?,
                &need("X-Amz-SignedHeaders")?,
                need("X-Amz-Signature")?,
                need("X-Amz-Date")?,
                Some(expires),
            )
            .map(Some);
        }
        let header = |name: &str| {
            let value = request.headers.get(name)?;
            value.to_str().ok().map(str::trim)
        };
        let Some(authorization) = header("authorization") else {
            return Ok(None);
        };
        let Some(rest) = authorization.strip_prefix(ALGORITHM) else {
            return Err(incomplete(&format!("the algorithm {ALGORITHM}")));
        };
        let parts: BTreeMap<_, _> = { rest.split(',') }
            .filter_map(|part| part.trim().split_once('='))
            .collect();
        let need = |name: &str| {
            { parts.get(name).copied() }.ok_or_else(|| incomplete(&format!("'{name}' parameter")))
        };
        let time = header("x-amz-date").ok_or_else(|| incomplete("existence of 'X-Amz-Date'"))?;
        Self::of(
            need("Credential")?,
            need("SignedHeaders")?,
            need("Signature")?.to_owned(),
            time.to_owned(),
            None,
        )
        .map(Some)
    }

    fn of(
        credential: &str,
        signed: &str,
        signature: String,
        time: String,
        expires: Option<i64>,
    ) -> Result<Self, Fault> {
        let parts: Vec<_> = credential.split('/').collect();
        let [key, date, region, service, "aws4_request"] = parts[..] else {
            return Err(incomplete(
                "a credential of key/date/region/sqs/aws4_request",
            ));
        };
        let signed: Vec<_> = signed.split(';').map(str::to_ascii_lowercase).collect();
        if signed.len() > SIGNED_MAX || !signed.iter().any(|name| name == "host") {
            return Err(incomplete("'host' among the signed headers"));
        }
        Ok(Self {
            key: key.to_owned(),
            date: date.to_owned(),
            region: region.to_owned(),
            service: service.to_owned(),
            signed,
            signature,
            time,
            expires,
        })
    }
}

/// Checks who sent a request; `now` is seconds since 1970. Without keys everybody may.
///
/// # Errors
///
/// [`Kind::MissingAuthenticationToken`], [`Kind::IncompleteSignature`], [`Kind::InvalidClientTokenId`] and
/// [`Kind::SignatureDoesNotMatch`].
pub fn check(keys: &Keys, region: &str, request: Signed<'_>, now: i64) -> Result<(), Fault> {
    if keys.is_empty() {
        return Ok(());
    }
    let query = request.uri.query().unwrap_or_default();
    let query: Vec<_> = form_urlencoded::parse(query.as_bytes())
        .map(|(name, value)| (name.into_owned(), value.into_owned()))
        .collect();
    let claim = Claim::read(request, &query)?.ok_or_else(|| {
        fault(
            Kind::MissingAuthenticationToken,
            "Request is missing Authentication Token",
        )
    })?;
    let secret = keys.0.get(&claim.key).ok_or_else(|| {
        let message = "The security token included in the request is invalid.";
        fault(Kind::InvalidClientTokenId, message)
    })?;
    let mismatch = |message: String| fault(Kind::SignatureDoesNotMatch, message);
    if claim.region != region || claim.service != SERVICE {
        return Err(mismatch(format!(
            "Credential should be scoped to a valid region, {region}, and to correct service: '{SERVICE}'."
        )));
    }
    let time = seconds_of(&claim.time)
        .ok_or_else(|| incomplete("a date in ISO-8601 'basic format' (20261231T235959Z)"))?;
    if claim.time.get(..8) != Some(claim.date.as_str()) {
        return Err(mismatch(
            "Date in Credential scope does not match the time of the request.".to_owned(),
        ));
    }
    let until = claim.expires.unwrap_or(SKEW_SECONDS);
    if now - time > until {
        return Err(mismatch(format!(
            "Signature expired: {} is more than {until} s before the time of this server.",
            claim.time
        )));
    }
    if time - now > SKEW_SECONDS {
        return Err(mismatch(format!(
            "Signature not yet current: {} is more than {SKEW_SECONDS} s behind the time of this server.",
            claim.time
        )));
    }
    let canonical = canonical(request, &claim, &query)?;
    let scope = format!(
        "{}/{}/{}/aws4_request",
        claim.date, claim.region, claim.service
    );
    let to_sign = format!(
        "{ALGORITHM}\n{}\n{scope}\n{}",
        claim.time,
        hex(&Sha256::digest(&canonical))
    );
    let mut key = mac(format!("AWS4{secret}").as_bytes(), claim.date.as_bytes());
    for part in [claim.region.as_str(), SERVICE, "aws4_request"] {
        key = mac(&key, part.as_bytes());
    }
    let wrong = || {
        mismatch(
            "The request signature we calculated does not match the signature you provided. Check your \
             AWS Secret Access Key and signing method. Consult the service documentation for details."
                .to_owned(),
        )
    };
    let given = unhex(&claim.signature).ok_or_else(wrong)?;
    // Compared in constant time.
    let verified = hmac(&key, to_sign.as_bytes()).verify_slice(&given);
    verified.map_err(|_differs| wrong())
}

/// The canonical request.
fn canonical(
    request: Signed<'_>,
    claim: &Claim,
    query: &[(String, String)],
) -> Result<String, Fault> {
    let body = hex(&Sha256::digest(request.body));
    if let Some(said) = request.headers.get("x-amz-content-sha256")
        && said.as_bytes() != body.as_bytes()
    {
        let message =
            "The provided 'x-amz-content-sha256' header does not match what was computed.";
        return Err(fault(Kind::SignatureDoesNotMatch, message));
    }
    let path: Vec<_> = { request.uri.path().split('/') }.map(encoded).collect();
    let mut pairs: Vec<_> = { query.iter() }
        .filter(|(name, _)| name != "X-Amz-Signature")
        .map(|(name, value)| format!("{}={}", encoded(name), encoded(value)))
        .collect();
    pairs.sort();
    let mut headers = String::new();
    for name in &claim.signed {
        let mut values = request.headers.get_all(name).iter().peekable();
        if values.peek().is_none() {
            return Err(incomplete(&format!("the signed header '{name}'")));
        }
        let values: Vec<_> = values
            .map(|value| {
                let text = String::from_utf8_lossy(value.as_bytes());
                text.split_ascii_whitespace().collect::<Vec<_>>().join(" ")
            })
            .collect();
        headers.push_str(&format!("{name}:{}\n", values.join(",")));
    }
    Ok(format!(
        "{}\n{}\n{}\n{headers}\n{}\n{body}",
        request.method,
        path.join("/"),
        pairs.join("&"),
        claim.signed.join(";"),
    ))
}

/// As URIs are encoded for signing: all but letters, digits and `-._~`.
fn encoded(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'~') {
            out.push(char::from(byte));
        } else {
            out.push_str(&format!("%{byte:02X}"));
        }
    }
    out
}

fn hmac(key: &[u8], text: &[u8]) -> Hmac<Sha256> {
    let mac = Hmac::<Sha256>::new_from_slice(key);
    mac.expect("a key of any length is possible")
        .chain_update(text)
}

fn mac(key: &[u8], text: &[u8]) -> Vec<u8> {
    hmac(key, text).finalize().into_bytes().to_vec()
}

fn unhex(text: &str) -> Option<Vec<u8>> {
    if text.len() != 64 {
        return None;
    }
    let digits = text.as_bytes().chunks_exact(2);
    digits
        .map(|two| u8::from_str_radix(str::from_utf8(two).ok()?, 16).ok())
        .collect()
}

/// Seconds since 1970 of a time like `20261231T235959Z`.
fn seconds_of(time: &str) -> Option<i64> {
    let digits = |from: usize, to: usize| -> Option<i64> {
        let part = time.get(from..to)?;
        let plain = part.bytes().all(|byte| byte.is_ascii_digit());
        part.parse().ok().filter(|_| plain)
    };
    if time.len() != 16 || time.get(8..9)? != "T" || time.get(15..)? != "Z" {
        return None;
    }
    let (year, month, day) = (digits(0, 4)?, digits(4, 6)?, digits(6, 8)?);
    let (hour, minute, second) = (digits(9, 11)?, digits(11, 13)?, digits(13, 15)?);
    let possible = (1..=12).contains(&month) && (1..=31).contains(&day);
    if !possible || hour > 23 || minute > 59 || second > 60 {
        return None;
    }
    // Days from 0000-03-01, so that the leap day is the last of a year.
    let (year, month) = if month > 2 {
        (year, month - 3)
    } else {
        (year - 1, month + 9)
    };
    let days = 365 * year + year.div_euclid(4) - year.div_euclid(100)
        + year.div_euclid(400)
        + (153 * month + 2) / 5
        + day
        - 1;
    Some((days - 719_468) * 86_400 + hour * 3_600 + minute * 60 + second)
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    const KEY: &str = "AKIDEXAMPLE";
    const SECRET: &str = "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY";
    const TIME: &str = "20260301T120000Z";

    struct Request {
        method: Method,
        uri: Uri,
        headers: HeaderMap,
        body: Vec<u8>,
    }

    impl Request {
        fn signed(&self) -> Signed<'_> {
            Signed {
                method: &self.method,
                uri: &self.uri,
                headers: &self.headers,
                body: &self.body,
            }
        }

        fn check(&self, now: i64) -> Result<(), Kind> {
            let keys = Keys::from_iter([(KEY.to_owned(), SECRET.to_owned())]);
            check(&keys, "us-east-1", self.signed(), now).map_err(|fault| fault.kind)
        }
    }

    /// A request that botocore 1.44 signed at [`TIME`].
    fn request(signature: &str) -> Request {
        let mut headers = HeaderMap::new();
        let mut put = |name: &'static str, value: &str| {
            headers.insert(name, HeaderValue::from_str(value).unwrap());
        };
        put("host", "localhost:9324");
        put("content-type", "application/x-amz-json-1.0");
        put("x-amz-date", TIME);
        put("x-amz-target", "AmazonSQS.ListQueues");
        put(
            "authorization",
            &format!(
                "{ALGORITHM} Credential={KEY}/20260301/us-east-1/sqs/aws4_request, \
                 SignedHeaders=content-type;host;x-amz-date;x-amz-target, Signature={signature}"
            ),
        );
        Request {
            method: Method::POST,
            uri: Uri::from_static("/"),
            headers,
            body: b"{}".to_vec(),
        }
    }

    fn good() -> Request {
        request(SIGNATURE)
    }

    const SIGNATURE: &str = "3abe6be2a4936f24d8529c80a1c32800d0e924159acb43fbb1d6bdafd02db320";

    fn now() -> i64 {
        seconds_of(TIME).unwrap()
    }

    #[test]
    fn times_are_read() {
        assert_eq!(seconds_of("19700101T000000Z"), Some(0));
        assert_eq!(seconds_of("20000229T000001Z"), Some(951_782_401));
        assert_eq!(now(), 1_772_366_400);
        for bad in [
            "",
            "20260301",
            "20261301T000000Z",
            "2026030 T120000Z",
            "20260301T120000+",
        ] {
            assert_eq!(seconds_of(bad), None, "{bad}");
        }
    }

    #[test]
    fn what_botocore_signed_is_believed() {
        assert_eq!(good().check(now()), Ok(()));
        assert_eq!(good().check(now() + SKEW_SECONDS), Ok(()));
    }

    #[test]
    fn nothing_else_is() {
        let mismatch = Err(Kind::SignatureDoesNotMatch);
        // Replayed later, or from a clock that is ahead.
        assert_eq!(good().check(now() + SKEW_SECONDS + 1), mismatch);
        assert_eq!(good().check(now() - SKEW_SECONDS - 1), mismatch);
        let mut other = good();
        other.body = b"{ }".to_vec();
        assert_eq!(other.check(now()), mismatch);
        let mut other = good();
        other.headers.insert(
            "x-amz-target",
            HeaderValue::from_static("AmazonSQS.PurgeQueue"),
        );
        assert_eq!(other.check(now()), mismatch);
        let mut other = good();
        other.uri = Uri::from_static("/?a=b");
        assert_eq!(other.check(now()), mismatch);
        let mut other = good();
        other.method = Method::GET;
        assert_eq!(other.check(now()), mismatch);
        assert_eq!(request(&"0".repeat(64)).check(now()), mismatch);
        assert_eq!(request("x").check(now()), mismatch);
        let mut other = good();
        other.headers.remove("authorization");
        assert_eq!(other.check(now()), Err(Kind::MissingAuthenticationToken));
        let mut other = good();
        other.headers.remove("x-amz-target");
        assert_eq!(other.check(now()), Err(Kind::IncompleteSignature));
        let stranger = Keys::from_iter([("other".to_owned(), SECRET.to_owned())]);
        let refused = check(&stranger, "us-east-1", good().signed(), now()).unwrap_err();
        assert_eq!(refused.kind, Kind::InvalidClientTokenId);
        assert_eq!(check(&Keys::default(), "", good().signed(), 0), Ok(()));
    }
}
