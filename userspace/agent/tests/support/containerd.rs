//! A containerd of the test's own: own root, state and socket, an image made here, no network.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use hyper_util::rt::TokioIo;
use k8s_cri::v1::runtime_service_client::RuntimeServiceClient;
use k8s_cri::v1::{
    ContainerConfig, ContainerMetadata, CreateContainerRequest, ImageSpec, LinuxPodSandboxConfig,
    LinuxSandboxSecurityContext, ListPodSandboxRequest, NamespaceMode, NamespaceOption, PodSandboxConfig,
    PodSandboxMetadata, RemovePodSandboxRequest, RunPodSandboxRequest, StartContainerRequest, StopPodSandboxRequest,
    VersionRequest,
};
use serde_json::json;
use tokio::net::UnixStream;
use tonic::transport::{Channel, Endpoint, Uri};

const IMAGE: &str = "localhost/podscope/busybox:test";
/// The running daemon. Dropping it removes its pods, the daemon and its files.
pub(crate) struct Containerd {
    folder: tempfile::TempDir,
    daemon: Option<Child>,
}

/// A pod that was made.
pub(crate) struct Pod {
    pub sandbox_id: String,
    config: PodSandboxConfig,
}

impl Containerd {
    /// Starts the daemon and imports the image.
    pub(crate) async fn start() -> Self {
        for program in ["containerd", "runc", "ctr", "busybox", "tar", "sha256sum"] {
            let found = Command::new("sh").args(["-c", &format!("command -v {program}")]).output().unwrap();
            assert!(found.status.success(), "`{program}` is missing: install containerd, runc and busybox-static");
        }
        assert!(rustix::process::geteuid().is_root(), "this test starts containers and has to run as root");
        let mut containerd = Self { folder: tempfile::tempdir().unwrap(), daemon: None };
        std::fs::write(containerd.path("config.toml"), containerd.config()).unwrap();
        containerd.run_daemon().await;
        let archive = image_archive(containerd.folder.path());
        let socket = containerd.socket();
        run(Command::new("ctr")
            .args(["--namespace", "k8s.io", "--address"])
            .arg(socket)
            .args(["images", "import"])
            .arg(archive));
        containerd
    }

    /// Where it listens.
    pub(crate) fn socket(&self) -> PathBuf {
        self.path("containerd.sock")
    }

