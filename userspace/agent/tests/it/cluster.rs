//! What the Kubernetes API and the kubelet say of real containers, beside the agent's own figures.

use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{SystemTime, UNIX_EPOCH};

use serde_json::{Value, json};
use xtask::rig::{Container, Pod, cgroup};

use crate::cluster_support::{Recorded, Server};
use crate::support::agent::{Agent, command};
use crate::support::page::Page;
use crate::support::{eventually, pod, rig, turn, work};

/// How far a busy container's figures over the same window may be apart, CPUs: both are read within a collection's time
/// of one another.
const APART: f64 = 0.1;

/// The recorded pod under a real one's names, managed by a Deployment.
fn object(pod: &Pod, name: &str, container: &str) -> Value {
    let mut object = Recorded::items(Recorded::PODS)[1].clone();
    object["metadata"]["name"] = name.into();
    object["metadata"]["namespace"] = "it".into();
    object["metadata"]["uid"] = pod.uid().into();
    object["metadata"]["labels"] = json!({ "pod-template-hash": "5d9f7c6b8" });
    object["metadata"]["ownerReferences"] =
        json!([{ "apiVersion": "apps/v1", "kind": "ReplicaSet", "name": "web-5d9f7c6b8", "controller": true }]);
    object["spec"]["containers"][0]["name"] = container.into();
    object["status"]["containerStatuses"][0]["name"] = container.into();
    object
}

/// A kubelet's page: what it reads itself from the kernel, at the time of the question. `doubled`: it is wrong.
fn page(name: &str, container: &Container, doubled: Arc<AtomicBool>) -> Box<dyn Fn() -> String + Send> {
    let labels = format!("container=\"{}\",namespace=\"it\",pod=\"{name}\"", container.name());
    let (name, path) = (name.to_owned(), container.cgroup().to_owned());
    Box::new(move || {
        let used = cgroup::cpu_time(&path).unwrap_or_default() as f64 / 1e9;
        let used = if doubled.load(Ordering::Relaxed) { used * 2.0 } else { used };
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_millis();
        format!(
            "# TYPE container_cpu_usage_seconds_total counter\n\
             container_cpu_usage_seconds_total{{{labels}}} {used} {now}\n\
             container_memory_working_set_bytes{{{labels}}} 123456789 {now}\n\
             pod_cpu_usage_seconds_total{{namespace=\"it\",pod=\"{name}\"}} {used} {now}\n\
             node_memory_working_set_bytes 5e9 {now}\n"
        )
    })
}

fn flags<'a>(kubeconfig: &'a str, kubelet: &'a str, metrics: &'a str) -> [&'a str; 10] {
    let interval = ["--kube-metrics-interval", "1", "--kube-metrics", metrics];
    let [every, seconds, from, choice] = interval;
    ["--kubeconfig", kubeconfig, "--kubelet", kubelet, every, seconds, from, choice, "--node-name", "node1"]
}

