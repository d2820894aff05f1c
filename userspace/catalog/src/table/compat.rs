//! Rows of the tools that the agent stands in for.

super::metrics! {
    super::agent::NEXT;

    /// CPU time spent, seconds.
    KUBEVIRT_CPU_TIME = "kubevirt.pod_infra.cpu", "s", Counter Double, KubevirtProcess, Proc, [KUBEVIRT_CPU];
    /// Memory amount, bytes.
    KUBEVIRT_MEMORY_AMOUNT = "kubevirt.pod_infra.memory_amount", "By", UpDownCounter Int, KubevirtProcess, Proc, [KUBEVIRT_MEMORY];
    /// Version information
    KUBEVIRT_INFO = "kubevirt.info", "{info}", Gauge Int, KubevirtInfo, Agent;
}
