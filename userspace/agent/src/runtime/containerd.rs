//! containerd's own interface: the main process of every container in one call, and its event service.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use containerd_client::events::{ContainerCreate, TaskCreate, TaskStart};
use containerd_client::services::v1::containers_client::ContainersClient;
use containerd_client::services::v1::events_client::EventsClient;
use containerd_client::services::v1::tasks_client::TasksClient;
use containerd_client::services::v1::{GetContainerRequest, ListTasksRequest, SubscribeRequest};
use containerd_client::types::Envelope;
use containerd_client::types::v1::{Process, Status as TaskStatus};
use podscope_cluster::Backoff;
use prost::Message;
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};
use tonic::metadata::MetadataValue;
use tonic::transport::Channel;
use tonic::{Request, Status};

use super::meta::ContainerMeta;
use super::rpc::{RpcError, call, describe};
use super::{Limits, Shared};

/// The namespace in which containerd keeps what the CRI made.
const NAMESPACE: &str = "k8s.io";

/// What makes a container appear, gives it a process, or takes that away.
const FILTERS: [&str; 4] = [
    r#"namespace=="k8s.io",topic=="/containers/create""#,
    r#"namespace=="k8s.io",topic=="/tasks/create""#,
    r#"namespace=="k8s.io",topic=="/tasks/start""#,
    r#"namespace=="k8s.io",topic=="/tasks/delete""#,
];

/// A subscription that stood this long without an event is good. containerd answers only with the first event.
const SETTLED: Duration = Duration::from_secs(3);

/// A connection to containerd. Dropping it ends the subscription.
#[derive(Debug)]
pub(super) struct Containerd {
    tasks: TasksClient<Channel>,
    containers: ContainersClient<Channel>,
    limit: Duration,
    stream_fault: Arc<Mutex<Option<String>>>,
    _subscription: JoinSet<()>,
}

impl Containerd {
    /// Subscribes to events, which nominate ids in `shared`.
    pub(super) fn new(channel: Channel, limits: &Limits, shared: Arc<Shared>) -> Self {
        let stream_fault = Arc::default();
        let mut subscription = JoinSet::new();
        subscription.spawn(follow(channel.clone(), limits.backoff(), Arc::clone(&stream_fault), shared));
        Self {
            tasks: TasksClient::new(channel.clone()).max_decoding_message_size(limits.message_bytes),
            containers: ContainersClient::new(channel).max_decoding_message_size(limits.message_bytes),
            limit: limits.call,
            stream_fault,
            _subscription: subscription,
        }
    }