#[tokio::test(flavor = "multi_thread")]
async fn figures_of_the_kubelet_stand_beside_the_own_and_differ_by_what_is_wrong() {
    let _turn = turn().await;
    let rig = rig().await;
    let pod = pod(&rig, "web-5d9f7c6b8-x").await;
    let container = work(&pod, "work", "spin 0").await;
    let server = Server::start();
    let wrong = Arc::new(AtomicBool::new(false));
    {
        let mut now = server.now();
        now.answers.pods = vec![object(&pod, "web-5d9f7c6b8-x", "work")];
        now.answers.kubelet = page("web-5d9f7c6b8-x", &container, Arc::clone(&wrong));
    }
    let (kubeconfig, kubelet) = (server.kubeconfig(), server.address.to_string());
    let agent = Agent::beside(&rig, &flags(kubeconfig.to_str().unwrap(), &kubelet, "auto"));
    let id = [("container_id", container.id()), ("k8s_pod_name", "web-5d9f7c6b8-x")];
    let of = |page: &Page, metric: &str| page.get(metric, &id);

    // By the API.
    let page = eventually("requests and limits are there", || {
        let page = agent.page();
        of(&page, "k8s_container_cpu_request_desired").map(|_| page)
    });
    assert_eq!(of(&page, "k8s_container_cpu_request_desired"), Some(0.1));
    assert_eq!(of(&page, "k8s_container_memory_limit_current_bytes"), Some(f64::from(64 << 20)));
    let info = [
        ("k8s_pod_uid", pod.uid()),
        ("podscope_workload_kind", "Deployment"),
        ("podscope_workload_name", "web"),
        ("podscope_pod_qos_class", "Burstable"),
    ];
    assert_eq!(page.get("podscope_pod_info", &info), Some(1.0));
    assert_eq!(page.get("k8s_node_cpu_allocatable", &[("k8s_node_name", "node1")]), Some(2.0));

    // By the kubelet: one busy loop.
    let near = |wanted: f64| {
        eventually("the kubelet's figure and the own agree over the same window", || {
            let page = agent.page();
            let usage = of(&page, "podscope_metrics_server_container_cpu_usage")?;
            let difference = of(&page, "podscope_metrics_server_container_cpu_difference")?;
            ((difference - wanted * usage).abs() < APART && usage > 0.2).then_some((page, usage, difference))
        })
    };
    let (page, usage, difference) = near(0.0);
    println!("the kubelet says {usage:.3} CPUs, {difference:.3} more than the agent");
    let said = of(&page, "podscope_metrics_server_container_memory_working_set_bytes").unwrap();
    assert_eq!(said, 123_456_789.0);
    let own = of(&page, "container_memory_working_set_bytes").unwrap();
    let difference = of(&page, "podscope_metrics_server_container_memory_difference_bytes").unwrap();
    assert!((said - own - difference).abs() < 1e6, "{said} - {own} is not {difference}");
    // Half of what it says is wrong, and that shows.
    wrong.store(true, Ordering::Relaxed);
    let (_, usage, difference) = near(0.5);
    println!("the kubelet says {usage:.3} CPUs, {difference:.3} more than the agent");

    for source in ["kube_pods", "kube_node", "kubelet", "kube_clock"] {
        assert_eq!(agent.state("sources", source).0, "up", "{source}");
    }
    assert_eq!(agent.state("sources", "metrics_server").0, "off");
    let asked = server.now().asked.clone();
    let of_all =
        |path: &&String| path.starts_with("/api/v1/pods") && !path.contains("fieldSelector=spec.nodeName%3Dnode1");
    assert_eq!(asked.iter().find(of_all), None, "the pods of all nodes");
    assert_eq!(server.asked("/apis/metrics.k8s.io"), 0, "the kubelet answers");
    let requests = agent.page().sum("podscope_agent_kube_requests_total", &[("podscope_kube_result", "ok")]);
    assert!(requests >= 5.0 && requests <= asked.len() as f64, "{requests} of {}", asked.len());
}

#[tokio::test(flavor = "multi_thread")]
async fn metrics_of_the_nodes_own_pods_are_asked_for_one_by_one_and_those_of_machines_by_label() {
    let _turn = turn().await;
    let rig = rig().await;
    let pod = pod(&rig, "web").await;
    let container = work(&pod, "app", "sleep 0").await;
    let server = Server::start();
    {
        let mut now = server.now();
        let mut figures = now.answers.pod_metrics[1].clone();
        let taken = humantime::format_rfc3339_seconds(SystemTime::now()).to_string();
        figures["metadata"]["name"] = "web".into();
        figures["metadata"]["namespace"] = "it".into();
        figures["timestamp"] = taken.clone().into();
        now.answers.pod_metrics.push(figures);
        now.answers.node_metrics[0]["timestamp"] = taken.into();
        let recorded = now.answers.pods[0].clone();
        now.answers.pods = vec![recorded, object(&pod, "web", "app")];
    }
    let kubeconfig = server.kubeconfig();
    let agent = Agent::beside(&rig, &flags(kubeconfig.to_str().unwrap(), "127.0.0.1:1", "api"));
    let id = [("container_id", container.id())];
    let said = eventually("metrics-server's figure is there", || {
        agent.page().get("podscope_metrics_server_container_memory_working_set_bytes", &id)
    });
    assert_eq!(said, f64::from(332 << 10));
    let page = agent.page();
    let node = [("k8s_node_name", "node1")];
    assert_eq!(page.get("podscope_metrics_server_node_cpu_usage", &node), Some(1.997_794_906));
    assert_eq!(page.get("podscope_metrics_server_node_window_seconds", &node), Some(29.607));
    assert_eq!(agent.state("sources", "kubelet"), ("off".to_owned(), "--kube-metrics api".to_owned()));

    let asked = server.now().asked.clone();
    let group = "/apis/metrics.k8s.io/v1beta1";
    let of_group: Vec<&String> = asked.iter().filter(|path| path.starts_with("/apis/")).collect();
    let allowed = [
        format!("{group}/nodes/node1"),
        format!("{group}/namespaces/it/pods/web"),
        format!("{group}/pods?labelSelector=kubevirt.io%3Dvirt-launcher%2Ckubevirt.io%2FnodeName%3Dnode1"),
    ];
    assert!(of_group.iter().all(|path| allowed.contains(path)), "{of_group:#?}");
    assert!(allowed.iter().all(|path| of_group.contains(&path)), "{of_group:#?}");
}

