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
