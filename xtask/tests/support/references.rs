//! References between objects: names, labels, ports and volumes.

use serde_json::Value;

/// Everything that is referred to and not there, or there for nothing.
pub(crate) fn problems(objects: &[Value]) -> Vec<String> {
    let mut found = Vec::new();
    for object in objects {
        let namespace = &object["metadata"]["namespace"];
        let of_the_cluster = ["Namespace", "SecurityContextConstraints", "ClusterRole", "ClusterRoleBinding"];
        if !of_the_cluster.iter().any(|kind| object["kind"] == *kind) && !exists(objects, "Namespace", namespace) {
            found.push(format!("{} is in namespace {namespace}", object["metadata"]["name"]));
        }
        match object["kind"].as_str() {
            Some("DaemonSet" | "Deployment") => workload(objects, object, &mut found),
            Some("ClusterRoleBinding") => {
                let subjects = each(&object["subjects"]).map(|subject| (&subject["kind"], &subject["name"]));
                let named = subjects.chain([(&object["roleRef"]["kind"], &object["roleRef"]["name"])]);
                for (kind, name) in named.filter(|(kind, name)| !exists(objects, kind.as_str().unwrap_or(""), name)) {
                    found.push(format!("{} refers to {kind} {name}", object["metadata"]["name"]));
                }
            }
            Some("Service") => selector(objects, &object["spec"]["selector"], object, &mut found),
            Some("ServiceMonitor") => services(objects, object, &mut found),
            Some("PodMonitor") => selector(objects, &object["spec"]["selector"]["matchLabels"], object, &mut found),
            _ => {}
        }
    }
    found
}

fn exists(objects: &[Value], kind: &str, name: &Value) -> bool {
    objects.iter().any(|object| object["kind"] == kind && object["metadata"]["name"] == *name)
}

fn each(list: &Value) -> impl Iterator<Item = &Value> {
    list.as_array().into_iter().flatten()
}

fn workload(objects: &[Value], object: &Value, found: &mut Vec<String>) {
    let (template, name) = (&object["spec"]["template"], &object["metadata"]["name"]);
    let pod = &template["spec"];
    let mut missing = |kind: &str, wanted: &Value| {
        if !wanted.is_null() && !exists(objects, kind, wanted) {
            found.push(format!("{name} refers to {kind} {wanted}"));
        }
    };
    missing("ServiceAccount", &pod["serviceAccountName"]);
    for container in each(&pod["containers"]) {
        each(&container["envFrom"]).for_each(|source| missing("ConfigMap", &source["configMapRef"]["name"]));
    }
    each(&pod["volumes"]).for_each(|volume| missing("ConfigMap", &volume["configMap"]["name"]));

    if !matches(&object["spec"]["selector"]["matchLabels"], &template["metadata"]["labels"]) {
        found.push(format!("{name} does not select its own pods"));
    }
    let volumes: Vec<&Value> = each(&pod["volumes"]).map(|volume| &volume["name"]).collect();
    let mounts = || each(&pod["containers"]).flat_map(|container| each(&container["volumeMounts"]));
    for mount in mounts().filter(|mount| !volumes.contains(&&mount["name"])) {
        found.push(format!("{name} mounts {} which is no volume", mount["name"]));
    }
    for volume in volumes.iter().filter(|volume| !mounts().any(|mount| mount["name"] == ***volume)) {
        found.push(format!("{name} has volume {volume} for nothing"));
    }
    for container in each(&pod["containers"]) {
        for probe in ["livenessProbe", "readinessProbe", "startupProbe"] {
            for port in [&container[probe]["httpGet"]["port"], &container[probe]["tcpSocket"]["port"]] {
                if !port.is_null() && !each(&container["ports"]).any(|p| p["name"] == *port) {
                    found.push(format!("{name}: {probe} asks port {port}"));
                }
            }
        }
    }
}

/// What a selector selects must be there, and listen on the ports that are asked for.
fn selector(objects: &[Value], labels: &Value, object: &Value, found: &mut Vec<String>) {
    let name = &object["metadata"]["name"];
    let Some(workload) = objects.iter().find(|o| matches(labels, &o["spec"]["template"]["metadata"]["labels"])) else {
        found.push(format!("{} {name} selects no pods", object["kind"]));
        return;
    };
    let listens: Vec<&Value> =
        each(&workload["spec"]["template"]["spec"]["containers"]).flat_map(|c| each(&c["ports"])).collect();
    let asked = each(&object["spec"]["ports"])
        .map(|port| &port["targetPort"])
        .chain(each(&object["spec"]["podMetricsEndpoints"]).map(|endpoint| &endpoint["port"]));
    for port in asked.filter(|port| !listens.iter().any(|l| l["name"] == **port)) {
        found.push(format!("{} {name} asks port {port}", object["kind"]));
    }
}

/// What a ServiceMonitor selects must be there, and have the ports that are asked for.
fn services(objects: &[Value], monitor: &Value, found: &mut Vec<String>) {
    let (labels, name) = (&monitor["spec"]["selector"]["matchLabels"], &monitor["metadata"]["name"]);
    let service = objects.iter().find(|o| o["kind"] == "Service" && matches(labels, &o["metadata"]["labels"]));
    let Some(service) = service else {
        found.push(format!("ServiceMonitor {name} selects no service"));
        return;
    };
    for endpoint in each(&monitor["spec"]["endpoints"]) {
        if !each(&service["spec"]["ports"]).any(|port| port["name"] == endpoint["port"]) {
            found.push(format!("ServiceMonitor {name} asks port {}", endpoint["port"]));
        }
    }
}

fn matches(selector: &Value, labels: &Value) -> bool {
    let wanted = selector.as_object();
    wanted.is_some_and(|wanted| !wanted.is_empty() && wanted.iter().all(|(key, value)| labels[key] == *value))
}
