//! Where OTLP goes and how: flags and the standard `OTEL_*` variables.
//!
//! A flag wins over `OTEL_EXPORTER_OTLP_METRICS_*`, that over `OTEL_EXPORTER_OTLP_*`; an empty variable counts as unset.
//! Source: OpenTelemetry specification, "OTLP exporter configuration" and "Environment variables".

use std::fmt;
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::time::Duration;

use http::{HeaderMap, HeaderName, HeaderValue, Uri};
use percent_encoding::percent_decode_str;

use super::tls::{self, TlsFiles};

/// The flags. Each also has the standard variables named in its help.
#[derive(Clone, Debug, Default, clap::Args)]
#[command(next_help_heading = "OTLP")]
pub struct OtlpArgs {
    /// Where to send metrics; without it OTLP is off. A path is kept as it is
    /// [env: OTEL_EXPORTER_OTLP_METRICS_ENDPOINT, or OTEL_EXPORTER_OTLP_ENDPOINT with /v1/metrics appended for HTTP]
    #[arg(long, value_name = "URL")]
    pub otlp_endpoint: Option<String>,
    /// grpc or http/protobuf (default) [env: OTEL_EXPORTER_OTLP_METRICS_PROTOCOL, OTEL_EXPORTER_OTLP_PROTOCOL]
    #[arg(long, value_name = "PROTOCOL")]
    pub otlp_protocol: Option<String>,
    /// Header to send, may be repeated [env: OTEL_EXPORTER_OTLP_METRICS_HEADERS, OTEL_EXPORTER_OTLP_HEADERS]
    #[arg(long, value_name = "NAME=VALUE")]
    pub otlp_header: Vec<Secret>,
    /// gzip or none (default) [env: OTEL_EXPORTER_OTLP_METRICS_COMPRESSION, OTEL_EXPORTER_OTLP_COMPRESSION]
    #[arg(long, value_name = "COMPRESSION")]
    pub otlp_compression: Option<String>,
    /// Time for one attempt in ms, default 10000 [env: OTEL_EXPORTER_OTLP_METRICS_TIMEOUT, OTEL_EXPORTER_OTLP_TIMEOUT]
    #[arg(long, value_name = "MS")]
    pub otlp_timeout: Option<String>,
    /// PEM file of the authorities to trust instead of the system's
    /// [env: OTEL_EXPORTER_OTLP_METRICS_CERTIFICATE, OTEL_EXPORTER_OTLP_CERTIFICATE]
    #[arg(long, value_name = "FILE")]
    pub otlp_ca: Option<String>,
    /// PEM file of the client's certificate chain
    /// [env: OTEL_EXPORTER_OTLP_METRICS_CLIENT_CERTIFICATE, OTEL_EXPORTER_OTLP_CLIENT_CERTIFICATE]
    #[arg(long, value_name = "FILE")]
    pub otlp_cert: Option<String>,
    /// PEM file of the client's private key
    /// [env: OTEL_EXPORTER_OTLP_METRICS_CLIENT_KEY, OTEL_EXPORTER_OTLP_CLIENT_KEY]
    #[arg(long, value_name = "FILE")]
    pub otlp_key: Option<String>,
}

/// Text that is never shown.
#[derive(Clone)]
pub struct Secret(String);

impl FromStr for Secret {
    type Err = std::convert::Infallible;
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Ok(Self(text.to_owned()))
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("***")
    }
}

/// Everything that flags and variables say about OTLP.
#[derive(Clone, Debug)]
pub struct Config {
    /// Where to send, or why nothing is sent.
    pub target: Result<Target, &'static str>,
    /// `OTEL_METRIC_EXPORT_INTERVAL`: least time between two snapshots that are sent; each is without it.
    pub interval: Option<Duration>,
    /// `OTEL_RESOURCE_ATTRIBUTES` and `OTEL_SERVICE_NAME`, for the agent's own resource; each key stands once.
    pub resource: Vec<(String, String)>,
}

/// A receiver and how to talk to it.
#[derive(Clone)]
pub struct Target {
    /// Scheme, host, port and path; a request for gRPC has its own path.
    pub(super) uri: Uri,
    pub(super) protocol: Protocol,
    /// Values are marked sensitive, so that they are not shown.
    pub(super) headers: HeaderMap,
    pub(super) gzip: bool,
    /// For one attempt: connecting, sending and the answer.
    pub(super) timeout: Duration,
    pub(super) tls: TlsFiles,
}

/// What is spoken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Protocol {
    /// OTLP/gRPC.
    Grpc,
    /// OTLP/HTTP with protobuf bodies.
    Http,
}

