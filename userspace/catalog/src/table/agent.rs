//! Rows of the agent itself.

super::metrics! {
    super::gpu::NEXT;

    /// CPU time of the agent itself, without its kernel programs.
    AGENT_CPU_TIME = "podscope.agent.cpu.time", "s", Counter Double, Agent, Agent, [CPU_MODE];
    /// Resident memory of the agent itself.
    AGENT_MEMORY_USAGE = "podscope.agent.memory.usage", "By", UpDownCounter Int, Agent, Agent;
    /// Length of the last collection's parts.
    AGENT_COLLECTION_DURATION = "podscope.agent.collection.duration", "s", Gauge Double, Agent, Agent, [PHASE];
    /// Collections made.
    AGENT_COLLECTIONS = "podscope.agent.collections", "{collection}", Counter Int, Agent, Agent;
    /// Collections skipped because the one before took longer than the interval.
    AGENT_COLLECTIONS_SKIPPED = "podscope.agent.collections.skipped", "{collection}", Counter Int, Agent, Agent;
    /// Processes the last collection saw.
    AGENT_PROCESSES = "podscope.agent.processes", "{process}", UpDownCounter Int, Agent, Agent;
    /// Containers the last collection saw.
    AGENT_CONTAINERS = "podscope.agent.containers", "{container}", UpDownCounter Int, Agent, Agent;
    /// Processes in the last collection that belong to a pod that could not be named.
    AGENT_UNATTRIBUTED = "podscope.agent.unattributed", "{process}", UpDownCounter Int, Agent, Agent, [UNATTRIBUTED];
    /// Run time of the kernel programs, where the kernel counts it (kernel.bpf_stats_enabled).
    AGENT_BPF_RUN_TIME = "podscope.agent.bpf.run.time", "s", Counter Double, Agent, Agent, [PROGRAM];
    /// Runs of the kernel programs, where the kernel counts them (kernel.bpf_stats_enabled).
    AGENT_BPF_RUNS = "podscope.agent.bpf.runs", "{run}", Counter Int, Agent, Agent, [PROGRAM];
    /// 1 where the kernel program is attached, 0 where it is absent; the reason is in /status.
    AGENT_PROBE_UP = "podscope.agent.probe.up", "{probe}", Gauge Int, Agent, Agent, [PROGRAM];
    /// 1 where the source works, 0 where it does not; the reason is in /status.
    AGENT_SOURCE_UP = "podscope.agent.source.up", "{source}", Gauge Int, Agent, Agent, [AGENT_SOURCE];
    /// Entries in use of the kernel maps.
    AGENT_MAP_ENTRIES = "podscope.agent.bpf.map.entries", "{entry}", UpDownCounter Int, Agent, Agent, [MAP];
    /// Capacity of the kernel maps.
    AGENT_MAP_CAPACITY = "podscope.agent.bpf.map.capacity", "{entry}", UpDownCounter Int, Agent, Agent, [MAP];
    /// What the kernel programs could not keep.
    AGENT_LOSSES = "podscope.agent.losses", "{loss}", Counter Int, Agent, Agent, [LOSS];
    /// What the agent itself left out because of its bounds or of a fault.
    AGENT_DROPPED = "podscope.agent.dropped", "{drop}", Counter Int, Agent, Agent, [DROP];
    /// CPU time of processes whose cgroup was removed before its path was known; it is in no container.
    AGENT_UNOWNED_CPU_TIME = "podscope.agent.unowned.cpu.time", "s", Counter Double, Agent, Agent;
    /// OTLP requests by what became of them.
    AGENT_EXPORT_REQUESTS = "podscope.agent.export.requests", "{request}", Counter Int, Agent, Agent, [EXPORT_RESULT];
    /// OTLP data points by what became of them.
    AGENT_EXPORT_POINTS = "podscope.agent.export.points", "{data_point}", Counter Int, Agent, Agent, [EXPORT_RESULT];
    /// Questions to the Kubernetes API and the kubelet by what became of them; one that goes on is counted when it begins.
    AGENT_KUBE_REQUESTS = "podscope.agent.kube.requests", "{request}", Counter Int, Agent, Agent, [KUBE_RESULT];
    /// HTTP requests answered.
    AGENT_HTTP_REQUESTS = "podscope.agent.http.requests", "{request}", Counter Int, Agent, Agent;
    /// What the HTTP endpoint refused or cut off.
    AGENT_HTTP_REFUSED = "podscope.agent.http.refused", "{refusal}", Counter Int, Agent, Agent, [HTTP_REFUSAL];
}