/// Writes a service account's files as the kubelet does: links to links to a folder, which another one takes the place of.
const MOUNT: &str = r#"
cd "$ACCOUNT" && mkdir "..$1" && echo -n "$1" >"..$1/token" && cp "$CA" "..$1/ca.crt" && echo -n podscope >"..$1/namespace"
ln -s "..$1" ..new && mv -T ..new ..data && ln -sf ..data/token ..data/ca.crt ..data/namespace .
"#;
const ACCOUNT: &str = "/run/secrets/kubernetes.io/serviceaccount";

#[tokio::test(flavor = "multi_thread")]
async fn in_a_pod_the_service_account_is_used_and_its_token_renewed() {
    let _turn = turn().await;
    let server = Server::start();
    let ca = server.path("ca.pem");
    let plain = command();
    let mut within = Command::new("unshare");
    within.args(["--mount", "--propagation", "private", "sh", "-ec"]);
    within
        .arg(format!("mount -t tmpfs tmpfs /run; mkdir -p $ACCOUNT; ( set -- first; {MOUNT} ); exec \"$@\""))
        .arg("sh");
    within.arg(plain.get_program()).stdin(Stdio::null());
    within.env("ACCOUNT", ACCOUNT).env("CA", &ca).env_remove("KUBECONFIG").env("HOST_IP", "127.0.0.1");
    within.env("KUBERNETES_SERVICE_HOST", "127.0.0.1");
    within.env("KUBERNETES_SERVICE_PORT", server.address.port().to_string());
    let agent = Agent::run(within, &["--cri-socket", "none", "--node-name", "node1", "--kube-metrics", "off"]);
    for source in ["kube_pods", "kube_node", "landlock", "seccomp"] {
        agent.becomes(source, "up");
    }

    // Renewed as by the kubelet, and the old one is no longer taken.
    let mut renew = Command::new("nsenter");
    renew.args(["--mount", "--target", &agent.pid().to_string(), "sh", "-ec"]).arg(MOUNT).args(["sh", "second"]);
    assert!(renew.env("ACCOUNT", ACCOUNT).env("CA", &ca).status().unwrap().success());
    server.now().token = "second".to_owned();
    server.now().events = vec!["END".to_owned()];
    let unauthorized = [("podscope_kube_result", "unauthorized")];
    eventually("the old token is refused", || {
        (agent.page().sum("podscope_agent_kube_requests_total", &unauthorized) > 0.0).then_some(())
    });
    agent.becomes("kube_pods", "up");
    assert!(!agent.log().contains("second") && !agent.status().to_string().contains("second"), "a token was shown");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cluster_that_cannot_be_asked_is_a_state() {
    let _turn = turn().await;
    let agent = Agent::start(&["--cri-socket", "none"]);
    for source in ["kube_pods", "kube_node", "kube_clock", "kubelet", "metrics_server"] {
        let (state, reason) = agent.state("sources", source);
        assert_eq!(state, "off", "{source}: {reason}");
        assert!(reason.starts_with("not configured: no kubeconfig, and not in a pod"), "{reason}");
        assert_eq!(agent.page().get("podscope_agent_source_up", &[("podscope_source", source)]), None);
    }
    drop(agent);

    let server = Server::start();
    let program = "{ exec: { apiVersion: client.authentication.k8s.io/v1, command: aws, interactiveMode: Never } }";
    for (kubeconfig, piece) in [
        (server.kubeconfig_with(program), "no other program is started here"),
        (server.path("nowhere"), "No such file"),
    ] {
        let agent = Agent::start(&["--cri-socket", "none", "--kubeconfig", kubeconfig.to_str().unwrap()]);
        for source in ["kube_pods", "kube_node"] {
            let reason = agent.becomes(source, "absent");
            assert!(reason.contains(piece), "{reason}");
            assert_eq!(agent.page().get("podscope_agent_source_up", &[("podscope_source", source)]), Some(0.0));
        }
        agent.collections(2);
    }
    assert_eq!(server.asked(""), 0);
}
