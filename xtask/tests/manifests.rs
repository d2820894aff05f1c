//! The manifests under deploy/, rendered and held against the types of the Kubernetes API and against each other.

mod support;

use std::collections::BTreeSet;
use std::fs;

use serde_json::{Value, json};
use support::api::{check, named, text_at};
use support::kustomize::{Rendered, read_yaml, render};
use support::{code_spans, program, references, repository, section};

/// Everything that can be applied: the base, the overlays, and the base with components.
const RENDERINGS: &[(&str, &[&str])] = &[
    ("deploy/base", &[]),
    ("deploy/overlays/kubevirt", &[]),
    ("deploy/base", &["podmonitor"]),
    ("deploy/base", &["tls"]),
    ("deploy/base", &["tls", "client-certificates"]),
    ("deploy/base", &["no-runtime"]),
    ("deploy/base", &["cluster"]),
    ("deploy/base", &["gpu"]),
    ("deploy/overlays/kubevirt", &["gpu", "gpu-runtime-class", "tls"]),
    ("deploy/base", &["openshift"]),
    ("deploy/base", &["kubevirt-metrics-collector"]),
    ("deploy/overlays/kubevirt", &["kubevirt-metrics-collector", "kubevirt-servicemonitor", "openshift"]),
    ("deploy/base", &["kubevirt-metrics-collector", "fake-node-exporter", "kubevirt-servicemonitor"]),
    ("deploy/overlays/kubevirt", &["tls", "client-certificates", "podmonitor", "no-runtime"]),
];

fn renderings() -> impl Iterator<Item = (String, Rendered)> {
    RENDERINGS.iter().map(|(dir, components)| (format!("{dir} with {components:?}"), render(dir, components)))
}

/// The agent's pod.
fn pod(rendered: &Rendered) -> &Value {
    &named(rendered, "DaemonSet", "podscope-agent")["spec"]["template"]["spec"]
}

/// The base with components: the agent's container.
fn container(components: &[&str]) -> Value {
    pod(&render("deploy/base", components))["containers"][0].clone()
}

fn strings(list: &Value) -> Vec<&str> {
    list.as_array().into_iter().flatten().filter_map(Value::as_str).collect()
}

