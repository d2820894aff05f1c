//! Keeps metrics-server's figures: from this node's kubelet, else from metrics.k8s.io. Never those of the whole cluster.

use std::convert::Infallible;
use std::sync::atomic::Ordering;
use std::sync::{Arc, PoisonError};
use std::time::{Duration, SystemTime};

use podscope_cluster::metrics::{LAUNCHER_NODE, LAUNCHERS, PodMetrics};
use podscope_cluster::{Client, Error, jittered, kubelet, metrics};
use tokio::sync::watch::{Receiver, Sender, channel};
use tokio::task::JoinSet;
use tokio::time::sleep;

use super::figures::{Figures, unix_ns};
use super::session::Session;
use super::{Config, KUBELET, METRICS_SERVER, MetricsChoice};
use crate::status::State;

/// How many times longer the pauses between questions to metrics.k8s.io are.
const SELDOM: u32 = 4;
const UNKNOWN_ADDRESS: &str = "the kubelet's address is not known: set HOST_IP, or give --kubelet";

/// Starts the tasks that are wanted; `off` shows why others are not.
pub(super) fn spawn(
    tasks: &mut JoinSet<()>,
    config: &Config,
    of_kubelet: Session,
    of_api: Session,
    off: impl Fn(&[&str], &str),
) {
    // Whether the kubelet answers; unknown at first. Without a task for it nobody will say.
    let (answers, wanted) = channel(None);
    let choice = config.metrics;
    let why_not = match choice {
        MetricsChoice::Auto if config.kubelet.is_none() => Some(UNKNOWN_ADDRESS),
        MetricsChoice::Auto | MetricsChoice::Kubelet => None,
        MetricsChoice::Api => Some("--kube-metrics api"),
        MetricsChoice::Off => Some("--kube-metrics off"),
    };
    if let Some(reason) = why_not {
        off(&[KUBELET], reason);
        answers.send_replace(Some(false));
    } else {
        tasks.spawn(keep_kubelet(of_kubelet, config.clone(), answers));
    }
    if matches!(choice, MetricsChoice::Auto | MetricsChoice::Api) {
        tasks.spawn(keep_api(of_api, config.clone(), wanted));
    } else {
        let reason = if choice == MetricsChoice::Off { "--kube-metrics off" } else { "--kube-metrics kubelet" };
        off(&[METRICS_SERVER], reason);
    }
}

async fn keep_kubelet(mut session: Session, config: Config, answers: Sender<Option<bool>>) {
    loop {
        let Err(error) = ask_kubelet(&mut session, &config, &answers).await;
        answers.send_replace(Some(false));
        session.fails(&error).await;
    }
}

async fn ask_kubelet(
    session: &mut Session,
    config: &Config,
    answers: &Sender<Option<bool>>,
) -> Result<Infallible, Error> {
    let Some(address) = &config.kubelet else {
        return Err(Error::Config(UNKNOWN_ADDRESS.to_owned()));
    };
    let client = session.connect_to(|api| api.kubelet(address, &config.trust))?;
    loop {
        let resource = kubelet::resource(&client).await?;
        session.shared.samples_malformed.fetch_add(resource.malformed, Ordering::Relaxed);
        let incomplete = resource.incomplete;
        let before = Arc::clone(&session.shared.figures.read().unwrap_or_else(PoisonError::into_inner));
        session.shared.set_figures(Figures::of_kubelet(resource, &before, unix_ns(SystemTime::now())));
        answers.send_replace(Some(true));
        if incomplete {
            let reason = "the kubelet answers, but could not read all figures itself (resource_scrape_error)";
            session.set(State::Absent { reason: reason.to_owned() });
        } else {
            session.works();
        }
        sleep(jittered(config.interval)).await;
    }
}

async fn keep_api(mut session: Session, config: Config, mut kubelet_answers: Receiver<Option<bool>>) {
    // All agents of a cluster may have been started together.
    sleep(config.interval.mul_f64(rand::random())).await;
    loop {
        let Err(error) = ask_api(&mut session, &config, &mut kubelet_answers).await;
        session.fails(&error).await;
    }
}

async fn ask_api(
    session: &mut Session,
    config: &Config,
    kubelet_answers: &mut Receiver<Option<bool>>,
) -> Result<Infallible, Error> {
    loop {
        if *kubelet_answers.borrow_and_update() != Some(false) {
            session.set(State::Off { reason: "the kubelet is asked".to_owned() });
            // The sender is gone only where nobody asks the kubelet.
            let _gone = kubelet_answers.wait_for(|answers| *answers == Some(false)).await;
        }
        let client = session.connect()?;
        let node = metrics::node(&client, &config.node).await?;
        let pods = ask_pods(session, &client, config).await?;
        session.shared.set_figures(Figures::of_api(&node, &pods));
        session.works();
        sleep(jittered(config.interval * SELDOM)).await;
    }
}

/// Figures of the node's pods: virtual machines by their label, all at once; others one by one, where they are few.
async fn ask_pods(session: &Session, client: &Client, config: &Config) -> Result<Vec<PodMetrics>, Error> {
    let pods = session.shared.pods();
    let running = || pods.values().filter(|pod| pod.is_running);
    let mut found = Vec::new();
    if running().any(|pod| pod.is_launcher) {
        let labels = format!("{LAUNCHERS},{LAUNCHER_NODE}={}", config.node);
        found = metrics::pods_with(client, &labels).await?;
    }
    let others: Vec<_> = running().filter(|pod| !pod.is_launcher).collect();
    if others.len() > config.single_pods {
        session.shared.pods_unasked.fetch_add(others.len() as u64, Ordering::Relaxed);
        return Ok(found);
    }
    for pod in others {
        match metrics::pod(client, &pod.namespace, &pod.name).await {
            Ok(figures) => found.push(figures),
            // metrics-server has not seen it twice so far.
            Err(Error::NotFound { .. }) => {}
            Err(error) => return Err(error),
        }
        // Spread over a part of the interval.
        sleep(config.interval.min(Duration::from_secs(15)) / 30).await;
    }
    Ok(found)
}
