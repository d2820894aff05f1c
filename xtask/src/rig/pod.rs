//! Pods and containers of a rig, made over CRI as the kubelet makes them.

use std::collections::HashMap;
use std::fs;
use std::io::ErrorKind;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use k8s_cri::v1::runtime_service_client::RuntimeServiceClient;
use k8s_cri::v1::{
    ContainerConfig, ContainerMetadata, ContainerState, ContainerStatus, ContainerStatusRequest,
    CreateContainerRequest, ExecSyncRequest, ImageSpec, LinuxContainerConfig, LinuxContainerResources,
    LinuxPodSandboxConfig, LinuxSandboxSecurityContext, NamespaceMode, NamespaceOption, PodSandboxConfig,
    PodSandboxMetadata, RemoveContainerRequest, RemovePodSandboxRequest, RunPodSandboxRequest, StartContainerRequest,
    StopContainerRequest, StopPodSandboxRequest,
};
use tonic::transport::Channel;

use super::{Driver, IMAGE, cgroup};

/// The scheduler's period for a CPU limit, in microseconds.
const CPU_PERIOD: i64 = 100_000;
/// How long a command run in a container may take, in seconds.
const EXEC_LIMIT: i64 = 60;
const POLL: Duration = Duration::from_millis(20);

/// A pod's class of service, which decides where its cgroup stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Qos {
    /// `/kubepods/pod<uid>`, in the words of the driver cgroupfs.
    Guaranteed,
    /// `/kubepods/burstable/pod<uid>`
    Burstable,
    /// `/kubepods/besteffort/pod<uid>`
    BestEffort,
}

impl Qos {
    /// As cgroups have it.
    fn name(self) -> &'static str {
        match self {
            Self::Guaranteed => "",
            Self::Burstable => "burstable",
            Self::BestEffort => "besteffort",
        }
    }
}

/// What a pod is to be. Every pod uses the host's network.
#[derive(Clone, Debug)]
pub struct PodSpec {
    name: String,
    namespace: String,
    labels: HashMap<String, String>,
    annotations: HashMap<String, String>,
    qos: Qos,
}

impl PodSpec {
    /// A burstable pod of that name in the namespace `default`.
    #[must_use]
    pub fn new(name: &str) -> Self {
        Self {
            name: name.to_owned(),
            namespace: "default".to_owned(),
            labels: HashMap::new(),
            annotations: HashMap::new(),
            qos: Qos::Burstable,
        }
    }

    /// Puts the pod into another namespace.
    #[must_use]
    pub fn namespace(mut self, namespace: &str) -> Self {
        namespace.clone_into(&mut self.namespace);
        self
    }

    /// Adds a label.
    #[must_use]
    pub fn label(mut self, key: &str, value: &str) -> Self {
        self.labels.insert(key.to_owned(), value.to_owned());
        self
    }

    /// Adds an annotation.
    #[must_use]
    pub fn annotation(mut self, key: &str, value: &str) -> Self {
        self.annotations.insert(key.to_owned(), value.to_owned());
        self
    }

    /// Sets the class of service.
    #[must_use]
    pub fn qos(mut self, qos: Qos) -> Self {
        self.qos = qos;
        self
    }
}

/// What a container is to be.
#[derive(Clone, Debug)]
pub struct ContainerSpec {
    name: String,
    argv: Vec<String>,
    resources: LinuxContainerResources,
}

impl ContainerSpec {
    /// A container without limits that runs `argv`; the image has busybox's commands and `podscope-load`.
    #[must_use]
    pub fn new<S: Into<String>>(name: &str, argv: impl IntoIterator<Item = S>) -> Self {
        let argv = argv.into_iter().map(Into::into).collect();
        Self { name: name.to_owned(), argv, resources: LinuxContainerResources::default() }
    }

    /// Limits the CPU time to so many thousandths of a core.
    #[must_use]
    pub fn cpu_limit(mut self, millicores: u32) -> Self {
        self.resources.cpu_period = CPU_PERIOD;
        self.resources.cpu_quota = CPU_PERIOD * i64::from(millicores) / 1000;
        self
    }

    /// Limits the memory, swap included.
    #[must_use]
    pub fn memory_limit(mut self, bytes: u32) -> Self {
        self.resources.memory_limit_in_bytes = i64::from(bytes);
        self.resources.memory_swap_limit_in_bytes = i64::from(bytes);
        self
    }
}

/// A running pod.
#[derive(Debug)]
pub struct Pod {
    client: RuntimeServiceClient<Channel>,
    config: PodSandboxConfig,
    uid: String,
    id: String,
    cgroup: String,
    driver: Driver,
}

/// The cgroup and the configuration of a pod that does not run yet.
pub(crate) struct Plan {
    config: PodSandboxConfig,
    uid: String,
    pub(crate) cgroup: String,
    driver: Driver,
}

