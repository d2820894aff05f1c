//! Which configuration is taken, and what is refused of it.

use std::fs;

use super::*;

fn nothing(_: &str) -> Option<String> {
    None
}

/// A folder with `name` in it.
fn folder(name: &str, content: &str) -> (tempfile::TempDir, PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join(name);
    fs::write(&path, content).unwrap();
    (folder, path)
}

fn kubeconfig(context: &str, server: &str, user: &str) -> String {
    format!(
        "apiVersion: v1\nkind: Config\ncurrent-context: {context}\n\
         clusters: [{{ name: {context}, cluster: {{ server: '{server}' }} }}]\n\
         users: [{{ name: {context}, user: {user} }}]\n\
         contexts: [{{ name: {context}, context: {{ cluster: {context}, user: {context} }} }}]\n"
    )
}

#[test]
fn a_file_goes_before_the_variable_and_that_before_the_pods_account() {
    let (_first, first) = folder("config", &kubeconfig("a", "https://a.example:6443", "{ token: t }"));
    let (_second, second) = folder("config", &kubeconfig("b", "https://b.example", "{ token: t }"));
    let variables = |name: &str| match name {
        "KUBECONFIG" => Some(format!("{}:", second.display())),
        "KUBERNETES_SERVICE_HOST" => Some("192.0.2.1".to_owned()),
        _ => None,
    };
    let url = |access: Access| access.load().unwrap().url();
    assert_eq!(url(Access::find(Some(&first), None, variables).unwrap()), "https://a.example:6443");
    assert_eq!(url(Access::find(None, None, variables).unwrap()), "https://b.example");
    assert_eq!(url(Access::find(Some(Path::new("")), Some(""), variables).unwrap()), "https://b.example");
    let endpoint = |file| Access::find(Some(file), None, nothing).unwrap().load().unwrap();
    assert_eq!((endpoint(&first).port(), endpoint(&second).port()), (6443, 443));
}

#[test]
fn without_any_it_says_so() {
    let error = Access::find(None, None, nothing).unwrap_err();
    assert_eq!(error.to_string(), "not configured: no kubeconfig, and not in a pod");
    // This machine is no pod, so it has no such file.
    let in_pod = |name: &str| (name == "KUBERNETES_SERVICE_HOST").then(|| "192.0.2.1".to_owned());
    let error = Access::find(None, None, in_pod).unwrap_err();
    assert_eq!(error.to_string(), "not configured: no kubeconfig, and the pod has no service account's token");
}

#[test]
fn several_files_are_merged_and_missing_ones_passed_over() {
    let (_first, first) = folder("config", &kubeconfig("a", "https://a.example", "{ token: t }"));
    let (_second, second) = folder("config", &kubeconfig("b", "https://b.example", "{ token: t }"));
    let list = format!("/nowhere/config:{}:{}", first.display(), second.display());
    let variable = |name: &str| (name == "KUBECONFIG").then(|| list.clone());
    let url = |context| Access::find(None, context, variable).unwrap().load().map(|endpoint| endpoint.url());
    assert_eq!(url(None).unwrap(), "https://a.example");
    assert_eq!(url(Some("b")).unwrap(), "https://b.example");
    let error = url(Some("c")).unwrap_err().to_string();
    assert!(error.contains("cannot be used") && error.contains('c'), "{error}");
}

#[test]
fn what_cannot_be_used_is_named() {
    for (content, says) in [
        ("{{", "failed to parse kubeconfig"),
        ("apiVersion: v1\nkind: Config\n", "current context"),
        ("current-context: a\ncontexts: [{name: a, context: {cluster: b}}]", "load the cluster of context: b"),
        (&kubeconfig("a", "https://a b", "{}"), "parse cluster url"),
    ] {
        let (_folder, path) = folder("config", content);
        let error = Access::find(Some(&path), None, nothing).unwrap().load().unwrap_err().to_string();
        assert!(error.contains(says) && error.contains(path.to_str().unwrap()), "{content}: {error}");
    }
    let missing = Access::find(Some(Path::new("/nowhere/config")), None, nothing).unwrap();
    let error = missing.load().unwrap_err().to_string();
    assert!(error.contains("/nowhere/config") && error.contains("No such file"), "{error}");
}

const PROGRAM: &str = "{ exec: { apiVersion: client.authentication.k8s.io/v1, command: aws, interactiveMode: Never, args: [eks, get-token] } }";

#[test]
fn programs_are_refused() {
    for (user, program) in [(PROGRAM, "\"aws\""), ("{ auth-provider: { name: gcp, config: {} } }", "\"gcp\"")] {
        let (_folder, path) = folder("config", &kubeconfig("a", "https://a.example", user));
        let error = Access::find(Some(&path), None, nothing).unwrap().load().unwrap_err().to_string();
        assert!(error.contains(program) && error.contains("no other program is started"), "{error}");
    }
}

#[cfg(feature = "exec")]
#[tokio::test]
async fn programs_are_started_where_that_is_wanted() {
    let (folder, path) = folder("config", "");
    let program = folder.path().join("token");
    let said = r#"{"kind":"ExecCredential","apiVersion":"client.authentication.k8s.io/v1","status":{"token":"t"}}"#;
    let script = format!("#!/bin/sh\necho \"$CARGO_PKG_NAME $AWS_PROFILE $*\" >\"$0.log\"\necho '{said}'\n");
    fs::write(&program, script).unwrap();
    let executable = std::os::unix::fs::PermissionsExt::from_mode(0o700);
    fs::set_permissions(&program, executable).unwrap();
    let user = PROGRAM.replace("aws", program.to_str().unwrap());
    let user = user.replace("args:", "env: [{ name: AWS_PROFILE, value: production }], args:");
    fs::write(&path, kubeconfig("a", "https://a.example", &user)).unwrap();
    let access = Access::find(Some(&path), None, nothing).unwrap();
    assert!(access.load().is_err(), "it has to be asked for");
    access.with_programs().load().unwrap().client().unwrap();
    // Variables of ours and of the kubeconfig reach it.
    let seen = fs::read_to_string(program.with_extension("log")).unwrap();
    assert_eq!(seen.trim_end(), "podscope-cluster production eks get-token");
}

#[test]
fn all_files_that_may_be_read_are_named() {
    let config = kubeconfig("a", "https://a.example", "{ tokenFile: /run/t/token, client-certificate: c.pem }")
        .replace("server:", "certificate-authority: /etc/ca/ca.pem, server:");
    let (folder, path) = folder("config", &config);
    let files = Access::find(Some(&path), None, nothing).unwrap().files();
    let beside = folder.path().join("c.pem");
    let wanted = [path.clone(), "/etc/ca/ca.pem".into(), beside, "/run/t/token".into()];
    assert!(wanted.iter().all(|file| files.contains(file)), "{files:?}");
}