    /// Why no events come, if none do.
    pub(super) fn stream_fault(&self) -> Option<String> {
        self.stream_fault.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Container id → main process, of all tasks that have not stopped.
    pub(super) async fn pids(&mut self) -> Result<HashMap<String, u32>, RpcError> {
        let request = in_namespace(ListTasksRequest::default());
        let tasks = call("containerd Tasks.List", self.limit, self.tasks.list(request)).await?.tasks;
        Ok(main_processes(tasks))
    }

    /// What the metadata store says about a container: `None` where it is unknown or belongs to no pod.
    ///
    /// The answer carries the container's whole specification, hence one at a time and only where the CRI is silent.
    pub(super) async fn container(&mut self, id: &str) -> Result<Option<ContainerMeta>, RpcError> {
        let request = in_namespace(GetContainerRequest { id: id.to_owned() });
        match call("containerd Containers.Get", self.limit, self.containers.get(request)).await {
            Ok(answer) => Ok(answer.container.as_ref().and_then(ContainerMeta::from_containerd)),
            Err(error) if error.is_not_found() => Ok(None),
            Err(error) => Err(error),
        }
    }
}

pub(super) fn main_processes(tasks: Vec<Process>) -> HashMap<String, u32> {
    let alive = |task: &Process| task.pid > 0 && task.status() != TaskStatus::Stopped;
    tasks.into_iter().filter(alive).map(|task| (task.id, task.pid)).collect()
}

fn in_namespace<T>(message: T) -> Request<T> {
    let mut request = Request::new(message);
    request.metadata_mut().insert("containerd-namespace", MetadataValue::from_static(NAMESPACE));
    request
}

/// Follows the event service for ever.
async fn follow(channel: Channel, mut backoff: Backoff, fault: Arc<Mutex<Option<String>>>, shared: Arc<Shared>) {
    let set = |reason: Option<String>| *fault.lock().unwrap_or_else(PoisonError::into_inner) = reason;
    loop {
        let mut settled = || {
            set(None);
            backoff.reset();
        };
        let ended = subscribe(channel.clone(), &shared, &mut settled).await;
        let reason = ended.err().map_or_else(|| "the stream ended".to_owned(), |status| describe(&status));
        set(Some(format!(
            "containerd Events.Subscribe: {reason}; new containers are found by polling until it is back"
        )));
        // The runtime may be gone: the next refresh tells.
        shared.poke();
        sleep(backoff.pause(None)).await;
    }
}

/// One subscription, to its end.
async fn subscribe(channel: Channel, shared: &Shared, mut settled: impl FnMut()) -> Result<(), Status> {
    let filters = FILTERS.map(str::to_owned).to_vec();
    let mut client = EventsClient::new(channel);
    let first_answer = client.subscribe(SubscribeRequest { filters });
    tokio::pin!(first_answer);
    let answer = match timeout(SETTLED, &mut first_answer).await {
        Ok(answer) => answer,
        Err(_) => {
            settled();
            first_answer.await
        }
    };
    let mut events = answer?.into_inner();
    while let Some(event) = events.message().await? {
        settled();
        announce(&event, shared);
    }
    Ok(())
}

/// Nominates what an event is about.
pub(super) fn announce(envelope: &Envelope, shared: &Shared) {
    let Some(event) = &envelope.event else { return };
    let body = event.value.as_slice();
    // Runtimes write the type with or without a host in front.
    let id = match event.type_url.rsplit('/').next() {
        Some("containerd.events.ContainerCreate") => ContainerCreate::decode(body).map(|event| event.id),
        Some("containerd.events.TaskCreate") => TaskCreate::decode(body).map(|event| event.container_id),
        Some("containerd.events.TaskStart") => TaskStart::decode(body).map(|event| event.container_id),
        _ => return shared.poke(),
    };
    match id {
        Ok(id) => shared.ask(&id),
        Err(_) => shared.count(|stats| stats.malformed += 1),
    }
}

#[cfg(test)]
mod tests {
    use containerd_client::events::TaskDelete;
    use containerd_client::to_any;

    use super::*;

    fn shared_after(envelopes: &[Envelope]) -> Shared {
        let shared = Shared::default();
        envelopes.iter().for_each(|envelope| announce(envelope, &shared));
        shared
    }

    #[test]
    fn what_appears_is_nominated_by_any_form_of_the_type() {
        let created = ContainerCreate { id: "created".into(), ..Default::default() };
        let tasked = TaskCreate { container_id: "tasked".into(), pid: 7, ..Default::default() };
        let started = TaskStart { container_id: "started".into(), pid: 7 };
        let mut events = [to_any(&created), to_any(&tasked), to_any(&started)];
        events[1].type_url = format!("type.googleapis.com/{}", events[1].type_url);
        let envelopes = events.map(|event| Envelope { event: Some(event), ..Default::default() });
        let shared = shared_after(&envelopes);
        let mut ids = shared.agenda(|agenda| agenda.ids());
        ids.sort_unstable();
        assert_eq!(ids, ["created", "started", "tasked"].map(Arc::from));
    }

    #[test]
    fn what_goes_asks_for_a_refresh_and_rubbish_is_counted() {
        let deleted = TaskDelete { container_id: "gone".into(), ..Default::default() };
        let shared = shared_after(&[Envelope { event: Some(to_any(&deleted)), ..Default::default() }]);
        assert!(shared.agenda(|agenda| agenda.ids().is_empty() && agenda.due().is_some()));

        let mut rubbish = to_any(&TaskStart::default());
        rubbish.value = vec![0xff; 9];
        let shared = shared_after(&[Envelope { event: Some(rubbish), ..Default::default() }, Envelope::default()]);
        assert_eq!(shared.agenda(|agenda| agenda.due()), None);
        shared.count(|stats| assert_eq!(stats.malformed, 1));
    }
}