impl Plan {
    pub(crate) fn new(spec: PodSpec, dir: &std::path::Path, driver: Driver) -> Result<Self> {
        let uid = fs::read_to_string("/proc/sys/kernel/random/uuid").context("cannot read a new pod uid")?;
        let uid = uid.trim().to_owned();
        let cgroup = driver.pod(spec.qos.name(), &uid);
        let PodSpec { name, namespace, mut labels, mut annotations, .. } = spec;
        labels.extend(pod_labels(&name, &namespace, &uid));
        annotations.insert("kubernetes.io/config.source".to_owned(), "api".to_owned());
        let namespaces = NamespaceOption {
            network: NamespaceMode::Node.into(),
            pid: NamespaceMode::Container.into(),
            ..Default::default()
        };
        let config = PodSandboxConfig {
            log_directory: dir.join("logs").join(format!("{namespace}_{name}_{uid}")).display().to_string(),
            metadata: Some(PodSandboxMetadata { name, namespace, uid: uid.clone(), attempt: 0 }),
            labels,
            annotations,
            linux: Some(LinuxPodSandboxConfig {
                cgroup_parent: cgroup.clone(),
                security_context: Some(LinuxSandboxSecurityContext {
                    namespace_options: Some(namespaces),
                    ..Default::default()
                }),
                ..Default::default()
            }),
            ..Default::default()
        };
        Ok(Self { config, uid, cgroup, driver })
    }

    pub(crate) async fn run(self, mut client: RuntimeServiceClient<Channel>) -> Result<Pod> {
        let Self { config, uid, cgroup, driver } = self;
        fs::create_dir_all(&config.log_directory).context("cannot make the pod's log folder")?;
        let request = RunPodSandboxRequest { config: Some(config.clone()), ..Default::default() };
        let answer = client.run_pod_sandbox(request).await.context("CRI's RunPodSandbox")?;
        Ok(Pod { client, config, uid, id: answer.into_inner().pod_sandbox_id, cgroup, driver })
    }
}

fn pod_labels(name: &str, namespace: &str, uid: &str) -> [(String, String); 3] {
    [("name", name), ("namespace", namespace), ("uid", uid)]
        .map(|(key, value)| (format!("io.kubernetes.pod.{key}"), value.to_owned()))
}

impl Pod {
    /// The pod's uid.
    #[must_use]
    pub fn uid(&self) -> &str {
        &self.uid
    }

    /// The id of the pod's sandbox.
    #[must_use]
    pub fn id(&self) -> &str {
        &self.id
    }

    /// The path of the pod's cgroup, as in `/proc/PID/cgroup` but for the container's part.
    #[must_use]
    pub fn cgroup(&self) -> &str {
        &self.cgroup
    }

    /// Creates and starts a container.
    ///
    /// # Errors
    /// When containerd refuses it or it ends before its process id is known.
    pub async fn container(&self, spec: ContainerSpec) -> Result<Container> {
        let mut client = self.client.clone();
        let name = spec.name.clone();
        let log = PathBuf::from(&self.config.log_directory).join(format!("{name}.log"));
        let request = CreateContainerRequest {
            pod_sandbox_id: self.id.clone(),
            config: Some(self.container_config(spec)),
            sandbox_config: Some(self.config.clone()),
        };
        let id = client.create_container(request).await.context("CRI's CreateContainer")?.into_inner().container_id;
        let request = StartContainerRequest { container_id: id.clone() };
        client.start_container(request).await.with_context(|| format!("CRI's StartContainer of {name}"))?;
        let cgroup = self.driver.container(&self.cgroup, &id);
        let mut container = Container { client, name, id, pid: 0, cgroup, log };
        container.pid = container.find_pid().await?;
        Ok(container)
    }

    fn container_config(&self, spec: ContainerSpec) -> ContainerConfig {
        let pod = self.config.metadata.clone().unwrap_or_default();
        let mut labels = HashMap::from(pod_labels(&pod.name, &pod.namespace, &pod.uid));
        labels.insert("io.kubernetes.container.name".to_owned(), spec.name.clone());
        let annotations = [
            ("io.kubernetes.container.restartCount", "0"),
            ("io.kubernetes.container.terminationMessagePath", "/dev/termination-log"),
            ("io.kubernetes.container.terminationMessagePolicy", "File"),
            ("io.kubernetes.pod.terminationGracePeriod", "30"),
        ];
        ContainerConfig {
            log_path: format!("{}.log", spec.name),
            metadata: Some(ContainerMetadata { name: spec.name, attempt: 0 }),
            image: Some(ImageSpec { image: IMAGE.to_owned(), ..Default::default() }),
            command: spec.argv,
            labels,
            annotations: annotations.map(|(key, value)| (key.to_owned(), value.to_owned())).into(),
            linux: Some(LinuxContainerConfig { resources: Some(spec.resources), ..Default::default() }),
            ..Default::default()
        }
    }