impl Target {
    /// Where it listens.
    pub fn port(&self) -> u16 {
        let usual = if self.uri.scheme_str() == Some("https") { 443 } else { 80 };
        self.uri.port_u16().unwrap_or(usual)
    }

    /// Certificates and keys, which are read for each connection.
    pub fn files(&self) -> impl Iterator<Item = &Path> {
        let identity = self.tls.identity.iter().flat_map(|(cert, key)| [cert, key]);
        self.tls.ca.iter().chain(identity).map(PathBuf::as_path)
    }
}

impl fmt::Debug for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Target")
            .field("endpoint", &format_args!("{self}"))
            .field("protocol", &self.protocol)
            .field("headers", &self.headers)
            .field("gzip", &self.gzip)
            .field("timeout", &self.timeout)
            .field("tls", &self.tls)
            .finish()
    }
}

impl fmt::Display for Target {
    /// Scheme, host and port, and for HTTP the path. A query is left out: it may carry a key.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let path = if self.protocol == Protocol::Http { self.uri.path() } else { "" };
        let authority = self.uri.authority().map_or("", |a| a.as_str());
        write!(f, "{}://{authority}{path}", self.uri.scheme_str().unwrap_or_default())
    }
}

/// A setting that cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// A value is not what it should be.
    #[error("{origin}: {value:?} is not {expected}")]
    Invalid {
        /// Flag or variable.
        origin: &'static str,
        /// What it says.
        value: String,
        /// What is accepted.
        expected: &'static str,
    },
    /// The same for a value that must not be shown.
    #[error("{origin}: entry {position} is not {expected} (its text is not shown, it may be secret)")]
    InvalidSecret {
        /// Flag or variable.
        origin: &'static str,
        /// Which entry of the list, from 1.
        position: usize,
        /// What is accepted.
        expected: &'static str,
    },
    /// A client certificate without its key, or the other way round.
    #[error("{given} needs {missing} as well (or its variable)")]
    Incomplete {
        /// What is there.
        given: &'static str,
        /// The flag of what is not.
        missing: &'static str,
    },
    /// A certificate or key cannot be used.
    #[error(transparent)]
    Tls(#[from] tls::TlsError),
}

/// Reads a variable of the process's environment, for [`OtlpArgs::resolve`].
///
/// A value that is not UTF-8 comes with replacement characters, so that it is refused rather than overlooked.
pub fn environment(name: &str) -> Option<String> {
    std::env::var_os(name).map(|value| value.to_string_lossy().into_owned())
}

/// A flag and its variables, the specific one first.
struct Setting {
    flag: &'static str,
    variables: [&'static str; 2],
}

macro_rules! setting {
    ($flag:literal, $name:literal) => {
        Setting {
            flag: $flag,
            variables: [concat!("OTEL_EXPORTER_OTLP_METRICS_", $name), concat!("OTEL_EXPORTER_OTLP_", $name)],
        }
    };
}

const ENDPOINT: Setting = setting!("--otlp-endpoint", "ENDPOINT");
const PROTOCOL: Setting = setting!("--otlp-protocol", "PROTOCOL");
const HEADERS: Setting = setting!("--otlp-header", "HEADERS");
const COMPRESSION: Setting = setting!("--otlp-compression", "COMPRESSION");
const TIMEOUT: Setting = setting!("--otlp-timeout", "TIMEOUT");
const CA: Setting = setting!("--otlp-ca", "CERTIFICATE");
const CERT: Setting = setting!("--otlp-cert", "CLIENT_CERTIFICATE");
const KEY: Setting = setting!("--otlp-key", "CLIENT_KEY");
const INSECURE: Setting = setting!("", "INSECURE");

/// A value and where it came from.
struct Given {
    origin: &'static str,
    value: String,
}

impl Given {
    fn invalid(&self, expected: &'static str) -> ConfigError {
        ConfigError::Invalid { origin: self.origin, value: self.value.clone(), expected }
    }

    fn milliseconds(&self) -> Result<Duration, ConfigError> {
        match self.value.trim().parse::<u32>() {
            Ok(ms) if ms > 0 => Ok(Duration::from_millis(ms.into())),
            _ => Err(self.invalid("a whole number of milliseconds above 0")),
        }
    }

    fn boolean(&self) -> Result<bool, ConfigError> {
        match self.value.trim().to_ascii_lowercase().as_str() {
            "true" => Ok(true),
            "false" => Ok(false),
            _ => Err(self.invalid("true or false")),
        }
    }
}

/// Looks settings up in the flags and the environment.
struct Lookup<'a>(&'a dyn Fn(&str) -> Option<String>);

