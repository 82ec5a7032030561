//! `mulgil dev` and `mulgil server`.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::str::FromStr;

use clap::{Args, ValueEnum};

#[derive(Debug, Args)]
pub(crate) struct DevArgs {
    /// Where data lies [default: mulgil-dev in $XDG_STATE_HOME or ~/.local/state]
    #[arg(
        long,
        env = "MULGIL_DATA_DIR",
        value_name = "DIR",
        hide_env_values = true
    )]
    pub(crate) data_dir: Option<PathBuf>,
    /// Keep data in a directory that is removed at the end
    #[arg(long, conflicts_with = "data_dir")]
    pub(crate) ephemeral: bool,
    #[command(flatten)]
    pub(crate) listen: ListenArgs,
    #[command(flatten)]
    pub(crate) log: LogArgs,
}

#[derive(Debug, Args)]
pub(crate) struct ServerArgs {
    /// Where data lies
    #[arg(
        long,
        env = "MULGIL_DATA_DIR",
        value_name = "DIR",
        hide_env_values = true
    )]
    pub(crate) data_dir: PathBuf,
    #[command(flatten)]
    pub(crate) listen: ListenArgs,
    #[command(flatten)]
    pub(crate) log: LogArgs,
}

#[derive(Clone, Debug, Args)]
#[command(next_help_heading = "Listeners")]
pub(crate) struct ListenArgs {
    /// Where Kafka clients connect: IP:PORT, or PORT on 127.0.0.1; port 0 picks a free one
    #[arg(
        long,
        env = "MULGIL_KAFKA",
        value_name = "ADDR",
        default_value = "127.0.0.1:9092"
    )]
    #[arg(hide_env_values = true)]
    pub(crate) kafka: Address,
    /// Where the admin API, metrics and health are served
    #[arg(
        long,
        env = "MULGIL_HTTP",
        value_name = "ADDR",
        default_value = "127.0.0.1:15672"
    )]
    #[arg(hide_env_values = true)]
    pub(crate) http: Address,
    /// What Kafka clients are told to connect to [default: the address of the listener]
    #[arg(
        long,
        env = "MULGIL_ADVERTISE",
        value_name = "HOST[:PORT]",
        hide_env_values = true
    )]
    pub(crate) advertise: Option<Advertise>,
    /// A name that HTTP requests may be for, beside loopback and the listen address
    #[arg(long = "http-host", env = "MULGIL_HTTP_HOSTS", value_name = "NAME")]
    #[arg(value_delimiter = ',', hide_env_values = true)]
    pub(crate) http_hosts: Vec<String>,
    /// Listen beyond this machine although nobody has to sign in
    #[arg(long, env = "MULGIL_ALLOW_ANONYMOUS", hide_env_values = true)]
    pub(crate) allow_anonymous: bool,
    #[command(flatten)]
    pub(crate) sqs: SqsArgs,
}

/// The door for clients of Amazon SQS.
#[derive(Clone, Debug, Args)]
#[command(next_help_heading = "Amazon SQS")]
pub(crate) struct SqsArgs {
    /// Where Amazon SQS clients connect, or none
    #[arg(
        long = "sqs",
        env = "MULGIL_SQS",
        value_name = "ADDR",
        default_value = "127.0.0.1:9324",
        value_parser = maybe_address
    )]
    #[arg(hide_env_values = true)]
    pub(crate) address: MaybeAddress,
    /// The account that stands in queue URLs and ARNs, twelve digits
    #[arg(
        long = "sqs-account",
        env = "MULGIL_SQS_ACCOUNT",
        value_name = "ID",
        default_value = "000000000000",
        value_parser = account
    )]
    #[arg(hide_env_values = true)]
    pub(crate) account: String,
    /// The region that stands in ARNs, and for which requests are signed
    #[arg(
        long = "sqs-region",
        env = "MULGIL_SQS_REGION",
        value_name = "NAME",
        default_value = "us-east-1",
        value_parser = region
    )]
    #[arg(hide_env_values = true)]
    pub(crate) region: String,
    /// Whether limits hold that only AWS needs: on delays, batches, locks, and how soon names come back
    #[arg(
        long = "sqs-limits",
        env = "MULGIL_SQS_LIMITS",
        value_enum,
        default_value_t
    )]
    #[arg(hide_env_values = true)]
    pub(crate) limits: SqsLimits,
    /// An access key by which requests may be signed; with any, all must be. Better said in MULGIL_SQS_KEYS
    #[arg(
        long = "sqs-key",
        env = "MULGIL_SQS_KEYS",
        value_name = "ID:SECRET",
        value_parser = access_key
    )]
    #[arg(value_delimiter = ',', hide_env_values = true)]
    pub(crate) keys: Vec<AccessKey>,
}

/// Where to listen, if anywhere.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct MaybeAddress(pub(crate) Option<Address>);

fn maybe_address(text: &str) -> Result<MaybeAddress, String> {
    if text == "none" {
        return Ok(MaybeAddress(None));
    }
    text.parse().map(|address| MaybeAddress(Some(address)))
}

