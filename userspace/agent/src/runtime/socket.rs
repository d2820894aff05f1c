//! Which socket the container runtime listens on.

use std::os::unix::fs::FileTypeExt;
use std::path::{Path, PathBuf};
use std::str::FromStr;

/// Where runtimes listen by default, most common first; `/run` rather than `/var/run`, which is a link to it.
const KNOWN: [&str; 8] = [
    "/run/containerd/containerd.sock",
    // k3s and RKE2.
    "/run/k3s/containerd/containerd.sock",
    "/run/k0s/containerd.sock",
    "/var/snap/microk8s/common/run/containerd.sock",
    "/run/crio/crio.sock",
    "/var/run/crio/crio.sock",
    "/run/cri-dockerd.sock",
    "/var/run/cri-dockerd.sock",
];

/// The value of `--cri-socket`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum SocketChoice {
    /// The first of the known paths that is a socket.
    #[default]
    Auto,
    /// This one.
    Path(PathBuf),
    /// No runtime is asked.
    None,
}

/// A value of `--cri-socket` that is none of the accepted forms.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` names no socket; accepted are unix:///path/of.sock, /path/of.sock, auto and none")]
pub struct BadSocket(String);

impl FromStr for SocketChoice {
    type Err = BadSocket;

    fn from_str(text: &str) -> Result<Self, BadSocket> {
        match text {
            "auto" => return Ok(Self::Auto),
            "none" => return Ok(Self::None),
            _ => {}
        }
        let path = text.strip_prefix("unix://").unwrap_or(text);
        if path.len() > 1 && path.starts_with('/') && !path.ends_with('/') && !path.contains('\0') {
            Ok(Self::Path(PathBuf::from(path)))
        } else {
            Err(BadSocket(text.to_owned()))
        }
    }
}

/// No known path is a socket.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("no container runtime socket at any of {}; mount the socket or pass --cri-socket", .0.join(", "))]
pub struct NoSocket(Vec<String>);

/// The known paths as seen from a root: `/` on the host, the mount of the host's root in a container.
pub fn candidates(host_root: &Path) -> impl Iterator<Item = PathBuf> + '_ {
    KNOWN.iter().map(move |known| host_root.join(known.trim_start_matches('/')))
}

/// The first known path that is a socket.
pub fn find(host_root: &Path) -> Result<PathBuf, NoSocket> {
    let is_socket = |path: &PathBuf| std::fs::metadata(path).is_ok_and(|meta| meta.file_type().is_socket());
    candidates(host_root)
        .find(is_socket)
        .ok_or_else(|| NoSocket(candidates(host_root).map(|path| path.display().to_string()).collect()))
}

#[cfg(test)]
mod tests {
    use std::os::unix::net::UnixListener;

    use super::*;

    #[test]
    fn accepted_forms() {
        let path = |text: &str| SocketChoice::Path(PathBuf::from(text));
        assert_eq!("auto".parse(), Ok(SocketChoice::Auto));
        assert_eq!("none".parse(), Ok(SocketChoice::None));
        assert_eq!("unix:///run/crio/crio.sock".parse(), Ok(path("/run/crio/crio.sock")));
        assert_eq!("/run/my.sock".parse(), Ok(path("/run/my.sock")));
    }

    #[test]
    fn other_forms_are_refused_with_what_is_accepted() {
        for text in
            ["", "/", "unix://", "unix:///", "unix://run/x.sock", "run/x.sock", "tcp://127.0.0.1:1", "NONE", "/run/"]
        {
            let error = text.parse::<SocketChoice>().unwrap_err().to_string();
            assert!(error.contains(&format!("`{text}`")), "{error}");
            assert!(error.contains("unix:///path/of.sock, /path/of.sock, auto and none"), "{error}");
        }
    }

    #[test]
    fn the_first_socket_is_found_and_a_plain_file_is_none() {
        let root = tempfile::tempdir().unwrap();
        let make = |path: &str| {
            let path = root.path().join(path);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            path
        };
        let error = find(root.path()).unwrap_err().to_string();
        assert!(error.contains("run/containerd/containerd.sock") && error.contains("--cri-socket"), "{error}");

        std::fs::write(make("run/containerd/containerd.sock"), "not a socket").unwrap();
        let crio = make("run/crio/crio.sock");
        let _crio = UnixListener::bind(&crio).unwrap();
        assert_eq!(find(root.path()), Ok(crio));

        let k3s = make("run/k3s/containerd/containerd.sock");
        let _k3s = UnixListener::bind(&k3s).unwrap();
        assert_eq!(find(root.path()), Ok(k3s));
    }
}
