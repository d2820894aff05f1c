//! The pods of the demo.

use anyhow::Result;

use super::{ContainerSpec, Pod, PodSpec, Qos, Rig};

/// Starts a pod that spins on a third of a core, one that starts short processes for ever, and one that sleeps.
///
/// # Errors
/// When containerd refuses one of them.
pub async fn demo_pods(rig: &Rig) -> Result<Vec<Pod>> {
    let works = [
        (PodSpec::new("busy").qos(Qos::Guaranteed), ["spin", "0"], 300),
        (PodSpec::new("fork-storm"), ["forks", "0"], 500),
        (PodSpec::new("sleeper").qos(Qos::BestEffort), ["sleep", "0"], 100),
    ];
    let mut pods = Vec::new();
    for (spec, work, millicores) in works {
        let pod = rig.pod(spec.namespace("podscope-demo").label("app.kubernetes.io/part-of", "podscope")).await?;
        let argv = std::iter::once("podscope-load").chain(work);
        pod.container(ContainerSpec::new("work", argv).cpu_limit(millicores)).await?;
        pods.push(pod);
    }
    Ok(pods)
}