    /// Starts the daemon, again after [`Containerd::kill`]; its containers live on meanwhile.
    pub(crate) async fn run_daemon(&mut self) {
        let log = std::fs::File::options().create(true).append(true).open(self.path("log")).unwrap();
        let daemon = Command::new("containerd")
            .arg("--config")
            .arg(self.path("config.toml"))
            .stdout(Stdio::null())
            .stderr(log)
            .spawn()
            .unwrap();
        self.daemon = Some(daemon);
        let start = Instant::now();
        while self.answers().await.is_err() {
            let log = || std::fs::read_to_string(self.path("log")).unwrap_or_default();
            assert!(start.elapsed() < Duration::from_secs(60), "containerd does not answer:\n{}", log());
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    /// Kills the daemon, as a crash would.
    pub(crate) fn kill(&mut self) {
        if let Some(mut daemon) = self.daemon.take() {
            let _ = daemon.kill();
            let _ = daemon.wait();
        }
    }

    /// Runs a pod without containers.
    pub(crate) async fn run_pod(&self, name: &str, uid: &str, labels: &[(&str, &str)]) -> Pod {
        let kubelet = [
            ("io.kubernetes.pod.name", name),
            ("io.kubernetes.pod.namespace", "default"),
            ("io.kubernetes.pod.uid", uid),
        ];
        let options = NamespaceOption { network: NamespaceMode::Node.into(), ..NamespaceOption::default() };
        let security = LinuxSandboxSecurityContext { namespace_options: Some(options), ..Default::default() };
        let config = PodSandboxConfig {
            metadata: Some(PodSandboxMetadata {
                name: name.into(),
                uid: uid.into(),
                namespace: "default".into(),
                attempt: 0,
            }),
            log_directory: self.path("logs").display().to_string(),
            labels: texts(&[&kubelet, labels].concat()),
            linux: Some(LinuxPodSandboxConfig {
                cgroup_parent: format!("/{}/pod{uid}", self.cgroup()),
                security_context: Some(security),
                ..Default::default()
            }),
            ..PodSandboxConfig::default()
        };
        let request = RunPodSandboxRequest { config: Some(config.clone()), ..Default::default() };
        let sandbox_id = self.cri().await.run_pod_sandbox(request).await.unwrap().into_inner().pod_sandbox_id;
        Pod { sandbox_id, config }
    }

    /// Starts a container that sleeps; returns its id.
    pub(crate) async fn run_container(&self, pod: &Pod, name: &str) -> String {
        let metadata = pod.config.metadata.clone().unwrap();
        let config = ContainerConfig {
            metadata: Some(ContainerMetadata { name: name.into(), attempt: 0 }),
            image: Some(ImageSpec { image: IMAGE.into(), ..Default::default() }),
            command: vec!["/bin/busybox".into(), "sleep".into(), "3600".into()],
            labels: texts(&[
                ("io.kubernetes.container.name", name),
                ("io.kubernetes.pod.name", &metadata.name),
                ("io.kubernetes.pod.namespace", &metadata.namespace),
                ("io.kubernetes.pod.uid", &metadata.uid),
            ]),
            ..ContainerConfig::default()
        };
        let request = CreateContainerRequest {
            pod_sandbox_id: pod.sandbox_id.clone(),
            config: Some(config),
            sandbox_config: Some(pod.config.clone()),
        };
        let mut cri = self.cri().await;
        let container_id = cri.create_container(request).await.unwrap().into_inner().container_id;
        cri.start_container(StartContainerRequest { container_id: container_id.clone() }).await.unwrap();
        container_id
    }

    /// Stops and removes a pod with its containers.
    pub(crate) async fn remove_pod(&self, sandbox_id: &str) {
        let mut cri = self.cri().await;
        let pod_sandbox_id = sandbox_id.to_owned();
        cri.stop_pod_sandbox(StopPodSandboxRequest { pod_sandbox_id: pod_sandbox_id.clone() }).await.unwrap();
        cri.remove_pod_sandbox(RemovePodSandboxRequest { pod_sandbox_id }).await.unwrap();
    }

    /// Removes all pods.
    async fn remove_pods(&self) {
        let listed = self.cri().await.list_pod_sandbox(ListPodSandboxRequest::default()).await.unwrap().into_inner();
        for sandbox in listed.items {
            self.remove_pod(&sandbox.id).await;
        }
    }

    /// The parent of the pods' cgroups, of this instance alone.
    fn cgroup(&self) -> String {
        let unique = self.folder.path().file_name().unwrap_or_default().to_string_lossy().replace('.', "");
        format!("podscope-test-{unique}")
    }

    async fn answers(&self) -> Result<(), tonic::Status> {
        let channel = connect(self.socket()).await.map_err(|error| tonic::Status::unavailable(error.to_string()))?;
        RuntimeServiceClient::new(channel).version(VersionRequest::default()).await.map(drop)
    }

    async fn cri(&self) -> RuntimeServiceClient<Channel> {
        RuntimeServiceClient::new(connect(self.socket()).await.unwrap())
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn config(&self) -> String {
        let folder = self.folder.path().display();
        format!(
            r#"version = 2
root = "{folder}/root"
state = "{folder}/state"
[grpc]
address = "{folder}/containerd.sock"
[plugins."io.containerd.internal.v1.opt"]
path = "{folder}/opt"
[plugins."io.containerd.grpc.v1.cri"]
sandbox_image = "{IMAGE}"
disable_apparmor = true
restrict_oom_score_adj = true
tolerate_missing_hugetlb_controller = true
[plugins."io.containerd.grpc.v1.cri".containerd]
snapshotter = "native"
[plugins."io.containerd.grpc.v1.cri".cni]
bin_dir = "{folder}/cni"
conf_dir = "{folder}/cni"
"#
        )
    }
}

impl Drop for Containerd {
    fn drop(&mut self) {
        // A test's runtime cannot be waited on from here, so the last calls get one of their own.
        let this = &*self;
        std::thread::scope(|scope| {
            let _ = scope
                .spawn(|| {
                    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
                    runtime.block_on(async {
                        let _ = tokio::time::timeout(Duration::from_secs(30), this.remove_pods()).await;
                    });
                })
                .join();
        });
        self.kill();
        remove_cgroups(&self.cgroup());
    }
}

async fn connect(socket: PathBuf) -> Result<Channel, tonic::transport::Error> {
    let connector = tower::service_fn(move |_: Uri| {
        let socket = socket.clone();
        async move { UnixStream::connect(socket).await.map(TokioIo::new) }
    });
    Endpoint::from_static("http://localhost").connect_with_connector(connector).await
}

fn texts(pairs: &[(&str, &str)]) -> HashMap<String, String> {
    pairs.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect()
}

/// Removes a cgroup and the empty ones in it from every hierarchy: a runtime removes those of its containers alone.
fn remove_cgroups(name: &str) {
    let Ok(hierarchies) = std::fs::read_dir("/sys/fs/cgroup") else { return };
    for root in hierarchies.flatten().map(|entry| entry.path()).chain([PathBuf::from("/sys/fs/cgroup")]) {
        let parent = root.join(name);
        for pod in std::fs::read_dir(&parent).into_iter().flatten().flatten() {
            let _ = std::fs::remove_dir(pod.path());
        }
        let _ = std::fs::remove_dir(parent);
    }
}

/// An OCI archive whose only file is busybox, and which sleeps unless told otherwise.
fn image_archive(folder: &Path) -> PathBuf {
    let layer = folder.join("layer/bin");
    std::fs::create_dir_all(&layer).unwrap();
    std::fs::copy("/usr/bin/busybox", layer.join("busybox"))
        .or_else(|_| std::fs::copy("/bin/busybox", layer.join("busybox")))
        .unwrap();
    let image = folder.join("image");
    std::fs::create_dir_all(image.join("blobs/sha256")).unwrap();
    let layer_tar = folder.join("layer.tar");
    run(Command::new("tar").arg("-cf").arg(&layer_tar).arg("-C").arg(folder.join("layer")).arg("bin"));

    let layer = blob(&image, &std::fs::read(&layer_tar).unwrap(), "application/vnd.oci.image.layer.v1.tar");
    let config = json!({
        "architecture": if cfg!(target_arch = "aarch64") { "arm64" } else { "amd64" },
        "os": "linux",
        "config": { "Entrypoint": ["/bin/busybox", "sleep", "86400"] },
        "rootfs": { "type": "layers", "diff_ids": [layer["digest"]] },
    });
    let config = blob(&image, config.to_string().as_bytes(), "application/vnd.oci.image.config.v1+json");
    let manifest_type = "application/vnd.oci.image.manifest.v1+json";
    let manifest = json!({ "schemaVersion": 2, "mediaType": manifest_type, "config": config, "layers": [layer] });
    let mut manifest = blob(&image, manifest.to_string().as_bytes(), manifest_type);
    manifest["annotations"] = json!({ "io.containerd.image.name": IMAGE });
    let index = json!({ "schemaVersion": 2, "manifests": [manifest] });
    std::fs::write(image.join("index.json"), index.to_string()).unwrap();
    std::fs::write(image.join("oci-layout"), r#"{"imageLayoutVersion":"1.0.0"}"#).unwrap();

    let archive = folder.join("image.tar");
    run(Command::new("tar").arg("-cf").arg(&archive).arg("-C").arg(&image).args(["oci-layout", "index.json", "blobs"]));
    archive
}

/// Writes a blob under its digest; returns its descriptor.
fn blob(image: &Path, bytes: &[u8], media_type: &str) -> serde_json::Value {
    let unnamed = image.join("unnamed");
    std::fs::write(&unnamed, bytes).unwrap();
    let sum = run(Command::new("sha256sum").arg(&unnamed));
    let digest = sum.split_whitespace().next().unwrap();
    std::fs::rename(&unnamed, image.join("blobs/sha256").join(digest)).unwrap();
    json!({ "mediaType": media_type, "digest": format!("sha256:{digest}"), "size": bytes.len() })
}

/// Runs a program to its end; returns what it printed.
fn run(command: &mut Command) -> String {
    let output = command.output().unwrap_or_else(|error| panic!("{command:?}: {error}"));
    assert!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}