fn account(text: &str) -> Result<String, String> {
    let digits = text.len() == 12 && text.bytes().all(|byte| byte.is_ascii_digit());
    let bad = || "twelve digits are expected".to_owned();
    digits.then(|| text.to_owned()).ok_or_else(bad)
}

fn region(text: &str) -> Result<String, String> {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-';
    let good = (1..=64).contains(&text.len()) && text.bytes().all(plain);
    let bad = || "a name of letters, digits and hyphens is expected".to_owned();
    good.then(|| text.to_owned()).ok_or_else(bad)
}

/// An access key. Its secret is shown to nobody.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct AccessKey {
    pub(crate) id: String,
    pub(crate) secret: String,
}

impl fmt::Debug for AccessKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AccessKey")
            .field("id", &self.id)
            .finish_non_exhaustive()
    }
}

fn access_key(text: &str) -> Result<AccessKey, String> {
    let parts = text.split_once(':');
    let parts = parts.filter(|(id, secret)| !id.is_empty() && !secret.is_empty());
    let (id, secret) = parts.ok_or("ID:SECRET is expected")?;
    Ok(AccessKey {
        id: id.to_owned(),
        secret: secret.to_owned(),
    })
}

/// Whether limits hold that only AWS needs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub(crate) enum SqsLimits {
    /// As AWS has them
    #[default]
    Aws,
    /// As far as the broker goes
    Open,
}

#[derive(Clone, Debug, Args)]
#[command(next_help_heading = "Log")]
pub(crate) struct LogArgs {
    /// What is logged: a level (info), or levels by target (warn,mulgil_log=debug)
    #[arg(
        long,
        env = "MULGIL_LOG",
        value_name = "FILTER",
        hide_env_values = true
    )]
    pub(crate) log: Option<String>,
    /// How the log looks
    #[arg(
        long,
        env = "MULGIL_LOG_FORMAT",
        value_enum,
        default_value_t,
        hide_env_values = true
    )]
    pub(crate) log_format: LogFormat,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub(crate) enum LogFormat {
    /// Text on a terminal, JSON otherwise
    #[default]
    Auto,
    /// For people
    Text,
    /// One JSON object a line
    Json,
}

/// An address to listen on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Address(pub(crate) SocketAddr);

impl FromStr for Address {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let local = |port| SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), port);
        if let Ok(port) = text.trim_start_matches("localhost:").parse() {
            return Ok(Self(local(port)));
        }
        let hint = "IP:PORT (127.0.0.1:9092, [::1]:9092) or PORT is possible";
        text.parse().map(Self).map_err(|_bad| hint.to_owned())
    }
}

/// What clients are told to connect to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Advertise {
    pub(crate) host: String,
    /// Without one, the listener's.
    pub(crate) port: Option<u16>,
}

impl FromStr for Advertise {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let bad = || "HOST or HOST:PORT is possible".to_owned();
        let (host, port) = match text.rsplit_once(':') {
            Some((host, port)) if !host.contains(':') || host.ends_with(']') => {
                (host, Some(port.parse().map_err(|_bad| bad())?))
            }
            _ => (text, None),
        };
        let host = host
            .strip_prefix('[')
            .and_then(|h| h.strip_suffix(']'))
            .unwrap_or(host);
        let ok = !host.is_empty() && !host.contains(['/', ' ', '@']);
        if ok {
            Ok(Self {
                host: host.to_owned(),
                port,
            })
        } else {
            Err(bad())
        }
    }
}

impl fmt::Display for Advertise {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let port = self.port.map(|port| format!(":{port}")).unwrap_or_default();
        if self.host.contains(':') {
            write!(f, "[{}]{port}", self.host)
        } else {
            write!(f, "{}{port}", self.host)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_read_in_their_short_forms() {
        let read = |text: &str| text.parse::<Address>().map(|address| address.0.to_string());
        assert_eq!(read("9092").unwrap(), "127.0.0.1:9092");
        assert_eq!(read("localhost:0").unwrap(), "127.0.0.1:0");
        assert_eq!(read("[::]:1").unwrap(), "[::]:1");
        assert!(read("broker.example:9092").is_err());
        assert!(read("99999").is_err());
    }

    #[test]
    fn what_is_said_for_sqs_is_checked() {
        assert_eq!(maybe_address("none"), Ok(MaybeAddress(None)));
        assert!(maybe_address("0").unwrap().0.is_some() && maybe_address("off").is_err());
        assert!(account("000000000000").is_ok() && account("1").is_err());
        assert!(region("eu-west-1").is_ok() && region("a:b").is_err());
        let key = access_key("id:a:b").unwrap();
        assert_eq!((key.id.as_str(), key.secret.as_str()), ("id", "a:b"));
        assert!(!format!("{key:?}").contains("a:b") && access_key("id:").is_err());
    }

    #[test]
    fn advertised_names_are_read_and_written() {
        for text in ["host", "host:1", "[::1]:1", "10.0.0.1:9092", "[::1]"] {
            assert_eq!(text.parse::<Advertise>().unwrap().to_string(), text);
        }
        assert_eq!("::1".parse::<Advertise>().unwrap().to_string(), "[::1]");
        for bad in ["", ":1", "host:x", "http://host:1"] {
            assert!(bad.parse::<Advertise>().is_err(), "{bad}");
        }
    }
}
