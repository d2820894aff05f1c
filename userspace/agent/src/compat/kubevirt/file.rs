//! The older tool's configuration file: JSON, keys in any case.

use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

/// The file, with what it leaves out empty.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct File {
    /// Which processes are tracked; the first that fits counts.
    pub targets: Vec<Target>,
    /// `host:port` of /metrics.
    pub listenaddress: String,
    /// Socket of the container runtime.
    pub criendpoint: String,
    /// Time between collections, as Go writes it; `-I` goes before.
    pub interval: String,
    /// The label `host`; else `KUBE_NODE_NAME`, else the host's name.
    pub hostname: String,
    /// Like `-D`.
    pub debugmode: bool,
}

/// A kind of process.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Target {
    /// For the log.
    pub name: String,
    /// A pattern for each argument.
    pub argv: Vec<String>,
}

/// Why a file cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum FileError {
    /// It cannot be read.
    #[error("cannot read the configuration {path}: {reason}")]
    Read {
        /// The file.
        path: PathBuf,
        /// The reason.
        reason: std::io::Error,
    },
    /// It is not what it should be.
    #[error("the configuration {path} cannot be understood: {reason}")]
    Form {
        /// The file.
        path: PathBuf,
        /// The reason.
        reason: serde_json::Error,
    },
    /// A key is missing.
    #[error("the configuration {path} is incomplete: {what}")]
    Incomplete {
        /// The file.
        path: PathBuf,
        /// What the older tool says of it.
        what: &'static str,
    },
}

const KEYS: [&str; 6] = ["targets", "listenaddress", "criendpoint", "interval", "hostname", "debugmode"];

impl File {
    /// Reads a file; also names the keys in it that mean nothing.
    ///
    /// # Errors
    /// When it cannot be read, is no such file, or lacks what is mandatory.
    pub fn read(path: &Path) -> Result<(Self, Vec<String>), FileError> {
        let text = std::fs::read_to_string(path).map_err(|reason| FileError::Read { path: path.to_owned(), reason })?;
        let (file, unknown) = Self::parse(&text).map_err(|reason| FileError::Form { path: path.to_owned(), reason })?;
        match file.missing() {
            Some(what) => Err(FileError::Incomplete { path: path.to_owned(), what }),
            None => Ok((file, unknown)),
        }
    }

    fn parse(text: &str) -> Result<(Self, Vec<String>), serde_json::Error> {
        let file: Map<String, Value> = serde_json::from_str(text)?;
        let unknown = file.keys().filter(|key| !KEYS.contains(&key.to_lowercase().as_str())).cloned().collect();
        Ok((serde_json::from_value(lower(Value::Object(file)))?, unknown))
    }

    fn missing(&self) -> Option<&'static str> {
        if self.targets.is_empty() || self.targets.iter().any(|target| target.argv.is_empty()) {
            return Some("missing process(es) to track");
        }
        if self.listenaddress.is_empty() {
            return Some("missing listen address");
        }
        self.criendpoint.is_empty().then_some("missing CRI endpoint")
    }
}

/// Go's decoder takes keys in any case.
fn lower(value: Value) -> Value {
    match value {
        Value::Object(map) => {
            Value::Object(map.into_iter().map(|(key, value)| (key.to_lowercase(), lower(value))).collect())
        }
        Value::Array(list) => Value::Array(list.into_iter().map(lower).collect()),
        other => other,
    }
}

/// Reads a duration as Go writes it: `1m30s`, `500ms`, `1.5h`.
///
/// # Errors
/// When it is none; the text says what is accepted.
pub(super) fn duration(text: &str) -> Result<Duration, String> {
    podscope_cluster::duration::parse(text).ok_or_else(|| format!("{text:?} is no duration: write 5s, 500ms or 1m30s"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<(File, Vec<String>), FileError> {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("config.json");
        std::fs::write(&path, text).unwrap();
        File::read(&path)
    }

    #[test]
    fn the_shipped_file_is_understood() {
        let (file, unknown) = read(
            r#"{"targets": [{"name": "libvirt", "argv": ["/usr/sbin/libvirtd*"]}, {"name": "qemu", "argv": ["/usr/*/qemu*"]}],
                "listenAddress": ":9091", "CRIEndPoint": "unix:///var/run/dockershim.sock", "interval": "10s",
                "hostname": "node-1", "debugmode": true, "colour": "blue"}"#,
        )
        .unwrap();
        assert_eq!(file.targets[1], Target { name: "qemu".into(), argv: vec!["/usr/*/qemu*".into()] });
        assert_eq!((&*file.listenaddress, &*file.criendpoint), (":9091", "unix:///var/run/dockershim.sock"));
        assert_eq!((&*file.interval, &*file.hostname, file.debugmode), ("10s", "node-1", true));
        assert_eq!(unknown, ["colour"]);
    }

    #[test]
    fn what_is_missing_or_broken_is_named() {
        let target = r#""targets": [{"name": "a", "argv": ["/bin/a"]}]"#;
        for (text, said) in [
            ("{}".to_owned(), "missing process(es) to track"),
            (r#"{"targets": [{"name": "a"}]}"#.to_owned(), "missing process(es) to track"),
            (format!("{{{target}}}"), "missing listen address"),
            (format!(r#"{{{target}, "listenaddress": ":1"}}"#), "missing CRI endpoint"),
            ("{".to_owned(), "cannot be understood"),
            ("[]".to_owned(), "cannot be understood"),
            (r#"{"interval": 5}"#.to_owned(), "cannot be understood"),
        ] {
            let error = read(&text).unwrap_err().to_string();
            assert!(error.contains(said) && error.contains("config.json"), "{text}: {error}");
        }
        let error = File::read("/nonexistent/config.json".as_ref()).unwrap_err().to_string();
        assert!(error.contains("/nonexistent/config.json"), "{error}");
    }

    #[test]
    fn durations_are_gos() {
        for (text, ms) in
            [("5s", 5000), ("500ms", 500), ("1m30s", 90_000), ("1.5s", 1500), (".5s", 500), ("1h", 3_600_000)]
        {
            assert_eq!(duration(text), Ok(Duration::from_millis(ms)), "{text}");
        }
        for text in ["", "5", "s", "5 s", "-5s", "5x", "1..5s", "99999999999999999999h"] {
            assert!(duration(text).is_err(), "{text}");
        }
    }
}
