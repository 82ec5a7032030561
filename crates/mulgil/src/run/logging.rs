//! The log: text for a terminal, otherwise one JSON object a line with stable field names.
//!
//! ```text
//! {"ts":"2026-11-22T10:00:00.000Z","level":"warn","target":"mulgil_admin::guard","msg":"…","code":"MG-2001"}
//! ```

use std::fmt;
use std::io::{self, IsTerminal as _};

use mulgil_admin::catalogue::Code;
use serde_json::{Map, Value};
use tracing::field::{Field, Visit};
use tracing::{Event, Subscriber};
use tracing_subscriber::EnvFilter;
use tracing_subscriber::fmt::format::Writer;
use tracing_subscriber::fmt::{FmtContext, FormatEvent, FormatFields};
use tracing_subscriber::registry::LookupSpan;

use crate::cli::{LogArgs, LogFormat};
use crate::clock;
use crate::failure::{Failure, Outcome};

/// Starts the log on standard error; `level` holds if nothing else is said.
pub(super) fn start(args: &LogArgs, level: &str) -> Outcome<()> {
    let filter = args.log.as_deref().unwrap_or(level);
    let filter = EnvFilter::builder().parse(filter).map_err(|error| {
        Failure::new(Code::SettingValue, format!("--log \"{filter}\": {error}"))
    })?;
    let text = match args.log_format {
        LogFormat::Auto => io::stderr().is_terminal(),
        LogFormat::Text => true,
        LogFormat::Json => false,
    };
    let form = if text { Form::Text } else { Form::Json };
    let log = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(io::stderr);
    let started = log.event_format(form).try_init();
    started.map_err(|error| Failure::new(Code::Internal, format!("the log: {error}")))
}

#[derive(Clone, Copy, Debug)]
enum Form {
    Text,
    Json,
}

impl<S, N> FormatEvent<S, N> for Form
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    N: for<'a> FormatFields<'a> + 'static,
{
    fn format_event(
        &self,
        _context: &FmtContext<'_, S, N>,
        mut writer: Writer<'_>,
        event: &Event<'_>,
    ) -> fmt::Result {
        let mut fields = Fields::default();
        event.record(&mut fields);
        let metadata = event.metadata();
        let ts = clock::wall().to_string();
        let level = metadata.level().as_str().to_ascii_lowercase();
        match self {
            Self::Json => {
                let mut line = Map::from_iter([
                    ("ts".to_owned(), ts.into()),
                    ("level".to_owned(), level.into()),
                    ("target".to_owned(), metadata.target().into()),
                    ("msg".to_owned(), fields.message.into()),
                ]);
                for (name, value) in fields.rest {
                    line.entry(name).or_insert(value);
                }
                writeln!(writer, "{}", Value::from(line))
            }
            Self::Text => {
                write!(writer, "{ts} {level:5} {}", fields.message)?;
                for (name, value) in fields.rest {
                    write!(writer, " {name}={value}")?;
                }
                writeln!(writer, " ({})", metadata.target())
            }
        }
    }
}

/// The fields of an event.
#[derive(Debug, Default)]
struct Fields {
    message: String,
    rest: Vec<(String, Value)>,
}

impl Fields {
    fn put(&mut self, field: &Field, value: impl Into<Value>) {
        self.rest.push((field.name().to_owned(), value.into()));
    }
}

impl Visit for Fields {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        let text = format!("{value:?}");
        if field.name() == "message" {
            self.message = text;
        } else {
            self.put(field, text);
        }
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        self.put(field, value);
    }

    fn record_i64(&mut self, field: &Field, value: i64) {
        self.put(field, value);
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        self.put(field, value);
    }

    fn record_bool(&mut self, field: &Field, value: bool) {
        self.put(field, value);
    }

    fn record_f64(&mut self, field: &Field, value: f64) {
        self.put(field, value);
    }
}