    /// Kills the pod's containers and removes it with its cgroup.
    ///
    /// # Errors
    /// When containerd cannot remove it or its cgroup stays.
    pub async fn remove(mut self) -> Result<()> {
        let request = StopPodSandboxRequest { pod_sandbox_id: self.id.clone() };
        self.client.stop_pod_sandbox(request).await.context("CRI's StopPodSandbox")?;
        let request = RemovePodSandboxRequest { pod_sandbox_id: self.id.clone() };
        self.client.remove_pod_sandbox(request).await.context("CRI's RemovePodSandbox")?;
        // The kubelet removes the pod's own cgroup.
        for dir in cgroup::dirs(&self.cgroup) {
            match fs::remove_dir(&dir) {
                // systemd may have been quicker.
                Err(error) if error.kind() != ErrorKind::NotFound => {
                    return Err(error).with_context(|| format!("cannot remove {}", dir.display()));
                }
                _ => {}
            }
        }
        Ok(())
    }
}

/// What a command in a container answered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Output {
    /// The exit code.
    pub code: i32,
    /// What it wrote to its standard output.
    pub stdout: String,
    /// What it wrote to its standard error.
    pub stderr: String,
}

/// A container that was started.
#[derive(Debug)]
pub struct Container {
    client: RuntimeServiceClient<Channel>,
    name: String,
    id: String,
    pid: u32,
    cgroup: String,
    log: PathBuf,
}

impl Container {
    /// The container's name within its pod.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The container's id: 64 hexadecimal digits.
    #[must_use]
    pub fn id(&self) -> &str {
        &self.id
    }

    /// The process id of its first process on the host.
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.pid
    }

    /// The path of its cgroup, as in `/proc/PID/cgroup`.
    #[must_use]
    pub fn cgroup(&self) -> &str {
        &self.cgroup
    }

    /// The CPU time in nanoseconds that the kernel has counted for it.
    ///
    /// # Errors
    /// When its cgroup is gone.
    pub fn cpu_time(&self) -> Result<u64> {
        cgroup::cpu_time(&self.cgroup)
    }

    /// What its processes wrote so far; each line with its time, stream and flag before it.
    ///
    /// # Errors
    /// When the log cannot be read.
    pub fn log(&self) -> Result<String> {
        fs::read_to_string(&self.log).with_context(|| format!("cannot read {}", self.log.display()))
    }

    /// Runs a command in the container and waits for its end.
    ///
    /// # Errors
    /// When it cannot be run or takes longer than a minute.
    pub async fn exec<S: Into<String>>(&self, argv: impl IntoIterator<Item = S>) -> Result<Output> {
        let cmd = argv.into_iter().map(Into::into).collect();
        let request = ExecSyncRequest { container_id: self.id.clone(), cmd, timeout: EXEC_LIMIT };
        let answer = self.client.clone().exec_sync(request).await.context("CRI's ExecSync")?.into_inner();
        let text = |bytes: Vec<u8>| String::from_utf8_lossy(&bytes).into_owned();
        Ok(Output { code: answer.exit_code, stdout: text(answer.stdout), stderr: text(answer.stderr) })
    }

    /// Waits until the container's first process has ended, and returns its exit code.
    ///
    /// # Errors
    /// When it still runs after `limit`, or CRI fails.
    pub async fn wait(&self, limit: Duration) -> Result<i32> {
        let start = Instant::now();
        loop {
            let (status, _) = self.status(false).await?;
            if status.state() == ContainerState::ContainerExited {
                return Ok(status.exit_code);
            }
            if start.elapsed() > limit {
                bail!("container {} still runs after {} s", self.name, limit.as_secs());
            }
            tokio::time::sleep(POLL).await;
        }
    }

    /// Ends the container: SIGTERM, and SIGKILL after `grace_seconds` (0: at once).
    ///
    /// # Errors
    /// When CRI fails.
    pub async fn stop(&self, grace_seconds: u16) -> Result<()> {
        let request = StopContainerRequest { container_id: self.id.clone(), timeout: grace_seconds.into() };
        self.client.clone().stop_container(request).await.context("CRI's StopContainer")?;
        Ok(())
    }

    /// Kills the container where it still runs, and removes it.
    ///
    /// # Errors
    /// When CRI fails.
    pub async fn remove(mut self) -> Result<()> {
        let request = RemoveContainerRequest { container_id: self.id.clone() };
        self.client.remove_container(request).await.context("CRI's RemoveContainer")?;
        Ok(())
    }

    async fn status(&self, verbose: bool) -> Result<(ContainerStatus, HashMap<String, String>)> {
        let request = ContainerStatusRequest { container_id: self.id.clone(), verbose };
        let answer = self.client.clone().container_status(request).await.context("CRI's ContainerStatus")?.into_inner();
        Ok((answer.status.context("CRI's ContainerStatus has no status")?, answer.info))
    }

    /// The process id stands only in the verbose answer, as JSON.
    async fn find_pid(&self) -> Result<u32> {
        let (_, info) = self.status(true).await?;
        let info: serde_json::Value = serde_json::from_str(info.get("info").map_or("", String::as_str))
            .context("CRI's verbose info is no JSON")?;
        let pid = info["pid"].as_u64().and_then(|pid| u32::try_from(pid).ok());
        pid.with_context(|| format!("CRI gives no process id for container {}", self.name))
    }
}
