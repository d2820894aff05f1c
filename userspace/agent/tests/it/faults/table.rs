//! The rows.

use std::time::{Duration, Instant};

use super::page::Measured;
use crate::support::agent::Agent;
use crate::support::eventually;

/// What fails, and what comes of it.
pub(crate) struct Row {
    /// The name under which its measurement is kept.
    pub(crate) id: &'static str,
    pub(crate) dependency: &'static str,
    /// What happens.
    pub(crate) fault: &'static str,
    /// Sources in `/status`, their state and a piece of the reason.
    pub(crate) shown: &'static [(&'static str, &'static str, &'static str)],
    pub(crate) lost: &'static str,
}

macro_rules! rows {
    ($($id:ident = $dependency:literal, $fault:literal, $shown:expr, $lost:literal;)*) => {
        $(pub(crate) const $id: Row = Row {
            id: stringify!($id),
            dependency: $dependency,
            fault: $fault,
            shown: &$shown,
            lost: $lost,
        };)*
        /// Every row.
        pub(crate) const ROWS: &[Row] = &[$($id),*];
    };
}

rows! {
    RUNTIME_STOPS = "containerd", "is stopped, and started again",
        [("runtime", "absent", "mount the socket or pass --cri-socket"), ("containerd", "absent", "no runtime answers")],
        "nothing: names once known stay; a container that begins meanwhile has only its ids until containerd is back";
    RUNTIME_FREEZES = "containerd", "is frozen (SIGSTOP) when a container begins",
        [("runtime", "absent", "no answer within 5s")],
        "nothing; the new container waits 10 s for its name and then has only its ids";
    RUNTIME_SOCKET_REPLACED = "containerd", "its socket is replaced, the old connection falls silent",
        [("runtime", "absent", "no answer within 5s")],
        "nothing";
    RUNTIME_CUT = "containerd", "its answers break off",
        [("runtime", "absent", "containerd.sock")],
        "nothing";
    RUNTIME_GARBLED = "containerd", "its answers are garbled",
        [("runtime", "absent", "containerd.sock")],
        "nothing";
    RUNTIME_OVERSIZED = "containerd", "an answer of 80 MB",
        [("runtime", "absent", "OutOfRange")],
        "nothing; the answer is not read, the bound is 64 MiB";
    RUNTIME_NONSENSE = "containerd", "its answers are no protobuf",
        [("runtime", "absent", "failed to decode")],
        "nothing";

    OTLP_REFUSED = "OTLP receiver", "refuses connections",
        [("otlp", "absent", "refused")],
        "resolution only";
    OTLP_HANGS = "OTLP receiver", "takes connections and never answers",
        [("otlp", "absent", "no answer within 1000 ms")],
        "resolution only";
    OTLP_SLOW = "OTLP receiver", "reads 5 kB a second",
        [("otlp", "absent", "no answer within 1000 ms")],
        "resolution only";
    OTLP_CUT = "OTLP receiver", "its answers break off",
        [("otlp", "absent", "error")],
        "resolution only; what was taken before the break comes twice, with the same times";
    OTLP_UNAVAILABLE = "OTLP receiver", "answers 503 or UNAVAILABLE",
        [("otlp", "absent", "navailable: as scripted")],
        "resolution only";
    OTLP_THROTTLED = "OTLP receiver", "answers 429 with Retry-After: 2",
        [("otlp", "absent", "429 Too Many Requests: as scripted")],
        "resolution only; the pause is kept";
    OTLP_PARTIAL = "OTLP receiver", "takes all but two points of each request",
        [("otlp", "up", "")],
        "the points that it refuses, counted as rejected; the next snapshot repeats the sums";
    OTLP_GARBLED = "OTLP receiver", "its answers are garbled",
        [("otlp", "absent", "invalid HTTP version parsed")],
        "resolution only; what was taken comes twice, with the same times";
    OTLP_WRONG_CA = "OTLP receiver", "shows a certificate of another authority",
        [("otlp", "absent", "invalid peer certificate")],
        "resolution only; nothing is sent to the stranger. The CA file is read again, without a restart";

    KUBELET_FORBIDDEN = "kubelet", "refuses its figures (403)",
        [("kubelet", "absent", "403 Forbidden")],
        "nothing, where metrics.k8s.io answers";
    KUBELET_BROKEN = "kubelet", "answers 500",
        [("kubelet", "absent", "500 Internal Server Error")],
        "nothing, where metrics.k8s.io answers";
    KUBELET_CUT = "kubelet", "its answers break off",
        [("kubelet", "absent", "the answer broke off")],
        "nothing, where metrics.k8s.io answers";
    KUBELET_NONSENSE = "kubelet", "its answers are none of a kubelet",
        [("kubelet", "absent", "no figure in the answer")],
        "nothing, where metrics.k8s.io answers";
    METRICS_MISSING = "metrics.k8s.io", "is not there (404), nor the kubelet (403)",
        [("metrics_server", "absent", "is metrics-server installed"), ("kubelet", "absent", "403 Forbidden")],
        "metrics-server's figures, three minutes after the last ones";
    METRICS_UNAVAILABLE = "metrics.k8s.io", "answers 503, and the kubelet 403",
        [("metrics_server", "absent", "503 Service Unavailable"), ("kubelet", "absent", "403 Forbidden")],
        "metrics-server's figures, three minutes after the last ones";
    API_EXPIRED = "Kubernetes API", "says that the watch is too old (410)",
        [("kube_pods", "absent", "410 Gone")],
        "nothing: all pods of the node are listed again";
    API_UNAUTHORIZED = "Kubernetes API", "does not take the token (401)",
        [("kube_pods", "absent", "401 Unauthorized")],
        "requests, limits and workloads of new pods meanwhile; token and certificates are read again, without a restart";
    API_FORBIDDEN = "Kubernetes API", "refuses the list of pods (403)",
        [("kube_pods", "absent", "403 Forbidden")],
        "requests, limits and workloads of new pods meanwhile";
    API_THROTTLED = "Kubernetes API", "answers 429 with Retry-After: 2",
        [("kube_pods", "absent", "429 Too Many Requests")],
        "requests, limits and workloads of new pods meanwhile; the pause is kept";
    API_UNAVAILABLE = "Kubernetes API", "answers 503",
        [("kube_pods", "absent", "503 Service Unavailable")],
        "requests, limits and workloads of new pods meanwhile";
    API_NONSENSE = "Kubernetes API", "its answers are none of its own",
        [("kube_pods", "absent", "not what was asked for")],
        "requests, limits and workloads of new pods meanwhile";
    API_HANGS = "Kubernetes API", "takes questions and never answers",
        [("kube_pods", "absent", "no answer within 10 s")],
        "requests, limits and workloads of new pods meanwhile";
    API_CLOCK = "Kubernetes API", "its clock is two hours ahead",
        [("kube_clock", "absent", "120 min behind")],
        "nothing, for as long as token and certificate are valid by both clocks";

    GPU_ENDS = "podscope-gpu", "ends, and is started again",
        [("gpu", "absent", "Connection refused")],
        "figures of GPUs meanwhile";
    GPU_HANGS = "podscope-gpu", "takes connections and never answers",
        [("gpu", "absent", "no answer within 3s")],
        "figures of GPUs meanwhile; no collection waits";
    GPU_NONSENSE = "podscope-gpu", "answers what is no document",
        [("gpu", "absent", "no document of podscope-gpu")],
        "figures of GPUs meanwhile";
    GPU_NEWER = "podscope-gpu", "is of another release, with another form of the document",
        [("gpu", "absent", "version 2 of the document")],
        "figures of GPUs";
    GPU_FLOODS = "podscope-gpu", "an answer of 8 MB",
        [("gpu", "absent", "more than 1048576 bytes")],
        "figures of GPUs meanwhile; the answer is not read to its end";
    NVML_GONE = "NVML", "finds no driver",
        [("gpu", "absent", "NVIDIA driver is not loaded")],
        "figures of GPUs meanwhile";

    LOG_FULL = "log", "its disk is full",
        [("log", "absent", "No space left on device")],
        "lines, counted as dropped";
    LOG_STUCK = "log", "nobody reads its pipe",
        [("log", "absent", "nobody reads standard error")],
        "lines beyond 1,024 waiting ones, counted as dropped";
    PROC_VANISHES = "/proc", "is unmounted",
        [("proc", "absent", "No such file or directory")],
        "descriptor counts and the agent's own memory meanwhile; no sum";
    PROC_ENTRIES_VANISH = "/proc", "processes and their cgroup vanish while they are read",
        [("proc", "up", ""), ("cgroup", "up", "")],
        "nothing";
    AGENT_KILLED = "the agent", "is killed (SIGKILL) at random moments",
        [],
        "what was used between its last collection and the first of the next agent. No program, map, link or pin is left; \
         sums begin at zero with a new start time";
}

impl Row {
    /// Waits until `/status` shows the fault, and returns how long that took since `began`.
    pub(crate) fn seen(&self, agent: &Agent, began: Instant) -> Duration {
        for (source, wanted, piece) in self.shown {
            let shows = || {
                let (state, reason) = agent.state("sources", source);
                (state == *wanted && reason.contains(piece)).then_some(())
            };
            eventually(&format!("{}: {source} is {wanted} with `{piece}`", self.id), shows);
            println!("fault: {} {source} {:?}", self.id, agent.state("sources", source));
        }
        began.elapsed()
    }

    /// Waits until all that was absent is up, and notes both times.
    pub(crate) fn mended(&self, agent: &Agent, seen: Duration, mended: Instant) {
        for (source, ..) in self.shown {
            agent.becomes(source, "up");
        }
        self.passed(Some(seen), Some(mended.elapsed()));
    }

    /// Notes the times of a row whose test has passed.
    pub(crate) fn passed(&self, seen: Option<Duration>, back: Option<Duration>) {
        Measured::of(seen, back).keep(self.id);
    }
}
