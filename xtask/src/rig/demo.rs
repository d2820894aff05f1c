//! The pods of the demo.

use std::io::{Read, Write, stdin, stdout};

use anyhow::{Context, Result};

use super::{ContainerSpec, Options, Pod, PodSpec, Qos, Rig};

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

/// Runs a rig with the demo's pods until standard input ends.
///
/// Prints one line `pod CGROUP` for each pod, then `socket PATH`: with that line everything runs.
///
/// # Errors
/// When the rig cannot be started or something of it is left at the end.
pub async fn hold_demo() -> Result<()> {
    let rig = Rig::start(Options::default()).await?;
    let pods = demo_pods(&rig).await?;
    let mut lines: String = pods.iter().map(|pod| format!("pod {}\n", pod.cgroup())).collect();
    lines.push_str(&format!("socket {}\n", rig.socket().display()));
    let mut out = stdout();
    out.write_all(lines.as_bytes()).and_then(|()| out.flush()).context("cannot say where the rig is")?;
    // Whoever started this holds the other end; a failure to read is an end too.
    let _ = stdin().lock().read_to_end(&mut Vec::new());
    rig.stop()
}