impl Lookup<'_> {
    fn variable(&self, origin: &'static str) -> Option<Given> {
        (self.0)(origin).filter(|value| !value.trim().is_empty()).map(|value| Given { origin, value })
    }

    fn setting(&self, setting: &Setting, flag: &Option<String>) -> Option<Given> {
        let flag = flag.clone().map(|value| Given { origin: setting.flag, value });
        flag.or_else(|| setting.variables.iter().find_map(|name| self.variable(name)))
    }
}

impl OtlpArgs {
    /// Combines the flags with the variables that `env` knows ([`environment`] for the process's own).
    ///
    /// # Errors
    /// A value that cannot be used, naming the flag or variable, the value and what is accepted. Certificates and
    /// keys are read once to find out; later changes of the files are picked up with each new connection.
    pub fn resolve(&self, env: &dyn Fn(&str) -> Option<String>) -> Result<Config, ConfigError> {
        let lookup = Lookup(env);
        let disabled = lookup.variable("OTEL_SDK_DISABLED").map(|given| given.boolean()).transpose()?;
        let interval = lookup.variable("OTEL_METRIC_EXPORT_INTERVAL").map(|given| given.milliseconds()).transpose()?;
        let target = self.target(&lookup)?;
        Ok(Config {
            target: match target {
                _ if disabled == Some(true) => Err("OTEL_SDK_DISABLED is true"),
                Some(target) => Ok(target),
                None => Err("no endpoint is given (--otlp-endpoint or OTEL_EXPORTER_OTLP_ENDPOINT)"),
            },
            interval,
            resource: resource(&lookup)?,
        })
    }

    fn target(&self, lookup: &Lookup<'_>) -> Result<Option<Target>, ConfigError> {
        let protocol = match lookup.setting(&PROTOCOL, &self.otlp_protocol) {
            None => Protocol::Http,
            Some(given) => match given.value.trim() {
                "grpc" => Protocol::Grpc,
                "http/protobuf" => Protocol::Http,
                _ => return Err(given.invalid("grpc or http/protobuf")),
            },
        };
        let gzip = match lookup.setting(&COMPRESSION, &self.otlp_compression) {
            None => false,
            Some(given) => match given.value.trim() {
                "gzip" => true,
                "none" => false,
                _ => return Err(given.invalid("gzip or none")),
            },
        };
        let timeout = lookup.setting(&TIMEOUT, &self.otlp_timeout);
        let timeout = timeout.map_or(Ok(Duration::from_secs(10)), |given| given.milliseconds())?;
        let insecure = lookup.setting(&INSECURE, &None).map_or(Ok(false), |given| given.boolean())?;
        let headers = headers(lookup, &self.otlp_header)?;
        let tls = self.tls(lookup)?;
        let Some(endpoint) = lookup.setting(&ENDPOINT, &self.otlp_endpoint) else { return Ok(None) };
        let uri = uri(&endpoint, protocol, insecure)?;
        if uri.scheme_str() == Some("https") {
            tls::check(&tls)?;
        }
        Ok(Some(Target { uri, protocol, headers, gzip, timeout, tls }))
    }

    fn tls(&self, lookup: &Lookup<'_>) -> Result<TlsFiles, ConfigError> {
        let cert = lookup.setting(&CERT, &self.otlp_cert);
        let key = lookup.setting(&KEY, &self.otlp_key);
        let path = |given: Given| PathBuf::from(given.value);
        let identity = match (cert, key) {
            (None, None) => None,
            (Some(cert), Some(key)) => Some((path(cert), path(key))),
            (Some(cert), None) => return Err(ConfigError::Incomplete { given: cert.origin, missing: KEY.flag }),
            (None, Some(key)) => return Err(ConfigError::Incomplete { given: key.origin, missing: CERT.flag }),
        };
        Ok(TlsFiles { ca: lookup.setting(&CA, &self.otlp_ca).map(path), identity })
    }
}