fn text(path: &str) -> String {
    fs::read_to_string(repository().join(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

#[test]
fn every_overlay_and_component_is_rendered_here() {
    for kind in ["overlays", "components"] {
        for entry in fs::read_dir(repository().join("deploy").join(kind)).unwrap() {
            let name = entry.unwrap().file_name().into_string().unwrap();
            let used = RENDERINGS.iter().any(|(dir, with)| dir.ends_with(&name) || with.contains(&name.as_str()));
            assert!(used, "deploy/{kind}/{name} is in no rendering of this test");
        }
    }
}

#[test]
fn every_object_is_what_it_claims_to_be() {
    for (name, rendered) in renderings() {
        for object in &rendered {
            check(object).unwrap_or_else(|error| panic!("{name}: {error}"));
        }
    }
}

#[test]
fn a_misspelt_field_is_found() {
    let mut rendered = render("deploy/base", &[]);
    let agent = rendered.iter_mut().find(|object| object["kind"] == "DaemonSet").unwrap();
    agent["spec"]["template"]["spec"]["hostPid"] = true.into();
    let error = check(agent).unwrap_err();
    assert!(error.contains("spec.template.spec.hostPid"), "{error}");
}

#[test]
fn what_is_referred_to_exists() {
    for (name, rendered) in renderings() {
        let problems = references::problems(&rendered);
        assert!(problems.is_empty(), "{name}: {problems:#?}");
    }
}

#[test]
fn a_broken_reference_is_found() {
    let mut rendered = render("deploy/base", &[]);
    rendered.retain(|object| object["kind"] != "ConfigMap");
    let service = rendered.iter_mut().find(|object| object["kind"] == "Service").unwrap();
    service["spec"]["ports"][0]["targetPort"] = "metric".into();
    let problems = references::problems(&rendered);
    assert_eq!(problems.len(), 2, "{problems:#?}");
}

#[test]
fn no_secret_is_among_them() {
    for (name, rendered) in renderings() {
        assert!(rendered.iter().all(|object| object["kind"] != "Secret"), "{name} has a secret in it");
    }
}

#[test]
fn the_agent_has_the_documented_rights_and_no_others() {
    let documents = [text("ARCHITECTURE.md"), text("README.md")];
    for (name, rendered) in renderings() {
        let pod = pod(&rendered);
        let context = &pod["containers"][0]["securityContext"];
        assert_eq!(context["privileged"], false, "{name}");
        assert_eq!(context["allowPrivilegeEscalation"], false, "{name}");
        assert_eq!(context["readOnlyRootFilesystem"], true, "{name}");
        assert_eq!(strings(&context["capabilities"]["drop"]), ["ALL"], "{name}");
        let granted: BTreeSet<String> =
            strings(&context["capabilities"]["add"]).iter().map(|c| format!("CAP_{c}")).collect();
        for document in &documents {
            let rows = section(document, "Least privilege").lines().filter(|line| line.starts_with("| `CAP_"));
            let rows = rows.filter(|row| !row.ends_with("| not granted |"));
            let listed: BTreeSet<String> = rows.filter_map(|row| code_spans(row).next()).map(str::to_owned).collect();
            assert_eq!(granted, listed, "{name}: capabilities granted, and those documented");
        }
        assert_eq!(pod["automountServiceAccountToken"], asks_the_cluster(&name), "{name}");
        for other in ["hostNetwork", "hostIPC", "initContainers"] {
            assert!(pod[other].is_null(), "{name}: {other}");
        }
    }
}

/// Whether the Kubernetes API is asked in a rendering.
fn asks_the_cluster(name: &str) -> bool {
    name.contains("overlays/kubevirt") || name.contains("\"cluster\"")
}

/// What the agent asks for, and nothing that writes, runs or reads secrets.
#[test]
fn the_cluster_is_read_and_no_more_of_it_than_is_asked_for() {
    for (name, rendered) in renderings() {
        let roles: Vec<&Value> = rendered.iter().filter(|object| object["kind"] == "ClusterRole").collect();
        assert_eq!(roles.len(), usize::from(asks_the_cluster(&name)), "{name}");
        let Some(role) = roles.first() else { continue };
        let rights = role["rules"].as_array().unwrap().iter().flat_map(|rule| {
            let of = |key: &str| strings(&rule[key]).into_iter().map(str::to_owned).collect::<Vec<_>>();
            let [groups, resources, verbs] = ["apiGroups", "resources", "verbs"].map(of);
            let pairs =
                groups.iter().flat_map(|group| resources.iter().map(move |resource| format!("{group}/{resource}")));
            pairs.map(|pair| format!("{pair}: {}", verbs.join(" "))).collect::<Vec<_>>()
        });
        let expected = [
            "/pods: list watch",
            "/nodes: get",
            "/nodes/metrics: get",
            "metrics.k8s.io/nodes: get",
            "metrics.k8s.io/pods: get",
            "metrics.k8s.io/pods: list",
        ];
        assert_eq!(rights.collect::<Vec<_>>(), expected, "{name}");
        let variables = pod(&rendered)["containers"][0]["env"].as_array().unwrap();
        let of_host: Vec<_> = variables.iter().filter(|variable| variable["name"] == "HOST_IP").collect();
        assert_eq!(of_host.len(), 1, "{name}");
        assert_eq!(of_host[0]["valueFrom"]["fieldRef"]["fieldPath"], "status.hostIP", "{name}");
    }
}

#[test]
fn the_host_is_mounted_for_reading_alone() {
    for (name, rendered) in renderings() {
        let pod = pod(&rendered);
        let volumes = pod["volumes"].as_array().unwrap();
        let paths: Vec<&str> = volumes.iter().filter_map(|volume| volume["hostPath"]["path"].as_str()).collect();
        let without_runtime = name.contains("no-runtime");
        assert_eq!(paths, ["/sys/fs/cgroup", "/run"][..2 - usize::from(without_runtime)], "{name}");
        for mount in pod["containers"][0]["volumeMounts"].as_array().unwrap() {
            assert_eq!(mount["readOnly"], true, "{name}: {mount}");
        }
    }
}

/// What loads a closed library has no right that the agent has, and nothing of the host but its processes' numbers.
#[test]
fn podscope_gpu_has_no_rights_at_all() {
    let rendered = render("deploy/base", &["gpu"]);
    let pod = pod(&rendered);
    let helper = pod["containers"].as_array().unwrap().iter().find(|container| container["name"] == "gpu").unwrap();
    let context = &helper["securityContext"];
    assert_eq!(context["capabilities"], json!({ "drop": ["ALL"] }));
    for (right, granted) in
        [("privileged", false), ("allowPrivilegeEscalation", false), ("readOnlyRootFilesystem", true)]
    {
        assert_eq!(context[right], granted, "{right}");
    }
    assert_eq!(
        (&context["runAsNonRoot"], &context["seccompProfile"]["type"]),
        (&true.into(), &"RuntimeDefault".into())
    );
    // The socket: both have the group that its folder belongs to.
    assert_eq!(pod["securityContext"]["fsGroup"], context["runAsGroup"]);
    let mounts = helper["volumeMounts"].as_array().unwrap();
    assert_eq!(mounts.iter().map(|mount| &mount["name"]).collect::<Vec<_>>(), ["gpu"]);
    let folder = |container: &Value| {
        let mount = container["volumeMounts"].as_array().unwrap().iter().find(|mount| mount["name"] == "gpu").unwrap();
        text_at(mount, &["mountPath"])
    };
    assert_eq!(folder(helper), "/run/podscope");
    assert_eq!(folder(&pod["containers"][0]), "/run/podscope");
    assert_eq!(pod["hostPID"], true, "the ids of processes are the host's");
    let volume = pod["volumes"].as_array().unwrap().iter().find(|volume| volume["name"] == "gpu").unwrap();
    assert!(volume["emptyDir"].is_object(), "{volume}");

    let version =
        text("Cargo.toml").lines().find_map(|line| line.strip_prefix("version = ").map(str::to_owned)).unwrap();
    assert_eq!(helper["image"], format!("podscope-gpu:{}", version.trim_matches('"')));
    let image = text("deploy/images/gpu.Containerfile");
    assert!(image.contains(&format!("USER {0}:{0}", context["runAsUser"])), "the image runs as another user");
    assert!(pod["runtimeClassName"].is_null());
}

#[test]
fn probes_fit_the_way_in_which_the_agent_listens() {
    let readiness = |components: &[&str]| container(components)["readinessProbe"].clone();
    assert_eq!(readiness(&[])["httpGet"], json!({ "path": "/readyz", "port": "metrics" }));
    assert_eq!(readiness(&["tls"])["httpGet"], json!({ "path": "/readyz", "port": "metrics", "scheme": "HTTPS" }));
    let blind = readiness(&["tls", "client-certificates"]);
    assert_eq!((&blind["httpGet"], &blind["tcpSocket"]), (&Value::Null, &json!({ "port": "metrics" })));
}

#[test]
fn components_add_their_flags() {
    let plain = container(&[]);
    assert_eq!(strings(&plain["args"]).len(), 3);
    for (components, flags) in [
        (&["tls"][..], &["--tls-cert=/etc/podscope/tls/tls.crt", "--tls-key=/etc/podscope/tls/tls.key"][..]),
        (&["tls", "client-certificates"], &["--tls-client-ca=/etc/podscope/tls/ca.crt"]),
        (&["no-runtime"], &["--cri-socket=none"]),
    ] {
        let container = container(components);
        assert!(strings(&container["args"]).ends_with(flags), "{components:?}: {}", container["args"]);
    }
}

#[test]
fn the_kubevirt_overlay_only_narrows_the_nodes() {
    let base = render("deploy/base", &["cluster"]);
    let mut widened = pod(&render("deploy/overlays/kubevirt", &[])).clone();
    let removed = widened["nodeSelector"].as_object_mut().unwrap().remove("kubevirt.io/schedulable");
    assert_eq!(removed, Some("true".into()));
    assert_eq!(&widened, pod(&base));
}

#[test]
fn the_collector_example_holds_together() {
    let mut rendered = read_yaml(&repository().join("deploy/examples/collector.yaml"));
    rendered.push(json!({ "apiVersion": "v1", "kind": "Namespace", "metadata": { "name": "podscope" } }));
    rendered.iter().for_each(|object| check(object).unwrap());
    assert_eq!(references::problems(&rendered), Vec::<String>::new());

    let config = text_at(named(&rendered, "ConfigMap", "podscope-collector"), &["data", "config.yaml"]);
    let config: Value = serde_saphyr::from_str(&config).unwrap();
    let pipeline = &config["service"]["pipelines"]["metrics"];
    for kind in ["receivers", "processors", "exporters"] {
        assert!(!strings(&pipeline[kind]).is_empty(), "{kind}");
        for part in strings(&pipeline[kind]) {
            assert!(!config[kind][part].is_null(), "{kind}: {part} is used and not configured");
        }
    }
    let protocols = &config["receivers"]["otlp"]["protocols"];
    let ports = &named(&rendered, "Service", "podscope-collector")["spec"]["ports"];
    for (at, protocol) in ["grpc", "http"].into_iter().enumerate() {
        assert_eq!(protocols[protocol]["endpoint"], format!("0.0.0.0:{}", ports[at]["port"]));
    }
}

#[test]
fn prometheus_accepts_its_example() {
    let file = repository().join("deploy/examples/prometheus.yaml");
    let checked = program("promtool").args(["check", "config"]).arg(file).output().unwrap();
    assert!(checked.status.success(), "{}", String::from_utf8_lossy(&checked.stderr));
}

#[test]
fn the_image_is_built_from_every_crate_by_the_declared_compiler() {
    let manifest = text("Cargo.toml");
    let value = |key: &str| manifest.lines().find_map(|line| line.strip_prefix(&format!("{key} = "))).unwrap();
    let ignore = text(".dockerignore");
    let carried: BTreeSet<&str> = ignore.lines().filter_map(|line| line.strip_prefix('!')).collect();
    let members: Vec<String> = serde_json::from_str(value("members")).unwrap();
    for needed in members.iter().filter_map(|m| m.split('/').next()).chain([".cargo", "Cargo.toml", "Cargo.lock"]) {
        assert!(carried.contains(needed), "the image's build does not get {needed}");
    }
    let compiler = format!("FROM rust:{}-", value("rust-version").trim_matches('"'));
    for name in ["agent", "gpu"] {
        let image = text(&format!("deploy/images/{name}.Containerfile"));
        assert!(image.contains(&compiler), "the image {name} is not built {compiler}…");
    }
    let image = format!("podscope-agent:{}", value("version").trim_matches('"'));
    assert_eq!(container(&[])["image"], image);
}

/// The older tool's page stands where its configuration says, and the container's ports and Service say the same.
#[test]
fn the_older_tools_page_has_its_port() {
    let older = "kubevirt-metrics-collector";
    for (components, port) in [(&[older][..], 9091), (&[older, "fake-node-exporter"], 9100)] {
        let rendered = render("deploy/base", components);
        let config = text_at(named(&rendered, "ConfigMap", "kubevirt-metrics-config"), &["data", "config.json"]);
        let config: Value = serde_json::from_str(&config).unwrap();
        assert_eq!(config["listenaddress"], format!(":{port}"));
        let container = &pod(&rendered)["containers"][0];
        assert_eq!(container["ports"][1]["containerPort"], port);
        assert_eq!(named(&rendered, "Service", "kubevirt-prometheus-metrics-vmi")["spec"]["ports"][0]["port"], port);
        let args = strings(&container["args"]);
        let end = args.iter().position(|arg| *arg == "--").unwrap();
        assert_eq!(args[0], "--compat=kubevirt");
        assert_eq!(args[end - 1], "/etc/kubevirt-metrics-collector/config.json");
        assert_eq!(args[1..end - 1].len(), if port == 9100 { 2 } else { 0 }, "{args:?}");
    }
}

#[test]
fn openshift_grants_what_the_agent_asks_for() {
    let rendered = render("deploy/base", &["openshift"]);
    let (pod, granted) = (pod(&rendered), named(&rendered, "SecurityContextConstraints", "podscope-agent"));
    let context = &pod["containers"][0]["securityContext"];
    assert_eq!(granted["allowedCapabilities"], context["capabilities"]["add"]);
    assert_eq!((&granted["allowHostPID"], &pod["hostPID"]), (&true.into(), &true.into()));
    let account = text_at(pod, &["serviceAccountName"]);
    assert_eq!(strings(&granted["users"]), [format!("system:serviceaccount:podscope:{account}")]);
}

#[test]
fn the_operators_example_selects_the_service_monitor() {
    let example = &read_yaml(&repository().join("deploy/examples/prometheus-operator.yaml"))[0];
    let rendered = render("deploy/base", &["kubevirt-metrics-collector", "kubevirt-servicemonitor"]);
    let labels = &named(&rendered, "ServiceMonitor", "kubevirt-vmi")["metadata"]["labels"];
    for (key, value) in example["spec"]["serviceMonitorSelector"]["matchLabels"].as_object().unwrap() {
        assert_eq!(&labels[key], value);
    }
}
