//! Objects held against the types of the Kubernetes API.

use k8s_openapi::api::apps::v1::{DaemonSet, Deployment};
use k8s_openapi::api::core::v1::{ConfigMap, Namespace, Service, ServiceAccount};
use k8s_openapi::api::rbac::v1::{ClusterRole, ClusterRoleBinding};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{LabelSelector, ObjectMeta};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// The part that is used of the Prometheus operator's PodMonitor (monitoring.coreos.com/v1).
#[derive(Deserialize, Serialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
struct PodMonitor {
    api_version: String,
    kind: String,
    metadata: ObjectMeta,
    spec: PodMonitorSpec,
}

#[derive(Deserialize, Serialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
struct PodMonitorSpec {
    selector: LabelSelector,
    pod_metrics_endpoints: Vec<PodMetricsEndpoint>,
}

#[derive(Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
struct PodMetricsEndpoint {
    port: String,
    path: String,
    interval: String,
}

/// The part that is used of the Prometheus operator's ServiceMonitor (monitoring.coreos.com/v1).
#[derive(Deserialize, Serialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
struct ServiceMonitor {
    api_version: String,
    kind: String,
    metadata: ObjectMeta,
    spec: ServiceMonitorSpec,
}

#[derive(Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
struct ServiceMonitorSpec {
    selector: LabelSelector,
    endpoints: Vec<Endpoint>,
}

#[derive(Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
struct Endpoint {
    port: String,
    path: String,
    interval: String,
    scheme: String,
}

/// The part that is used of OpenShift's SecurityContextConstraints (security.openshift.io/v1).
#[derive(Deserialize, Serialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
struct SecurityContextConstraints {
    api_version: String,
    kind: String,
    metadata: ObjectMeta,
    allow_host_dir_volume_plugin: bool,
    #[serde(rename = "allowHostIPC")]
    allow_host_ipc: bool,
    allow_host_network: bool,
    #[serde(rename = "allowHostPID")]
    allow_host_pid: bool,
    allow_host_ports: bool,
    allow_privilege_escalation: bool,
    allow_privileged_container: bool,
    allowed_capabilities: Vec<String>,
    read_only_root_filesystem: bool,
    run_as_user: Strategy,
    se_linux_context: Strategy,
    fs_group: Strategy,
    supplemental_groups: Strategy,
    seccomp_profiles: Vec<String>,
    volumes: Vec<String>,
    users: Vec<String>,
}

#[derive(Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
struct Strategy {
    r#type: String,
}

/// Whether an object has the fields of its kind, each of its type, and no others.
///
/// # Errors
/// What is wrong.
pub(crate) fn check(object: &Value) -> Result<(), String> {
    let kind = format!("{}/{}", text_at(object, &["apiVersion"]), text_at(object, &["kind"]));
    match kind.as_str() {
        "v1/Namespace" => check_as::<Namespace>(object),
        "v1/ServiceAccount" => check_as::<ServiceAccount>(object),
        "v1/ConfigMap" => check_as::<ConfigMap>(object),
        "v1/Service" => check_as::<Service>(object),
        "apps/v1/DaemonSet" => check_as::<DaemonSet>(object),
        "apps/v1/Deployment" => check_as::<Deployment>(object),
        "rbac.authorization.k8s.io/v1/ClusterRole" => check_as::<ClusterRole>(object),
        "rbac.authorization.k8s.io/v1/ClusterRoleBinding" => check_as::<ClusterRoleBinding>(object),
        "monitoring.coreos.com/v1/PodMonitor" => check_as::<PodMonitor>(object),
        "monitoring.coreos.com/v1/ServiceMonitor" => check_as::<ServiceMonitor>(object),
        "security.openshift.io/v1/SecurityContextConstraints" => check_as::<SecurityContextConstraints>(object),
        _ => Err(format!("{kind} has no type here")),
    }
    .map_err(|error| format!("{kind} {}: {error}", text_at(object, &["metadata", "name"])))
}

/// The API's types pass over fields that they do not know: such a field is not there when the object is written again.
fn check_as<T: DeserializeOwned + Serialize>(object: &Value) -> Result<(), String> {
    let typed: T = serde_json::from_value(object.clone()).map_err(|error| error.to_string())?;
    let again = serde_json::to_value(typed).map_err(|error| error.to_string())?;
    let mut lost = Vec::new();
    compare(object, &again, "", &mut lost);
    if lost.is_empty() { Ok(()) } else { Err(format!("unknown or of another type: {}", lost.join(", "))) }
}

fn compare(before: &Value, after: &Value, path: &str, lost: &mut Vec<String>) {
    match (before, after) {
        (Value::Object(before), Value::Object(after)) => {
            for (key, value) in before {
                compare(value, after.get(key).unwrap_or(&Value::Null), &format!("{path}.{key}"), lost);
            }
        }
        (Value::Array(before), Value::Array(after)) if before.len() == after.len() => {
            for (i, (before, after)) in before.iter().zip(after).enumerate() {
                compare(before, after, &format!("{path}[{i}]"), lost);
            }
        }
        _ if before == after => {}
        _ => lost.push(path.trim_start_matches('.').to_owned()),
    }
}

/// The object of a kind and name.
pub(crate) fn named<'a>(objects: &'a [Value], kind: &str, name: &str) -> &'a Value {
    let found = objects.iter().find(|object| object["kind"] == kind && object["metadata"]["name"] == name);
    found.unwrap_or_else(|| panic!("no {kind} {name}"))
}

/// The text at a path.
pub(crate) fn text_at(object: &Value, path: &[&str]) -> String {
    let found = path.iter().fold(object, |at, key| &at[*key]);
    found.as_str().unwrap_or_else(|| panic!("no text at {}", path.join("."))).to_owned()
}