/// The endpoint as a whole URL.
///
/// Only the endpoint that is meant for all signals gets `/v1/metrics` appended, and only for HTTP. gRPC also takes
/// `host:port`; then `…_INSECURE` decides about TLS.
fn uri(given: &Given, protocol: Protocol, insecure: bool) -> Result<Uri, ConfigError> {
    let expected = match protocol {
        Protocol::Grpc => "a URL such as http://collector:4317 or https://collector:4317, or host:port",
        Protocol::Http => "a URL such as http://collector:4318 or https://collector:4318/v1/metrics",
    };
    // A query may carry a key, so it is not shown.
    let shown = || given.value.split('?').next().unwrap_or_default().to_owned();
    let invalid = || ConfigError::Invalid { origin: given.origin, value: shown(), expected };
    let mut text = given.value.trim().to_owned();
    if protocol == Protocol::Grpc && !text.contains("://") {
        text = format!("{}://{text}", if insecure { "http" } else { "https" });
    }
    let authority = text.split("://").nth(1).and_then(|rest| rest.split(['/', '?']).next());
    if authority.is_some_and(|authority| authority.contains('@')) {
        let expected = "a URL without user and password; send them with --otlp-header authorization=…";
        return Err(ConfigError::InvalidSecret { origin: given.origin, position: 1, expected });
    }
    let uri: Uri = text.parse().map_err(|_| invalid())?;
    let known = matches!(uri.scheme_str(), Some("http" | "https"));
    let port = uri.authority().is_some_and(|a| a.as_str().rsplit(']').next().is_some_and(|rest| rest.contains(':')));
    if !known || uri.host().unwrap_or_default().is_empty() || (port && uri.port_u16().is_none_or(|port| port == 0)) {
        return Err(invalid());
    }
    if protocol == Protocol::Grpc || given.origin != ENDPOINT.variables[1] {
        return Ok(uri);
    }
    let path = format!("{}/v1/metrics", uri.path().trim_end_matches('/'));
    let query = uri.query().map(|query| format!("?{query}")).unwrap_or_default();
    let mut parts = uri.into_parts();
    parts.path_and_query = Some(format!("{path}{query}").parse().map_err(|_| invalid())?);
    Uri::from_parts(parts).map_err(|_| invalid())
}

/// Headers from the flags, else from a variable (`key=value,…`, percent-encoded).
fn headers(lookup: &Lookup<'_>, flags: &[Secret]) -> Result<HeaderMap, ConfigError> {
    let mut map = HeaderMap::new();
    let mut add = |origin, position, pair: Option<(String, String)>| {
        let header = pair.and_then(|(key, value)| {
            let mut value = HeaderValue::from_str(&value).ok()?;
            value.set_sensitive(true);
            Some((HeaderName::from_str(&key).ok()?, value))
        });
        let expected = "a header as NAME=VALUE";
        let (name, value) = header.ok_or(ConfigError::InvalidSecret { origin, position, expected })?;
        map.insert(name, value);
        Ok::<(), ConfigError>(())
    };
    for (at, Secret(text)) in flags.iter().enumerate() {
        let pair = text.split_once('=').map(|(key, value)| (key.trim().to_owned(), value.trim().to_owned()));
        add(HEADERS.flag, at + 1, pair)?;
    }
    if flags.is_empty()
        && let Some(given) = lookup.setting(&HEADERS, &None)
    {
        for (position, pair) in pairs(&given.value) {
            add(given.origin, position, pair)?;
        }
    }
    Ok(map)
}

/// `OTEL_RESOURCE_ATTRIBUTES`, in which `OTEL_SERVICE_NAME` wins.
fn resource(lookup: &Lookup<'_>) -> Result<Vec<(String, String)>, ConfigError> {
    const SERVICE_NAME: &str = "service.name";
    let mut list: Vec<(String, String)> = Vec::new();
    if let Some(given) = lookup.variable("OTEL_RESOURCE_ATTRIBUTES") {
        for (_, pair) in pairs(&given.value) {
            let (key, value) = pair.ok_or_else(|| given.invalid("a list key=value,… with percent-encoded values"))?;
            list.retain(|(other, _)| *other != key);
            list.push((key, value));
        }
    }
    if let Some(given) = lookup.variable("OTEL_SERVICE_NAME") {
        list.retain(|(key, _)| key != SERVICE_NAME);
        list.push((SERVICE_NAME.to_owned(), given.value));
    }
    Ok(list)
}

/// Splits `key=value,…` and decodes it; each entry with its position from 1, `None` where it is not such a pair.
fn pairs(list: &str) -> impl Iterator<Item = (usize, Option<(String, String)>)> {
    let decode = |text: &str| Some(percent_decode_str(text.trim()).decode_utf8().ok()?.into_owned());
    list.split(',').enumerate().filter(|(_, entry)| !entry.trim().is_empty()).map(move |(at, entry)| {
        let pair = entry.split_once('=').and_then(|(key, value)| Some((decode(key)?, decode(value)?)));
        (at + 1, pair.filter(|(key, _)| !key.is_empty()))
    })
}

#[cfg(test)]
#[path = "config_tests.rs"]
mod tests;
